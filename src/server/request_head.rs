//! The head of an HTTP request to a redirect listener, read from hostile bytes (RFC 9112).
//!
//! What belongs to HTTP is judged here; whether the request is an account's redirect is judged by
//! [`crate::oauth::authorization`]. Only GET gets that far.

use std::fmt;

use crate::oauth::authorization::{RedirectHead, Scheme};

/// Longest request head, in bytes: codes of a few KiB exist, and browsers send as much again.
pub const MAX_HEAD: usize = 16 * 1024;

/// Most header fields: browsers send up to thirty, proxies add some.
pub const MAX_FIELDS: usize = 100;

/// The first byte of a TLS handshake record (RFC 8446 s5.1), with which no HTTP request begins.
const TLS_HANDSHAKE: u8 = 0x16;

/// Collects a head as its bytes come in.
#[derive(Debug, Default)]
pub struct HeadReader {
    bytes: Vec<u8>,
}

/// How far a head has come.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// More must come.
    Partial,
    /// It is whole and asks by GET.
    Whole(RedirectHead),
    /// It is answered without anybody being asked.
    Refused(Fault),
}

/// Why a request is refused before its target is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Longer than [`MAX_HEAD`], or more than [`MAX_FIELDS`] fields.
    TooLarge,
    /// No HTTP request.
    Malformed,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    Version,
    /// It announces a body.
    Body,
    /// HEAD, whose answer has no body.
    Head,
    /// A method other than GET and HEAD.
    Method,
    /// TLS on the plain port.
    Tls,
    /// Plain HTTP on the TLS port.
    NoTls,
}

impl Fault {
    /// HTTP status code of the answer.
    pub fn status(self) -> u16 {
        match self {
            Fault::TooLarge => 431,
            Fault::Malformed | Fault::Body | Fault::Tls | Fault::NoTls => 400,
            Fault::Head | Fault::Method => 405,
            Fault::Version => 505,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::TooLarge => "The request is longer than any provider's redirect.",
            Fault::Malformed => "The request is not HTTP.",
            Fault::Version => "Only HTTP/1.1 and HTTP/1.0 are spoken here.",
            Fault::Body => "A redirect has no body.",
            Fault::Head | Fault::Method => "A redirect is a GET request.",
            Fault::Tls => "This port speaks plain HTTP: the redirect URI should begin with http://.",
            Fault::NoTls => "This port speaks HTTPS: open the same address with https:// instead of http://.",
        })
    }
}

impl HeadReader {
    /// Whether nothing has come yet.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes in `bytes` of a connection to the listener of `scheme`; what follows the head is dropped.
    pub fn take(&mut self, scheme: Scheme, bytes: &[u8]) -> Progress {
        // The end of the head may lie across the border of two reads.
        let seen = self.bytes.len().saturating_sub(3);
        let room = MAX_HEAD.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if self.bytes.first() == Some(&TLS_HANDSHAKE) {
            return Progress::Refused(Fault::Tls);
        }
        // Empty lines before the request line do not end the head (RFC 9112 s2.2).
        let start = self.bytes.iter().position(|byte| !b"\r\n".contains(byte)).unwrap_or(self.bytes.len());
        let ended = self.bytes.get(seen.max(start)..).is_some_and(has_empty_line);
        let progress = if ended { read(scheme, &self.bytes) } else { Progress::Partial };
        match progress {
            Progress::Partial if bytes.len() > room || self.bytes.len() == MAX_HEAD => {
                Progress::Refused(Fault::TooLarge)
            }
            Progress::Partial | Progress::Whole(_) | Progress::Refused(_) => progress,
        }
    }
}

fn has_empty_line(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|pair| pair == b"\n\n") || bytes.windows(3).any(|three| three == b"\n\r\n")
}

/// Reads a head that has come to its end.
fn read(scheme: Scheme, bytes: &[u8]) -> Progress {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Progress::Partial,
        Err(httparse::Error::TooManyHeaders) => return Progress::Refused(Fault::TooLarge),
        Err(httparse::Error::Version) => return Progress::Refused(Fault::Version),
        Err(
            httparse::Error::HeaderName
            | httparse::Error::HeaderValue
            | httparse::Error::NewLine
            | httparse::Error::Status
            | httparse::Error::Token,
        ) => return Progress::Refused(Fault::Malformed),
    }
    let (Some(method), Some(target)) = (request.method, request.path) else {
        return Progress::Refused(Fault::Malformed);
    };
    match judge(scheme, method, target, request.headers) {
        Ok(head) => Progress::Whole(head),
        Err(fault) => Progress::Refused(fault),
    }
}

