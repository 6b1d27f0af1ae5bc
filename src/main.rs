//! The `pizauth` program: hands the command line to [`pizauth::cli`] and exits with its status.

use std::process::ExitCode;

fn main() -> ExitCode {
    pizauth::cli::run()
}
