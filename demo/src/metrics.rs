use std::{
    io::{self, Write as _},
    net::SocketAddr,
    time::Duration,
};

use actix_web::{App, HttpResponse, HttpServer, http::header::ContentType, rt, web};
use anyhow::Context as _;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// What an instance prints, followed by the address and the path, before it prints where it
/// listens.
const METRICS: &str = "metrics on http://";

/// In seconds, around what an answer of a Redis nearby takes, and up to the deadline.
const DURATIONS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 2.5,
];

/// Up to the largest state that the store writes.
const SIZES: &[f64] = &[
    64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0,
];

/// Measurements wait in memory until they are sorted into buckets, even if nobody ever asks.
const UPKEEP_PERIOD: Duration = Duration::from_secs(5);

/// Collects what is measured from now on.
pub(crate) fn record() -> anyhow::Result<PrometheusHandle> {
    let suffix = |suffix: &str| Matcher::Suffix(suffix.to_owned());
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(suffix("_seconds"), DURATIONS)?
        .set_buckets_for_metric(suffix("_bytes"), SIZES)?;
    Ok(recorder.install_recorder()?)
}

/// Serves it as Prometheus reads it, on an address of its own: who may use the application need
/// not see this.
pub(crate) fn serve(listen: SocketAddr, recorded: PrometheusHandle) -> anyhow::Result<()> {
    let upkeep = recorded.clone();
    let server = HttpServer::new(move || {
        let recorded = recorded.clone();
        let render = move || {
            let text = recorded.render();
            async {
                HttpResponse::Ok()
                    .content_type(ContentType::plaintext())
                    .body(text)
            }
        };
        App::new().route("/metrics", web::get().to(render))
    })
    .workers(1)
    .disable_signals()
    .bind(listen)
    .with_context(|| format!("cannot serve metrics on {listen}"))?;
    for address in server.addrs() {
        writeln!(io::stdout(), "{METRICS}{address}/metrics").ok();
    }
    rt::spawn(server.run());
    rt::spawn(async move {
        let mut period = rt::time::interval(UPKEEP_PERIOD);
        loop {
            period.tick().await;
            upkeep.run_upkeep();
        }
    });
    Ok(())
}
