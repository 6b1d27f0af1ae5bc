//! Absolute http and https URIs, cut into their parts as they were written (RFC 3986 s3).
//!
//! The one reader of URIs for the configuration, the redirect listener and provider metadata. Nothing is decoded,
//! completed or put into another form: a redirect URI must stay byte for byte what the provider has on record.

use core::net::{Ipv4Addr, Ipv6Addr};
use std::fmt;

/// The parts of an absolute http or https URI without fragment, as they were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uri<'a> {
    /// `http` or `https`, in any case.
    pub scheme: &'a str,
    /// Name, IPv4 address, or IPv6 address in brackets; never empty.
    pub host: &'a str,
    /// Port, where one is written.
    pub port: Option<u16>,
    /// Path; empty, or it begins with `/`.
    pub path: &'a str,
    /// What follows the first `?`.
    pub query: Option<&'a str>,
}

impl Uri<'_> {
    /// Whether the scheme is https.
    pub fn is_https(&self) -> bool {
        self.scheme.eq_ignore_ascii_case("https")
    }

    /// Whether the host is this machine: see [`is_loopback_host`].
    pub fn is_loopback_host(&self) -> bool {
        is_loopback_host(self.host)
    }
}

/// Why a text is no such URI. Its `Display` repeats no part of the text but a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UriFault {
    /// No `://`, or another scheme than http and https.
    Scheme,
    /// A character that RFC 3986 s2 does not have.
    Character(char),
    /// A `#`.
    Fragment,
    /// A user name, maybe with a password, before the host.
    UserInfo,
    /// No host.
    NoHost,
    /// Neither a name nor an address.
    Host,
    /// Not a number up to 65535.
    Port,
}

impl fmt::Display for UriFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UriFault::Scheme => f.write_str("it must begin with http:// or https://"),
            UriFault::Character(' ' | '\t' | '\r' | '\n') => f.write_str("it must not contain blanks"),
            UriFault::Character(c) if c.is_control() => f.write_str("it must not contain control characters"),
            UriFault::Character(c) if !c.is_ascii() => {
                write!(f, "the character '{}' must be percent-encoded, or as xn-- in a host name", c.escape_debug())
            }
            UriFault::Character(c) => write!(f, "the character '{c}' must be percent-encoded"),
            UriFault::Fragment => f.write_str("it must not have a fragment ('#')"),
            UriFault::UserInfo => f.write_str("it must not have a user name or password ('@') before the host"),
            UriFault::NoHost => f.write_str("the host is missing"),
            UriFault::Host => f.write_str("the host is neither a name nor an IP address"),
            UriFault::Port => f.write_str("the port is no number up to 65535"),
        }
    }
}

/// Cuts `text` into its parts.
pub fn parse(text: &str) -> Result<Uri<'_>, UriFault> {
    let (scheme, rest) = text.split_once("://").ok_or(UriFault::Scheme)?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(UriFault::Scheme);
    }
    if let Some(other) = rest.chars().find(|&c| !is_uri_character(c)) {
        return Err(if other == '#' { UriFault::Fragment } else { UriFault::Character(other) });
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let (path, query) = match tail.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (tail, None),
    };
    let (host, port) = split_authority(authority)?;
    Ok(Uri { scheme, host, port, path, query })
}

/// Whether `host` is this machine: `localhost` in any case, 127.0.0.0/8, or ::1 with or without brackets.
pub fn is_loopback_host(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        || bare.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback())
}

/// Cuts `HOST`, `HOST:` or `HOST:PORT`, and checks both.
pub fn split_authority(authority: &str) -> Result<(&str, Option<u16>), UriFault> {
    if authority.contains('@') {
        return Err(UriFault::UserInfo);
    }
    let host_end = match authority.strip_prefix('[') {
        Some(rest) => rest.find(']').map(|at| at + 2).ok_or(UriFault::Host)?,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(host_end);
    check_host(host)?;
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => None,
        None => return Err(UriFault::Host),
        Some("") => None,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(digits.parse().map_err(|_| UriFault::Port)?)
        }
        Some(_) => return Err(UriFault::Port),
    };
    Ok((host, port))
}

fn check_host(host: &str) -> Result<(), UriFault> {
    if host.is_empty() {
        return Err(UriFault::NoHost);
    }
    if let Some(address) = host.strip_prefix('[') {
        let address = address.strip_suffix(']').unwrap_or(address);
        return address.parse::<Ipv6Addr>().map(|_| ()).map_err(|_| UriFault::Host);
    }
    let is_name = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
    if !is_name || host.starts_with('.') {
        return Err(UriFault::Host);
    }
    // A browser reads every name that ends in a number as an IPv4 address, 127.1 and 0x7f000001 too: only the form
    // that means the same to everybody may pass.
    let last = host.strip_suffix('.').unwrap_or(host).rsplit('.').next().unwrap_or_default();
    let hexadecimal = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    let is_number = match hexadecimal {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => last.bytes().all(|byte| byte.is_ascii_digit()),
    };
    if is_number && host.parse::<Ipv4Addr>().is_err() { Err(UriFault::Host) } else { Ok(()) }
}

