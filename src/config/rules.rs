//! The rules of pizauth.conf(5) beyond its grammar: what each value must be, what must not stand together, and what
//! is allowed but unwise.

use std::{ops::Range, path::PathBuf, time::Duration};

use super::{
    Account, ClientAuth, ClientSecret, Config, Grant, Kind, Listen,
    diagnostic::Fault,
    https_runs,
    mistake::{Mistake, Warning},
    options::{Draft, Placed, Value},
    parse::Parsed,
};
use crate::{
    oauth::uri::{self, Uri},
    secret::Secret,
};

const DEFAULT_ASSUME_EXPIRES_IN: Duration = Duration::from_secs(60 * 60);
const DEFAULT_AUTH_NOTIFY_INTERVAL: Duration = Duration::from_secs(15 * 60);
const DEFAULT_REDIRECT_URI: &str = "http://localhost/";
const DEFAULT_REFRESH_AT_LEAST: Duration = Duration::from_secs(90 * 60);
const DEFAULT_REFRESH_BEFORE_EXPIRY: Duration = Duration::from_secs(90);
const DEFAULT_REFRESH_RETRY: Duration = Duration::from_secs(40);

/// Query fields of the authorization request that pizauth sets itself.
const OWN_AUTH_URI_FIELDS: &[&str] = &[
    "access_type",
    "client_id",
    "code_challenge",
    "code_challenge_method",
    "redirect_uri",
    "response_type",
    "scope",
    "state",
];

/// Form fields of token requests that would break the protocol, or that have an option of their own.
const REFUSED_TOKEN_URI_FIELDS: &[&str] =
    &["client_secret", "code", "code_verifier", "device_code", "grant_type", "redirect_uri", "refresh_token"];

