//! What `ConsistentSessions` gives to a request, for tests that drive the store by hand.

use std::cell::Cell;

use actix_session_redis::ConsistentSessions;
use actix_web::{
    HttpResponse,
    body::BoxBody,
    dev::{Service, ServiceRequest, Transform},
    middleware::{Next, from_fn},
    test::{TestRequest, ok_service},
};
use tokio::sync::oneshot;

/// Does the work in the place of the session middleware of one request.
pub(crate) async fn in_a_request<T: 'static>(work: impl Future<Output = T> + 'static) -> T {
    in_an_answered_request(work).await.0
}

/// The same. Returns the status of the answer, too.
pub(crate) async fn in_an_answered_request<T: 'static>(
    work: impl Future<Output = T> + 'static,
) -> (T, u16) {
    let (done, result) = oneshot::channel();
    let once = Cell::new(Some((work, done)));
    let sessions = from_fn(move |request: ServiceRequest, _: Next<BoxBody>| {
        let (work, done) = once.take().expect("there is one request");
        async move {
            let _ = done.send(work.await);
            Ok(request.into_response(HttpResponse::Ok()))
        }
    });
    let consistent_sessions = ConsistentSessions::new(sessions);
    let service = consistent_sessions.new_transform(ok_service()).await;
    let request = TestRequest::default().to_srv_request();
    let response = service.unwrap().call(request).await.unwrap();
    (result.await.unwrap(), response.status().as_u16())
}
