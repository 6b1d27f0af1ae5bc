//! `show`: asks for a token, waits where told to, and prints it in a format.

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use super::{
    advice::Advice,
    client::{LIMIT, ask},
    command::Arguments,
    failure::Failure,
    format::Format,
    git, output,
};
use crate::proto::{Notice, Request, Response, Show};

/// How long the server waits for a refresh where `-t` asks for one and `-w` does not say.
const REFRESH: Duration = Duration::from_secs(30);

/// What git wants from its helper.
enum Operation {
    /// A token, whatever it is for.
    Print,
    /// A token for this host.
    Get { host: String },
    /// Nothing that concerns tokens: to store, to erase, or what a later git may think of.
    Ignore,
}

/// Prints an access token, or fails with nothing on standard output.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let git_host = match operation(arguments)? {
        Operation::Print => None,
        Operation::Get { host } => Some(host),
        Operation::Ignore => return Ok(()),
    };
    let (wait, min_life) = (arguments.time("w"), arguments.time("t"));
    let urls = !arguments.given("u");
    let patience = wait.or(min_life.map(|_| REFRESH)).unwrap_or_default();
    let request = Request::Show(Show {
        account: arguments.operand(),
        wait: wait.map(|wait| wait.as_secs()),
        min_life: min_life.map(|life| life.as_secs()),
        urls,
        git_host,
    });
    let Response::Token(token) = ask(&request, LIMIT + patience, |notice| tell_notice(notice, urls))? else {
        return Err(Failure::Unexpected);
    };
    let text = arguments.format().render(&token, arguments.value("U").as_deref())?;
    output::print(text.expose().as_bytes())
}

fn operation(arguments: &Arguments) -> Result<Operation, Failure> {
    if arguments.format() != Format::Git {
        return Ok(Operation::Print);
    }
    match arguments.operands().get(1).map(String::as_str) {
        None => Ok(Operation::Print),
        Some("get") => Ok(Operation::Get { host: git::read_host(output::stdin()?)? }),
        Some(_) => Ok(Operation::Ignore),
    }
}

/// Tells a person at a terminal where to authorise; programs get it with the failure.
fn tell_notice(notice: Notice, urls: bool) {
    match notice {
        Notice::Message { text } => output::tell(&text),
        Notice::Authorize { .. } | Notice::Device { .. } if !urls || !io::stderr().is_terminal() => {}
        Notice::Authorize { url } => output::tell(&Advice::WaitingForUrl { url }.to_string()),
        Notice::Device { verification_uri, verification_uri_complete: _, user_code } => {
            output::tell(&Advice::WaitingForCode { verification_uri, user_code }.to_string());
        }
    }
}
