//! The two standard streams, with their errors seen.

use std::{
    fs::File,
    io::{self, IsTerminal, Read, Write},
    os::fd::AsFd,
};

use super::failure::{Failure, printable, split_diagnostic};
use crate::{proto::Response, sys::streams};

/// Writes to standard output.
///
/// Past std's own handle, which takes a descriptor that cannot be written to as written to.
pub fn print(bytes: &[u8]) -> Result<(), Failure> {
    let stdout = streams::check_stdout().and_then(|()| io::stdout().as_fd().try_clone_to_owned());
    stdout.and_then(|stdout| File::from(stdout).write_all(bytes)).map_err(Failure::Stdout)
}

/// Standard input without a buffer of std's, so that what is polled is what is read.
pub fn stdin() -> Result<File, Failure> {
    let stdin = streams::check_stdin().and_then(|()| io::stdin().as_fd().try_clone_to_owned());
    stdin.map(File::from).map_err(Failure::Stdin)
}

/// Reads standard input to its end; more than `limit` bytes are a failure.
pub fn read_stdin(limit: u64) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    stdin()?.take(limit + 1).read_to_end(&mut bytes).map_err(Failure::Stdin)?;
    if bytes.len() as u64 > limit { Err(Failure::StdinTooLong { limit }) } else { Ok(bytes) }
}

/// Writes a message to standard error, as a line with the program's name.
///
/// A standard error that cannot be written has nobody who could be told.
pub fn tell(message: &str) {
    tell_plain(&format!("pizauth: {}\n", printable(message)));
}

/// Writes the messages of a failure to standard error.
pub fn tell_failure(failure: &Failure) {
    let tell = if matches!(failure, Failure::Diagnosed(_)) { tell_diagnostic } else { tell };
    failure.messages().iter().for_each(|message| tell(message));
}

fn tell_diagnostic(message: &str) {
    let (message, source_line) = split_diagnostic(message);
    tell(message);
    if let Some(source_line) = source_line {
        tell_plain(&(printable(source_line) + "\n"));
    }
}

/// Writes text to standard error as it is.
pub fn tell_plain(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Shows at the terminal what was typed there. Where standard error is elsewhere, nothing is shown.
pub fn echo(typed: &[u8]) {
    if io::stderr().is_terminal() {
        let _ = io::stderr().write_all(typed);
    }
}

/// Ends a request that has no result but its messages.
pub fn finish(response: Response) -> Result<(), Failure> {
    match response {
        Response::Done { messages } => {
            messages.iter().for_each(|message| tell(message));
            Ok(())
        }
        Response::Failed { reason, messages } => Err(Failure::Answered { reason, messages }),
        Response::Token(_) | Response::Status(_) | Response::Info(_) | Response::Dump { .. } => {
            Err(Failure::Unexpected)
        }
    }
}
