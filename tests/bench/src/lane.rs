use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use actix_session_redis::deadpool_redis::redis::{self, InfoDict};
use anyhow::{Context as _, ensure};
use tempfile::TempDir;
use testbed::{Browser, Nginx, Process, Program, Server, tied};

use crate::{
    commands_seen::CommandsSeen,
    contender::Contender,
    cores,
    delay::DelayingProxy,
    figures::{Round, Spread},
    process_id::ProcessId,
    serve::LISTENING,
    sessions,
    setting::{Route, Setting},
    wrk::Wrk,
};

/// How many requests are watched to see which commands they cause.
const WATCHED_REQUESTS: usize = 20;

/// One contender in one setting, with a Redis of its own: what happens there is its doing.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) contender: Contender,
    pub(crate) setting: Setting,
    address: SocketAddr,
    _nginx: Option<Nginx>,
    servers: Vec<Process>,
    proxy: Option<DelayingProxy>,
    pub(crate) redis: Server,
    redis_id: ProcessId,
    cookies: PathBuf,
    wrk: Wrk,
    _folder: TempDir,
}

impl Lane {
    pub(crate) fn start(contender: Contender, setting: &Setting) -> anyhow::Result<Self> {
        cores::use_only(cores::of_others(setting))?;
        let folder = tempfile::Builder::new().prefix("bench-").tempdir()?;
        let redis = Server::start_with(&["--appendonly", "no"]);
        let info: InfoDict = redis.try_run("INFO server")?;
        let redis_id = ProcessId(info.get("process_id").context("no process id")?);
        if contender.uses_redis() {
            sessions::store(setting, contender, &redis.url())?;
        }
        let cookies = folder.path().join("cookies");
        sessions::write_cookies(setting, contender, &cookies)?;

        let delay = setting.delay;
        let proxy = delay.map(|delay| DelayingProxy::start(redis.address(), delay));
        let proxy = proxy.transpose()?;
        let redis_address = proxy
            .as_ref()
            .map_or(redis.address(), DelayingProxy::address);
        let servers = (0..setting.processes)
            .map(|_| start_server(contender, setting, redis_address))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let (servers, addresses): (Vec<_>, Vec<_>) = servers.into_iter().unzip();
        let nginx = setting.nginx.then(|| Nginx::start(&addresses));
        let lane = Self {
            contender,
            setting: setting.clone(),
            address: nginx.as_ref().map_or(addresses[0], Nginx::address),
            _nginx: nginx,
            servers,
            proxy,
            redis,
            redis_id,
            cookies,
            wrk: Wrk::new(folder.path())?,
            _folder: folder,
        };
        lane.ensure_it_counts()?;
        Ok(lane)
    }

    /// Otherwise we would measure how fast sessions are forgotten.
    fn ensure_it_counts(&self) -> anyhow::Result<()> {
        let count = || anyhow::Ok(self.visit("/count")?.parse::<u64>()?);
        let counts = [count()?, count()?];
        let expected = if self.contender.uses_redis() {
            [1, 2]
        } else {
            // We do not keep the cookie that we are given.
            [1, 1]
        };
        ensure!(counts == expected, "{} counts {counts:?}", self.contender);
        Ok(())
    }

    /// As the first of the visitors.
    pub(crate) fn visit(&self, path: &str) -> anyhow::Result<String> {
        let cookies = BufReader::new(fs::File::open(&self.cookies)?);
        let cookie = cookies.lines().next().context("there are no visitors")??;
        self.visit_with(&cookie, path)
    }

    /// As whoever has this cookie.
    pub(crate) fn visit_with(&self, cookie: &str, path: &str) -> anyhow::Result<String> {
        visit(&Browser::with_cookie(&self.url(), cookie), path)
    }

    /// As somebody new. Returns the cookie that is set.
    pub(crate) fn cookie_from(&self, path: &str) -> anyhow::Result<String> {
        let browser = Browser::new(&self.url());
        visit(&browser, path)?;
        browser.cookie().context("the session has no cookie")
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn round(&self, duration: Duration) -> anyhow::Result<Round> {
        let (before, load) = self.wrk.run(
            (self.address, self.setting.route.path()),
            self.setting.connections,
            &self.cookies,
            duration,
            || self.cpu_times(),
        )?;
        let after = self.cpu_times()?;
        Ok(Round {
            load,
            server_cpu: after.0 - before.0,
            redis_cpu: after.1 - before.1,
        })
    }

    /// Of all server processes together, and of Redis.
    fn cpu_times(&self) -> anyhow::Result<(Duration, Duration)> {
        let of_servers = self.server_ids().map(ProcessId::cpu_time);
        let of_servers = of_servers.sum::<anyhow::Result<_>>()?;
        Ok((of_servers, self.redis_id.cpu_time()?))
    }

    pub(crate) fn resident_kib(&self) -> anyhow::Result<u64> {
        let sizes = self.server_ids().map(ProcessId::resident_kib);
        sizes.sum()
    }

    /// When nobody else is asking.
    pub(crate) fn commands(&self) -> anyhow::Result<CommandsSeen> {
        CommandsSeen::watch(&self.redis, WATCHED_REQUESTS, || {
            for _ in 0..WATCHED_REQUESTS {
                self.visit(self.setting.route.path())?;
            }
            Ok(())
        })
    }

    fn server_ids(&self) -> impl Iterator<Item = ProcessId> {
        self.servers.iter().map(|server| ProcessId(server.pid()))
    }

    /// Between the servers and Redis.
    pub(crate) fn connections(&self) -> anyhow::Result<u64> {
        let info: InfoDict = self.redis.try_run("INFO clients")?;
        let clients: u64 = info.get("connected_clients").context("no clients")?;
        // One of them is who asks.
        Ok(clients - 1)
    }

    /// What a plain client waits for an answer of Redis, delay included.
    pub(crate) fn round_trip(&self) -> anyhow::Result<Duration> {
        let address = self
            .proxy
            .as_ref()
            .map_or(self.redis.address(), DelayingProxy::address);
        let client = redis::Client::open(format!("redis://{address}"))?;
        let mut connection = client.get_connection()?;
        let times = (0..100).map(|_| {
            let begun = Instant::now();
            redis::cmd("GET").arg("nothing").exec(&mut connection)?;
            Ok(begun.elapsed().as_secs_f64())
        });
        let times = times.collect::<anyhow::Result<Vec<_>>>()?;
        Ok(Duration::from_secs_f64(Spread::of(times).median))
    }
}

fn visit(browser: &Browser, path: &str) -> anyhow::Result<String> {
    let page = browser.get(path);
    ensure!(page.status == 200, "{path} answers: {page:?}");
    Ok(page.body)
}

fn start_server(
    contender: Contender,
    setting: &Setting,
    redis: SocketAddr,
) -> anyhow::Result<(Process, SocketAddr)> {
    let mut command = Command::new(env::current_exe()?);
    command
        .args(["serve", "--contender", &contender.argument()])
        .args(["--redis", &format!("redis://{redis}")])
        .args(["--workers", &setting.workers.to_string()]);
    for core in cores::of_server(setting) {
        command.args(["--core", &core.to_string()]);
    }
    if setting.route == Route::SlidingRead {
        command.arg("--sliding");
    }
    let program = Program::new("bench serve", tied(command)).ready_when_it_says(LISTENING);
    let mut process = Process::spawn(program)?;
    let line = process.wait_ready()?;
    let address = line.strip_prefix(LISTENING);
    let address = address.with_context(|| format!("{contender} says: {line}"))?;
    Ok((process, address.parse()?))
}
