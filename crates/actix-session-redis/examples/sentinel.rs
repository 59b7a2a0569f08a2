//! Sessions on the master of a Redis Sentinel set-up, whichever server that is.
//!
//! ```text
//! SENTINEL_URLS=redis://127.0.0.1:26379,redis://127.0.0.1:26380 MASTER=mymaster \
//!     cargo run --example sentinel --features sentinel
//! ```
//!
//! `REDIS_PASSWORD`, if it is set, is the password of the master and its replicas; one of the
//! Sentinels' own belongs into their URLs.

use std::env;

use actix_session::{Session, SessionMiddleware};
use actix_session_redis::{
    ConsistentSessions, RedisSessionStore,
    deadpool_redis::{
        RedisConnectionInfo, Runtime,
        sentinel::{Config, SentinelNodeConnectionInfo, SentinelServerType},
    },
};
use actix_web::{App, Error, HttpServer, cookie::Key, get};

#[get("/")]
async fn index(session: Session) -> Result<String, Error> {
    let visits = session.get::<u64>("visits")?.unwrap_or(0) + 1;
    session.insert("visits", visits)?;
    Ok(format!("You have been here {visits} times\n"))
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let urls = env::var("SENTINEL_URLS")?;
    let sentinels: Vec<_> = urls.split(',').map(str::to_owned).collect();
    let master = env::var("MASTER").unwrap_or_else(|_| "mymaster".to_owned());
    let settings = RedisConnectionInfo {
        password: env::var("REDIS_PASSWORD").ok(),
        ..RedisConnectionInfo::default()
    };
    let pool = Config::from_urls(sentinels, master, SentinelServerType::Master)
        .with_node_connection_info(Some(SentinelNodeConnectionInfo {
            redis_connection_info: Some(settings),
            ..SentinelNodeConnectionInfo::default()
        }))
        .create_pool(Some(Runtime::Tokio1))?;
    let store = RedisSessionStore::new(pool);

    let port = env::var("PORT").map_or(Ok(8080), |port| port.parse())?;
    let key = Key::generate(); // in production: the same secret for every instance
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
