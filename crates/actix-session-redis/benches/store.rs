//! What one operation of the store takes, by the size of the state: over a Unix socket, so that as
//! little as possible is the network's. `make bench` at the top of the repository measures whole
//! requests, and other stores.
//!
//! ```text
//! cargo bench --features seal --bench store
//! ```

use std::collections::HashMap;

use actix_session::storage::SessionStore;
use actix_session_redis::{KeyRing, RedisPool, RedisSessionStore};
use actix_web::cookie::time::Duration;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use testbed::Server;
use tokio::runtime::{Builder, Runtime};

const TTL: Duration = Duration::hours(1);

/// With a single thread, as a worker of actix-web has it.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn store(criterion: &mut Criterion) {
    let redis = Server::start_with(&["--appendonly", "no"]);
    let runtime = runtime();
    let options = || RedisSessionStore::builder(RedisPool::from_url(redis.unix_url()).unwrap());
    let ring = KeyRing::new([[7; 32]]).unwrap();
    measure(criterion, "store", &runtime, &options().build());
    let sealed = options().seal(ring).build();
    measure(criterion, "sealed store", &runtime, &sealed);
}

fn measure(criterion: &mut Criterion, name: &str, runtime: &Runtime, store: &RedisSessionStore) {
    let mut group = criterion.benchmark_group(name);
    for bytes in [100, 1_000, 10_000, 100_000] {
        let text = format!("\"{}\"", "x".repeat(bytes));
        let state = HashMap::from([("text".to_owned(), text)]);
        let session_key = || runtime.block_on(store.save(state.clone(), &TTL)).unwrap();
        group.throughput(Throughput::Bytes(bytes as u64));

        let loaded = session_key();
        group.bench_function(BenchmarkId::new("load", bytes), |bencher| {
            bencher
                .to_async(runtime)
                .iter(async || store.load(&loaded).await.unwrap());
        });
        let mut updated = Some(session_key());
        group.bench_function(BenchmarkId::new("update", bytes), |bencher| {
            bencher.iter(|| {
                let session_key = updated.take().unwrap();
                let update = store.update(session_key, state.clone(), &TTL);
                updated = Some(runtime.block_on(update).unwrap());
            });
        });
    }
    group.finish();
}

criterion_group!(benches, store);
criterion_main!(benches);
