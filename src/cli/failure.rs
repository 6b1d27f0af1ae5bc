//! Every reason for which a command fails, with its message and exit status.

use std::{fmt, io};

use super::{command::Command, git::GitFault, usage::UsageFault};
use crate::{
    proto::{Malformed, Reason},
    sys::socket::SocketError,
};

/// Why a command failed.
#[derive(Debug)]
pub enum Failure {
    /// The command line is wrong; without a fault it is empty.
    Usage {
        /// The command, where it is known.
        command: Option<&'static Command>,
        /// What is wrong.
        fault: Option<UsageFault>,
    },
    /// Nobody answers at any place where the server's socket can be.
    NoServer {
        /// Why the likeliest place was passed over, where it is more than that no server is there.
        fault: Option<SocketError>,
    },
    /// The server does not answer in time.
    NoAnswer {
        /// Seconds that it had.
        seconds: u64,
    },
    /// The server closed the connection before its answer.
    Closed,
    /// The server was told to stop, and did not in time.
    StillRunning {
        /// Seconds that it had.
        seconds: u64,
    },
    /// The connection to the server broke.
    Connection(io::Error),
    /// The server sent a line that is not of the protocol.
    Malformed(Malformed),
    /// The server sent an answer to another question.
    Unexpected,
    /// The server said no.
    Answered {
        /// What kind of no.
        reason: Reason,
        /// Its messages.
        messages: Vec<String>,
    },
    /// Standard output cannot be written.
    Stdout(io::Error),
    /// Standard input cannot be read.
    Stdin(io::Error),
    /// Standard input is longer than any dump.
    StdinTooLong {
        /// The longest that is read, in bytes.
        limit: u64,
    },
    /// Standard input is not text.
    StdinNotText,
    /// A SASL format without a user.
    NoUser {
        /// The account's name.
        account: String,
    },
    /// A user that would not stay one field of the format.
    ControlInUser,
    /// A git request that cannot be read.
    GitRequest(GitFault),
    /// A git request for a protocol that shows the token to others.
    GitProtocol(String),
    /// Metadata of which no account block can be made that reads back as it is.
    NoBlock {
        /// What was asked for.
        url: String,
    },
    /// Files and metadata that are not as they must be, a message each.
    Refused(Vec<String>),
    /// What is wrong with a configuration and what it needs; a message may have its source line as a second line.
    Diagnosed(Vec<String>),
}

impl Failure {
    /// The exit status of pizauth(1).
    pub fn status(&self) -> u8 {
        match self {
            Failure::Usage { .. } => 2,
            Failure::NoServer { .. }
            | Failure::NoAnswer { .. }
            | Failure::StillRunning { .. }
            | Failure::Closed
            | Failure::Connection(_) => 5,
            Failure::Answered { reason, .. } => match reason {
                Reason::Error => 1,
                Reason::Authorize => 3,
                Reason::Temporary => 4,
                Reason::Unavailable => 5,
            },
            Failure::Malformed(_)
            | Failure::Unexpected
            | Failure::Stdout(_)
            | Failure::Stdin(_)
            | Failure::StdinTooLong { .. }
            | Failure::StdinNotText
            | Failure::NoUser { .. }
            | Failure::ControlInUser
            | Failure::GitRequest(_)
            | Failure::GitProtocol(_)
            | Failure::NoBlock { .. }
            | Failure::Refused(_)
            | Failure::Diagnosed(_) => 1,
        }
    }

