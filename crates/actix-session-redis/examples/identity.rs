//! Logged in by actix-identity, on any number of processes; and logged out everywhere by one request.
//!
//! `/log-in/{name}`, `/`, `/log-out` and `/log-out-everywhere`. Listens on `127.0.0.1:$PORT` (8080),
//! with the Redis of `REDIS_URL` (redis://127.0.0.1:6379).

use std::env;

use actix_identity::{Identity, IdentityMiddleware};
use actix_session::SessionMiddleware;
use actix_session_redis::{ConsistentSessions, RedisPool, RedisSessionStore};
use actix_web::{
    App, HttpMessage as _, HttpRequest, HttpServer, Result,
    cookie::Key,
    error::{ErrorServiceUnavailable, ErrorUnauthorized},
    get,
    web::{Data, Path},
};

#[get("/")]
async fn index(identity: Option<Identity>) -> Result<String> {
    let name = identity.map(|identity| identity.id()).transpose()?;
    Ok(name.map_or("You are not logged in\n".to_owned(), |name| {
        format!("You are {name}\n")
    }))
}

// A real login is a POST, and looks at a password.
#[get("/log-in/{name}")]
async fn log_in(request: HttpRequest, name: Path<String>) -> Result<&'static str> {
    Identity::login(&request.extensions(), name.into_inner()).map_err(ErrorUnauthorized)?;
    Ok("Welcome\n")
}

#[get("/log-out")]
async fn log_out(identity: Identity) -> &'static str {
    identity.logout();
    "Good bye\n"
}

#[get("/log-out-everywhere")]
async fn log_out_everywhere(identity: Identity, store: Data<RedisSessionStore>) -> Result<String> {
    let ended = store.sessions_of(identity.id()?).end_all().await;
    let ended = ended.map_err(ErrorServiceUnavailable)?;
    Ok(format!("Logged out on {ended} devices\n"))
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379".to_owned());
    let port = env::var("PORT").map_or(Ok(8080), |port| port.parse())?;
    let store = RedisSessionStore::builder(RedisPool::from_url(url)?)
        // The field in which actix-identity keeps who is logged in.
        .user_field("actix_identity.user_id")
        .try_build()?;
    let key = Key::generate(); // in production: the same secret for every process
    let server = HttpServer::new(move || {
        let sessions = SessionMiddleware::builder(store.clone(), key.clone())
            .cookie_secure(false) // this example speaks plain HTTP
            .build();
        App::new()
            .app_data(Data::new(store.clone()))
            .wrap(IdentityMiddleware::default())
            .wrap(ConsistentSessions::new(sessions))
            .service((index, log_in, log_out, log_out_everywhere))
    })
    .bind(("127.0.0.1", port))?;
    println!("http://{}", server.addrs()[0]);
    server.run().await?;
    Ok(())
}
