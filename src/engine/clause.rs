//! Why something was not done: one clause each, for the messages that carry it.

use std::fmt;

use super::event::{ChildEnd, Hook};
use crate::oauth::authorization::{PasteFault, RedirectFault};

/// A reason that the engine itself finds; those of providers and redirects are of the `oauth` room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Clause {
    /// A hook failed.
    Ended { hook: Hook, status: i32 },
    /// A hook took longer than it may.
    TookTooLong { hook: Hook },
    /// A hook does not run.
    NotStarted { hook: Hook, reason: String },
    /// A hook printed more than is read.
    TooMuch { hook: Hook },
    /// A client secret that is no text.
    SecretNotText,
    /// No client secret.
    NoSecret,
    /// More than a client secret.
    SecretLines,
    /// The user code was not entered in time.
    UserCodeExpired,
    /// A token request was given up.
    NoAnswer { seconds: u64 },
    /// The server stops.
    ShuttingDown,
    /// What is in the store is not known.
    StoreUnread,
    /// A save is under way, or begins.
    BeingSaved,
    /// A pasted redirect that cannot be one.
    Paste(PasteFault),
    /// A pasted redirect that is not this authorization's.
    Redirect(RedirectFault),
    /// A pasted redirect comes twice.
    BeingExchanged,
    /// A pasted redirect for no authorization.
    NothingOpen,
    /// A pasted redirect is another account's.
    OfAccount { account: String },
    /// A pasted redirect was there before.
    UsedAlready,
}

impl fmt::Display for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Clause::Ended { hook, status } => write!(f, "{hook} ended with exit status {status}"),
            Clause::TookTooLong { hook } => write!(f, "{hook} took too long and was ended"),
            Clause::NotStarted { hook, reason } => write!(f, "{hook} could not be started: {reason}"),
            Clause::TooMuch { hook } => write!(f, "{hook} printed too much"),
            Clause::SecretNotText => f.write_str("client_secret_cmd printed text that is not UTF-8"),
            Clause::NoSecret => f.write_str("client_secret_cmd printed nothing"),
            Clause::SecretLines => f.write_str("client_secret_cmd printed more than one line"),
            Clause::UserCodeExpired => f.write_str("the user code has expired before it was entered"),
            Clause::NoAnswer { seconds } => write!(f, "no answer within {seconds} s"),
            Clause::ShuttingDown => f.write_str("the server is shutting down"),
            Clause::StoreUnread => f.write_str("restore_cmd has not succeeded yet"),
            Clause::BeingSaved => f.write_str("being saved"),
            Clause::Paste(fault) => fault.fmt(f),
            Clause::Redirect(fault) => fault.fmt(f),
            Clause::BeingExchanged => f.write_str("the code is being exchanged already"),
            Clause::NothingOpen => f.write_str("no authorization in a browser is open"),
            Clause::OfAccount { account } => write!(f, "it belongs to account {account:?}"),
            Clause::UsedAlready => f.write_str("it was used already"),
        }
    }
}

/// Why a hook's end is no success; `None` where it is one.
pub(super) fn failure_of(hook: Hook, end: &ChildEnd) -> Option<Clause> {
    match end {
        ChildEnd::Exited { status: 0, .. } => None,
        ChildEnd::Exited { status, .. } => Some(Clause::Ended { hook, status: *status }),
        ChildEnd::Killed => Some(Clause::TookTooLong { hook }),
        ChildEnd::NotStarted(reason) => Some(Clause::NotStarted { hook, reason: reason.clone() }),
        ChildEnd::TooMuch => Some(Clause::TooMuch { hook }),
    }
}

#[cfg(test)]
impl Clause {
    /// One of every kind, for the golden file that shows them all; what `oauth` finds is in that of reasons.
    pub(super) fn examples() -> Vec<Clause> {
        let mut examples = vec![Clause::Ended { hook: Hook::Restore, status: 2 }];
        while let Some(last) = examples.last() {
            let next = match last {
                Clause::Ended { .. } => Clause::TookTooLong { hook: Hook::Restore },
                Clause::TookTooLong { .. } => Clause::NotStarted {
                    hook: Hook::Restore,
                    reason: "Cannot allocate memory (os error 12)".to_owned(),
                },
                Clause::NotStarted { .. } => Clause::TooMuch { hook: Hook::Restore },
                Clause::TooMuch { .. } => Clause::SecretNotText,
                Clause::SecretNotText => Clause::NoSecret,
                Clause::NoSecret => Clause::SecretLines,
                Clause::SecretLines => Clause::UserCodeExpired,
                Clause::UserCodeExpired => Clause::NoAnswer { seconds: 32 },
                Clause::NoAnswer { .. } => Clause::ShuttingDown,
                Clause::ShuttingDown => Clause::StoreUnread,
                Clause::StoreUnread => Clause::BeingSaved,
                Clause::BeingSaved => Clause::BeingExchanged,
                Clause::BeingExchanged => Clause::NothingOpen,
                Clause::NothingOpen => Clause::OfAccount { account: "home".to_owned() },
                Clause::OfAccount { .. } => Clause::UsedAlready,
                Clause::UsedAlready | Clause::Paste(_) | Clause::Redirect(_) => break,
            };
            examples.push(next);
        }
        examples
    }
}
