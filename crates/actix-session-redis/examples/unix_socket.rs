//! Sessions in a Redis on the same machine, through its Unix socket: as a user of its own, who may
//! touch nothing but sessions, and in a database of their own.
//!
//! ```text
//! redis-cli ACL SETUSER shop on '>secret' '~session:*' \
//!     +@read +@write +@transaction +@scripting +@connection
//! REDIS_URL='redis+unix:///run/redis/redis.sock?db=1&user=shop&pass=secret' \
//!     cargo run --example unix_socket
//! ```

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
    let store = RedisSessionStore::from_url(env::var("REDIS_URL")?)?;

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
