//! What becomes of tokens when a provider's answers are unusual, wrong or missing, on the real binary.

mod support;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{
    control::Control,
    eventually,
    http::visible_text,
    process::figures,
    provider::{Answer, Provider, Settings},
    server::Pizauth,
};

/// Accounts whose refresh is due at once.
const MANY: usize = 400;

/// Requests to token endpoints at once.
const AT_ONCE: usize = 32;

/// Memory for all those accounts and requests, in kB.
const MEMORY: u64 = 64 * 1024;

/// The one account of `pizauth status -j`.
#[track_caller]
fn status(server: &Pizauth) -> Value {
    let output = server.run(&["status", "-j"]).expect(0).stdout;
    let mut status: Value = serde_json::from_str(&output).expect("a JSON object");
    status["accounts"][0].take()
}

/// Seconds between two times of day of `status -j`, less than a day apart.
#[track_caller]
fn seconds_between(from: &Value, to: &Value) -> i64 {
    let seconds = |time: &Value| {
        let text = time.as_str().and_then(|text| text.split_once('T')).expect("a time of RFC 3339").1;
        let parts = text.trim_end_matches('Z').split(':').map(|part| part.split('.').next().unwrap_or_default());
        parts.fold(0, |sum, part| sum * 60 + part.parse::<i64>().expect("a number"))
    };
    (seconds(to) - seconds(from)).rem_euclid(24 * 60 * 60)
}

#[test]
fn a_captive_portal_costs_no_token() {
    let provider = Provider::start(Settings::default());
    let server = Pizauth::start(&provider.account("work", "refresh_retry = 1s;"));
    server.authorize("work");
    let first = server.token("work");
    let refresh_token = provider.current_refresh_token("work");
    provider.next_token_answer(Answer::html(200, "<h1>Welcome to the airport</h1>"));
    server.run(&["refresh", "work"]).expect(0);
    provider.wait_for_token_requests(2);
    assert_eq!(server.token("work"), first);
    provider.wait_for_issued(2);
    eventually("the new token", || server.token("work") == provider.last_access_token());
    assert_eq!(provider.current_refresh_token("work"), refresh_token);
}

#[test]
fn a_token_of_unknown_life_lives_as_long_as_assumed() {
    for (name, expires_in, options, want) in [
        ("none", None, "", 3600),
        ("none, configured", None, "assume_expires_in = 2h;", 7200),
        ("zero", Some(json!(0)), "", 3600),
        ("negative", Some(json!(-1)), "", 3600),
        ("null", Some(Value::Null), "", 3600),
        ("a string", Some(json!("1800")), "", 1800),
        ("a fraction", Some(json!(1800.9)), "", 1800),
    ] {
        let token_fields = expires_in.map(|value| ("expires_in".to_owned(), value)).into_iter().collect();
        let provider = Provider::start(Settings { expires_in: None, token_fields, ..Settings::default() });
        let server = Pizauth::start(&provider.account("work", options));
        server.authorize("work");
        let status = status(&server);
        assert_eq!(status["state"], "active", "{name}: {status}");
        // It began when the token was asked for, and was obtained a little later.
        let life = seconds_between(&status["obtained_at"], &status["expires_at"]);
        assert!((want - 60..=want).contains(&life), "{name}: {status}");
        assert_eq!(provider.token_requests().len(), 1, "{name}");
    }
}

#[test]
fn a_token_type_in_any_case_is_bearer() {
    for token_type in [json!("bearer"), json!("BEARER"), Value::Null] {
        let token_fields = [("token_type".to_owned(), token_type.clone())].into_iter().collect();
        let provider = Provider::start(Settings { token_fields, ..Settings::default() });
        let server = Pizauth::start(&provider.account("work", ""));
        let page = server.authorize("work");
        assert_eq!(server.run(&["show", "work"]).status, 0, "{token_type}: {}", visible_text(&page.body));
    }
}

