//! The configuration as the rest of the program sees it: every default applied, every rule checked.
//!
//! Text comes in from the caller (`parse`), never from a file: reading and PEM loading are the server's.
//! `lex` cuts the text into tokens, `parse` follows the grammar, `options` is the one table of what may be said.

use std::{path::PathBuf, time::Duration};

use crate::secret::Secret;

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
    /// Where the HTTPS redirect listener is; it runs only where `https_wanted` says so.
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
    /// Not configured: a free loopback port, if an account needs the listener.
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
