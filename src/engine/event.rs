//! The vocabulary: everything that can happen to the engine, and everything that it can do to the world.
//!
//! An effect returns nothing. Where it has an outcome, that comes back later as an event with the same ticket.

use std::{fmt, time::Duration};

use crate::{
    config::Config,
    oauth::{Broken, Call, Ports, Reply, authorization::RedirectHead},
    proto::{Notice, Request, Response},
    secret::Secret,
};

/// Names one connection, of the control socket or of a redirect listener. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// Names one request, child or staged configuration. Who still holds it decides what its result means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Everything that can happen to the engine.
#[derive(Debug)]
pub enum Event {
    /// Everything is bound and the loop turns.
    Started,
    /// A control client asked for something.
    Request {
        /// Who asked, and gets the answer.
        conn: ConnId,
        /// What it asked for.
        request: Request,
    },
    /// A control client or a browser closed its connection.
    Gone {
        /// Which one.
        conn: ConnId,
    },
    /// A redirect listener read a whole request head.
    Redirect {
        /// The browser's connection, which gets the page.
        conn: ConnId,
        /// What was asked for.
        head: RedirectHead,
    },
    /// A call ended.
    Answer {
        /// The call.
        ticket: Ticket,
        /// What the endpoint answered, or how far the request came.
        outcome: Result<Reply, Broken>,
    },
    /// A child ended.
    Exited {
        /// The run.
        ticket: Ticket,
        /// How it ended.
        end: ChildEnd,
    },
    /// A configuration was read and its listeners were bound aside, or something of it failed.
    Staged {
        /// The staging.
        ticket: Ticket,
        /// The new configuration, or what is wrong, an entry for each error.
        result: Result<Box<Staging>, Vec<String>>,
    },
    /// SIGHUP: read the configuration anew.
    Hangup,
    /// SIGTERM or SIGINT: save and stop.
    Shutdown,
}

/// Everything that the engine can do to the world.
#[derive(Debug)]
pub enum Effect {
    /// Tell a control client something while its request goes on.
    Notice {
        /// Who is told.
        conn: ConnId,
        /// What.
        notice: Notice,
    },
    /// Answer a control client's request; its connection may then carry the next one.
    Respond {
        /// Who asked.
        conn: ConnId,
        /// The answer.
        response: Response,
    },
    /// Write part of a browser's page.
    Page {
        /// The browser's connection.
        conn: ConnId,
        /// Which part.
        page: Page,
    },
    /// Send a request in a helper thread; ends in [`Event::Answer`].
    Call {
        /// The call.
        ticket: Ticket,
        /// What to send.
        call: Call,
    },
    /// Start a hook; ends in [`Event::Exited`].
    Run {
        /// The run.
        ticket: Ticket,
        /// What to run.
        run: Run,
    },
    /// End a hook's process group; it still ends in [`Event::Exited`].
    Kill {
        /// The run.
        ticket: Ticket,
    },
    /// Read the configuration anew and bind what it asks for aside; ends in [`Event::Staged`].
    Stage {
        /// The staging.
        ticket: Ticket,
    },
    /// Swap to what was staged. Cannot fail.
    Adopt {
        /// The staging.
        ticket: Ticket,
    },
    /// Drop what was staged.
    Discard {
        /// The staging.
        ticket: Ticket,
    },
    /// Tell the service manager.
    Notify(Readiness),
    /// Write a line to the log.
    Log {
        /// How important it is.
        level: Level,
        /// One line without secrets.
        line: String,
    },
    /// Flush the connections and end the process.
    Exit(ExitReason),
}

/// A part of a browser's page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Page {
    /// The head and the sentence that authentication is being processed; an outcome follows.
    Opening,
    /// How it ended; closes the page opened before.
    Outcome(Outcome),
    /// A whole page for a request that is not, or not rightly, the redirect.
    Refusal {
        /// HTTP status code.
        status: u16,
        /// What was wrong, and what to do.
        outcome: Outcome,
    },
}

/// What a browser's page tells the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whether the account has its token now.
    pub success: bool,
    /// One line.
    pub title: String,
    /// A few sentences, plain text that may come from outside.
    pub detail: String,
}

/// A hook to run as `$SHELL -c COMMAND`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Which hook it is, for the log.
    pub hook: Hook,
    /// The shell command.
    pub command: String,
    /// Environment variables added for it.
    pub env: Vec<(&'static str, Secret)>,
    /// What it reads; nothing: /dev/null.
    pub stdin: Option<Secret>,
    /// How many bytes of its stdout are kept; zero: its stdout goes where its stderr goes.
    pub capture: usize,
    /// How long it may take before its process group is ended.
    pub limit: Option<Duration>,
}

/// The hooks of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// `auth_notify_cmd`
    AuthNotify,
    /// `error_notify_cmd`
    ErrorNotify,
    /// `client_secret_cmd`
    ClientSecret,
    /// `token_event_cmd`
    TokenEvent,
    /// `transient_error_if_cmd`
    TransientErrorIf,
    /// `startup_cmd`
    Startup,
    /// `persist_cmd`
    Persist,
    /// `restore_cmd`
    Restore,
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Hook::AuthNotify => "auth_notify_cmd",
            Hook::ErrorNotify => "error_notify_cmd",
            Hook::ClientSecret => "client_secret_cmd",
            Hook::TokenEvent => "token_event_cmd",
            Hook::TransientErrorIf => "transient_error_if_cmd",
            Hook::Startup => "startup_cmd",
            Hook::Persist => "persist_cmd",
            Hook::Restore => "restore_cmd",
        })
    }
}

/// How a child ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChildEnd {
    /// It exited.
    Exited {
        /// Its exit status; 128 and the signal's number where one ended it.
        status: i32,
        /// What was kept of its stdout.
        stdout: Secret<Vec<u8>>,
    },
    /// It was ended because its time was up, or because of [`Effect::Kill`].
    Killed,
    /// It could not be started; the reason as a lower-case clause.
    NotStarted(String),
    /// It printed more than was to be kept, and was ended.
    TooMuch,
}

/// A configuration that waits to be adopted.
#[derive(Clone, Debug)]
pub struct Staging {
    /// The configuration.
    pub config: Config,
    /// The listeners as they will be.
    pub bound: Bound,
}

/// The redirect listeners.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    /// Their ports.
    pub ports: Ports,
    /// Public key of the HTTPS listener in colon hex.
    pub https_pub_key: Option<String>,
    /// SHA-256 of the HTTPS listener's certificate in colon hex.
    pub https_cert_sha256: Option<String>,
    /// What is not as it should be, a line each, for `info` and the log.
    pub warnings: Vec<String>,
}

/// What a service manager is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Commands are answered.
    Ready,
    /// The configuration is being read anew.
    Reloading,
    /// The process will end.
    Stopping,
}

/// How grave a line of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something asked for was not done. Always logged.
    Error,
    /// Something may need attention. Logged from `-v`.
    Warn,
    /// What happens to tokens. Logged from `-vv`.
    Info,
    /// Why it happens. Logged from `-vvv`.
    Debug,
    /// Every step. Logged from `-vvvv`.
    Trace,
}

impl Level {
    /// The least grave level that is logged where `-v` was given `count` times.
    pub fn from_verbosity(count: usize) -> Level {
        match count {
            0 => Level::Error,
            1 => Level::Warn,
            2 => Level::Info,
            3 => Level::Debug,
            4.. => Level::Trace,
        }
    }
}

/// Why the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitReason {
    /// Somebody asked, and nothing was left unsaved.
    Asked,
    /// Somebody asked, and something could not be saved.
    Unsaved,
}
