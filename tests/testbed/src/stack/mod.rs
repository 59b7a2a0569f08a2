//! The whole stack: Redis, the instances of an application, and nginx in front.

mod event;
mod instance;
mod launcher;
mod overview;
mod redis;

use std::{
    fs::Permissions,
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    sync::mpsc::{Receiver, channel},
    thread,
};

use anyhow::Context as _;
use deadpool_redis::redis::{Client, Connection};
use tempfile::TempDir;

use self::{event::Notice, instance::Instance, launcher::Launcher, redis::Redis};
pub use self::{
    event::{Ended, Event, Interrupter},
    instance::Application,
};
use crate::{nginx::Nginx, port::ReservedPort, process::Process};

/// A running stack. Dropping it stops everything and removes its files.
///
/// On Linux nothing is left running either when the process that started it is killed hard, or
/// when the *thread* that started it ends: start it from a thread that lives as long as the stack
/// should, not from a thread pool. (This takes `setpriv` of util-linux.)
///
/// Its files, among them those of its Redis, are in a temporary folder that nobody else may enter:
/// one that is killed hard cannot remove them.
///
/// Instances are counted from 0, and the name of the first is `instance-0`. Who asks for one that there is
/// not panics.
#[derive(Debug)]
pub struct Stack<A: Application> {
    nginx: Nginx,
    instances: Vec<Instance>,
    redis: Redis,
    application: A,
    launcher: Launcher,
    notices: Receiver<Notice>,
    /// Last, so that the files are removed when nobody uses them any more.
    _folder: TempDir,
}

/// What a [`Stack`] is made of.
#[derive(Debug)]
pub struct StackOptions<A> {
    /// What the instances run.
    pub application: A,
    /// How many instances there are; 3 unless changed.
    pub instances: usize,
    /// Port of nginx on 127.0.0.1; 0, the default, takes any free one.
    pub port: u16,
    /// The Redis that holds the sessions; a private one, unless given.
    pub redis_url: Option<String>,
}

impl<A> StackOptions<A> {
    /// Everything at its default.
    pub fn new(application: A) -> Self {
        Self {
            application,
            instances: 3,
            port: 0,
            redis_url: None,
        }
    }
}

