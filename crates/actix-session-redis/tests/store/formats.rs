use actix_session::storage::{RedisSessionStore as BuiltIn, SessionStore};
use actix_session_redis::RedisSessionStore;

use crate::support::{
    app::{Setup, TestApp},
    redis::TestRedis,
    sessions::{HOUR, State, copy, session_key, state},
};

/// The store built into actix-session, in both of its forms.
async fn built_in_stores(redis: &TestRedis) -> [BuiltIn; 2] {
    let config = built_in_deadpool_redis::Config::from_url(redis.url());
    let runtime = built_in_deadpool_redis::Runtime::Tokio1;
    let pool = config.create_pool(Some(runtime)).unwrap();
    [
        BuiltIn::new(redis.url()).await.unwrap(),
        BuiltIn::new_pooled(pool).await.unwrap(),
    ]
}

fn our_store(redis: &TestRedis) -> RedisSessionStore {
    redis.store_with(|options| options.key_prefix(""))
}

fn sample() -> State {
    let mut state = state("name", r#""가나다 \"quoted\"""#);
    state.insert("cart".into(), r#"[{"id":1},null,2.5]"#.into());
    state
}

#[actix_web::test]
async fn the_built_in_store_reads_and_continues_our_sessions() {
    let redis = TestRedis::start().await;
    let ours = our_store(&redis);
    let mut large = sample();
    large.insert("large".into(), format!("\"{}\"", "x".repeat(10_000)));
    for theirs in built_in_stores(&redis).await {
        for sample in [sample(), large.clone()] {
            let key = ours.save(sample.clone(), &HOUR).await.unwrap();
            assert_eq!(theirs.load(&key).await.unwrap(), Some(sample));
        }
        let key = ours.save(sample(), &HOUR).await.unwrap();
        let updated = theirs.update(copy(&key), state("n", "1"), &HOUR).await;
        assert_eq!(updated.unwrap(), key);
        assert_eq!(ours.load(&key).await.unwrap(), Some(state("n", "1")));
        theirs.delete(&key).await.unwrap();
        assert_eq!(ours.load(&key).await.unwrap(), None);
    }
}

#[actix_web::test]
async fn we_read_and_continue_the_built_in_stores_sessions() {
    let redis = TestRedis::start().await;
    let ours = our_store(&redis);
    for theirs in built_in_stores(&redis).await {
        let key = theirs.save(sample(), &HOUR).await.unwrap();
        assert_eq!(ours.load(&key).await.unwrap(), Some(sample()));
        let updated = ours.update(copy(&key), state("n", "1"), &HOUR).await;
        assert_eq!(updated.unwrap(), key);
        assert_eq!(theirs.load(&key).await.unwrap(), Some(state("n", "1")));
        ours.delete(&key).await.unwrap();
        assert_eq!(theirs.load(&key).await.unwrap(), None);
    }
}

#[actix_web::test]
async fn a_visitor_does_not_notice_which_store_an_instance_uses() {
    let redis = TestRedis::start().await;
    let setup = Setup::default();
    let ours = TestApp::with(our_store(&redis), &setup);
    for theirs in built_in_stores(&redis).await {
        let theirs = TestApp::with(theirs, &setup);
        let browser = ours.browser();
        for n in [1, 3, 5] {
            assert_eq!(browser.get("/count").await.text(), format!("n={n}"));
            let answer = browser.at(&theirs).get("/count").await;
            assert_eq!(answer.text(), format!("n={}", n + 1));
        }
        browser.at(&theirs).get("/renew").await.text();
        assert_eq!(browser.get("/read").await.text(), "n=6");
        browser.get("/purge").await.text();
        assert_eq!(browser.at(&theirs).get("/read").await.text(), "empty");
    }
}

#[actix_web::test]
async fn the_coming_versioned_format_is_read_and_goes_back_to_the_present_one() {
    let redis = TestRedis::start().await;
    let store = redis.store();
    let versioned = br#"{"v":1,"state":{"name":"Ada","cart":[1,2]}}"#;
    redis.put("session:versioned", versioned);

    let key = session_key("versioned");
    let loaded = store.load(&key).await.unwrap().unwrap();
    assert_eq!(loaded.len(), 2);
    assert_eq!(
        (loaded["name"].as_str(), loaded["cart"].as_str()),
        (r#""Ada""#, "[1,2]")
    );

    store
        .update(key, state("name", r#""Ada""#), &HOUR)
        .await
        .unwrap();
    let present = br#"{"name":"\"Ada\""}"#;
    assert_eq!(redis.value("session:versioned").unwrap(), present);
}
