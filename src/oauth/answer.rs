//! The one reader of token answers (RFC 6749 s5), and what a failure means for the token that is there.

use std::{fmt::Write as _, time::Duration};

use super::{
    Broken, Reply, advice,
    fields::Fields,
    retry_after::retry_after,
    text::{self, Mask},
    uri,
};
use crate::{config::Account, engine::WallTime, secret::Secret};

/// From this number of seconds on, `expires` is a point in time and no life: thirty years.
const POINT_IN_TIME: Duration = Duration::from_secs(1_000_000_000);

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

/// A successful token answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// Printable ASCII without blanks.
    pub access_token: Secret,
    /// `None`: the old one stays (RFC 6749 s6).
    pub refresh_token: Option<Secret>,
    /// Life of the access token, at most a hundred years; `None` where the provider says nothing usable.
    pub expires_in: Option<Duration>,
    /// When the provider wants it to be refreshed.
    pub refresh_in: Option<Duration>,
    /// Life of the refresh token.
    pub refresh_token_expires_in: Option<Duration>,
    /// What was granted, where the provider tells.
    pub scope: Option<String>,
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

/// Decides what a token endpoint's answer means (RFC 6749 s5.1, s5.2).
///
/// A success that is no token answer is transient: it is a captive portal far more often than a broken server.
pub fn read_answer(asked: &Asked, reply: &Reply, now: WallTime) -> Result<Tokens, Failure> {
    let fields = Fields::from_reply(reply);
    if let Some(failure) = fields.as_ref().and_then(|fields| read_error(asked, fields, reply, now)) {
        return Err(failure);
    }
    if !(200..300).contains(&reply.status) {
        return Err(unexpected(asked, reply, now, "token"));
    }
    match fields.as_ref().and_then(|fields| Some((fields, fields.text("access_token")?))) {
        Some((fields, access_token)) => read_tokens(asked, reply, fields, access_token, now),
        None => Err(unexpected(asked, reply, now, "token")),
    }
}

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
            let target = text::clean(reply.location.as_deref().unwrap_or("an unnamed place"), asked.mask);
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

fn read_tokens(
    asked: &Asked,
    reply: &Reply,
    fields: &Fields,
    access_token: &Secret,
    now: WallTime,
) -> Result<Tokens, Failure> {
    let refresh_token = fields.text("refresh_token").cloned();
    let refuse = |error: String| {
        let message = format!("{error} (HTTP status {})", reply.status);
        let kind = FailureKind::Refused;
        Failure { kind, status: Some(reply.status), error: None, message, refresh_token: refresh_token.clone() }
    };
    if let Some(token_type) = fields.told("token_type").filter(|name| !name.eq_ignore_ascii_case("bearer")) {
        let token_type = text::clean(&token_type, asked.mask);
        return Err(refuse(format!("the token is of type {token_type}, but only Bearer tokens can be used")));
    }
    if !access_token.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(refuse("the access token has characters that no access token may have".to_owned()));
    }
    Ok(Tokens {
        access_token: access_token.clone(),
        expires_in: fields.seconds("expires_in").or_else(|| expires(fields, now)),
        refresh_in: fields.seconds("refresh_in"),
        refresh_token_expires_in: fields.seconds("refresh_token_expires_in"),
        scope: fields.texts("scope").map(|scope| text::one_line(&scope.join(" "))).filter(|scope| !scope.is_empty()),
        refresh_token,
    })
}

