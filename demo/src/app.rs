use actix_session::{
    SessionMiddleware,
    config::{BrowserSession, TtlExtensionPolicy},
};
use actix_session_redis::{ConsistentSessions, RedisSessionStore};
use actix_web::{
    HttpResponse,
    body::{BodySize, BoxBody, MessageBody as _},
    cookie::SameSite,
    dev::{Service as _, ServiceResponse},
    http::header::{self, HeaderName, HeaderValue},
    web::{self, ServiceConfig},
};
use askama::Template as _;

use crate::{
    CookieKey, InstanceName, SessionTtl,
    page::Problem,
    routes::{dbset, healthz, index, kill},
};

const INSTANCE_HEADER: HeaderName = HeaderName::from_static("x-demo-instance");

/// What every response says: the next one may differ, and the page needs nothing from elsewhere and
/// no script, whatever somebody gets into it. See the [OWASP cheat sheet].
///
/// [OWASP cheat sheet]: https://cheatsheetseries.owasp.org/cheatsheets/HTTP_Headers_Cheat_Sheet.html
const HEADERS: [(HeaderName, &str); 4] = [
    (header::CACHE_CONTROL, "no-store"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "same-origin"),
];

/// The application: what every instance serves.
#[derive(Debug, Clone)]
pub struct Demo {
    /// Which instance this is.
    pub instance: InstanceName,
    /// Where the sessions live.
    pub store: RedisSessionStore,
    /// Encrypts the session cookie.
    pub cookie_key: CookieKey,
    /// How long a session lives after its last request.
    pub session_ttl: SessionTtl,
    /// Whether browsers may send the session cookie over https only.
    pub cookie_secure: bool,
}

impl Demo {
    /// Mounts the routes at the root of an `App`, for [`App::configure`](actix_web::App::configure).
    pub fn mount(&self, config: &mut ServiceConfig) {
        let complete = self.completion();
        config.service(
            web::scope("")
                .app_data(web::Data::new(self.store.clone()))
                .app_data(web::Data::new(self.instance.clone()))
                // Outermost, so that no answer goes without: neither a 404 nor the 500 of a store that
                // is refused, which is an error here and no response yet.
                .wrap_fn(move |request, service| {
                    let answer = service.call(request);
                    let complete = complete.clone();
                    async move {
                        match answer.await {
                            Ok(answer) => {
                                let (request, response) = answer.into_parts();
                                let response = complete(response.map_into_boxed_body());
                                Ok(ServiceResponse::new(request, response))
                            }
                            Err(mut error) => {
                                error.add_response_mapper(complete);
                                Err(error)
                            }
                        }
                    }
                })
                .service(web::resource("/healthz").get(healthz).head(healthz))
                .service(
                    web::scope("")
                        .wrap(ConsistentSessions::new(self.sessions()))
                        .service(web::resource("/").get(index).head(index))
                        .service(web::resource("/dbset/{dbname}").get(dbset))
                        .service(web::resource("/kill").get(kill)),
                ),
        );
    }

    /// Adds what every response has: our headers, and who answered; and a page, where there is
    /// nothing to look at but a status.
    fn completion(&self) -> impl Fn(HttpResponse) -> HttpResponse + Clone + 'static {
        let instance = self.instance.to_header();
        move |response| {
            let mut response = with_a_page(response);
            let headers = response.headers_mut();
            headers.insert(INSTANCE_HEADER, instance.clone());
            for (name, value) in HEADERS {
                headers.insert(name, HeaderValue::from_static(value));
            }
            response
        }
    }

    fn sessions(&self) -> SessionMiddleware<RedisSessionStore> {
        SessionMiddleware::builder(self.store.clone(), self.cookie_key.to_key())
            .cookie_http_only(true)
            .cookie_same_site(SameSite::Lax)
            .cookie_secure(self.cookie_secure)
            .session_lifecycle(
                BrowserSession::default()
                    .state_ttl(self.session_ttl.get())
                    .state_ttl_extension_policy(TtlExtensionPolicy::OnEveryRequest),
            )
            .build()
    }
}

fn with_a_page(response: HttpResponse) -> HttpResponse {
    let status = response.status();
    let is_empty = matches!(response.body().size(), BodySize::None | BodySize::Sized(0));
    if !(is_empty && (status.is_client_error() || status.is_server_error())) {
        return response;
    }
    let Ok(page) = Problem::of(status).render() else {
        return response;
    };
    let mut response = response.set_body(BoxBody::new(page));
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, html);
    response
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use actix_session_redis::deadpool_redis::{Config, Runtime};
    use actix_web::{
        App,
        dev::ServiceResponse,
        http::{Method, StatusCode},
        test::{TestRequest, init_service, read_body, try_call_service},
    };

    use super::*;

    /// An answer of an instance whose Redis is not there.
    async fn answer(method: Method, uri: &str) -> ServiceResponse {
        let pool = Config::from_url("redis+unix:///nowhere/redis.sock")
            .create_pool(Some(Runtime::Tokio1))
            .unwrap();
        let demo = Demo {
            instance: "tested".parse().unwrap(),
            store: RedisSessionStore::builder(pool)
                .deadline(Duration::from_millis(20))
                .build(),
            cookie_key: CookieKey::generate(),
            session_ttl: SessionTtl::default(),
            cookie_secure: false,
        };
        let app = init_service(App::new().configure(|config| demo.mount(config))).await;
        let request = TestRequest::with_uri(uri).method(method).to_request();
        match try_call_service(&app, request).await {
            Ok(response) => response.map_into_boxed_body(),
            Err(error) => ServiceResponse::new(
                TestRequest::default().to_http_request(),
                error.error_response(),
            ),
        }
    }

    #[actix_web::test]
    async fn every_answer_names_its_instance_and_is_not_cached() {
        for (method, uri, status) in [
            (Method::GET, "/", StatusCode::SERVICE_UNAVAILABLE),
            (Method::HEAD, "/", StatusCode::OK),
            (Method::GET, "/healthz", StatusCode::SERVICE_UNAVAILABLE),
            (Method::HEAD, "/healthz", StatusCode::SERVICE_UNAVAILABLE),
            (Method::GET, "/kill", StatusCode::FOUND),
            (Method::GET, "/dbset/%ff", StatusCode::BAD_REQUEST),
            (Method::GET, "/dbset/", StatusCode::NOT_FOUND),
            (Method::GET, "/dbset/a/b", StatusCode::NOT_FOUND),
            (Method::GET, "/elsewhere", StatusCode::NOT_FOUND),
            (Method::POST, "/", StatusCode::METHOD_NOT_ALLOWED),
            (Method::HEAD, "/kill", StatusCode::METHOD_NOT_ALLOWED),
        ] {
            let response = answer(method.clone(), uri).await;
            assert_eq!(response.status(), status, "{method} {uri}");
            let said = |name| response.headers().get(name).unwrap();
            assert_eq!(said(INSTANCE_HEADER), "tested", "{uri}");
            for (name, value) in HEADERS {
                assert_eq!(said(name), value, "{uri}");
            }
            let is_problem = status.is_client_error() || status.is_server_error();
            let page = read_body(response).await;
            assert!(!is_problem || !page.is_empty(), "{method} {uri}");
        }
    }

    #[actix_web::test]
    async fn a_name_that_is_too_long_is_refused_in_a_sentence() {
        let uri = format!("/dbset/{}", "x".repeat(257));
        let response = answer(Method::GET, &uri).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        let sentence = "The name has 257 characters; at most 256 are allowed.";
        assert_eq!(read_body(response).await, sentence);
    }
}
