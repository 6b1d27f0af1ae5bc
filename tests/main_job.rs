//! The main job on the real binary: authorise, show, keep fresh, revoke, dump and restore, reload, shut down.

mod support;

use serde_json::Value;

use support::{
    eventually, eventually_some, http,
    http::visible_text,
    provider::{Answer, Approval, Provider, Rotation, Settings},
    server::{Home, Pizauth},
};

const PROCESSING: &str = "pizauth processing authentication: you can safely close this page.";

#[test]
fn a_login_brings_a_token() {
    let provider = Provider::start(Settings::default());
    let server = Pizauth::start(&provider.account("work", ""));
    assert_eq!(server.run(&["status"]).expect(0).stdout, "work: No access token\n");

    let asked = server.run(&["show", "work"]).expect(3);
    assert_eq!(asked.stdout, "");
    assert!(asked.stderr.starts_with("pizauth: "), "{}", asked.stderr);
    assert!(asked.stderr.contains("Access token unavailable until authorised with URL http://"), "{}", asked.stderr);
    assert_eq!(asked.stderr.lines().count(), 1, "{}", asked.stderr);
    let status = server.run(&["status"]).expect(0).stdout;
    assert!(status.starts_with("work: Access token pending authentication (last notification "), "{status}");

    let page = server.authorize("work");
    assert_eq!(page.status, 200);
    let text = visible_text(&page.body);
    assert!(text.contains(PROCESSING) && text.contains("work"), "{text}");
    assert_eq!(server.token("work"), provider.last_access_token());
    let status = server.run(&["status"]).expect(0).stdout;
    assert!(status.starts_with("work: Active access token (obtained ") && status.contains("; expires "), "{status}");
    assert_eq!(provider.counters().codes_redeemed, 1);
    assert_eq!(provider.counters().codes_reused, 0);
}

#[test]
fn show_without_url_keeps_the_url_to_itself() {
    let provider = Provider::start(Settings::default());
    let server = Pizauth::start(&provider.account("work", ""));
    let asked = server.run(&["show", "-u", "work"]).expect(3);
    assert_eq!(asked.stdout, "");
    assert!(!asked.stderr.contains("http"), "{}", asked.stderr);
}

#[test]
fn the_page_speaks_before_and_after_the_token_endpoint_has_answered() {
    let provider = Provider::start(Settings::default());
    let server = Pizauth::start(&provider.account("work", ""));
    for (name, answer) in
        [("failure", Some(Answer::error(400, "invalid_grant", "the <b>moon</b> is full"))), ("success", None)]
    {
        let asked = provider.token_requests().len();
        provider.hold();
        answer.into_iter().for_each(|answer| provider.next_token_answer(answer));
        let mut page = http::browse(&server.authorization_url("work")).expect("a page");
        let before = page.read_until(PROCESSING);
        provider.wait_for_token_requests(asked + 1);
        provider.release();
        let after = page.finish().expect("the rest of the page").body;
        assert!(after.len() > before.len(), "{name}: nothing more came");
        let is_failure = name == "failure";
        assert_eq!(after.contains("the &lt;b&gt;moon&lt;/b&gt; is full"), is_failure, "{name}: {after}");
        assert_eq!(server.run(&["show", "work"]).status, if is_failure { 3 } else { 0 }, "{name}");
    }
}

#[test]
fn a_repeat_of_the_redirect_gets_the_same_outcome_and_sends_no_code() {
    let provider = Provider::start(Settings::default());
    let server = Pizauth::start(&provider.account("work", ""));
    let redirect = http::get(&server.authorization_url("work"));
    let location = redirect.header("location").expect("a redirect").to_owned();
    let favicon = location.split_once('?').map(|(start, _)| format!("{start}favicon.ico")).expect("a query");
    assert!((400..500).contains(&http::get(&favicon).status));
    assert!((400..500).contains(&http::get(&location.replace("state=", "state=x")).status));
    assert_eq!(provider.token_requests().len(), 0);
    for _ in 0..2 {
        let page = http::get(&location);
        assert_eq!(page.status, 200);
        assert!(visible_text(&page.body).contains("work"), "{}", page.body);
    }
    assert_eq!(server.token("work"), provider.last_access_token());
    assert_eq!(provider.counters().codes_reused, 0);
}

#[test]
fn a_refused_login_is_told_on_the_page() {
    let provider = Provider::start(Settings { approval: Approval::Denied, ..Settings::default() });
    let server = Pizauth::start(&provider.account("work", ""));
    let page = server.authorize("work");
    let text = visible_text(&page.body);
    assert!(text.contains("access_denied") && text.contains("the user said no"), "{text}");
    assert_eq!(provider.token_requests().len(), 0);
    server.run(&["show", "work"]).expect(3);
}

