//! A redirect URL that the user pasted instead of letting the browser reach the listener.
//!
//! It is turned into the request that the browser would have made; `redirect` judges that.

use std::fmt;

use super::{
    redirect::{MAX_TARGET, Redirect, RedirectFault, RedirectHead, Scheme, read_redirect},
    uri,
};
use crate::secret::Secret;

/// Length of the state that pizauth sends, in characters.
const STATE_LENGTH: usize = 43;

/// Shortest line that a terminal may have cut, in bytes: 1024 with its end where the limit is smallest.
const MIN_TERMINAL_LINE: usize = 1023;

/// What a user pasted instead of letting the browser reach the listener.
#[derive(Clone, PartialEq, Eq)]
pub enum Paste {
    /// A whole redirect URL, as the request that the browser would have made.
    Url(RedirectHead),
    /// Only its query.
    Query(Secret),
}

impl Paste {
    /// The request that the paste stands for, where `redirect_uri` was asked for.
    pub fn into_head(self, redirect_uri: &str) -> RedirectHead {
        match self {
            Paste::Url(head) => head,
            Paste::Query(query) => {
                let parts = uri::parse(redirect_uri).ok();
                let scheme = parts.and_then(|parts| Scheme::of(parts.scheme)).unwrap_or(Scheme::Http);
                let path = parts.map_or("/", |parts| parts.path);
                let own = parts.and_then(|parts| parts.query).map(|own| format!("{own}&")).unwrap_or_default();
                let host = parts.map(|parts| host_and_port(&parts, scheme));
                head(scheme, host.unwrap_or_default(), format!("{path}?{own}{}", query.expose()))
            }
        }
    }
}

/// Why a pasted text is of no use. No variant holds any of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasteFault {
    /// Nothing but blanks.
    Empty,
    /// Over 16 KiB.
    TooLong,
    /// Neither a URL nor a query.
    NoUrl,
    /// The URL that the user was to open.
    AuthorizationUrl,
    /// Its end is missing.
    CutShort,
    /// No `code`, and no `error` either.
    NoCode,
    /// No `state`.
    NoState,
    /// What is also wrong in a request.
    Redirect(RedirectFault),
}

impl fmt::Display for PasteFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PasteFault::Empty => "it is empty",
            PasteFault::TooLong => "it is longer than 16384 bytes",
            PasteFault::NoUrl => "it is no URL; paste what the browser's address bar shows in the end",
            PasteFault::AuthorizationUrl => {
                "it is the URL to open; paste the one that the browser's address bar shows in the end"
            }
            PasteFault::CutShort => "it is cut short; paste the whole URL",
            PasteFault::NoCode => "it has no code; paste the whole URL",
            PasteFault::NoState => "it has no state; paste the whole URL",
            PasteFault::Redirect(fault) => return fault.fmt(f),
        })
    }
}

/// Reads a pasted redirect URL or its bare query, with blanks, quotes or angle brackets around it or not.
pub fn read_paste(text: &str) -> Result<Paste, PasteFault> {
    if text.len() > MAX_TARGET {
        return Err(PasteFault::TooLong);
    }
    let text = text.trim_matches(|c: char| c.is_whitespace() || c.is_control() || "<>\"'`".contains(c));
    if text.is_empty() {
        return Err(PasteFault::Empty);
    }
    // A fragment never reaches a listener; some providers append an empty one.
    let whole = text.split('#').next().unwrap_or_default();
    let paste = match whole {
        query if is_query(query) => read_query(query)?,
        url if url.contains("://") => read_url(url)?,
        other => read_url(&with_scheme(other).ok_or(PasteFault::NoUrl)?)?,
    };
    let query = match &paste {
        Paste::Url(head) => head.target.split_once('?').map_or("", |(_, query)| query),
        Paste::Query(query) => query.expose(),
    };
    let redirect = read_redirect(&format!("/?{query}")).map_err(PasteFault::Redirect)?;

    let asks = redirect.parameters.iter().any(|(name, _)| name == "response_type");
    let missing = match &redirect {
        Redirect { code: None, error: None, .. } if asks => Some(PasteFault::AuthorizationUrl),
        Redirect { code: None, error: None, .. } => Some(PasteFault::NoCode),
        Redirect { state: None, .. } => Some(PasteFault::NoState),
        Redirect { .. } => None,
    };
    let last_is_state = query.rsplit('&').next().is_some_and(|field| field.starts_with("state="));
    let short_state = redirect.state.as_ref().is_some_and(|state| state.expose().len() < STATE_LENGTH);
    let cut_escape = query.ends_with('%') || query.get(query.len().saturating_sub(2)..).is_some_and(is_cut_escape);
    match missing {
        Some(PasteFault::AuthorizationUrl) => Err(PasteFault::AuthorizationUrl),
        Some(_) if text.len() >= MIN_TERMINAL_LINE => Err(PasteFault::CutShort),
        Some(_) | None if cut_escape || (last_is_state && short_state) => Err(PasteFault::CutShort),
        Some(fault) => Err(fault),
        None => Ok(paste),
    }
}

