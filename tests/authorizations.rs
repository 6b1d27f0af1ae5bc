//! Authorizations on the real binary: none is lost, whatever goes on beside it, and each ends on a page.

mod support;

use support::{
    control::Control,
    eventually,
    http::{self, visible_text},
    provider::{Approval, Provider, Settings},
    server::{Home, Pizauth},
};

/// How many logins follow each other.
const LOGINS: usize = 2_000;

#[test]
fn no_login_of_thousands_is_lost_while_hooks_run() {
    let provider = Provider::start(Settings::default());
    // The shortest reminder there is, so that notifiers start and are ended while codes are exchanged.
    let hooks = "auth_notify_cmd = \"exec sleep 1000\";\nauth_notify_interval = 1s;\ntoken_event_cmd = \":\";\n";
    let home = Home::new(&[hooks, &provider.account("work", "")].concat());
    let server = Pizauth::start_in(home);
    let mut client = Control::connect(&server.socket());
    for login in 0..LOGINS {
        let url = client.authorization_url("work");
        let page = http::browse(&url).and_then(http::Exchange::finish).expect("the login ends on a page");
        assert_eq!(page.status, 200, "login {login}: {}", page.body);
        let token = client.token("work").unwrap_or_else(|| panic!("login {login} is lost; its page: {}", page.body));
        assert_eq!(token, provider.last_access_token(), "login {login}");
        let revoked = client.ask("revoke", "work");
        assert_eq!(revoked["answer"], "done", "login {login}: {revoked}");
    }
    assert_eq!(provider.counters().codes_redeemed, LOGINS);
    assert_eq!(provider.counters().codes_reused, 0);
}

#[test]
fn refresh_and_show_go_on_with_the_login_that_is_open() {
    let provider = Provider::start(Settings::default());
    let server = Pizauth::start(&provider.account("work", ""));
    let url = server.authorization_url("work");
    let refused = server.run(&["refresh", "work"]);
    assert!(refused.stderr.contains(&url), "status {}, {}", refused.status, refused.stderr);
    assert_eq!(server.authorization_url("work"), url);
    let page = http::browse(&url).and_then(http::Exchange::finish).expect("a page");
    assert_eq!(page.status, 200, "{}", page.body);
    assert_eq!(server.token("work"), provider.last_access_token());
}

#[test]
fn a_login_hint_is_sent() {
    let provider = Provider::start(Settings::default());
    let server = Pizauth::start(&provider.account("work", "login_hint = \"me@example.org\";"));
    let url = server.authorization_url("work");
    assert_eq!(http::field(&http::query(&url), "login_hint"), Some("me@example.org"), "{url}");
}

#[test]
fn a_refusal_shows_a_page_that_says_who_refused_what() {
    let provider = Provider::start(Settings { approval: Approval::Denied, ..Settings::default() });
    let folder = Home::new("");
    let told = folder.folder().join("told");
    let hook = format!("error_notify_cmd = \"echo \\\"$PIZAUTH_ACCOUNT: $PIZAUTH_MSG\\\" > {}\";\n", told.display());
    let server = Pizauth::start(&[hook.as_str(), &provider.account("work", "")].concat());
    let page = server.authorize("work");
    let text = visible_text(&page.body);
    for part in ["work", "access_denied", "the user said no"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    eventually("the hook", || folder.folder().read("told").contains("the user said no"));
    assert!(folder.folder().read("told").starts_with("work: "));
    let status = server.run(&["status"]).expect(0).stdout;
    assert!(status.contains("access_denied"), "{status}");
}

#[test]
fn everybody_who_waits_is_answered_by_one_login() {
    let provider = Provider::start(Settings::default());
    let server = Pizauth::start(&provider.account("work", ""));
    let url = server.authorization_url("work");
    let mut waiting: Vec<Control> = (0..8).map(|_| Control::connect(&server.socket())).collect();
    for client in &mut waiting {
        client.send(b"{\"version\":1,\"request\":\"show\",\"account\":\"work\",\"wait\":600}\n");
        let notice = client.line().expect("a notice for who waits");
        assert_eq!(notice["url"], url.as_str(), "{notice}");
    }
    http::browse(&url).and_then(http::Exchange::finish).expect("a page");
    for client in &mut waiting {
        let answer = client.answer().expect("an answer");
        assert_eq!(answer["access_token"], provider.last_access_token(), "{answer}");
    }
    assert_eq!(provider.token_requests().len(), 1);
}