/// Header fields that pizauth sets itself, or that change how a message is framed (RFC 9110, RFC 9112).
const REFUSED_HEADERS: &[&str] = &[
    "accept",
    "accept-encoding",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Hosts of Microsoft's endpoints, or the domains in which they are.
const MICROSOFT_HOSTS: &[&str] = &[
    "login.live.com",
    "login.microsoftonline.com",
    "login.microsoftonline.us",
    "login.partner.microsoftonline.cn",
    "login.windows.net",
    "sts.windows.net",
];

/// What is allowed but probably not meant, one line for each, with the account's name.
pub fn warnings(config: &Config) -> Vec<String> {
    config.accounts.iter().flat_map(account_warnings).map(|warning| warning.to_string()).collect()
}

/// What is wrong with a value of that kind as such.
pub(super) fn check_value(kind: Kind, value: &Value) -> Option<Fault> {
    let (at, mistake, is_shown) = match (kind, value) {
        (Kind::Uri, Value::Text(text)) => {
            let fault = uri::parse(&text.value).err()?;
            // What stands before an @ may be a password.
            (&text.at, Mistake::Uri(fault), !text.value.contains('@'))
        }
        (Kind::Choice(choices), Value::Text(text)) if !choices.contains(&text.value.as_str()) => {
            (&text.at, Mistake::NotAChoice(choices), true)
        }
        (Kind::Command | Kind::SecretCommand | Kind::File, Value::Text(text)) if text.value.contains('\0') => {
            (&text.at, Mistake::Nul, false)
        }
        (Kind::File | Kind::SecretCommand, Value::Text(text)) if text.value.is_empty() => {
            (&text.at, Mistake::Empty, true)
        }
        (Kind::Time { least }, Value::Time(time)) if time.value < Duration::from_secs(least) => {
            (&time.at, Mistake::TooShort { least }, true)
        }
        (Kind::Listen, Value::Text(text)) => (&text.at, listen_mistake(&text.value)?, true),
        _ => return None,
    };
    Some(Fault::new(at, mistake).shown_if(is_shown))
}

/// Applies defaults and rules to what was read.
pub(super) fn build(parsed: Parsed) -> Result<Config, Vec<Fault>> {
    let Parsed { mut globals, accounts, mentions_account, faults, tokens: _ } = parsed;
    let mut rules = Rules { faults };
    if !mentions_account && rules.faults.is_empty() {
        rules.faults.push(Fault::of_text(Mistake::NoAccount));
    }
    rules.check_https_files(&globals);
    rules.check_ports(&globals);
    let mut listeners = Vec::new();
    let mut built = Vec::new();
    for (name, draft) in accounts {
        let redirect_at = draft.redirect_uri.as_ref().map(|uri| uri.at.clone());
        // One at fault is not the default, and says nothing of what it needs.
        let is_redirect_known = redirect_at.is_some() || !draft.seen.contains_key("redirect_uri");
        if let Some(account) = rules.account(name, draft, &globals).filter(|_| is_redirect_known) {
            listeners.push(redirect_at);
            built.push(account);
        }
    }
    rules.check_listeners(&globals, &built, &listeners);
    if !rules.faults.is_empty() {
        return Err(rules.faults);
    }
    built.sort_by(|one, other| one.name.cmp(&other.name));
    let text = |text: &mut Option<Placed<String>>| text.take().map(|text| text.value);
    Ok(Config {
        accounts: built,
        auth_notify_cmd: text(&mut globals.auth_notify_cmd),
        auth_notify_interval: time(&[&globals.auth_notify_interval], DEFAULT_AUTH_NOTIFY_INTERVAL),
        ca_file: text(&mut globals.ca_file).map(PathBuf::from),
        error_notify_cmd: text(&mut globals.error_notify_cmd),
        http_listen: globals.http_listen.map_or(Listen::Default, |listen| listen.value),
        https_cert: text(&mut globals.https_cert).map(PathBuf::from),
        https_key: text(&mut globals.https_key).map(PathBuf::from),
        https_listen: globals.https_listen.map_or(Listen::Default, |listen| listen.value),
        persist_cmd: text(&mut globals.persist_cmd),
        restore_cmd: text(&mut globals.restore_cmd),
        startup_cmd: text(&mut globals.startup_cmd),
        token_event_cmd: text(&mut globals.token_event_cmd),
        transient_error_if_cmd: text(&mut globals.transient_error_if_cmd),
    })
}

struct Rules {
    faults: Vec<Fault>,
}

impl Rules {
    /// `None` where a fault was noted that leaves the account without something it must have.
    fn account(&mut self, name: Placed<String>, draft: Draft, globals: &Draft) -> Option<Account> {
        let grant = match draft.grant.as_ref().map(|grant| grant.value.as_str()) {
            Some("device_code") => Grant::DeviceCode,
            Some("client_credentials") => Grant::ClientCredentials,
            Some(_) | None => Grant::AuthorizationCode,
        };
        self.check_mandatory(&name, &draft, grant);
        self.check_fields(&draft);
        let client_auth = match draft.client_auth.as_ref().map(|client_auth| client_auth.value.as_str()) {
            Some("basic") => ClientAuth::Basic,
            Some(_) | None => ClientAuth::Post,
        };
        let client_secret = self.client_secret(&draft, client_auth);
        let text = |text: Option<Placed<String>>| text.map(|text| text.value);
        let texts = |texts: Vec<Placed<String>>| texts.into_iter().map(|text| text.value).collect();
        let secrets = |pairs: Vec<(Placed<String>, Placed<Secret>)>| {
            pairs.into_iter().map(|(name, value)| (name.value, value.value)).collect()
        };
        Some(Account {
            assume_expires_in: time(&[&draft.assume_expires_in, &globals.assume_expires_in], DEFAULT_ASSUME_EXPIRES_IN),
            auth_uri: text(draft.auth_uri),
            auth_uri_fields: draft.auth_uri_fields.into_iter().map(|(name, value)| (name.value, value.value)).collect(),
            client_auth,
            client_id: text(draft.client_id)?,
            client_secret,
            device_auth_uri: text(draft.device_auth_uri),
            git_hosts: texts(draft.git_hosts),
            grant,
            issuer: text(draft.issuer),
            login_hint: text(draft.login_hint),
            redirect_uri: text(draft.redirect_uri).unwrap_or_else(|| DEFAULT_REDIRECT_URI.to_owned()),
            refresh_at_least: time(&[&draft.refresh_at_least, &globals.refresh_at_least], DEFAULT_REFRESH_AT_LEAST),
            refresh_before_expiry: time(
                &[&draft.refresh_before_expiry, &globals.refresh_before_expiry],
                DEFAULT_REFRESH_BEFORE_EXPIRY,
            ),
            refresh_retry: time(&[&draft.refresh_retry, &globals.refresh_retry], DEFAULT_REFRESH_RETRY),
            revocation_uri: text(draft.revocation_uri),
            scopes: texts(draft.scopes),
            token_uri: text(draft.token_uri)?,
            token_uri_fields: secrets(draft.token_uri_fields),
            token_uri_headers: secrets(draft.token_uri_headers),
            user: text(draft.user),
            name: name.value,
        })
    }

    fn check_mandatory(&mut self, name: &Placed<String>, draft: &Draft, grant: Grant) {
        let by_grant = match grant {
            Grant::AuthorizationCode => Some("auth_uri"),
            Grant::DeviceCode => Some("device_auth_uri"),
            Grant::ClientCredentials => None,
        };
        for option in by_grant.into_iter().chain(["client_id", "token_uri"]) {
            if !draft.seen.contains_key(option) {
                self.fault(&name.at, Mistake::Missing { option, account: name.value.clone() });
            }
        }
        if let Some(client_id) = draft.client_id.as_ref().filter(|client_id| client_id.value.is_empty()) {
            self.fault(&client_id.at, Mistake::NoClientId);
        }
    }

    fn check_fields(&mut self, draft: &Draft) {
        for (name, _) in &draft.auth_uri_fields {
            if OWN_AUTH_URI_FIELDS.contains(&name.value.as_str()) {
                self.fault(&name.at, Mistake::OwnField { name: name.value.clone() });
            }
        }
        let has_hint = draft.auth_uri_fields.iter().any(|(name, _)| name.value == "login_hint");
        if let Some(hint) = draft.login_hint.as_ref().filter(|_| has_hint) {
            self.fault(&hint.at, Mistake::LoginHintTwice);
        }
        for (name, _) in &draft.token_uri_fields {
            if REFUSED_TOKEN_URI_FIELDS.contains(&name.value.as_str()) {
                self.fault(&name.at, Mistake::RefusedField { name: name.value.clone() });
            }
        }
        for (name, value) in &draft.token_uri_headers {
            self.check_header(name, value);
        }
        for host in &draft.git_hosts {
            if uri::split_authority(&host.value).is_err() {
                self.fault(&host.at, Mistake::NotAHost);
            }
        }
    }

    fn check_header(&mut self, name: &Placed<String>, value: &Placed<Secret>) {
        let is_token = !name.value.is_empty()
            && name.value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
        if !is_token {
            self.faults.push(Fault::new(&name.at, Mistake::NotAHeader));
        } else if REFUSED_HEADERS.contains(&name.value.to_ascii_lowercase().as_str()) {
            self.fault(&name.at, Mistake::RefusedHeader { name: name.value.clone() });
        }
        if !value.value.expose().bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            self.faults.push(Fault::new(&value.at, Mistake::NotAHeaderValue));
        }
    }

    fn client_secret(&mut self, draft: &Draft, client_auth: ClientAuth) -> ClientSecret {
        let written = draft.client_secret.as_ref().filter(|secret| !secret.value.is_empty());
        if let (Some(_), Some(command)) = (written, &draft.client_secret_cmd) {
            self.faults.push(Fault::new(&command.at, Mistake::TwoSecrets));
        }
        let is_tried = written.is_some() || draft.seen.contains_key("client_secret_cmd");
        if let Some(option) = draft.client_auth.as_ref().filter(|_| client_auth == ClientAuth::Basic && !is_tried) {
            self.fault(&option.at, Mistake::NoSecret);
        }
        match (written, &draft.client_secret_cmd) {
            (Some(secret), _) => ClientSecret::Text(secret.value.clone()),
            (None, Some(command)) => ClientSecret::Command(command.value.clone()),
            (None, None) => ClientSecret::None,
        }
    }

    fn check_https_files(&mut self, globals: &Draft) {
        for (one, option, other) in
            [(&globals.https_cert, "https_cert", "https_key"), (&globals.https_key, "https_key", "https_cert")]
        {
            if let Some(file) = one.as_ref().filter(|_| !globals.seen.contains_key(other)) {
                self.fault(&file.at, Mistake::Needs { option, other });
            }
        }
    }

    /// What nobody can bind for both; whether two spellings mean one port is found out by binding them.
    fn check_ports(&mut self, globals: &Draft) {
        let (Some(http), Some(https)) = (&globals.http_listen, &globals.https_listen) else { return };
        let (Listen::Address(one), Listen::Address(other)) = (&http.value, &https.value) else { return };
        let is_fixed = uri::split_authority(one).is_ok_and(|(_, port)| port != Some(0));
        if is_fixed && one.eq_ignore_ascii_case(other) {
            let (at, other) =
                if http.at.start > https.at.start { (http, "https_listen") } else { (https, "http_listen") };
            self.fault(&at.at, Mistake::PortTwice { other });
        }
    }

    /// `redirects` are the places of the accounts' redirect URIs, where they are written.
    fn check_listeners(&mut self, globals: &Draft, accounts: &[Account], redirects: &[Option<Range<usize>>]) {
        let off = |listen: &Option<Placed<Listen>>| {
            listen.as_ref().filter(|listen| listen.value == Listen::Off).map(|listen| listen.at.clone())
        };
        let (http, https) = (off(&globals.http_listen), off(&globals.https_listen));
        let in_browser = |account: &&Account| account.grant == Grant::AuthorizationCode;
        if let (Some(http), Some(https)) = (&http, &https) {
            if let Some(account) = accounts.iter().find(in_browser) {
                let at = if http.start > https.start { http } else { https };
                self.fault(at, Mistake::BothListenersOff { account: account.name.clone() });
            }
            return;
        }
        let https_listen = globals.https_listen.as_ref().map_or(&Listen::Default, |listen| &listen.value);
        // An account that is left out for a fault of its own may be the one that makes HTTPS run.
        let has_none = self.faults.is_empty() && !https_runs(https_listen, accounts);
        for (account, redirect) in accounts.iter().zip(redirects).filter(|(account, _)| in_browser(account)) {
            let name = account.name.clone();
            if let Some(off) = http.as_ref().filter(|_| account.needs_http()) {
                let at = redirect.as_ref().unwrap_or(off);
                self.fault(at, Mistake::ListenerOff { account: name, scheme: "http" });
            } else if let Some(off) = https.as_ref().filter(|_| account.needs_https()) {
                let at = redirect.as_ref().unwrap_or(off);
                self.fault(at, Mistake::ListenerOff { account: name, scheme: "https" });
            } else if let Some(off) = http.as_ref().filter(|_| has_none) {
                self.fault(off, Mistake::NoListener { account: name });
            }
        }
    }

    fn fault(&mut self, at: &Range<usize>, mistake: Mistake) {
        self.faults.push(Fault::new(at, mistake).shown_if(true));
    }
}

