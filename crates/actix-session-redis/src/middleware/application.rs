use actix_session::{SessionExt as _, SessionStatus};
use actix_web::{
    body::{BoxBody, MessageBody},
    dev::{Service, ServiceRequest, ServiceResponse, forward_ready},
};
use futures_util::future::LocalBoxFuture;

use super::{cookie_keys, options::Options, request_scope::RequestScope, session_cookie};

/// Inside the session middleware: says when the application runs, what it wants of its session, and
/// which cookies are its own.
#[doc(hidden)]
#[derive(Debug)]
pub struct Application<S> {
    pub(super) application: S,
    pub(super) options: Options,
}

impl<S, B> Service<ServiceRequest> for Application<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>>,
    S::Future: 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<BoxBody>;
    type Error = S::Error;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Self::Error>>;

    forward_ready!(application);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        if cookie_keys::is_asked() {
            return Box::pin(async { Ok(cookie_keys::answer(request)) });
        }
        let scope = RequestScope::current();
        if let Some(scope) = &scope
            && let Err(error) = scope.application_begins()
        {
            let answer = (self.options.on_outage)(request.request(), &error);
            let response = request.into_response(answer);
            scope.application_ends(false, session_cookie::count(response.headers()));
            return Box::pin(async { Ok(response) });
        }
        let response = self.application.call(request);
        Box::pin(async {
            let response = response.await;
            if let Some(scope) = scope {
                let response = response.as_ref().ok();
                let status = response.map(|response| response.request().get_session().status());
                let renews = status == Some(SessionStatus::Renewed);
                let headers = response.map(ServiceResponse::headers);
                scope.application_ends(renews, headers.map_or(0, session_cookie::count));
            }
            response.map(ServiceResponse::map_into_boxed_body)
        })
    }
}
