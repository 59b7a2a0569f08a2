//! Sessions on one connection, which the store makes from a URL.

#[cfg(test)]
mod tests;

use std::env;

use actix_session::{Session, SessionMiddleware, storage::RedisSessionStore};
use actix_web::{App, Error, HttpResponse, HttpServer, Responder, cookie::Key, get, post, web};

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    let port = env::var("PORT")?.parse()?;
    let key = Key::try_from(env::var("SESSION_KEY")?.as_bytes())?;
    let store = store().await?;
    HttpServer::new(move || {
        App::new()
            .wrap(SessionMiddleware::new(store.clone(), key.clone()))
            .configure(routes)
    })
    .workers(2)
    .bind(("127.0.0.1", port))?
    .run()
    .await?;
    Ok(())
}

async fn store() -> anyhow::Result<RedisSessionStore> {
    RedisSessionStore::new(env::var("REDIS_URL")?).await
}

fn routes(app: &mut web::ServiceConfig) {
    app.service(login).service(count).service(logout);
}

#[post("/login/{name}")]
async fn login(session: Session, name: web::Path<String>) -> Result<impl Responder, Error> {
    session.renew();
    session.insert("user", name.into_inner())?;
    Ok(HttpResponse::NoContent())
}

#[get("/")]
async fn count(session: Session) -> Result<String, Error> {
    let Some(user) = session.get::<String>("user")? else {
        return Ok("nobody".to_owned());
    };
    let visits = session.get::<u64>("visits")?.unwrap_or(0) + 1;
    session.insert("visits", visits)?;
    Ok(format!("{user} {visits}"))
}

#[post("/logout")]
async fn logout(session: Session) -> impl Responder {
    session.purge();
    HttpResponse::NoContent()
}
