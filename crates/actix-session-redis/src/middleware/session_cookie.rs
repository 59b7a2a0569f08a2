//! The session cookie of a response.

use std::{sync::Arc, time::Duration};

use actix_web::{
    cookie::Cookie,
    http::header::{HeaderMap, HeaderValue, SET_COOKIE},
};

use super::{
    current_session::CurrentSession,
    request_scope::{CookieFate, RequestScope, Verdict},
};

/// How many cookies a response sets.
pub(super) fn count(headers: &HeaderMap) -> usize {
    headers.get_all(SET_COOKIE).count()
}

/// The session cookie is the one that comes after those of the application, whatever its name.
pub(super) fn settle(verdict: &Verdict, headers: &mut HeaderMap) {
    let goes = |cookie: &HeaderValue| {
        let mut attributes = cookie.as_bytes().split(|&byte| byte == b';');
        match verdict.cookie {
            CookieFate::Goes => true,
            CookieFate::Repeats => attributes.any(|attribute| attribute.starts_with(b" Max-Age=")),
            CookieFate::Stays => false,
        }
    };
    let cookies: Vec<_> = headers.remove(SET_COOKIE).collect();
    for (number, cookie) in cookies.into_iter().enumerate() {
        if number < verdict.application_cookies {
            headers.append(SET_COOKIE, cookie);
            continue;
        }
        let cookie = with_max_age(cookie, verdict.max_age);
        if goes(&cookie) {
            headers.append(SET_COOKIE, cookie);
        }
    }
}

/// A cookie that was made anew for the session of the request goes as well, unless the request has ended
/// that session or replaced it, or others have meanwhile: then the browser may have a better one.
pub(super) async fn append_remade(
    remade: HeaderValue,
    verdict: &Verdict,
    scope: &Arc<RequestScope>,
    headers: &mut HeaderMap,
) {
    let has_one = count(headers) > verdict.application_cookies;
    let session = CurrentSession::of(Arc::clone(scope));
    if !has_one && matches!(session.expires_in().await, Ok(Some(_))) {
        headers.append(SET_COOKIE, with_max_age(remade, verdict.max_age));
    }
}

/// The session cookie lives as long as its session, unless it is one that removes itself.
pub(super) fn with_max_age(header: HeaderValue, max_age: Option<Duration>) -> HeaderValue {
    let aged = || {
        let text = header.to_str().ok()?;
        let mut cookie = Cookie::parse(text).ok()?;
        let max_age = max_age?.try_into().ok()?;
        if cookie.max_age().is_some_and(|max_age| max_age.is_zero()) {
            return None;
        }
        cookie.set_max_age(Some(max_age));
        cookie.unset_expires();
        HeaderValue::try_from(cookie.to_string()).ok()
    };
    aged().unwrap_or(header)
}
