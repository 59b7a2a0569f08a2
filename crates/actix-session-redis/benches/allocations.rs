//! What one operation of the store allocates, by the size of the state: how often, and how many
//! bytes. It counts the whole process, so the driver of the connection as well, which runs on the
//! same thread, as on a worker of actix-web.
//!
//! ```text
//! cargo bench --features seal --bench allocations
//! ```

use std::{alloc::System, cell::Cell, collections::HashMap, hint::black_box, rc::Rc};

use actix_session::storage::{SessionKey, SessionStore};
use actix_session_redis::{ConsistentSessions, KeyRing, RedisPool, RedisSessionStore};
use actix_web::{
    HttpResponse,
    body::BoxBody,
    cookie::time::Duration,
    dev::{Service, ServiceRequest, Transform},
    middleware::{Next, from_fn},
    rt,
    test::{TestRequest, ok_service},
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use testbed::Server;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const TTL: Duration = Duration::hours(1);

/// So many operations are measured, after so many in which buffers grow to their size.
const MEASURED: usize = 1_000;
const WARM_UP: usize = 100;

/// Of one operation, on average.
#[derive(Clone, Copy)]
struct Allocations {
    allocations: f64,
    /// A buffer that grows; its growth counts among the bytes.
    reallocations: f64,
    bytes: f64,
}

impl Allocations {
    async fn of(mut operation: impl AsyncFnMut()) -> Self {
        for _ in 0..WARM_UP {
            operation().await;
        }
        let region = Region::new(ALLOCATOR);
        for _ in 0..MEASURED {
            operation().await;
        }
        let change = region.change();
        let each = |number: usize| number as f64 / MEASURED as f64;
        Self {
            allocations: each(change.allocations),
            reallocations: each(change.reallocations),
            bytes: each(change.bytes_allocated),
        }
    }

    /// What is left without what would be there anyway.
    fn without(self, rest: Self) -> Self {
        Self {
            allocations: self.allocations - rest.allocations,
            reallocations: self.reallocations - rest.reallocations,
            bytes: self.bytes - rest.bytes,
        }
    }

    fn print(self, operation: &str, bytes: usize) {
        let Self {
            allocations,
            reallocations,
            bytes: allocated,
        } = self;
        println!(
            "| {operation:<35} | {bytes:>7} | {allocations:>11.1} | {reallocations:>13.1} | {allocated:>9.0} |"
        );
    }
}

struct Session {
    store: RedisSessionStore,
    key: String,
    state: HashMap<String, String>,
}

impl Session {
    async fn load(&self) {
        let loaded = self.store.load(&self.key()).await;
        assert!(loaded.unwrap().is_some());
    }

    async fn update(&self, n: usize) {
        let mut state = self.state.clone();
        state.insert("n".to_owned(), n.to_string());
        let updated = self.store.update(self.key(), state, &TTL).await;
        assert_eq!(updated.unwrap().as_ref(), self.key);
    }

    /// What a caller has to do for an update, whatever the store.
    async fn prepare(&self, n: usize) {
        let mut state = self.state.clone();
        state.insert("n".to_owned(), n.to_string());
        black_box((self.key(), state));
    }

    /// actix-session gives its key no `Clone`.
    fn key(&self) -> SessionKey {
        self.key.clone().try_into().unwrap()
    }
}

/// Does the work in the place of the session middleware of one request.
async fn in_a_request(work: impl Future<Output = ()> + 'static) {
    let once = Cell::new(Some(work));
    let sessions = from_fn(move |request: ServiceRequest, _: Next<BoxBody>| {
        let work = once.take().expect("there is one request");
        async move {
            work.await;
            Ok(request.into_response(HttpResponse::Ok()))
        }
    });
    let consistent_sessions = ConsistentSessions::new(sessions);
    let service = consistent_sessions.new_transform(ok_service()).await;
    let request = TestRequest::default().to_srv_request();
    service.unwrap().call(request).await.unwrap();
}

async fn print_for_a_state_of(bytes: usize, store: RedisSessionStore, name: &str) {
    let label = |operation: &str| format!("{operation}{name}");
    let text = format!("\"{}\"", "x".repeat(bytes));
    let state = HashMap::from([("text".to_owned(), text)]);
    let key = store.save(state.clone(), &TTL).await.unwrap();
    let key = key.as_ref().to_owned();
    let session = Rc::new(Session { store, key, state });
    // Every update changes something.
    let mut n = 0;
    let mut next = || {
        n += 1;
        n
    };

    let load = Allocations::of(async || session.load().await).await;
    load.print(&label("load"), bytes);
    let callers = Allocations::of(async || session.prepare(next()).await).await;
    let update = Allocations::of(async || session.update(next()).await).await;
    update.without(callers).print(&label("update"), bytes);

    // The same future for all of them, which is boxed on its way.
    let request = |loads: bool, update: Option<usize>| {
        let session = Rc::clone(&session);
        in_a_request(async move {
            if loads {
                session.load().await;
            }
            if let Some(n) = update {
                session.update(n).await;
            }
        })
    };
    let empty = Allocations::of(async || request(false, None).await).await;
    let load = Allocations::of(async || request(true, None).await).await;
    let in_a_request = "load in ConsistentSessions";
    load.without(empty).print(&label(in_a_request), bytes);
    let both = Allocations::of(async || request(true, Some(next())).await).await;
    let update = both.without(load).without(callers);
    update.print(&label("update after that load"), bytes);
}

fn main() {
    let redis = Server::start_with(&["--appendonly", "no"]);
    println!(
        "| what the store allocates for it     | state B | allocations | reallocations | bytes     |"
    );
    println!(
        "| ----------------------------------- | ------: | ----------: | ------------: | --------: |"
    );
    rt::System::new().block_on(async {
        for bytes in [100, 1_000, 10_000, 100_000] {
            let options = || {
                let pool = RedisPool::from_url(redis.unix_url()).unwrap();
                RedisSessionStore::builder(pool)
            };
            let ring = KeyRing::new([[7; 32]]).unwrap();
            print_for_a_state_of(bytes, options().build(), "").await;
            print_for_a_state_of(bytes, options().seal(ring).build(), ", sealed").await;
        }
    });
}
