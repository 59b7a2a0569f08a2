//! Login and logout, with the two calls that keep sessions safe: `renew` and `purge`.
//!
//! ```text
//! redis-server &
//! cargo run --example login
//! curl -c jar -b jar -d 'name=ada&password=countess' http://127.0.0.1:8080/login
//! curl -c jar -b jar http://127.0.0.1:8080/
//! curl -c jar -b jar -X POST http://127.0.0.1:8080/logout
//! ```
//!
//! In a project of your own it also needs `cargo add serde --features derive`.

use std::env;

use actix_session::{Session, SessionMiddleware, config::PersistentSession};
use actix_session_redis::{ConsistentSessions, RedisSessionStore};
use actix_web::{
    App, Error, HttpResponse, HttpServer, Responder,
    cookie::{Key, time::Duration},
    error, get, post,
    web::{Form, Redirect},
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Credentials {
    name: String,
    password: String,
}

#[get("/")]
async fn index(session: Session) -> Result<String, Error> {
    Ok(match session.get::<String>("user")? {
        Some(user) => format!("Hello {user}\n"),
        None => "Hello stranger\n".to_owned(),
    })
}

#[post("/login")]
async fn login(session: Session, credentials: Form<Credentials>) -> Result<impl Responder, Error> {
    if !password_is_right(&credentials) {
        return Err(error::ErrorUnauthorized("wrong name or password\n"));
    }
    // A new session key for the new privileges: whoever planted or saw the old one, before the
    // login, is left with nothing (session fixation; OWASP: "Renew the Session ID After Any
    // Privilege Level Change"). What the session holds, such as a cart, goes along.
    session.renew();
    session.insert("user", &credentials.name)?;
    Ok(Redirect::to("/").see_other())
}

#[post("/logout")]
async fn logout(session: Session) -> impl Responder {
    // On both sides: the cookie goes, and so does the state in Redis. To remove only the field
    // would leave a session key alive that may have been copied, and the rest of its state.
    session.purge();
    HttpResponse::SeeOther()
        .insert_header(("Location", "/"))
        .finish()
}

/// Stands for your own user table, which holds password hashes (Argon2), not passwords.
fn password_is_right(credentials: &Credentials) -> bool {
    credentials.name == "ada" && credentials.password == "countess"
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379".to_owned());
    let port = env::var("PORT").map_or(Ok(8080), |port| port.parse())?;
    let key = match env::var("SESSION_KEY") {
        Ok(secret) => Key::try_from(secret.as_bytes())?,
        Err(_) => Key::generate(),
    };

    let store = RedisSessionStore::from_url(url)?;
    HttpServer::new(move || {
        App::new()
            .wrap(ConsistentSessions::new(
                SessionMiddleware::builder(store.clone(), key.clone())
                    .cookie_secure(false) // this example speaks plain HTTP
                    .session_lifecycle(PersistentSession::default().session_ttl(Duration::days(7)))
                    .build(),
            ))
            .service(index)
            .service(login)
            .service(logout)
    })
    .bind(("127.0.0.1", port))?
    .run()
    .await?;
    Ok(())
}