    /// What the user is told, a message each, without the program's name.
    pub fn messages(&self) -> Vec<String> {
        match self {
            Failure::Usage { fault, .. } => fault.iter().map(UsageFault::to_string).collect(),
            Failure::Answered { messages, .. } | Failure::Refused(messages) | Failure::Diagnosed(messages) => {
                messages.clone()
            }
            Failure::NoServer { fault: Some(fault) } => vec![self.to_string(), fault.to_string()],
            other => vec![other.to_string()],
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage { fault: Some(fault), .. } => fault.fmt(f),
            Failure::Usage { fault: None, .. } => f.write_str("no command"),
            Failure::NoServer { .. } => f.write_str(
                "no server running (pizauth authenticator not running or not responding); start it with: pizauth server",
            ),
            Failure::NoAnswer { seconds } => write!(
                f,
                "pizauth authenticator not running or not responding: no answer within {seconds} s; if that persists, end its process and run: pizauth server"
            ),
            Failure::StillRunning { seconds } => {
                write!(f, "pizauth authenticator not responding: it did not stop within {seconds} s; end its process")
            }
            Failure::Closed => f.write_str(
                "pizauth authenticator not running or not responding: the server closed the connection without an answer; try again",
            ),
            Failure::Connection(error) => write!(
                f,
                "pizauth authenticator not running or not responding: the connection to the server broke: {error}; try again"
            ),
            Failure::Malformed(malformed) => {
                write!(f, "cannot understand the server: {malformed}; restart it, it may be of another version")
            }
            Failure::Unexpected => {
                f.write_str("the server answered another question; restart it, it may be of another version")
            }
            Failure::Answered { messages, .. } | Failure::Refused(messages) | Failure::Diagnosed(messages) => {
                f.write_str(&messages.join("; "))
            }
            Failure::Stdout(error) => write!(f, "cannot write to standard output: {error}"),
            Failure::Stdin(error) => write!(f, "cannot read standard input: {error}"),
            Failure::StdinTooLong { limit } => {
                write!(f, "standard input is longer than {} MiB, which no dump is; give it what \"pizauth dump\" wrote", limit / 1024 / 1024)
            }
            Failure::StdinNotText => f.write_str(
                "standard input is no dump: it is not text; one of pizauth 1 cannot be restored, authorise once more",
            ),
            Failure::NoUser { account } => {
                write!(f, "account {account:?} has no user name for this format; give it with -U or the option \"user\"")
            }
            Failure::ControlInUser => f.write_str("the user name has control characters in it; correct it"),
            Failure::GitRequest(fault) => {
                write!(f, "cannot understand git's request: {fault}; only git's credential.helper runs this")
            }
            Failure::GitProtocol(protocol) => {
                write!(f, "no token for git over {protocol:?}: use an https URL, others show the token on the way")
            }
            Failure::NoBlock { url } => write!(
                f,
                "{url}: no account block can be made of the metadata that reads back as it is; write it by hand"
            ),
        }
    }
}

/// Makes a message one line that moves no cursor: control characters become blanks, since a name may hold some.
pub fn printable(text: &str) -> String {
    text.trim_end().chars().map(|char| if char.is_control() { ' ' } else { char }).collect()
}

