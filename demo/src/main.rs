//! See the library of this package; this file only turns its result into an exit code.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

fn main() -> ExitCode {
    match demo::main() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            writeln!(io::stderr(), "demo: {error:#}").ok();
            ExitCode::FAILURE
        }
    }
}
