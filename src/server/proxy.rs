//! Which proxy a request goes through: a pure choice by the request's URI and the proxy variables.
//!
//! The environment is read in [`ProxySettings::from_env`] and nowhere else. A value that cannot be used is an error,
//! never a direct connection. A proxy's credentials stand in no message.

use std::{env, fmt, net::IpAddr};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use percent_encoding::percent_decode_str;
use ureq::http::Uri;

use crate::{
    oauth::{Broken, Stage},
    secret::Secret,
};

/// Port of a proxy whose setting names none.
const DEFAULT_PORT: u16 = 80;

/// A host and the port to reach there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Host name in lower case, or an IP address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl Peer {
    /// The host and port of an absolute http or https URI.
    pub fn of(uri: &Uri) -> Option<Peer> {
        let default = match uri.scheme_str() {
            Some("https") => 443,
            Some("http") => 80,
            Some(_) | None => return None,
        };
        let host = uri.host().filter(|host| !host.is_empty())?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Some(Peer { host: bare.to_ascii_lowercase(), port: uri.port_u16().unwrap_or(default) })
    }

    fn is_loopback(&self) -> bool {
        match self.host.parse() {
            Ok(IpAddr::V4(address)) => address.is_loopback(),
            Ok(IpAddr::V6(address)) => {
                address.is_loopback() || address.to_ipv4_mapped().is_some_and(|address| address.is_loopback())
            }
            Err(_) => self.host == "localhost" || self.host == "localhost.",
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// An HTTP proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Where it listens.
    pub peer: Peer,
    /// The Proxy-Authorization header field's value, where the setting has credentials.
    pub authorization: Option<Secret>,
}

/// The proxy variables of the environment.
#[derive(Clone, Debug, Default)]
pub struct ProxySettings {
    https: Option<Setting>,
    all: Option<Setting>,
    no_proxy: String,
}

#[derive(Clone, Debug)]
struct Setting {
    variable: &'static str,
    value: Secret,
}

impl ProxySettings {
    /// Reads `https_proxy`, `HTTPS_PROXY`, `all_proxy`, `ALL_PROXY`, `no_proxy` and `NO_PROXY`.
    pub fn from_env() -> Self {
        // What is not UTF-8 becomes U+FFFD here, which no usable value holds.
        Self::from_lookup(|name| env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    pub(super) fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let first = |variables: [&'static str; 2]| {
            variables.into_iter().find_map(|variable| {
                let value = lookup(variable).filter(|value| !value.trim().is_empty())?;
                Some(Setting { variable, value: Secret::new(value) })
            })
        };
        Self {
            https: first(["https_proxy", "HTTPS_PROXY"]),
            all: first(["all_proxy", "ALL_PROXY"]),
            no_proxy: first(["no_proxy", "NO_PROXY"]).map(|setting| setting.value.expose().clone()).unwrap_or_default(),
        }
    }

    /// Chooses the proxy for a request to `uri`; `None` is a direct connection.
    ///
    /// https URIs take https_proxy, then all_proxy; http URIs all_proxy alone. Loopback hosts and those in no_proxy
    /// are reached directly. Fails with [`Stage::ProxySetting`] where the setting that applies cannot be used.
    pub fn choose(&self, uri: &Uri) -> Result<Option<Proxy>, Broken> {
        let setting = match uri.scheme_str() {
            Some("https") => self.https.as_ref().or(self.all.as_ref()),
            Some(_) | None => self.all.as_ref(),
        };
        let (Some(setting), Some(target)) = (setting, Peer::of(uri)) else { return Ok(None) };
        if target.is_loopback() || self.excludes(&target) {
            return Ok(None);
        }
        parse_proxy(setting.value.expose().trim()).map(Some).map_err(|why| Broken {
            stage: Stage::ProxySetting,
            detail: format!("the environment's {} cannot be used: {why}", setting.variable),
        })
    }

    fn excludes(&self, target: &Peer) -> bool {
        self.no_proxy
            .split(|c: char| c == ',' || c.is_whitespace())
            .filter(|entry| !entry.is_empty())
            .any(|entry| entry == "*" || matches(entry, target))
    }
}

/// Whether an entry of no_proxy names `target`: its host, a domain that it lies in, or its address.
fn matches(entry: &str, target: &Peer) -> bool {
    let (host, port) = match entry.parse::<IpAddr>() {
        Ok(_) => (entry, None),
        Err(_) => match split_port(entry) {
            Some(parts) => parts,
            None => return false,
        },
    };
    if port.is_some_and(|port| port != target.port) {
        return false;
    }
    if let Ok(address) = target.host.parse::<IpAddr>() {
        return host.parse::<IpAddr>().is_ok_and(|host| host.to_canonical() == address.to_canonical());
    }
    let domain = host.strip_prefix('*').unwrap_or(host).trim_matches('.').to_ascii_lowercase();
    let name = target.host.trim_end_matches('.');
    match name.strip_suffix(domain.as_str()) {
        Some(rest) => !domain.is_empty() && (rest.is_empty() || rest.ends_with('.')),
        None => false,
    }
}

/// Splits `HOST`, `HOST:PORT`, `[ADDRESS]` or `[ADDRESS]:PORT`; the host comes without brackets.
fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']')?,
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    if rest.is_empty() {
        return Some((host, None));
    }
    let digits = rest.strip_prefix(':').filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?;
    Some((host, Some(digits.parse().ok()?)))
}

