use actix_session::storage::CookieSessionStore;
use session_store_conformance::Harness;

/// The store in cookies that is built into actix-session. Nothing is stored anywhere else.
pub(crate) struct Cookie;

impl Harness for Cookie {
    type Store = CookieSessionStore;

    fn store(&self) -> CookieSessionStore {
        CookieSessionStore::default()
    }

    async fn contents(&self) -> Option<Vec<u8>> {
        Some(Vec::new())
    }
}
