//! The configuration as the rest of the program sees it: every default applied, every rule checked.
//!
//! Text comes in from the caller (`parse`), never from a file: reading and PEM loading are the server's.
//! `lex` cuts the text into tokens, `parse` follows the grammar, `options` is the one table of what may be said.

mod binding;
mod diagnostic;
mod lex;
mod mistake;
mod options;
mod parse;
mod rules;
#[cfg(test)]
mod tests;

use std::{path::PathBuf, time::Duration};

pub use diagnostic::{Diagnostic, Diagnostics};
pub use options::{Kind, OPTIONS, OptionRow, Scope, find_option, nearest, option_names};
pub use rules::warnings;

use crate::{oauth::uri, secret::Secret};

/// A whole configuration in which every rule of pizauth.conf(5) holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Sorted by name; names are unique.
    pub accounts: Vec<Account>,
    /// Shell command that tells the user of an authorization to give.
    pub auth_notify_cmd: Option<String>,
    /// Time between two reminders of one authorization.
    pub auth_notify_interval: Duration,
    /// Extra PEM roots, relative to the configuration's folder.
    pub ca_file: Option<PathBuf>,
    /// Shell command that tells the user of a refusal.
    pub error_notify_cmd: Option<String>,
    /// Where the plain HTTP redirect listener is.
    pub http_listen: Listen,
    /// PEM certificate chain of the HTTPS redirect listener, relative to the configuration's folder.
    pub https_cert: Option<PathBuf>,
    /// PEM private key of the HTTPS redirect listener, relative to the configuration's folder.
    pub https_key: Option<PathBuf>,
    /// Where the HTTPS redirect listener is; it runs only where [`Config::wants_https`] says so.
    pub https_listen: Listen,
    /// Shell command that stores the token state from its stdin.
    pub persist_cmd: Option<String>,
    /// Shell command that prints the stored token state.
    pub restore_cmd: Option<String>,
    /// Shell command run when the server answers commands.
    pub startup_cmd: Option<String>,
    /// Shell command told of every token event.
    pub token_event_cmd: Option<String>,
    /// Shell command that decides whether repeated failures are transient.
    pub transient_error_if_cmd: Option<String>,
}

/// Where a redirect listener listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// Not configured: a free loopback port; see [`Config::wants_https`] for whether the HTTPS listener runs.
    Default,
    /// `none`.
    Off,
    /// `HOST:PORT` as written; port 0 is any free one.
    Address(String),
}

/// One account: an identity at one provider, with its own tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Name that the user gave it; unique.
    pub name: String,
    /// Life that a token is taken to have where the provider names none.
    pub assume_expires_in: Duration,
    /// Authorization endpoint; `Some` wherever `grant` is `AuthorizationCode`.
    pub auth_uri: Option<String>,
    /// Extra query fields of the authorization request, in order; keys may repeat.
    pub auth_uri_fields: Vec<(String, String)>,
    /// How the client proves who it is (RFC 6749 s2.3.1).
    pub client_auth: ClientAuth,
    /// Client identifier (RFC 6749 s2.2).
    pub client_id: String,
    /// Where the client secret comes from.
    pub client_secret: ClientSecret,
    /// Device authorization endpoint (RFC 8628 s3.1); `Some` wherever `grant` is `DeviceCode`.
    pub device_auth_uri: Option<String>,
    /// Hosts to which `show -f git` may give the token.
    pub git_hosts: Vec<String>,
    /// How tokens are first obtained.
    pub grant: Grant,
    /// Issuer identifier that a redirect must carry as `iss` (RFC 9207).
    pub issuer: Option<String>,
    /// Deprecated spelling of the `login_hint` field.
    pub login_hint: Option<String>,
    /// Redirection URI as written, before a loopback one gets its listener's port.
    pub redirect_uri: String,
    /// Longest time between two refreshes.
    pub refresh_at_least: Duration,
    /// How long before its expiry a token is refreshed.
    pub refresh_before_expiry: Duration,
    /// First pause after a transient failure.
    pub refresh_retry: Duration,
    /// Revocation endpoint (RFC 7009).
    pub revocation_uri: Option<String>,
    /// Scopes asked for, in order.
    pub scopes: Vec<String>,
    /// Token endpoint (RFC 6749 s3.2).
    pub token_uri: String,
    /// Extra form fields of every token request, in order.
    pub token_uri_fields: Vec<(String, Secret)>,
    /// Extra header fields of requests to all the account's endpoints, in order.
    pub token_uri_headers: Vec<(String, Secret)>,
    /// Login name at the service that the token opens, for SASL and git.
    pub user: Option<String>,
}

/// How a client authenticates at the token, device and revocation endpoint (RFC 6749 s2.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// In the form body.
    Post,
    /// By HTTP Basic authentication.
    Basic,
}

/// Where a client secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientSecret {
    /// A public client: no secret is sent.
    None,
    /// Written in the configuration.
    Text(Secret),
    /// Printed by a shell command when first needed.
    Command(String),
}

/// How an account's tokens are first obtained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// In a browser, by redirect (RFC 6749 s4.1).
    AuthorizationCode,
    /// On another device, by a user code (RFC 8628).
    DeviceCode,
    /// Without a user (RFC 6749 s4.4).
    ClientCredentials,
}