/// The first of `said` that was said, else `default`.
fn time(said: &[&Option<Placed<Duration>>], default: Duration) -> Duration {
    said.iter().find_map(|said| said.as_ref()).map_or(default, |said| said.value)
}

fn listen_mistake(text: &str) -> Option<Mistake> {
    match uri::split_authority(text) {
        Ok((_, Some(_))) => None,
        Ok((_, None)) => Some(Mistake::NoPort),
        Err(_) => Some(Mistake::NotAnAddress),
    }
}

fn account_warnings(account: &Account) -> Vec<Warning> {
    let uris = [
        ("auth_uri", account.auth_uri.as_deref()),
        ("device_auth_uri", account.device_auth_uri.as_deref()),
        ("revocation_uri", account.revocation_uri.as_deref()),
        ("token_uri", Some(account.token_uri.as_str())),
    ];
    let parsed: Vec<(&str, Uri<'_>)> =
        uris.into_iter().filter_map(|(option, text)| Some((option, uri::parse(text?).ok()?))).collect();
    let name = || account.name.clone();
    let plain = parsed
        .iter()
        .filter(|(_, uri)| !uri.is_https() && !uri.is_loopback_host())
        .map(|(option, _)| Warning::PlainHttp { account: name(), option });
    let mut warnings: Vec<_> = plain.collect();
    let is_microsoft = |host: &str| MICROSOFT_HOSTS.iter().any(|known| host.eq_ignore_ascii_case(known));
    let asks_offline = account.scopes.iter().flat_map(|scope| scope.split(' ')).any(|scope| scope == "offline_access");
    let has_user = account.grant != Grant::ClientCredentials;
    if has_user && !asks_offline && parsed.iter().any(|(_, uri)| is_microsoft(uri.host)) {
        warnings.push(Warning::NoOfflineAccess { account: name() });
    }
    warnings
}
