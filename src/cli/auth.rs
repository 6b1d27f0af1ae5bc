//! `auth`: prints where to authorise and waits, while what is pasted on standard input races the redirect listener.
//!
//! One loop over the connection that waits, the connection that carries a paste, and standard input. A paste that is
//! refused is told and changes nothing else; neither does the end of standard input.

use std::{
    fs::File,
    io::{self, IsTerminal, Read},
    os::fd::AsFd,
    time::Duration,
};

use super::{
    advice::Advice,
    client::{Client, Deadline, LIMIT},
    command::Arguments,
    failure::{Failure, printable},
    output,
    paste::{Input, Lines, Source},
};
use crate::{
    proto::{Line, Notice, Request},
    secret::Secret,
    sys::{
        poll::wait_readable,
        terminal::{self, Unbuffered},
    },
};

/// How long the user has, where `-w` does not say.
const PATIENCE: Duration = Duration::from_secs(600);

/// How often a command in the background looks whether it has come to the foreground.
const GLANCE: Duration = Duration::from_secs(1);

/// Bytes read from standard input at once.
const CHUNK: usize = 4096;

/// Starts or continues an authorization, and waits for its token.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let wait = (!arguments.given("n")).then(|| arguments.time("w").unwrap_or(PATIENCE));
    let account = arguments.operand();
    let request =
        Request::Auth { account: account.clone(), wait: wait.map(|wait| wait.as_secs()), urls: !arguments.given("u") };
    let deadline = Deadline::after(LIMIT + wait.unwrap_or_default());
    let mut client = Client::connect()?;
    client.send(&request, deadline)?;
    let stdin = if wait.is_some() { Stdin::open() } else { Stdin::closed() };
    Session { account, deadline, client, paste: None, waiting: Vec::new(), stdin, announced: Vec::new() }.run()
}

struct Session {
    account: String,
    deadline: Deadline,
    /// The connection on which the token is waited for.
    client: Client,
    /// The connection on which a pasted line is being judged.
    paste: Option<Client>,
    /// Lines to paste after that one.
    waiting: Vec<Secret>,
    stdin: Stdin,
    /// What was printed, a URL or a code with its URLs each.
    announced: Vec<String>,
}

impl Session {
    fn run(mut self) -> Result<(), Failure> {
        loop {
            while let Some(line) = self.client.received_line()? {
                match line {
                    Line::Notice(notice) => self.announce(notice)?,
                    Line::Response(response) => {
                        // The messages are for a terminal as it was before.
                        drop(self.stdin);
                        return output::finish(response);
                    }
                }
            }
            self.go_on_pasting();
            let timeout = self.deadline.remaining()?.min(self.stdin.glance());
            let stdin = self.stdin.readable().filter(|_| self.paste.is_none());
            let descriptors = [Some(self.client.as_fd()), self.paste.as_ref().map(AsFd::as_fd), stdin.map(AsFd::as_fd)];
            let [answered, judged, typed] = wait_readable(descriptors, timeout).map_err(Failure::Connection)?;
            if answered {
                self.client.receive()?;
            }
            if judged {
                self.read_judgement();
            }
            if typed {
                self.read_stdin();
            }
        }
    }

    /// Prints where to authorise, each URL and each code once, and a terminal's user is told what to do.
    fn announce(&mut self, notice: Notice) -> Result<(), Failure> {
        let (lines, advice) = match notice {
            Notice::Message { text } => {
                output::tell(&text);
                return Ok(());
            }
            Notice::Authorize { url } => (vec![url], Advice::OpenUrl),
            Notice::Device { verification_uri, verification_uri_complete, user_code } => {
                let lines = [verification_uri, user_code].into_iter().chain(verification_uri_complete);
                (lines.collect(), Advice::EnterCode)
            }
        };
        let text: String = lines.iter().map(|line| printable(line) + "\n").collect();
        if self.announced.contains(&text) {
            return Ok(());
        }
        output::print(text.as_bytes())?;
        if self.stdin.is_watched_terminal() {
            output::tell(&advice.to_string());
        }
        self.announced.push(text);
        Ok(())
    }

