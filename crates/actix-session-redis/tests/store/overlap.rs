use std::time::Duration;

use actix_session::storage::SessionStore;
use actix_session_redis::{Error, RedisSessionStoreBuilder};
use futures_util::future::join_all;

use crate::support::{
    app::{Setup, TestApp},
    redis::TestRedis,
    scope::in_a_request,
    sessions::{HOUR, Typed, copy, state},
};

/// What the session holds after `setting_up`, when `quick` is asked for and answered while a
/// request for `slow` is running.
async fn outcome(
    options: impl FnOnce(RedisSessionStoreBuilder) -> RedisSessionStoreBuilder,
    setting_up: &[&str],
    slow: &str,
    quick: &str,
) -> String {
    let redis = TestRedis::start().await;
    let app = TestApp::consistent_on(redis.store_with(options));
    let browser = app.browser();
    for path in setting_up {
        browser.get(path).await.text();
    }
    let (slow, quick) = browser.get_slowly(slow, browser.get(quick)).await;
    assert_eq!((slow.status, quick.status), (200, 200));
    browser.get("/read").await.text()
}

fn without_rules(options: RedisSessionStoreBuilder) -> RedisSessionStoreBuilder {
    options
}

fn counting_n(options: RedisSessionStoreBuilder) -> RedisSessionStoreBuilder {
    options.counter("n")
}

#[actix_web::test]
async fn without_consistent_sessions_the_later_request_erases_what_the_other_one_did() {
    let redis = TestRedis::start().await;
    let app = TestApp::on(redis.store());
    let browser = app.browser();
    browser.get("/set/name/Ada").await.text();
    let other = browser.get("/set/color/red");
    let (slow, other) = browser.get_slowly("/set/name/Bea", other).await;
    assert_eq!((slow.status, other.status), (200, 200));
    assert_eq!(browser.get("/read").await.text(), "name=\"Bea\"");
}

#[actix_web::test]
async fn changes_to_different_fields_both_survive() {
    let setting_up = ["/set/name/Ada"];
    let fields = outcome(
        without_rules,
        &setting_up,
        "/set/name/Bea",
        "/set/color/red",
    )
    .await;
    assert_eq!(fields, "color=\"red\" name=\"Bea\"");
}

#[actix_web::test]
async fn a_removal_survives_a_change_to_another_field() {
    let setting_up = ["/set/name/Ada", "/set/color/red"];
    for (slow, quick) in [
        ("/remove/color", "/set/name/Bea"),
        ("/set/name/Bea", "/remove/color"),
    ] {
        let fields = outcome(without_rules, &setting_up, slow, quick).await;
        assert_eq!(fields, "name=\"Bea\"", "{slow} while {quick}");
    }
}

#[actix_web::test]
async fn a_field_that_both_changed_goes_to_the_later_writer() {
    let setting_up = ["/set/name/Ada"];
    for (slow, quick, expected) in [
        ("/set/name/Bea", "/set/name/Cleo", "name=\"Bea\""),
        ("/set/name/Bea", "/remove/name", "name=\"Bea\""),
        ("/remove/name", "/set/name/Cleo", "empty"),
    ] {
        let fields = outcome(without_rules, &setting_up, slow, quick).await;
        assert_eq!(fields, expected, "{slow} while {quick}");
    }
}

#[actix_web::test]
async fn a_field_that_both_added_goes_to_the_later_writer() {
    let setting_up = ["/set/name/Ada"];
    let fields = outcome(
        without_rules,
        &setting_up,
        "/set/color/red",
        "/set/color/blue",
    )
    .await;
    assert_eq!(fields, "color=\"red\" name=\"Ada\"");
}

#[actix_web::test]
async fn a_number_that_is_not_declared_a_counter_goes_to_the_later_writer() {
    let fields = outcome(without_rules, &["/add/n/10"], "/add/n/1", "/add/n/2").await;
    assert_eq!(fields, "n=11");
}

#[actix_web::test]
async fn changes_of_a_counter_add_up() {
    for (slow, quick, expected) in [
        ("/add/n/1", "/add/n/2", "n=13"),
        ("/add/n/-3", "/add/n/1", "n=8"),
        ("/add/n/-20", "/add/n/-1", "n=-11"),
        ("/add/n/5", "/add/n/-5", "n=10"),
    ] {
        let fields = outcome(counting_n, &["/add/n/10"], slow, quick).await;
        assert_eq!(fields, expected, "{slow} while {quick}");
    }
}

#[actix_web::test]
async fn a_counter_that_is_missing_counts_as_0() {
    let fields = outcome(counting_n, &["/set/name/Ada"], "/count", "/count").await;
    assert_eq!(fields, "n=2 name=\"Ada\"");
    let setting_up = ["/set/name/Ada", "/add/n/10"];
    let fields = outcome(counting_n, &setting_up, "/count", "/remove/n").await;
    assert_eq!(fields, "n=1 name=\"Ada\"", "removed meanwhile");
}

#[actix_web::test]
async fn a_counter_that_is_no_integer_goes_to_the_later_writer() {
    for (before, slow, quick, expected) in [
        ("/add/n/10", "/count", "/set/n/many", "n=11"),
        ("/add/n/10", "/set/n/many", "/count", "n=\"many\""),
        ("/set/n/few", "/set/n/many", "/set/n/more", "n=\"many\""),
    ] {
        let fields = outcome(counting_n, &[before], slow, quick).await;
        assert_eq!(fields, expected, "{before}, {slow} while {quick}");
    }
}

