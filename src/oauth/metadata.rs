//! What a provider publishes about itself (RFC 8414, OpenID Connect Discovery), and the account block made of it.
//!
//! Metadata is hostile: nothing of it is printed but URIs whose every character was looked at.

use std::fmt::{self, Write as _};

use super::{
    Reply,
    authorization::split_authority,
    fields::Fields,
    text::{self, Mask},
    uri,
};
use crate::config::quote;

/// Where RFC 8414 puts the metadata: before the issuer's path.
const OAUTH: &str = "/.well-known/oauth-authorization-server";

/// Where OpenID Connect puts it: behind the issuer's path.
const OPENID: &str = "/.well-known/openid-configuration";

/// Longest URI that is taken from metadata, in bytes.
const MAX_URI: usize = 2048;

/// What an account block is made of. Every URI is absolute, https (or http on a loopback), and of RFC 3986
/// characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// `issuer`
    pub issuer: String,
    /// `authorization_endpoint`
    pub auth_uri: Option<String>,
    /// `token_endpoint`
    pub token_uri: String,
    /// `device_authorization_endpoint`
    pub device_auth_uri: Option<String>,
    /// `revocation_endpoint`
    pub revocation_uri: Option<String>,
    /// `token_endpoint_auth_methods_supported`
    pub client_auth: Methods,
    /// Whether redirects carry `iss` (`authorization_response_iss_parameter_supported`).
    pub announces_iss: bool,
    /// Options whose URI in the metadata cannot be used and was left out.
    pub left_out: Vec<&'static str>,
}

/// The client authentication that a provider's metadata names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Methods {
    /// In the form, or none.
    Post,
    /// HTTP Basic alone.
    BasicOnly,
    /// Nothing is said.
    Unnamed,
    /// Only methods that pizauth does not have.
    Unknown,
}

/// Why no account block can be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// What was asked for is no https URL, or http on a loopback, without query and fragment.
    Url,
    /// The answer's HTTP status.
    Status(u16),
    /// The answer is no JSON object.
    NotMetadata,
    /// No issuer.
    NoIssuer,
    /// An issuer for any tenant, like Microsoft's for `/common`.
    Tenant,
    /// Another issuer than was asked for; fit to be shown.
    OtherIssuer(String),
    /// No endpoint of this name that can be used.
    Endpoint(&'static str),
}

impl Fault {
    /// Whether metadata were there, and are at fault.
    pub fn is_of_metadata(&self) -> bool {
        match self {
            Fault::Url | Fault::Status(_) | Fault::NotMetadata => false,
            Fault::NoIssuer | Fault::Tenant | Fault::OtherIssuer(_) | Fault::Endpoint(_) => true,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Url => f.write_str("not an https URL without query and fragment (http only on a loopback)"),
            Fault::Status(status) => write!(f, "no metadata there (HTTP status {status})"),
            Fault::NotMetadata => f.write_str("no metadata there: the answer is not a JSON object"),
            Fault::NoIssuer => f.write_str("the metadata names no issuer"),
            Fault::Tenant => f.write_str(
                "the metadata is for any tenant (its issuer has {tenantid}): put your tenant's ID in place of common, \
                 organizations or consumers in the URL",
            ),
            Fault::OtherIssuer(issuer) => {
                write!(f, "the metadata is of another issuer: {issuer}; if that is the one you mean, discover that")
            }
            Fault::Endpoint(name) => write!(f, "the metadata names no {name} that can be used"),
        }
    }
}

/// Where the metadata of an issuer can be, the likeliest place first. A full well-known URL stands for itself.
pub fn candidates(url: &str) -> Result<Vec<String>, Fault> {
    if !is_safe_uri(url) || url.contains('?') {
        return Err(Fault::Url);
    }
    if split_well_known(url).is_some() {
        return Ok(vec![url.to_owned()]);
    }
    let issuer = url.strip_suffix('/').unwrap_or(url);
    let (origin, path) = split_authority(issuer).ok_or(Fault::Url)?;
    Ok(vec![format!("{origin}{OAUTH}{path}"), format!("{issuer}{OPENID}")])
}

