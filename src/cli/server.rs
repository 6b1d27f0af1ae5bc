//! `server`: hands its options to the server's room.

use std::path::PathBuf;

use super::{command::Arguments, failure::Failure};
use crate::server;

/// Starts the server; returns when it answers, or with `-d` when it has stopped.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let options = server::Options {
        config: arguments.value("c").map(PathBuf::from),
        foreground: arguments.given("d"),
        verbosity: arguments.count("v"),
    };
    server::run(options).map_err(Failure::Diagnosed)
}
