//! The authorization request (RFC 6749 s4.1.1) with PKCE (RFC 7636), and the redirect URI of a native application
//! (RFC 8252 s7.3). What comes back by it is judged in `redirect`, whose names are here too.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::digest::{SHA256, digest};
use zeroize::Zeroizing;

use super::{Ports, form::Form, uri};
pub use super::{
    paste::{Paste, PasteFault, read_paste},
    redirect::{Redirect, RedirectFault, RedirectHead, Scheme, check_head, check_redirect, read_error, read_redirect},
};
use crate::{config::Account, secret::Secret};

/// Length of `state` before encoding, in bytes: as long as a SHA-256 key, so never to be guessed.
const STATE_BYTES: usize = 32;

/// Length of the code verifier before encoding, in bytes: 86 characters of the 43 to 128 of RFC 7636 s4.1.
const VERIFIER_BYTES: usize = 64;

/// An authorization request, with what must be kept until its redirect comes.
///
/// No `Debug`, because the URL holds the state.
#[derive(Clone, PartialEq, Eq)]
pub struct Authorization {
    /// What the user opens in a browser.
    pub url: String,
    /// What the redirect must bring back.
    pub state: Secret,
    /// What proves at the token endpoint who asked (RFC 7636 s4.1).
    pub code_verifier: Secret,
    /// The redirect URI as sent, which the token request must repeat byte for byte (RFC 6749 s4.1.3).
    pub redirect_uri: String,
}

/// The redirect URI that an account's requests name: a loopback host gets the port of the listener of its scheme,
/// any other is as written, and an empty path becomes `/`.
///
/// `None` where the listener that a loopback one needs does not run.
pub fn redirect_uri(account: &Account, ports: Ports) -> Option<String> {
    let written = &account.redirect_uri;
    let parts = uri::parse(written).ok()?;
    let (authority, rest) = split_authority(written)?;
    let path = if parts.path.is_empty() { "/" } else { "" };
    if !parts.is_loopback_host() {
        return Some(format!("{authority}{path}{rest}"));
    }
    let port = ports.of(Scheme::of(parts.scheme)?)?;
    let host = match parts.port {
        Some(_) => authority.get(..authority.rfind(':')?)?,
        None => authority.strip_suffix(':').unwrap_or(authority),
    };
    Some(format!("{host}:{port}{path}{rest}"))
}

/// Makes a new authorization request; each has its own state and code verifier.
///
/// `None` where the account has no authorization endpoint, or its redirect URI no listener.
pub fn request(account: &Account, ports: Ports, random: &mut dyn FnMut(&mut [u8])) -> Option<Authorization> {
    let (endpoint, rest) = split_authority(account.auth_uri.as_ref()?)?;
    let redirect_uri = redirect_uri(account, ports)?;
    let state = random_text::<STATE_BYTES>(random);
    let code_verifier = random_text::<VERIFIER_BYTES>(random);
    let code_challenge = BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, code_verifier.expose().as_bytes()));

    let mut form = Form::new()
        .field("access_type", "offline")
        .field("code_challenge", &code_challenge)
        .field("code_challenge_method", "S256")
        .field("client_id", &account.client_id)
        .field("redirect_uri", &redirect_uri)
        .field("response_type", "code")
        .field("state", state.expose());
    if !account.scopes.is_empty() {
        form = form.field("scope", &account.scopes.join(" "));
    }
    for (name, value) in &account.auth_uri_fields {
        form = form.field(name, value);
    }
    if let Some(login_hint) = &account.login_hint {
        form = form.field("login_hint", login_hint);
    }

    let path = if rest.starts_with('/') { "" } else { "/" };
    let joint = match rest.split_once('?') {
        None => "?",
        Some((_, "")) => "",
        Some(_) => "&",
    };
    let url = format!("{endpoint}{path}{rest}{joint}{}", form.into_text());
    Some(Authorization { url, state, code_verifier, redirect_uri })
}

impl Ports {
    /// Port of the listener for `scheme`, where it runs.
    pub fn of(self, scheme: Scheme) -> Option<u16> {
        match scheme {
            Scheme::Http => self.http,
            Scheme::Https => self.https,
        }
    }
}

/// Cuts an absolute URI behind its authority, so that both halves together are the URI as written.
fn split_authority(uri: &str) -> Option<(&str, &str)> {
    let start = uri.find("://")? + 3;
    let end = uri.get(start..)?.find(['/', '?']).map_or(uri.len(), |length| start + length);
    uri.split_at_checked(end)
}