/// The unreserved and reserved characters and `%`, without `#` (RFC 3986 s2).
fn is_uri_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~:/?[]@!$&'()*+,;=%".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_what_was_written() {
        for (text, scheme, host, port, path, query) in [
            ("http://localhost/", "http", "localhost", None, "/", None),
            ("http://localhost", "http", "localhost", None, "", None),
            (
                "HTTPS://Example.COM:8443/a/../b?x=1&y=?/",
                "HTTPS",
                "Example.COM",
                Some(8443),
                "/a/../b",
                Some("x=1&y=?/"),
            ),
            ("https://example.com?x", "https", "example.com", None, "", Some("x")),
            ("https://example.com/?", "https", "example.com", None, "/", Some("")),
            ("http://127.0.0.1:0/", "http", "127.0.0.1", Some(0), "/", None),
            ("http://[::1]:65535/a", "http", "[::1]", Some(65535), "/a", None),
            ("http://[::1]", "http", "[::1]", None, "", None),
            ("http://localhost:/", "http", "localhost", None, "/", None),
            ("http://my_host.example./%7Euser/a[]=@b", "http", "my_host.example.", None, "/%7Euser/a[]=@b", None),
            ("https://xn--bcher-kva.example/", "https", "xn--bcher-kva.example", None, "/", None),
            ("https://3com", "https", "3com", None, "", None),
        ] {
            assert_eq!(parse(text), Ok(Uri { scheme, host, port, path, query }), "{text}");
        }
    }

    #[test]
    fn what_is_no_uri_is_refused() {
        for (text, want) in [
            ("", UriFault::Scheme),
            ("blah", UriFault::Scheme),
            ("localhost:8080/", UriFault::Scheme),
            ("ftp://example.com/", UriFault::Scheme),
            (" http://example.com/", UriFault::Scheme),
            ("http:/example.com", UriFault::Scheme),
            ("javascript:alert(1)//http://a", UriFault::Scheme),
            ("http://", UriFault::NoHost),
            ("http:///path", UriFault::NoHost),
            ("http://:80/", UriFault::NoHost),
            ("http://?a", UriFault::NoHost),
            ("http://a/#b", UriFault::Fragment),
            ("http://a#", UriFault::Fragment),
            ("http://me@a/", UriFault::UserInfo),
            ("http://me:password@a/", UriFault::UserInfo),
            ("http://a b/", UriFault::Character(' ')),
            ("http://a/\n", UriFault::Character('\n')),
            ("http://a/\0", UriFault::Character('\0')),
            ("http://bücher.example/", UriFault::Character('ü')),
            ("http://a/{tenant}", UriFault::Character('{')),
            ("http://a/\"", UriFault::Character('"')),
            ("http://a\\b/", UriFault::Character('\\')),
            ("http://a:65536/", UriFault::Port),
            ("http://a:-1/", UriFault::Port),
            ("http://a:+1/", UriFault::Port),
            ("http://a:b/", UriFault::Port),
            ("http://::1/", UriFault::NoHost),
            ("http://a:1:2/", UriFault::Port),
            ("http://[::1/", UriFault::Host),
            ("http://[::1]a/", UriFault::Host),
            ("http://[::1]]/", UriFault::Host),
            ("http://[127.0.0.1]/", UriFault::Host),
            ("http://[fe80::1%25eth0]/", UriFault::Host),
            ("http://a%2eb/", UriFault::Host),
            ("http://a,b/", UriFault::Host),
            ("http://.a/", UriFault::Host),
            ("http://127.1/", UriFault::Host),
            ("http://2130706433/", UriFault::Host),
            ("http://0x7f.1/", UriFault::Host),
            ("http://0x7f000001/", UriFault::Host),
            ("http://256.0.0.1/", UriFault::Host),
            ("http://127.0.0.1./", UriFault::Host),
        ] {
            assert_eq!(parse(text), Err(want), "{text:?}");
        }
    }

    #[test]
    fn loopback_is_this_machine_alone() {
        for (host, want) in [
            ("localhost", true),
            ("LocalHost", true),
            ("127.0.0.1", true),
            ("127.255.255.254", true),
            ("::1", true),
            ("[::1]", true),
            ("[0:0:0:0:0:0:0:1]", true),
            ("[::ffff:127.0.0.1]", false),
            ("0.0.0.0", false),
            ("[::]", false),
            ("128.0.0.1", false),
            ("[127.0.0.1]", false),
            ("localhost.example.com", false),
            ("127.0.0.1.example.com", false),
            ("", false),
        ] {
            assert_eq!(is_loopback_host(host), want, "{host}");
        }
    }

    #[test]
    fn a_fault_is_one_lower_case_clause_on_one_line() {
        for fault in [
            UriFault::Scheme,
            UriFault::Character(' '),
            UriFault::Character('\u{1b}'),
            UriFault::Character('ü'),
            UriFault::Character('{'),
            UriFault::Fragment,
            UriFault::UserInfo,
            UriFault::NoHost,
            UriFault::Host,
            UriFault::Port,
        ] {
            let text = fault.to_string();
            assert!(text.starts_with(|c: char| c.is_lowercase()) && !text.contains(char::is_control), "{text}");
            assert!(!text.ends_with('.'), "{text}");
        }
    }
}
