use std::{collections::BTreeSet, time::Duration};

use actix_session::storage::{SessionKey, SessionStore};
use futures_util::future::join_all;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::timeout;

use crate::support::{
    app::{Setup, TestApp},
    eventually,
    line::Line,
    proxy::{Fate, Proxy},
    redis::{TestRedis, pool_of},
    report, sealing,
    sessions::{HOUR, State},
};

const WORKERS: usize = 4;
const VISITORS: u64 = 50;

/// What Redis takes to answer, so that many a client hangs up while it is asked.
const LATENCY: Duration = Duration::from_millis(2);

/// Time enough for everything, on the busiest machine.
const PATIENT: Duration = Duration::from_secs(60);

/// What only the session of this visitor holds, and a counter.
fn session_of(visitor: u64) -> State {
    let marker = ("marker".to_owned(), format!("\"{visitor}\""));
    [marker, ("n".to_owned(), "0".to_owned())].into()
}

async fn fifty_sessions(redis: &TestRedis) -> Vec<SessionKey> {
    let store = redis.store();
    let saves = (0..VISITORS).map(|visitor| store.save(session_of(visitor), &HOUR));
    let saved = join_all(saves).await;
    saved.into_iter().map(Result::unwrap).collect()
}

/// What came of a visitor's requests.
#[derive(Default)]
struct Outcomes {
    answered: usize,
    hung_up: usize,
    /// Answered with something else than the visitor's own session.
    foreign: usize,
}

/// Sends one request after the other. Every other client hangs up at a random moment: with a
/// farewell, or as when it dies.
async fn visit(app: &TestApp, visitor: u64, cookie: &str, requests: usize) -> Outcomes {
    let mut chance = StdRng::seed_from_u64(visitor);
    let own = format!("marker=\"{visitor}\" n=");
    let mut outcomes = Outcomes::default();
    for _ in 0..requests {
        let mut line = Line::to(app).await;
        line.send("/count", cookie).await;
        let patience = if chance.random() {
            Duration::from_millis(chance.random_range(0..=6))
        } else {
            PATIENT
        };
        if let Ok(answer) = timeout(patience, line.answer()).await {
            outcomes.answered += 1;
            outcomes.foreign += usize::from(!answer.starts_with(&own));
            continue;
        }
        outcomes.hung_up += 1;
        if chance.random() {
            line.reset();
        }
    }
    outcomes
}

/// Returns when each worker has a connection of its own.
async fn use_all_workers(app: &TestApp, redis: &TestRedis, cookie: &str) {
    let mut seen = BTreeSet::new();
    while seen.len() < WORKERS {
        let worker = Line::to(app).await.get("/worker", cookie).await;
        seen.insert(worker);
    }
    let one_each = || redis.client_count() == WORKERS;
    eventually("one connection per worker", one_each).await;
}

/// Each visitor sends so many requests.
async fn assert_hang_ups_do_no_harm(setup: Setup, requests: usize) {
    let redis = TestRedis::start().await;
    let sessions = fifty_sessions(&redis).await;
    let cookies = sessions.iter().map(|key| setup.signed_cookie(key.as_ref()));
    let cookies: Vec<_> = cookies.collect();
    let proxy = Proxy::before(&redis, |_| Fate::Latency(LATENCY)).await;
    let store = sealing::options(pool_of(WORKERS, &proxy.store_url()))
        .deadline(PATIENT)
        .counter("n");
    let app = TestApp::with(store.build(), &setup);
    use_all_workers(&app, &redis, &cookies[0]).await;
    let before = redis.connections_made();

    let visits = cookies.iter().zip(0..);
    let visits = visits.map(|(cookie, visitor)| visit(&app, visitor, cookie, requests));
    let outcomes = join_all(visits).await;
    let sum = |count: fn(&Outcomes) -> usize| outcomes.iter().map(count).sum::<usize>();
    let (answered, hung_up) = (sum(|all| all.answered), sum(|all| all.hung_up));
    let (foreign, dropped) = (sum(|all| all.foreign), app.drops());
    let connections = redis.client_count();
    report(format!(
        "{} requests, {hung_up} hung up, {dropped} of them dropped while they waited for Redis, \
         {foreign} foreign sessions, {WORKERS} connections before and {connections} after",
        answered + hung_up,
    ));
    assert_eq!(foreign, 0);
    assert_eq!(connections, WORKERS);
    assert_eq!(
        redis.connections_made(),
        before,
        "no connection is replaced"
    );
    assert!(dropped * 10 >= hung_up, "a fair share");

    let store = redis.store();
    for ((key, visitor), outcomes) in sessions.iter().zip(0..).zip(outcomes) {
        let stored = store.load(key).await.unwrap().unwrap();
        assert_eq!(stored["marker"], session_of(visitor)["marker"]);
        let n: usize = stored["n"].parse().unwrap();
        if setup.consistent {
            let counts = outcomes.answered..=requests;
            assert!(counts.contains(&n), "{n} of {counts:?}");
        }
    }
}

#[actix_web::test]
async fn ten_thousand_requests_cost_no_connection_and_mix_up_no_sessions() {
    let setup = Setup {
        workers: WORKERS,
        ..Setup::default()
    };
    assert_hang_ups_do_no_harm(setup, 200).await;
}

#[actix_web::test]
async fn inside_consistent_sessions_no_change_that_was_answered_is_lost_either() {
    let setup = Setup {
        workers: WORKERS,
        ..Setup::consistent()
    };
    assert_hang_ups_do_no_harm(setup, 80).await;
}
