use std::sync::LazyLock;

use actix_web::cookie::{Cookie, CookieJar, Key, SameSite, time::Duration};

/// The default of actix-session.
pub(crate) const NAME: &str = "id";

/// How long a session lives.
pub(crate) const TTL: Duration = Duration::hours(1);

/// Nothing here is secret.
pub(crate) static KEY: LazyLock<Key> = LazyLock::new(|| Key::from(&[7; 64]));

/// The session cookie as `SessionMiddleware` sets it with [`TTL`], for contenders without it.
pub(crate) fn signed(value: String) -> Cookie<'static> {
    let cookie = Cookie::build(NAME, value)
        .path("/")
        .http_only(true)
        .secure(true)
        .same_site(SameSite::Lax)
        .max_age(TTL)
        .finish();
    let mut jar = CookieJar::new();
    jar.signed_mut(&KEY).add(cookie);
    let signed = jar.get(NAME);
    signed.expect("it has just been added").clone()
}

/// What a browser that has been given this cookie sends.
pub(crate) fn header(value: String) -> String {
    signed(value).stripped().encoded().to_string()
}
