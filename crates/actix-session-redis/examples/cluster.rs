//! Sessions in a Redis Cluster.
//!
//! ```text
//! REDIS_URLS=redis://127.0.0.1:7000,redis://127.0.0.1:7001 \
//!     cargo run --example cluster --features cluster
//! ```
//!
//! The nodes that are named are those to ask first; the client finds all others through them.

use std::env;

use actix_session::{Session, SessionMiddleware};
use actix_session_redis::{
    ConsistentSessions, RedisSessionStore,
    deadpool_redis::{Runtime, cluster},
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
    let urls = env::var("REDIS_URLS")?;
    let nodes: Vec<_> = urls.split(',').map(str::to_owned).collect();
    // Not with `read_from_replicas`: a replica may not have the latest write of a session yet.
    let pool = cluster::Config::from_urls(nodes).create_pool(Some(Runtime::Tokio1))?;
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
