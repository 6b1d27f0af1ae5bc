//! What an error means for the token that is there (RFC 6749 s5.2), and the one line that tells it.

use std::{fmt::Write as _, time::Duration};

use super::{
    Broken, Reply, advice,
    fields::Fields,
    retry_after::retry_after,
    text::{self, Mask},
    uri,
};
use crate::{config::Account, engine::WallTime, secret::Secret};

/// What was asked, for the messages about its answer.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The account it was asked for.
    pub account: &'a Account,
    /// The redirect URI that the request named, where it named one.
    pub redirect_uri: Option<&'a str>,
    /// The secrets that the request held, and the tokens that are there.
    pub mask: &'a Mask,
}

/// A request that brought no tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What it means.
    pub kind: FailureKind,
    /// HTTP status code, where there was an answer.
    pub status: Option<u16>,
    /// The OAuth error, fit to be shown.
    pub error: Option<String>,
    /// One line, fit to be shown: error, description, `error_uri`, status, advice.
    pub message: String,
    /// Came with an access token that cannot be used; it replaces the old one.
    pub refresh_token: Option<Secret>,
}

/// What a failure means for the token that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// Keep everything and try again.
    Transient {
        /// Not before this time.
        retry_after: Option<Duration>,
    },
    /// Like `Transient`, but the first time after [`LOOPING_PAUSE`]: the provider found that the client loops.
    Looping {
        /// Not before this time either.
        retry_after: Option<Duration>,
    },
    /// The grant has ended: the user must authorise again.
    GrantEnded,
    /// Refused for another reason: the refresh token may still be good.
    Refused,
    /// Neither tokens nor an OAuth error: keep the refresh token and try again.
    Unexpected {
        /// Not before this time.
        retry_after: Option<Duration>,
    },
}

/// First pause after the provider found that the client loops.
pub const LOOPING_PAUSE: Duration = Duration::from_secs(600);

/// Tells why a request got no answer. Always transient: nothing was said about the token.
pub fn read_broken(asked: &Asked, broken: &Broken) -> Failure {
    let mut message = text::clean(&broken.detail, asked.mask);
    if let Some(advice) = advice::advise_broken(broken.stage) {
        let _ = write!(message, "; {advice}");
    }
    let kind = FailureKind::Transient { retry_after: None };
    Failure { kind, status: None, error: None, message, refresh_token: None }
}

impl Failure {
    /// A refusal that names an OAuth error.
    pub(super) fn refused(
        asked: &Asked,
        error: &str,
        description: Option<&str>,
        error_uri: Option<&str>,
        status: Option<u16>,
    ) -> Failure {
        let error = text::clean(error, asked.mask);
        let description = text::clean(description.unwrap_or_default(), asked.mask);
        let error_uri = text::clean(error_uri.unwrap_or_default(), asked.mask);
        let mut message = error.clone();
        if !description.is_empty() && description != error {
            let _ = write!(message, ": {description}");
        }
        if !error_uri.is_empty() {
            let _ = write!(message, " (see {error_uri})");
        }
        if let Some(status) = status {
            let _ = write!(message, " (HTTP status {status})");
        }
        let token_host = uri::parse(&asked.account.token_uri).map_or("", |parts| parts.host);
        let context = advice::Context {
            error: &error,
            description: &description,
            status,
            token_host,
            client_auth: asked.account.client_auth,
            redirect_uri: asked.redirect_uri,
        };
        if let Some(advice) = advice::advise(&context) {
            let _ = write!(message, "; {advice}");
        }
        Failure { kind: FailureKind::Refused, status, error: Some(error), message, refresh_token: None }
    }
}

/// An answer's OAuth error, whatever the status; `None` where it has none.
pub(super) fn read_error(asked: &Asked, fields: &Fields, reply: &Reply, now: WallTime) -> Option<Failure> {
    let error = fields.told("error")?;
    let description = fields.told("error_description");
    let error_uri = fields.told("error_uri");
    let looping = [Some(&error), description.as_ref()].into_iter().flatten().any(|text| advice::is_looping(text));
    let kind = classify(reply, &error, looping, now);
    let failure = Failure::refused(asked, &error, description.as_deref(), error_uri.as_deref(), Some(reply.status));
    Some(Failure { kind, ..failure })
}

