use std::{
    fs::{self, File},
    process::Command,
};

use tempfile::TempDir;

use crate::running::Running;

/// The application with users, with its log.
pub(super) struct Members {
    url: String,
    _process: Running,
    files: TempDir,
}

impl Members {
    pub(super) fn with(variables: &[(&str, &str)]) -> Self {
        let files = tempfile::tempdir().unwrap();
        let stderr = File::create(files.path().join("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_members-under-test"));
        command.envs(variables.iter().copied()).stderr(stderr);
        let mut process = Running::start(&mut command);
        let line = process.next_line();
        Self {
            url: line.strip_prefix("listening on ").expect(&line).to_owned(),
            _process: process,
            files,
        }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.files.path().join("log")).unwrap()
    }
}
