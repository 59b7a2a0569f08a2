use std::time::Duration;

use actix_session::storage::SessionStore as _;
use actix_session_redis::Error;
use futures_util::future::join_all;

use super::{A, B, C, builder, fields, ids, load_error, put, ring, sealed, sealed_with};
use crate::support::{
    app::{Setup, TestApp},
    redis::TestRedis,
    sessions::{HOUR, State, copy, state},
    tally::Tally,
};

fn three_fields() -> State {
    ["a", "b", "c"]
        .map(|it| (it.to_owned(), "1".to_owned()))
        .into()
}

#[actix_web::test]
async fn all_of_a_session_is_sealed_anew_with_its_next_write() {
    let redis = TestRedis::start().await;
    let old = builder(&redis)
        .user_field("a")
        .label_field("b")
        .seal(ring(&[A]))
        .build();
    let new = builder(&redis)
        .user_field("a")
        .label_field("b")
        .seal(ring(&[B, A]))
        .build();
    let setup = Setup::consistent_and_sliding();
    let app = TestApp::with(old.clone(), &setup);
    let renewed_app = TestApp::with(new.clone(), &setup);
    // By a change, a renewal, a look that only prolongs it, and one from outside of a request.
    for path in ["/set/c/2", "/renew", "/read", "modify"] {
        let browser = app.browser();
        for field in ["a", "b", "c"] {
            browser.get(&format!("/set/{field}/1")).await.text();
        }
        let before = browser.get("/read").await.text();
        let key_of = |text: String| {
            let key = text.split(' ').next().unwrap().to_owned();
            actix_session::storage::SessionKey::try_from(key).unwrap()
        };
        let key = key_of(browser.get("/current").await.text());
        assert_eq!(sealed_with(&redis, &key), ids(&[A]));
        let browser = browser.at(&renewed_app);
        match path {
            "modify" => {
                let change = |state: &mut State| state.insert("c".to_owned(), "\"2\"".to_owned());
                new.modify(&key, change).await.unwrap();
            }
            _ => {
                browser.get(path).await.text();
            }
        }
        let key = key_of(browser.get("/current").await.text());
        assert_eq!(sealed_with(&redis, &key), ids(&[B]), "{path}");
        let after = browser.get("/read").await.text();
        assert_eq!(after.replace('2', "1"), before.replace('2', "1"), "{path}");
        browser.get("/purge").await.text();
    }
}

#[actix_web::test]
async fn sealing_anew_overwrites_no_change_of_another_request() {
    let redis = TestRedis::start().await;
    let (old, new) = (sealed(&redis, &[A, B]), sealed(&redis, &[B, A]));
    let setup = Setup::consistent();
    let (app, renewed_app) = (TestApp::with(old, &setup), TestApp::with(new, &setup));
    let browser = app.browser();
    for path in ["/set/name/Ada", "/set/color/red", "/set/city/Rome"] {
        browser.get(path).await.text();
    }
    let slow = browser.at(&renewed_app);
    let (slow, quick) = slow
        .get_slowly("/set/city/Oslo", browser.get("/set/name/Bea"))
        .await;
    assert_eq!((slow.status, quick.status), (200, 200));
    let fields = browser.get("/read").await.text();
    assert_eq!(fields, "city=\"Oslo\" color=\"red\" name=\"Bea\"");
}

#[actix_web::test]
async fn a_session_that_is_gone_is_not_brought_back_by_being_sealed_anew() {
    let redis = TestRedis::start().await;
    let setup = Setup::consistent_and_sliding();
    let app = TestApp::with(sealed(&redis, &[A]), &setup);
    let renewed_app = TestApp::with(sealed(&redis, &[B, A]), &setup);
    let browser = app.browser();
    browser.get("/set/name/Ada").await.text();
    let key = redis.only_session();
    let removal = async { redis.run::<i64>(&format!("DEL {key}")) };
    let (answer, _) = browser.at(&renewed_app).get_slowly("/read", removal).await;
    assert_eq!(answer.status, 200);
    assert_eq!(redis.keys(), [""; 0]);
}

#[actix_web::test]
async fn sessions_from_before_sealing_are_read_on_demand_and_sealed_with_their_next_write() {
    let redis = TestRedis::start().await;
    let clear = builder(&redis).build();
    let key = clear.save(three_fields(), &HOUR).await.unwrap();
    let migrating = builder(&redis)
        .seal(ring(&[A]))
        .accept_unsealed(true)
        .build();
    assert_eq!(migrating.load(&key).await.unwrap(), Some(three_fields()));
    let change = |state: &mut State| state.insert("c".to_owned(), "2".to_owned());
    migrating.modify(&key, change).await.unwrap();
    assert_eq!(sealed_with(&redis, &key), ids(&[A]));
    let strict = sealed(&redis, &[A]);
    assert_eq!(strict.load(&key).await.unwrap().unwrap()["c"], "2");
    // A forgery is no clear text.
    let mut broken = fields(&redis, &key)[&b"a"[..]].clone();
    broken[20] ^= 1;
    put(&redis, &key, b"a", &broken);
    assert_matches!(load_error(&migrating, &key).await, Error::BrokenSeal);
}

