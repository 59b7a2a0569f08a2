use std::{
    io::{self, BufRead as _, BufReader, PipeReader, Write as _},
    os::unix::process::CommandExt as _,
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

use super::{event::Notice, launcher::Launcher, log::Log};

/// How long a program may take until it is ready.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// How long a program may take to end by itself before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// What to run, and how to tell that it is ready.
pub(super) struct Program<'a> {
    pub(super) name: &'a str,
    pub(super) command: Command,
    /// Part of the line that the program writes once it accepts connections.
    pub(super) ready_sign: &'static str,
    /// Whether its other lines go to our stderr too.
    pub(super) show_log: bool,
}

/// A running program, killed and reaped when dropped.
#[derive(Debug)]
pub(super) struct Process {
    name: String,
    child: Child,
    log: Log,
    /// Says once that the program is ready, and is closed when the program has ended.
    ready: Receiver<()>,
}

impl Process {
    /// Starts the program; a [`Notice`] follows when it has ended.
    ///
    /// It gets a process group of its own: a Ctrl-C in the terminal reaches us alone, and we
    /// decide who ends when.
    pub(super) fn spawn(program: Program<'_>, launcher: &Launcher) -> anyhow::Result<Self> {
        let Program {
            name,
            mut command,
            ready_sign,
            show_log,
        } = program;
        let (output, input) = io::pipe()?;
        let child = command
            .stdin(Stdio::null())
            .stdout(input.try_clone()?)
            .stderr(input)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        // Our own ends of the pipe would hide that the program's are closed.
        drop(command);

        let (say_ready, ready) = channel();
        let process = Self {
            name: name.to_owned(),
            child,
            log: Log::default(),
            ready,
        };
        let reader = OutputReader {
            log: process.log.clone(),
            ready_sign,
            say_ready,
            shown_as: show_log.then(|| name.to_owned()),
        };
        let ended = Notice::Ended {
            pid: process.child.id(),
        };
        let notices = launcher.notices.clone();
        thread::spawn(move || {
            reader.read(output);
            // Nobody is interested any more once the stack is gone.
            notices.send(ended).ok();
        });
        Ok(process)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn log(&self) -> &Log {
        &self.log
    }

    /// Waits until the program accepts connections.
    pub(super) fn wait_ready(&mut self) -> anyhow::Result<()> {
        let what = match self.ready.recv_timeout(START_PATIENCE) {
            Ok(()) => return Ok(()),
            Err(RecvTimeoutError::Timeout) => {
                format!("was not ready within {START_PATIENCE:?}")
            }
            Err(RecvTimeoutError::Disconnected) => {
                format!("ended before it was ready ({})", self.child.wait()?)
            }
        };
        bail!("{} {what}; its log:{}", self.name, self.log)
    }

    /// Asks the program to end, and leaves it the time to do so.
    pub(super) fn terminate(&mut self) -> io::Result<()> {
        self.signal(Signal::SIGTERM)
    }

    /// Stops the program where it is: it is there, but does nothing.
    pub(super) fn pause(&mut self) -> io::Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Lets a paused program go on.
    pub(super) fn resume(&mut self) -> io::Result<()> {
        self.signal(Signal::SIGCONT)
    }

    fn signal(&mut self, signal: Signal) -> io::Result<()> {
        // Until we have reaped it, its id belongs to no other process.
        if self.child.try_wait()?.is_none() {
            kill(Pid::from_raw(self.child.id().cast_signed()), signal)?;
        }
        Ok(())
    }

    /// Asks the program to end, and returns when it has ended, one way or the other.
    pub(super) fn stop(&mut self) -> io::Result<ExitStatus> {
        self.terminate()?;
        let deadline = Instant::now() + STOP_PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.ready.recv_timeout(left) {
                Ok(()) => (),
                Err(RecvTimeoutError::Disconnected) => return self.child.wait(),
                Err(RecvTimeoutError::Timeout) => return self.kill(),
            }
        }
    }

    /// Ends the program with SIGKILL.
    pub(super) fn kill(&mut self) -> io::Result<ExitStatus> {
        self.child.kill()?;
        self.child.wait()
    }

    /// How the program ended; waits if it still runs.
    pub(super) fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            writeln!(
                io::stderr(),
                "demo: cannot end {} (process {}): {error}",
                self.name,
                self.pid()
            )
            .ok();
        }
    }
}

struct OutputReader {
    log: Log,
    ready_sign: &'static str,
    say_ready: Sender<()>,
    shown_as: Option<String>,
}

impl OutputReader {
    /// Reads until the program has ended, even if nobody reads what we show: a program whose
    /// output is not read cannot go on either.
    fn read(self, output: PipeReader) {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            if line.contains(self.ready_sign) {
                self.say_ready.send(()).ok();
            } else if let Some(name) = &self.shown_as {
                writeln!(io::stderr(), "[{name}] {line}").ok();
            }
            self.log.push(line);
        }
    }
}
