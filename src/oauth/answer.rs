//! The one reader of token answers (RFC 6749 s5). What an error in them means, `failure` tells.

use std::time::Duration;

use super::{
    Reply,
    failure::{Asked, Failure, FailureKind, read_error, unexpected},
    fields::Fields,
    text,
};
use crate::{engine::WallTime, secret::Secret};

/// From this number of seconds on, `expires` is a point in time and no life: thirty years.
const POINT_IN_TIME: Duration = Duration::from_secs(1_000_000_000);

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
        testing::{account, mutations, reply},
        text::Mask,
    };

    /// 2026-01-01 00:00 UTC.
    const NOW: WallTime = WallTime::from_secs(1_767_225_600);

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
            ("expires long ago", r#"{"access_token":"at","expires":1000000000}"#, tokens(None)),
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
            ("token_type missing", r#"{"access_token":"at","expires_in":3600}"#, hour()),
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
            ("error false", r#"{"access_token":"at","error":false,"expires_in":3600}"#, hour()),
            ("error 0", r#"{"access_token":"at","error":0,"expires_in":3600}"#, hour()),
            ("error an empty object", r#"{"access_token":"at","error":{},"expires_in":3600}"#, hour()),
            ("error an empty list", r#"{"access_token":"at","error":[ ],"expires_in":3600}"#, hour()),
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