impl<A: Application> Stack<A> {
    /// Starts everything, and returns when all of it accepts connections.
    ///
    /// # Errors
    ///
    /// One line that says what is missing or in the way; when a part of the stack did not come
    /// up, the end of its log follows. Nothing is left running.
    pub fn start(options: StackOptions<A>) -> anyhow::Result<Self> {
        let application = options.application;
        let port = ReservedPort::exactly(options.port)?;
        let folder = tempfile::Builder::new()
            .prefix("stack-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()
            .context("cannot make a temporary folder")?;
        let (sender, notices) = channel();
        let launcher = Launcher { notices: sender };

        let redis = match options.redis_url {
            Some(url) => Redis::Given { url },
            None => Redis::spawn(&launcher, folder.path())?,
        };
        let instances: Vec<_> = (0..options.instances)
            .map(|i| format!("instance-{i}"))
            .map(|name| Instance::spawn(&name, &application, redis.url(), &launcher))
            .collect::<anyhow::Result<_>>()?;
        let addresses: Vec<_> = instances.iter().map(Instance::address).collect();
        let configuration = application.nginx(port.address(), &addresses)?;
        let command = Nginx::command(folder.path(), &configuration)?;
        let nginx = launcher.spawn(Nginx::program(Launcher::of_the_system(command)))?;

        let mut stack = Self {
            nginx: Nginx::at(port, nginx),
            instances,
            redis,
            application,
            launcher,
            notices,
            _folder: folder,
        };
        // All of them start at the same time; only now is the time to wait for each.
        stack.wait_ready()?;
        Ok(stack)
    }

    fn wait_ready(&mut self) -> anyhow::Result<()> {
        if let Some(redis) = self.redis.process_mut() {
            redis.wait_ready()?;
        }
        for instance in &mut self.instances {
            instance.process.wait_ready()?;
        }
        self.nginx.wait_ready()
    }

    /// Where nginx answers, without a slash at the end.
    pub fn url(&self) -> String {
        self.nginx.url()
    }

    /// Where the sessions are.
    pub fn redis_url(&self) -> &str {
        self.redis.url()
    }

    /// A connection to it, to see what it holds.
    ///
    /// # Panics
    ///
    /// If there is no way to it.
    pub fn redis(&self) -> Connection {
        let client = Client::open(self.redis_url()).unwrap();
        client.get_connection().unwrap()
    }

    /// What instances that are started from now on run; the others go on as they are.
    pub fn application_mut(&mut self) -> &mut A {
        &mut self.application
    }

    /// What the instances call themselves in the `x-demo-instance` header, dead ones included.
    pub fn instance_names(&self) -> impl Iterator<Item = &str> {
        self.instances
            .iter()
            .map(|instance| instance.process.name())
    }

    /// Where instance `i` answers without nginx.
    pub fn instance_url(&self, i: usize) -> String {
        format!("http://{}", self.instances[i].address())
    }

    /// The process id of instance `i`, for as long as it runs.
    pub fn instance_pid(&self, i: usize) -> u32 {
        self.instances[i].process.pid()
    }

    /// The last lines of the log of instance `i`.
    pub fn instance_log(&self, i: usize) -> String {
        self.instances[i].process.log().to_string()
    }

    /// Kills instance `i` with SIGKILL; returns when it is gone.
    ///
    /// # Errors
    ///
    /// If the system does not let us.
    pub fn kill_instance(&mut self, i: usize) -> anyhow::Result<()> {
        Ok(self.instances[i].kill()?)
    }

    /// Stops instance `i`, if it runs, and starts it again on the same port: with SIGTERM, so
    /// requests finish that take less than five seconds. Returns when the new one accepts
    /// connections.
    ///
    /// # Errors
    ///
    /// If it does not come up again, with the end of its log.
    pub fn restart_instance(&mut self, i: usize) -> anyhow::Result<()> {
        self.instances[i].restart(&self.application, self.redis.url(), &self.launcher)
    }

    /// Waits until a part of the stack ends, or until the wait is interrupted.
    ///
    /// What the stack itself was told to stop or kill counts too, what it restarts does not.
    ///
    /// # Errors
    ///
    /// If the system does not tell how it ended.
    pub fn wait(&mut self) -> io::Result<Event> {
        loop {
            let Ok(Notice::Ended { pid }) = self.notices.recv() else {
                return Ok(Event::Interrupted);
            };
            if let Some(event) = self.ended(pid)? {
                return Ok(event);
            }
        }
    }

    /// For another thread, to end [`Stack::wait`].
    pub fn interrupter(&self) -> Interrupter {
        Interrupter(self.launcher.notices.clone())
    }

    /// What the end of this process means; nothing if another one has taken its place.
    fn ended(&mut self, pid: u32) -> io::Result<Option<Event>> {
        let is_instance = self.instances.iter().any(|i| i.process.pid() == pid);
        let Some(process) = self.processes().find(|process| process.pid() == pid) else {
            return Ok(None);
        };
        let ended = Ended {
            name: process.name().to_owned(),
            status: process.wait()?,
            log: process.log().to_string(),
        };
        Ok(Some(if is_instance {
            Event::InstanceEnded(ended)
        } else {
            Event::BackboneEnded(ended)
        }))
    }

    /// In the order in which they are needed.
    fn processes(&mut self) -> impl Iterator<Item = &mut Process> {
        self.redis
            .process_mut()
            .into_iter()
            .chain(
                self.instances
                    .iter_mut()
                    .map(|instance| &mut instance.process),
            )
            .chain([&mut self.nginx.process])
    }

    /// From the front to the back, so that nobody misses what it needs for its last request.
    fn stop(&mut self) -> io::Result<()> {
        self.nginx.process.stop()?;
        for instance in &mut self.instances {
            instance.process.terminate()?;
        }
        for instance in &mut self.instances {
            instance.process.stop()?;
        }
        if let Some(redis) = self.redis.process_mut() {
            redis.stop()?;
        }
        Ok(())
    }
}

impl<A: Application> Drop for Stack<A> {
    fn drop(&mut self) {
        if thread::panicking() {
            let nginx = self.nginx.process.pid();
            // nginx says it itself.
            for process in self.processes().filter(|it| it.pid() != nginx) {
                // This one can be captured by the test that panics.
                eprintln!("the log of {}:{}", process.name(), process.log());
            }
        }
        // What did not stop in good order is killed when its process is dropped.
        if let Err(error) = self.stop() {
            writeln!(io::stderr(), "the stack cannot stop in good order: {error}").ok();
        }
    }
}