/// What an account's `redirect_uri` asks of the listeners, its parts as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedirectTarget<'a> {
    /// Whether its scheme is https, else it is http.
    pub is_https: bool,
    /// Host, an IPv6 address in brackets.
    pub host: &'a str,
    /// Whether the host is this machine, so that the listener's port is put in.
    pub is_loopback: bool,
    /// Path; an empty one is `/`.
    pub path: &'a str,
    /// Query that a redirect must bring back.
    pub query: Option<&'a str>,
}

/// Reads a configuration, applies every default and checks every rule; on failure tells all that is wrong at once.
pub fn parse(text: &str) -> Result<Config, Diagnostics> {
    // Some editors begin a file with a byte order mark, which nobody sees.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut parsed = parse::read(text);
    let tokens = std::mem::take(&mut parsed.tokens);
    rules::build(parsed).map_err(|mut faults| {
        faults.sort_by_key(|fault| fault.offset);
        faults.truncate(parse::MAX_FAULTS);
        if let Some(last) = faults.get_mut(parse::MAX_FAULTS - 1) {
            last.mistake = mistake::Mistake::TooMany;
        }
        let source = diagnostic::Source { text, tokens: &tokens };
        Diagnostics(faults.into_iter().map(|fault| source.diagnose(fault)).collect())
    })
}

/// Longest time that is told from for ever: a century, far from any overflow.
const LONGEST_TIME: u64 = 100 * 366 * 24 * 60 * 60;

/// Reads a time as the configuration and the command line write it: digits, then `s`, `m`, `h` or `d`. More than a
/// century is a century.
pub fn parse_time(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return None,
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // Only what does not fit in 64 bits is left to fail here.
    let count: u64 = digits.parse().unwrap_or(u64::MAX);
    Some(Duration::from_secs(count.saturating_mul(unit).min(LONGEST_TIME)))
}

/// Writes `text` as a string of the configuration: the one function that quotes.
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    quoted
}

impl Config {
    /// The account of that name.
    pub fn account(&self, name: &str) -> Option<&Account> {
        let at = self.accounts.binary_search_by(|account| account.name.as_str().cmp(name)).ok()?;
        self.accounts.get(at)
    }

    /// Whether the HTTP listener runs: unless `http_listen` is none.
    pub fn wants_http(&self) -> bool {
        self.http_listen != Listen::Off
    }

    /// Whether the HTTPS listener runs: where `https_listen` is set, or an account has an https `redirect_uri`.
    pub fn wants_https(&self) -> bool {
        https_runs(&self.https_listen, &self.accounts)
    }
}

/// Whether the HTTPS listener runs with this `https_listen` and these accounts.
fn https_runs(https_listen: &Listen, accounts: &[Account]) -> bool {
    let has_https =
        |account: &Account| account.uses_redirect() && account.redirect().is_some_and(|target| target.is_https);
    match https_listen {
        Listen::Off => false,
        Listen::Address(_) => true,
        Listen::Default => accounts.iter().any(has_https),
    }
}

impl Account {
    /// The parts of `redirect_uri`; `None` only where it is not what `parse` accepts.
    pub fn redirect(&self) -> Option<RedirectTarget<'_>> {
        let parts = uri::parse(&self.redirect_uri).ok()?;
        Some(RedirectTarget {
            is_https: parts.is_https(),
            host: parts.host,
            is_loopback: parts.is_loopback_host(),
            path: if parts.path.is_empty() { "/" } else { parts.path },
            query: parts.query,
        })
    }

    /// Whether authorizations may come back by a redirect.
    pub fn uses_redirect(&self) -> bool {
        match self.grant {
            Grant::AuthorizationCode => true,
            Grant::DeviceCode => self.auth_uri.is_some(),
            Grant::ClientCredentials => false,
        }
    }

    /// Whether only the HTTP listener can get this account's redirects.
    pub fn needs_http(&self) -> bool {
        self.grant == Grant::AuthorizationCode
            && self.redirect().is_some_and(|target| target.is_loopback && !target.is_https)
    }

    /// Whether only the HTTPS listener can get this account's redirects.
    pub fn needs_https(&self) -> bool {
        self.grant == Grant::AuthorizationCode
            && self.redirect().is_some_and(|target| target.is_loopback && target.is_https)
    }

    /// Whether git may send the token to `host`, which may come from a submodule's URL.
    ///
    /// Hosts are compared as written, but for their case; the port may be left out where it is that of https.
    pub fn honours_git_host(&self, host: &str) -> bool {
        let without_port = |host: &str| host.strip_suffix(":443").unwrap_or(host).to_ascii_lowercase();
        self.git_hosts.iter().any(|known| without_port(known) == without_port(host))
    }

    /// Login name at the service that the token opens: `user`, else the login hint however it is written.
    pub fn user(&self) -> Option<&str> {
        let hint = || self.auth_uri_fields.iter().find(|(name, _)| name == "login_hint").map(|(_, value)| value);
        self.user.as_ref().or(self.login_hint.as_ref()).or_else(hint).map(String::as_str)
    }
}
