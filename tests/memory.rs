//! What the server's memory holds of secrets that are not needed any more: nothing. It is read through /proc/PID/mem,
//! as root; elsewhere these tests are skipped.

mod support;

use std::collections::BTreeSet;

use support::{
    eventually, http, memory,
    provider::{Provider, Rotation, Settings},
    server::Pizauth,
    tool,
};

/// Whether this process may read the server's memory.
fn can_look(server: &Pizauth) -> bool {
    let can_look = memory::find(server.pid(), b"pizauth").is_ok();
    if !can_look {
        tool::skip("the server's memory is root's");
    }
    can_look
}

/// Where the server's memory holds `secret`.
#[track_caller]
fn traces(server: &Pizauth, secret: &str) -> Vec<String> {
    memory::find(server.pid(), secret.as_bytes()).expect("it could be read before")
}

/// Waits until the memory holds none of `secrets`: a helper thread may still be on its way out.
#[track_caller]
fn expect_none<'a>(server: &Pizauth, secrets: impl IntoIterator<Item = (&'a str, &'a String)>) {
    for (name, secret) in secrets {
        assert!(secret.len() >= 16, "{name} is too short to be found for sure");
        let gone =
            support::within(std::time::Duration::from_secs(5), || traces(server, secret).is_empty().then_some(()));
        assert!(gone.is_some(), "{name} is still in {:?}", traces(server, secret));
    }
}

#[test]
fn revoked_tokens_leave_no_trace() {
    let provider = Provider::start(Settings::default());
    let revocation = format!("revocation_uri = \"{}\";", provider.url("/revoke"));
    let server = Pizauth::start(&provider.account("work", &revocation));
    if !can_look(&server) {
        return;
    }
    server.authorize("work");
    let token = server.token("work");
    let refresh_token = provider.current_refresh_token("work").expect("a refresh token");
    server.run(&["dump"]).expect(0);
    server.run(&["status", "-j"]).expect(0);
    server.run(&["show", "-f", "json", "work"]).expect(0);
    assert!(!traces(&server, &token).is_empty(), "the control: a token that is there is found");
    assert!(!traces(&server, &refresh_token).is_empty(), "the control: a refresh token that is there is found");
    server.run(&["revoke", "work"]).expect(0);
    expect_none(&server, [("the access token", &token), ("the refresh token", &refresh_token)]);
}

#[test]
fn what_an_authorization_needed_leaves_no_trace_after_it() {
    let provider = Provider::start(Settings::default());
    let server = Pizauth::start(&provider.account("work", ""));
    if !can_look(&server) {
        return;
    }
    let url = server.authorization_url("work");
    let state = http::field(&http::query(&url), "state").expect("a state").to_owned();
    assert!(!traces(&server, &state).is_empty(), "the control: the state of an open authorization is found");
    server.authorize("work");
    let request = provider.token_requests_of("authorization_code").pop().expect("a token request");
    let [code, verifier] = ["code", "code_verifier"].map(|name| request.form(name).expect("a field").to_owned());
    expect_none(&server, [("the state", &state), ("the code", &code), ("the code verifier", &verifier)]);
}

#[test]
fn replaced_tokens_leave_no_trace() {
    let provider = Provider::start(Settings { rotation: Rotation::Strict, ..Settings::default() });
    let server = Pizauth::start(&provider.account("work", ""));
    if !can_look(&server) {
        return;
    }
    server.authorize("work");
    let mut old = BTreeSet::new();
    for _ in 0..3 {
        old.insert(server.token("work"));
        old.extend(provider.current_refresh_token("work"));
        server.run(&["refresh", "-w", "1m", "work"]).expect(0);
    }
    assert_eq!(old.len(), 6);
    assert!(!traces(&server, &provider.last_access_token()).is_empty(), "the control");
    expect_none(&server, old.iter().map(|token| ("a replaced token", token)));
}

#[test]
fn a_dump_that_was_saved_or_restored_leaves_no_trace() {
    let provider = Provider::start(Settings::default());
    let config = format!("persist_cmd = \"cat > saved\";\n{}", provider.account("work", ""));
    let server = Pizauth::start(&config);
    if !can_look(&server) {
        return;
    }
    server.authorize("work");
    let saved = || server.folder().read("saved");
    eventually("a saved state", || saved().lines().count() > 2);
    let dump = server.run(&["dump"]).expect(0).stdout;
    server.run_with_input(&["restore"], dump.as_bytes()).expect(0);
    let lines: Vec<String> = [saved(), dump].iter().filter_map(|text| text.lines().nth(1).map(str::to_owned)).collect();
    expect_none(&server, lines.iter().map(|line| ("a line of a dump", line)));
    let token = server.token("work");
    server.run(&["revoke", "work"]).expect(0);
    expect_none(&server, [("the access token", &token)]);
}

#[test]
fn a_client_secret_that_is_not_configured_any_more_leaves_no_trace() {
    let provider = Provider::start(Settings { client_secret: None, ..Settings::default() });
    let secret = "a secret of thirty-two characters".to_owned();
    let account = |secret: &str| provider.account("work", &format!("client_secret = \"{secret}\";"));
    let server = Pizauth::start(&account(&secret));
    if !can_look(&server) {
        return;
    }
    server.authorize("work");
    assert!(!traces(&server, &secret).is_empty(), "the control");
    server.configure(&account("another one"));
    server.run(&["reload"]).expect(0);
    expect_none(&server, [("the client secret", &secret)]);
}
