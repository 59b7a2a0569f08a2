use std::{
    io::{self, Write as _},
    net::SocketAddr,
    time::Duration,
};

use actix_session_redis::RedisSessionStore;
use actix_web::{
    App, HttpServer,
    rt::{
        self, System,
        signal::unix::{SignalKind, signal},
    },
};
use anyhow::Context as _;
use clap::{Args, builder::BoolishValueParser};
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use crate::{
    CookieKey, Demo, InstanceName, SealKeys, SessionTtl, metrics, redis_url::RedisUrl,
    routes::REFRESHED,
};

/// What an instance prints, followed by its address, once it accepts connections.
pub(crate) const LISTENING: &str = "listening on http://";

/// How long nginx may leave a connection to an instance idle is 60 s; the instance must wait
/// longer, or it closes connections on which nginx is just sending the next request.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// How long running requests may take to finish once the instance is asked to stop, in seconds.
const SHUTDOWN_TIMEOUT: u64 = 30;

#[derive(Debug, Args)]
pub(crate) struct ServeOptions {
    /// Address to listen on; port 0 takes any free one
    #[arg(long, default_value = "127.0.0.1:8081")]
    listen: SocketAddr,
    /// What the instance calls itself [default: pid-<its process id>]
    #[arg(long)]
    name: Option<InstanceName>,
    /// Redis that holds the sessions: redis://…, redis-cluster://node,node,… or
    /// redis-sentinel://sentinel,sentinel,…?master=NAME
    #[arg(
        long,
        env = RedisUrl::VARIABLE,
        hide_env_values = true,
        value_name = "URL",
        default_value = "redis://127.0.0.1:6379"
    )]
    redis_url: RedisUrl,
    /// How long a session lives after its last request: seconds, or with a unit as in 90s, 500ms
    #[arg(long, default_value = "1h")]
    session_ttl: SessionTtl,
    /// Worker threads [default: one per CPU core]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=512))]
    workers: Option<u16>,
    /// With SEAL_KEYS: go on with sessions that are in Redis in clear, and seal them
    #[arg(long, env = ServeOptions::ACCEPT_UNSEALED, value_parser = BoolishValueParser::new())]
    accept_unsealed: bool,
    /// Let browsers send the session cookie over https only
    #[arg(long)]
    cookie_secure: bool,
    /// Serve metrics for Prometheus at /metrics of this address; port 0 takes any free one
    #[arg(long, env = ServeOptions::METRICS_LISTEN, value_name = "ADDRESS")]
    metrics_listen: Option<SocketAddr>,
}

impl ServeOptions {
    /// For one instance alone: several cannot share an address.
    pub(crate) const METRICS_LISTEN: &str = "METRICS_LISTEN";
    /// For all instances of a stack.
    pub(crate) const ACCEPT_UNSEALED: &str = "SEAL_ACCEPT_UNSEALED";
}

/// Runs one instance until SIGTERM or SIGINT.
///
/// It starts without Redis too: `/healthz` says whether Redis is there.
pub(crate) fn serve(options: ServeOptions) -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        // It would say on stderr that stderr is closed, and panic.
        .log_internal_errors(false)
        .with_env_filter(
            EnvFilter::builder()
                .with_default_directive(LevelFilter::WARN.into())
                .from_env_lossy(),
        )
        .init();

    // Before there is a store, which says what its metrics mean.
    let metrics = match options.metrics_listen {
        Some(listen) => Some((listen, metrics::record()?)),
        None => None,
    };
    let mut store = RedisSessionStore::builder(options.redis_url.pool()?).counter(REFRESHED);
    if let Some(keys) = SealKeys::from_env_if_set()? {
        store = store
            .seal(keys.to_ring())
            .accept_unsealed(options.accept_unsealed);
    }
    let demo = Demo {
        instance: options
            .name
            .map_or_else(InstanceName::of_this_process, Ok)?,
        store: store.build(),
        cookie_key: CookieKey::from_env()?,
        session_ttl: options.session_ttl,
        cookie_secure: options.cookie_secure,
    };
    System::new().block_on(async {
        if let Some((listen, recorded)) = metrics {
            metrics::serve(listen, recorded)?;
        }
        run(demo, options.listen, options.workers).await
    })
}

async fn run(demo: Demo, listen: SocketAddr, workers: Option<u16>) -> anyhow::Result<()> {
    let mut server = HttpServer::new(move || App::new().configure(|config| demo.mount(config)))
        .keep_alive(KEEP_ALIVE)
        .disable_signals()
        .shutdown_timeout(SHUTDOWN_TIMEOUT);
    if let Some(workers) = workers {
        server = server.workers(workers.into());
    }
    let server = server
        .bind(listen)
        .with_context(|| format!("cannot listen on {listen}"))?;
    let addresses = server.addrs();
    let server = server.run();

    // actix-web's own handling finishes running requests after SIGTERM but not after SIGINT.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let handle = server.handle();
    rt::spawn(async move {
        tokio::select! { _ = terminate.recv() => (), _ = interrupt.recv() => () }
        handle.stop(true).await;
    });

    for address in addresses {
        // That nobody reads is no reason not to serve.
        writeln!(io::stdout(), "{LISTENING}{address}").ok();
    }
    Ok(server.await?)
}
