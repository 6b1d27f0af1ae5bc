//! What comes back by the redirect (RFC 6749 s4.1.2, RFC 9207): a request to the listener, or what `paste` makes of
//! a URL. Both are judged by the same rules. No fault found here uses up an authorization.

use std::fmt;

use super::{
    Ports,
    failure::{Asked, Failure},
    form, uri,
};
use crate::{config::Account, secret::Secret};

/// Longest request target or pasted text, in bytes: codes of a few KiB exist.
pub(super) const MAX_TARGET: usize = 16 * 1024;

/// Most query parameters that are read: providers send up to ten.
const MAX_PARAMETERS: usize = 64;

/// The scheme of a listener, or of a pasted URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

impl Scheme {
    /// Reads a scheme name, in capitals or not.
    pub fn of(name: &str) -> Option<Scheme> {
        if name.eq_ignore_ascii_case("http") {
            Some(Scheme::Http)
        } else if name.eq_ignore_ascii_case("https") {
            Some(Scheme::Https)
        } else {
            None
        }
    }

    pub(super) fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

/// The head of a request to a redirect listener, or what stands for it in a pasted URL.
#[derive(Clone, PartialEq, Eq)]
pub struct RedirectHead {
    /// Scheme of the listener that read it, or of the pasted URL.
    pub scheme: Scheme,
    /// Request method.
    pub method: String,
    /// Request target as it came: a path and its query.
    pub target: String,
    /// Every Host header field.
    pub hosts: Vec<String>,
    /// Whether a browser asks ahead of its user (`Sec-Purpose`).
    pub prefetch: bool,
}

/// The target holds a code and a state, so it is left out.
impl fmt::Debug for RedirectHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, method, target: _, hosts, prefetch } = self;
        f.debug_struct("RedirectHead")
            .field("scheme", scheme)
            .field("method", method)
            .field("hosts", hosts)
            .field("prefetch", prefetch)
            .finish_non_exhaustive()
    }
}

/// The authorization response in a request target. A parameter without value counts as absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redirect {
    /// Path as it came, not decoded.
    pub path: String,
    /// Every query parameter, decoded, in order.
    pub parameters: Vec<(String, Secret)>,
    /// `code`
    pub code: Option<Secret>,
    /// `state`
    pub state: Option<Secret>,
    /// `error`
    pub error: Option<String>,
    /// `error_description`
    pub error_description: Option<String>,
    /// `error_uri`
    pub error_uri: Option<String>,
    /// `iss` (RFC 9207)
    pub iss: Option<String>,
}

/// Why a request is not, or not rightly, the redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedirectFault {
    /// Another method than GET.
    Method,
    /// A browser that asks ahead of its user.
    Prefetch,
    /// A target over 16 KiB.
    TooLong,
    /// A target that is no path.
    NotAPath,
    /// More than 64 parameters.
    TooManyParameters,
    /// A parameter that came twice (RFC 6749 s3.1).
    Repeated(&'static str),
    /// No Host header field.
    NoHost,
    /// More than one Host header field.
    RepeatedHost,
    /// A Host header field that names no host.
    BadHost,
    /// A Host that is not the redirect URI's.
    WrongHost,
    /// Another scheme than the redirect URI's.
    WrongScheme,
    /// Another path than the redirect URI's.
    WrongPath,
    /// A parameter of the redirect URI is not there.
    WrongQuery,
    /// No `state`.
    NoState,
    /// A `state` that belongs to no open authorization.
    UnknownState,
    /// Neither `code` nor `error`.
    NoCode,
    /// Both `code` and `error`.
    CodeAndError,
    /// No `iss` although the account has an issuer.
    NoIssuer,
    /// An `iss` that is not the account's issuer.
    WrongIssuer,
}

impl RedirectFault {
    /// HTTP status code of the page that tells it.
    pub fn status(self) -> u16 {
        match self {
            RedirectFault::Method => 405,
            RedirectFault::WrongPath
            | RedirectFault::WrongQuery
            | RedirectFault::NoState
            | RedirectFault::UnknownState => 404,
            RedirectFault::TooLong => 414,
            RedirectFault::WrongHost => 421,
            RedirectFault::Prefetch
            | RedirectFault::NotAPath
            | RedirectFault::TooManyParameters
            | RedirectFault::Repeated(_)
            | RedirectFault::NoHost
            | RedirectFault::RepeatedHost
            | RedirectFault::BadHost
            | RedirectFault::WrongScheme
            | RedirectFault::NoCode
            | RedirectFault::CodeAndError
            | RedirectFault::NoIssuer
            | RedirectFault::WrongIssuer => 400,
        }
    }
}

