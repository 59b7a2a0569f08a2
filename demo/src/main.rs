//! See the library of this package; this file only turns its result into an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    match demo::main() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}
