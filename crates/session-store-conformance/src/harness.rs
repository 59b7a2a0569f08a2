use actix_session::{
    SessionMiddleware,
    storage::{SessionKey, SessionStore},
};
use actix_web::{
    Error,
    body::MessageBody,
    cookie::time::Duration,
    dev::{ServiceRequest, ServiceResponse, Transform},
};

use crate::application::Application;

/// What the suite needs to be told of a store.
///
/// [`store`](Self::store) is enough. What a harness does not offer is not checked, and the report says so.
pub trait Harness: 'static {
    /// The store that is checked.
    type Store: SessionStore + 'static;

    /// One more store on the same storage, as each worker of an application has one. The checks ask for
    /// many: let them share their connections.
    fn store(&self) -> Self::Store;

    /// The session middleware as applications are told to use it with this store.
    ///
    /// Default: as it is.
    fn middleware(
        &self,
        sessions: SessionMiddleware<Self::Store>,
    ) -> impl Transform<
        Application,
        ServiceRequest,
        Response = ServiceResponse<impl MessageBody + 'static>,
        Error = Error,
        InitError = (),
    > + 'static {
        sessions
    }

    /// The shortest TTL that the store can keep: the checks that wait for the end of a session wait this
    /// long. A machine that is slow is given longer.
    ///
    /// Default: a second.
    fn shortest_ttl(&self) -> Duration {
        Duration::seconds(1)
    }

    /// Puts garbage in the place of what is stored for a session, which lives as long as it would have.
    /// `false` if that cannot be done.
    ///
    /// Default: it cannot.
    fn overwrite(
        &self,
        session_key: &SessionKey,
        garbage: Garbage<'_>,
    ) -> impl Future<Output = bool> {
        let _ = (session_key, garbage);
        async { false }
    }

    /// All that is stored, names and values one after the other, as bytes in which one can search.
    ///
    /// Default: nobody can look.
    fn contents(&self) -> impl Future<Output = Option<Vec<u8>>> {
        async { None }
    }
}

/// What no store has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Garbage<'a> {
    /// As the whole of what is stored for a session.
    Bytes(&'a [u8]),
    /// Something of another kind than the store writes, if the storage has several: a list in Redis, say. It
    /// contains these bytes.
    OtherKind(&'a [u8]),
}