impl fmt::Display for RedirectFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RedirectFault::Method => "the method is not GET",
            RedirectFault::Prefetch => "it was only asked for ahead of time",
            RedirectFault::TooLong => "it is longer than 16384 bytes",
            RedirectFault::NotAPath => "the request target is not a path",
            RedirectFault::TooManyParameters => "it has more than 64 parameters",
            RedirectFault::Repeated(name) => return write!(f, "repeated parameter {name}"),
            RedirectFault::NoHost => "it names no host",
            RedirectFault::RepeatedHost => "it names more than one host",
            RedirectFault::BadHost => "its host cannot be read",
            RedirectFault::WrongHost => "its host is not that of the redirect_uri",
            RedirectFault::WrongScheme => "its scheme is not that of the redirect_uri",
            RedirectFault::WrongPath => "its path is not that of the redirect_uri",
            RedirectFault::WrongQuery => "it lacks a parameter of the redirect_uri",
            RedirectFault::NoState => "it has no state",
            RedirectFault::UnknownState => "its state belongs to no open authorization",
            RedirectFault::NoCode => "it has no code",
            RedirectFault::CodeAndError => "it has both a code and an error",
            RedirectFault::NoIssuer => "it has no iss, which the account's issuer asks for",
            RedirectFault::WrongIssuer => "its iss is not the account's issuer",
        })
    }
}

/// Reads a request target. Unknown parameters are left alone; a known one must not come twice.
pub fn read_redirect(target: &str) -> Result<Redirect, RedirectFault> {
    if target.len() > MAX_TARGET {
        return Err(RedirectFault::TooLong);
    }
    if !target.starts_with('/') {
        return Err(RedirectFault::NotAPath);
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let parameters: Vec<_> = form::parse(query).take(MAX_PARAMETERS + 1).collect();
    if parameters.len() > MAX_PARAMETERS {
        return Err(RedirectFault::TooManyParameters);
    }
    let once = |name: &'static str| -> Result<Option<&Secret>, RedirectFault> {
        let mut values = parameters.iter().filter(|(other, _)| other == name).map(|(_, value)| value);
        let first = values.next();
        if values.next().is_some() {
            return Err(RedirectFault::Repeated(name));
        }
        Ok(first.filter(|value| !value.is_empty()))
    };
    let text = |name| Ok(once(name)?.map(|value| value.expose().clone()));
    Ok(Redirect {
        path: path.to_owned(),
        code: once("code")?.cloned(),
        state: once("state")?.cloned(),
        error: text("error")?,
        error_description: text("error_description")?,
        error_uri: text("error_uri")?,
        iss: text("iss")?,
        parameters,
    })
}

/// Judges what needs no account: the method, prefetching, and that exactly one host is named.
pub fn check_head(head: &RedirectHead) -> Result<(), RedirectFault> {
    if head.method != "GET" {
        return Err(RedirectFault::Method);
    }
    if head.prefetch {
        return Err(RedirectFault::Prefetch);
    }
    match head.hosts.as_slice() {
        [] => Err(RedirectFault::NoHost),
        [_] => Ok(()),
        [_, _, ..] => Err(RedirectFault::RepeatedHost),
    }
}

/// Judges whether a request is the redirect of `account`'s authorization, whose request named `redirect_uri`.
/// Whose authorization it is, the caller has found out by the state.
pub fn check_redirect(
    account: &Account,
    redirect_uri: &str,
    head: &RedirectHead,
    redirect: &Redirect,
    ports: Ports,
) -> Result<(), RedirectFault> {
    check_head(head)?;
    check_host(redirect_uri, head, ports)?;
    // The redirect URI was made by `authorization::redirect_uri`, so it can be read, and its path is not empty.
    let expected = uri::parse(redirect_uri).map_err(|_| RedirectFault::WrongPath)?;
    if redirect.path != expected.path {
        return Err(RedirectFault::WrongPath);
    }
    let mut came: Vec<_> = redirect.parameters.iter().collect();
    for (name, value) in form::parse(expected.query.unwrap_or_default()) {
        let place = came.iter().position(|field| field.0 == name && field.1 == value);
        came.swap_remove(place.ok_or(RedirectFault::WrongQuery)?);
    }
    if redirect.state.is_none() {
        return Err(RedirectFault::NoState);
    }
    match (&redirect.code, &redirect.error) {
        (Some(_), None) | (None, Some(_)) => (),
        (None, None) => return Err(RedirectFault::NoCode),
        (Some(_), Some(_)) => return Err(RedirectFault::CodeAndError),
    }
    match (&account.issuer, &redirect.iss) {
        (Some(_), None) => Err(RedirectFault::NoIssuer),
        (Some(issuer), Some(iss)) if issuer != iss => Err(RedirectFault::WrongIssuer),
        (Some(_), Some(_)) | (None, _) => Ok(()),
    }
}

