//! What `show -f` prints, as pure functions of the server's token.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Serialize;

use super::failure::Failure;
use crate::{engine::WallTime, proto::Token, secret::Secret};

/// How `show` prints a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// The token alone.
    #[default]
    Token,
    /// A JSON object.
    Json,
    /// An HTTP header field (RFC 6750 s2.1).
    Header,
    /// The initial response of SASL XOAUTH2.
    Xoauth2,
    /// The initial response of SASL OAUTHBEARER (RFC 7628 s3.1).
    Oauthbearer,
    /// Attributes of git's credential protocol.
    Git,
}

/// Every format and its name.
const NAMES: [(Format, &str); 6] = [
    (Format::Token, "token"),
    (Format::Json, "json"),
    (Format::Header, "header"),
    (Format::Xoauth2, "xoauth2"),
    (Format::Oauthbearer, "oauthbearer"),
    (Format::Git, "git"),
];

impl Format {
    /// The format of that name.
    pub fn parse(name: &str) -> Option<Format> {
        NAMES.iter().find(|(_, known)| *known == name).map(|(format, _)| *format)
    }

    /// All names, for usage messages and completions.
    pub fn names() -> String {
        NAMES.map(|(_, name)| name).join(", ")
    }

    /// What is printed for `token`; `user` comes before the one that the server knows.
    pub fn render(self, token: &Token, user: Option<&str>) -> Result<Secret, Failure> {
        let access_token = token.access_token.expose();
        let text = match self {
            Format::Token => format!("{access_token}\n"),
            Format::Json => json(token),
            Format::Header => format!("Authorization: Bearer {access_token}\n"),
            Format::Xoauth2 => {
                let user = sasl_user(token, user)?;
                let response = Secret::new(format!("user={user}\x01auth=Bearer {access_token}\x01\x01"));
                BASE64_STANDARD.encode(response.expose()) + "\n"
            }
            Format::Oauthbearer => {
                // The saslname of RFC 5801 s4.
                let user = sasl_user(token, user)?.replace('=', "=3D").replace(',', "=2C");
                let response = Secret::new(format!("n,a={user},\x01auth=Bearer {access_token}\x01\x01"));
                BASE64_STANDARD.encode(response.expose()) + "\n"
            }
            Format::Git => {
                let user = match known_user(token, user)? {
                    Some(user) => format!("username={user}\n"),
                    None => String::new(),
                };
                format!("{user}password={access_token}\npassword_expiry_utc={}\n", token.expires_at.as_secs())
            }
        };
        Ok(Secret::new(text))
    }
}

#[derive(Serialize)]
struct Json<'a> {
    account: &'a str,
    access_token: &'a Secret,
    token_type: &'a str,
    expires_at: WallTime,
    expires_in: u64,
    scope: Option<&'a str>,
}

fn json(token: &Token) -> String {
    let object = Json {
        account: &token.account,
        access_token: &token.access_token,
        token_type: &token.token_type,
        expires_at: token.expires_at,
        expires_in: token.expires_in,
        scope: token.scope.as_deref(),
    };
    serde_json::to_string(&object).expect("strings and numbers always have a JSON form") + "\n"
}

fn sasl_user<'a>(token: &'a Token, user: Option<&'a str>) -> Result<&'a str, Failure> {
    known_user(token, user)?.ok_or_else(|| Failure::NoUser { account: token.account.clone() })
}

/// The user, where there is one. An empty one is none.
fn known_user<'a>(token: &'a Token, user: Option<&'a str>) -> Result<Option<&'a str>, Failure> {
    let user = user.or(token.user.as_deref()).filter(|user| !user.is_empty());
    match user {
        Some(user) if user.chars().any(char::is_control) => Err(Failure::ControlInUser),
        Some(_) | None => Ok(user),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(user: Option<&str>) -> Token {
        Token {
            account: "work".to_owned(),
            access_token: Secret::from("ya29.a-b_c/d+e="),
            token_type: "Bearer".to_owned(),
            expires_at: WallTime::from_secs(1_795_424_700),
            expires_in: 3599,
            scope: Some("mail \"all\"".to_owned()),
            user: user.map(str::to_owned),
        }
    }

    /// What is printed; SASL responses without their base64.
    fn printed(format: Format, user: Option<&str>, known: Option<&str>) -> String {
        let text = format.render(&token(known), user).unwrap().expose().clone();
        match format {
            Format::Xoauth2 | Format::Oauthbearer => {
                let response = BASE64_STANDARD.decode(text.strip_suffix('\n').unwrap()).unwrap();
                String::from_utf8(response).unwrap()
            }
            Format::Token | Format::Json | Format::Header | Format::Git => text,
        }
    }

    #[test]
    fn formats_are_those_of_the_manual() {
        for (name, format, want) in [
            ("token", Format::Token, "ya29.a-b_c/d+e=\n"),
            (
                "json",
                Format::Json,
                "{\"account\":\"work\",\"access_token\":\"ya29.a-b_c/d+e=\",\"token_type\":\"Bearer\",\
                 \"expires_at\":\"2026-11-23T09:05:00Z\",\"expires_in\":3599,\"scope\":\"mail \\\"all\\\"\"}\n",
            ),
            ("header", Format::Header, "Authorization: Bearer ya29.a-b_c/d+e=\n"),
            ("xoauth2", Format::Xoauth2, "user=me@a.example\x01auth=Bearer ya29.a-b_c/d+e=\x01\x01"),
            ("oauthbearer", Format::Oauthbearer, "n,a=me@a.example,\x01auth=Bearer ya29.a-b_c/d+e=\x01\x01"),
            ("git", Format::Git, "username=me@a.example\npassword=ya29.a-b_c/d+e=\npassword_expiry_utc=1795424700\n"),
        ] {
            assert_eq!(Format::parse(name), Some(format), "{name}");
            assert_eq!(printed(format, None, Some("me@a.example")), want, "{name}");
        }
        assert_eq!(Format::parse("TOKEN"), None);
    }

    #[test]
    fn the_user_of_the_command_line_comes_first() {
        for (name, user, known, want) in [
            ("-U", Some("a"), Some("b"), "user=a\x01"),
            ("the account's", None, Some("b"), "user=b\x01"),
            ("not ASCII", Some("jürgen"), None, "user=jürgen\x01"),
        ] {
            assert!(printed(Format::Xoauth2, user, known).starts_with(want), "{name}");
        }
        assert!(printed(Format::Oauthbearer, Some("a=b,c"), None).starts_with("n,a=a=3Db=2Cc,\x01"));
        assert!(printed(Format::Git, None, None).starts_with("password="));
    }

    #[test]
    fn a_user_that_is_missing_or_hostile_is_refused() {
        for (name, format, user, want) in [
            ("none", Format::Xoauth2, None, "has no user name"),
            ("empty", Format::Oauthbearer, Some(""), "has no user name"),
            ("another field", Format::Xoauth2, Some("a\x01host=b"), "control characters"),
            ("a line", Format::Git, Some("a\npassword=b"), "control characters"),
            ("NUL", Format::Oauthbearer, Some("a\0"), "control characters"),
            ("C1", Format::Oauthbearer, Some("a\u{85}"), "control characters"),
        ] {
            let failure = format.render(&token(None), user).unwrap_err();
            assert!(failure.to_string().contains(want), "{name}: {failure}");
            assert_eq!(failure.status(), 1, "{name}");
        }
    }
}
