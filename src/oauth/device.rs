//! The device authorization grant (RFC 8628): what is asked for, what is shown to the user, and what a poll brings.

use std::time::Duration;

use super::{
    Call, Reply,
    answer::{self, Tokens},
    failure::{self, Asked, Failure, FailureKind},
    fields::Fields,
    form::Form,
    retry_after::retry_after,
    token, uri,
};
use crate::{config::Account, engine::WallTime, secret::Secret};

/// Pause between two polls where the provider names none (RFC 8628 s3.2).
const DEFAULT_INTERVAL: Duration = Duration::from_secs(5);

/// Longest pause between two polls that is believed.
const MAX_INTERVAL: Duration = Duration::from_secs(3600);

/// Life of a device code where the provider names none, which it must.
const DEFAULT_EXPIRES_IN: Duration = Duration::from_secs(900);

/// Longest user code that is shown, in characters: people have to type it.
const MAX_USER_CODE: usize = 64;

/// Longest verification URI that is shown, in bytes.
const MAX_URI: usize = 2048;

/// What a device authorization endpoint gave (RFC 8628 s3.2), checked so that it can be shown and opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceAuthorization {
    /// What polls present.
    pub device_code: Secret,
    /// What the user enters; short and printable.
    pub user_code: String,
    /// Where the user enters it; an absolute http or https URI.
    pub verification_uri: String,
    /// The same with the code in it, where the provider offers that and it is fit to be opened.
    pub verification_uri_complete: Option<String>,
    /// Life of both codes.
    pub expires_in: Duration,
    /// Pause between two polls.
    pub interval: Duration,
}

/// A poll that brought no tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PollFailure {
    /// The user has not finished: poll again after the interval.
    Pending,
    /// Poll again after the interval, which is 5 s longer from now on (RFC 8628 s3.5).
    SlowDown {
        /// How much the next pause is longer than the interval, where the provider names a time.
        retry_after: Option<Duration>,
    },
    /// Anything else. Transient ones do not end the authorization; `expired_token` and `access_denied` do.
    Failed(Failure),
}

/// Makes a device authorization request (RFC 8628 s3.1); `None` where the account has no such endpoint.
pub fn request(account: &Account, client_secret: Option<&Secret>) -> Option<Call> {
    let scopes = account.scopes.join(" ");
    let form = if scopes.is_empty() { Form::new() } else { Form::new().field("scope", &scopes) };
    Some(token::call(account, account.device_auth_uri.as_ref()?, client_secret, form, &[]))
}

/// Reads the answer of a device authorization endpoint.
///
/// What would go to the user's browser or notifier and is not fit for it is refused.
pub fn read_answer(asked: &Asked, reply: &Reply, now: WallTime) -> Result<DeviceAuthorization, Failure> {
    let fields = Fields::from_reply(reply);
    if let Some(failure) = fields.as_ref().and_then(|fields| failure::read_error(asked, fields, reply, now)) {
        return Err(failure);
    }
    let unexpected = || failure::unexpected(asked, reply, now, "device code");
    if !(200..300).contains(&reply.status) {
        return Err(unexpected());
    }
    let fields = fields.ok_or_else(unexpected)?;
    let device_code = fields.text("device_code").ok_or_else(unexpected)?;
    let refuse = |what: &str| Failure {
        kind: FailureKind::Refused,
        status: Some(reply.status),
        error: None,
        message: format!("the device endpoint's {what} (HTTP status {})", reply.status),
        refresh_token: None,
    };
    let user_code = fields.told("user_code").unwrap_or_default();
    if !is_user_code(&user_code) {
        return Err(refuse("user code is not short and printable"));
    }
    let verification_uri = fields.told("verification_uri").or_else(|| fields.told("verification_url"));
    let Some(verification_uri) = verification_uri.filter(|uri| is_shown_uri(uri)) else {
        return Err(refuse("verification URI is not an absolute http or https URI"));
    };
    let complete = fields.told("verification_uri_complete").or_else(|| fields.told("verification_url_complete"));
    Ok(DeviceAuthorization {
        device_code: device_code.clone(),
        user_code,
        verification_uri,
        verification_uri_complete: complete.filter(|uri| is_shown_uri(uri)),
        expires_in: fields.seconds("expires_in").unwrap_or(DEFAULT_EXPIRES_IN),
        interval: fields.seconds("interval").unwrap_or(DEFAULT_INTERVAL).min(MAX_INTERVAL),
    })
}

