//! What `ConsistentSessions` costs on a route that counts: requests per second with and without
//! it, in interleaved rounds of one run, and the tries that contention makes.
//!
//! ```text
//! cargo bench --bench consistent_sessions
//! ```

use std::{
    net::SocketAddr,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use actix_session::{Session, SessionMiddleware};
use actix_session_redis::{
    ConsistentSessions, RedisPool, RedisSessionStore,
    deadpool_redis::redis::{self, InfoDict},
};
use actix_web::{App, Error, HttpServer, cookie::Key, rt::System, web};
use futures_util::future::join_all;
use redis_test::server::RedisServer;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const CONNECTIONS: usize = 64;
const ROUNDS: usize = 9;
const ROUND: Duration = Duration::from_secs(1);

async fn count(session: Session) -> Result<String, Error> {
    let n = session.get::<u64>("n")?.unwrap_or(0) + 1;
    session.insert("n", n)?;
    Ok(n.to_string())
}

/// Starts an app with two workers; with `ConsistentSessions` or without.
fn serve(store: RedisSessionStore, consistent: bool) -> SocketAddr {
    let (address, bound) = mpsc::channel();
    thread::spawn(move || {
        let key = Key::generate();
        let sessions = move || {
            SessionMiddleware::builder(store.clone(), key.clone())
                .cookie_secure(false)
                .build()
        };
        let count = || web::get().to(count);
        System::new().block_on(async {
            if consistent {
                let app = move || {
                    App::new()
                        .wrap(ConsistentSessions::new(sessions()))
                        .route("/", count())
                };
                let server = HttpServer::new(app).workers(2).bind("127.0.0.1:0").unwrap();
                address.send(server.addrs()[0]).unwrap();
                server.run().await.unwrap();
            } else {
                let app = move || App::new().wrap(sessions()).route("/", count());
                let server = HttpServer::new(app).workers(2).bind("127.0.0.1:0").unwrap();
                address.send(server.addrs()[0]).unwrap();
                server.run().await.unwrap();
            }
        });
    });
    bound.recv().unwrap()
}

/// A connection that is kept alive, with a cookie.
struct Visitor {
    stream: TcpStream,
    request: String,
    response: Vec<u8>,
}

impl Visitor {
    async fn new(address: SocketAddr, cookie: Option<&str>) -> Self {
        let mut visitor = Self {
            stream: TcpStream::connect(address).await.unwrap(),
            request: "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
            response: Vec::new(),
        };
        let cookie = match cookie {
            Some(cookie) => cookie.to_owned(),
            None => visitor.visit().await.cookie().to_owned(),
        };
        visitor.request = format!("GET / HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\n\r\n");
        visitor
    }

    /// The answers are short, but may come in pieces.
    async fn visit(&mut self) -> &Self {
        self.response.clear();
        self.stream
            .write_all(self.request.as_bytes())
            .await
            .unwrap();
        while !self.is_complete() {
            let read = self.stream.read_buf(&mut self.response).await.unwrap();
            assert_ne!(read, 0, "the server closed the connection");
        }
        assert!(
            self.response.starts_with(b"HTTP/1.1 200"),
            "{}",
            self.text()
        );
        self
    }

    fn is_complete(&self) -> bool {
        let text = self.text();
        text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
            let length = head.split_once("content-length: ").unwrap().1;
            body.len() == length.lines().next().unwrap().parse::<usize>().unwrap()
        })
    }

    fn text(&self) -> &str {
        str::from_utf8(&self.response).unwrap()
    }

    fn cookie(&self) -> &str {
        let (_, cookie) = self.text().split_once("set-cookie: ").unwrap();
        cookie.split(';').next().unwrap()
    }
}

/// Requests per second of all visitors together.
async fn load(visitors: &mut [Visitor]) -> f64 {
    let start = Instant::now();
    let counts = join_all(visitors.iter_mut().map(async |visitor| {
        let mut visits = 0_u32;
        while start.elapsed() < ROUND {
            visitor.visit().await;
            visits += 1;
        }
        visits
    }))
    .await;
    f64::from(counts.iter().sum::<u32>()) / start.elapsed().as_secs_f64()
}

fn median(rates: &mut [f64]) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// How often the server has run one of our scripts.
fn scripts_run(redis: &RedisServer) -> u64 {
    let client = redis::Client::open(redis.connection_info()).unwrap();
    let mut connection = client.get_connection().unwrap();
    let stats: InfoDict = redis::cmd("INFO")
        .arg("commandstats")
        .query(&mut connection)
        .unwrap();
    let evalsha: String = stats.get("cmdstat_evalsha").unwrap_or_default();
    let calls = evalsha
        .strip_prefix("calls=")
        .and_then(|calls| calls.split(',').next());
    calls.map_or(0, |calls| calls.parse().unwrap())
}

#[actix_web::main]
async fn main() {
    let redis = RedisServer::new();
    let pool = || RedisPool::from_url(format!("redis://{}", redis.client_addr())).unwrap();
    let plain = || RedisSessionStore::new(pool());
    let counter = || RedisSessionStore::builder(pool()).counter("n").build();
    plain().ping().await.unwrap();

    let mut contenders = Vec::new();
    for (name, store, consistent) in [
        ("without ConsistentSessions", plain(), false),
        ("with", plain(), true),
        ("with, the field a counter", counter(), true),
    ] {
        let address = serve(store, consistent);
        let visitors = (0..CONNECTIONS).map(|_| Visitor::new(address, None));
        contenders.push((name, join_all(visitors).await, Vec::new()));
    }
    for _ in 0..ROUNDS {
        for (_, visitors, rates) in &mut contenders {
            rates.push(load(visitors).await);
        }
    }
    println!("{CONNECTIONS} sessions, one request of each at a time, {ROUNDS} rounds:");
    let mut baseline = None;
    for (name, _, rates) in &mut contenders {
        let rate = median(rates);
        let baseline = *baseline.get_or_insert(rate);
        let (least, most) = (rates[0] / baseline, rates[ROUNDS - 1] / baseline);
        let ratio = rate / baseline;
        println!("{name:>28}: {ratio:.2} of the first ({least:.2} to {most:.2}), {rate:.0}/s");
    }

    let address = serve(counter(), true);
    let mut tabs = vec![Visitor::new(address, None).await];
    let cookie = tabs[0].cookie().to_owned();
    for _ in 1..6 {
        tabs.push(Visitor::new(address, Some(&cookie)).await);
    }
    let before = scripts_run(&redis);
    let requests = load(&mut tabs).await * ROUND.as_secs_f64();
    let tries = (scripts_run(&redis) - before) as f64 / requests;
    println!("six requests of one session at a time: all succeed, {tries:.2} tries each");
}