#[test]
fn refresh_brings_a_new_token_and_keeps_to_the_rotated_refresh_token() {
    let provider = Provider::start(Settings { rotation: Rotation::Strict, ..Settings::default() });
    let server = Pizauth::start(&provider.account("work", ""));
    server.authorize("work");
    for _ in 0..3 {
        let before = server.token("work");
        server.run(&["refresh", "work"]).expect(0);
        eventually("a new token", || server.token("work") != before);
        assert_eq!(server.token("work"), provider.last_access_token());
    }
    assert_eq!(provider.counters().refresh_tokens_reused, 0);
}

#[test]
fn a_token_is_refreshed_before_it_expires() {
    let provider = Provider::start(Settings { expires_in: Some(4), ..Settings::default() });
    let server = Pizauth::start(&provider.account("work", "refresh_before_expiry = 2s; refresh_retry = 1s;"));
    server.authorize("work");
    let first = server.token("work");
    let second = eventually_some("a new token", || {
        let shown = server.run(&["show", "work"]).expect(0).stdout;
        (shown.trim_end() != first).then(|| shown.trim_end().to_owned())
    });
    assert!(provider.is_honoured(&second));
    assert_eq!(provider.counters().codes_redeemed, 1);
}

#[test]
fn an_ended_grant_asks_for_a_login() {
    let provider = Provider::start(Settings::default());
    let server = Pizauth::start(&provider.account("work", ""));
    server.authorize("work");
    provider.revoke_client("work");
    server.run(&["refresh", "work"]).expect(0);
    eventually("the end of the grant", || server.run(&["show", "work"]).status == 3);
    server.authorize("work");
    assert_eq!(server.token("work"), provider.last_access_token());
}

#[test]
fn an_outage_costs_no_token() {
    let provider = Provider::start(Settings::default());
    let server = Pizauth::start(&provider.account("work", "refresh_retry = 1s;"));
    server.authorize("work");
    let first = server.token("work");
    for answer in [
        Answer::new(200, "text/html", "<h1>Please log in to the network</h1>"),
        Answer::error(503, "server_error", "busy"),
        Answer::usual().cut(support::provider::Cut::BeforeHead),
    ] {
        provider.next_token_answer(answer);
    }
    server.run(&["refresh", "work"]).expect(0);
    assert_eq!(server.token("work"), first);
    provider.wait_for_token_requests(5);
    eventually("a new token", || server.token("work") != first);
}

#[test]
fn revoke_forgets_the_token() {
    let provider = Provider::start(Settings::default());
    let server = Pizauth::start(&provider.account("work", ""));
    server.authorize("work");
    server.run(&["revoke", "work"]).expect(0);
    assert_eq!(server.run(&["status"]).expect(0).stdout, "work: No access token\n");
    assert_eq!(server.run(&["show", "work"]).expect(3).stdout, "");
}

#[test]
fn a_dump_is_restored_by_another_server() {
    let provider = Provider::start(Settings::default());
    let config = [provider.account("work", ""), provider.account("home", "")].concat();
    let server = Pizauth::start(&config);
    server.authorize("work");
    let token = server.token("work");
    let dump = server.run(&["dump"]).expect(0);
    assert!(dump.stdout.starts_with("pizauth-dump 1\n"), "{}", dump.stdout);
    for secret in [&token, &provider.current_refresh_token("work").expect("a refresh token")] {
        assert!(!dump.bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "a secret in plain text");
    }
    let home = server.shutdown();

    let server = Pizauth::start_in(home);
    server.run_with_input(&["restore"], &dump.bytes).expect(0);
    assert_eq!(server.token("work"), token);
    assert!(server.run(&["status"]).expect(0).stdout.contains("home: No access token"));

    for (name, damaged) in
        [("cut short", &dump.bytes[..dump.bytes.len() - 8]), ("not a dump", b"pizauth-dump 1\nhello\n".as_slice())]
    {
        server.run_with_input(&["restore"], damaged).expect(1);
        assert_eq!(server.token("work"), token, "{name}");
    }

    let changed = Pizauth::start(&provider.account("work", "scopes = [\"mail\"];"));
    changed.run_with_input(&["restore"], &dump.bytes).expect(0);
    changed.run(&["show", "work"]).expect(3);
}