fn classify(reply: &Reply, error: &str, looping: bool, now: WallTime) -> FailureKind {
    let retry_after = retry_after(reply, now);
    if looping {
        return FailureKind::Looping { retry_after };
    }
    if is_transient_status(reply.status) {
        return FailureKind::Transient { retry_after };
    }
    match error {
        "temporarily_unavailable" | "server_error" | "slow_down" => FailureKind::Transient { retry_after },
        "invalid_grant" | "bad_refresh_token" | "invalid_refresh_token" => FailureKind::GrantEnded,
        "interaction_required" | "login_required" | "consent_required" => FailureKind::GrantEnded,
        "invalid_token" if reply.status == 401 => FailureKind::GrantEnded,
        _ => FailureKind::Refused,
    }
}

fn is_transient_status(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..)
}

/// An answer that has neither what was `wanted` nor an OAuth error.
pub(super) fn unexpected(asked: &Asked, reply: &Reply, now: WallTime, wanted: &str) -> Failure {
    let retry_after = retry_after(reply, now);
    let status = reply.status;
    let (kind, mut message) = match status {
        200..300 => (
            FailureKind::Transient { retry_after },
            format!(
                "the answer holds no {wanted} (HTTP status {status}); a login page of the network may stand between"
            ),
        ),
        300..400 => {
            let location = reply.location.as_deref().filter(|location| !location.trim().is_empty());
            let target = text::clean(location.unwrap_or("an unnamed place"), asked.mask);
            let message =
                format!("redirected to {target}, which is not followed (HTTP status {status}); check the URI");
            (FailureKind::Unexpected { retry_after }, message)
        }
        _ if is_transient_status(status) => {
            (FailureKind::Transient { retry_after }, format!("the provider cannot answer now (HTTP status {status})"))
        }
        _ => (FailureKind::Unexpected { retry_after }, format!("refused without a reason (HTTP status {status})")),
    };
    if let Some(pause) = retry_after {
        let _ = write!(message, "; it asks to wait {} s", pause.as_secs());
    }
    Failure { kind, status: Some(status), error: None, message, refresh_token: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::{
        CertificateFault, Stage,
        answer::{Tokens, read_answer},
        testing::{account, reply},
    };

    /// 2026-01-01 00:00 UTC.
    const NOW: WallTime = WallTime::from_secs(1_767_225_600);
    const TRANSIENT: FailureKind = FailureKind::Transient { retry_after: None };
    const UNEXPECTED: FailureKind = FailureKind::Unexpected { retry_after: None };
    const LOOPING: FailureKind = FailureKind::Looping { retry_after: None };

    fn read(reply: &Reply) -> Result<Tokens, Failure> {
        let mut mask = Mask::default();
        mask.add(&Secret::from("s3cret"));
        let asked = Asked { account: &account(), redirect_uri: None, mask: &mask };
        read_answer(&asked, reply, NOW)
    }

    #[test]
    fn failures_are_told_apart() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        for (name, status, body, want) in [
            ("invalid_grant", 400, r#"{"error":"invalid_grant"}"#, FailureKind::GrantEnded),
            ("invalid_grant with 401", 401, r#"{"error":"invalid_grant"}"#, FailureKind::GrantEnded),
            ("invalid_grant with 403", 403, r#"{"error":"invalid_grant"}"#, FailureKind::GrantEnded),
            ("invalid_grant with 200", 200, r#"{"error":"invalid_grant"}"#, FailureKind::GrantEnded),
            ("invalid_grant form-encoded", 200, "error=invalid_grant&error_description=a+b", FailureKind::GrantEnded),
            ("bad_refresh_token", 200, r#"{"error":"bad_refresh_token"}"#, FailureKind::GrantEnded),
            ("invalid_refresh_token", 400, r#"{"error":"invalid_refresh_token"}"#, FailureKind::GrantEnded),
            ("interaction_required", 400, r#"{"error":"interaction_required"}"#, FailureKind::GrantEnded),
            ("login_required", 400, r#"{"error":"login_required"}"#, FailureKind::GrantEnded),
            ("consent_required", 400, r#"{"error":"consent_required"}"#, FailureKind::GrantEnded),
            ("invalid_token with 401", 401, r#"{"error":"invalid_token"}"#, FailureKind::GrantEnded),
            ("invalid_token with 400", 400, r#"{"error":"invalid_token"}"#, FailureKind::Refused),
            ("invalid_client", 401, r#"{"error":"invalid_client"}"#, FailureKind::Refused),
            ("unauthorized_client", 400, r#"{"error":"unauthorized_client"}"#, FailureKind::Refused),
            (
                "Microsoft's further fields",
                400,
                r#"{"error":"invalid_grant","error_description":"AADSTS700082: expired","error_codes":[700082],
                    "timestamp":"2026-01-01 00:00:00Z","trace_id":"t","correlation_id":"c","suberror":"bad_token"}"#,
                FailureKind::GrantEnded,
            ),
            ("an unknown code", 400, r#"{"error":"moon_phase"}"#, FailureKind::Refused),
            ("an error that is an object", 400, r#"{"error":{"code":400,"message":"m"}}"#, FailureKind::Refused),
            ("an error that is a number", 400, r#"{"error":17}"#, FailureKind::Refused),
            ("an error beside a token", 200, r#"{"access_token":"at","error":"moon_phase"}"#, FailureKind::Refused),
            ("an error with a redirect", 302, r#"{"error":"moon_phase"}"#, FailureKind::Refused),
            ("temporarily_unavailable", 400, r#"{"error":"temporarily_unavailable"}"#, TRANSIENT),
            ("server_error", 400, r#"{"error":"server_error"}"#, TRANSIENT),
            ("slow_down", 400, r#"{"error":"slow_down"}"#, TRANSIENT),
            ("408 wins", 408, r#"{"error":"invalid_grant"}"#, TRANSIENT),
            ("425 wins", 425, r#"{"error":"invalid_grant"}"#, TRANSIENT),
            ("429 wins", 429, r#"{"error":"invalid_grant"}"#, TRANSIENT),
            ("500 wins", 500, r#"{"error":"invalid_grant"}"#, TRANSIENT),
            ("503 wins", 503, r#"{"error":"invalid_client"}"#, TRANSIENT),
            ("HTML with 200", 200, "<html><a href=\"?error=invalid_grant\">log in</a></html>", TRANSIENT),
            ("text with 200", 200, "OK", TRANSIENT),
            ("nothing with 200", 200, "", TRANSIENT),
            ("nothing with 204", 204, "", TRANSIENT),
            ("JSON without token", 200, r#"{"hello":"world"}"#, TRANSIENT),
            ("a list", 200, r#"["access_token","at"]"#, TRANSIENT),
            ("an empty token", 200, r#"{"access_token":""}"#, TRANSIENT),
            ("a token that is a number", 200, r#"{"access_token":1}"#, TRANSIENT),
            ("JSON cut short", 200, r#"{"access_token":"at","expi"#, TRANSIENT),
            ("nothing but nesting", 200, &deep, TRANSIENT),
            ("HTML with 429", 429, "<html>", TRANSIENT),
            ("HTML with 500", 500, "<html>", TRANSIENT),
            ("HTML with 502", 502, "<html>", TRANSIENT),
            ("a status beyond all", 999, "", TRANSIENT),
            ("a redirect", 302, "", UNEXPECTED),
            ("404 without an error", 404, "<html>", UNEXPECTED),
            ("400 without an error", 400, r#"{"message":"no"}"#, UNEXPECTED),
            ("400 with a token", 400, r#"{"access_token":"at"}"#, UNEXPECTED),
            ("a looping client", 400, r#"{"error":"invalid_grant","error_description":"AADSTS50196: loop"}"#, LOOPING),
            ("whatever carries it", 503, r#"{"error":"x","error_description":"AADSTS50196"}"#, LOOPING),
            (
                "a longer number",
                400,
                r#"{"error":"invalid_grant","error_description":"AADSTS501961"}"#,
                FailureKind::GrantEnded,
            ),
            ("token_type DPoP", 200, r#"{"access_token":"at","token_type":"DPoP"}"#, FailureKind::Refused),
            ("token_type mac", 200, r#"{"access_token":"at","token_type":"mac"}"#, FailureKind::Refused),
            ("token_type a list", 200, r#"{"access_token":"at","token_type":["Bearer"]}"#, FailureKind::Refused),
            ("a blank in the token", 200, r#"{"access_token":"a t"}"#, FailureKind::Refused),
            ("a line break in the token", 200, r#"{"access_token":"at\n"}"#, FailureKind::Refused),
            ("a control character of C1", 200, "{\"access_token\":\"a\u{85}t\"}", FailureKind::Refused),
        ] {
            let failure = read(&reply(status, body)).expect_err(name);
            assert_eq!(failure.kind, want, "{name}");
            assert_eq!(failure.status, Some(status), "{name}");
            assert!(failure.message.contains(&status.to_string()) && text::is_plain(&failure.message), "{name}");
        }
    }

    #[test]
    fn messages_carry_what_the_provider_said() {
        let long = format!(r#"{{"error":"e","error_description":"{}"}}"#, "x".repeat(2000));
        for (name, status, body, want) in [
            ("an unknown code", 400, r#"{"error":"moon_phase"}"#, "moon_phase (HTTP status 400)"),
            (
                "all of it",
                400,
                r#"{"error":"moon_phase","error_description":"Not now.","error_uri":"https://a.example/e"}"#,
                "moon_phase: Not now. (see https://a.example/e) (HTTP status 400)",
            ),
            (
                "the same twice",
                400,
                r#"{"error":"moon_phase","error_description":"moon_phase"}"#,
                "moon_phase (HTTP status 400)",
            ),
            (
                "line breaks and escape sequences",
                400,
                r#"{"error":"moon_phase","error_description":"a\r\nb\u001b[2Jc\u2028d"}"#,
                "moon_phase: a b[2Jc d (HTTP status 400)",
            ),
            (
                "a secret sent back",
                400,
                r#"{"error":"moon_phase","error_description":"token s3cret is no good"}"#,
                "moon_phase: token *** is no good (HTTP status 400)",
            ),
            (
                "an object",
                400,
                "{\"error\": {\"code\": 400,\n \"message\": \"s3cret\"}}",
                "{\"code\":400,\"message\":\"***\"} (HTTP status 400)",
            ),
            ("a long description", 400, &long, &format!("e: {} (HTTP status 400)", "x".repeat(500))),
            (
                "form-encoded",
                200,
                "error=moon_phase&error_description=Not+now.",
                "moon_phase: Not now. (HTTP status 200)",
            ),
            (
                "a token type",
                200,
                r#"{"access_token":"at","token_type":"DPoP"}"#,
                "the token is of type DPoP, but only Bearer tokens can be used (HTTP status 200)",
            ),
        ] {
            assert_eq!(read(&reply(status, body)).expect_err(name).message, want, "{name}");
        }
        let redirect = Reply { location: Some("https://b.example/s3cret\r\n".to_owned()), ..reply(307, "") };
        let message = read(&redirect).expect_err("a redirect").message;
        assert!(message.contains("https://b.example/***, which is not followed"), "{message}");
        for location in [None, Some(""), Some(" ")] {
            let redirect = Reply { location: location.map(str::to_owned), ..reply(302, "") };
            let message = read(&redirect).expect_err("a redirect").message;
            assert!(message.starts_with("redirected to an unnamed place, "), "{location:?}: {message}");
        }
    }

    #[test]
    fn retry_after_is_kept_with_every_failure_that_is_tried_again() {
        let retry_after = Some(Duration::from_secs(120));
        for (name, status, body, want) in [
            ("429", 429, "", FailureKind::Transient { retry_after }),
            ("503 with an error", 503, r#"{"error":"invalid_grant"}"#, FailureKind::Transient { retry_after }),
            ("a page", 200, "<html>", FailureKind::Transient { retry_after }),
            ("404", 404, "", FailureKind::Unexpected { retry_after }),
            ("a loop", 400, r#"{"error":"AADSTS50196"}"#, FailureKind::Looping { retry_after }),
            ("a refusal", 400, r#"{"error":"invalid_client"}"#, FailureKind::Refused),
        ] {
            let reply = Reply { retry_after: Some("120".to_owned()), ..reply(status, body) };
            assert_eq!(read(&reply).expect_err(name).kind, want, "{name}");
        }
    }

    #[test]
    fn a_request_without_answer_is_transient_and_told() {
        let mask = Mask::default();
        let asked = Asked { account: &account(), redirect_uri: None, mask: &mask };
        for (name, stage, want) in [
            ("look-up", Stage::Resolve, "detail"),
            ("time-out", Stage::Sent, "detail"),
            ("unknown issuer", Stage::Certificate(CertificateFault::UnknownIssuer), "ca_file"),
            ("expired", Stage::Certificate(CertificateFault::Expired), "clock"),
            ("wrong name", Stage::Certificate(CertificateFault::WrongName), "pizauth.conf"),
            ("proxy", Stage::Proxy, "proxy"),
        ] {
            let failure = read_broken(&asked, &Broken { stage, detail: "detail".to_owned() });
            assert_eq!((failure.kind, failure.status), (TRANSIENT, None), "{name}");
            assert!(failure.message.starts_with("detail") && failure.message.contains(want), "{name}");
        }
    }

    #[test]
    fn advice_follows_what_the_provider_said() {
        let mask = Mask::default();
        let asked = Asked { account: &account(), redirect_uri: Some("http://localhost:1/"), mask: &mask };
        let failure = Failure::refused(&asked, "redirect_uri_mismatch", None, None, None);
        assert_eq!(failure.message, "redirect_uri_mismatch; register exactly http://localhost:1/ with the provider");
    }
}
