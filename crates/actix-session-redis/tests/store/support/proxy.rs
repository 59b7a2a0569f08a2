//! A proxy in front of Redis that can do, at a chosen command, what chance does rarely.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fs, io,
    net::SocketAddr,
    path::Path,
    pin::pin,
    rc::Rc,
    sync::LazyLock,
    time::Duration,
};

use actix_session_redis::{
    RedisPool, RedisSessionStore, RedisSessionStoreBuilder,
    deadpool_redis::redis::{self, Value},
};
use actix_web::rt::{spawn, task::JoinHandle};
use futures_util::future::{LocalBoxFuture, select};
use sha1_smol::Sha1;
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::{Mutex, mpsc, oneshot},
    time::{Instant, sleep, sleep_until},
};

use super::{
    redis::{TestRedis, pool_at},
    rights, sealing,
};

/// What becomes of a command.
pub(crate) enum Fate {
    Forward,
    /// Redis carries it out, and somebody is told when it has.
    ForwardAndTell(oneshot::Sender<()>),
    /// Redis gets it once something else has happened.
    ForwardAfter(LocalBoxFuture<'static, ()>),
    /// Redis carries it out, and this is how long the answer takes, however many are under way.
    Latency(Duration),
    /// Redis carries it out, and the answer comes through one byte at a time.
    Dribble,
    /// Redis carries it out, and the answer comes through as fast as the bandwidth allows.
    Trickle(Rc<Bandwidth>),
    /// Redis carries it out, and the connection breaks before the answer is through.
    LoseReply,
    /// The same, in the middle of the answer.
    CutReply,
    /// The same, before the answer, and without a farewell (RST).
    Reset,
    /// Redis carries it out, and the answer comes twice.
    #[cfg_attr(not(feature = "seal"), expect(dead_code))]
    ReplyTwice,
    /// Redis does not get it, and these bytes come back.
    Reply(Vec<u8>),
    /// The connection stays open, and nothing comes through any more.
    Silence,
    /// What somebody decides later.
    Undecided(LocalBoxFuture<'static, Fate>),
}

/// What all connections together get through, who wants to send taking turns.
pub(crate) struct Bandwidth {
    bytes_per_second: u32,
    free_at: Mutex<Instant>,
}

impl Bandwidth {
    /// What is passed on at once: so little that bytes come all the time.
    const CHUNK: Duration = Duration::from_millis(10);

    pub(crate) fn of(bytes_per_second: u32) -> Rc<Self> {
        Rc::new(Self {
            bytes_per_second,
            free_at: Mutex::new(Instant::now()),
        })
    }

    async fn pass(&self, reply: &[u8], to: &mut WriteHalf<'_>) -> io::Result<()> {
        let chunk = (f64::from(self.bytes_per_second) * Self::CHUNK.as_secs_f64()) as usize;
        for bytes in reply.chunks(chunk) {
            let mut free_at = self.free_at.lock().await;
            // What a busy machine is late for is caught up with.
            let start = (*free_at).max(Instant::now() - Self::CHUNK * 10);
            let takes = bytes.len() as f64 / f64::from(self.bytes_per_second);
            *free_at = start + Duration::from_secs_f64(takes);
            sleep_until(*free_at).await;
            to.write_all(bytes).await?;
        }
        Ok(())
    }
}

/// A command with its arguments, as text.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    arguments: Vec<String>,
    /// How many bytes it took on the wire.
    size: usize,
}

impl Command {
    fn parse(frame: &[u8]) -> Self {
        let arguments: Vec<Value> =
            redis::from_redis_value(redis::parse_redis_value(frame).unwrap()).unwrap();
        let text = |value| match value {
            Value::BulkString(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            other => panic!("{other:?} in a command"),
        };
        Self {
            arguments: arguments.into_iter().map(text).collect(),
            size: frame.len(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.arguments[0]
    }

    pub(crate) fn key(&self) -> &str {
        &self.arguments[if self.is_script() { 3 } else { 1 }]
    }

    pub(crate) fn is_script(&self) -> bool {
        ["EVALSHA", "EVAL"].contains(&self.name())
    }

    /// The SHA-1 of the script that it runs, if the server knows that.
    pub(crate) fn script(&self) -> Option<&str> {
        (self.name() == "EVALSHA").then(|| &*self.arguments[1])
    }

    /// Whether it begins a session.
    pub(crate) fn is_create(&self) -> bool {
        self.is("create")
    }

    /// Whether it gives a session another state.
    pub(crate) fn is_replace(&self) -> bool {
        self.is("replace")
    }

    /// Whether it writes changes of which some depend on what is there.
    pub(crate) fn is_write(&self) -> bool {
        self.is("write")
    }

    /// Whether it enters a session into the index of its user.
    pub(crate) fn is_enter(&self) -> bool {
        self.is("enter")
    }

    /// Whether it ends a session.
    pub(crate) fn is_end(&self) -> bool {
        self.is("end")
    }

    fn is(&self, script: &str) -> bool {
        let name = match self.name() {
            "EVAL" => SCRIPTS.get(&sha1(&self.arguments[1])),
            "EVALSHA" => SCRIPTS.get(&self.arguments[1]),
            _ => None,
        };
        name == Some(&script)
    }
}

/// By their SHA-1.
static SCRIPTS: LazyLock<BTreeMap<String, &str>> = LazyLock::new(|| {
    let names = ["create", "replace", "write", "enter", "end"];
    names.map(|name| (sha1(&script_called(name)), name)).into()
});

fn sha1(code: &str) -> String {
    Sha1::from(code).digest().to_string()
}

/// What Redis gets to run.
pub(crate) fn script_called(name: &str) -> String {
    let file = |name| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/session/lua");
        fs::read_to_string(folder.join(name).with_extension("lua")).unwrap()
    };
    match name {
        "enter" | "leave" | "entries" | "end_all" => {
            [file("fields"), file("index"), file(name)].concat()
        }
        _ => [file("fields"), file(name)].concat(),
    }
}

pub(crate) struct Proxy {
    address: SocketAddr,
    seen: Rc<RefCell<Vec<Command>>>,
    connections: Rc<Cell<usize>>,
    /// So many of the connections lead nowhere.
    swallowed: Rc<Cell<usize>>,
    cluster: Rc<ClusterProxies>,
    accepting: JoinHandle<()>,
}

/// The proxies before the nodes of a cluster, whose replies name other nodes, and themselves.
#[derive(Default)]
pub(crate) struct ClusterProxies {
    /// The port of each node, and the port of the proxy before it.
    pub(crate) ports: RefCell<BTreeMap<u16, u16>>,
    /// How many commands came to a node that does not have the slot.
    moved: Cell<usize>,
}

impl Proxy {
    /// Asks `fate` about every command before Redis gets it.
    pub(crate) async fn before(
        redis: &TestRedis,
        fate: impl FnMut(&Command) -> Fate + 'static,
    ) -> Self {
        Self::before_server(redis.tcp_address(), Rc::default(), fate).await
    }

    /// The same for the server at this address. Clients that it sends to other servers are led to the
    /// proxies before those.
    pub(crate) async fn before_server(
        redis: String,
        cluster: Rc<ClusterProxies>,
        mut fate: impl FnMut(&Command) -> Fate + 'static,
    ) -> Self {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let [connections, swallowed] = [(); 2].map(|()| Rc::<Cell<usize>>::default());
        let (recorded, lead_nowhere) = (Rc::clone(&seen), Rc::clone(&swallowed));
        let fate = Rc::new(RefCell::new(move |command: Command, connection| {
            let fate = match connection < lead_nowhere.get() {
                true => Fate::Silence,
                false => fate(&command),
            };
            recorded.borrow_mut().push(command);
            fate
        }));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let made = Rc::clone(&connections);
        let of_relays = Rc::clone(&cluster);
        let accepting = spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let redis = TcpStream::connect(&redis).await.unwrap();
                // A broken connection is what some of the tests are about.
                let (fate, cluster) = (Rc::clone(&fate), Rc::clone(&of_relays));
                spawn(relay(client, redis, made.get(), fate, cluster));
                made.set(made.get() + 1);
            }
        });
        Self {
            address,
            seen,
            connections,
            swallowed,
            cluster,
            accepting,
        }
    }