fn judge(scheme: Scheme, method: &str, target: &str, fields: &[httparse::Header<'_>]) -> Result<RedirectHead, Fault> {
    match method {
        "GET" => {}
        "HEAD" => return Err(Fault::Head),
        _ => return Err(Fault::Method),
    }
    let mut hosts = Vec::with_capacity(1);
    let mut prefetch = false;
    for field in fields {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        if is("host") {
            hosts.push(std::str::from_utf8(field.value).map_err(|_| Fault::Malformed)?.to_owned());
        } else if is("transfer-encoding") || (is("content-length") && field.value != b"0") {
            return Err(Fault::Body);
        } else if is("sec-purpose") || is("purpose") || is("x-purpose") || is("x-moz") {
            prefetch |= is_prefetch(field.value);
        }
    }
    Ok(RedirectHead { scheme, method: method.to_owned(), target: target.to_owned(), hosts, prefetch })
}

/// Whether a purpose is to have the page before its user asks for it.
fn is_prefetch(purpose: &[u8]) -> bool {
    let purpose = purpose.to_ascii_lowercase();
    [&b"prefetch"[..], b"prerender", b"preview"]
        .iter()
        .any(|word| purpose.windows(word.len()).any(|window| window == *word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(target: &str, hosts: &[&str], prefetch: bool) -> Progress {
        Progress::Whole(RedirectHead {
            scheme: Scheme::Http,
            method: "GET".to_owned(),
            target: target.to_owned(),
            hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
            prefetch,
        })
    }

    #[test]
    fn heads_are_read_or_refused_the_same_however_they_are_cut() {
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(MAX_FIELDS + 1));
        for (name, bytes, want) in [
            ("the redirect", &b"GET /?code=a&state=b HTTP/1.1\r\nHost: localhost:80\r\n\r\n"[..], {
                whole("/?code=a&state=b", &["localhost:80"], false)
            }),
            ("bare line ends", b"GET / HTTP/1.0\nhost: a\n\n", whole("/", &["a"], false)),
            ("empty lines before it", b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", whole("/", &["a"], false)),
            ("empty lines before half of it", b"\n\n\r\nGET / HT\r\x01", Progress::Partial),
            ("no host", b"GET / HTTP/1.1\r\n\r\n", whole("/", &[], false)),
            ("two hosts", b"GET / HTTP/1.1\r\nHost: a\r\nHOST: b\r\n\r\n", whole("/", &["a", "b"], false)),
            ("whole URL", b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", whole("http://a/", &["a"], false)),
            ("prefetch", b"GET / HTTP/1.1\r\nSec-Purpose: prefetch;prerender\r\n\r\n", whole("/", &[], true)),
            ("old prefetch", b"GET / HTTP/1.1\r\nX-moz: Prefetch\r\n\r\n", whole("/", &[], true)),
            ("other purpose", b"GET / HTTP/1.1\r\nPurpose: walk\r\n\r\n", whole("/", &[], false)),
            ("length of nothing", b"GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", whole("/", &[], false)),
            ("a body", b"GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", Progress::Refused(Fault::Body)),
            ("chunks", b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", Progress::Refused(Fault::Body)),
            ("two lengths", b"GET / HTTP/1.1\r\nContent-Length: 0, 0\r\n\r\n", Progress::Refused(Fault::Body)),
            ("HEAD", b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", Progress::Refused(Fault::Head)),
            ("POST", b"POST / HTTP/1.1\r\nHost: a\r\n\r\n", Progress::Refused(Fault::Method)),
            ("get", b"get / HTTP/1.1\r\nHost: a\r\n\r\n", Progress::Refused(Fault::Method)),
            ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Progress::Refused(Fault::Version)),
            ("NUL in the target", b"GET /\0 HTTP/1.1\r\n\r\n", Progress::Refused(Fault::Malformed)),
            ("NUL in a field", b"GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n", Progress::Refused(Fault::Malformed)),
            ("host that is no text", b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n", Progress::Refused(Fault::Malformed)),
            ("folded field", b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", Progress::Refused(Fault::Malformed)),
            ("blank before the colon", b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", Progress::Refused(Fault::Malformed)),
            ("words", b"hello there\r\n\r\n", Progress::Refused(Fault::Malformed)),
            ("TLS", b"\x16\x03\x01\x02\x00", Progress::Refused(Fault::Tls)),
            ("too many fields", many.as_bytes(), Progress::Refused(Fault::TooLarge)),
        ] {
            assert_eq!(HeadReader::default().take(Scheme::Http, bytes), want, "{name}");
            let mut reader = HeadReader::default();
            let mut bytes = bytes.iter();
            let mut progress = Progress::Partial;
            while let (Progress::Partial, Some(byte)) = (&progress, bytes.next()) {
                progress = reader.take(Scheme::Http, &[*byte]);
            }
            assert_eq!(progress, want, "{name}, byte by byte");
        }
    }

    #[test]
    fn a_head_without_end_is_refused_at_the_limit() {
        for (name, start, filling) in [
            ("request line", &b"GET /"[..], &b"a"[..]),
            ("one field", b"GET / HTTP/1.1\r\nA: ", b"a"),
            ("nothing but line ends", b"", b"\r\n"),
        ] {
            let mut reader = HeadReader::default();
            let mut sent = start.len();
            let mut progress = reader.take(Scheme::Http, start);
            while progress == Progress::Partial && sent <= MAX_HEAD {
                progress = reader.take(Scheme::Http, filling);
                sent += filling.len();
            }
            assert_eq!(progress, Progress::Refused(Fault::TooLarge), "{name}");
            assert!(sent >= MAX_HEAD, "{name}");
        }
        let huge = vec![b'a'; 1024 * 1024];
        assert_eq!(HeadReader::default().take(Scheme::Http, &huge), Progress::Refused(Fault::TooLarge));
    }

    #[test]
    fn a_partial_head_waits() {
        let mut reader = HeadReader::default();
        assert!(reader.is_empty());
        assert_eq!(reader.take(Scheme::Http, b"GET / HTTP/1.1\r\nHost: localhost\r\n"), Progress::Partial);
        assert!(!reader.is_empty());
        assert_eq!(reader.take(Scheme::Http, b"\r\n"), whole("/", &["localhost"], false));
    }

    #[test]
    fn every_fault_has_an_error_status_and_a_sentence() {
        for fault in [
            Fault::TooLarge,
            Fault::Malformed,
            Fault::Version,
            Fault::Body,
            Fault::Head,
            Fault::Method,
            Fault::Tls,
            Fault::NoTls,
        ] {
            assert!((400..=599).contains(&fault.status()), "{fault:?}");
            assert!(fault.to_string().ends_with('.'), "{fault:?}");
        }
    }
}
