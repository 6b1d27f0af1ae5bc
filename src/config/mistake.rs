//! Everything that can be wrong with a configuration, or unwise in it, as its author reads it.

use std::fmt;

use super::{diagnostic::printable, quote};
use crate::oauth::uri::UriFault;

/// Longest part of a name that a message repeats, in characters.
const MAX_NAME: usize = 40;

/// A place in the text, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub line: usize,
    /// In characters.
    pub column: usize,
}

/// Something that is wrong, without its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mistake {
    // The grammar.
    Expected { expected: String, found: Option<String> },
    UnexpectedBrace,
    QuoteMissing,
    Backslash,
    NotClosed,
    NextAccount,
    NoAccount,
    TooMany,
    // Names.
    UnknownOption { name: String, similar: Option<&'static str>, expected: String },
    Renamed { old: &'static str, new: &'static str },
    GlobalOption { name: String },
    AccountOption { name: String },
    OptionTwice { name: String, first: Position },
    AccountTwice { account: String, first: Position },
    ControlInAccount,
    // Values.
    Uri(UriFault),
    NotAChoice(&'static [&'static str]),
    Nul,
    Empty,
    TooShort { least: u64 },
    NoPort,
    NotAnAddress,
    NotAHost,
    NoClientId,
    OwnField { name: String },
    RefusedField { name: String },
    RefusedHeader { name: String },
    NotAHeader,
    NotAHeaderValue,
    // What belongs together, or does not.
    Missing { option: &'static str, account: String },
    LoginHintTwice,
    TwoSecrets,
    NoSecret,
    Needs { option: &'static str, other: &'static str },
    BothListenersOff { account: String },
    ListenerOff { account: String, scheme: &'static str },
    NoListener { account: String },
    PortTwice { other: &'static str },
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mistake::Expected { expected, found: Some(found) } => write!(f, "expected {expected}, found {found}"),
            Mistake::Expected { expected, found: None } => write!(f, "expected {expected}"),
            Mistake::UnexpectedBrace => f.write_str("unexpected \"}\""),
            Mistake::QuoteMissing => f.write_str("the closing quote of this string seems to be missing"),
            Mistake::Backslash => {
                f.write_str("only \\\" and \\\\ may follow a backslash in a string; a backslash itself is \\\\")
            }
            Mistake::NotClosed => f.write_str("the closing \"}\" of this account is missing"),
            Mistake::NextAccount => f.write_str("expected \"}\" before the next account"),
            Mistake::NoAccount => f.write_str("at least one account must be specified"),
            Mistake::TooMany => f.write_str("too many errors: the rest is not shown"),
            Mistake::UnknownOption { name, similar, expected } => {
                write!(f, "unknown option \"{}\"; ", printable(name, MAX_NAME))?;
                match similar {
                    Some(similar) => write!(f, "did you mean \"{similar}\"?"),
                    None => write!(f, "expected {expected}"),
                }
            }
            Mistake::Renamed { old, new } => write!(f, "{old} has been renamed to {new}"),
            Mistake::GlobalOption { name } => {
                write!(f, "{name} is a global option: it belongs outside the account blocks")
            }
            Mistake::AccountOption { name } => {
                write!(f, "{name} is an account option: it belongs in an account block")
            }
            Mistake::OptionTwice { name, first } => write!(f, "{name} is given twice: first at {first}"),
            Mistake::AccountTwice { account, first } => {
                write!(f, "the account {} is given twice: first at {first}", shown(account))
            }
            Mistake::ControlInAccount => f.write_str("an account's name must not contain control characters"),
            Mistake::Uri(fault) => write!(f, "invalid URI: {fault}"),
            Mistake::NotAChoice(choices) => {
                let choices: Vec<_> = choices.iter().map(|choice| quote(choice)).collect();
                write!(f, "expected one of {}", choices.join(", "))
            }
            Mistake::Nul => f.write_str("a NUL character cannot stand here"),
            Mistake::Empty => f.write_str("this must not be empty"),
            Mistake::TooShort { least } => write!(f, "this time must be at least {least}s"),
            Mistake::NoPort => f.write_str("the port is missing: expected HOST:PORT, such as \"127.0.0.1:0\""),
            Mistake::NotAnAddress => {
                f.write_str("expected HOST:PORT, such as \"127.0.0.1:0\", \"localhost:8080\" or \"[::1]:0\"")
            }
            Mistake::NotAHost => f.write_str("expected a host name, or HOST:PORT"),
            Mistake::NoClientId => f.write_str("client_id is empty: fill in what the provider gave you"),
            Mistake::OwnField { name } => write!(f, "pizauth sets {} itself", quote(name)),
            Mistake::RefusedField { name } => write!(f, "{} must not stand in token_uri_fields", quote(name)),
            Mistake::RefusedHeader { name } => write!(f, "{} must not stand in token_uri_headers", quote(name)),
            Mistake::NotAHeader => f.write_str("this is no name of a header field"),
            Mistake::NotAHeaderValue => f.write_str("a header field may hold printable ASCII characters only"),
            Mistake::Missing { option, account } => {
                write!(f, "{option} is missing in the account {}", shown(account))
            }
            Mistake::LoginHintTwice => {
                f.write_str("login_hint is in auth_uri_fields as well; remove this one, which is deprecated")
            }
            Mistake::TwoSecrets => f.write_str("client_secret and client_secret_cmd must not stand in one account"),
            Mistake::NoSecret => f.write_str("client_auth \"basic\" needs a client_secret or a client_secret_cmd"),
            Mistake::Needs { option, other } => write!(f, "{option} needs {other}"),
            Mistake::BothListenersOff { account } => {
                let account = shown(account);
                write!(f, "http_listen and https_listen are both none, but the account {account} needs one")
            }
            Mistake::ListenerOff { account, scheme } => {
                let account = shown(account);
                write!(f, "the account {account} has an {scheme} redirect_uri, but {scheme}_listen is none")
            }
            Mistake::NoListener { account } => {
                let account = shown(account);
                write!(f, "the account {account} has no listener: http_listen is none, https_listen not set")
            }
            Mistake::PortTwice { other } => write!(f, "{other} has this port already; take another port"),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// What is allowed but probably not meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Warning {
    PlainHttp { account: String, option: &'static str },
    NoOfflineAccess { account: String },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::PlainHttp { account, option } => {
                write!(f, "account {}: {option} is plain http: tokens can be read on the way", shown(account))
            }
            Warning::NoOfflineAccess { account } => write!(
                f,
                "account {}: scopes lack \"offline_access\", without which Microsoft gives no refresh token",
                shown(account)
            ),
        }
    }
}

/// An account's name in quotes, on one line.
fn shown(account: &str) -> String {
    printable(&quote(account), 2 * MAX_NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &str = include_str!("../../tests/golden/configuration.txt");

    fn account() -> String {
        "work".to_owned()
    }

    #[test]
    fn a_name_of_many_quotes_is_shown_whole() {
        let name = "\"".repeat(MAX_NAME - 1);
        assert_eq!(shown(&name), quote(&name));
    }

    /// The mistake after `last`, so that none can be left out.
    fn next(last: &Mistake) -> Option<Mistake> {
        let first = Position { line: 3, column: 5 };
        let text = str::to_owned;
        Some(match last {
            Mistake::Expected { found: Some(_), .. } => Mistake::Expected { expected: text("\";\""), found: None },
            Mistake::Expected { found: None, .. } => Mistake::UnexpectedBrace,
            Mistake::UnexpectedBrace => Mistake::QuoteMissing,
            Mistake::QuoteMissing => Mistake::Backslash,
            Mistake::Backslash => Mistake::NotClosed,
            Mistake::NotClosed => Mistake::NextAccount,
            Mistake::NextAccount => Mistake::NoAccount,
            Mistake::NoAccount => Mistake::TooMany,
            Mistake::TooMany => {
                Mistake::UnknownOption { name: text("scope"), similar: Some("scopes"), expected: String::new() }
            }
            Mistake::UnknownOption { similar: Some(_), .. } => {
                let expected = text("one of client_id, scopes, or \"}\"");
                Mistake::UnknownOption { name: text("password"), similar: None, expected }
            }
            Mistake::UnknownOption { similar: None, .. } => {
                Mistake::Renamed { old: "auth_error_cmd", new: "error_notify_cmd" }
            }
            Mistake::Renamed { .. } => Mistake::GlobalOption { name: text("ca_file") },
            Mistake::GlobalOption { .. } => Mistake::AccountOption { name: text("scopes") },
            Mistake::AccountOption { .. } => Mistake::OptionTwice { name: text("user"), first },
            Mistake::OptionTwice { .. } => Mistake::AccountTwice { account: account(), first },
            Mistake::AccountTwice { .. } => Mistake::ControlInAccount,
            Mistake::ControlInAccount => Mistake::Uri(UriFault::Scheme),
            Mistake::Uri(_) => Mistake::NotAChoice(&["post", "basic"]),
            Mistake::NotAChoice(_) => Mistake::Nul,
            Mistake::Nul => Mistake::Empty,
            Mistake::Empty => Mistake::TooShort { least: 1 },
            Mistake::TooShort { .. } => Mistake::NoPort,
            Mistake::NoPort => Mistake::NotAnAddress,
            Mistake::NotAnAddress => Mistake::NotAHost,
            Mistake::NotAHost => Mistake::NoClientId,
            Mistake::NoClientId => Mistake::OwnField { name: text("scope") },
            Mistake::OwnField { .. } => Mistake::RefusedField { name: text("code") },
            Mistake::RefusedField { .. } => Mistake::RefusedHeader { name: text("Host") },
            Mistake::RefusedHeader { .. } => Mistake::NotAHeader,
            Mistake::NotAHeader => Mistake::NotAHeaderValue,
            Mistake::NotAHeaderValue => Mistake::Missing { option: "token_uri", account: account() },
            Mistake::Missing { .. } => Mistake::LoginHintTwice,
            Mistake::LoginHintTwice => Mistake::TwoSecrets,
            Mistake::TwoSecrets => Mistake::NoSecret,
            Mistake::NoSecret => Mistake::Needs { option: "https_cert", other: "https_key" },
            Mistake::Needs { .. } => Mistake::BothListenersOff { account: account() },
            Mistake::BothListenersOff { .. } => Mistake::ListenerOff { account: account(), scheme: "http" },
            Mistake::ListenerOff { .. } => Mistake::NoListener { account: account() },
            Mistake::NoListener { .. } => Mistake::PortTwice { other: "http_listen" },
            Mistake::PortTwice { .. } => return None,
        })
    }

    #[test]
    fn every_mistake_and_warning_is_in_the_golden_file() {
        let first = Mistake::Expected { expected: "\"=\"".to_owned(), found: Some("a string".to_owned()) };
        let mistakes = std::iter::successors(Some(first), next).map(|mistake| format!("{mistake}\n"));
        let plain = Warning::PlainHttp { account: account(), option: "token_uri" };
        let warnings = std::iter::successors(Some(plain), |last| match last {
            Warning::PlainHttp { .. } => Some(Warning::NoOfflineAccess { account: account() }),
            Warning::NoOfflineAccess { .. } => None,
        });
        let text: String = mistakes.chain(warnings.map(|warning| format!("{warning}\n"))).collect();
        assert_eq!(text, GOLDEN, "tests/golden/configuration.txt");
    }
}
