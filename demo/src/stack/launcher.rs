use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc::Sender,
};

use super::event::Notice;
use crate::{CookieKey, SealKeys, tied::tied};

/// Starts the parts of a stack so that none outlives it, and hears when one ends.
#[derive(Debug)]
pub(super) struct Launcher {
    /// The executable of this package.
    pub(super) demo: PathBuf,
    pub(super) notices: Sender<Notice>,
}

impl Launcher {
    /// Runs a program of the system. It does not get the keys in our environment: Redis least of
    /// all, whose data they protect.
    pub(super) fn program(&self, path: &Path) -> Command {
        let mut command = tied(&self.demo, path);
        command
            .env_remove(CookieKey::VARIABLE)
            .env_remove(SealKeys::VARIABLE);
        command
    }

    /// Runs this package's own executable.
    pub(super) fn demo(&self) -> Command {
        tied(&self.demo, &self.demo)
    }
}
