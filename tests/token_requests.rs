//! What requests to a provider's endpoints hold, as the provider receives them from the real binary.

mod support;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use support::{
    http::{self, Request, field},
    provider::{ClientAuth, Provider, Settings},
    server::Pizauth,
};

/// Every character of it is one that a form or a header could spoil.
const SECRET: &str = "s3cret &=+/%:\u{e9}\u{20ac}\\\"'";

fn provider(client_auth: ClientAuth, client_secret: Option<&str>) -> Provider {
    Provider::start(Settings { client_auth, client_secret: client_secret.map(str::to_owned), ..Settings::default() })
}

/// Logs in, refreshes and revokes; the requests to the provider's endpoints.
#[track_caller]
fn live(provider: &Provider, options: &str) -> Vec<Request> {
    let revocation_uri = provider.url("/revoke");
    let account = provider.account("work", &format!("revocation_uri = \"{revocation_uri}\"; {options}"));
    let server = Pizauth::start(&account);
    server.authorize("work");
    server.run(&["refresh", "-w", "60s", "work"]).expect(0);
    assert_eq!(server.run(&["revoke", "work"]).expect(0).stderr, "");
    provider.requests().into_iter().filter(|request| ["/token", "/revoke"].contains(&request.path.as_str())).collect()
}

#[test]
fn a_secret_goes_in_the_form_or_in_the_header_and_never_in_both() {
    let in_form = live(&provider(ClientAuth::Post, Some(SECRET)), "");
    assert_eq!(in_form.len(), 4);
    for request in &in_form {
        assert_eq!((request.form("client_id"), request.form("client_secret")), (Some("work"), Some(SECRET)));
        assert_eq!(request.header("authorization"), None);
    }

    // Form-urlencoded before base64 (RFC 6749 s2.3.1).
    let in_header = live(&provider(ClientAuth::Basic, Some(SECRET)), "client_auth = \"basic\";");
    assert_eq!(in_header.len(), 4);
    for request in &in_header {
        let value = request.header("authorization").and_then(|value| value.strip_prefix("Basic "));
        let decoded = value.and_then(|value| BASE64_STANDARD.decode(value).ok()).expect("credentials");
        let (name, secret) = std::str::from_utf8(&decoded).ok().and_then(|text| text.split_once(':')).expect("a colon");
        let decoded = http::parse_form(&format!("{name}={secret}"));
        assert_eq!(decoded, [("work".to_owned(), SECRET.to_owned())]);
        assert_eq!(request.form("client_secret"), None);
    }
}

#[test]
fn a_public_client_sends_its_name_alone() {
    for options in ["", "client_secret = \"\";"] {
        let requests = live(&provider(ClientAuth::Post, None), options);
        assert_eq!(requests.len(), 4);
        for request in requests {
            assert_eq!(request.form("client_id"), Some("work"));
            assert_eq!(field(&request.form, "client_secret"), None);
            assert_eq!(request.header("authorization"), None);
        }
    }
}

#[test]
fn requests_are_forms_that_ask_for_json() {
    let provider = provider(ClientAuth::Post, None);
    let redirect_uri = "redirect_uri = \"http://localhost/a%20path?x=y\";";
    let requests = live(&provider, redirect_uri);
    for request in &requests {
        assert_eq!(request.method, "POST");
        assert_eq!(request.header("accept"), Some("application/json"));
        assert_eq!(request.header("content-type"), Some("application/x-www-form-urlencoded"));
        assert_eq!(request.header("cookie"), None);
        assert!(request.header("user-agent").is_some_and(|agent| agent.starts_with("pizauth/")));
        assert!(request.query.is_empty(), "a secret in a URL ends in logs");
    }
    let authorized = provider.requests().into_iter().find(|request| request.path == "/authorize").expect("a login");
    let exchange = &requests[0];
    assert_eq!(exchange.form("grant_type"), Some("authorization_code"));
    assert_eq!(exchange.form("redirect_uri"), authorized.query("redirect_uri"));
    assert!(exchange.form("redirect_uri").is_some_and(|uri| uri.ends_with("/a%20path?x=y")));
    assert!(exchange.form("code_verifier").is_some_and(|verifier| verifier.len() >= 43));
    assert_eq!(requests[1].form("grant_type"), Some("refresh_token"));
}

#[test]
fn further_fields_are_for_token_requests_and_further_headers_for_all() {
    let options = "token_uri_fields = {\"resource\": \"a b&c\", \"scope\": \"mail\"}; \
                   token_uri_headers = {\"Origin\": \"http://localhost\", \"X-Key\": \"k\"};";
    for request in live(&provider(ClientAuth::Post, None), options) {
        let is_token_request = request.path == "/token";
        assert_eq!(request.form("resource"), is_token_request.then_some("a b&c"), "{}", request.path);
        assert_eq!(request.form("scope"), is_token_request.then_some("mail"), "{}", request.path);
        assert_eq!(request.header("origin"), Some("http://localhost"), "{}", request.path);
        assert_eq!(request.header("x-key"), Some("k"), "{}", request.path);
    }
}
