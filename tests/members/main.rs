//! An application with users, for the search for secrets in what it logs and in what reaches Redis.
//! Whatever a client says comes in the body of a request, one word per line, and not in its address.

use std::{env, io, time::Duration};

use actix_session::{
    Session, SessionMiddleware,
    config::{PersistentSession, TtlExtensionPolicy},
};
use actix_session_redis::{
    AtLimit, ConsistentSessions, CurrentSession, KeyRing, RedisPool, RedisSessionStore,
};
use actix_web::{
    App, HttpResponse, HttpServer, Result,
    cookie::Key,
    error::{ErrorBadRequest, ErrorServiceUnavailable},
    get, post,
    web::Data,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use tracing_subscriber::EnvFilter;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[post("/count")]
async fn count(session: Session) -> Result<String> {
    let count = session.get::<u64>("count")?.unwrap_or(0) + 1;
    session.insert("count", count)?;
    Ok(count.to_string())
}

#[post("/note")]
async fn note(session: Session, note: String) -> Result<HttpResponse> {
    session.insert("note", note)?;
    Ok(HttpResponse::Ok().finish())
}

#[get("/note")]
async fn noted(session: Session) -> Result<String> {
    Ok(session.get("note")?.unwrap_or_default())
}

#[post("/login")]
async fn login(
    session: Session,
    current: CurrentSession,
    store: Data<RedisSessionStore>,
    user_and_device: String,
) -> Result<HttpResponse> {
    let (user, device) = user_and_device
        .split_once('\n')
        .ok_or_else(|| ErrorBadRequest("a user and a device, one per line"))?;
    let begun = store.sessions_of(user).begin_login().await;
    let begun = begun.map_err(ErrorServiceUnavailable)?;
    session.renew();
    session.insert("user", user)?;
    session.insert("device", device)?;
    current.complete_login(begun);
    Ok(HttpResponse::Ok().finish())
}

#[post("/renew")]
async fn renew(session: Session) -> HttpResponse {
    session.renew();
    HttpResponse::Ok().finish()
}

#[post("/devices")]
async fn devices(session: Session, store: Data<RedisSessionStore>) -> Result<String> {
    let user: Option<String> = session.get("user")?;
    let listed = store.sessions_of(user.unwrap_or_default()).list().await;
    let listed = listed.map_err(ErrorServiceUnavailable)?;
    let labels: Vec<_> = listed.iter().filter_map(|it| it.label()).collect();
    Ok(labels.join("\n"))
}

#[post("/end-others")]
async fn end_others(
    session: Session,
    current: CurrentSession,
    store: Data<RedisSessionStore>,
) -> Result<String> {
    let user: Option<String> = session.get("user")?;
    let user = store.sessions_of(user.unwrap_or_default());
    let ended = user.end_others(&current).await;
    Ok(ended.map_err(ErrorServiceUnavailable)?.to_string())
}

#[post("/logout")]
async fn logout(session: Session) -> HttpResponse {
    session.purge();
    HttpResponse::Ok().finish()
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_env_filter(EnvFilter::from_default_env())
        .init();
    let key = Key::from(&BASE64_STANDARD.decode(env::var("SESSION_KEY")?)?);
    let mut store = RedisSessionStore::builder(RedisPool::from_url(env::var("REDIS_URL")?)?)
        .counter("count")
        .user_field("user")
        .label_field("device")
        .session_limit(10, AtLimit::EndOldest)
        .absolute_lifetime(30 * DAY);
    let keys = env::var("SEAL_KEYS")?;
    if !keys.is_empty() {
        store = store.seal(KeyRing::from_base64(&keys)?);
    }
    // What an application may log of it, too.
    eprintln!("{store:?}");
    let store = store.try_build()?;
    eprintln!("{store:?}");

    let lifecycle = PersistentSession::default()
        .session_ttl_extension_policy(TtlExtensionPolicy::OnEveryRequest);
    let server = HttpServer::new(move || {
        let sessions = SessionMiddleware::builder(store.clone(), key.clone())
            .cookie_secure(false)
            .session_lifecycle(lifecycle.clone())
            .build();
        App::new()
            .app_data(Data::new(store.clone()))
            .wrap(ConsistentSessions::new(sessions))
            .service((
                count, note, noted, login, renew, devices, end_others, logout,
            ))
    })
    .workers(2)
    .bind(("127.0.0.1", 0))?;
    println!("listening on http://{}", server.addrs()[0]);
    server.run().await?;
    Ok(())
}