/// `BYTES` random bytes in base64url without padding.
fn random_text<const BYTES: usize>(random: &mut dyn FnMut(&mut [u8])) -> Secret {
    let mut bytes = Zeroizing::new([0; BYTES]);
    random(bytes.as_mut());
    Secret::new(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::testing::account;

    const PORTS: Ports = Ports { http: Some(14204), https: Some(14205) };

    /// State and code verifier of a random source that gives nothing but zeros.
    fn fixed(url: &str) -> String {
        let challenge = BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, "A".repeat(86).as_bytes()));
        url.replace("CHALLENGE", &challenge).replace("STATE", &"A".repeat(43))
    }

    #[test]
    fn only_a_loopback_redirect_uri_gets_the_listeners_port() {
        for (name, written, want) in [
            ("the default", "http://localhost/", Some("http://localhost:14204/")),
            ("no path", "http://localhost", Some("http://localhost:14204/")),
            ("a port of its own", "http://localhost:80/", Some("http://localhost:14204/")),
            ("https", "https://localhost/cb", Some("https://localhost:14205/cb")),
            ("IPv4", "http://127.0.0.1/", Some("http://127.0.0.1:14204/")),
            ("all of 127/8", "http://127.1.2.3:1/", Some("http://127.1.2.3:14204/")),
            ("IPv6", "http://[::1]/", Some("http://[::1]:14204/")),
            ("IPv6 with port", "http://[::1]:8080/a", Some("http://[::1]:14204/a")),
            ("capitals stay", "HTTP://LocalHost/A", Some("HTTP://LocalHost:14204/A")),
            ("query", "http://localhost/cb?a=1&b=%2f", Some("http://localhost:14204/cb?a=1&b=%2f")),
            ("query without path", "http://localhost?a=1", Some("http://localhost:14204/?a=1")),
            ("dots stay", "http://localhost/a/../b", Some("http://localhost:14204/a/../b")),
            ("elsewhere", "https://auth.example.org/cb", Some("https://auth.example.org/cb")),
            ("elsewhere with port", "http://box.example.org:8080/", Some("http://box.example.org:8080/")),
            ("elsewhere without path", "https://auth.example.org", Some("https://auth.example.org/")),
            ("a name that looks alike", "http://localhost.example.org/", Some("http://localhost.example.org/")),
            ("not a URI", "localhost", None),
        ] {
            let account = crate::config::Account { redirect_uri: written.to_owned(), ..account() };
            assert_eq!(redirect_uri(&account, PORTS).as_deref(), want, "{name}");
        }
    }

    #[test]
    fn a_loopback_redirect_uri_needs_its_listener() {
        let http_only = Ports { http: Some(1), https: None };
        for (name, written, want) in [
            ("http", "http://localhost/", Some("http://localhost:1/")),
            ("https", "https://localhost/", None),
            ("elsewhere", "https://auth.example.org/", Some("https://auth.example.org/")),
        ] {
            let account = crate::config::Account { redirect_uri: written.to_owned(), ..account() };
            assert_eq!(redirect_uri(&account, http_only).as_deref(), want, "{name}");
            assert_eq!(request(&account, http_only, &mut |_| ()).is_some(), want.is_some(), "{name}");
        }
    }

    #[test]
    fn the_url_has_its_parameters_in_order() {
        let base = account();
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let standard = "access_type=offline&code_challenge=CHALLENGE&code_challenge_method=S256&client_id=my+id\
             &redirect_uri=http%3A%2F%2Flocalhost%3A14204%2F&response_type=code&state=STATE";
        for (name, auth_uri, scopes, fields, login_hint, want) in [
            ("no scope", "https://a.example/auth", vec![], vec![], None, "https://a.example/auth?*".to_owned()),
            (
                "scopes",
                "https://a.example/auth",
                vec!["https://mail.example/", "offline_access"],
                vec![],
                None,
                "https://a.example/auth?*&scope=https%3A%2F%2Fmail.example%2F+offline_access".to_owned(),
            ),
            (
                "fields follow the scope, in order, repeated or not",
                "https://a.example/auth",
                vec!["s"],
                vec![field("prompt", "consent"), field("a b", "\u{e9}&"), field("prompt", "")],
                None,
                "https://a.example/auth?*&scope=s&prompt=consent&a+b=%C3%A9%26&prompt=".to_owned(),
            ),
            (
                "login_hint comes last",
                "https://a.example/auth",
                vec!["s"],
                vec![field("x", "y")],
                Some("me@example.org"),
                "https://a.example/auth?*&scope=s&x=y&login_hint=me%40example.org".to_owned(),
            ),
            ("no path", "http://a.com", vec![], vec![], None, "http://a.com/?*".to_owned()),
            ("port, no path", "http://a.com:81", vec![], vec![], None, "http://a.com:81/?*".to_owned()),
            ("a query of its own", "https://a.com/x?y=z", vec![], vec![], None, "https://a.com/x?y=z&*".to_owned()),
            ("a query without path", "https://a.com?y=z", vec![], vec![], None, "https://a.com/?y=z&*".to_owned()),
            ("an empty query", "https://a.com/x?", vec![], vec![], None, "https://a.com/x?*".to_owned()),
        ] {
            let account = crate::config::Account {
                auth_uri: Some(auth_uri.to_owned()),
                auth_uri_fields: fields,
                login_hint: login_hint.map(str::to_owned),
                scopes: scopes.into_iter().map(str::to_owned).collect(),
                ..base.clone()
            };
            let authorization = request(&account, PORTS, &mut |bytes| bytes.fill(0)).unwrap();
            assert_eq!(authorization.url, fixed(&want.replace('*', standard)), "{name}");
            assert_eq!(authorization.redirect_uri, "http://localhost:14204/", "{name}");
        }
    }

    #[test]
    fn state_and_verifier_are_long_and_fresh() {
        let mut next = 0;
        let mut random = |bytes: &mut [u8]| {
            for byte in bytes {
                next += 7;
                *byte = (next % 251) as u8;
            }
        };
        let account = account();
        let first = request(&account, PORTS, &mut random).unwrap();
        let second = request(&account, PORTS, &mut random).unwrap();
        assert_eq!((first.state.expose().len(), first.code_verifier.expose().len()), (43, 86));
        let url_safe = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        assert!(first.state.expose().chars().all(url_safe) && first.code_verifier.expose().chars().all(url_safe));
        assert!(first.state != second.state && first.code_verifier != second.code_verifier);
        assert!(!first.url.contains(first.code_verifier.expose().as_str()));
    }

    #[test]
    fn no_authorization_endpoint_no_request() {
        let account = crate::config::Account { auth_uri: None, ..account() };
        assert!(request(&account, PORTS, &mut |_| ()).is_none());
    }
}