/// Reads the answer to a poll (RFC 8628 s3.5), which is a token answer with some errors of its own.
pub fn read_poll(asked: &Asked, reply: &Reply, now: WallTime) -> Result<Tokens, PollFailure> {
    let failure = match answer::read_answer(asked, reply, now) {
        Ok(tokens) => return Ok(tokens),
        Err(failure) => failure,
    };
    let slow_down = PollFailure::SlowDown { retry_after: retry_after(reply, now) };
    let looping = matches!(failure.kind, FailureKind::Looping { .. });
    match (reply.status, failure.error.as_deref()) {
        _ if looping => Err(PollFailure::Failed(failure)),
        (429, _) => Err(slow_down),
        (408 | 425 | 500.., _) => Err(PollFailure::Failed(failure)),
        (_, Some("slow_down")) => Err(slow_down),
        (_, Some("authorization_pending")) => Err(PollFailure::Pending),
        (_, _) => Err(PollFailure::Failed(failure)),
    }
}

fn is_user_code(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_USER_CODE && text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
}

fn is_shown_uri(text: &str) -> bool {
    text.len() <= MAX_URI && text.bytes().all(|byte| byte.is_ascii_graphic()) && uri::parse(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::{
        testing::{account, mutations, reply},
        text::Mask,
    };

    const NOW: WallTime = WallTime::from_secs(1_767_225_600);
    const GITHUB: &str = r#"{"device_code":"d","user_code":"WDJB-MJHT","verification_uri":"https://github.com/login/device","expires_in":900,"interval":5}"#;

    fn read(reply: &Reply) -> Result<DeviceAuthorization, Failure> {
        let mask = Mask::default();
        read_answer(&Asked { account: &account(), redirect_uri: None, mask: &mask }, reply, NOW)
    }

    fn poll(reply: &Reply) -> Result<Tokens, PollFailure> {
        let mask = Mask::default();
        read_poll(&Asked { account: &account(), redirect_uri: None, mask: &mask }, reply, NOW)
    }

    #[test]
    fn the_request_names_client_and_scopes() {
        let scoped = Account {
            scopes: vec!["a".to_owned(), "b".to_owned()],
            token_uri_fields: vec![("only".to_owned(), Secret::from("tokens"))],
            token_uri_headers: vec![("Origin".to_owned(), Secret::from("x"))],
            ..account()
        };
        for (name, account, secret, want) in [
            ("public", &scoped, None, "scope=a+b&client_id=my+id"),
            ("with secret", &scoped, Some(Secret::from("s")), "scope=a+b&client_id=my+id&client_secret=s"),
            ("no scope", &account(), None, "client_id=my+id"),
        ] {
            let call = request(account, secret.as_ref()).unwrap();
            assert_eq!(call.body, Some(Secret::from(want)), "{name}");
            assert_eq!(call.uri, "https://a.example/device", "{name}");
            assert_eq!(call.headers, account.token_uri_headers, "{name}");
        }
        assert!(request(&Account { device_auth_uri: None, ..account() }, None).is_none());
    }

    #[test]
    fn answers_are_read_as_providers_write_them() {
        let want = DeviceAuthorization {
            device_code: Secret::from("d"),
            user_code: "WDJB-MJHT".to_owned(),
            verification_uri: "https://github.com/login/device".to_owned(),
            verification_uri_complete: None,
            expires_in: Duration::from_secs(900),
            interval: Duration::from_secs(5),
        };
        let complete = Some("https://github.com/login/device?user_code=WDJB-MJHT".to_owned());
        for (name, from, to, want) in [
            ("GitHub", "", "", want.clone()),
            ("numbers as strings", ":900,\"interval\":5", ":\"900\",\"interval\":\"5\"", want.clone()),
            ("no interval", ",\"interval\":5", "", want.clone()),
            ("interval 0", "\"interval\":5", "\"interval\":0", want.clone()),
            ("no expires_in", "\"expires_in\":900,", "", want.clone()),
            ("verification_url", "verification_uri", "verification_url", want.clone()),
            (
                "a complete URI",
                "\"expires_in\"",
                "\"verification_uri_complete\":\"https://github.com/login/device?user_code=WDJB-MJHT\",\"expires_in\"",
                DeviceAuthorization { verification_uri_complete: complete, ..want.clone() },
            ),
            (
                "a complete URI that is not to be opened",
                "\"expires_in\"",
                "\"verification_uri_complete\":\"file:///etc/passwd\",\"expires_in\"",
                want.clone(),
            ),
            (
                "a code that is a number",
                "\"WDJB-MJHT\"",
                "12345678",
                DeviceAuthorization { user_code: "12345678".to_owned(), ..want.clone() },
            ),
            (
                "a long interval",
                "\"interval\":5",
                "\"interval\":1e300",
                DeviceAuthorization { interval: MAX_INTERVAL, ..want.clone() },
            ),
        ] {
            assert_eq!(read(&reply(200, GITHUB.replacen(from, to, usize::from(!from.is_empty())))), Ok(want), "{name}");
        }
    }

    #[test]
    fn what_is_not_fit_to_be_shown_is_refused() {
        for (name, from, to) in [
            ("another scheme", "https://github.com", "javascript:alert(1)//"),
            ("a file", "https://github.com", "file://"),
            ("relative", "https://github.com", ""),
            ("a line break", "/login", "/\\nlogin"),
            ("an escape sequence", "/login", "/\\u001b[2Jlogin"),
            ("a blank", "/login", "/ login"),
            ("a direction mark", "/login", "/\u{202e}login"),
            ("no host", "https://github.com", "https://"),
            ("a long URI", "/login", &"/l".repeat(1024)),
            ("no URI", "verification_uri", "x"),
            ("a line break in the code", "WDJB", "WDJB\\n"),
            ("an escape sequence in the code", "WDJB", "\\u001b[2J"),
            ("no code", "user_code", "x"),
            ("an empty code", "WDJB-MJHT", ""),
            ("a long code", "WDJB", &"W".repeat(65)),
        ] {
            let failure = read(&reply(200, GITHUB.replacen(from, to, 1))).expect_err(name);
            assert_eq!(failure.kind, FailureKind::Refused, "{name}");
        }
    }

    #[test]
    fn failures_are_told_apart() {
        for (name, status, body, want) in [
            ("refused", 400, r#"{"error":"unauthorized_client"}"#, FailureKind::Refused),
            ("GitHub's 200", 200, r#"{"error":"device_flow_disabled"}"#, FailureKind::Refused),
            ("a page", 200, "<html>", FailureKind::Transient { retry_after: None }),
            ("no device code", 200, "{}", FailureKind::Transient { retry_after: None }),
            ("unavailable", 503, GITHUB, FailureKind::Transient { retry_after: None }),
            ("not found", 404, "", FailureKind::Unexpected { retry_after: None }),
        ] {
            assert_eq!(read(&reply(status, body)).expect_err(name).kind, want, "{name}");
        }
    }

    #[test]
    fn polls_are_read() {
        let slow_down = PollFailure::SlowDown { retry_after: None };
        for (name, status, body, want) in [
            ("pending", 400, r#"{"error":"authorization_pending"}"#, PollFailure::Pending),
            ("pending with 200", 200, r#"{"error":"authorization_pending"}"#, PollFailure::Pending),
            ("pending with 428", 428, r#"{"error":"authorization_pending"}"#, PollFailure::Pending),
            ("slow_down", 400, r#"{"error":"slow_down"}"#, slow_down.clone()),
            ("slow_down with 403", 403, r#"{"error":"slow_down"}"#, slow_down.clone()),
            ("429", 429, "", slow_down.clone()),
            ("429 while pending", 429, r#"{"error":"authorization_pending"}"#, slow_down.clone()),
        ] {
            assert_eq!(poll(&reply(status, body)), Err(want), "{name}");
        }
        let waits = Reply { retry_after: Some("7".to_owned()), ..reply(429, "") };
        let retry_after = Some(Duration::from_secs(7));
        assert_eq!(poll(&waits), Err(PollFailure::SlowDown { retry_after }));

        let transient = FailureKind::Transient { retry_after: None };
        for (name, status, body, error, kind) in [
            ("expired", 400, r#"{"error":"expired_token"}"#, Some("expired_token"), FailureKind::Refused),
            ("denied", 400, r#"{"error":"access_denied"}"#, Some("access_denied"), FailureKind::Refused),
            ("unavailable", 503, r#"{"error":"authorization_pending"}"#, Some("authorization_pending"), transient),
            ("a page", 200, "<html>", None, transient),
        ] {
            let Err(PollFailure::Failed(failure)) = poll(&reply(status, body)) else { panic!("{name}") };
            assert_eq!((failure.error.as_deref(), failure.kind), (error, kind), "{name}");
        }
        let loops = r#"{"error":"slow_down","error_description":"AADSTS50196: loop"}"#;
        let Err(PollFailure::Failed(failure)) = poll(&reply(400, loops)) else { panic!("a loop") };
        assert_eq!(failure.kind, FailureKind::Looping { retry_after: None });
        assert!(poll(&reply(200, r#"{"access_token":"at"}"#)).is_ok());
    }

    #[test]
    fn no_answer_makes_the_readers_panic() {
        mutations(&[GITHUB, r#"{"error":"authorization_pending"}"#], |bytes| {
            let _ = read(&reply(200, bytes));
            let _ = poll(&reply(400, bytes));
        });
    }
}
