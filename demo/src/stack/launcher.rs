use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc::Sender,
};

use super::event::Notice;
use crate::tied::tied;

/// Starts the parts of a stack so that none outlives it, and hears when one ends.
#[derive(Debug)]
pub(super) struct Launcher {
    /// The executable of this package.
    pub(super) demo: PathBuf,
    pub(super) notices: Sender<Notice>,
}

impl Launcher {
    /// Runs a program of the system.
    pub(super) fn program(&self, path: &Path) -> Command {
        tied(&self.demo, path)
    }

    /// Runs this package's own executable.
    pub(super) fn demo(&self) -> Command {
        tied(&self.demo, &self.demo)
    }
}
