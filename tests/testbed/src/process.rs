use std::{
    io::{self, BufRead as _, BufReader, PipeReader, Write as _},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::log::Log;

/// How long a program may take until it is ready.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// How long a program may take to end by itself before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// What to run, and how to tell that it is ready.
#[derive(Debug)]
pub struct Program<'a> {
    name: &'a str,
    command: Command,
    ready_sign: Option<&'static str>,
    is_log_shown: bool,
    log: Log,
}

/// A running program, killed and reaped when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    is_paused: bool,
    log: Log,
    /// Brings the line which says that the program is ready, and is closed when it has ended.
    ready: Receiver<String>,
}

impl<'a> Program<'a> {
    /// What it writes is kept, and shown only where something has failed.
    pub fn new(name: &'a str, command: Command) -> Self {
        Self {
            name,
            command,
            ready_sign: None,
            is_log_shown: false,
            log: Log::default(),
        }
    }

    /// Part of the line that the program writes once it accepts connections.
    #[must_use]
    pub fn ready_when_it_says(mut self, sign: &'static str) -> Self {
        self.ready_sign = Some(sign);
        self
    }

    /// Whether its other lines go to our stderr too.
    #[must_use]
    pub fn log_shown(mut self, is_shown: bool) -> Self {
        self.is_log_shown = is_shown;
        self
    }

    /// Where its lines go on, after those of a predecessor.
    #[must_use]
    pub(crate) fn log_to(mut self, log: &Log) -> Self {
        self.log = log.clone();
        self
    }
}

impl Process {
    /// Starts the program.
    ///
    /// # Errors
    ///
    /// When there is no such program.
    pub fn spawn(program: Program<'_>) -> anyhow::Result<Self> {
        Self::spawn_watched(program, |_| ())
    }

    /// Starts the program; when it has ended, its process id is told.
    pub(crate) fn spawn_watched(
        program: Program<'_>,
        tell_end: impl FnOnce(u32) + Send + 'static,
    ) -> anyhow::Result<Self> {
        let Program {
            name, mut command, ..
        } = program;
        let (output, input) = io::pipe()?;
        let child = command
            .stdin(Stdio::null())
            .stdout(input.try_clone()?)
            .stderr(input)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        // Our own ends of the pipe would hide that the program's are closed.
        drop(command);

        let (say_ready, ready) = channel();
        let pid = child.id();
        let reader = OutputReader {
            log: program.log.clone(),
            ready_sign: program.ready_sign,
            say_ready,
            shown_as: program.is_log_shown.then(|| name.to_owned()),
        };
        thread::spawn(move || {
            reader.read(output);
            tell_end(pid);
        });
        Ok(Self {
            name: name.to_owned(),
            child,
            is_paused: false,
            log: program.log,
            ready,
        })
    }

    /// What it was called when it was started.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id, for as long as it runs.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The last lines that it wrote.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Waits until the program has said that it is ready, and returns the line in which it did.
    ///
    /// # Errors
    ///
    /// When it has not after ten seconds, or has ended, with the end of its log.
    pub fn wait_ready(&mut self) -> anyhow::Result<String> {
        let what = match self.ready.recv_timeout(START_PATIENCE) {
            Ok(line) => return Ok(line),
            Err(RecvTimeoutError::Timeout) => {
                format!("was not ready within {START_PATIENCE:?}")
            }
            Err(RecvTimeoutError::Disconnected) => {
                format!("ended before it was ready ({})", self.child.wait()?)
            }
        };
        bail!("{} {what}; its log:{}", self.name, self.log)
    }

    /// As Ctrl-C does.
    ///
    /// # Errors
    ///
    /// If the system does not let us.
    pub fn interrupt(&mut self) -> io::Result<()> {
        self.signal(Signal::SIGINT)
    }

    /// Asks the program to end, and leaves it the time to do so.
    pub(crate) fn terminate(&mut self) -> io::Result<()> {
        self.signal(Signal::SIGTERM)
    }

    /// Stops the program where it is: it is there, but does nothing.
    pub(crate) fn pause(&mut self) -> io::Result<()> {
        self.is_paused = true;
        self.signal(Signal::SIGSTOP)
    }

    /// Lets a paused program go on.
    pub(crate) fn resume(&mut self) -> io::Result<()> {
        self.is_paused = false;
        self.signal(Signal::SIGCONT)
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.is_paused
    }

    fn signal(&mut self, signal: Signal) -> io::Result<()> {
        // Until we have reaped it, its id belongs to no other process.
        if self.exit_status()?.is_none() {
            kill(Pid::from_raw(self.child.id().cast_signed()), signal)?;
        }
        Ok(())
    }

    /// Asks the program to end, as `systemctl stop` does. Returns when it has ended; after five
    /// seconds it is killed.
    ///
    /// # Errors
    ///
    /// If the system does not let us.
    pub fn stop(&mut self) -> io::Result<ExitStatus> {
        self.terminate()?;
        if self.is_paused {
            self.resume()?;
        }
        let deadline = Instant::now() + STOP_PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.ready.recv_timeout(left) {
                Ok(_) => (),
                Err(RecvTimeoutError::Disconnected) => return self.child.wait(),
                Err(RecvTimeoutError::Timeout) => return self.kill(),
            }
        }
    }

    /// Ends the program with SIGKILL.
    pub(crate) fn kill(&mut self) -> io::Result<ExitStatus> {
        self.child.kill()?;
        self.child.wait()
    }

    /// How the program ended; waits if it still runs, and until its log is complete.
    ///
    /// # Errors
    ///
    /// If the system does not tell.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        while self.ready.recv().is_ok() {}
        self.child.wait()
    }

    /// How the program ended; `None` while it runs.
    ///
    /// # Errors
    ///
    /// If the system does not tell.
    pub fn exit_status(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }
}

impl Drop for Process {
    /// SIGKILL ends a paused process, too.
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            let (name, pid) = (&self.name, self.pid());
            writeln!(io::stderr(), "cannot end {name} (process {pid}): {error}").ok();
        }
    }
}

struct OutputReader {
    log: Log,
    ready_sign: Option<&'static str>,
    say_ready: Sender<String>,
    shown_as: Option<String>,
}

impl OutputReader {
    /// Reads until the program has ended, even if nobody reads what we show: a program whose
    /// output is not read cannot go on either.
    fn read(self, output: PipeReader) {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            if self.ready_sign.is_some_and(|sign| line.contains(sign)) {
                self.say_ready.send(line.clone()).ok();
            } else if let Some(name) = &self.shown_as {
                writeln!(io::stderr(), "[{name}] {line}").ok();
            }
            self.log.push(line);
        }
    }
}
