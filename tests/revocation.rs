//! `revoke` at the provider (RFC 7009) on the real binary: what is asked, and that it is forgotten here in any case.

mod support;

use support::{
    provider::{Answer, Provider, Settings},
    server::Pizauth,
};

/// A server with a token, and with a revocation endpoint at `revocation_uri`.
#[track_caller]
fn authorised(provider: &Provider, revocation_uri: &str) -> Pizauth {
    let server = Pizauth::start(&provider.account("work", &format!("revocation_uri = \"{revocation_uri}\";")));
    server.authorize("work");
    server
}

#[track_caller]
fn assert_forgotten(name: &str, server: &Pizauth) {
    assert_eq!(server.run(&["status"]).expect(0).stdout, "work: No access token\n", "{name}");
    assert_eq!(server.run(&["show", "work"]).expect(3).stdout, "", "{name}");
}

#[test]
fn the_refresh_token_goes_first_and_then_the_access_token() {
    let provider = Provider::start(Settings::default());
    let server = authorised(&provider, &provider.url("/revoke"));
    let token = server.token("work");
    let refresh_token = provider.current_refresh_token("work").expect("a refresh token");
    assert!(provider.is_honoured(&token));
    let output = server.run(&["revoke", "work"]).expect(0);
    assert_eq!((output.stdout, output.stderr), (String::new(), String::new()));
    assert!(!provider.is_honoured(&token));

    let asked: Vec<_> = provider.requests().into_iter().filter(|request| request.path == "/revoke").collect();
    let named: Vec<_> = asked.iter().map(|request| (request.form("token"), request.form("token_type_hint"))).collect();
    let want = [(Some(refresh_token.as_str()), Some("refresh_token")), (Some(token.as_str()), Some("access_token"))];
    assert_eq!(named, want);
    assert_forgotten("revoked", &server);
}

#[test]
fn a_token_that_went_with_the_other_is_no_failure() {
    let provider = Provider::start(Settings::default());
    let server = authorised(&provider, &provider.url("/revoke"));
    provider.next_answer("/revoke", Answer::usual());
    provider.next_answer("/revoke", Answer::error(400, "invalid_token", "Token expired or revoked"));
    assert_eq!(server.run(&["revoke", "work"]).expect(0).stderr, "");
    assert_eq!(provider.requests().iter().filter(|request| request.path == "/revoke").count(), 2);
    assert_forgotten("revoked", &server);
}

#[test]
fn it_is_forgotten_here_whatever_the_provider_says() {
    let provider = Provider::start(Settings::default());
    let elsewhere = "http://127.0.0.1:1/revoke";
    for (name, uri, answer, part) in [
        ("refused", None, Some(Answer::error(400, "unsupported_token_type", "never")), "unsupported_token_type: never"),
        ("a wrong client", None, Some(Answer::error(401, "invalid_client", "")), "invalid_client"),
        ("down", None, Some(Answer::html(503, "<h1>Busy")), "HTTP status 503"),
        ("not there", None, Some(Answer::html(404, "<h1>No")), "HTTP status 404"),
        ("moved", None, Some(Answer::redirect(302, "/elsewhere")), "/elsewhere"),
        ("unreachable", Some(elsewhere), None, "connection to 127.0.0.1:1 refused"),
    ] {
        provider.always_answer("/revoke", answer);
        let own = provider.url("/revoke");
        let server = authorised(&provider, uri.unwrap_or(&own));
        let output = server.run(&["revoke", "work"]).expect(0);
        assert_eq!(output.stdout, "", "{name}");
        let lines: Vec<_> = output.stderr.lines().collect();
        assert!(!lines.is_empty() && lines.len() <= 2, "{name}: {lines:?}");
        for line in lines {
            assert!(line.starts_with("pizauth: work: the token is forgotten here, but not revoked"), "{name}: {line}");
            assert!(line.contains(part), "{name}: {line}");
        }
        assert_forgotten(name, &server);
    }
}

#[test]
fn without_the_network_nothing_is_asked() {
    let provider = Provider::start(Settings::default());
    for (name, options, arguments) in [
        ("-l", format!("revocation_uri = \"{}\";", provider.url("/revoke")), &["revoke", "-l", "work"][..]),
        ("no endpoint", String::new(), &["revoke", "work"]),
    ] {
        let server = Pizauth::start(&provider.account("work", &options));
        server.authorize("work");
        let token = server.token("work");
        assert_eq!(server.run(arguments).expect(0).stderr, "", "{name}");
        assert_forgotten(name, &server);
        assert!(provider.is_honoured(&token), "{name}");
    }
    assert!(provider.requests().iter().all(|request| request.path != "/revoke"));
}
