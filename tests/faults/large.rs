use std::{
    collections::HashMap,
    env, io,
    net::SocketAddr,
    ops::Range,
    thread,
    time::{Duration, Instant},
};

use actix_session::storage::{SessionKey, SessionStore};
use actix_session_redis::RedisSessionStore;
use actix_web::cookie::{Cookie, CookieJar, time};
use deadpool_redis::{Config, Runtime as PoolRuntime};
use demo::CookieKey;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use testbed::Browser;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    runtime::{self, Runtime},
    sync::{mpsc, oneshot},
    task::JoinSet,
};

use crate::{
    figures::{Request, Requests, thousands},
    trial::{Stack, Trial, pass_by},
    visitor::Visitor,
};

const CONNECTIONS: usize = 1_000;

/// How long they read, and how often the neighbour refreshes meanwhile.
const LOAD: Duration = Duration::from_secs(5);
const REFRESHES: Range<usize> = 25..50;

/// No longer than this, however slowly the neighbour is served.
const PATIENCE: Duration = Duration::from_secs(20);

/// Without optimisation, JSON takes so many times as long to read: what is tried then is how the
/// store behaves when it has to wait, not what a machine can do.
const SLOWNESS: usize = 8;

fn runtime() -> Runtime {
    runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// What a session of this size is to the demo under test.
fn scaled(bytes: usize) -> usize {
    let is_optimised = !cfg!(debug_assertions) || env::var_os("DEMO_UNDER_TEST").is_some();
    if is_optimised {
        bytes
    } else {
        bytes / SLOWNESS
    }
}

/// The instances inherit it.
fn raise_limit_of_open_files() {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    assert!(most > CONNECTIONS as u64 + 200, "{most} open files");
}

/// Puts a session into the Redis of the stack, as an application with a higher limit would.
fn save_session(stack: &Stack, bytes: usize) -> SessionKey {
    let pool = Config::from_url(stack.redis_url());
    let pool = pool.create_pool(Some(PoolRuntime::Tokio1));
    let store = RedisSessionStore::builder(pool.unwrap()).max_state_bytes(bytes * 2);
    let text = format!("\"{}\"", "x".repeat(bytes));
    let state = HashMap::from([("text".to_owned(), text)]);
    let saved = store.build();
    let saved = async move { saved.save(state, &time::Duration::HOUR).await };
    runtime().block_on(saved).unwrap()
}

/// The cookie that an instance would have set for it.
fn cookie_of(session_key: &SessionKey, cookie_key: &CookieKey) -> String {
    let mut jar = CookieJar::new();
    let cookie = Cookie::new("id", session_key.as_ref().to_owned());
    jar.private_mut(&cookie_key.to_key()).add(cookie);
    jar.get("id").unwrap().encoded().to_string()
}

/// Those who read, each on a connection of their own, one request after the other.
struct Readers {
    /// Who has got a first answer says so.
    arrived: mpsc::UnboundedReceiver<()>,
    go: oneshot::Sender<()>,
    reading: thread::JoinHandle<Vec<Request>>,
}

impl Readers {
    fn start(address: SocketAddr, cookie: &str) -> Self {
        let request =
            format!("HEAD / HTTP/1.1\r\nHost: demo\r\nCookie: {cookie}\r\n\r\n").into_bytes();
        let (arrive, arrived) = mpsc::unbounded_channel();
        let (go, going) = oneshot::channel::<()>();
        let reading =
            thread::spawn(move || runtime().block_on(read_all(address, request, arrive, going)));
        Self {
            arrived,
            go,
            reading,
        }
    }

    /// Returns when every one of them has sent a request.
    fn wait_until_there(&mut self) {
        for _ in 0..CONNECTIONS {
            self.arrived.blocking_recv().expect("it reads");
        }
    }

    /// What came of their requests; not of those that are under way.
    fn stop(self) -> Requests {
        self.go.send(()).unwrap();
        self.reading.join().unwrap().into()
    }
}

async fn read_all(
    address: SocketAddr,
    request: Vec<u8>,
    arrive: mpsc::UnboundedSender<()>,
    going: oneshot::Receiver<()>,
) -> Vec<Request> {
    let (tell, mut told) = mpsc::unbounded_channel();
    let mut readers = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (request, arrive, tell) = (request.clone(), arrive.clone(), tell.clone());
        readers.spawn(async move { read(address, &request, arrive, tell).await.unwrap() });
    }
    let ended = async {
        while let Some(ended) = readers.join_next().await {
            ended.unwrap();
        }
    };
    tokio::select! { _ = going => (), () = ended => panic!("nobody reads") }
    let mut requests = Vec::new();
    while let Ok(request) = told.try_recv() {
        requests.push(request);
    }
    requests
}