/// The Host must be the redirect URI's, or a loopback with the port of the listener that was reached. Only a
/// loopback redirect URI ties the scheme: before another one may stand a proxy that speaks TLS.
fn check_host(redirect_uri: &str, head: &RedirectHead, ports: Ports) -> Result<(), RedirectFault> {
    let expected = uri::parse(redirect_uri).map_err(|_| RedirectFault::WrongHost)?;
    let scheme = Scheme::of(expected.scheme).ok_or(RedirectFault::WrongScheme)?;
    if expected.is_loopback_host() && scheme != head.scheme {
        return Err(RedirectFault::WrongScheme);
    }
    let whole = format!("{}://{}/", expected.scheme, head.hosts.first().ok_or(RedirectFault::NoHost)?);
    let host = uri::parse(&whole).map_err(|_| RedirectFault::BadHost)?;
    if host.path != "/" || host.query.is_some() {
        return Err(RedirectFault::BadHost);
    }
    let port = host.port.unwrap_or(scheme.default_port());
    let as_written =
        host.host.eq_ignore_ascii_case(expected.host) && port == expected.port.unwrap_or(scheme.default_port());
    if as_written || (host.is_loopback_host() && Some(port) == ports.of(head.scheme)) {
        return Ok(());
    }
    Err(RedirectFault::WrongHost)
}