#[test]
fn reload_changes_everything_or_nothing() {
    let provider = Provider::start(Settings::default());
    let work = provider.account("work", "");
    let server = Pizauth::start(&work);
    server.authorize("work");
    let token = server.token("work");

    server.configure(&[work.as_str(), &provider.account("home", "")].concat());
    server.run(&["reload"]).expect(0);
    assert_eq!(server.token("work"), token);
    assert!(server.run(&["status"]).expect(0).stdout.starts_with("home: No access token\nwork: Active"));

    server.configure("account \"work\" {\n    nonsense = 1;\n}\n");
    let refused = server.run(&["reload"]).expect(1);
    assert!(refused.stderr.contains("pizauth.conf:2:5: "), "{}", refused.stderr);
    assert_eq!(server.token("work"), token);
    server.run(&["show", "home"]).expect(3);

    server.configure(&provider.account("work", "scopes = [\"mail\"];"));
    server.signal("HUP");
    eventually("the loss of a changed account's token", || server.run(&["show", "work"]).status == 3);
    server.run(&["show", "home"]).expect(1);
}

#[test]
fn the_port_that_is_held_can_be_fixed_by_reload() {
    let provider = Provider::start(Settings::default());
    let account = provider.account("work", "");
    let server = Pizauth::start(&account);
    let url = server.authorization_url("work");
    let info: Value = serde_json::from_str(&server.run(&["info", "-j"]).expect(0).stdout).expect("JSON");
    let port = info["server_info"]["http_port"].as_str().expect("a port").to_owned();
    for host in ["127.0.0.1", "localhost"] {
        server.configure(&format!("http_listen = \"{host}:{port}\";\n{account}"));
        server.run(&["reload"]).expect(0);
        assert_eq!(server.authorization_url("work"), url, "{host}: the login stays open");
    }
    server.authorize("work");
    assert_eq!(server.token("work"), provider.last_access_token());
}

#[test]
fn shutdown_and_signals_end_the_server_cleanly() {
    let config = Provider::start(Settings::default()).account("work", "");
    for (name, end) in [("shutdown", None), ("SIGTERM", Some("TERM")), ("SIGINT", Some("INT"))] {
        let server = Pizauth::start(&config);
        assert!(server.socket().exists());
        match end {
            None => _ = server.run(&["shutdown"]).expect(0),
            Some(signal) => server.signal(signal),
        }
        let (status, home) = server.wait();
        assert!(status.success(), "{name}: {status}");
        assert!(!home.socket().exists(), "{name} leaves the socket");
        home.run(&["show", "work"]).expect(5);
    }
}

#[test]
fn a_killed_server_can_be_started_again() {
    let provider = Provider::start(Settings::default());
    let home = Pizauth::start(&provider.account("work", "")).kill();
    assert!(home.socket().exists());
    home.run(&["status"]).expect(5);
    let server = Pizauth::start_in(home);
    server.authorize("work");
    assert_eq!(server.token("work"), provider.last_access_token());
}

#[test]
fn a_second_server_is_refused() {
    let provider = Provider::start(Settings::default());
    let server = Pizauth::start(&provider.account("work", ""));
    let second = server.run(&["server", "-d"]).expect(1);
    assert!(second.stderr.contains("pizauth authenticator already running"), "{}", second.stderr);
    server.run(&["status"]).expect(0);
}

#[test]
fn proxies_do_not_stand_before_loopback() {
    let provider = Provider::start(Settings::default());
    let mut home = Home::new(&provider.account("work", ""));
    for name in ["http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        home = home.env(name, "http://127.0.0.1:1");
    }
    let server = Pizauth::start_in(home);
    server.authorize("work");
    assert_eq!(server.token("work"), provider.last_access_token());
}

#[test]
fn wrong_usage_and_unknown_accounts_have_their_own_exit_status() {
    let provider = Provider::start(Settings::default());
    let server = Pizauth::start(&provider.account("work", ""));
    for (arguments, status) in [
        (&["show", "nobody"][..], 1),
        (&["refresh", "nobody"], 1),
        (&["revoke", "nobody"], 1),
        (&["show"], 2),
        (&["nonsense"], 2),
        (&["show", "--nonsense", "work"], 2),
        (&["-h"], 0),
        (&["-V"], 0),
        (&["show", "-h"], 0),
    ] {
        let output = server.run(arguments);
        assert_eq!(output.status, status, "{arguments:?}: {}", output.stderr);
        assert_eq!(output.stdout.is_empty(), status != 0, "{arguments:?}: {}", output.stdout);
        assert_eq!(output.stderr.is_empty(), status == 0, "{arguments:?}: {}", output.stderr);
    }
}
