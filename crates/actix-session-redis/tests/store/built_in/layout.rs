use actix_session::storage::SessionStore as _;
use actix_session_redis::{Error, RedisSessionStoreBuilder};

use super::{Both, session_key_of};
use crate::support::{
    app::Setup,
    redis::TestRedis,
    sessions::{HOUR, session_key, state},
};

async fn both() -> Both {
    Both::start(|options| options.built_in_layout("")).await
}

#[actix_web::test]
async fn each_side_reads_what_the_other_has_written() {
    let both = both().await;
    let user = both.user().await;
    for n in 2..6 {
        let side = if n % 2 == 0 { &both.ours } else { &both.theirs };
        let counted = user.at(side).get("/count").await.text();
        assert_eq!(counted, format!("n={n} user=\"ada\""));
    }
    let newcomer = both.ours.browser();
    newcomer.get("/login/eve").await.text();
    assert_eq!(both.read_there(&newcomer).await, "user=\"eve\"");
}

#[actix_web::test]
async fn names_bytes_and_ttl_are_those_of_the_built_in_store() {
    let both = both().await;
    let user = both.ours.browser();
    user.get("/set/name/Ada").await.text();
    let redis_key = session_key_of(&user);
    assert_eq!(both.redis.keys(), [&*redis_key]);
    let here = both.value_of(&redis_key);
    assert_eq!(here, r#"{"name":"\"Ada\""}"#);
    both.lives_for_a_minute(&redis_key);
    user.at(&both.theirs).get("/set/name/Ada").await.text();
    user.at(&both.theirs).get("/set/name/Eve").await.text();
    user.at(&both.theirs).get("/set/name/Ada").await.text();
    assert_eq!(both.value_of(&redis_key), here);
    both.lives_for_a_minute(&redis_key);
    user.get("/set/name/Eve").await.text();
    let pttl = both.redis.pttl(&redis_key);
    assert!((3_590_000..=3_600_000).contains(&pttl), "{pttl}");
}

#[actix_web::test]
async fn a_prefix_is_that_of_a_cache_keygen() {
    let redis = TestRedis::start().await;
    let store = redis.unsealed_store_with(|options| options.built_in_layout("app:sessions:"));
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    let redis_key = format!("app:sessions:{}", key.as_ref());
    assert_eq!(redis.keys(), [&*redis_key]);
    assert_eq!(store.load(&key).await.unwrap(), Some(state("n", "1")));
}

#[actix_web::test]
async fn a_logout_and_a_renewal_on_either_side_are_so_on_both() {
    let both = both().await;
    for path in ["/purge", "/login/eve"] {
        for side in [&both.ours, &both.theirs] {
            let user = both.user().await;
            let thief = both.copy_of(&user);
            user.at(side).get(path).await.text();
            both.assert_ended(&thief).await;
        }
    }
}

#[actix_web::test]
async fn a_request_here_that_outlasts_its_session_brings_nothing_back() {
    let both = both().await;
    for end in ["/purge", "/login/eve"] {
        for side in [&both.ours, &both.theirs] {
            for slow in ["/count", "/set/name/Ada", "/clear", "/renew"] {
                let user = both.user().await;
                let thief = both.copy_of(&user);
                let (slow, ()) = thief
                    .at(&both.ours)
                    .get_slowly(slow, async { drop(user.at(side).get(end).await.text()) })
                    .await;
                assert!(!slow.touches_session_cookie(), "{end} {slow:?}");
                both.assert_ended(&thief).await;
            }
        }
    }
}

#[actix_web::test]
async fn a_logout_with_the_key_from_before_a_renewal_ends_its_successor() {
    let both = both().await;
    let user = both.user().await;
    let before = both.copy_of(&user);
    user.at(&both.ours).get("/login/eve").await.text();
    assert_eq!(both.read_there(&user).await, "n=1 user=\"eve\"");
    before.at(&both.ours).get("/purge").await.text();
    both.assert_ended(&user).await;
}

#[actix_web::test]
async fn what_others_have_changed_goes_along_into_a_renewed_session() {
    let both = both().await;
    let user = both.user().await;
    let other = both.copy_of(&user);
    let (_, ()) = user
        .at(&both.ours)
        .get_slowly("/login/eve", async {
            drop(other.get("/set/name/Ada").await.text());
        })
        .await;
    assert_eq!(
        both.read_there(&user).await,
        "n=1 name=\"Ada\" user=\"eve\""
    );
}

#[actix_web::test]
async fn outside_of_consistent_sessions_it_is_the_same() {
    let both = Both::start_with(Setup::default(), |options| options.built_in_layout("")).await;
    let user = both.user().await;
    assert_eq!(
        user.at(&both.ours).get("/count").await.text(),
        "n=2 user=\"ada\""
    );
    assert_eq!(both.read_there(&user).await, "n=2 user=\"ada\"");
    let thief = both.copy_of(&user);
    user.at(&both.ours).get("/purge").await.text();
    both.assert_ended(&thief).await;
}

#[actix_web::test]
async fn modify_keeps_the_ttl() {
    let both = both().await;
    let user = both.user().await;
    let redis_key = session_key_of(&user);
    both.lives_for_a_minute(&redis_key);
    let store = both
        .redis
        .unsealed_store_with(|options| options.built_in_layout(""));
    let key = session_key(&redis_key);
    let changed = store.modify(&key, |state| {
        state.insert("vip".to_owned(), "true".to_owned())
    });
    assert_eq!(changed.await.unwrap(), None);
    assert_eq!(both.read_there(&user).await, "n=1 user=\"ada\" vip=true");
    assert!(both.redis.pttl(&redis_key) <= 60_000);
    user.at(&both.theirs).get("/purge").await.text();
    let gone = store.modify(&key, |state| state.clear()).await;
    assert_matches!(gone, Err(Error::Gone));
}

#[actix_web::test]
async fn check_tells_of_rights_that_are_missing_there() {
    let redis = TestRedis::start().await;
    let user = "ACL SETUSER app on >secret +@all ~session:* ~app:*";
    redis.run::<()>(user);
    let url = redis.url_as("app:secret@");
    type Set = fn(RedisSessionStoreBuilder, &str) -> RedisSessionStoreBuilder;
    let options: [Set; 2] = [
        |options, prefix| options.built_in_layout(prefix),
        |options, prefix| options.adopt_built_in_sessions(prefix),
    ];
    for option in options {
        let store = |prefix| {
            let pool = actix_session_redis::RedisPool::from_url(&url).unwrap();
            option(
                actix_session_redis::RedisSessionStore::builder(pool),
                prefix,
            )
            .build()
        };
        store("app:").check().await.unwrap();
        let refused = store("other:").check().await.unwrap_err();
        assert_matches!(refused, Error::Refused { code, .. } if code == "NOPERM");
    }
}

#[actix_web::test]
async fn a_logout_that_comes_twice_has_nothing_left_to_end() {
    let redis = TestRedis::start().await;
    let store = redis.store_with(|options| options.built_in_layout("shop:"));
    let keys = [
        store.save(state("n", "1"), &HOUR).await.unwrap(),
        store.save(state("n", "1"), &HOUR).await.unwrap(),
    ];
    for key in keys.iter().chain(&keys) {
        store.delete(key).await.unwrap();
    }
    let of_no_session = redis.run::<bool>("EXISTS shop:");
    assert!(!of_no_session);
    assert_eq!(redis.keys().len(), keys.len(), "one tombstone each");
}

/// As after every end that this store has seen: the built-in one leaves nothing that tells of it.
#[actix_web::test]
async fn a_request_that_comes_late_after_a_logout_here_is_anonymous_and_may_log_in() {
    let both = both().await;
    for end in ["/purge", "/login/eve"] {
        let user = both.user().await;
        let late = both.copy_of(&user);
        let late = late.at(&both.ours);
        user.at(&both.ours).get(end).await.text();
        let keys = both.redis.keys();
        for path in ["/count", "/set/name/Ada", "/clear"] {
            let answer = late.get(path).await;
            assert!(!answer.touches_session_cookie(), "{path}: {answer:?}");
            assert_eq!(both.redis.keys(), keys, "{end} {path}");
        }
        late.get("/login/bob").await.text();
        assert_eq!(both.read_there(&late).await, "user=\"bob\"");
    }
}

#[actix_web::test]
async fn the_format_of_the_release_that_follows_is_read_and_that_of_0_11_is_written() {
    let both = both().await;
    let user = both.user().await;
    let redis_key = session_key_of(&user);
    let state = r#"{"v":1,"state":{"n":7,"user":"ada"}}"#;
    both.redis.put(&redis_key, state.as_bytes());
    both.lives_for_a_minute(&redis_key);
    let counted = user.at(&both.ours).get("/count").await.text();
    assert_eq!(counted, "n=8 user=\"ada\"");
    let written = both.value_of(&redis_key);
    assert_eq!(written, r#"{"n":"8","user":"\"ada\""}"#);
    assert_eq!(both.read_there(&user).await, counted);
}

#[actix_web::test]
async fn what_is_no_session_there_is_a_fresh_one_and_stays() {
    let both = both().await;
    let user = both.user().await;
    let redis_key = session_key_of(&user);
    both.redis.run::<()>(&format!("DEL {redis_key}"));
    both.redis.run::<()>(&format!("RPUSH {redis_key} 1"));
    let before = both.redis.dump(&redis_key);
    let here = user.at(&both.ours);
    assert_eq!(here.get("/count").await.text(), "n=1");
    assert_ne!(session_key_of(&user), redis_key);
    assert_eq!(both.redis.dump(&redis_key), before);
}
