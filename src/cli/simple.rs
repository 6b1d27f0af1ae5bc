//! The commands that ask the server one thing and print what it says.

use std::time::Duration;

use super::{
    client::{Client, Deadline, LIMIT, ask, ask_patiently, judge},
    command::Arguments,
    failure::Failure,
    output,
};
use crate::{
    proto::{Notice, Reason, Request, Response},
    secret::Secret,
};

/// Longest dump that `restore` reads, in bytes: with every line break escaped it still fits into a request.
const MAX_DUMP: u64 = 48 * 1024 * 1024;

/// How long a revocation may take beyond an answer at hand: `client_secret_cmd` has a minute, and each of two requests half of one and a little.
const REVOCATION: Duration = Duration::from_secs(130);

/// How long a reload may take beyond an answer at hand: it looks host names up, perhaps behind another reload that does.
const RELOAD: Duration = Duration::from_secs(10);

/// How long the server may take to save its state and end.
const SHUTDOWN: Duration = Duration::from_secs(20);

/// Writes the token state to standard output.
pub fn dump(_: &Arguments) -> Result<(), Failure> {
    match ask(&Request::Dump, LIMIT, tell_notice)? {
        Response::Dump { dump } => output::print(dump.expose().as_bytes()),
        other => output::finish(other).and(Err(Failure::Unexpected)),
    }
}

/// Hands standard input to the server as its token state.
pub fn restore(_: &Arguments) -> Result<(), Failure> {
    let dump = String::from_utf8(output::read_stdin(MAX_DUMP)?).map_err(|_| Failure::StdinNotText)?;
    output::finish(ask(&Request::Restore { dump: Secret::new(dump) }, LIMIT, tell_notice)?)
}

/// Has the server read its configuration again.
pub fn reload(_: &Arguments) -> Result<(), Failure> {
    match ask_patiently(&Request::Reload, RELOAD, tell_notice) {
        Err(Failure::Answered { reason: Reason::Error, messages }) => Err(Failure::Diagnosed(messages)),
        answered => output::finish(answered?),
    }
}

/// Refreshes a token, or starts an authorization.
pub fn refresh(arguments: &Arguments) -> Result<(), Failure> {
    let wait = arguments.time("w");
    let request = Request::Refresh {
        account: arguments.operand(),
        wait: wait.map(|wait| wait.as_secs()),
        urls: !arguments.given("u"),
    };
    output::finish(ask(&request, LIMIT + wait.unwrap_or_default(), tell_notice)?)
}

/// Forgets a token.
pub fn revoke(arguments: &Arguments) -> Result<(), Failure> {
    let local = arguments.given("l");
    let patience = if local { Duration::ZERO } else { REVOCATION };
    let request = Request::Revoke { account: arguments.operand(), local };
    output::finish(ask_patiently(&request, patience, tell_notice)?)
}

/// Stops the server, and returns once its process no longer holds the connection.
pub fn shutdown(_: &Arguments) -> Result<(), Failure> {
    let deadline = Deadline::after(SHUTDOWN);
    let late = |failure| match failure {
        Failure::NoAnswer { seconds } => Failure::StillRunning { seconds },
        other => other,
    };
    let mut client = Client::connect()?;
    let response = client.exchange(&Request::Shutdown, deadline, tell_notice).map_err(late)?;
    let result = judge(response).and_then(output::finish);
    client.wait_for_end(deadline).map_err(late)?;
    result
}

/// Tells what these commands are told meanwhile: never a URL, which only waiting for a token needs.
fn tell_notice(notice: Notice) {
    match notice {
        Notice::Message { text } => output::tell(&text),
        Notice::Authorize { .. } | Notice::Device { .. } => {}
    }
}
