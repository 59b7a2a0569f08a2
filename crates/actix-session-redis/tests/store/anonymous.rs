use std::time::Duration;

use actix_session::{config::TtlExtensionPolicy, storage::SessionStore};
use actix_session_redis::{ConsistentSessions, Error, RedisSessionStore};
use actix_web::web::{self, ServiceConfig};

use crate::support::{
    app::{Setup, TestApp},
    browser::{Answer, Browser},
    is_back,
    redis::{TestRedis, commands, pool_at},
    scope::{in_a_request, in_an_answered_request},
    sealing,
    sessions::{HOUR, State, Typed, copy, hash_of, long_key, state},
    tally::Tally,
};

const DEADLINE: Duration = Duration::from_millis(200);

/// For who has to find Redis again, on the busiest machine.
const PATIENT: Duration = Duration::from_secs(20);

fn store(redis: &TestRedis) -> RedisSessionStore {
    redis.store_with(|options| options.deadline(DEADLINE).anonymous_during_outage(true))
}

/// Redis went away after Ada had logged in.
struct Outage<'a> {
    tally: &'a Tally,
    redis: TestRedis,
    app: TestApp,
    cookie: String,
    session: String,
    stored: (Vec<u8>, i64),
}

impl<'a> Outage<'a> {
    async fn begin(tally: &'a Tally) -> Self {
        Self::begin_with(tally, &Setup::consistent()).await
    }

    async fn begin_with(tally: &'a Tally, setup: &Setup) -> Self {
        let redis = TestRedis::start_with(&["--appendonly", "yes"]).await;
        let app = TestApp::with(store(&redis), setup);
        let browser = app.browser();
        browser.get("/set/user/Ada").await.text();
        let (cookie, session) = (browser.cookie(), redis.only_session());
        let stored = redis.dump(&session);
        redis.stop();
        Self {
            tally,
            redis,
            app,
            cookie,
            session,
            stored,
        }
    }

    fn browser(&self) -> Browser<'_> {
        self.app.browser_with_cookie(&self.cookie)
    }

    async fn end(&self) {
        self.redis.start_again().await;
    }

    /// Neither the session nor what the browser knows of it, and there is nothing else.
    #[track_caller]
    fn assert_nothing_has_changed(&self, answers: &[Answer], browser: &Browser<'_>) {
        assert!(!answers.iter().any(Answer::touches_session_cookie));
        assert_eq!(browser.cookie(), self.cookie);
        assert_eq!(self.redis.keys(), [self.session.as_str()]);
        self.tally
            .check(&self.redis.dump(&self.session), &self.stored);
    }
}

/// Every way in which a request can write its session: changed, counted, removed, cleared, renewed,
/// logged in, purged, failed.
const WRITES: [&str; 8] = [
    "/set/user/Eve",
    "/count",
    "/remove/user",
    "/clear",
    "/renew",
    "/login/Eve",
    "/purge",
    "/count-and-fail",
];

#[actix_web::test]
async fn a_public_page_stays_up_and_reads_nothing() {
    let tally = Tally::of_this_test();
    let outage = Outage::begin(&tally).await;
    let browser = outage.browser();
    let read = [tally.send(browser.get("/read")).await];
    outage.end().await;
    outage.assert_nothing_has_changed(&read, &browser);
    assert_eq!(read.map(Answer::text), ["empty"]);
}

#[actix_web::test]
async fn whoever_was_logged_in_still_is_when_redis_is_back() {
    let tally = Tally::of_this_test();
    let redis = TestRedis::start_with(&["--appendonly", "yes"]).await;
    let patient = Duration::from_secs(1);
    let store = redis.store_with(|options| options.deadline(patient).anonymous_during_outage(true));
    let app = TestApp::consistent_on(store.clone());
    let browser = app.browser();
    browser.get("/set/user/Ada").await.text();
    redis.stop();
    assert_eq!(tally.send(browser.get("/read")).await.text(), "empty");
    let login = tally.send(browser.get("/login/Eve")).await;
    login.assert_empty_503();
    redis.start_again().await;
    is_back(&store).await;
    tally.check(browser.get("/count").await.text(), "n=1 user=\"Ada\"");
}

#[actix_web::test]
async fn a_write_is_an_empty_503_and_changes_nothing() {
    let tally = Tally::of_this_test();
    let outage = Outage::begin(&tally).await;
    let browser = outage.browser();
    let mut answers = Vec::new();
    for write in WRITES {
        answers.push(tally.send(browser.get(write)).await);
    }
    outage.end().await;
    answers.iter().for_each(Answer::assert_empty_503);
    outage.assert_nothing_has_changed(&answers, &browser);
}

#[actix_web::test]
async fn a_write_is_an_empty_503_and_changes_nothing_even_if_redis_is_back_by_then() {
    let tally = Tally::of_this_test();
    for write in WRITES {
        let outage = Outage::begin(&tally).await;
        let browser = outage.browser();
        let slowly = async { browser.get_slowly(write, outage.end()).await.0 };
        let answer = tally.send(slowly).await;
        answer.assert_empty_503();
        outage.assert_nothing_has_changed(&[answer], &browser);
    }
}

