use std::{net::TcpListener, thread, time::Duration};

use actix_session::{
    SessionMiddleware,
    config::{CookieContentSecurity, PersistentSession, TtlExtensionPolicy},
    storage::{CookieSessionStore, SessionStore},
};
use actix_session_redis::{
    ConsistentSessions, KeyRing, RedisPool, RedisSessionStore, RedisSessionStoreBuilder,
};
use actix_web::{App, HttpServer, dev::Server, rt::System};
use clap::Args;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};

use crate::{contender::Contender, cookie, cores, floor, routes};

/// Runs one contender.
#[derive(Debug, Args)]
pub(crate) struct ServeOptions {
    /// Who keeps the sessions
    #[arg(long)]
    contender: Contender,
    /// Where Redis is
    #[arg(long, default_value = "redis://127.0.0.1:6379")]
    redis: String,
    /// How many threads serve requests
    #[arg(long, default_value_t = 2)]
    workers: usize,
    /// Use this core of the machine, by its number, and others only if they are named as well
    #[arg(long = "core")]
    cores: Vec<usize>,
    /// Prolong the session with every request, and not only when its state changes
    #[arg(long)]
    sliding: bool,
}

/// What a server writes before its address once it accepts connections.
pub(crate) const LISTENING: &str = "listening on ";

pub(crate) fn serve(options: ServeOptions) -> anyhow::Result<()> {
    if !options.cores.is_empty() {
        cores::use_only(&options.cores)?;
    }
    System::new().block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let server = server(options, listener).await?;
        println!("{LISTENING}{address}");
        Ok(server.await?)
    })
}

/// A macro, because the type of an application names its middleware.
macro_rules! start {
    ($listener:expr, $workers:expr, || $app:expr) => {
        HttpServer::new(move || $app)
            .workers($workers)
            // Longer than nginx keeps a connection that nobody uses.
            .keep_alive(Duration::from_secs(75))
            .listen($listener)?
            .run()
    };
}

async fn server(options: ServeOptions, listener: TcpListener) -> anyhow::Result<Server> {
    let sliding = options.sliding;
    let workers = options.workers;
    let sessions = move |store| session_middleware(store, sliding);
    macro_rules! with {
        ($middleware:expr) => {
            start!(listener, workers, || {
                App::new().wrap($middleware).configure(routes::with_session)
            })
        };
    }
    Ok(match options.contender {
        Contender::Ours => {
            let store = ours(&options)?.build();
            with!(sessions(store.clone()))
        }
        Contender::Metrics => {
            record_metrics()?;
            let store = ours(&options)?.build();
            with!(sessions(store.clone()))
        }
        Contender::Consistent => {
            let store = ours(&options)?.build();
            with!(ConsistentSessions::new(sessions(store.clone())))
        }
        Contender::Counter => {
            let store = ours(&options)?.counter(routes::COUNT).build();
            with!(ConsistentSessions::new(sessions(store.clone())))
        }
        Contender::Sealed => {
            let store = ours(&options)?.seal(key_ring()?).build();
            with!(ConsistentSessions::new(sessions(store.clone())))
        }
        Contender::SealedCounter => {
            let store = ours(&options)?.counter(routes::COUNT);
            let store = store.seal(key_ring()?).build();
            with!(ConsistentSessions::new(sessions(store.clone())))
        }
        Contender::Single => {
            let store = actix_session::storage::RedisSessionStore::new(&*options.redis).await?;
            with!(session_middleware(store.clone(), sliding))
        }
        Contender::Pooled => {
            let config = built_in_deadpool_redis::Config::from_url(&*options.redis);
            let pool = config.create_pool(Some(built_in_deadpool_redis::Runtime::Tokio1))?;
            let store = actix_session::storage::RedisSessionStore::new_pooled(pool).await?;
            with!(session_middleware(store.clone(), sliding))
        }
        Contender::Cookie => with!(session_middleware(CookieSessionStore::default(), sliding)),
        Contender::Floor => {
            let redis = options.redis;
            start!(listener, workers, || {
                App::new()
                    .data_factory({
                        let redis = redis.clone();
                        move || floor::Floor::connect(redis.clone(), sliding)
                    })
                    .configure(floor::routes)
            })
        }
        Contender::Nothing => {
            start!(listener, workers, || App::new()
                .configure(routes::without_session))
        }
    })
}

/// The pool is as large as the built-in's: both have deadpool's default.
fn ours(options: &ServeOptions) -> anyhow::Result<RedisSessionStoreBuilder> {
    let pool = RedisPool::from_url(&options.redis)?;
    Ok(RedisSessionStore::builder(pool))
}

/// Nothing here is secret.
pub(crate) fn key_ring() -> anyhow::Result<KeyRing> {
    Ok(KeyRing::new([[7; 32]])?)
}

/// As the demo does with `--metrics-listen`, but nobody asks.
fn record_metrics() -> anyhow::Result<()> {
    let matching = |suffix: &str| Matcher::Suffix(suffix.to_owned());
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(matching("_seconds"), &[0.001, 0.01, 0.1, 1.0])?
        .set_buckets_for_metric(matching("_bytes"), &[100.0, 1_000.0, 10_000.0, 100_000.0])?
        .install_recorder()?;
    thread::spawn(move || {
        loop {
            thread::sleep(Duration::from_secs(1));
            recorder.run_upkeep();
        }
    });
    Ok(())
}

fn session_middleware<S: SessionStore>(store: S, sliding: bool) -> SessionMiddleware<S> {
    let prolonged = if sliding {
        TtlExtensionPolicy::OnEveryRequest
    } else {
        TtlExtensionPolicy::OnStateChanges
    };
    let lifecycle = PersistentSession::default()
        .session_ttl(cookie::TTL)
        .session_ttl_extension_policy(prolonged);
    SessionMiddleware::builder(store, cookie::KEY.clone())
        .cookie_name(cookie::NAME.to_owned())
        .cookie_content_security(CookieContentSecurity::Signed)
        .session_lifecycle(lifecycle)
        .build()
}
