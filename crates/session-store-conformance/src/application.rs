use std::{fmt, pin::Pin};

use actix_session::{Session, SessionExt as _};
use actix_web::{
    Error, HttpMessage as _, HttpResponse,
    dev::{Service, ServiceRequest, ServiceResponse, always_ready},
};

pub(crate) type LocalBoxFuture<T> = Pin<Box<dyn Future<Output = T>>>;

/// What a request does with its session. Travels in the request.
pub(crate) type Handler = Box<dyn FnOnce(Session) -> LocalBoxFuture<()>>;

/// The application that visitors come to, inside of the session middleware. Each of its requests brings what
/// is to be done.
pub struct Application(());

impl Application {
    pub(crate) fn new() -> Self {
        Self(())
    }
}

impl fmt::Debug for Application {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Application")
    }
}

impl Service<ServiceRequest> for Application {
    type Response = ServiceResponse;
    type Error = Error;
    type Future = LocalBoxFuture<Result<ServiceResponse, Error>>;

    always_ready!();

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let handler = request.extensions_mut().remove::<Handler>();
        Box::pin(async move {
            if let Some(handler) = handler {
                handler(request.get_session()).await;
            }
            Ok(request.into_response(HttpResponse::Ok()))
        })
    }
}
