//! The store's own words for these tests, and what all of them stand on.

/// On a cluster, a user's sessions are on all of its servers.
#[cfg(feature = "cluster")]
mod cluster;
/// Which round trips it costs that sessions are somebody's.
mod cost;
/// What nobody would think of: other options beside, clocks that differ, bytes that are none of ours.
mod edges;
/// Logged in by actix-identity, a user's sessions are listed and ended as well.
mod identity;
/// A session ends at its absolute lifetime, however often it is used, and may have one of its own.
mod lifetimes;
/// However many log in at once, exactly so many are left as may be.
mod limit;
/// What is listed of whom.
mod list;
/// Whatever the order in which requests of several users talk to Redis, the index is right.
mod model;
/// "End all" holds against whatever is under way.
mod races;
/// A failover: the index of a user is on the new master as on the old one.
#[cfg(feature = "sentinel")]
mod sentinel;

use std::time::Duration;

use actix_session::{
    Session,
    storage::{SessionKey, SessionStore as _},
};
use actix_session_redis::{
    ConsistentSessions, CurrentSession, RedisSessionStore, RedisSessionStoreBuilder, SessionId,
};
use actix_web::{
    Result,
    error::ErrorConflict,
    get,
    middleware::from_fn,
    web::{self, Data, Path},
};

use crate::support::{
    app::{Setup, TestApp},
    browser::Browser,
    redis::TestRedis,
    routes::{self, Desk},
    sessions::{HOUR, State, state},
};

/// Three routes of the test's app make a session somebody's: `/login/…`, `/set/user/…`,
/// `/clear-and-login/…`.
fn with_users(builder: RedisSessionStoreBuilder) -> RedisSessionStoreBuilder {
    builder.user_field("user")
}

fn app_of(store: &RedisSessionStore) -> TestApp {
    TestApp::with(store.clone(), &Setup::consistent())
}

/// With routes below `/devices` that ask for the sessions of the user.
fn app_with_devices(store: &RedisSessionStore) -> TestApp {
    app_with(store, &Setup::consistent())
}

fn app_with(store: &RedisSessionStore, setup: &Setup) -> TestApp {
    let (setup, store) = (setup.clone(), store.clone());
    TestApp::configured(move |app| {
        let sessions = setup.sessions(store.clone());
        let own = web::scope("")
            .wrap(from_fn(routes::wait_at_the_desk))
            .service((end_others, end_others_at_last, current_of_list))
            .service((expires_in, refuses, remember, remember_here))
            .service((password_login, password_login_in_place, mixed_up_login));
        let devices = web::scope("")
            .app_data(Data::new(store.clone()))
            .wrap(ConsistentSessions::new(sessions))
            .wrap(from_fn(routes::note_drops))
            .service(web::scope("/devices").service(own))
            .configure(routes::all);
        app.service(devices);
    })
}

async fn user(session: &Session) -> String {
    session.get("user").unwrap().unwrap()
}

#[get("/end-others")]
async fn end_others(
    session: Session,
    current: CurrentSession,
    store: Data<RedisSessionStore>,
) -> String {
    let sessions = store.sessions_of(user(&session).await);
    sessions.end_others(&current).await.unwrap().to_string()
}

/// When the desk lets it go.
#[get("/end-others-at-last")]
async fn end_others_at_last(
    session: Session,
    current: CurrentSession,
    store: Data<RedisSessionStore>,
    desk: Data<Desk>,
) -> String {
    let user = user(&session).await;
    desk.arrived.add_permits(1);
    desk.let_go.acquire().await.unwrap().forget();
    let ended = store.sessions_of(user).end_others(&current).await;
    ended.unwrap().to_string()
}

#[get("/current-of-list")]
async fn current_of_list(
    session: Session,
    current: CurrentSession,
    store: Data<RedisSessionStore>,
) -> String {
    let sessions = store.sessions_of(user(&session).await).list().await;
    let current = sessions
        .unwrap()
        .iter()
        .map(|it| it.is_current(&current).to_string())
        .collect::<Vec<_>>();
    current.join(" ")
}