/// Reads metadata that came for `url`, which is what the user asked for.
pub fn read(url: &str, reply: &Reply) -> Result<Metadata, Fault> {
    if reply.status != 200 {
        return Err(Fault::Status(reply.status));
    }
    let fields = Fields::from_json(reply.body.expose()).ok_or(Fault::NotMetadata)?;
    let issuer = fields.text("issuer").ok_or(Fault::NoIssuer)?.expose();
    if issuer.contains("{tenantid}") {
        return Err(Fault::Tenant);
    }
    let expected = issuer_of(url);
    if issuer.strip_suffix('/').unwrap_or(issuer) != expected || !is_safe_uri(issuer) {
        return Err(Fault::OtherIssuer(text::clean(issuer, &Mask::default())));
    }
    let mut left_out = Vec::new();
    let mut endpoint = |option, name| {
        let written = fields.told(name)?;
        let uri = fields.text(name).map(|uri| uri.expose().clone()).filter(|uri| is_safe_uri(uri));
        if uri.is_none() && !written.is_empty() {
            left_out.push(option);
        }
        uri
    };
    let auth_uri = endpoint("auth_uri", "authorization_endpoint");
    let token_uri = endpoint("token_uri", "token_endpoint").ok_or(Fault::Endpoint("token_endpoint"))?;
    let device_auth_uri = endpoint("device_auth_uri", "device_authorization_endpoint");
    let revocation_uri = endpoint("revocation_uri", "revocation_endpoint");
    if left_out.contains(&"auth_uri") {
        return Err(Fault::Endpoint("authorization_endpoint"));
    }
    Ok(Metadata {
        issuer: issuer.clone(),
        auth_uri,
        token_uri,
        device_auth_uri,
        revocation_uri,
        client_auth: methods(fields.texts("token_endpoint_auth_methods_supported")),
        announces_iss: fields.is_true("authorization_response_iss_parameter_supported"),
        left_out,
    })
}

/// Writes an account block in which the client is still to be filled in.
pub fn account_block(name: &str, metadata: &Metadata) -> String {
    let mut block = format!("account {} {{\n", quote(name));
    let mut option = |name: &str, value: &str| {
        let _ = writeln!(block, "    {name} = {};", quote(value));
    };
    let endpoints = [
        ("auth_uri", metadata.auth_uri.as_deref()),
        ("token_uri", Some(metadata.token_uri.as_str())),
        ("device_auth_uri", metadata.device_auth_uri.as_deref()),
        ("revocation_uri", metadata.revocation_uri.as_deref()),
    ];
    for (name, value) in endpoints {
        value.into_iter().for_each(|value| option(name, value));
    }
    match (&metadata.auth_uri, &metadata.device_auth_uri) {
        (Some(_), _) => (),
        (None, Some(_)) => option("grant", "device_code"),
        (None, None) => option("grant", "client_credentials"),
    }
    if metadata.announces_iss && metadata.auth_uri.is_some() {
        option("issuer", &metadata.issuer);
    }
    if metadata.client_auth == Methods::BasicOnly {
        option("client_auth", "basic");
        option("client_secret", "");
    }
    option("client_id", "");

    for comment in comments(metadata) {
        let _ = writeln!(block, "    // {}", text::one_line(&comment));
    }
    block.push_str("}\n");
    block
}