/// `expires`, which some send instead of `expires_in`: a life, or a point in time.
fn expires(fields: &Fields, now: WallTime) -> Option<Duration> {
    let expires = fields.seconds("expires")?;
    if expires < POINT_IN_TIME {
        return Some(expires);
    }
    Some(WallTime::new(expires).since(now)).filter(|life| !life.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::{
        CertificateFault, Stage,
        testing::{account, mutations, reply},
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

    fn tokens(expires_in: Option<u64>) -> Tokens {
        Tokens {
            access_token: Secret::from("at"),
            refresh_token: None,
            expires_in: expires_in.map(Duration::from_secs),
            refresh_in: None,
            refresh_token_expires_in: None,
            scope: None,
        }
    }

    #[test]
    fn successful_answers_are_read() {
        let hour = || tokens(Some(3600));
        let with_scope = |scope: &str| Tokens { scope: Some(scope.to_owned()), ..hour() };
        let deep = format!(r#"{{"access_token":"at","x":{}{},"expires_in":3600}}"#, "[".repeat(5000), "]".repeat(5000));
        for (name, body, want) in [
            ("plain", r#"{"access_token":"at","token_type":"Bearer","expires_in":3600}"#, hour()),
            ("expires_in as a string", r#"{"access_token":"at","expires_in":"3600"}"#, hour()),
            ("expires_in as a float", r#"{"access_token":"at","expires_in":3600.9}"#, hour()),
            ("expires_in as a float in a string", r#"{"access_token":"at","expires_in":"3600.0"}"#, hour()),
            ("expires_in null", r#"{"access_token":"at","expires_in":null}"#, tokens(None)),
            ("expires_in missing", r#"{"access_token":"at"}"#, tokens(None)),
            ("expires_in 0", r#"{"access_token":"at","expires_in":0}"#, tokens(None)),
            ("expires_in below one", r#"{"access_token":"at","expires_in":0.5}"#, tokens(None)),
            ("expires_in negative", r#"{"access_token":"at","expires_in":-1}"#, tokens(None)),
            ("expires_in no number", r#"{"access_token":"at","expires_in":"soon"}"#, tokens(None)),
            ("expires_in a list", r#"{"access_token":"at","expires_in":[3600]}"#, tokens(None)),
            (
                "expires_in huge",
                r#"{"access_token":"at","expires_in":9223372036854775807}"#,
                tokens(Some(3_153_600_000)),
            ),
            (
                "beyond all integers",
                r#"{"access_token":"at","expires_in":99999999999999999999999}"#,
                tokens(Some(3_153_600_000)),
            ),
            ("beyond all numbers", r#"{"access_token":"at","expires_in":1e999}"#, tokens(Some(3_153_600_000))),
            ("expires instead", r#"{"access_token":"at","expires":"3600"}"#, hour()),
            ("expires as a point in time", r#"{"access_token":"at","expires":1767229200}"#, hour()),
            ("expires in the past", r#"{"access_token":"at","expires":1767225599}"#, tokens(None)),
            ("expires_in before expires", r#"{"access_token":"at","expires_in":3600,"expires":1}"#, hour()),
            (
                "Microsoft's and Google's further fields",
                r#"{"token_type":"Bearer","scope":"a b","expires_in":3600,"ext_expires_in":7200,"refresh_in":1800,
                    "refresh_token_expires_in":604799,"foci":"1","id_token":"x.y.z","access_token":"at","refresh_token":"rt"}"#,
                Tokens {
                    refresh_token: Some(Secret::from("rt")),
                    refresh_in: Some(Duration::from_secs(1800)),
                    refresh_token_expires_in: Some(Duration::from_secs(604_799)),
                    ..with_scope("a b")
                },
            ),
            ("token_type bearer", r#"{"access_token":"at","token_type":"bearer","expires_in":3600}"#, hour()),
            ("token_type BEARER", r#"{"access_token":"at","token_type":"BEARER","expires_in":3600}"#, hour()),
            ("token_type null", r#"{"access_token":"at","token_type":null,"expires_in":3600}"#, hour()),
            ("scope a list", r#"{"access_token":"at","scope":["a","b"],"expires_in":3600}"#, with_scope("a b")),
            ("scope with commas", r#"{"access_token":"at","scope":"a,b","expires_in":3600}"#, with_scope("a,b")),
            ("scope empty", r#"{"access_token":"at","scope":"","expires_in":3600}"#, hour()),
            ("scope an object", r#"{"access_token":"at","scope":{"a":1},"expires_in":3600}"#, hour()),
            (
                "scope with escape sequences",
                r#"{"access_token":"at","scope":"a\u001b\nb","expires_in":3600}"#,
                with_scope("a b"),
            ),
            ("refresh_token null", r#"{"access_token":"at","refresh_token":null,"expires_in":3600}"#, hour()),
            ("refresh_token empty", r#"{"access_token":"at","refresh_token":"","expires_in":3600}"#, hour()),
            ("refresh_token no text", r#"{"access_token":"at","refresh_token":1,"expires_in":3600}"#, hour()),
            ("error null", r#"{"access_token":"at","error":null,"expires_in":3600}"#, hour()),
            ("error empty", r#"{"access_token":"at","error":"","expires_in":3600}"#, hour()),
            ("form-encoded", "access_token=at&token_type=bearer&expires_in=3600&scope=a%20b", with_scope("a b")),
            ("form-encoded with expires", "access_token=at&expires=3600\n", hour()),
            ("byte order mark", "\u{feff}{\"access_token\":\"at\",\"expires_in\":3600}", hour()),
            ("duplicate keys", r#"{"access_token":"x","access_token":"at","expires_in":1,"expires_in":3600}"#, hour()),
            ("deep nesting beside it", &deep, hour()),
            ("half a surrogate beside it", r#"{"access_token":"at","x":"\ud800","expires_in":3600}"#, hour()),
        ] {
            assert_eq!(read(&reply(200, body)), Ok(want), "{name}");
        }
        assert!(read(&reply(201, r#"{"access_token":"at"}"#)).is_ok());
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
    fn a_refresh_token_beside_an_unusable_access_token_is_kept() {
        for (name, body) in [
            ("control character", r#"{"access_token":"a\u0000t","refresh_token":"rt"}"#),
            ("token_type", r#"{"access_token":"at","token_type":"DPoP","refresh_token":"rt"}"#),
        ] {
            let failure = read(&reply(200, body)).expect_err(name);
            assert_eq!(failure.refresh_token, Some(Secret::from("rt")), "{name}");
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
            ("wrong name", Stage::Certificate(CertificateFault::WrongName), "token_uri"),
            ("proxy", Stage::Proxy, "proxy"),
        ] {
            let failure = read_broken(&asked, &Broken { stage, detail: "detail".to_owned() });
            assert_eq!((failure.kind, failure.status), (TRANSIENT, None), "{name}");
            assert!(failure.message.starts_with("detail") && failure.message.contains(want), "{name}");
        }
    }

    #[test]
    fn no_answer_makes_the_reader_panic() {
        let seeds = [
            r#"{"access_token":"at","refresh_token":"rt","expires_in":3600,"scope":["a"],"token_type":"Bearer"}"#,
            r#"{"error":"invalid_grant","error_description":"AADSTS50196: x","error_uri":"https://a"}"#,
            "access_token=at&expires_in=3600&error=a%20b",
        ];
        mutations(&seeds, |bytes| {
            for status in [200, 302, 400] {
                let _ = read(&reply(status, bytes));
            }
        });
    }
}
