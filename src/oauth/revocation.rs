//! Token revocation (RFC 7009): asking a provider to forget a token too.

use super::{
    Call, Reply,
    failure::{self, Asked, Failure},
    fields::Fields,
    form::Form,
    token,
};
use crate::{config::Account, engine::WallTime, secret::Secret};

/// What kind of token is to be revoked (RFC 7009 s2.1, `token_type_hint`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// A refresh token; with it goes the whole grant.
    RefreshToken,
    /// An access token.
    AccessToken,
}

/// Makes a revocation request; `None` where the account has no such endpoint.
pub fn request(account: &Account, client_secret: Option<&Secret>, token: &Secret, hint: Hint) -> Option<Call> {
    let hint = match hint {
        Hint::RefreshToken => "refresh_token",
        Hint::AccessToken => "access_token",
    };
    let form = Form::new().field("token", token.expose()).field("token_type_hint", hint);
    Some(token::call(account, account.revocation_uri.as_ref()?, client_secret, form, &[]))
}

/// Reads the answer: any success without an error means that the token is gone (RFC 7009 s2.2). It is gone too where
/// it is called invalid, as Google does with an access token whose refresh token was revoked before.
pub fn read_answer(asked: &Asked, reply: &Reply, now: WallTime) -> Result<(), Failure> {
    let fields = Fields::from_reply(reply);
    if let Some(failure) = fields.and_then(|fields| failure::read_error(asked, &fields, reply, now)) {
        let is_gone = reply.status == 400 && failure.error.as_deref() == Some("invalid_token");
        return if is_gone { Ok(()) } else { Err(failure) };
    }
    if (200..300).contains(&reply.status) {
        Ok(())
    } else {
        Err(failure::unexpected(asked, reply, now, "confirmation"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::{
        failure::FailureKind,
        testing::{account, mutations, reply},
        text::Mask,
    };

    fn read(reply: &Reply) -> Result<(), Failure> {
        let mask = Mask::default();
        read_answer(&Asked { account: &account(), redirect_uri: None, mask: &mask }, reply, WallTime::default())
    }

    #[test]
    fn the_request_names_the_token_and_its_kind() {
        let token = Secret::from("t/1");
        for (name, hint, secret, want) in [
            ("refresh", Hint::RefreshToken, None, "token=t%2F1&token_type_hint=refresh_token&client_id=my+id"),
            (
                "access",
                Hint::AccessToken,
                Some(Secret::from("s")),
                "token=t%2F1&token_type_hint=access_token&client_id=my+id&client_secret=s",
            ),
        ] {
            let call = request(&account(), secret.as_ref(), &token, hint).unwrap();
            assert_eq!(
                (call.uri.as_str(), call.body),
                ("https://a.example/revoke", Some(Secret::from(want))),
                "{name}"
            );
        }
        assert!(request(&Account { revocation_uri: None, ..account() }, None, &token, Hint::AccessToken).is_none());
    }

    #[test]
    fn answers_are_read() {
        for (name, status, body, want) in [
            ("done", 200, "", Ok(())),
            ("done with a page", 200, "<html>", Ok(())),
            ("done with JSON", 200, "{}", Ok(())),
            ("no content", 204, "", Ok(())),
            ("an error with 200", 200, r#"{"error":"invalid_client"}"#, Err(FailureKind::Refused)),
            ("gone already (Google)", 400, r#"{"error":"invalid_token"}"#, Ok(())),
            ("a bearer that is refused", 401, r#"{"error":"invalid_token"}"#, Err(FailureKind::GrantEnded)),
            ("not this kind", 400, r#"{"error":"unsupported_token_type"}"#, Err(FailureKind::Refused)),
            ("unavailable", 503, "", Err(FailureKind::Transient { retry_after: None })),
            ("a redirect", 302, "", Err(FailureKind::Unexpected { retry_after: None })),
        ] {
            assert_eq!(read(&reply(status, body)).map_err(|failure| failure.kind), want, "{name}");
        }
    }

    #[test]
    fn no_answer_makes_the_reader_panic() {
        mutations(&[r#"{"error":"unsupported_token_type","error_description":"x"}"#], |bytes| {
            let _ = read(&reply(400, bytes));
        });
    }
}
