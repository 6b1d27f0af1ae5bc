//! Requests to the token endpoint (RFC 6749 s4.1.3, s4.4.2, s6; RFC 8628 s3.4), and what their answers mean, which
//! `answer` reads.

use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::{
    Call,
    form::{self, Form},
    text::Mask,
};
pub use super::{
    answer::{Tokens, read_answer},
    failure::{Asked, Failure, FailureKind, LOOPING_PAUSE, read_broken},
};
use crate::{
    config::{Account, ClientAuth},
    secret::Secret,
};

/// What is exchanged for tokens.
#[derive(Clone, Copy, Debug)]
pub enum TokenGrant<'a> {
    /// The code that a redirect brought.
    AuthorizationCode {
        /// As it came.
        code: &'a Secret,
        /// Of the authorization request.
        code_verifier: &'a Secret,
        /// Of the authorization request, byte for byte.
        redirect_uri: &'a str,
    },
    /// A refresh token.
    RefreshToken(&'a Secret),
    /// The device code that the device authorization endpoint gave.
    DeviceCode(&'a Secret),
    /// Nothing but the client itself.
    ClientCredentials,
}

/// Makes a token request. `client_secret` is the account's, wherever it comes from; an empty one is none.
///
/// A refresh names no scope: the original one stays (RFC 6749 s6). A client credentials request does. Where
/// `token_uri_fields` has `client_id` or `scope`, it stands for pizauth's own, for no parameter may come twice.
pub fn request(account: &Account, client_secret: Option<&Secret>, grant: TokenGrant) -> Call {
    let form = match grant {
        TokenGrant::AuthorizationCode { code, code_verifier, redirect_uri } => Form::new()
            .field("grant_type", "authorization_code")
            .field("code", code.expose())
            .field("code_verifier", code_verifier.expose())
            .field("redirect_uri", redirect_uri),
        TokenGrant::RefreshToken(refresh_token) => {
            Form::new().field("grant_type", "refresh_token").field("refresh_token", refresh_token.expose())
        }
        TokenGrant::DeviceCode(device_code) => Form::new()
            .field("grant_type", "urn:ietf:params:oauth:grant-type:device_code")
            .field("device_code", device_code.expose()),
        TokenGrant::ClientCredentials => {
            let form = Form::new().field("grant_type", "client_credentials");
            let own_scope = account.token_uri_fields.iter().any(|(name, _)| name == "scope");
            if account.scopes.is_empty() || own_scope { form } else { form.field("scope", &account.scopes.join(" ")) }
        }
    };
    call(account, &account.token_uri, client_secret, form, &account.token_uri_fields)
}

/// The secrets that a request of `account` holds, to be masked in whatever comes back. Codes and tokens are for the
/// caller to add.
pub fn mask(account: &Account, client_secret: Option<&Secret>) -> Mask {
    let mut mask = Mask::default();
    if let Some(client_secret) = client_secret {
        mask.add(client_secret);
        mask.add(&basic_credentials(account, client_secret));
    }
    for (_, value) in account.token_uri_fields.iter().chain(&account.token_uri_headers) {
        mask.add(value);
    }
    mask
}

/// Completes a form by the client's authentication (RFC 6749 s2.3.1) and the fields and headers that the account
/// adds.
pub(super) fn call(
    account: &Account,
    uri: &str,
    client_secret: Option<&Secret>,
    mut form: Form,
    fields: &[(String, Secret)],
) -> Call {
    let client_secret = client_secret.filter(|secret| !secret.is_empty());
    let mut headers = Vec::new();
    let own_client_id = fields.iter().any(|(name, _)| name == "client_id");
    match (account.client_auth, client_secret) {
        (ClientAuth::Basic, Some(client_secret)) => {
            let credentials = basic_credentials(account, client_secret);
            headers.push(("Authorization".to_owned(), Secret::new(format!("Basic {}", credentials.expose()))));
        }
        (ClientAuth::Post, _) | (ClientAuth::Basic, None) => {
            if !own_client_id {
                form = form.field("client_id", &account.client_id);
            }
            if let Some(client_secret) = client_secret {
                form = form.field("client_secret", client_secret.expose());
            }
        }
    }
    for (name, value) in fields {
        form = form.field(name, value.expose());
    }
    headers.extend(account.token_uri_headers.iter().cloned());
    Call { uri: uri.to_owned(), headers, body: Some(form.into_secret()) }
}

fn basic_credentials(account: &Account, client_secret: &Secret) -> Secret {
    let secret = Secret::new(form::encode_blank(client_secret.expose()));
    let pair = Secret::new(format!("{}:{}", form::encode_blank(&account.client_id), secret.expose()));
    Secret::new(BASE64_STANDARD.encode(pair.expose()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::{testing::account, text};

    fn shown(call: &Call) -> (String, Vec<(String, String)>) {
        let headers = call.headers.iter().map(|(name, value)| (name.clone(), value.expose().clone())).collect();
        (call.body.as_ref().map(|body| body.expose().clone()).unwrap_or_default(), headers)
    }

    #[test]
    fn each_grant_has_its_form() {
        let (code, verifier) = (Secret::from("4/0 a+b"), Secret::from("v"));
        let scoped = Account { scopes: vec!["a".to_owned(), "b".to_owned()], ..account() };
        let grant = TokenGrant::AuthorizationCode {
            code: &code,
            code_verifier: &verifier,
            redirect_uri: "http://localhost:1/",
        };
        for (name, grant, want) in [
            (
                "code",
                grant,
                "grant_type=authorization_code&code=4%2F0+a%2Bb&code_verifier=v\
                 &redirect_uri=http%3A%2F%2Flocalhost%3A1%2F&client_id=my+id",
            ),
            (
                "refresh",
                TokenGrant::RefreshToken(&verifier),
                "grant_type=refresh_token&refresh_token=v&client_id=my+id",
            ),
            (
                "device",
                TokenGrant::DeviceCode(&verifier),
                "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code&device_code=v&client_id=my+id",
            ),
            (
                "client credentials",
                TokenGrant::ClientCredentials,
                "grant_type=client_credentials&scope=a+b&client_id=my+id",
            ),
        ] {
            let call = request(&scoped, None, grant);
            assert_eq!(shown(&call), (want.to_owned(), vec![]), "{name}");
            assert_eq!(call.uri, "https://a.example/token", "{name}");
            assert!(!format!("{call:?}").contains("grant_type"), "{name}");
        }
    }

    #[test]
    fn clients_authenticate_as_configured() {
        let header = |value: &str| vec![("Authorization".to_owned(), value.to_owned())];
        let start = "grant_type=refresh_token&refresh_token=r";
        for (name, client_auth, secret, want, headers) in [
            ("public", ClientAuth::Post, None, "&client_id=my+id", vec![]),
            ("post", ClientAuth::Post, Some("s&"), "&client_id=my+id&client_secret=s%26", vec![]),
            ("empty is none", ClientAuth::Post, Some(""), "&client_id=my+id", vec![]),
            // "my%20id:s%20%26%3A%2B"
            ("basic", ClientAuth::Basic, Some("s &:+"), "", header("Basic bXklMjBpZDpzJTIwJTI2JTNBJTJC")),
            ("basic without secret", ClientAuth::Basic, None, "&client_id=my+id", vec![]),
        ] {
            let account = Account { client_auth, ..account() };
            let secret = secret.map(Secret::from);
            let call = request(&account, secret.as_ref(), TokenGrant::RefreshToken(&Secret::from("r")));
            assert_eq!(shown(&call), (format!("{start}{want}"), headers), "{name}");
        }
    }

    #[test]
    fn extra_fields_and_headers_are_sent() {
        let pair = |name: &str, value: &str| (name.to_owned(), Secret::from(value));
        for (name, fields, want) in [
            ("a field", vec![pair("audience", "x y")], "&scope=s&client_id=my+id&audience=x+y"),
            ("repeated", vec![pair("r", "1"), pair("r", "2")], "&scope=s&client_id=my+id&r=1&r=2"),
            ("instead of our own", vec![pair("scope", "t"), pair("client_id", "u")], "&scope=t&client_id=u"),
        ] {
            let account = Account {
                scopes: vec!["s".to_owned()],
                token_uri_fields: fields,
                token_uri_headers: vec![pair("Origin", "http://localhost")],
                ..account()
            };
            let (body, headers) = shown(&request(&account, None, TokenGrant::ClientCredentials));
            assert_eq!(body, format!("grant_type=client_credentials{want}"), "{name}");
            assert_eq!(headers, [("Origin".to_owned(), "http://localhost".to_owned())], "{name}");
        }
    }

    #[test]
    fn what_a_request_holds_is_masked() {
        let account = Account {
            token_uri_fields: vec![("a".to_owned(), Secret::from("field-value"))],
            token_uri_headers: vec![("B".to_owned(), Secret::from("header-value"))],
            ..account()
        };
        let secret = Secret::from("s3cret/x");
        let mask = mask(&account, Some(&secret));
        let basic = basic_credentials(&account, &secret);
        for text in ["field-value", "header-value", "s3cret/x", "s3cret%2Fx", basic.expose()] {
            assert_eq!(text::clean(text, &mask), "***", "{text}");
        }
    }
}
