//! Sessions on a pool, which the application uses itself as well; with an error type of its own.

#[cfg(test)]
mod tests;

use std::{env, io};

use actix_session::{Session, SessionMiddleware, storage::RedisSessionStore};
use actix_web::{
    App, Error, HttpResponse, HttpServer, Responder,
    cookie::Key,
    error::{ErrorInternalServerError, ErrorUnauthorized},
    get, post, web,
};
use deadpool_redis::{Config, CreatePoolError, Pool, Runtime, redis::AsyncCommands};

#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("the pool: {0}")]
    Pool(#[from] CreatePoolError),
    #[error("the sessions: {0}")]
    Sessions(#[from] anyhow::Error),
    #[error("the server: {0}")]
    Server(#[from] io::Error),
}

#[actix_web::main]
async fn main() -> Result<(), StartError> {
    let variable = |name| env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    let port = variable("PORT").parse().expect("PORT is a number");
    let key = Key::from(variable("SESSION_KEY").as_bytes());
    let pool = Config::from_url(variable("REDIS_URL")).create_pool(Some(Runtime::Tokio1))?;
    let store = sessions_in(&pool).await?;
    HttpServer::new(move || {
        App::new()
            .wrap(SessionMiddleware::new(store.clone(), key.clone()))
            .app_data(web::Data::new(pool.clone()))
            .configure(routes)
    })
    .workers(2)
    .bind(("127.0.0.1", port))?
    .run()
    .await?;
    Ok(())
}

async fn sessions_in(pool: &Pool) -> Result<RedisSessionStore, StartError> {
    let store = RedisSessionStore::new_pooled(pool.clone()).await?;
    Ok(store)
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

/// Counts in the session, and all users together in Redis.
#[get("/")]
async fn count(session: Session, pool: web::Data<Pool>) -> Result<String, Error> {
    let user = session.get::<String>("user")?;
    let user = user.ok_or_else(|| ErrorUnauthorized("nobody"))?;
    let visits = session.get::<u64>("visits")?.unwrap_or(0) + 1;
    session.insert("visits", visits)?;
    let mut redis = pool.get().await.map_err(ErrorInternalServerError)?;
    let total: u64 = redis
        .incr("total", 1)
        .await
        .map_err(ErrorInternalServerError)?;
    Ok(format!("{user} {visits} of {total}"))
}

#[post("/logout")]
async fn logout(session: Session) -> impl Responder {
    session.purge();
    HttpResponse::NoContent()
}
