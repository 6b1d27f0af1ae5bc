//! The demo provider against its own client: what the other tests rely on it to notice, it notices.

mod support;

use std::{thread, time::Duration};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::digest;
use serde_json::json;

use support::{
    http::{self, Response, encode_form, field, query},
    provider::{Answer, Approval, ClientAuth, Cut, Provider, Rotation, Settings},
};

const REDIRECT_URI: &str = "http://localhost:1/done?fixed=1";
const VERIFIER: &str = "0123456789abcdefghijklmnopqrstuvwxyz-._~ABCDEFG";

#[test]
fn a_code_with_its_verifier_yields_tokens_that_work() {
    let provider = public_provider();
    let issued = exchange(&provider, &code(&provider), REDIRECT_URI, VERIFIER);
    assert_eq!(issued.status, 200, "{}", issued.body);
    let issued = issued.json();
    assert_eq!(
        (&issued["token_type"], &issued["expires_in"], &issued["scope"]),
        (&json!("Bearer"), &json!(3600), &json!("mail"))
    );
    let access_token = issued["access_token"].as_str().expect("an access token");
    assert_eq!(access_token, provider.last_access_token());
    assert_eq!(issued["refresh_token"].as_str(), provider.current_refresh_token("work").as_deref());
    assert_eq!(whoami(&provider, access_token).json()["client_id"], "work");
    assert_eq!(whoami(&provider, "access-0").status, 401);
    assert_eq!(provider.counters().codes_redeemed, 1);
}

#[test]
fn a_wrong_verifier_redirect_uri_or_secret_is_refused() {
    for (name, redirect_uri, verifier) in [
        ("verifier", REDIRECT_URI, "0123456789abcdefghijklmnopqrstuvwxyz-._~ABCDEFg"),
        ("short verifier", REDIRECT_URI, "abc"),
        ("redirect_uri", "http://localhost:1/done", VERIFIER),
    ] {
        let provider = public_provider();
        let answer = exchange(&provider, &code(&provider), redirect_uri, verifier);
        assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("invalid_grant")), "{name}");
    }
    let provider = Provider::start(Settings::default());
    let answer = exchange(&provider, &code(&provider), REDIRECT_URI, VERIFIER);
    assert_eq!((answer.status, &answer.json()["error"]), (401, &json!("invalid_client")));
}

#[test]
fn a_wrong_authorization_request_is_not_redirected() {
    let provider = public_provider();
    let right = authorization_fields();
    assert_eq!(http::get(&authorization_url(&provider, &right)).status, 302);
    for (name, _) in &right {
        let without: Vec<_> = right.iter().filter(|(other, _)| other != name).cloned().collect();
        let want = if *name == "scope" { 302 } else { 400 };
        assert_eq!(http::get(&authorization_url(&provider, &without)).status, want, "without {name}");
        let repeated: Vec<_> = right.iter().chain(right.iter().filter(|(other, _)| other == name)).cloned().collect();
        assert_eq!(http::get(&authorization_url(&provider, &repeated)).status, 400, "{name} twice");
    }
}

#[test]
fn a_code_used_twice_is_counted_and_revokes() {
    let provider = public_provider();
    let code = code(&provider);
    exchange(&provider, &code, REDIRECT_URI, VERIFIER);
    let access_token = provider.last_access_token();
    assert!(provider.is_honoured(&access_token));
    assert_eq!(exchange(&provider, &code, REDIRECT_URI, VERIFIER).status, 400);
    assert_eq!(provider.counters().codes_reused, 1);
    assert!(!provider.is_honoured(&access_token));
    assert_eq!(provider.current_refresh_token("work"), None);
}

#[test]
fn rotation_replaces_the_refresh_token_and_reuse_revokes_the_family() {
    let provider = public_provider();
    provider.change(|settings| settings.rotation = Rotation::Strict);
    let first = grant(&provider);
    let second = refresh(&provider, &first).json()["refresh_token"].as_str().expect("rotated").to_owned();
    assert_ne!(first, second);
    assert_eq!(provider.current_refresh_token("work"), Some(second.clone()));
    assert_eq!(provider.counters().refresh_tokens_reused, 0);
    assert_eq!(refresh(&provider, &first).status, 400);
    assert_eq!(provider.counters().refresh_tokens_reused, 1);
    assert_eq!(refresh(&provider, &second).status, 400);
}

#[test]
fn without_rotation_and_within_grace_the_old_refresh_token_goes_on_working() {
    let provider = public_provider();
    let token = grant(&provider);
    assert_eq!(refresh(&provider, &token).json().get("refresh_token"), None);
    provider.change(|settings| settings.rotation = Rotation::Grace(Duration::from_secs(600)));
    assert!(refresh(&provider, &token).json()["refresh_token"].is_string());
    assert_eq!(refresh(&provider, &token).status, 200);
    assert_eq!(provider.counters().refresh_tokens_reused, 1);
}

