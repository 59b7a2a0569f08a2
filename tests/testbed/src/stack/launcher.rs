use std::{os::unix::process::CommandExt as _, process::Command, sync::mpsc::Sender};

use super::event::Notice;
use crate::{
    process::{Process, Program},
    tied::tied,
};

/// Starts the parts of a stack so that none outlives it, and hears when one ends.
#[derive(Debug)]
pub(super) struct Launcher {
    pub(super) notices: Sender<Notice>,
}

impl Launcher {
    /// What becomes of the command for a program of ours: a process group of its own, so that a
    /// Ctrl-C in the terminal reaches us alone, and we decide who ends when.
    pub(super) fn ours(command: Command) -> Command {
        let mut command = tied(command);
        command.process_group(0);
        command
    }

    /// The same for a program of the system. It gets nothing of our environment, where the keys
    /// are: Redis least of all, whose data they protect.
    pub(super) fn of_the_system(command: Command) -> Command {
        let mut command = Self::ours(command);
        command.env_clear();
        command
    }

    /// Starts it; a [`Notice`] follows when it has ended.
    pub(super) fn spawn(&self, program: Program<'_>) -> anyhow::Result<Process> {
        let notices = self.notices.clone();
        Process::spawn_watched(program, move |pid| {
            // Nobody is interested any more once the stack is gone.
            notices.send(Notice::Ended { pid }).ok();
        })
    }
}
