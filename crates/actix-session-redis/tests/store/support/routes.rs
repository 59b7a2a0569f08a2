//! What the app does at which path.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use actix_session::Session;
use actix_session_redis::CurrentSession;
use actix_web::{
    HttpResponse, Responder, Result,
    body::MessageBody,
    cookie::Cookie,
    dev::{ServiceRequest, ServiceResponse},
    error::ErrorImATeapot,
    get,
    middleware::{Next, from_fn},
    web::{Data, Path, ServiceConfig, scope},
};
use tokio::sync::{Semaphore, SemaphorePermit};

pub(crate) fn all(app: &mut ServiceConfig) {
    let routes = scope("")
        .wrap(from_fn(wait_at_the_desk))
        .service((hello, read, worker, current, compute, block))
        .service((set, add, count, grow, remove, clear))
        .service((clear_and_set, clear_and_login, remove_and_set))
        .service((renew, login, purge))
        .service((count_with_own_cookies, count_and_fail));
    app.service(routes);
}

/// Where a request to `…?at-the-desk` waits once its handler has run.
pub(crate) struct Desk {
    pub(crate) arrived: Semaphore,
    pub(crate) let_go: Semaphore,
    pub(crate) dropped: Semaphore,
}

impl Default for Desk {
    fn default() -> Self {
        let [arrived, let_go, dropped] = [(); 3].map(|()| Semaphore::new(0));
        Self {
            arrived,
            let_go,
            dropped,
        }
    }
}

/// Dropped only together with the request.
struct Unanswered<'a>(&'a Desk);

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        self.0.dropped.add_permits(1);
    }
}

/// Outside of everything else: tells the desk when a request is dropped before it is answered.
pub(crate) async fn note_drops(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>> {
    let desk = request.app_data::<Data<Desk>>().cloned();
    let desk = desk.expect("the app has a desk");
    let unanswered = Unanswered(&desk);
    let response = next.call(request).await;
    std::mem::forget(unanswered);
    response
}

pub(crate) async fn wait_at_the_desk(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>> {
    let desk = request.app_data::<Data<Desk>>().cloned();
    let is_slow = request.query_string() == "at-the-desk";
    let response = next.call(request).await?;
    if is_slow {
        let desk = desk.expect("the app has a desk");
        desk.arrived.add_permits(1);
        desk.let_go.acquire().await.unwrap().forget();
    }
    Ok(response)
}

/// Keeps its worker thread from everything else for a while, as a password hash does.
#[get("/compute")]
async fn compute() -> impl Responder {
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(30) {
        std::hint::spin_loop();
    }
    "done"
}

/// Keeps its worker thread from everything else until the desk lets it go.
#[get("/block")]
async fn block(desk: Data<Desk>) -> &'static str {
    desk.arrived.add_permits(1);
    let let_go = || desk.let_go.try_acquire().map(SemaphorePermit::forget);
    let patience = Instant::now() + Duration::from_secs(60);
    while let_go().is_err() {
        assert!(Instant::now() < patience, "nobody lets go");
        thread::sleep(Duration::from_millis(1));
    }
    "done"
}

/// `field=json` for each field, in order.
fn fields(session: &Session) -> String {
    let entries = session.entries();
    let sorted: BTreeMap<_, _> = entries.iter().collect();
    let fields = sorted.iter().map(|(field, json)| format!("{field}={json}"));
    if sorted.is_empty() {
        "empty".to_owned()
    } else {
        fields.collect::<Vec<_>>().join(" ")
    }
}

/// Not with `Session::update`, which actix-session 0.11 does not take for a change.
fn add_to(session: &Session, field: &str, change: i64) -> Result<()> {
    let value: i64 = session.get(field)?.unwrap_or(0);
    session.insert(field, value + change)?;
    Ok(())
}

#[get("/hello")]
async fn hello() -> &'static str {
    "hello"
}

#[get("/read")]
async fn read(session: Session) -> String {
    fields(&session)
}

/// Reads the session, on whichever worker it is.
#[get("/worker")]
async fn worker(session: Session) -> String {
    let _ = session.entries();
    format!("{:?}", thread::current().id())
}

#[get("/current")]
async fn current(session: CurrentSession) -> String {
    let key = session.key().map_or("none", |key| key.as_ref());
    let handle = session.handle().map_or("none", |handle| handle.as_ref());
    format!("{key} {handle} {:?} {session:?}", session.key())
}

#[get("/set/{field}/{value}")]
async fn set(session: Session, path: Path<(String, String)>) -> Result<String> {
    let (field, value) = path.into_inner();
    session.insert(field, value)?;
    Ok(fields(&session))
}

#[get("/add/{field}/{change}")]
async fn add(session: Session, path: Path<(String, i64)>) -> Result<String> {
    let (field, change) = path.into_inner();
    add_to(&session, &field, change)?;
    Ok(fields(&session))
}

#[get("/count")]
async fn count(session: Session) -> Result<String> {
    add_to(&session, "n", 1)?;
    Ok(fields(&session))
}

#[get("/grow/{bytes}")]
async fn grow(session: Session, bytes: Path<usize>) -> Result<&'static str> {
    session.insert("ballast", "x".repeat(*bytes))?;
    Ok("grown")
}

#[get("/remove/{field}")]
async fn remove(session: Session, field: Path<String>) -> String {
    session.remove(&field);
    fields(&session)
}

#[get("/clear")]
async fn clear(session: Session) -> String {
    session.clear();
    fields(&session)
}

#[get("/clear-and-set/{field}/{value}")]
async fn clear_and_set(session: Session, path: Path<(String, String)>) -> Result<String> {
    let (field, value) = path.into_inner();
    session.clear();
    session.insert(field, value)?;
    Ok(fields(&session))
}

#[get("/clear-and-login/{user}")]
async fn clear_and_login(session: Session, user: Path<String>) -> Result<String> {
    session.clear();
    session.renew();
    session.insert("user", user.into_inner())?;
    Ok(fields(&session))
}

#[get("/remove-and-set/{removed}/{field}/{value}")]
async fn remove_and_set(session: Session, path: Path<(String, String, String)>) -> Result<String> {
    let (removed, field, value) = path.into_inner();
    session.remove(&removed);
    session.insert(field, value)?;
    Ok(fields(&session))
}

#[get("/renew")]
async fn renew(session: Session) -> String {
    session.renew();
    fields(&session)
}

#[get("/login/{user}")]
async fn login(session: Session, user: Path<String>) -> Result<String> {
    session.renew();
    session.insert("user", user.into_inner())?;
    Ok(fields(&session))
}

#[get("/purge")]
async fn purge(session: Session) -> String {
    session.purge();
    fields(&session)
}

#[get("/count-with-own-cookies")]
async fn count_with_own_cookies(session: Session) -> Result<impl Responder> {
    add_to(&session, "n", 1)?;
    Ok(HttpResponse::Ok()
        .cookie(Cookie::new("theme", "dark"))
        .cookie(Cookie::new("language", "ko"))
        .finish())
}

#[get("/count-and-fail")]
async fn count_and_fail(session: Session) -> Result<String> {
    add_to(&session, "n", 1)?;
    Err(ErrorImATeapot("no coffee"))
}
