//! How `ConsistentSessions` answers, and what it adds to the answers of others.

use std::{fmt, sync::Arc};

use actix_web::{
    HttpRequest, HttpResponse,
    body::{BoxBody, MessageBody},
    dev::ServiceResponse,
    http::header::{CACHE_CONTROL, HeaderMap, HeaderValue, RETRY_AFTER, SET_COOKIE, VARY},
};

use super::{
    request_scope::{CookieFate, Loaded, RequestScope},
    session_cookie,
};

type OnFailure = Arc<dyn Fn(&HttpRequest, &crate::Error) -> HttpResponse + Send + Sync>;

#[derive(Clone)]
pub(super) struct Options {
    pub(super) on_outage: OnFailure,
    pub(super) on_refused_login: OnFailure,
    pub(super) cache_headers: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            on_outage: Arc::new(|_, _| {
                let mut response = HttpResponse::ServiceUnavailable();
                response.insert_header((RETRY_AFTER, "1")).finish()
            }),
            on_refused_login: Arc::new(|_, error| HttpResponse::Conflict().body(error.to_string())),
            cache_headers: true,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut options = f.debug_struct("Options");
        options.field("cache_headers", &self.cache_headers);
        options.finish_non_exhaustive()
    }
}

impl Options {
    /// The last word on a response.
    pub(super) async fn finish(
        &self,
        mut response: ServiceResponse<impl MessageBody + 'static>,
        scope: &Arc<RequestScope>,
        remade: Option<HeaderValue>,
    ) -> ServiceResponse<BoxBody> {
        let verdict = scope.verdict();
        let has_got_one = session_cookie::count(response.headers()) > verdict.application_cookies;
        let mut response = match &verdict.failure {
            Some(error) => {
                let answer = match error.is_refused_login() {
                    true => &self.on_refused_login,
                    false => &self.on_outage,
                };
                let mut answer = answer(response.request(), error);
                if has_got_one
                    && verdict.cookie == CookieFate::Goes
                    && let Some(cookie) = response.headers().get_all(SET_COOKIE).last()
                {
                    let cookie = session_cookie::with_max_age(cookie.clone(), verdict.max_age);
                    answer.headers_mut().append(SET_COOKIE, cookie);
                }
                response.into_response(answer)
            }
            None => {
                let headers = response.headers_mut();
                session_cookie::settle(&verdict, headers);
                if let Some(cookie) = remade {
                    session_cookie::append_remade(cookie, &verdict, scope, headers).await;
                }
                response.map_into_boxed_body()
            }
        };
        self.set_cache_headers(scope, has_got_one, response.headers_mut());
        response
    }

    pub(super) fn set_cache_headers(
        &self,
        scope: &RequestScope,
        has_got_one: bool,
        headers: &mut HeaderMap,
    ) {
        if !self.cache_headers {
            return;
        }
        let varies = |value: &HeaderValue| {
            let mut names = value.to_str().unwrap_or_default().split(',').map(str::trim);
            names.any(|name| name == "*" || name.eq_ignore_ascii_case("cookie"))
        };
        if !headers.get_all(VARY).any(varies) {
            headers.append(VARY, HeaderValue::from_static("Cookie"));
        }
        let depends_on_session = has_got_one || !matches!(scope.loaded(), Loaded::Nothing);
        if depends_on_session && !headers.contains_key(CACHE_CONTROL) {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("private"));
        }
    }
}
