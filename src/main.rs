//! Command line to command to exit code.

use std::process::ExitCode;
use std::time::SystemTime;

#[expect(clippy::disallowed_methods, reason = "the clock is read here and passed in")]
fn main() -> ExitCode {
    sluice::cli::command::main(std::env::args_os(), SystemTime::now())
}