#[test]
fn basic_authentication_is_form_encoded_and_alone() {
    let provider = Provider::start(Settings { client_auth: ClientAuth::Basic, ..Settings::default() });
    let secret = "demo+secret+%26%3D%2B%2F%25";
    let credentials = |text: &str| format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(text));
    for (name, text, form, want) in [
        ("right", format!("work:{secret}"), vec![], 200),
        ("not form-encoded", "work:demo secret &=+/%".to_owned(), vec![], 401),
        ("secret twice", format!("work:{secret}"), vec![("client_secret", "demo secret &=+/%")], 401),
    ] {
        let fields = [vec![("grant_type", "client_credentials")], form].concat();
        let answer = http::try_post(&provider.url("/token"), &[("Authorization", &credentials(&text))], &fields);
        assert_eq!(answer.expect(name).status, want, "{name}");
    }
}

#[test]
fn scripted_answers_come_in_order_and_once() {
    let provider = public_provider();
    let token = grant(&provider);
    provider.next_token_answer(Answer::error(503, "server_error", "busy").header("Retry-After", "7"));
    provider.next_token_answer(Answer::new(200, "text/html", "<h1>Welcome</h1>").dripped(5, Duration::ZERO));
    provider.next_token_answer(Answer::new(200, "text/plain", "ab").repeated(1000));
    provider.next_token_answer(Answer::usual().delayed(Duration::from_millis(1)));
    let busy = refresh(&provider, &token);
    assert_eq!((busy.status, busy.header("retry-after")), (503, Some("7")));
    assert_eq!(refresh(&provider, &token).body, "<h1>Welcome</h1>");
    assert_eq!(refresh(&provider, &token).body.len(), 2000);
    assert_eq!(refresh(&provider, &token).status, 200);
    assert_eq!(refresh(&provider, &token).status, 200);
    provider.always_answer("/token", Some(Answer::error(500, "server_error", "down")));
    assert_eq!(refresh(&provider, &token).status, 500);
    assert_eq!(refresh(&provider, &token).status, 500);
    provider.always_answer("/token", None);
    assert_eq!(refresh(&provider, &token).status, 200);
    assert_eq!(provider.token_requests_of("refresh_token").len(), 8);
}

#[test]
fn a_cut_answer_is_lost_but_was_processed() {
    for cut in [Cut::BeforeHead, Cut::InBody] {
        let provider = public_provider();
        provider.change(|settings| settings.rotation = Rotation::Strict);
        let token = grant(&provider);
        provider.next_token_answer(Answer::usual().cut(cut));
        http::try_post(&provider.url("/token"), &[], &refresh_fields(&token)).expect_err("the answer is cut");
        assert_ne!(provider.current_refresh_token("work"), Some(token), "{cut:?}");
    }
}

#[test]
fn a_closed_gate_holds_requests_and_counts_them() {
    let provider = public_provider();
    let token = grant(&provider);
    provider.hold();
    let url = provider.url("/token");
    thread::scope(|scope| {
        let asking: Vec<_> = (0..3).map(|_| scope.spawn(|| http::post(&url, &refresh_fields(&token)))).collect();
        provider.wait_for_token_requests(4);
        assert_eq!((provider.in_progress(), provider.issued().len()), (3, 1));
        provider.release_one();
        provider.wait_for_issued(2);
        assert_eq!(provider.issued().len(), 2);
        provider.release();
        assert!(asking.into_iter().all(|thread| thread.join().expect("no panic").status == 200));
    });
    assert_eq!(provider.most_in_progress(), 3);
}