    /// Takes the answer to a paste, if it is there, and sends the next line, if there is one.
    fn go_on_pasting(&mut self) {
        let judgement = self.paste.as_mut().map(Client::received_line);
        match judgement {
            Some(Ok(None)) => return,
            Some(Ok(Some(Line::Notice(Notice::Message { text })))) => output::tell(&text),
            Some(Ok(Some(Line::Notice(Notice::Authorize { .. } | Notice::Device { .. })))) => {}
            Some(Ok(Some(Line::Response(response)))) => {
                self.paste = None;
                tell_result(output::finish(response));
            }
            Some(Err(failure)) => {
                self.paste = None;
                tell_result(Err(failure));
            }
            None => {}
        }
        if self.paste.is_none() && !self.waiting.is_empty() {
            let text = self.waiting.remove(0);
            match self.send_paste(text) {
                Ok(paste) => self.paste = Some(paste),
                Err(failure) => tell_result(Err(failure)),
            }
        }
    }

    fn send_paste(&self, text: Secret) -> Result<Client, Failure> {
        let mut client = Client::connect()?;
        client.send(&Request::Paste { account: self.account.clone(), text }, Deadline::after(LIMIT))?;
        Ok(client)
    }

    fn read_judgement(&mut self) {
        let Some(paste) = &mut self.paste else { return };
        if let Err(failure) = paste.receive() {
            self.paste = None;
            tell_result(Err(failure));
        }
    }

    fn read_stdin(&mut self) {
        for input in self.stdin.read() {
            match input {
                Input::Line(text) => self.waiting.push(text),
                Input::TooLong => output::tell(&Advice::PasteTooLong.to_string()),
                Input::NotText => output::tell(&Advice::PasteNotText.to_string()),
                Input::End => self.stdin = Stdin::closed(),
            }
        }
    }
}

fn tell_result(result: Result<(), Failure>) {
    if let Err(failure) = result {
        output::tell_failure(&failure);
    }
}

/// Standard input, as long as it is of use.
struct Stdin {
    open: Option<Open>,
}

struct Open {
    /// The terminal's changed mode, once this command was in the foreground. Before the file, which it needs when it
    /// is dropped.
    unbuffered: Option<Unbuffered>,
    file: File,
    lines: Lines,
    is_terminal: bool,
}

impl Stdin {
    fn open() -> Stdin {
        let Ok(file) = output::stdin() else { return Stdin::closed() };
        let is_terminal = file.is_terminal();
        let source = if is_terminal { Source::Keyboard } else { Source::Pipe };
        Stdin { open: Some(Open { file, lines: Lines::new(source), is_terminal, unbuffered: None }) }
    }

    fn closed() -> Stdin {
        Stdin { open: None }
    }

    /// What to wait for, unless reading would stop this command for being in the background.
    fn readable(&mut self) -> Option<&File> {
        let open = self.open.as_mut()?;
        if open.is_terminal {
            if !terminal::may_read(&open.file) {
                return None;
            }
            match &open.unbuffered {
                Some(unbuffered) => unbuffered.enter_again(),
                None => open.unbuffered = Unbuffered::enter(&open.file).ok().flatten(),
            }
        }
        Some(&open.file)
    }

    /// The longest time until the next look at whether it can be read.
    fn glance(&self) -> Duration {
        if self.open.as_ref().is_some_and(|open| open.is_terminal) { GLANCE } else { Duration::MAX }
    }

    /// Whether somebody sits there who can read and paste.
    fn is_watched_terminal(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.is_terminal && terminal::may_read(&open.file))
            && io::stderr().is_terminal()
    }

    /// Reads once; an end or an error closes it.
    fn read(&mut self) -> Vec<Input> {
        let Some(open) = &mut self.open else { return Vec::new() };
        let mut bytes = vec![0; CHUNK];
        match open.file.read(&mut bytes) {
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => Vec::new(),
            Ok(0) | Err(_) => {
                let last = open.lines.end();
                self.open = None;
                last.into_iter().collect()
            }
            Ok(count) => {
                let inputs = open.lines.feed(bytes.get(..count).unwrap_or_default());
                if open.unbuffered.is_some() {
                    output::echo(&open.lines.take_echo());
                }
                inputs
            }
        }
    }
}