fn parse_proxy(value: &str) -> Result<Proxy, &'static str> {
    let (scheme, rest) = value.split_once("://").unwrap_or(("http", value));
    match scheme.to_ascii_lowercase().as_str() {
        "http" => {}
        "https" => return Err("a proxy that is itself reached by TLS is not supported; write http://HOST:PORT"),
        "socks" | "socks4" | "socks4a" | "socks5" | "socks5h" => {
            return Err("SOCKS proxies are not supported; write http://HOST:PORT");
        }
        _ => return Err("it is not of the form http://HOST:PORT"),
    }
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    let (credentials, address) = match authority.rsplit_once('@') {
        Some((credentials, address)) => (Some(credentials), address),
        None => (None, authority),
    };
    let (host, port) = split_port(address).ok_or("it is not of the form http://HOST:PORT")?;
    let is_name = |host: &str| host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    let is_host = match address.starts_with('[') {
        true => host.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6()),
        false => !host.is_empty() && is_name(host),
    };
    if !is_host {
        return Err("it names no host");
    }
    let port = port.unwrap_or(DEFAULT_PORT);
    if port == 0 {
        return Err("its port is 0");
    }
    let peer = Peer { host: host.to_ascii_lowercase(), port };
    Ok(Proxy { peer, authorization: credentials.map(basic) })
}