    /// A proxy that only looks.
    pub(crate) async fn watching(redis: &TestRedis) -> Self {
        Self::before(redis, |_| Fate::Forward).await
    }

    /// As a firewall does that has forgotten them: the connections that there are stay open, and
    /// what is sent there gets nowhere. New ones work.
    pub(crate) fn swallow_what_is_open(&self) {
        self.swallowed.set(self.connections());
    }

    /// No longer those that are made from now on, either.
    pub(crate) fn swallow_all(&self) {
        self.swallowed.set(usize::MAX);
    }

    /// How many connections were made so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.get()
    }

    /// How many commands came to the wrong node of the cluster so far: to this one or another.
    pub(crate) fn moved(&self) -> usize {
        self.cluster.moved.get()
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// With `user:password@`, or empty.
    pub(crate) fn url_as(&self, credentials: &str) -> String {
        format!("redis://{credentials}{}", self.address)
    }

    /// For stores.
    pub(crate) fn store_url(&self) -> String {
        self.url_as(&rights::credentials())
    }

    pub(crate) fn store_as(&self, credentials: &str) -> RedisSessionStore {
        let pool = RedisPool::from_url(self.url_as(credentials)).unwrap();
        sealing::options(pool).build()
    }

    pub(crate) fn store(&self) -> RedisSessionStore {
        self.store_as(&rights::credentials())
    }

    pub(crate) fn store_with(
        &self,
        options: impl FnOnce(RedisSessionStoreBuilder) -> RedisSessionStoreBuilder,
    ) -> RedisSessionStore {
        let pool = pool_at(&self.store_url());
        options(sealing::options(pool)).build()
    }

    /// How many commands came by so far.
    pub(crate) fn seen_in_all(&self) -> usize {
        self.seen.borrow().len()
    }

    /// How many bytes they took.
    pub(crate) fn bytes_seen(&self) -> usize {
        self.seen.borrow().iter().map(|command| command.size).sum()
    }

    /// The commands with this name that came by so far.
    pub(crate) fn seen(&self, name: &str) -> Vec<Command> {
        let mut seen = self.seen.borrow().clone();
        seen.retain(|command| command.name() == name);
        seen
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Commands go one way while replies go the other, so that any number can be under way.
async fn relay(
    mut client: TcpStream,
    mut redis: TcpStream,
    number: usize,
    fate: Rc<RefCell<impl FnMut(Command, usize) -> Fate>>,
    cluster: Rc<ClusterProxies>,
) -> io::Result<()> {
    for stream in [&client, &redis] {
        stream.set_nodelay(true)?;
    }
    let (commands, mut client) = client.split();
    let (replies, mut redis) = redis.split();
    let (mut commands, mut replies) = (Frames::of(commands), Frames::of(replies));
    let (under_way, mut expected) = mpsc::unbounded_channel();

    let forward = async {
        loop {
            let frame = commands.next().await?;
            let mut fate = fate.borrow_mut()(Command::parse(&frame), number);
            while let Fate::Undecided(decision) = fate {
                fate = decision.await;
            }
            match &mut fate {
                Fate::ForwardAfter(event) => event.await,
                Fate::Silence => return commands.end().await,
                _ => {}
            }
            if !matches!(fate, Fate::Reply(_)) {
                redis.write_all(&frame).await?;
            }
            let _ = under_way.send((fate, Instant::now()));
        }
    };
    let answer = async {
        while let Some((fate, begun)) = expected.recv().await {
            let reply = match fate {
                Fate::Reply(bytes) => {
                    client.write_all(&bytes).await?;
                    continue;
                }
                _ => cluster.lead_to_proxies(replies.next().await?),
            };
            match fate {
                Fate::ForwardAndTell(somebody) => drop(somebody.send(())),
                Fate::LoseReply => break,
                Fate::CutReply => return client.write_all(&reply[..reply.len() / 2]).await,
                Fate::Reset => {
                    return SockRef::from(client.as_ref()).set_linger(Some(Duration::ZERO));
                }
                Fate::Dribble => {
                    for byte in reply.chunks(1) {
                        client.write_all(byte).await?;
                        sleep(Duration::from_millis(1)).await;
                    }
                    continue;
                }
                Fate::Trickle(bandwidth) => {
                    bandwidth.pass(&reply, &mut client).await?;
                    continue;
                }
                Fate::ReplyTwice => client.write_all(&reply).await?,
                Fate::Latency(latency) => sleep_until(begun + latency).await,
                _ => {}
            }
            client.write_all(&reply).await?;
        }
        Ok(())
    };
    select(pin!(forward), pin!(answer)).await.factor_first().0
}

impl ClusterProxies {
    /// `MOVED` and the reply to `CLUSTER SLOTS`, which alone is an array of arrays, name other nodes.
    fn lead_to_proxies(&self, reply: Vec<u8>) -> Vec<u8> {
        let mut lines = reply.split(|&byte| byte == b'\n');
        let [first, second] = [lines.next(), lines.next()].map(Option::unwrap_or_default);
        let is_nested = [first, second].iter().all(|line| line.starts_with(b"*"));
        let is_moved = first.starts_with(b"-MOVED ");
        self.moved.update(|moved| moved + usize::from(is_moved));
        let ports = self.ports.borrow();
        if ports.is_empty() || !(is_nested || is_moved) {
            return reply;
        }
        let mut reply = String::from_utf8(reply).unwrap();
        for (node, proxy) in &*ports {
            reply = reply.replace(&format!(":{node}\r\n"), &format!(":{proxy}\r\n"));
        }
        reply.into_bytes()
    }
}

/// Cuts what comes in on a connection into commands or replies.
struct Frames<'a> {
    stream: ReadHalf<'a>,
    received: Vec<u8>,
}

impl<'a> Frames<'a> {
    fn of(stream: ReadHalf<'a>) -> Self {
        Self {
            stream,
            received: Vec::new(),
        }
    }

    async fn next(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(length) = frame_length(&self.received) {
                return Ok(self.received.drain(..length).collect());
            }
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Returns when the other side has hung up.
    async fn end(&mut self) -> io::Result<()> {
        while self.stream.read_buf(&mut self.received).await? > 0 {}
        Ok(())
    }
}

/// The length of the first [RESP2] frame, once it is complete.
///
/// [RESP2]: https://redis.io/docs/latest/develop/reference/protocol-spec/
fn frame_length(bytes: &[u8]) -> Option<usize> {
    let line = bytes.windows(2).position(|two| two == b"\r\n")?;
    let count = || std::str::from_utf8(&bytes[1..line]).unwrap().parse().ok();
    let head = line + 2;
    let length = match bytes[0] {
        b'$' => count().map_or(head, |n: usize| head + n + 2),
        b'*' => (0..count().unwrap_or(0)).try_fold(head, |start, _| {
            Some(start + frame_length(bytes.get(start..)?)?)
        })?,
        _ => head,
    };
    (length <= bytes.len()).then_some(length)
}
