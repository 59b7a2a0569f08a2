//! Sessions under a prefix, logins by actix-identity, and a `main` that returns `io::Result`.

#[cfg(test)]
mod tests;

use std::{env, io};

use actix_identity::{Identity, IdentityMiddleware};
use actix_session::{Session, SessionMiddleware, storage::RedisSessionStore};
use actix_web::{
    App, Error, HttpMessage, HttpRequest, HttpResponse, HttpServer, Responder, cookie::Key, get,
    post, web,
};

#[actix_web::main]
async fn main() -> io::Result<()> {
    let port = variable("PORT")?.parse().map_err(io::Error::other)?;
    let key = Key::from(variable("SESSION_KEY")?.as_bytes());
    let store = store().await?;
    HttpServer::new(move || {
        App::new()
            .wrap(IdentityMiddleware::default())
            .wrap(SessionMiddleware::new(store.clone(), key.clone()))
            .configure(routes)
    })
    .workers(2)
    .bind(("127.0.0.1", port))?
    .run()
    .await
}

async fn store() -> io::Result<RedisSessionStore> {
    RedisSessionStore::builder(variable("REDIS_URL")?)
        .cache_keygen(|session_key| format!("shop:{session_key}"))
        .build()
        .await
        .map_err(io::Error::other)
}

fn variable(name: &str) -> io::Result<String> {
    env::var(name).map_err(io::Error::other)
}

fn routes(app: &mut web::ServiceConfig) {
    app.service(login).service(count).service(logout);
}

#[post("/login/{name}")]
async fn login(request: HttpRequest, name: web::Path<String>) -> Result<impl Responder, Error> {
    Identity::login(&request.extensions(), name.into_inner())?;
    Ok(HttpResponse::NoContent())
}

#[get("/")]
async fn count(user: Option<Identity>, session: Session) -> Result<String, Error> {
    let Some(user) = user else {
        return Ok("nobody".to_owned());
    };
    let visits = session.get::<u64>("visits")?.unwrap_or(0) + 1;
    session.insert("visits", visits)?;
    Ok(format!("{} {visits}", user.id()?))
}

#[post("/logout")]
async fn logout(user: Identity) -> impl Responder {
    user.logout();
    HttpResponse::NoContent()
}