async fn read(
    address: SocketAddr,
    request: &[u8],
    arrive: mpsc::UnboundedSender<()>,
    tell: mpsc::UnboundedSender<Request>,
) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let mut head = Vec::new();
    let mut is_there = false;
    loop {
        let sent = Instant::now();
        stream.write_all(request).await?;
        if !is_there {
            arrive.send(()).ok();
            is_there = true;
        }
        head.clear();
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut head).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        tell.send(Request {
            sent,
            took: sent.elapsed(),
            answered: head.starts_with(b"HTTP/1.1 200 "),
        })
        .ok();
    }
}

fn assert_neighbour_is_served(what: &'static str, bytes: usize) {
    raise_limit_of_open_files();
    let trial = Trial::of_one_instance(what);
    let instance = trial.stack.instance_url(0);
    let address = instance.strip_prefix("http://").unwrap().parse().unwrap();
    let cookie = cookie_of(
        &save_session(&trial.stack, scaled(bytes)),
        &trial.cookie_key,
    );
    let large = Browser::with_cookie(&instance, &cookie);
    assert_eq!(large.head("/").status, 200);

    let passer_by = Browser::new(&instance);
    let mut neighbour = Visitor::arrive(&instance, "neighbour".to_owned(), false);
    let mut readers = Readers::start(address, &cookie);
    readers.wait_until_there();
    let begun = Instant::now();
    let (mut pages, mut control) = (Vec::new(), Vec::new());
    let mut outage = false;
    let goes_on = |pages: usize, passed: Duration| {
        let lasts = pages < REFRESHES.start || passed < LOAD;
        pages < REFRESHES.end && lasts && passed < PATIENCE
    };
    while goes_on(pages.len(), begun.elapsed()) {
        pages.push(neighbour.refresh());
        control.push(pass_by(&passer_by));
        // Only the last lines are kept.
        outage |= trial.stack.instance_log(0).contains("Redis is unavailable");
    }
    let took = begun.elapsed();
    let reads = readers.stop();
    let (pages, control) = (Requests::from(pages), Requests::from(control));
    trial.say(format!(
        "{} KiB in fact; {} of the neighbour's {} requests failed, median {:.1?}, longest {:.1?} (without a \
         session {:.1?}, {:.1?}); of {} reads {} failed, {:.0} a second, median {:.1?}, longest \
         {:.1?}; outage declared: {outage}",
        scaled(bytes) >> 10,
        pages.failed().count(),
        pages.count(),
        pages.median(),
        pages.longest(),
        control.median(),
        control.longest(),
        thousands(reads.count()),
        thousands(reads.failed().count()),
        reads.count() as f64 / took.as_secs_f64(),
        reads.median(),
        reads.longest(),
    ));
    assert_eq!(pages.failed().count(), 0);
    assert!(!outage);
    assert_eq!(neighbour.surprise(), None);
    // They are a load.
    assert!(reads.answered().count() > CONNECTIONS);
}

#[test]
fn a_neighbour_is_served_while_a_thousand_connections_read_a_session_of_256_kib() {
    assert_neighbour_is_served("1,000 connections read 256 KiB", 256 << 10);
}

#[test]
fn a_neighbour_is_served_while_a_thousand_connections_read_a_session_of_a_mebibyte() {
    assert_neighbour_is_served("1,000 connections read 1 MiB", 1 << 20);
}
