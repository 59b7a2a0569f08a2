use std::collections::BTreeMap;

use actix_session::storage::SessionStore;
use actix_session_redis::RedisSessionStoreBuilder;
use futures_util::future::join_all;
use metrics::LocalRecorderGuard;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};

use crate::support::{
    is_back,
    redis::TestRedis,
    scope::in_a_request,
    sessions::{HOUR, copy, long_key, state},
};

/// What is measured on this thread.
struct Measured<'a> {
    snapshotter: Snapshotter,
    _guard: LocalRecorderGuard<'a>,
}

impl<'a> Measured<'a> {
    fn by(recorder: &'a DebuggingRecorder) -> Self {
        Self {
            snapshotter: recorder.snapshotter(),
            _guard: metrics::set_default_local_recorder(recorder),
        }
    }

    /// Counters and gauges by their value, histograms by how often they were recorded; since the
    /// last time.
    fn figures(&self) -> BTreeMap<String, f64> {
        let measured = self.snapshotter.snapshot().into_vec().into_iter();
        let figures = measured.map(|(key, _, _, value)| {
            let (_, key) = key.into_parts();
            let (name, labels) = key.into_parts();
            let labels: Vec<_> = labels.iter().map(|label| label.value()).collect();
            let name = [&[name.as_str()], &labels[..]].concat().join(" ");
            let name = name
                .strip_prefix("actix_session_redis_")
                .unwrap()
                .to_owned();
            let value = match value {
                DebugValue::Counter(count) => count as f64,
                DebugValue::Gauge(value) => value.into_inner(),
                DebugValue::Histogram(values) => values.len() as f64,
            };
            (name, value)
        });
        figures.filter(|(_, value)| *value != 0.0).collect()
    }
}

#[track_caller]
fn assert_figures(measured: &Measured<'_>, expected: &[(&str, f64)]) {
    let expected = expected
        .iter()
        .map(|&(name, value)| (name.to_owned(), value));
    assert_eq!(measured.figures(), expected.collect());
}

#[actix_web::test]
async fn operations_are_measured_by_their_outcome() {
    let redis = TestRedis::start().await;
    let recorder = DebuggingRecorder::new();
    let measured = Measured::by(&recorder);
    let store = redis.store_with(|options| options.max_state_bytes(20));
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    store.load(&key).await.unwrap();
    store.load(&key).await.unwrap();
    store.load(&long_key("other")).await.unwrap();
    let large = state("n", "12345678901234567890");
    store.update(copy(&key), large, &HOUR).await.unwrap_err();
    assert_figures(
        &measured,
        &[
            ("operation_duration_seconds load missing", 1.0),
            ("operation_duration_seconds load ok", 2.0),
            ("operation_duration_seconds save ok", 1.0),
            ("operation_duration_seconds update too_large", 1.0),
            ("state_bytes", 2.0),
        ],
    );
}

#[actix_web::test]
async fn a_lost_connection_is_a_retry_and_a_replacement() {
    let redis = TestRedis::start().await;
    let recorder = DebuggingRecorder::new();
    let measured = Measured::by(&recorder);
    let store = redis.store();
    store.ping().await.unwrap();
    redis.kill_clients();
    store.ping().await.unwrap();
    let figures = measured.figures();
    assert_eq!(figures["operation_duration_seconds ping ok"], 2.0);
    assert!(figures["retries_total"] >= 1.0);
    assert_eq!(figures["connections_replaced_total"], 1.0);
}

#[actix_web::test]
async fn a_merged_field_that_others_have_changed_meanwhile_is_a_conflict_and_a_merge() {
    let redis = TestRedis::start().await;
    let recorder = DebuggingRecorder::new();
    let measured = Measured::by(&recorder);
    let ours = |options: RedisSessionStoreBuilder| {
        options.merge_field("n", |_base, _theirs, ours| ours.clone())
    };
    let store = redis.store_with(ours);
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    let (late, in_scope) = (store.clone(), copy(&key));
    measured.figures();
    in_a_request(async move {
        late.load(&in_scope).await.unwrap();
        let (other, same) = (late.clone(), copy(&in_scope));
        // Outside of the scope, so it writes what it has.
        let overtakes = async move { other.update(same, state("n", "2"), &HOUR).await };
        actix_web::rt::spawn(overtakes).await.unwrap().unwrap();
        late.update(in_scope, state("n", "3"), &HOUR).await.unwrap();
    })
    .await;
    let figures = measured.figures();
    assert_eq!(
        (figures["conflicts_total"], figures["merges_total"]),
        (1.0, 1.0)
    );
    assert_eq!(figures["operation_duration_seconds update ok"], 2.0);
}

#[actix_web::test]
async fn a_write_to_a_session_that_is_gone_is_dropped_and_counted() {
    let redis = TestRedis::start().await;
    let recorder = DebuggingRecorder::new();
    let measured = Measured::by(&recorder);
    let store = redis.store();
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    store.delete(&key).await.unwrap();
    store
        .update(copy(&key), state("n", "2"), &HOUR)
        .await
        .unwrap();
    let figures = measured.figures();
    assert_eq!(figures["dropped_writes_total"], 1.0);
    assert_eq!(figures["operation_duration_seconds update ended"], 1.0);
}

#[actix_web::test]
async fn the_outage_gauge_is_up_while_redis_is_away() {
    let redis = TestRedis::not_started();
    let recorder = DebuggingRecorder::new();
    let measured = Measured::by(&recorder);
    let deadline = std::time::Duration::from_millis(200);
    let store = redis.store_with(|options| options.deadline(deadline));
    join_all((0..5).map(async |_| store.ping().await.unwrap_err())).await;
    let figures = measured.figures();
    assert_eq!(figures["outage"], 1.0);
    assert_eq!(figures["operation_duration_seconds ping unavailable"], 5.0);
    redis.start_again().await;
    is_back(&store).await;
    assert!(!measured.figures().contains_key("outage"));
}
