//! The smallest app: counts the visits of each browser.
//!
//! ```text
//! redis-server &
//! cargo run --example counter
//! ```
//!
//! Start it a second time with another port (`PORT=8081 cargo run --example counter`) and the
//! same `SESSION_KEY`: both count on the same sessions.

use std::env;

use actix_session::{Session, SessionMiddleware};
use actix_session_redis::{ConsistentSessions, RedisSessionStore};
use actix_web::{App, Error, HttpServer, cookie::Key, get};

#[get("/")]
async fn index(session: Session) -> Result<String, Error> {
    let visits = session.get::<u64>("visits")?.unwrap_or(0) + 1;
    session.insert("visits", visits)?;
    Ok(format!("You have been here {visits} times\n"))
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379".to_owned());
    let port = env::var("PORT").map_or(Ok(8080), |port| port.parse())?;
    // Signs the cookies. Every instance needs the same one, 64 bytes or more, kept secret.
    let key = match env::var("SESSION_KEY") {
        Ok(secret) => Key::try_from(secret.as_bytes())?,
        Err(_) => Key::generate(),
    };

    let store = RedisSessionStore::from_url(url)?;
    store.ping().await?; // without Redis, it ends here
    let server = HttpServer::new(move || {
        App::new()
            .wrap(ConsistentSessions::new(
                SessionMiddleware::builder(store.clone(), key.clone())
                    .cookie_secure(false) // this example speaks plain HTTP
                    .build(),
            ))
            .service(index)
    })
    .bind(("127.0.0.1", port))?;
    println!("http://{}", server.addrs()[0]);
    server.run().await?;
    Ok(())
}