#[test]
fn a_refusal_is_told_with_its_reason_and_advice() {
    let provider = Provider::start(Settings::default());
    let server = Pizauth::start(&provider.account("work", ""));
    let refusal = || Answer::error(400, "invalid_grant", "AADSTS700082: The refresh token has expired.");

    provider.next_token_answer(refusal());
    let page = server.authorize("work");
    let text = visible_text(&page.body);
    server.authorize("work");
    provider.next_token_answer(refusal());
    let refreshed = server.run(&["refresh", "-w", "1m", "work"]).expect(3).stderr;
    let status = server.run(&["status"]).expect(0).stdout;
    for (name, text) in [("page", text), ("stderr", refreshed), ("status", status), ("log", server.log())] {
        for part in ["invalid_grant", "AADSTS700082: The refresh token has expired.", "400", "authorise again"] {
            assert!(text.contains(part), "{name} lacks {part:?}: {text}");
        }
    }
}

#[test]
fn refreshes_due_at_once_take_turns() {
    let provider = Provider::start(Settings::default());
    let names: Vec<String> = (0..MANY).map(|number| format!("account{number}")).collect();
    let config: String = names.iter().map(|name| provider.account(name, "")).collect();
    let server = Pizauth::start(&config);
    let mut client = Control::connect(&server.socket());
    for name in &names {
        let url = client.authorization_url(name);
        let page = support::http::browse(&url).and_then(support::http::Exchange::finish).expect("a page");
        assert_eq!(page.status, 200, "{}", page.body);
    }
    assert_eq!(provider.issued().len(), MANY);

    provider.hold();
    // The same accounts with a refresh that should have come long ago: all of them at once.
    server.configure(&["refresh_at_least = 1s;\n", &config].concat());
    server.run(&["reload"]).expect(0);
    provider.wait_for_token_requests(MANY + AT_ONCE);
    assert_eq!(server.token("account7"), provider.issued()[7].access_token, "show waits for nobody");
    assert_eq!(provider.in_progress(), AT_ONCE);
    let mut threads = figures(server.pid()).map_or(0, |figures| figures.threads);
    provider.release();
    eventually("all refreshes", || {
        threads = threads.max(figures(server.pid()).map_or(0, |figures| figures.threads));
        provider.issued().len() >= 2 * MANY
    });
    assert!(threads <= AT_ONCE + 1, "{threads} threads");
    let peak = figures(server.pid()).map_or(0, |figures| figures.peak_rss);
    assert!(peak < MEMORY, "{peak} kB");
    server.configure(&config);
    server.run(&["reload"]).expect(0);
}

#[test]
fn a_short_lived_token_is_refreshed_at_half_of_its_life() {
    let provider = Provider::start(Settings { expires_in: Some(60), ..Settings::default() });
    let server = Pizauth::start(&provider.account("work", ""));
    server.authorize("work");
    let status = status(&server);
    assert_eq!(seconds_between(&status["obtained_at"], &status["expires_at"]), 60, "{status}");
    assert_eq!(seconds_between(&status["obtained_at"], &status["next_refresh_at"]), 30, "{status}");
    assert_eq!(provider.token_requests().len(), 1);
}

#[test]
fn between_two_refreshes_lies_a_pause_however_short_tokens_live() {
    let provider = Provider::start(Settings { expires_in: Some(1), ..Settings::default() });
    let server = Pizauth::start(&provider.account("work", "refresh_retry = 2s;"));
    server.authorize("work");
    provider.wait_for_token_requests(2);
    let start = Instant::now();
    provider.wait_for_token_requests(4);
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(3_900), "two refreshes came within {took:?}");
}

#[test]
fn asking_in_a_loop_makes_no_requests_while_the_provider_is_down() {
    let provider = Provider::start(Settings { expires_in: Some(2), ..Settings::default() });
    let server = Pizauth::start(&provider.account("work", ""));
    server.authorize("work");
    provider.always_answer("/token", Some(Answer::error(500, "server_error", "out of order")));
    let mut client = Control::connect(&server.socket());
    eventually("the end of the token", || client.token("work").is_none());
    provider.wait_for_token_requests(2);
    eventually("the end of the request", || provider.in_progress() == 0);
    let before = provider.token_requests().len();
    for _ in 0..200 {
        let answer = client.ask("show", "work");
        assert_eq!(answer["reason"], "temporary", "{answer}");
    }
    let shown = server.run(&["show", "work"]).expect(4);
    assert!(shown.stderr.contains("out of order"), "{}", shown.stderr);
    assert_eq!(provider.token_requests().len(), before);
    // Only `refresh` asks at once.
    server.run(&["refresh", "work"]).expect(0);
    provider.wait_for_token_requests(before + 1);
}