/// The Basic authorization (RFC 7617) for a URL's `user:password`, which may be percent-encoded.
fn basic(credentials: &str) -> Secret {
    let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    let mut pair: Vec<u8> = percent_decode_str(user).collect();
    pair.push(b':');
    pair.extend(percent_decode_str(password));
    let pair = Secret::new(pair);
    Secret::new(format!("Basic {}", BASE64_STANDARD.encode(pair.expose())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> ProxySettings {
        ProxySettings::from_lookup(|name| {
            variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn chosen(variables: &[(&str, &str)], uri: &str) -> Result<Option<String>, Broken> {
        let proxy = settings(variables).choose(&uri.parse().unwrap())?;
        Ok(proxy.map(|proxy| proxy.peer.to_string()))
    }

    #[test]
    fn the_scheme_and_the_first_variable_set_decide() {
        let (a, b, c, d) = (
            ("https_proxy", "http://a:1"),
            ("HTTPS_PROXY", "http://b:2"),
            ("all_proxy", "http://c:3"),
            ("ALL_PROXY", "http://d:4"),
        );
        let empty = ("https_proxy", " ");
        for (name, variables, uri, want) in [
            ("none set", &[][..], "https://idp.example/", None),
            ("all set", &[d, c, b, a][..], "https://idp.example/", Some("a:1")),
            ("upper case", &[d, c, b][..], "https://idp.example/", Some("b:2")),
            ("empty is unset", &[empty, b][..], "https://idp.example/", Some("b:2")),
            ("all_proxy", &[d, c][..], "https://idp.example/", Some("c:3")),
            ("ALL_PROXY", &[d][..], "https://idp.example/", Some("d:4")),
            ("http ignores https_proxy", &[a, b][..], "http://idp.example/", None),
            ("http takes all_proxy", &[a, c][..], "http://idp.example/", Some("c:3")),
            ("localhost", &[a][..], "https://LOCALHOST:8443/", None),
            ("127/8", &[a][..], "https://127.9.9.9/", None),
            ("::1", &[a][..], "https://[::1]:1/", None),
            ("mapped loopback", &[a][..], "https://[::ffff:127.0.0.1]/", None),
            ("not quite localhost", &[a][..], "https://localhost.example/", Some("a:1")),
            ("not quite 127/8", &[a][..], "https://127.example/", Some("a:1")),
        ] {
            assert_eq!(chosen(variables, uri).unwrap().as_deref(), want, "{name}");
        }
    }

    #[test]
    fn no_proxy_names_hosts_domains_and_addresses() {
        for (list, uri, direct) in [
            ("idp.example", "https://idp.example/", true),
            ("IDP.Example", "https://idp.EXAMPLE/", true),
            ("example", "https://idp.example/", true),
            (".example", "https://idp.example/", true),
            ("*.example", "https://idp.example/", true),
            ("dp.example", "https://idp.example/", false),
            ("idp.example", "https://example/", false),
            ("idp.example", "https://idp.example.org/", false),
            (" a.example , idp.example ,", "https://idp.example/", true),
            ("a.example idp.example", "https://idp.example/", true),
            ("*", "https://idp.example/", true),
            ("a.example,*", "https://192.0.2.1/", true),
            (",", "https://idp.example/", false),
            (".", "https://idp.example/", false),
            ("", "https://idp.example/", false),
            ("idp.example:443", "https://idp.example/", true),
            ("idp.example:8443", "https://idp.example/", false),
            ("idp.example:8443", "https://idp.example:8443/", true),
            ("idp.example:x", "https://idp.example/", false),
            ("idp.example:99999", "https://idp.example/", false),
            ("idp.example.", "https://idp.example/", true),
            ("idp.example", "https://idp.example./", true),
            ("192.0.2.1", "https://192.0.2.1/", true),
            ("2.1", "https://192.0.2.1/", false),
            ("192.0.2.1:1", "https://192.0.2.1/", false),
            ("192.0.2.1", "https://192.0.2.10/", false),
            ("2001:db8::1", "https://[2001:DB8:0::1]/", true),
            ("[2001:db8::1]", "https://[2001:db8::1]/", true),
            ("[2001:db8::1]:443", "https://[2001:db8::1]/", true),
            ("[2001:db8::1]:444", "https://[2001:db8::1]/", false),
            ("[2001:db8::1", "https://[2001:db8::1]/", false),
        ] {
            let chosen = chosen(&[("https_proxy", "http://p:1"), ("NO_PROXY", list)], uri).unwrap();
            assert_eq!(chosen.is_none(), direct, "{list:?} {uri}");
        }
    }

    #[test]
    fn a_setting_is_parsed_whole() {
        for (value, peer, authorization) in [
            ("http://proxy.example:3128", "proxy.example:3128", None),
            ("http://proxy.example:3128/", "proxy.example:3128", None),
            ("HTTP://Proxy.example", "proxy.example:80", None),
            ("proxy.example:3128", "proxy.example:3128", None),
            ("http://[2001:db8::2]:3128", "[2001:db8::2]:3128", None),
            ("http://192.0.2.2", "192.0.2.2:80", None),
            ("http://aladdin:opensesame@proxy:1", "proxy:1", Some("Basic YWxhZGRpbjpvcGVuc2VzYW1l")),
            ("aladdin@proxy:1", "proxy:1", Some("Basic YWxhZGRpbjo=")),
            ("http://a%3ab:p%40q@proxy:1", "proxy:1", Some("Basic YTpiOnBAcQ==")),
            ("http://a:p@q@proxy:1", "proxy:1", Some("Basic YTpwQHE=")),
        ] {
            let proxy = parse_proxy(value).unwrap();
            assert_eq!(proxy.peer.to_string(), peer, "{value}");
            assert_eq!(proxy.authorization.as_ref().map(|a| a.expose().as_str()), authorization, "{value}");
        }
    }

    #[test]
    fn an_unusable_setting_is_an_error_that_tells_no_credentials() {
        for value in [
            "socks5://user:hunter2@proxy:1080",
            "https://user:hunter2@proxy:1",
            "ftp://user:hunter2@proxy",
            "user:hunter2://proxy",
            "http://user:hunter2@",
            "http://user:hunter2@:3128",
            "http://user:hunter2@proxy:0",
            "http://user:hunter2@proxy:65536",
            "http://user:hunter2@proxy:+1",
            "http://user:hunter2@proxy:hunter2",
            "http://user:hunter2@proxy:1/path",
            "http://user:hunter2@pro xy:1",
            "http://user:hunter2@::1:80",
            "http://user:hunter2@[proxy]:80",
            "http://user:hunter2@pr\u{fffd}xy:80",
            "http://user:hunter2@pr\r\noxy:80",
        ] {
            let broken = chosen(&[("HTTPS_PROXY", value)], "https://idp.example/").unwrap_err();
            assert_eq!(broken.stage, Stage::ProxySetting, "{value:?}");
            assert!(broken.detail.contains("HTTPS_PROXY"), "{}", broken.detail);
            assert!(!broken.detail.contains("hunter2"), "{}", broken.detail);
        }
        let debug = format!("{:?}", settings(&[("https_proxy", "http://user:hunter2@proxy:1")]));
        assert!(!debug.contains("hunter2"), "{debug}");
    }

    #[test]
    fn an_unusable_setting_that_does_not_apply_is_no_error() {
        assert_eq!(chosen(&[("all_proxy", "socks5://p"), ("no_proxy", "*")], "https://idp.example/"), Ok(None));
        assert_eq!(chosen(&[("all_proxy", "socks5://p")], "http://127.0.0.1/"), Ok(None));
    }
}