fn read_url(text: &str) -> Result<Paste, PasteFault> {
    let parts = uri::parse(text).map_err(|_| PasteFault::NoUrl)?;
    let scheme = Scheme::of(parts.scheme).ok_or(PasteFault::NoUrl)?;
    let path = if parts.path.is_empty() { "/" } else { parts.path };
    let target = format!("{path}?{}", parts.query.unwrap_or_default());
    Ok(Paste::Url(head(scheme, host_and_port(&parts, scheme), target)))
}

/// Address bars hide `http://`, and what is copied from them may lack it.
fn with_scheme(text: &str) -> Option<String> {
    let url = format!("http://{text}");
    uri::parse(&url).is_ok_and(|parts| parts.is_loopback_host()).then_some(url)
}

fn read_query(text: &str) -> Result<Paste, PasteFault> {
    let query = text.strip_prefix('?').unwrap_or(text);
    if !query.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(PasteFault::NoUrl);
    }
    Ok(Paste::Query(Secret::from(query)))
}

/// Whether `text` starts with a parameter's name and `=`.
fn is_query(text: &str) -> bool {
    let text = text.strip_prefix('?').unwrap_or(text);
    text.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
    })
}

/// `%` and a single digit.
fn is_cut_escape(end: &str) -> bool {
    end.starts_with('%')
}

fn head(scheme: Scheme, host: String, target: String) -> RedirectHead {
    RedirectHead { scheme, method: "GET".to_owned(), target, hosts: vec![host], prefetch: false }
}

