//! Session cookies that were made with an older key, and are made anew.
//!
//! Only the session middleware knows its key, the name of its cookie, and whether that is signed or
//! encrypted. So it is asked: it gets a request of our own, in which a session begins. Where the store
//! would save that session, it answers with the session key in question, without asking Redis, and the
//! response has the cookie.

use std::{cell::Cell, fmt, mem::take, time::SystemTime};

use actix_session::{SessionExt as _, storage::SessionKey};
use actix_web::{
    Error, HttpMessage as _, HttpRequest, HttpResponse,
    cookie::{Cookie, CookieJar, Key},
    dev::{Service, ServiceRequest, ServiceResponse},
    http::header::{COOKIE, HeaderValue, SET_COOKIE},
    test::TestRequest,
};
use futures_util::FutureExt as _;

use crate::{session::draw_session_key, telemetry::events};

tokio::task_local! {
    /// The session whose cookie the session middleware is asked for, until the store has taken it.
    static ASKED_FOR: Cell<Option<SessionKey>>;
}

/// A key that session cookies were made with until it was changed: for
/// [`ConsistentSessions::previous_cookie_keys`](crate::ConsistentSessions::previous_cookie_keys).
#[derive(Clone)]
pub struct PreviousCookieKey {
    key: Key,
    until: Option<SystemTime>,
}

impl PreviousCookieKey {
    /// One whose cookies are accepted until then, even if the application goes on with the same
    /// configuration for longer. One that is made `from` a `Key` has no such end.
    pub fn until(key: Key, end: SystemTime) -> Self {
        Self {
            key,
            until: Some(end),
        }
    }

    /// The session key in the cookie, if the cookie was made with this key.
    fn open(&self, cookie: &Cookie<'static>, is_signed: bool) -> Option<SessionKey> {
        if self.until.is_some_and(|end| SystemTime::now() >= end) {
            return None;
        }
        let jar = CookieJar::new();
        let opened = match is_signed {
            true => jar.signed(&self.key).verify(cookie.clone()),
            false => jar.private(&self.key).decrypt(cookie.clone()),
        };
        // The store says whether it is one of its own.
        opened?.value().to_owned().try_into().ok()
    }
}

impl From<Key> for PreviousCookieKey {
    fn from(key: Key) -> Self {
        Self { key, until: None }
    }
}

impl fmt::Debug for PreviousCookieKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreviousCookieKey")
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}

/// The previous keys, and what a worker knows of the cookies that the session middleware makes.
#[derive(Debug)]
pub(super) struct CookieKeys {
    previous: Vec<PreviousCookieKey>,
    name: String,
    is_signed: bool,
    request: OwnRequest,
}

impl CookieKeys {
    /// `None` if there are no previous keys, or if the session middleware does not answer.
    pub(super) fn learn<B>(
        previous: &[PreviousCookieKey],
        sessions: &impl Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    ) -> Option<Self> {
        if previous.is_empty() {
            return None;
        }
        let (session_key, request) = (draw_session_key(), OwnRequest::new());
        let in_clear = session_key.as_ref().to_owned();
        let learnt = request.ask(sessions, session_key).and_then(|set_cookie| {
            let text = set_cookie.to_str().ok()?.to_owned();
            let cookie = Cookie::parse_encoded(text).ok()?;
            let is_signed = cookie.value().ends_with(&in_clear);
            // One that opens this cookie is the current key, with which there is nothing to do.
            let is_previous = |key: &&PreviousCookieKey| key.open(&cookie, is_signed).is_none();
            Some(Self {
                previous: previous.iter().filter(is_previous).cloned().collect(),
                name: cookie.name().to_owned(),
                is_signed,
                request,
            })
        });
        if learnt.is_none() {
            events::cookie_keys_unused();
        }
        learnt
    }

    /// Gives a request whose session cookie was made with a previous key the cookie that the session
    /// middleware makes for the same session: it is for the response, too.
    pub(super) fn remake<B>(
        &self,
        request: &ServiceRequest,
        sessions: &impl Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    ) -> Option<HeaderValue> {
        let cookie = request.cookie(&self.name)?;
        let mut previous = self.previous.iter();
        let session_key = previous.find_map(|key| key.open(&cookie, self.is_signed))?;
        let set_cookie = self.request.ask(sessions, session_key)?;
        self.request.put_first(&set_cookie, request);
        Some(set_cookie)
    }
}

/// Is used again and again: before version 4.18, actix-web never frees such a request.
struct OwnRequest(Cell<Option<HttpRequest>>);

impl OwnRequest {
    fn new() -> Self {
        let request = TestRequest::default().to_http_request();
        Self(Cell::new(Some(request)))
    }

    /// It is there, since nobody waits while it is in use, unless the session middleware kept it.
    fn take_blank(&self) -> Option<ServiceRequest> {
        let mut request = ServiceRequest::from_request(self.0.take()?);
        request.headers_mut().clear();
        request.extensions_mut().clear();
        Some(request)
    }

    /// What the session middleware sets as the cookie of this session. Our store does not wait for
    /// anything here, so the answer is there at once.
    fn ask<B>(
        &self,
        sessions: &impl Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
        session_key: SessionKey,
    ) -> Option<HeaderValue> {
        let request = self.take_blank()?;
        let asking = ASKED_FOR.scope(Cell::new(Some(session_key)), async {
            let response = sessions.call(request).await.ok()?;
            let is_answered = ASKED_FOR.with(Cell::take).is_none();
            Some((response, is_answered))
        });
        let (response, is_answered) = asking.now_or_never()??;
        let set_cookie = response.headers().get_all(SET_COOKIE).last().cloned();
        self.0.set(Some(response.into_parts().0));
        set_cookie.filter(|_| is_answered)
    }

    /// Lets the request have this cookie before all that its browser has sent. The header stays as it
    /// is: it is the cookies as actix-web has parsed them, or would, that are replaced, since an outer
    /// middleware may have asked for them already.
    fn put_first(&self, set_cookie: &HeaderValue, request: &ServiceRequest) {
        let Some(mut own) = self.take_blank() else {
            return;
        };
        let cookie = set_cookie.as_bytes().split(|&byte| byte == b';').next();
        let cookie = cookie.and_then(|cookie| HeaderValue::from_bytes(cookie).ok());
        let sent = request.headers().get_all(COOKIE).cloned();
        for cookies in cookie.into_iter().chain(sent) {
            own.headers_mut().append(COOKIE, cookies);
        }
        // Unless one of the headers is no text: then nobody gets cookies out of any of them.
        if own.cookies().is_ok() {
            let parsed = take(&mut *own.extensions_mut());
            request.extensions_mut().extend(parsed);
        }
        self.0.set(Some(own.into_parts().0));
    }
}

impl fmt::Debug for OwnRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnRequest").finish_non_exhaustive()
    }
}

/// For the application: whether the session middleware is asked for a cookie, with no request.
pub(super) fn is_asked() -> bool {
    ASKED_FOR.try_with(|_| ()).is_ok()
}

/// In the place of the application: begins a session, for which there is a cookie.
pub(super) fn answer(request: ServiceRequest) -> ServiceResponse {
    let _ = request.get_session().insert("asked", true);
    request.into_response(HttpResponse::Ok().finish())
}

/// For the store: the session key that it shall answer with.
pub(crate) fn cookie_asked_for() -> Option<SessionKey> {
    ASKED_FOR.try_with(Cell::take).ok().flatten()
}
