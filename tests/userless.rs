//! Accounts without a user (the client credentials grant, RFC 6749 s4.4) on the real binary.

mod support;

use support::{
    eventually,
    http::visible_text,
    provider::{Answer, Provider, Settings},
    server::Pizauth,
};

fn config(provider: &Provider, options: &str) -> String {
    let account = provider.account("machine", &format!("grant = \"client_credentials\"; {options}"));
    // It has no authorization endpoint.
    account.lines().filter(|line| !line.contains("auth_uri")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_token_comes_without_anybody_and_is_kept_fresh() {
    let provider = Provider::start(Settings { expires_in: Some(3600), ..Settings::default() });
    let options = "scopes = [\"mail\", \"calendar\"]; token_uri_fields = {\"audience\": \"https://api.example\"};";
    let server = Pizauth::start(&config(&provider, options));
    let first = server.run(&["show", "-w", "60s", "machine"]).expect(0).stdout;
    assert_eq!(first.trim_end(), provider.last_access_token());
    let requests = provider.token_requests();
    assert_eq!(requests.len(), 1, "one request is enough");
    assert_eq!(requests[0].form("grant_type"), Some("client_credentials"));
    assert_eq!(requests[0].form("scope"), Some("mail calendar"));
    assert_eq!(requests[0].form("audience"), Some("https://api.example"));

    // Nobody asks, and at half of its life there is another.
    provider.change(|settings| settings.expires_in = Some(12));
    server.run(&["refresh", "-w", "60s", "machine"]).expect(0);
    provider.wait_for_issued(3);
    eventually("the other token", || server.token("machine") == provider.last_access_token());
    let grants: Vec<_> =
        provider.token_requests().iter().map(|request| request.form("grant_type").map(str::to_owned)).collect();
    assert!(grants.iter().all(|grant| grant.as_deref() == Some("client_credentials")), "{grants:?}");
}

#[test]
fn nobody_is_ever_asked_to_authorise() {
    let provider = Provider::start(Settings::default());
    for (name, answer, status, part) in [
        ("refused", Answer::error(401, "invalid_client", "no such client"), 1, "invalid_client: no such client"),
        ("not enabled", Answer::error(400, "unauthorized_client", ""), 1, "not enabled"),
        ("ended, which nothing can", Answer::error(400, "invalid_grant", "gone"), 1, "invalid_grant: gone"),
        ("down", Answer::html(503, "<h1>Busy"), 4, "HTTP status 503"),
        ("a captive portal", Answer::html(200, "<h1>Log in"), 4, "no token"),
    ] {
        provider.always_answer("/token", Some(answer));
        let server = Pizauth::start(&config(&provider, ""));
        eventually(name, || {
            let shown = server.run(&["show", "machine"]);
            assert!(shown.stdout.is_empty(), "{name}: {}", shown.stdout);
            assert!(matches!(shown.status, 1 | 4), "{name}: {} {}", shown.status, shown.stderr);
            assert!(!visible_text(&shown.stderr).contains("authorised with URL"), "{name}: {}", shown.stderr);
            shown.status == status && shown.stderr.contains(part)
        });
        let waited = server.run(&["show", "-w", "1s", "machine"]).expect(status);
        assert!(waited.stderr.contains(part), "{name}: {}", waited.stderr);
    }
}
