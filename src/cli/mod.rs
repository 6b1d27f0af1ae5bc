//! The command line: one table of commands, and a file for each command that does more than ask and print.
//!
//! Commands are clients of the control socket, but for `server`, `check`, `discover` and the help. Standard output
//! carries what was asked for and nothing else; every message is a line on standard error.

mod advice;
mod auth;
mod check;
mod client;
pub mod command;
mod discover;
mod failure;
mod format;
mod git;
mod info;
mod output;
mod paste;
mod server;
mod show;
mod simple;
mod status;
mod usage;

use std::{ffi::OsString, process::ExitCode};

pub use failure::Failure;

use command::Invocation;

/// Runs the program with the arguments of this process.
pub fn run() -> ExitCode {
    let line: Vec<OsString> = std::env::args_os().skip(1).collect();
    match command::parse(&line).and_then(invoke) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::tell_failure(&failure);
            if let Failure::Usage { command, .. } = failure {
                output::tell_plain(&command::usage_text(command));
            }
            ExitCode::from(failure.status())
        }
    }
}

fn invoke(invocation: Invocation) -> Result<(), Failure> {
    match invocation {
        Invocation::Run(arguments) => (arguments.command.run)(&arguments),
        Invocation::Help(command) => output::print(command::help_text(command).as_bytes()),
        Invocation::Version => output::print(concat!("pizauth ", env!("CARGO_PKG_VERSION"), "\n").as_bytes()),
    }
}