/// A message about a configuration and the source line behind it. Only behind a place, `FILE:LINE:COL: `, does a line
/// break begin one; elsewhere it is of a name.
pub fn split_diagnostic(text: &str) -> (&str, Option<&str>) {
    let is_place = |text: &str| {
        let mut parts = text.rsplit(':');
        let mut is_number = || parts.next().is_some_and(|part| part.parse::<usize>().is_ok());
        is_number() && is_number()
    };
    match text.split_once('\n') {
        Some((first, line)) if first.match_indices(": ").any(|(at, _)| is_place(&first[..at])) => (first, Some(line)),
        Some(_) | None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::{cli::advice::Advice, proto, sys::directory::DirectoryError};

    #[test]
    fn answers_have_the_exit_status_of_their_reason() {
        for (reason, want) in
            [(Reason::Error, 1), (Reason::Authorize, 3), (Reason::Temporary, 4), (Reason::Unavailable, 5)]
        {
            assert_eq!(Failure::Answered { reason, messages: Vec::new() }.status(), want, "{reason:?}");
        }
        assert_eq!(Failure::NoServer { fault: None }.status(), 5);
        assert_eq!(Failure::Usage { command: None, fault: None }.status(), 2);
    }

    const GOLDEN: &str = include_str!("../../tests/golden/commands.txt");

    fn path() -> PathBuf {
        PathBuf::from("/run/user/1000/pizauth/pizauth.sock")
    }

    fn io_error() -> io::Error {
        io::Error::from_raw_os_error(32)
    }

    fn nowhere(fault: SocketError) -> Failure {
        Failure::NoServer { fault: Some(fault) }
    }

    /// One of every kind, each found from the one before, so that none can be left out.
    fn failures() -> Vec<Failure> {
        let directory = |fault| nowhere(SocketError::Directory(fault));
        let account = || "work".to_owned();
        let mut examples = vec![Failure::Usage { command: None, fault: None }];
        while let Some(last) = examples.last() {
            let next = match last {
                Failure::Usage { fault: None, .. } => usage(UsageFault::UnknownCommand("shwo".to_owned())),
                Failure::Usage { fault: Some(fault), .. } => next_usage_fault(fault),
                Failure::NoServer { fault: None } => directory(DirectoryError::Link(path())),
                Failure::NoServer { fault: Some(fault) } => match fault {
                    SocketError::Directory(fault) => match fault {
                        DirectoryError::Link(_) => directory(DirectoryError::NotDirectory(path())),
                        DirectoryError::NotDirectory(_) => directory(DirectoryError::Foreign(path(), 1001)),
                        DirectoryError::Foreign(..) => directory(DirectoryError::Open(path(), 0o755)),
                        DirectoryError::Open(..) => directory(DirectoryError::Writable(path(), 0o777)),
                        DirectoryError::Writable(..) => directory(DirectoryError::Io(path(), io_error())),
                        DirectoryError::Io(..) => nowhere(SocketError::Running),
                    },
                    SocketError::Running => nowhere(SocketError::InTheWay(path())),
                    SocketError::InTheWay(_) => nowhere(SocketError::TooLong(path())),
                    SocketError::TooLong(_) => nowhere(SocketError::Stranger(path(), 1001)),
                    SocketError::Stranger(..) => nowhere(SocketError::Io(path(), io_error())),
                    SocketError::Io(..) => Failure::NoAnswer { seconds: 10 },
                },
                Failure::NoAnswer { .. } => Failure::Closed,
                Failure::Closed => Failure::StillRunning { seconds: 20 },
                Failure::StillRunning { .. } => Failure::Connection(io_error()),
                Failure::Connection(_) => Failure::Malformed(proto::read_line(b"hello\n").unwrap_err()),
                Failure::Malformed(Malformed::Shape(_)) => Failure::Malformed(Malformed::Version(9)),
                Failure::Malformed(Malformed::Version(_)) => Failure::Unexpected,
                Failure::Unexpected => Failure::Stdout(io_error()),
                Failure::Stdout(_) => Failure::Stdin(io_error()),
                Failure::Stdin(_) => Failure::StdinTooLong { limit: 48 * 1024 * 1024 },
                Failure::StdinTooLong { .. } => Failure::StdinNotText,
                Failure::StdinNotText => Failure::NoUser { account: account() },
                Failure::NoUser { .. } => Failure::ControlInUser,
                Failure::ControlInUser => Failure::GitRequest(GitFault::NotText),
                Failure::GitRequest(fault) => next_git_fault(*fault),
                Failure::GitProtocol(_) => Failure::NoBlock { url: "https://login.example".to_owned() },
                // These carry messages of other rooms, which are in files of their own.
                Failure::NoBlock { .. } | Failure::Answered { .. } => break,
                Failure::Refused(_) | Failure::Diagnosed(_) => break,
            };
            examples.push(next);
        }
        examples
    }

    fn usage(fault: UsageFault) -> Failure {
        Failure::Usage { command: None, fault: Some(fault) }
    }

    fn next_usage_fault(fault: &UsageFault) -> Failure {
        let text = str::to_owned;
        usage(match fault {
            UsageFault::UnknownCommand(name) if name == "shwo" => UsageFault::UnknownCommand(text("hello")),
            UsageFault::UnknownCommand(_) => UsageFault::UnknownOption(text("-x")),
            UsageFault::UnknownOption(_) => UsageFault::ValueMissing(text("-w")),
            UsageFault::ValueMissing(_) => UsageFault::NoValue(text("--help")),
            UsageFault::NoValue(_) => UsageFault::GivenTwice(text("-u")),
            UsageFault::GivenTwice(_) => UsageFault::NoTime { option: "w", value: text("10") },
            UsageFault::NoTime { .. } => UsageFault::NoFormat { option: "f", value: text("yaml") },
            UsageFault::NoFormat { .. } => UsageFault::AccountMissing,
            UsageFault::AccountMissing => UsageFault::UrlMissing,
            UsageFault::UrlMissing => UsageFault::Unexpected(text("b")),
            UsageFault::Unexpected(_) => UsageFault::NotText(text("\"a\\xFF\"")),
            UsageFault::NotText(_) => return Failure::NoServer { fault: None },
        })
    }

    fn next_git_fault(fault: GitFault) -> Failure {
        Failure::GitRequest(match fault {
            GitFault::NotText => GitFault::TooLong,
            GitFault::TooLong => GitFault::Control,
            GitFault::Control => GitFault::NoEquals,
            GitFault::NoEquals => GitFault::Twice,
            GitFault::Twice => GitFault::NoProtocol,
            GitFault::NoProtocol => GitFault::NoHost,
            GitFault::NoHost => return Failure::GitProtocol("http".to_owned()),
        })
    }

    fn advice() -> Vec<Advice> {
        let url = || "https://login.example.com/device".to_owned();
        let mut examples = vec![Advice::OpenUrl];
        while let Some(last) = examples.last() {
            let next = match last {
                Advice::OpenUrl => Advice::EnterCode,
                Advice::EnterCode => Advice::PasteTooLong,
                Advice::PasteTooLong => Advice::PasteNotText,
                Advice::PasteNotText => {
                    Advice::StoreSealed { reason: "restore_cmd ended with exit status 2".to_owned() }
                }
                Advice::StoreSealed { .. } => Advice::WaitingForUrl { url: url() },
                Advice::WaitingForUrl { .. } => {
                    Advice::WaitingForCode { verification_uri: url(), user_code: "WDJB-MJHT".to_owned() }
                }
                Advice::WaitingForCode { .. } => break,
            };
            examples.push(next);
        }
        examples
    }

    #[test]
    fn every_message_is_in_the_golden_file_with_its_status() {
        let failures = failures().into_iter().filter_map(|failure| {
            let message = failure.messages().pop()?;
            Some(match failure {
                // The server tells these too, with another status.
                Failure::NoServer { fault: Some(_) } => format!("- {message}\n"),
                failure => format!("{} {message}\n", failure.status()),
            })
        });
        let examples: String = failures.chain(advice().iter().map(|advice| format!("- {advice}\n"))).collect();
        // Some systems take shorter paths.
        let examples = examples.replace("at most 103;", "at most 107;");
        assert_eq!(examples, GOLDEN, "tests/golden/commands.txt");
    }

    #[test]
    fn messages_cannot_drive_the_terminal() {
        for (text, want) in [("a\x1b[2Jb\r\n", "a [2Jb"), ("a\nb\tc", "a b c"), ("\u{9b}x", " x")] {
            assert_eq!(printable(text), want);
        }
    }

    #[test]
    fn only_a_source_line_is_a_second_line() {
        for (text, want) in [
            ("a.conf:1:2: wrong: yes", ("a.conf:1:2: wrong: yes", None)),
            ("a.conf:1:2: wrong\n  user = 5;", ("a.conf:1:2: wrong", Some("  user = 5;"))),
            ("a: b:12:34: wrong\n", ("a: b:12:34: wrong", Some(""))),
            ("a\nb: cannot be read", ("a\nb: cannot be read", None)),
            ("a:1: b\nc", ("a:1: b\nc", None)),
            ("a:1:x: b\nc", ("a:1:x: b\nc", None)),
            ("http_listen: 127.0.0.1:1: in use\n", ("http_listen: 127.0.0.1:1: in use\n", None)),
        ] {
            assert_eq!(split_diagnostic(text), want);
        }
    }
}