fn host_and_port(parts: &uri::Uri<'_>, scheme: Scheme) -> String {
    format!("{}:{}", parts.host, parts.port.unwrap_or(scheme.default_port()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::{
        Ports,
        redirect::check_redirect,
        testing::{account, mutations},
    };

    const STATE: &str = "0123456789012345678901234567890123456789abc";
    const PORTS: Ports = Ports { http: Some(1234), https: Some(1235) };

    #[test]
    fn pasted_text_is_read() {
        let query = format!("code=4%2F0a&state={STATE}");
        for (name, text, want) in [
            ("a URL", format!("http://localhost:1234/?{query}"), Ok(())),
            ("blanks around", format!(" \t http://localhost:1234/?{query} \r\n"), Ok(())),
            ("angle brackets", format!("<http://localhost:1234/?{query}>"), Ok(())),
            ("quotes", format!("'http://localhost:1234/?{query}'"), Ok(())),
            ("a fragment", format!("http://localhost:1234/?{query}#_=_"), Ok(())),
            ("no path", format!("http://localhost:1234?{query}"), Ok(())),
            ("no scheme", format!("localhost:1234/?{query}"), Ok(())),
            ("no scheme elsewhere", format!("auth.example.org/?{query}"), Err(PasteFault::NoUrl)),
            ("a bare query", query.clone(), Ok(())),
            ("with its ?", format!("?{query}"), Ok(())),
            ("in another order", format!("iss=https://a.example&state={STATE}&code=c"), Ok(())),
            ("an error", format!("http://localhost:1234/?error=access_denied&state={STATE}"), Ok(())),
            ("nothing", " ".to_owned(), Err(PasteFault::Empty)),
            ("chatter", "what now?".to_owned(), Err(PasteFault::NoUrl)),
            ("a bare code", "4/0AbCdEf".to_owned(), Err(PasteFault::NoUrl)),
            ("another scheme", format!("ftp://localhost/?{query}"), Err(PasteFault::NoUrl)),
            ("blanks within", format!("http://localhost:1234/ ?{query}"), Err(PasteFault::NoUrl)),
            (
                "the URL to open",
                format!("https://a.example/auth?response_type=code&state={STATE}"),
                Err(PasteFault::AuthorizationUrl),
            ),
            ("no code", format!("http://localhost:1234/?state={STATE}"), Err(PasteFault::NoCode)),
            ("no state", "http://localhost:1234/?code=c".to_owned(), Err(PasteFault::NoState)),
            ("no query", "http://localhost:1234/".to_owned(), Err(PasteFault::NoCode)),
            ("cut in the state", "http://localhost:1234/?code=c&state=abc".to_owned(), Err(PasteFault::CutShort)),
            ("cut in an escape", format!("http://localhost:1234/?state={STATE}&code=4%2"), Err(PasteFault::CutShort)),
            (
                "cut by the terminal",
                format!("http://localhost:1234/?code={}", "c".repeat(999)),
                Err(PasteFault::CutShort),
            ),
            ("too long", "a".repeat(MAX_TARGET + 1), Err(PasteFault::TooLong)),
            ("just not too long", " ".repeat(MAX_TARGET), Err(PasteFault::Empty)),
            (
                "a repeated state",
                format!("{query}&state={STATE}"),
                Err(PasteFault::Redirect(RedirectFault::Repeated("state"))),
            ),
        ] {
            let got = read_paste(&text).map(|_| ());
            assert_eq!(got, want, "{name}");
        }
    }

    #[test]
    fn a_paste_passes_the_checks_of_a_request() {
        let (local, proxied) = ("http://localhost:1234/", "https://auth.example.org/cb?a=1");
        for (name, redirect_uri, start, want) in [
            ("the URL", local, "http://localhost:1234/?", Ok(())),
            ("the query", local, "", Ok(())),
            ("the query of a longer redirect URI", proxied, "?", Ok(())),
            ("the URL elsewhere", proxied, "https://auth.example.org/cb?a=1&", Ok(())),
            ("another scheme", local, "https://localhost:1234/?", Err(RedirectFault::WrongScheme)),
            ("another scheme elsewhere", proxied, "http://auth.example.org/cb?a=1&", Err(RedirectFault::WrongHost)),
            ("another port", local, "http://localhost:4321/?", Err(RedirectFault::WrongHost)),
            ("another host", local, "http://a.example:1234/?", Err(RedirectFault::WrongHost)),
            ("another path", local, "http://localhost:1234/x?", Err(RedirectFault::WrongPath)),
        ] {
            let paste =
                read_paste(&format!("{start}code=c&state={STATE}")).unwrap_or_else(|fault| panic!("{name}: {fault}"));
            let head = paste.into_head(redirect_uri);
            let redirect = read_redirect(&head.target).unwrap();
            assert_eq!(check_redirect(&account(), redirect_uri, &head, &redirect, PORTS), want, "{name}");
        }
    }

    #[test]
    fn no_paste_makes_the_reader_panic() {
        mutations(&["http://localhost:1234/?code=c&state=%20#_=_", "<?code=a&state=b>"], |bytes| {
            let paste = read_paste(&String::from_utf8_lossy(bytes));
            let _ = paste.map(|paste| read_redirect(&paste.into_head("http://localhost:1234/?a=b").target));
        });
    }
}
