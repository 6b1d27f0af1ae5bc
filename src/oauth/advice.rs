//! Known errors and what to do about them: one table, a row for each, one line of advice.
//!
//! The first row that fits counts, so what is special stands above what is general.

use super::{CertificateFault, Stage};
use crate::config::ClientAuth;

/// What is known about a refusal.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The OAuth error.
    pub error: &'a str,
    /// Its description.
    pub description: &'a str,
    /// HTTP status code; `None` for an error that came by the redirect.
    pub status: Option<u16>,
    /// Host of the account's token endpoint.
    pub token_host: &'a str,
    /// How the client authenticates.
    pub client_auth: ClientAuth,
    /// The redirect URI that the request named.
    pub redirect_uri: Option<&'a str>,
}

/// How a known error is told from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    /// Microsoft's number, `AADSTS` and digits, in the description or the error.
    Aadsts(u32),
    /// The OAuth error.
    Error(&'static str),
    /// The OAuth error, from a host of Google's.
    Google(&'static str),
    /// The OAuth error of a client that authenticates in this way.
    Client(&'static str, ClientAuth),
    /// A word in the error or the description.
    Word(&'static str),
}

/// Stands in the table for the redirect URI that was sent.
const REDIRECT_URI: &str = "{redirect_uri}";

/// Microsoft's number for a client that repeats a request in a loop.
const LOOPING: u32 = 50196;

const AUTHORISE_AGAIN: &str = "the refresh token has expired or was revoked: authorise again";
const DECLINED: &str = "the user or the provider declined: authorise again and accept";
const MFA: &str = "the organisation asks for a second factor: authorise again in a browser";

#[rustfmt::skip]
const TABLE: &[(Sign, &str)] = &[
    (Sign::Aadsts(50011), "register {redirect_uri} as it stands; for a loopback register http://localhost, not 127.0.0.1"),
    (Sign::Aadsts(700_025), "this is a public client: remove client_secret from the account"),
    (Sign::Aadsts(7_000_218), "add the account's client_secret, or register the application as a public client"),
    (Sign::Aadsts(7_000_215), "client_secret is wrong: it must be the secret's value, not its ID"),
    (Sign::Aadsts(7_000_222), "the client secret has expired: make a new one and put it into client_secret"),
    (Sign::Aadsts(50194), "the application is for one tenant: put the tenant's ID in place of /common in auth_uri and token_uri"),
    (Sign::Aadsts(9_002_346), "the application is for personal accounts only: use /consumers in auth_uri and token_uri"),
    (Sign::Aadsts(53003), "the organisation's conditional access forbids this login; try a browser instead of a device code"),
    (Sign::Aadsts(70043), AUTHORISE_AGAIN),
    (Sign::Aadsts(700_082), AUTHORISE_AGAIN),
    (Sign::Aadsts(50173), AUTHORISE_AGAIN),
    (Sign::Aadsts(65001), "consent is missing: authorise again and accept, or ask an administrator to consent"),
    (Sign::Aadsts(28000), "the scopes belong to several resources: make an account for each resource"),
    (Sign::Aadsts(54005), "the code was redeemed before: authorise again"),
    (Sign::Aadsts(900_144), "a parameter is missing, often scope: add it to token_uri_fields"),
    (Sign::Aadsts(9_002_327), "the application is registered as single-page: register it as native, or add Origin to token_uri_headers"),
    (Sign::Aadsts(LOOPING), "the provider found too many equal requests and pauses: wait some minutes"),
    (Sign::Aadsts(50076), MFA),
    (Sign::Aadsts(50079), MFA),
    (Sign::Aadsts(90094), "an administrator must consent to this application first"),
    (Sign::Word("client_secret is missing"), "add the account's client_secret"),
    (Sign::Word("invalid_rapt"), "the organisation asks to log in anew from time to time: authorise again"),
    (Sign::Word("org_internal"), "the application is for its own organisation only: use an account of it, or make the application external"),
    (Sign::Google("invalid_grant"), "authorise again; if this comes every week, the application is still in \"Testing\": publish it"),
    (Sign::Google("access_denied"), "if nobody declined: while the application is in \"Testing\", add this user to its test users"),
    (Sign::Error("access_denied"), DECLINED),
    (Sign::Error("authorization_declined"), DECLINED),
    (Sign::Error("redirect_uri_mismatch"), "register exactly {redirect_uri} with the provider"),
    (Sign::Client("invalid_client", ClientAuth::Post), "check client_id and client_secret; some providers want client_auth = \"basic\""),
    (Sign::Client("invalid_client", ClientAuth::Basic), "check client_id and client_secret; some providers want client_auth = \"post\""),
    (Sign::Error("unauthorized_client"), "this grant is not enabled for the client: enable it with the provider"),
    (Sign::Error("unsupported_grant_type"), "this grant is not enabled for the client: enable it with the provider"),
    (Sign::Error("device_flow_disabled"), "the device grant is not enabled for the client: enable it with the provider"),
    (Sign::Error("incorrect_client_credentials"), "check client_id and client_secret"),
    (Sign::Error("invalid_scope"), "a scope is misspelt, or not granted to this client: check scopes"),
    (Sign::Error("expired_token"), "the user code was not entered in time: ask for a new one"),
    (Sign::Error("bad_refresh_token"), "the refresh token has expired or was used before: authorise again"),
];

/// One line of advice, where the error is a known one.
pub fn advise(context: &Context) -> Option<String> {
    let (_, advice) = TABLE.iter().find(|(sign, _)| sign.fits(context))?;
    Some(advice.replace(REDIRECT_URI, context.redirect_uri.unwrap_or("the account's redirect_uri")))
}

/// One line of advice for a request that got no answer.
pub fn advise_broken(stage: Stage) -> Option<&'static str> {
    match stage {
        Stage::Certificate(CertificateFault::UnknownIssuer) => {
            Some("if the certificate is of a private authority, name its PEM file in ca_file")
        }
        Stage::Certificate(CertificateFault::Expired) => {
            Some("the provider must renew its certificate, or this machine's clock is wrong")
        }
        Stage::Certificate(CertificateFault::WrongName) => Some("check this host in pizauth.conf"),
        Stage::Proxy => Some("check the proxy that the environment of the server names"),
        Stage::ProxySetting => Some("correct the proxy setting and start the server again"),
        Stage::Certificate(CertificateFault::Other)
        | Stage::NotStarted
        | Stage::Resolve
        | Stage::Connect
        | Stage::Tls
        | Stage::Sent => None,
    }
}

/// Whether Microsoft says that the client loops.
pub fn is_looping(text: &str) -> bool {
    aadsts(text).any(|number| number == LOOPING)
}

impl Sign {
    fn fits(self, context: &Context) -> bool {
        let told = [context.description, context.error];
        match self {
            Sign::Aadsts(number) => told.iter().any(|text| aadsts(text).any(|other| other == number)),
            Sign::Error(error) => error == context.error,
            Sign::Google(error) => error == context.error && is_google(context.token_host),
            Sign::Client(error, client_auth) => error == context.error && client_auth == context.client_auth,
            Sign::Word(word) => told.iter().any(|text| text.contains(word)),
        }
    }
}

fn is_google(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    ["google.com", "googleapis.com"]
        .iter()
        .any(|domain| host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}

/// The numbers that follow `AADSTS`.
fn aadsts(text: &str) -> impl Iterator<Item = u32> + '_ {
    text.split("AADSTS").skip(1).filter_map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest.get(..end)?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::text::is_plain;

    fn context<'a>(error: &'a str, description: &'a str, token_host: &'a str) -> Context<'a> {
        let redirect_uri = Some("http://localhost:1234/");
        Context { error, description, status: Some(400), token_host, client_auth: ClientAuth::Post, redirect_uri }
    }

    #[test]
    fn every_known_error_has_its_advice() {
        let (elsewhere, google) = ("login.example.org", "oauth2.googleapis.com");
        for (error, description, host, want) in [
            ("invalid_request", "AADSTS50011: The redirect URI ...", elsewhere, "http://localhost:1234/"),
            ("invalid_client", "AADSTS700025: Client is public", elsewhere, "remove client_secret"),
            ("invalid_client", "AADSTS7000218: The request body", elsewhere, "add the account's client_secret"),
            ("invalid_client", "AADSTS7000215: Invalid client secret", elsewhere, "not its ID"),
            ("invalid_client", "AADSTS7000222: expired", elsewhere, "secret has expired"),
            ("invalid_request", "AADSTS50194: not multi-tenant", elsewhere, "/common"),
            ("invalid_request", "AADSTS9002346: consumers", elsewhere, "/consumers"),
            ("invalid_grant", "AADSTS53003: blocked", elsewhere, "conditional access"),
            ("invalid_grant", "AADSTS70043: expired", elsewhere, "authorise again"),
            ("invalid_grant", "AADSTS700082: expired", elsewhere, "authorise again"),
            ("invalid_grant", "AADSTS50173: revoked", elsewhere, "authorise again"),
            ("invalid_grant", "AADSTS65001: no consent", elsewhere, "consent is missing"),
            ("invalid_request", "AADSTS28000: several", elsewhere, "account for each resource"),
            ("invalid_grant", "AADSTS54005: redeemed", elsewhere, "redeemed before"),
            ("invalid_request", "AADSTS900144: must contain", elsewhere, "token_uri_fields"),
            ("invalid_request", "AADSTS9002327: Single-Page", elsewhere, "token_uri_headers"),
            ("invalid_grant", "AADSTS50196: loop", elsewhere, "wait some minutes"),
            ("invalid_grant", "AADSTS50076: MFA", elsewhere, "second factor"),
            ("invalid_grant", "AADSTS50079: MFA", elsewhere, "second factor"),
            ("invalid_grant", "AADSTS90094: admin", elsewhere, "administrator"),
            ("invalid_grant", "Bad Request", google, "\"Testing\""),
            ("invalid_grant", "", "accounts.google.com", "\"Testing\""),
            ("invalid_grant", "reauth related error (invalid_rapt)", google, "log in anew"),
            ("org_internal", "", google, "its own organisation"),
            ("access_denied", "", google, "test users"),
            ("access_denied", "", elsewhere, "declined"),
            ("authorization_declined", "", elsewhere, "declined"),
            ("invalid_request", "client_secret is missing.", google, "add the account's client_secret"),
            ("redirect_uri_mismatch", "", google, "register exactly http://localhost:1234/"),
            ("invalid_client", "", elsewhere, "client_auth = \"basic\""),
            ("unauthorized_client", "", elsewhere, "not enabled"),
            ("unsupported_grant_type", "", elsewhere, "not enabled"),
            ("device_flow_disabled", "", "github.com", "not enabled"),
            ("incorrect_client_credentials", "", "github.com", "check client_id"),
            ("invalid_scope", "", elsewhere, "misspelt"),
            ("expired_token", "", elsewhere, "new one"),
            ("bad_refresh_token", "", "github.com", "expired or was used"),
        ] {
            let advice = advise(&context(error, description, host)).unwrap_or_default();
            assert!(advice.contains(want), "{error} {description}: {advice}");
            assert!(is_plain(&advice) && !advice.ends_with('.'), "{advice}");
        }
    }

    #[test]
    fn unknown_errors_have_none() {
        for (name, error, description, host) in [
            ("an unknown code", "moon_phase", "", "oauth2.googleapis.com"),
            ("an unknown number", "x", "AADSTS1: one", "login.microsoftonline.com"),
            ("a number that begins like a known one", "x", "AADSTS500110", "login.microsoftonline.com"),
            ("a number beyond all", "x", "AADSTS99999999999999999999", "login.microsoftonline.com"),
            ("no number", "x", "AADSTS", "login.microsoftonline.com"),
            ("elsewhere", "invalid_grant", "", "login.example.org"),
            ("a name that looks alike", "invalid_grant", "", "notgoogle.com"),
        ] {
            assert_eq!(advise(&context(error, description, host)), None, "{name}");
        }
    }

    #[test]
    fn the_other_client_auth_is_advised() {
        let basic = Context { client_auth: ClientAuth::Basic, ..context("invalid_client", "", "a.example") };
        assert!(advise(&basic).is_some_and(|advice| advice.contains("client_auth = \"post\"")));
    }

    #[test]
    fn no_row_hides_another() {
        for (place, (sign, _)) in TABLE.iter().enumerate() {
            assert!(!TABLE[..place].iter().any(|(other, _)| other == sign), "{sign:?}");
        }
    }
}
