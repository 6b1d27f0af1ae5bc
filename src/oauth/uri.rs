//! Absolute http and https URIs, cut into their parts as they were written (RFC 3986 s3).

use std::{fmt, net::Ipv4Addr, net::Ipv6Addr};

/// The parts of an absolute http or https URI without fragment, as they were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uri<'a> {
    /// `http` or `https`.
    pub scheme: &'a str,
    /// Host, brackets included.
    pub host: &'a str,
    /// Port where one is written.
    pub port: Option<u16>,
    /// Path, may be empty.
    pub path: &'a str,
    /// What follows the `?`.
    pub query: Option<&'a str>,
}

/// Why a text is no such URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UriFault;

impl fmt::Display for UriFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an absolute http or https URI")
    }
}

/// Cuts `text` into its parts.
pub fn parse(text: &str) -> Result<Uri<'_>, UriFault> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/?[]@!$&'()*+,;=%".contains(&b);
    let (scheme, rest) = text.split_once("://").ok_or(UriFault)?;
    if !(scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")) || !text.bytes().all(allowed) {
        return Err(UriFault);
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let (path, query) = match tail.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (tail, None),
    };
    let (host, port) = match authority.rfind(':') {
        Some(at) if !authority.ends_with(']') => {
            (&authority[..at], Some(authority[at + 1..].parse().map_err(|_| UriFault)?))
        }
        _ => (authority, None),
    };
    if host.is_empty() || host.contains('@') || (host.contains(':') && !host.starts_with('[')) {
        return Err(UriFault);
    }
    Ok(Uri { scheme, host, port, path, query })
}

impl Uri<'_> {
    /// Whether the host is `localhost`, in 127.0.0.0/8 or ::1.
    pub fn is_loopback_host(&self) -> bool {
        let host = self.host.trim_matches(|c| c == '[' || c == ']');
        host.eq_ignore_ascii_case("localhost")
            || host.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
            || host.parse::<Ipv6Addr>().is_ok_and(|ip| ip.is_loopback())
    }
}