fn comments(metadata: &Metadata) -> Vec<String> {
    let mut comments = Vec::new();
    if !metadata.announces_iss {
        comments.push(format!("issuer = {}; (not announced: redirects may lack iss)", quote(&metadata.issuer)));
    }
    match metadata.client_auth {
        Methods::Post | Methods::BasicOnly => (),
        Methods::Unnamed => comments.push(
            "The provider does not say how clients authenticate: after invalid_client try client_auth = \"basic\";"
                .to_owned(),
        ),
        Methods::Unknown => {
            comments.push("The provider names no way for clients to authenticate that pizauth knows.".to_owned());
        }
    }
    let origin = origin_of(&metadata.issuer);
    for (option, uri) in [
        ("auth_uri", &metadata.auth_uri),
        ("token_uri", &Some(metadata.token_uri.clone())),
        ("device_auth_uri", &metadata.device_auth_uri),
        ("revocation_uri", &metadata.revocation_uri),
    ] {
        if uri.as_ref().is_some_and(|uri| origin_of(uri) != origin) {
            comments
                .push(format!("{option} is on another origin than the issuer: make sure that it is the provider's."));
        }
    }
    for option in &metadata.left_out {
        comments.push(format!("{option} is left out: the metadata's is not an absolute https URI."));
    }
    comments
}

/// Only basic is named where neither the form nor no authentication at all is.
fn methods(named: Option<Vec<String>>) -> Methods {
    let Some(named) = named else { return Methods::Unnamed };
    let has = |method: &str| named.iter().any(|name| name == method);
    if has("client_secret_post") || has("none") {
        Methods::Post
    } else if has("client_secret_basic") {
        Methods::BasicOnly
    } else {
        Methods::Unknown
    }
}

/// The issuer that a URL stands for: without a well-known part and without a `/` at its end.
fn issuer_of(url: &str) -> String {
    let (origin, path) = split_well_known(url).unwrap_or((url, ""));
    let issuer = format!("{origin}{path}");
    issuer.strip_suffix('/').map(str::to_owned).unwrap_or(issuer)
}

/// What stands before and behind the well-known part of a URL that has one, as the standards place it.
fn split_well_known(url: &str) -> Option<(&str, &str)> {
    let oauth = url.split_once(OAUTH).filter(|(_, path)| path.is_empty() || path.starts_with('/'));
    oauth.or_else(|| Some((url.strip_suffix(OPENID)?, "")))
}

/// Whether `text` is an absolute URI that may be printed: https or http on a loopback, its escapes whole. That it
/// has only RFC 3986 characters, no user and no fragment is `uri`'s promise.
fn is_safe_uri(text: &str) -> bool {
    let is_escape =
        |rest: &str| rest.get(..2).is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let Ok(parts) = uri::parse(text) else { return false };
    let safe = parts.scheme.eq_ignore_ascii_case("https") || parts.is_loopback_host();
    safe && text.len() <= MAX_URI && text.split('%').skip(1).all(is_escape)
}

