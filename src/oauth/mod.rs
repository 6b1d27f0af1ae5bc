//! What the RFCs say, as pure functions: requests to build, answers to read, redirects to judge.
//!
//! Nothing here keeps state or does I/O. Input is the configuration's [`crate::config::Account`] and bytes that a
//! provider or a browser sent, which are hostile.

pub mod advice;
mod answer;
pub mod authorization;
#[cfg(test)]
mod clauses;
pub mod device;
pub mod dump;
mod failure;
mod fields;
mod form;
pub mod metadata;
mod paste;
mod redirect;
mod retry_after;
pub mod revocation;
#[cfg(test)]
mod testing;
pub mod text;
pub mod token;
pub mod uri;

use crate::secret::Secret;

/// A request to one of a provider's endpoints, ready to be sent: a form POST, or a GET where there is no body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Absolute http or https URI.
    pub uri: String,
    /// Header fields besides Host, Content-Length, Content-Type and Accept.
    pub headers: Vec<(String, Secret)>,
    /// Form-encoded body.
    pub body: Option<Secret>,
}

/// What an endpoint answered, whatever its status.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// HTTP status code.
    pub status: u16,
    /// Content-Type header field.
    pub content_type: Option<String>,
    /// Retry-After header field as it came: seconds or an HTTP date.
    pub retry_after: Option<String>,
    /// Location header field of a redirect, which is not followed.
    pub location: Option<String>,
    /// Body, at most [`MAX_BODY`] bytes.
    pub body: Secret<Vec<u8>>,
}

/// Longest answer body that is read, in bytes: token answers are a few KiB, metadata some tens.
pub const MAX_BODY: usize = 1024 * 1024;

/// A request that got no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// How far it came.
    pub stage: Stage,
    /// What went wrong, as one lower-case clause without secrets.
    pub detail: String,
}

/// How far a request came that got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// No helper thread could be started, or it broke down before anything was sent.
    NotStarted,
    /// The environment names a proxy that cannot be used.
    ProxySetting,
    /// The host name was not resolved.
    Resolve,
    /// No TCP connection was made.
    Connect,
    /// The proxy was reached, but made no connection to the endpoint.
    Proxy,
    /// The TLS handshake was cut short.
    Tls,
    /// The endpoint's certificate was refused.
    Certificate(CertificateFault),
    /// The request was written, at least in part; its answer did not come, or not whole.
    Sent,
}

/// Why an endpoint's certificate was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateFault {
    /// No known root signed it.
    UnknownIssuer,
    /// It is expired, or not valid yet.
    Expired,
    /// It is for another host.
    WrongName,
    /// Anything else.
    Other,
}

impl Broken {
    /// Whether the request may be sent once more although it must be sent only once: no byte of it was written,
    /// and trying again can help.
    pub fn nothing_was_written(&self) -> bool {
        match self.stage {
            Stage::NotStarted | Stage::Resolve | Stage::Connect | Stage::Proxy | Stage::Tls => true,
            Stage::ProxySetting | Stage::Certificate(_) | Stage::Sent => false,
        }
    }
}

/// SHA-256.
pub(crate) fn digest(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
    hash
}

/// The ports that the redirect listeners are bound to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    /// Port of the HTTP listener, where it runs.
    pub http: Option<u16>,
    /// Port of the HTTPS listener, where it runs.
    pub https: Option<u16>,
}
