//! Runs the command line, and turns the outcome into an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(mcompose::cli::main())
}