#[get("/expires-in")]
async fn expires_in(current: CurrentSession) -> String {
    let left = current.expires_in().await.unwrap();
    left.map_or("none".to_owned(), |left| left.as_secs().to_string())
}

/// What may not be taken for an answer while the session could not be loaded.
#[get("/refuses")]
async fn refuses(current: CurrentSession, store: Data<RedisSessionStore>) -> String {
    let left = current.expires_in().await;
    let ended = store.sessions_of("Ada").end_others(&current).await;
    format!("{} {}", left.is_err(), ended.is_err())
}

#[get("/remember/{user}/{seconds}")]
async fn remember(
    session: Session,
    current: CurrentSession,
    path: Path<(String, u64)>,
) -> Result<String> {
    let (user, seconds) = path.into_inner();
    if let Err(error) = current.set_lifetime(Duration::from_secs(seconds)) {
        return Ok(error.to_string());
    }
    session.renew();
    session.insert("user", user)?;
    Ok("remembered".to_owned())
}

#[get("/password-login/{user}")]
async fn password_login(
    session: Session,
    current: CurrentSession,
    store: Data<RedisSessionStore>,
    user: Path<String>,
) -> Result<&'static str> {
    let answer = log_in_with(&session, &current, &store, &user).await?;
    session.renew();
    Ok(answer)
}

#[get("/password-login-in-place/{user}")]
async fn password_login_in_place(
    session: Session,
    current: CurrentSession,
    store: Data<RedisSessionStore>,
    user: Path<String>,
) -> Result<&'static str> {
    log_in_with(&session, &current, &store, &user).await
}

/// Without a new session.
#[get("/remember-here/{seconds}")]
async fn remember_here(
    session: Session,
    current: CurrentSession,
    seconds: Path<u64>,
) -> Result<&'static str> {
    let lifetime = Duration::from_secs(*seconds);
    current.set_lifetime(lifetime).map_err(ErrorConflict)?;
    session.insert("n", 1)?;
    Ok("remembered")
}

/// Begun as that of one, and completed as that of another, or of nobody.
#[get("/mixed-up-login/{begun}/{completed}")]
async fn mixed_up_login(
    session: Session,
    current: CurrentSession,
    store: Data<RedisSessionStore>,
    path: Path<(String, String)>,
) -> Result<&'static str> {
    let (begun, completed) = path.into_inner();
    let login = store.sessions_of(begun).begin_login().await;
    current.complete_login(login.map_err(ErrorConflict)?);
    session.insert("n", 1)?;
    if completed != "nobody" {
        session.insert("user", completed)?;
    }
    Ok("welcome")
}

async fn log_in_with(
    session: &Session,
    current: &CurrentSession,
    store: &RedisSessionStore,
    user: &str,
) -> Result<&'static str> {
    let login = store.sessions_of(user).begin_login().await;
    current.complete_login(login.map_err(ErrorConflict)?);
    session.insert("user", user)?;
    Ok("welcome")
}

async fn log_in<'a>(app: &'a TestApp, user: &str) -> Browser<'a> {
    let browser = app.browser();
    browser.get(&format!("/login/{user}")).await.text();
    browser
}

/// A state that is this user's.
fn of(user: &str) -> State {
    state("user", &format!("{user:?}"))
}

async fn save(store: &RedisSessionStore, user: &str) -> SessionKey {
    store.save(of(user), &HOUR).await.unwrap()
}

async fn handles(store: &RedisSessionStore, user: &str) -> Vec<SessionId> {
    let sessions = store.sessions_of(user).list().await.unwrap();
    sessions.iter().map(|it| it.handle().clone()).collect()
}

/// The Redis keys of all indexes.
fn index_keys(redis: &TestRedis) -> Vec<String> {
    let mut keys = redis.keys();
    keys.retain(|key| key.starts_with("session:user"));
    keys
}
