//! Sessions in a Redis that speaks TLS, with a certificate authority of your own and a client
//! certificate.
//!
//! ```text
//! REDIS_URL=rediss://redis.example:6379 CA=ca.pem CERTIFICATE=client.pem CERTIFICATE_KEY=client.key \
//!     cargo run --example tls --features rustls
//! ```
//!
//! When the server's certificate is from an authority that the machine trusts, and it asks for none
//! of the client's, `RedisSessionStore::from_url("rediss://…")` is enough.

use std::env;

use actix_session::{Session, SessionMiddleware};
use actix_session_redis::{
    ConsistentSessions, RedisSessionStore,
    deadpool_redis::{
        Manager, Pool, Runtime,
        redis::{AsyncConnectionConfig, Client, ClientTlsConfig, TlsCertificates},
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
    let read = |variable| {
        let file = env::var(variable).map_err(|_| format!("{variable} names no file"))?;
        std::fs::read(&file).map_err(|error| format!("{file}: {error}"))
    };
    let certificates = TlsCertificates {
        root_cert: Some(read("CA")?),
        client_tls: Some(ClientTlsConfig {
            client_cert: read("CERTIFICATE")?,
            client_key: read("CERTIFICATE_KEY")?,
        }),
    };
    let client = Client::build_with_tls(env::var("REDIS_URL")?, certificates)?;
    let server = client.get_connection_info().clone();
    let manager = Manager::new_with_config(server, AsyncConnectionConfig::new())?;
    let pool = Pool::builder(manager).runtime(Runtime::Tokio1).build()?;
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
