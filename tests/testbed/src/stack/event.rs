use std::{fmt, process::ExitStatus, sync::mpsc::Sender};

/// What [`Stack::wait`](super::Stack::wait) waits for.
#[derive(Debug)]
pub enum Event {
    /// An instance ended; the stack serves on as long as another one is left.
    InstanceEnded(Ended),
    /// nginx or the private Redis ended; the stack cannot serve any more.
    BackboneEnded(Ended),
    /// [`Interrupter::interrupt`] was called.
    Interrupted,
}

/// A part of the stack that ended without being asked to by the stack.
#[derive(Debug)]
pub struct Ended {
    /// Which part.
    pub name: String,
    /// How it ended.
    pub status: ExitStatus,
    /// The last lines of its log.
    pub log: String,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ended ({})", self.name, self.status)
    }
}

/// Makes [`Stack::wait`](super::Stack::wait) return, from another thread.
#[derive(Debug, Clone)]
pub struct Interrupter(pub(super) Sender<Notice>);

impl Interrupter {
    /// The next or the running [`Stack::wait`](super::Stack::wait) returns
    /// [`Event::Interrupted`].
    pub fn interrupt(&self) {
        // A stack that is gone needs no interruption.
        self.0.send(Notice::Interrupt).ok();
    }
}

/// What other threads tell the stack.
#[derive(Debug)]
pub(super) enum Notice {
    Ended { pid: u32 },
    Interrupt,
}