#[actix_web::test]
async fn a_session_that_lives_by_being_read_is_not_prolonged_and_its_cookie_not_set() {
    let tally = Tally::of_this_test();
    let setup = Setup {
        policy: TtlExtensionPolicy::OnEveryRequest,
        persistent: true,
        ..Setup::consistent()
    };
    let outage = Outage::begin_with(&tally, &setup).await;
    let browser = outage.browser();
    let during = tally.send(browser.get("/read")).await;
    let slowly = async { browser.get_slowly("/read", outage.end()).await.0 };
    let reads = [during, tally.send(slowly).await];
    outage.assert_nothing_has_changed(&reads, &browser);
    assert_eq!(reads.map(Answer::text), ["empty"; 2]);
}

#[actix_web::test]
async fn its_current_session_is_unavailable() {
    let tally = Tally::of_this_test();
    let outage = Outage::begin(&tally).await;
    let browser = outage.browser();
    let current = tally.send(browser.get("/current")).await;
    assert_eq!(
        current.text(),
        "none none None CurrentSession { handle: None, is_unavailable: true, .. }"
    );
}

#[actix_web::test]
async fn a_visitor_who_had_no_session_gets_one_as_soon_as_redis_is_back() {
    let tally = Tally::of_this_test();
    let redis = TestRedis::not_started();
    let store = redis.store_with(|options| options.deadline(PATIENT).anonymous_during_outage(true));
    let app = TestApp::consistent_on(store);
    let browser = app.browser();
    let slowly = async { browser.get_slowly("/count", redis.start_again()).await.0 };
    assert_eq!(tally.send(slowly).await.text(), "n=1");
    tally.check(browser.get("/read").await.text(), "n=1");
}

#[actix_web::test]
async fn by_default_it_is_an_empty_503() {
    let tally = Tally::of_this_test();
    let redis = TestRedis::not_started();
    let setup = Setup::consistent();
    let store = redis.store_with(|options| options.deadline(DEADLINE));
    let app = TestApp::with(store, &setup);
    let browser = app.browser_with_cookie(setup.signed_cookie(long_key("any").as_ref()));
    tally.send(browser.get("/read")).await.assert_empty_503();
}

#[actix_web::test]
async fn without_consistent_sessions_it_is_an_empty_500() {
    let tally = Tally::of_this_test();
    let redis = TestRedis::not_started();
    let setup = Setup::default();
    let app = TestApp::with(store(&redis), &setup);
    let browser = app.browser_with_cookie(setup.signed_cookie(long_key("any").as_ref()));
    tally.send(browser.get("/read")).await.assert_empty_500();
}

#[actix_web::test]
async fn when_redis_refuses_it_is_an_empty_500() {
    let tally = Tally::of_this_test();
    let redis = TestRedis::start().await;
    redis.run::<()>("CONFIG SET requirepass another");
    let setup = Setup::consistent();
    let pool = pool_at(&redis.url_as(":open-sesame@"));
    let store = sealing::options(pool).anonymous_during_outage(true);
    let app = TestApp::with(store.build(), &setup);
    let browser = app.browser_with_cookie(setup.signed_cookie(long_key("any").as_ref()));
    tally.send(browser.get("/read")).await.assert_empty_500();
}

#[track_caller]
fn assert_unavailable(error: impl Typed) {
    assert_matches!(error.typed(), Error::Unavailable { .. });
}

/// What the session middleware asks of the store when the application has answered.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Write {
    Prolong,
    Update,
    Delete,
    Save,
}

#[actix_web::test]
async fn its_writes_do_not_reach_redis_and_only_those_that_matter_are_a_503() {
    for (write, answer) in [
        (Write::Prolong, 200),
        (Write::Update, 503),
        (Write::Delete, 503),
        (Write::Save, 503),
    ] {
        let redis = TestRedis::not_started();
        let store = store(&redis);
        let (sent, status) = in_an_answered_request(async move {
            let (key, n) = (long_key("any"), state("n", "1"));
            assert_eq!(store.load(&key).await.unwrap(), Some(State::new()));
            redis.start_again().await;
            let writes = async {
                match write {
                    Write::Prolong => store.update_ttl(&key, &HOUR).await.unwrap(),
                    Write::Update => drop(store.update(copy(&key), n, &HOUR).await.unwrap()),
                    Write::Delete => store.delete(&key).await.unwrap(),
                    Write::Save => drop(store.save(n, &HOUR).await.unwrap()),
                }
            };
            redis.commands_during(writes).await.1
        })
        .await;
        assert_eq!((sent, status), (commands([]), answer), "{write:?}");
    }
}

#[actix_web::test]
async fn what_it_writes_to_another_store_is_written() {
    in_a_request(async {
        let (away, here) = (TestRedis::not_started(), TestRedis::start().await);
        let loaded = store(&away).load(&long_key("any")).await;
        assert_eq!(loaded.unwrap(), Some(State::new()));
        let key = store(&here).save(state("n", "1"), &HOUR).await.unwrap();
        assert_eq!(here.only_session(), hash_of(&key));
    })
    .await;
}

/// It may have asked for the session of somebody else, and knows best what to make of it.
#[actix_web::test]
async fn a_handler_that_loads_a_session_itself_gets_the_error() {
    let redis = TestRedis::not_started();
    let store = store(&redis);
    let setup = Setup::consistent();
    let app = TestApp::configured(move |app: &mut ServiceConfig| {
        let sessions = ConsistentSessions::new(setup.sessions(store.clone()));
        let store = store.clone();
        let load = move || {
            let store = store.clone();
            async move {
                assert_unavailable(store.load(&long_key("any")).await.unwrap_err());
                "unavailable"
            }
        };
        app.service(web::resource("/load").wrap(sessions).to(load));
    });
    assert_eq!(app.browser().get("/load").await.text(), "unavailable");
}
