//! What can be wrong with a command line.

use std::fmt;

use super::{command::COMMANDS, format::Format};
use crate::config::nearest;

/// A command line that means nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UsageFault {
    /// There is no such command.
    UnknownCommand(String),
    /// There is no such option here.
    UnknownOption(String),
    /// An option without its value.
    ValueMissing(String),
    /// An option with a value that it does not take.
    NoValue(String),
    /// An option that may be given once.
    GivenTwice(String),
    /// A value that is no time.
    NoTime {
        /// The option's letter.
        option: &'static str,
        /// The value.
        value: String,
    },
    /// A value that is no format.
    NoFormat {
        /// The option's letter.
        option: &'static str,
        /// The value.
        value: String,
    },
    /// No account is named.
    AccountMissing,
    /// No URL is given.
    UrlMissing,
    /// One operand too many.
    Unexpected(String),
    /// An argument that is not UTF-8, with what is not escaped.
    NotText(String),
}

impl fmt::Display for UsageFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UsageFault::UnknownCommand(name) => {
                write!(f, "unknown command {name:?}")?;
                match nearest(name, COMMANDS.iter().map(|command| command.name)) {
                    Some(command) => write!(f, "; did you mean {command:?}?"),
                    None => Ok(()),
                }
            }
            UsageFault::UnknownOption(option) => write!(f, "unknown option {option}"),
            UsageFault::ValueMissing(option) => write!(f, "option {option} needs a value"),
            UsageFault::NoValue(option) => write!(f, "option {option} takes no value"),
            UsageFault::GivenTwice(option) => write!(f, "option {option} is given twice"),
            UsageFault::NoTime { option, value } => {
                write!(f, "-{option}: {value:?} is not a time such as 30s, 10m, 2h or 1d")
            }
            UsageFault::NoFormat { option, value } => write!(f, "-{option}: {value:?} is none of {}", Format::names()),
            UsageFault::AccountMissing => f.write_str("the account is missing"),
            UsageFault::UrlMissing => f.write_str("the URL is missing"),
            UsageFault::Unexpected(argument) => write!(f, "unexpected argument {argument:?}"),
            UsageFault::NotText(argument) => write!(f, "the argument {argument} is not UTF-8"),
        }
    }
}

impl From<getopts::Fail> for UsageFault {
    fn from(fault: getopts::Fail) -> Self {
        let dashed = |name: String| format!("{}{name}", if name.chars().count() == 1 { "-" } else { "--" });
        match fault {
            getopts::Fail::ArgumentMissing(name) | getopts::Fail::OptionMissing(name) => {
                UsageFault::ValueMissing(dashed(name))
            }
            getopts::Fail::UnrecognizedOption(name) => UsageFault::UnknownOption(dashed(name)),
            getopts::Fail::OptionDuplicated(name) => UsageFault::GivenTwice(dashed(name)),
            getopts::Fail::UnexpectedArgument(name) => UsageFault::NoValue(dashed(name)),
        }
    }
}
