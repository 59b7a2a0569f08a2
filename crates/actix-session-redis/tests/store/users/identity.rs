use actix_identity::{Identity, IdentityMiddleware};
use actix_session_redis::{ConsistentSessions, RedisSessionStore};
use actix_web::{HttpMessage as _, HttpRequest, Result, get, web};

use super::handles;
use crate::support::{
    app::{Setup, TestApp},
    redis::TestRedis,
};

#[get("/log-in/{user}")]
async fn log_in(request: HttpRequest, user: web::Path<String>) -> Result<&'static str> {
    Identity::login(&request.extensions(), user.into_inner()).map_err(actix_web::Error::from)?;
    Ok("welcome")
}

#[get("/log-out")]
async fn log_out(identity: Identity) -> &'static str {
    identity.logout();
    "good bye"
}

#[get("/who")]
async fn who(identity: Option<Identity>) -> String {
    identity.map_or("nobody".to_owned(), |identity| identity.id().unwrap())
}

fn app_with_identities(store: &RedisSessionStore) -> TestApp {
    let (store, setup) = (store.clone(), Setup::consistent());
    TestApp::configured(move |app| {
        let sessions = setup.sessions(store.clone());
        let own = web::scope("")
            .wrap(IdentityMiddleware::default())
            .wrap(ConsistentSessions::new(sessions))
            .service((log_in, log_out, who));
        app.service(own);
    })
}

#[actix_web::test]
async fn who_logs_in_by_actix_identity_is_listed_and_ended() {
    let redis = TestRedis::start().await;
    let store = redis.store_with(|builder| builder.user_field("actix_identity.user_id"));
    let app = app_with_identities(&store);
    let [phone, laptop, of_bob] = [app.browser(), app.browser(), app.browser()];
    phone.get("/log-in/Ada").await.text();
    laptop.get("/log-in/Ada").await.text();
    of_bob.get("/log-in/Bob").await.text();
    let listed = handles(&store, "Ada").await;
    assert_eq!(listed.len(), 2);

    assert!(store.sessions_of("Ada").end(&listed[0]).await.unwrap());
    assert_eq!(phone.get("/who").await.text(), "nobody");
    assert_eq!(laptop.get("/who").await.text(), "Ada");
    laptop.get("/log-out").await.text();
    assert_eq!(handles(&store, "Ada").await, []);

    phone.get("/log-in/Ada").await.text();
    assert_eq!(store.sessions_of("Ada").end_all().await.unwrap(), 1);
    assert_eq!(phone.get("/who").await.text(), "nobody");
    assert_eq!(of_bob.get("/who").await.text(), "Bob");
}
