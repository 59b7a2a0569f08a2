//! What nobody can do without: the same commands by hand, on one connection per worker, and the
//! same cookie.

use std::collections::HashMap;

use actix_session_redis::deadpool_redis::redis::{
    AsyncCommands as _, Client, ExistenceCheck, IntoConnectionInfo as _, RedisError, SetExpiry,
    SetOptions, aio::MultiplexedConnection, io::tcp::TcpSettings,
};
use actix_web::{
    Error, HttpRequest, HttpResponse,
    cookie::CookieJar,
    error::{ErrorInternalServerError, ErrorUnauthorized},
    web,
};

use crate::{cookie, routes::COUNT};

pub(crate) struct Floor {
    redis: MultiplexedConnection,
    sliding: bool,
}

impl Floor {
    pub(crate) async fn connect(redis: String, sliding: bool) -> Result<Self, RedisError> {
        let undelayed = TcpSettings::default().set_nodelay(true);
        let client = Client::open(redis.into_connection_info()?.set_tcp_settings(undelayed))?;
        Ok(Self {
            redis: client.get_multiplexed_async_connection().await?,
            sliding,
        })
    }
}

pub(crate) fn routes(app: &mut web::ServiceConfig) {
    app.route("/count", web::get().to(count))
        .route("/read", web::get().to(read));
}

type State = HashMap<String, String>;

const TTL_MS: u64 = cookie::TTL.whole_milliseconds().unsigned_abs() as u64;

async fn count(request: HttpRequest, floor: web::Data<Floor>) -> Result<HttpResponse, Error> {
    let mut redis = floor.redis.clone();
    let key = session_key(&request)?;
    let mut state = load(&mut redis, &key).await?;
    let n = counted(&state)? + 1;
    state.insert(COUNT.to_owned(), n.to_string());
    let body = serde_json::to_string(&state)?;
    let options = SetOptions::default()
        .conditional_set(ExistenceCheck::XX)
        .with_expiration(SetExpiry::PX(TTL_MS));
    let _: bool = redis
        .set_options(&key, body, options)
        .await
        .map_err(ErrorInternalServerError)?;
    Ok(HttpResponse::Ok()
        .cookie(cookie::signed(key))
        .body(n.to_string()))
}

async fn read(request: HttpRequest, floor: web::Data<Floor>) -> Result<HttpResponse, Error> {
    let mut redis = floor.redis.clone();
    let key = session_key(&request)?;
    let state = load(&mut redis, &key).await?;
    let mut response = HttpResponse::Ok();
    if floor.sliding {
        let _: bool = redis
            .pexpire(&key, TTL_MS.cast_signed())
            .await
            .map_err(ErrorInternalServerError)?;
        response.cookie(cookie::signed(key));
    }
    Ok(response.body(counted(&state)?.to_string()))
}

fn session_key(request: &HttpRequest) -> Result<String, Error> {
    let refusal = || ErrorUnauthorized("no session cookie of ours");
    let mut jar = CookieJar::new();
    jar.add_original(request.cookie(cookie::NAME).ok_or_else(refusal)?);
    let cookie = jar.signed(&cookie::KEY).get(cookie::NAME);
    Ok(cookie.ok_or_else(refusal)?.value().to_owned())
}

async fn load(redis: &mut MultiplexedConnection, key: &str) -> Result<State, Error> {
    let body: Option<String> = redis.get(key).await.map_err(ErrorInternalServerError)?;
    let body = body.ok_or_else(|| ErrorUnauthorized("no such session"))?;
    Ok(serde_json::from_str(&body)?)
}

fn counted(state: &State) -> Result<u64, Error> {
    Ok(state
        .get(COUNT)
        .map_or(Ok(0), |n| serde_json::from_str(n))?)
}