#[actix_web::test]
async fn a_ring_that_only_reads_prepares_for_sealing_and_leads_back() {
    let redis = TestRedis::start().await;
    let only_reads = builder(&redis).seal(ring(&[A]).only_reads()).build();
    let seals = builder(&redis)
        .seal(ring(&[A]))
        .accept_unsealed(true)
        .build();
    let key = only_reads.save(three_fields(), &HOUR).await.unwrap();
    assert_eq!(fields(&redis, &key)[&b"a"[..]], b"1");
    for (store, n) in [
        (&seals, "2"),
        (&only_reads, "3"),
        (&seals, "4"),
        (&only_reads, "5"),
    ] {
        let change = |state: &mut State| state.insert("a".to_owned(), n.to_owned());
        store.modify(&key, change).await.unwrap();
        for reader in [&seals, &only_reads] {
            assert_eq!(reader.load(&key).await.unwrap().unwrap()["a"], n);
        }
    }
    let key = seals.save(three_fields(), &HOUR).await.unwrap();
    assert_eq!(only_reads.load(&key).await.unwrap(), Some(three_fields()));
    let updated = only_reads.update(copy(&key), state("a", "2"), &HOUR).await;
    assert_eq!(updated.unwrap(), key);
    let clear = builder(&redis).build();
    assert_eq!(clear.load(&key).await.unwrap(), Some(state("a", "2")));
}

/// Each counts, alone and in two tabs at once, and logs in anew now and then.
async fn visit(tally: &Tally, apps: &[TestApp], visitor: usize, rounds: usize) {
    let browser = apps[visitor % apps.len()].browser();
    let mut count = 0;
    let user = format!("visitor {visitor}").replace(' ', "-");
    tally
        .send(browser.get(&format!("/login/{user}")))
        .await
        .text();
    for round in 0..rounds {
        let browser = browser.at(&apps[(visitor + round) % apps.len()]);
        let tab = browser.at(&apps[(visitor + round + 1) % apps.len()]);
        let both = [browser.get("/count"), tab.get("/count")];
        for answer in join_all(both.map(|request| tally.send(request))).await {
            answer.text();
        }
        count += 2;
        if round % 3 == 2 {
            tally.send(browser.get("/renew")).await.text();
        }
        let read = tally.send(tab.get("/read")).await.text();
        tally.check(read, format!("n={count} user=\"{user}\""));
    }
}

/// Instances with these rings side by side, on the same sessions.
fn instances(redis: &TestRedis, rings: &[&[[u8; 32]]], setup: &Setup) -> Vec<TestApp> {
    let store = |keys: &&[[u8; 32]]| {
        let options = builder(redis).counter("n").user_field("user");
        options
            .seal(ring(keys))
            .deadline(Duration::from_secs(20))
            .build()
    };
    rings
        .iter()
        .map(|keys| TestApp::with(store(keys), setup))
        .collect()
}

#[actix_web::test]
async fn nobody_is_logged_out_while_three_keys_take_turns_under_load() {
    let tally = Tally::of_this_test();
    let redis = TestRedis::start().await;
    let setup = Setup::consistent_and_sliding();
    // What runs side by side while instances are replaced one after the other.
    for rings in [
        [&[A, B][..], &[A, B]],
        [&[A, B], &[B, A]],
        [&[B, A, C], &[B, A]],
        [&[B, A, C], &[C, B, A]],
    ] {
        let apps = instances(&redis, &rings, &setup);
        let visits = (0..16).map(|visitor| visit(&tally, &apps, visitor, 6));
        join_all(visits).await;
    }
}

#[actix_web::test]
async fn a_session_outlives_any_number_of_keys_if_it_is_used() {
    let redis = TestRedis::start().await;
    let setup = Setup::consistent_and_sliding();
    let steps: [&[[u8; 32]]; 6] = [&[A], &[A, B], &[B, A], &[B], &[B, C], &[C, B]];
    let apps = instances(&redis, &steps, &setup);
    let browser = apps[0].browser();
    browser.get("/login/Ada").await.text();
    for app in &apps {
        let read = browser.at(app).get("/read").await.text();
        assert_eq!(read, "user=\"Ada\"");
    }
    let last = sealed(&redis, &[C]);
    let key = redis.only_session();
    let app = TestApp::with(last, &setup);
    assert_eq!(browser.at(&app).get("/read").await.text(), "user=\"Ada\"");
    assert!(redis.keys().contains(&key));
}

#[actix_web::test]
async fn a_key_that_is_missing_on_one_instance_costs_its_requests_and_no_session() {
    let redis = TestRedis::start().await;
    let setup = Setup::consistent();
    let apps = instances(&redis, &[&[B, A], &[A]], &setup);
    let browser = apps[0].browser();
    browser.get("/count").await.text();
    browser.at(&apps[1]).get("/count").await.assert_empty_500();
    assert_eq!(browser.get("/count").await.text(), "n=2");
}