#[test]
fn the_consent_page_allows_or_denies_once() {
    for (decision, want) in [("allow", "code"), ("deny", "error")] {
        let provider = public_provider();
        provider.change(|settings| settings.approval = Approval::Page);
        let page = http::get(&authorization_url(&provider, &authorization_fields()));
        let number = page.body.split("name=\"request\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
        let number = number.expect("the page has a form");
        let fields = [("request", number), ("decision", decision)];
        let redirect = http::post(&provider.url("/decision"), &fields);
        let location = redirect.header("location").expect("a redirect").to_owned();
        assert!(location.starts_with("http://localhost:1/done?fixed=1&"), "{location}");
        assert!(field(&query(&location), want).is_some(), "{location}");
        assert_eq!(http::post(&provider.url("/decision"), &fields).status, 400);
    }
}

#[test]
fn redirects_carry_iss_and_further_fields_where_asked() {
    let provider = public_provider();
    provider.change(|settings| {
        settings.iss = true;
        settings.redirect_fields = vec![("session_state".to_owned(), "a b".to_owned())];
        settings.approval = Approval::Denied;
    });
    let redirect = http::get(&authorization_url(&provider, &authorization_fields()));
    let fields = query(redirect.header("location").expect("a redirect"));
    assert_eq!(field(&fields, "iss"), Some(provider.issuer().as_str()));
    assert_eq!(field(&fields, "session_state"), Some("a b"));
    assert_eq!(field(&fields, "error"), Some("access_denied"));
    assert_eq!(field(&fields, "state"), Some("the state"));
}

#[test]
fn a_device_waits_for_the_user_and_is_slowed_down() {
    let provider = public_provider();
    provider.change(|settings| settings.device_interval = Some(0));
    let started = http::post(&provider.url("/device"), &[("client_id", "work"), ("scope", "mail")]).json();
    let device_code = started["device_code"].as_str().expect("a device_code").to_owned();
    let user_code = started["user_code"].as_str().expect("a user_code").to_owned();
    let poll = || {
        let grant_type = "urn:ietf:params:oauth:grant-type:device_code";
        let fields = [("grant_type", grant_type), ("device_code", device_code.as_str()), ("client_id", "work")];
        http::post(&provider.url("/token"), &fields).json()
    };
    assert_eq!(poll()["error"], "authorization_pending");
    assert_eq!(provider.pending_user_codes(), std::slice::from_ref(&user_code));
    let page = http::get(started["verification_uri_complete"].as_str().expect("a URI"));
    assert!(page.body.contains(&user_code));
    let decision = [("user_code", user_code.as_str()), ("decision", "allow")];
    assert_eq!(http::post(&provider.url("/activate"), &decision).status, 200);
    assert!(poll()["refresh_token"].is_string());
    assert_eq!(poll()["error"], "invalid_grant");

    provider.change(|settings| settings.device_interval = Some(600));
    let started = http::post(&provider.url("/device"), &[("client_id", "work")]).json();
    let device_code = started["device_code"].as_str().expect("a device_code");
    let grant_type = "urn:ietf:params:oauth:grant-type:device_code";
    let fields = [("grant_type", grant_type), ("device_code", device_code), ("client_id", "work")];
    assert_eq!(http::post(&provider.url("/token"), &fields).json()["error"], "authorization_pending");
    assert_eq!(http::post(&provider.url("/token"), &fields).json()["error"], "slow_down");
    assert_eq!(provider.counters().early_polls, 1);
}

#[test]
fn revocation_takes_the_family_along() {
    let provider = public_provider();
    let token = grant(&provider);
    let access_token = provider.last_access_token();
    let revoke = |token: &str| http::post(&provider.url("/revoke"), &[("client_id", "work"), ("token", token)]).status;
    assert_eq!(revoke("unknown"), 200);
    assert!(provider.is_honoured(&access_token));
    assert_eq!(revoke(&token), 200);
    assert!(!provider.is_honoured(&access_token));
    assert_eq!(provider.counters().revoked, 1);
}

#[test]
fn metadata_names_the_issuer_and_the_endpoints() {
    let provider = public_provider();
    for path in ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"] {
        let metadata = http::get(&provider.url(path)).json();
        assert_eq!(metadata["issuer"], provider.issuer());
        assert_eq!(metadata["token_endpoint"], provider.url("/token"));
    }
}

fn public_provider() -> Provider {
    Provider::start(Settings { client_secret: None, ..Settings::default() })
}

fn authorization_fields() -> Vec<(&'static str, String)> {
    let challenge = BASE64_URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, VERIFIER.as_bytes()));
    vec![
        ("response_type", "code".to_owned()),
        ("client_id", "work".to_owned()),
        ("redirect_uri", REDIRECT_URI.to_owned()),
        ("code_challenge", challenge),
        ("code_challenge_method", "S256".to_owned()),
        ("state", "the state".to_owned()),
        ("scope", "mail".to_owned()),
    ]
}

fn authorization_url(provider: &Provider, fields: &[(&str, String)]) -> String {
    format!("{}?{}", provider.url("/authorize"), encode_form(fields))
}

fn code(provider: &Provider) -> String {
    let redirect = http::get(&authorization_url(provider, &authorization_fields()));
    let location = redirect.header("location").expect("a redirect");
    field(&query(location), "code").expect("a code").to_owned()
}

fn exchange(provider: &Provider, code: &str, redirect_uri: &str, verifier: &str) -> Response {
    let fields = [
        ("grant_type", "authorization_code"),
        ("client_id", "work"),
        ("code", code),
        ("redirect_uri", redirect_uri),
        ("code_verifier", verifier),
    ];
    http::post(&provider.url("/token"), &fields)
}

/// Logs in and returns the refresh token.
fn grant(provider: &Provider) -> String {
    exchange(provider, &code(provider), REDIRECT_URI, VERIFIER);
    provider.current_refresh_token("work").expect("a refresh token")
}

fn refresh_fields(token: &str) -> [(&str, &str); 3] {
    [("grant_type", "refresh_token"), ("client_id", "work"), ("refresh_token", token)]
}

fn refresh(provider: &Provider, token: &str) -> Response {
    http::post(&provider.url("/token"), &refresh_fields(token))
}

fn whoami(provider: &Provider, access_token: &str) -> Response {
    let authorization = format!("Bearer {access_token}");
    let exchange = http::request("GET", &provider.url("/whoami"), &[("Authorization", &authorization)], "");
    exchange.and_then(http::Exchange::finish).expect("an answer")
}