/// What an error in the redirect means (RFC 6749 s4.1.2.1); `None` where there is none.
pub fn read_error(asked: &Asked, redirect: &Redirect) -> Option<Failure> {
    let error = redirect.error.as_deref()?;
    let description = redirect.error_description.as_deref();
    Some(Failure::refused(asked, error, description, redirect.error_uri.as_deref(), None))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::testing::{account, mutations};

    const PORTS: Ports = Ports { http: Some(1234), https: Some(1235) };

    fn request(target: &str, host: &str) -> RedirectHead {
        RedirectHead {
            scheme: Scheme::Http,
            method: "GET".to_owned(),
            target: target.to_owned(),
            hosts: vec![host.to_owned()],
            prefetch: false,
        }
    }

    #[test]
    fn targets_are_read() {
        for (name, target, want) in [
            ("code and state", "/?code=c&state=s", Ok(("/", Some("c"), Some("s"), None))),
            ("decoded", "/cb?code=4%2F0+a&state=s", Ok(("/cb", Some("4/0 a"), Some("s"), None))),
            (
                "unknown parameters",
                "/?session_state=x&authuser=0&authuser=1&code=c&state=s",
                Ok(("/", Some("c"), Some("s"), None)),
            ),
            ("error", "/?error=access_denied&state=s", Ok(("/", None, Some("s"), Some("access_denied")))),
            ("empty values", "/?code=&state=", Ok(("/", None, None, None))),
            ("nothing", "/favicon.ico", Ok(("/favicon.ico", None, None, None))),
            ("repeated state", "/?state=a&code=c&state=a", Err(RedirectFault::Repeated("state"))),
            ("repeated code, encoded", "/?code=a&c%6fde=b", Err(RedirectFault::Repeated("code"))),
            ("repeated empty iss", "/?iss=&iss=a", Err(RedirectFault::Repeated("iss"))),
            ("absolute", "http://localhost/?code=c", Err(RedirectFault::NotAPath)),
            ("asterisk", "*", Err(RedirectFault::NotAPath)),
            ("empty", "", Err(RedirectFault::NotAPath)),
        ] {
            let got = read_redirect(target);
            let got = got.as_ref().map(|redirect| {
                let text = |value: &'_ Option<Secret>| value.as_ref().map(|value| value.expose().clone());
                (redirect.path.clone(), text(&redirect.code), text(&redirect.state), redirect.error.clone())
            });
            let own = |text: Option<&str>| text.map(str::to_owned);
            let want = want.map(|(path, code, state, error)| (path.to_owned(), own(code), own(state), own(error)));
            assert_eq!(got.map_err(|fault| *fault), want, "{name}");
        }
        assert_eq!(read_redirect(&format!("/?{}", "a".repeat(16 * 1024 - 1))), Err(RedirectFault::TooLong));
        assert!(read_redirect(&format!("/?{}", "a".repeat(16 * 1024 - 2))).is_ok());
        let told = format!("{:?}", request("/?code=c&state=secret", "localhost:1234"));
        assert!(told.contains("GET") && !told.contains("secret"), "{told}");
        assert_eq!(read_redirect(&format!("/?{}", "a&".repeat(65))), Err(RedirectFault::TooManyParameters));
        assert!(read_redirect(&format!("/?{}", "a&".repeat(64))).is_ok());
    }

    #[test]
    fn a_request_is_judged() {
        let (local, query) = ("http://localhost:1234/", "http://localhost:1234/cb?a=1&b=x%20y");
        let (https, proxied) = ("https://localhost:1235/", "https://auth.example.org/cb");
        for (name, redirect_uri, target, host, want) in [
            ("the redirect", local, "/?code=c&state=s", "localhost:1234", Ok(())),
            ("an error", local, "/?error=e&state=s", "localhost:1234", Ok(())),
            ("another loopback name", local, "/?code=c&state=s", "127.0.0.1:1234", Ok(())),
            ("IPv6", local, "/?code=c&state=s", "[::1]:1234", Ok(())),
            ("in capitals", local, "/?code=c&state=s", "LOCALHOST:1234", Ok(())),
            ("another port", local, "/?code=c&state=s", "localhost:1235", Err(RedirectFault::WrongHost)),
            ("zeros before the port", local, "/?code=c&state=s", "localhost:01234", Ok(())),
            ("no port", local, "/?code=c&state=s", "localhost", Err(RedirectFault::WrongHost)),
            ("a rebound name", local, "/?code=c&state=s", "evil.example:1234", Err(RedirectFault::WrongHost)),
            ("an empty Host", local, "/?code=c&state=s", "", Err(RedirectFault::BadHost)),
            ("two in one", local, "/?code=c&state=s", "localhost:1234, a", Err(RedirectFault::BadHost)),
            ("user information", local, "/?code=c&state=s", "a@localhost:1234", Err(RedirectFault::BadHost)),
            ("a path in it", local, "/?code=c&state=s", "localhost:1234/x", Err(RedirectFault::BadHost)),
            ("favicon", local, "/favicon.ico", "localhost:1234", Err(RedirectFault::WrongPath)),
            ("an encoded path", local, "/%2e?code=c&state=s", "localhost:1234", Err(RedirectFault::WrongPath)),
            ("a doubled slash", local, "//?code=c&state=s", "localhost:1234", Err(RedirectFault::WrongPath)),
            ("no state", local, "/?code=c", "localhost:1234", Err(RedirectFault::NoState)),
            ("no code", local, "/?state=s", "localhost:1234", Err(RedirectFault::NoCode)),
            ("code and error", local, "/?state=s&code=c&error=e", "localhost:1234", Err(RedirectFault::CodeAndError)),
            ("required query", query, "/cb?a=1&b=x+y&code=c&state=s", "localhost:1234", Ok(())),
            ("in any order", query, "/cb?code=c&b=x%20y&state=s&a=1", "localhost:1234", Ok(())),
            ("query absent", query, "/cb?a=1&code=c&state=s", "localhost:1234", Err(RedirectFault::WrongQuery)),
            ("query differs", query, "/cb?a=2&b=x+y&code=c&state=s", "localhost:1234", Err(RedirectFault::WrongQuery)),
            ("wrong scheme", https, "/?code=c&state=s", "localhost:1235", Err(RedirectFault::WrongScheme)),
            ("behind a proxy", proxied, "/cb?code=c&state=s", "auth.example.org", Ok(())),
            ("with its port", proxied, "/cb?code=c&state=s", "auth.example.org:443", Ok(())),
            ("proxy names the listener", proxied, "/cb?code=c&state=s", "127.0.0.1:1234", Ok(())),
            ("another site", proxied, "/cb?code=c&state=s", "www.example.org", Err(RedirectFault::WrongHost)),
            ("another port", proxied, "/cb?code=c&state=s", "auth.example.org:80", Err(RedirectFault::WrongHost)),
        ] {
            let redirect = read_redirect(target).unwrap();
            let got = check_redirect(&account(), redirect_uri, &request(target, host), &redirect, PORTS);
            assert_eq!(got, want, "{name}");
        }
    }

    #[test]
    fn only_a_plain_get_with_one_host_is_looked_at() {
        let get = request("/?code=c&state=s", "localhost:1234");
        for (name, head, want) in [
            ("GET", get.clone(), Ok(())),
            ("HEAD", RedirectHead { method: "HEAD".to_owned(), ..get.clone() }, Err(RedirectFault::Method)),
            ("POST", RedirectHead { method: "POST".to_owned(), ..get.clone() }, Err(RedirectFault::Method)),
            ("get", RedirectHead { method: "get".to_owned(), ..get.clone() }, Err(RedirectFault::Method)),
            ("prefetch", RedirectHead { prefetch: true, ..get.clone() }, Err(RedirectFault::Prefetch)),
            ("no Host", RedirectHead { hosts: vec![], ..get.clone() }, Err(RedirectFault::NoHost)),
            (
                "two Hosts",
                RedirectHead { hosts: vec!["localhost:1234".to_owned(); 2], ..get.clone() },
                Err(RedirectFault::RepeatedHost),
            ),
        ] {
            let redirect = read_redirect(&head.target).unwrap();
            assert_eq!(check_head(&head), want, "{name}");
            assert_eq!(check_redirect(&account(), "http://localhost:1234/", &head, &redirect, PORTS), want, "{name}");
        }
        assert!(!format!("{get:?}").contains("code"));
    }

    #[test]
    fn iss_must_match_where_an_issuer_is_set() {
        let issuer = Some("https://a.example");
        for (name, issuer, parameters, want) in [
            ("not asked for", None, "code=c&iss=anything", Ok(())),
            ("matches", issuer, "code=c&iss=https%3A%2F%2Fa.example", Ok(())),
            ("absent", issuer, "code=c", Err(RedirectFault::NoIssuer)),
            ("differs", issuer, "code=c&iss=https%3A%2F%2Fb.example", Err(RedirectFault::WrongIssuer)),
            ("differs by a slash", issuer, "code=c&iss=https%3A%2F%2Fa.example%2F", Err(RedirectFault::WrongIssuer)),
            ("absent in an error", issuer, "error=e", Err(RedirectFault::NoIssuer)),
            ("matches in an error", issuer, "error=e&iss=https://a.example", Ok(())),
        ] {
            let account = Account { issuer: issuer.map(str::to_owned), ..account() };
            let head = request(&format!("/?state=s&{parameters}"), "localhost:1234");
            let redirect = read_redirect(&head.target).unwrap();
            assert_eq!(check_redirect(&account, "http://localhost:1234/", &head, &redirect, PORTS), want, "{name}");
        }
    }

    #[test]
    fn every_fault_is_a_clause_and_a_4xx() {
        for fault in [
            RedirectFault::Method,
            RedirectFault::Prefetch,
            RedirectFault::TooLong,
            RedirectFault::Repeated("state"),
            RedirectFault::WrongHost,
            RedirectFault::UnknownState,
            RedirectFault::WrongIssuer,
        ] {
            assert!((400..500).contains(&fault.status()), "{fault}");
            assert!(fault.to_string().starts_with(|c: char| c.is_ascii_lowercase()), "{fault}");
        }
    }

    #[test]
    fn no_text_makes_a_reader_panic() {
        let seeds =
            ["/cb?code=4%2F0&state=abc&iss=https%3A%2F%2Fa", "http://localhost:1234/?code=c&state=%20", "?code=a"];
        mutations(&seeds, |bytes| {
            let text = String::from_utf8_lossy(bytes);
            let _ = read_redirect(&text).map(|redirect| {
                let head = request(&text, &text);
                check_redirect(&account(), "http://localhost:1234/?a=%zz", &head, &redirect, PORTS)
            });
        });
    }
}