#[actix_web::test]
async fn a_merge_function_decides_by_base_theirs_and_ours() {
    let quoting = |options: RedisSessionStoreBuilder| {
        options.merge_field("name", |base, theirs, ours| {
            let text = |value: Option<&serde_json::Value>| {
                value
                    .map_or("nothing", |value| value.as_str().unwrap())
                    .to_owned()
            };
            format!("{}, {}, {}", text(base), text(theirs), text(Some(ours))).into()
        })
    };
    for (before, slow, quick, expected) in [
        ("/set/name/A", "/set/name/B", "/set/name/C", "A, C, B"),
        (
            "/set/name/A",
            "/set/name/B",
            "/remove/name",
            "A, nothing, B",
        ),
        ("/count", "/set/name/B", "/set/name/C", "nothing, C, B"),
    ] {
        let fields = outcome(quoting, &[before], slow, quick).await;
        let name = format!("name=\"{expected}\"");
        assert!(
            fields.ends_with(&name),
            "{fields} after {slow} while {quick}"
        );
    }
}

/// Whatever a planted request, or one of a former user, writes in the meantime.
#[actix_web::test]
async fn whoever_clears_the_session_ends_up_with_what_he_has_written_himself() {
    let setting_up = ["/set/name/Ada", "/set/color/red"];
    for (slow, expected) in [
        ("/clear", "empty"),
        ("/clear-and-set/name/Bea", "name=\"Bea\""),
        ("/clear-and-set/name/Ada", "name=\"Ada\""),
        ("/clear-and-login/Bea", "user=\"Bea\""),
    ] {
        for quick in [
            "/set/city/Oslo",
            "/set/name/Cleo",
            "/count",
            "/remove/color",
        ] {
            let fields = outcome(counting_n, &setting_up, slow, quick).await;
            assert_eq!(fields, expected, "{slow} while {quick}");
        }
    }
}

#[actix_web::test]
async fn whoever_removes_some_fields_and_changes_the_others_has_not_cleared_the_session() {
    let setting_up = ["/set/name/Ada", "/set/color/red"];
    let slow = "/remove-and-set/color/name/Bea";
    let fields = outcome(counting_n, &setting_up, slow, "/set/city/Oslo").await;
    assert_eq!(fields, "city=\"Oslo\" name=\"Bea\"");
}

/// A renewal stores the session under a new key; what it takes there is the merged state.
#[actix_web::test]
async fn a_change_that_is_answered_before_a_renewal_goes_into_the_new_session() {
    for slow in ["/renew", "/login/Ada"] {
        let fields = outcome(counting_n, &["/add/n/10"], slow, "/count").await;
        assert!(fields.starts_with("n=11"), "{fields} after {slow}");
    }
}

fn panicking_at_n(options: RedisSessionStoreBuilder) -> RedisSessionStoreBuilder {
    options.merge_field("n", |_, _, _| panic!("a test panics in a merge function"))
}

#[actix_web::test]
async fn a_panic_in_a_merge_function_fails_that_request_and_nothing_else() {
    let redis = TestRedis::start().await;
    let app = TestApp::consistent_on(redis.store_with(panicking_at_n));
    let (browser, somebody_else) = (app.browser(), app.browser());
    browser.get("/count").await.text();
    let session = redis.only_session();

    let stored = || redis.state(&session);
    let meanwhile = async {
        browser.get("/count").await.text();
        stored()
    };
    let (slow, before) = browser.get_slowly("/count", meanwhile).await;
    slow.assert_empty_500();
    assert!(!slow.touches_session_cookie());
    assert_eq!(stored(), before);
    assert_eq!(browser.get("/count").await.text(), "n=3");
    assert_eq!(somebody_else.get("/count").await.text(), "n=1");
}

#[actix_web::test]
async fn a_panic_in_a_merge_function_is_an_error_of_its_own() {
    let redis = TestRedis::start().await;
    let store = redis.store_with(panicking_at_n);
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    let updated = in_a_request(async move {
        store.load(&key).await.unwrap();
        let other = store.clone();
        let same = copy(&key);
        in_a_request(async move {
            other.load(&same).await.unwrap();
            other.update(same, state("n", "2"), &HOUR).await.unwrap();
        })
        .await;
        store.update(key, state("n", "3"), &HOUR).await
    });
    let error = updated.await.unwrap_err().typed();
    assert_matches!(error, Error::MergePanicked { field } if field == "n");
}

/// Many requests of one browser at once, on several instances with two workers each.
#[actix_web::test]
async fn a_hundred_parallel_increments_of_a_counter_are_a_hundred() {
    let redis = TestRedis::start().await;
    let setup = Setup {
        workers: 2,
        ..Setup::consistent()
    };
    // Sealed, each of them is in the way of all others: that takes a busy machine its time.
    let patient = |options| counting_n(options).deadline(Duration::from_secs(20));
    let instances: [_; 2] =
        std::array::from_fn(|_| TestApp::with(redis.store_with(patient), &setup));
    let browser = instances[0].browser();
    browser.get("/set/name/Ada").await.text();
    let tabs: Vec<_> = instances
        .iter()
        .map(|instance| browser.at(instance))
        .collect();
    let requests = (0..50).flat_map(|_| &tabs).map(|tab| tab.get("/count"));
    for answer in join_all(requests).await {
        answer.text();
    }
    assert_eq!(browser.get("/read").await.text(), "n=100 name=\"Ada\"");
}