/// Scheme, host and port, in the one spelling in which origins are compared.
fn origin_of(uri: &str) -> Option<(String, String, u16)> {
    let parts = uri::parse(uri).ok()?;
    let scheme = parts.scheme.to_ascii_lowercase();
    let default = if scheme == "https" { 443 } else { 80 };
    Some((scheme, parts.host.to_ascii_lowercase(), parts.port.unwrap_or(default)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::testing::{mutations, reply};

    const GOOD: &str = r#"{"issuer":"https://a.example/x",
        "authorization_endpoint":"https://a.example/x/auth","token_endpoint":"https://a.example/x/token",
        "device_authorization_endpoint":"https://a.example/x/device","revocation_endpoint":"https://a.example/x/revoke",
        "token_endpoint_auth_methods_supported":["client_secret_post","client_secret_basic"],
        "authorization_response_iss_parameter_supported":true}"#;

    fn good(from: &str, to: &str) -> Result<Metadata, Fault> {
        assert!(GOOD.contains(from), "{from}");
        read("https://a.example/x", &reply(200, GOOD.replacen(from, to, 1)))
    }

    #[test]
    fn metadata_has_two_places() {
        for (name, url, want) in [
            (
                "no path",
                "https://a.example",
                Ok(&[
                    "https://a.example/.well-known/oauth-authorization-server",
                    "https://a.example/.well-known/openid-configuration",
                ][..]),
            ),
            (
                "a slash at the end",
                "https://a.example/",
                Ok(&[
                    "https://a.example/.well-known/oauth-authorization-server",
                    "https://a.example/.well-known/openid-configuration",
                ]),
            ),
            (
                "a path",
                "https://a.example:8443/realms/x/",
                Ok(&[
                    "https://a.example:8443/.well-known/oauth-authorization-server/realms/x",
                    "https://a.example:8443/realms/x/.well-known/openid-configuration",
                ]),
            ),
            (
                "a full URL",
                "https://a.example/x/.well-known/openid-configuration",
                Ok(&["https://a.example/x/.well-known/openid-configuration"]),
            ),
            (
                "http on a loopback",
                "http://127.0.0.1:80/.well-known/oauth-authorization-server/x",
                Ok(&["http://127.0.0.1:80/.well-known/oauth-authorization-server/x"]),
            ),
            ("http elsewhere", "http://a.example/", Err(Fault::Url)),
            ("another scheme", "file:///etc/passwd", Err(Fault::Url)),
            ("no scheme", "a.example", Err(Fault::Url)),
            ("a query", "https://a.example/?x=y", Err(Fault::Url)),
            ("a fragment", "https://a.example/#x", Err(Fault::Url)),
            ("a user", "https://a@b.example/", Err(Fault::Url)),
            ("a line break", "https://a.example/\r\nx", Err(Fault::Url)),
            ("empty", "", Err(Fault::Url)),
        ] {
            let want = want.map(|list| list.iter().map(|&place| place.to_owned()).collect::<Vec<_>>());
            assert_eq!(candidates(url), want, "{name}");
        }
    }

    #[test]
    fn the_issuer_must_be_the_one_asked_for() {
        for (name, url, issuer, want) in [
            ("equal", "https://a.example/x", "https://a.example/x", true),
            ("a slash in the URL", "https://a.example/x/", "https://a.example/x", true),
            ("a slash in the issuer", "https://a.example/x", "https://a.example/x/", true),
            ("the full URL", "https://a.example/x/.well-known/openid-configuration", "https://a.example/x", true),
            ("in front", "https://a.example/.well-known/oauth-authorization-server/x", "https://a.example/x", true),
            (
                "a host that goes on behind it",
                "https://a/.well-known/oauth-authorization-server.example/x",
                "https://a.example/x",
                false,
            ),
            (
                "a host that goes on",
                "https://a/.well-known/openid-configuration.example/x",
                "https://a.example/x",
                false,
            ),
            ("another", "https://a.example/x", "https://b.example/x", false),
            ("another path", "https://a.example/x", "https://a.example/X", false),
            ("a longer one", "https://a.example/x", "https://a.example/x/y", false),
            ("a query", "https://a.example/x", "https://a.example/x?y", false),
        ] {
            let got = read(url, &reply(200, GOOD.replacen("https://a.example/x", issuer, 1)));
            assert_eq!(got.is_ok(), want, "{name}");
        }
        assert_eq!(good("example/x", "example/{tenantid}/v2.0"), Err(Fault::Tenant));
        assert_eq!(good("\"issuer\"", "\"i\""), Err(Fault::NoIssuer));
        let Err(Fault::OtherIssuer(shown)) = good("https://a.example/x", "https://b\\u001b[2J\\n.example") else {
            panic!()
        };
        assert!(text::is_plain(&shown), "{shown}");
        assert_eq!(read("https://a.example/x", &reply(404, GOOD)), Err(Fault::Status(404)));
        assert_eq!(read("https://a.example/x", &reply(200, "<html>")), Err(Fault::NotMetadata));
    }

    #[test]
    fn only_safe_endpoints_are_taken() {
        for (name, uri) in [
            ("http", "http://a.example/x"),
            ("another scheme", "javascript:alert(1)"),
            ("relative", "/x"),
            ("a quote", "https://a.example/\\\"; x"),
            ("a line break", "https://a.example/\\nx"),
            ("a backslash", "https://a.example/\\\\"),
            ("a blank", "https://a.example/a b"),
            ("not ASCII", "https://a.example/\u{e9}"),
            ("a fragment", "https://a.example/#x"),
            ("a user", "https://a.example@b.example/"),
            ("half an escape", "https://a.example/%4"),
            ("no host", "https:///x"),
            ("a port beyond all", "https://a.example:99999/"),
        ] {
            let token = good("https://a.example/x/token", uri);
            assert_eq!(token, Err(Fault::Endpoint("token_endpoint")), "{name}");
            let auth = good("https://a.example/x/auth", uri);
            assert_eq!(auth, Err(Fault::Endpoint("authorization_endpoint")), "{name}");
            let revoke = good("https://a.example/x/revoke", uri).unwrap();
            assert_eq!((revoke.revocation_uri, revoke.left_out), (None, vec!["revocation_uri"]), "{name}");
        }
        assert!(good("https://a.example/x/token", "http://[::1]:8080/token").is_ok());
    }

    #[test]
    fn the_block_has_what_the_metadata_says() {
        let whole = "account \"x\" {\n    auth_uri = \"https://a.example/x/auth\";\n    \
            token_uri = \"https://a.example/x/token\";\n    device_auth_uri = \"https://a.example/x/device\";\n    \
            revocation_uri = \"https://a.example/x/revoke\";\n    issuer = \"https://a.example/x\";\n    \
            client_id = \"\";\n}\n";
        assert_eq!(account_block("x", &good("", "").unwrap()), whole);
        for (name, from, to, want) in [
            ("basic only", "\"client_secret_post\",", "", "    client_auth = \"basic\";\n    client_secret = \"\";\n"),
            ("methods not named", "token_endpoint_auth_methods", "x", "// The provider does not say how clients"),
            (
                "unknown methods",
                "\"client_secret_post\",\"client_secret_basic\"",
                "\"tls\"",
                "// The provider names no way",
            ),
            ("iss not announced", "true", "false", "    // issuer = \"https://a.example/x\"; (not announced"),
            ("another origin", "https://a.example/x/token", "https://b.example/", "// token_uri is on another origin"),
            ("another port", "https://a.example/x/auth", "https://a.example:444/", "// auth_uri is on another origin"),
            ("left out", "https://a.example/x/revoke", "ftp://a.example/", "// revocation_uri is left out"),
            ("device only", "authorization_endpoint", "x", "    grant = \"device_code\";\n"),
        ] {
            let block = account_block("x", &good(from, to).unwrap());
            assert!(block.contains(want), "{name}: {block}");
        }
        for (name, from, to, unwanted) in [
            ("iss not announced", "true", "false", "\n    issuer ="),
            ("without redirects", "authorization_endpoint", "x", "\n    issuer ="),
            ("the usual port", "https://a.example/x/token", "https://a.example:443/", "another origin"),
        ] {
            let block = account_block("x", &good(from, to).unwrap());
            assert!(!block.contains(unwanted), "{name}: {block}");
        }
        let public = account_block("x", &good("client_secret_post", "none").unwrap());
        assert!(!public.contains("client_auth"), "{public}");
    }

    #[test]
    fn no_metadata_makes_the_reader_panic_or_adds_a_line() {
        let lines = account_block("x", &good("", "").unwrap()).lines().count();
        mutations(&[GOOD], |bytes| {
            if let Ok(metadata) = read("https://a.example/x", &reply(200, bytes)) {
                let block = account_block("x", &metadata);
                assert!(
                    block.lines().count() <= lines + 8
                        && block.bytes().all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte))
                );
            }
        });
        mutations(&["https://a.example/x", "http://[::1]:80/.well-known/openid-configuration"], |bytes| {
            let _ = candidates(&String::from_utf8_lossy(bytes));
        });
    }
}
