//! `show`: what is printed, what is waited for, and what is said when there is nothing to print.

use super::sim::{Sim, account, config, device_account, secs, tokens, userless_account};
use crate::{
    config::Account,
    engine::{Event, Hook, Level},
    oauth::Stage,
    proto::{AccountState, Notice, Reason, Request, Response, Show},
};

#[test]
fn a_usable_token_is_shown_with_what_is_known_of_it() {
    let mut sim = Sim::authorized();
    sim.sleep(secs(600));
    let conn = sim.show("work");
    let Some(Response::Token(token)) = sim.responses.get(&conn) else { panic!("{:?}", sim.responses.get(&conn)) };
    assert_eq!((token.access_token.expose().as_str(), token.expires_in), ("access-1", 3000));
    assert_eq!((token.expires_at.since(sim.now.wall), token.scope.as_deref()), (secs(3000), Some("mail")));
    assert_eq!(token.token_type, "Bearer");
}

#[test]
fn without_a_token_the_user_is_asked_once() {
    let mut sim = Sim::new(vec![account("work")]);
    let first = sim.show("work");
    let url = sim.url("work");
    let want = format!("work: Access token unavailable until authorised with URL {url}");
    assert_eq!(sim.failure(first), (Reason::Authorize, want.clone()));
    let second = sim.show("work");
    assert_eq!(sim.failure(second), (Reason::Authorize, want));
}

#[test]
fn urls_are_left_out_where_they_are_not_wanted() {
    let mut sim = Sim::new(vec![account("work")]);
    let show =
        crate::proto::Show { account: "work".to_owned(), wait: None, min_life: None, urls: false, git_host: None };
    let conn = sim.request(Request::Show(show));
    let (reason, message) = sim.failure(conn);
    assert_eq!(reason, Reason::Authorize);
    assert!(!message.contains("https:") && message.contains("pizauth auth work"), "{message}");
}

#[test]
fn an_unknown_account_is_an_error_in_every_request() {
    let mut sim = Sim::new(vec![account("work")]);
    let name = || "wrok".to_owned();
    for request in [
        Request::Show(crate::proto::Show { account: name(), wait: None, min_life: None, urls: true, git_host: None }),
        Request::Refresh { account: name(), wait: None, urls: true },
        Request::Auth { account: name(), wait: None, urls: true },
        Request::Paste { account: name(), text: "code=a&state=b".into() },
        Request::Revoke { account: name(), local: false },
        Request::Status { accounts: vec!["work".to_owned(), name()], urls: true },
    ] {
        let conn = sim.request(request);
        let (reason, message) = sim.failure(conn);
        assert_eq!(reason, Reason::Error);
        assert!(message.contains("wrok"), "{message}");
    }
}

#[test]
fn every_unknown_account_is_named() {
    let mut sim = Sim::new(vec![account("work")]);
    let accounts = ["a", "work", "b", "a"].map(str::to_owned).to_vec();
    let conn = sim.request(Request::Status { accounts, urls: true });
    let Some(Response::Failed { messages, .. }) = sim.responses.get(&conn) else { panic!("no failure") };
    assert_eq!(messages.len(), 2);
    assert!(messages[0].contains("'a'") && messages[1].contains("'b'"), "{messages:?}");
}

#[test]
fn all_who_wait_are_answered_when_the_login_arrives() {
    let mut sim = Sim::new(vec![account("work")]);
    let waiting: Vec<_> = (0..500).map(|_| sim.show_waiting("work", 60)).collect();
    sim.sleep(secs(20));
    sim.allow("work");
    assert!(waiting.iter().all(|conn| sim.is_waiting(*conn)));
    sim.answer_call(200, &tokens(1, 3600));
    assert!(waiting.iter().all(|conn| sim.token(*conn) == "access-1"));
    assert!(sim.engine.accounts[0].waiters.is_empty());
}

#[test]
fn who_waits_is_told_where_to_authorise_at_once() {
    let mut sim = Sim::new(vec![account("work")]);
    let conn = sim.show_waiting("work", 60);
    let url = sim.url("work");
    assert_eq!(sim.notices, [(conn, Notice::Authorize { url })]);
}

#[test]
fn when_the_time_is_up_the_answer_is_that_of_a_plain_show() {
    for (name, prepare, reason) in [
        ("no token", (|_: &mut Sim| ()) as fn(&mut Sim), Reason::Authorize),
        (
            "expired and failing",
            |sim: &mut Sim| {
                sim.authorize("work", &tokens(1, 3600));
                sim.suspend(secs(4000));
                sim.sleep(secs(1));
                sim.break_call(Stage::Connect);
            },
            Reason::Temporary,
        ),
    ] {
        let mut sim = Sim::new(vec![account("work")]);
        prepare(&mut sim);
        let waiting = sim.show_waiting("work", 10);
        sim.sleep(secs(9));
        assert!(sim.is_waiting(waiting), "{name}");
        sim.sleep(secs(1));
        let plain = sim.show("work");
        assert_eq!(sim.failure(waiting), sim.failure(plain), "{name}");
        assert_eq!(sim.reason(waiting), reason, "{name}");
    }
}

#[test]
fn a_client_that_is_gone_leaves_nothing_behind() {
    let mut sim = Sim::new(vec![account("work")]);
    let conn = sim.show_waiting("work", 60);
    sim.event(Event::Gone { conn });
    sim.authorize("work", &tokens(1, 3600));
    assert!(sim.is_waiting(conn) && sim.engine.accounts[0].waiters.is_empty());
}

#[test]
fn a_refused_authorization_ends_the_wait_with_its_reason() {
    let mut sim = Sim::new(vec![account("work")]);
    let conn = sim.show_waiting("work", 60);
    let state = sim.state("work");
    sim.browse(&format!("/?error=access_denied&error_description=Not+today&state={state}"));
    let (reason, message) = sim.failure(conn);
    assert_eq!(reason, Reason::Error);
    assert!(message.contains("access_denied: Not today"), "{message}");
}

#[test]
fn a_wait_goes_on_through_the_end_of_the_grant() {
    let mut sim = Sim::authorized();
    sim.suspend(secs(4000));
    let conn = sim.show_waiting("work", 600);
    sim.answer_call(400, r#"{"error":"invalid_grant"}"#);
    assert!(sim.is_waiting(conn));
    assert!(sim.notices.iter().any(|(to, notice)| *to == conn && matches!(notice, Notice::Authorize { .. })));
    sim.allow("work");
    sim.answer_call(200, &tokens(2, 3600));
    assert_eq!(sim.token(conn), "access-2");
}

#[test]
fn revoke_ends_a_wait() {
    let mut sim = Sim::new(vec![account("work")]);
    let conn = sim.show_waiting("work", 600);
    sim.revoke("work");
    let (reason, message) = sim.failure(conn);
    assert_eq!(reason, Reason::Error);
    assert!(message.contains("revoked"), "{message}");
}

#[test]
fn an_expired_token_is_not_shown_after_suspend_and_is_refreshed_at_once() {
    let mut sim = Sim::authorized();
    sim.suspend(secs(100_000));
    let conn = sim.show("work");
    let (reason, message) = sim.failure(conn);
    assert_eq!(reason, Reason::Temporary);
    assert!(message.contains("Access token has expired and refreshing has not yet succeeded"), "{message}");
    assert_eq!(sim.purposes(), ["refresh_token"]);
    let waiting = sim.show_waiting("work", 60);
    sim.answer_call(200, &tokens(2, 3600));
    assert_eq!(sim.token(waiting), "access-2");
}

#[test]
fn an_expired_token_without_refresh_token_asks_the_user() {
    let mut sim = Sim::new(vec![account("work")]);
    sim.authorize("work", r#"{"access_token":"a","expires_in":60}"#);
    assert_eq!(sim.logged(Level::Warn).len(), 1, "{:?}", sim.logs);
    sim.sleep(secs(61));
    let conn = sim.show("work");
    assert_eq!(sim.reason(conn), Reason::Authorize);
}

#[test]
fn show_in_a_loop_leaves_the_retry_time_alone() {
    let mut sim = Sim::authorized();
    sim.suspend(secs(4000));
    sim.sleep(secs(1));
    sim.answer_unavailable(None);
    let called = sim.called;
    for _ in 0..39 {
        let conn = sim.show("work");
        assert_eq!(sim.reason(conn), Reason::Temporary);
        assert_eq!(sim.called, called);
        sim.sleep(secs(1));
    }
    sim.sleep(secs(5));
    assert_eq!(sim.called, called + 1, "the retry itself");
}

#[test]
fn show_in_a_loop_keeps_the_pause_of_a_token_that_lives_a_second() {
    let mut sim = Sim::new(vec![account("work")]);
    sim.authorize("work", &tokens(1, 1));
    let mut refreshes = 0;
    for _ in 0..100 {
        sim.sleep(secs(1));
        sim.show("work");
        if !sim.calls.is_empty() {
            refreshes += 1;
            sim.answer_call(200, &tokens(2, 1));
        }
    }
    assert!((15..=20).contains(&refreshes), "{refreshes}");
}

#[test]
fn a_token_with_too_little_left_is_refreshed_first() {
    let mut sim = Sim::authorized();
    sim.sleep(secs(3300));
    let conn = sim.show_with("work", None, Some(600));
    assert!(sim.is_waiting(conn));
    sim.answer_call(200, &tokens(2, 180));
    assert_eq!(sim.token(conn), "access-2", "the provider gives no longer life");
    let called = sim.called;
    let again = sim.show_with("work", None, Some(600));
    assert_eq!((sim.token(again), sim.called), ("access-2", called), "obtained just now");
    sim.sleep(secs(6));
    let later = sim.show_with("work", None, Some(600));
    assert!(sim.is_waiting(later), "the pause is over");
}

#[test]
fn asking_for_a_longer_life_works_while_the_store_is_sealed() {
    let mut config = config(vec![account("work")]);
    config.restore_cmd = Some("restore".to_owned());
    let mut sim = Sim::start(config);
    sim.exit_hook(Hook::Restore, 1, "");
    sim.authorize("work", &tokens(1, 3600));
    sim.sleep(secs(3300));
    let conn = sim.show_with("work", None, Some(600));
    sim.answer_call(200, &tokens(2, 3600));
    assert_eq!(sim.token(conn), "access-2");
}

#[test]
fn a_dead_endpoint_leaves_a_token_with_too_little_left_usable() {
    let mut sim = Sim::authorized();
    sim.sleep(secs(3300));
    let conn = sim.show_with("work", None, Some(600));
    sim.break_call(Stage::Connect);
    let (reason, message) = sim.failure(conn);
    assert_eq!(reason, Reason::Temporary);
    assert!(!message.contains("has expired"), "{message}");
    let plain = sim.show("work");
    assert_eq!(sim.token(plain), "access-1");
}

#[test]
fn a_slow_endpoint_is_waited_for_30_s() {
    let mut sim = Sim::authorized();
    sim.sleep(secs(3300));
    let conn = sim.show_with("work", None, Some(600));
    sim.sleep(secs(29));
    assert!(sim.is_waiting(conn));
    sim.sleep(secs(1));
    assert_eq!(sim.reason(conn), Reason::Temporary);
}

#[test]
fn asking_for_a_life_waits_for_the_refresh_of_an_expired_token_too() {
    let mut sim = Sim::authorized();
    sim.suspend(secs(4000));
    let conn = sim.show_with("work", None, Some(600));
    assert!(sim.is_waiting(conn));
    sim.answer_call(200, &tokens(2, 3600));
    assert_eq!(sim.token(conn), "access-2");
    sim.suspend(secs(4000));
    for (name, end) in [
        ("no answer", (|sim: &mut Sim| sim.sleep(secs(30))) as fn(&mut Sim)),
        ("its retry time", |sim: &mut Sim| sim.break_call(Stage::Connect)),
        ("not yet its time again", |_: &mut Sim| ()),
    ] {
        let conn = sim.show_with("work", None, Some(600));
        end(&mut sim);
        assert_eq!(sim.reason(conn), Reason::Temporary, "{name}");
    }
}

#[test]
fn a_token_that_cannot_be_refreshed_is_printed_as_it_is() {
    let mut sim = Sim::new(vec![account("work")]);
    sim.authorize("work", r#"{"access_token":"a","expires_in":60}"#);
    sim.sleep(secs(30));
    let conn = sim.show_with("work", None, Some(600));
    assert_eq!(sim.token(conn), "a");
}

#[test]
fn a_refusal_that_waiting_does_not_mend_is_told() {
    let mut sim = Sim::authorized();
    sim.suspend(secs(4000));
    let waiting = sim.show_waiting("work", 60);
    sim.answer_call(401, r#"{"error":"invalid_client"}"#);
    let plain = sim.show("work");
    for conn in [waiting, plain] {
        let (reason, message) = sim.failure(conn);
        assert_eq!(reason, Reason::Error);
        assert!(message.contains("invalid_client"), "{message}");
    }
}

#[test]
fn an_account_without_user_never_asks_for_one() {
    let mut sim = Sim::new(vec![userless_account("work")]);
    let conn = sim.show("work");
    assert!(sim.is_waiting(conn), "a token is on its way");
    sim.answer_call(200, r#"{"access_token":"a","expires_in":60}"#);
    assert_eq!(sim.token(conn), "a");
    for (name, status, body, reason) in [
        ("transient", 503, "", Reason::Temporary),
        ("the grant cannot end", 400, r#"{"error":"invalid_grant"}"#, Reason::Error),
        ("refused", 400, r#"{"error":"unauthorized_client"}"#, Reason::Error),
    ] {
        let mut sim = Sim::new(vec![userless_account("work")]);
        let waiting = sim.show("work");
        sim.answer_call(status, body);
        assert_eq!(sim.reason(waiting), reason, "{name}");
        let plain = sim.show("work");
        assert_eq!(sim.reason(plain), reason, "{name}");
    }
}

#[test]
fn an_account_without_user_gets_its_token_again_after_revoke() {
    for (name, ask) in [
        ("show", (|sim: &mut Sim| sim.show("work")) as fn(&mut Sim) -> _),
        ("show -w", |sim: &mut Sim| sim.show_waiting("work", 60)),
        ("refresh -w", |sim: &mut Sim| sim.refresh("work", Some(60))),
        ("auth", |sim: &mut Sim| sim.auth("work", Some(60))),
    ] {
        let mut sim = Sim::new(vec![userless_account("work")]);
        sim.answer_call(200, r#"{"access_token":"a","expires_in":60}"#);
        let revoked = sim.request(Request::Revoke { account: "work".to_owned(), local: true });
        assert!(sim.done(revoked).is_empty(), "{name}");
        let conn = ask(&mut sim);
        assert!(sim.is_waiting(conn), "{name}");
        sim.answer_call(200, r#"{"access_token":"b","expires_in":60}"#);
        assert!(!sim.is_waiting(conn), "{name}");
        let show = sim.show("work");
        assert_eq!(sim.token(show), "b", "{name}");
    }
}

#[test]
fn a_device_account_is_waited_for_briefly() {
    let mut sim = Sim::new(vec![device_account("work")]);
    let conn = sim.show("work");
    sim.sleep(secs(4));
    assert!(sim.is_waiting(conn));
    sim.sleep(secs(1));
    assert_eq!(sim.reason(conn), Reason::Temporary);
}

#[test]
fn a_show_during_the_exchange_is_temporary() {
    let mut sim = Sim::new(vec![account("work")]);
    sim.auth("work", None);
    sim.allow("work");
    for conn in [sim.show("work"), sim.refresh("work", None)] {
        let (reason, message) = sim.failure(conn);
        assert_eq!(reason, Reason::Temporary);
        assert!(message.contains("being exchanged"), "{message}");
    }
}

#[test]
fn a_failed_authorization_does_not_end_the_wait_for_a_refresh() {
    let mut sim = Sim::authorized();
    sim.auth("work", None);
    let state = sim.state("work");
    sim.suspend(secs(4000));
    let conn = sim.show_waiting("work", 60);
    sim.browse(&format!("/?error=access_denied&state={state}"));
    assert!(sim.is_waiting(conn));
    sim.answer_call(200, &tokens(2, 3600));
    assert_eq!(sim.token(conn), "access-2");
}

#[test]
fn git_gets_a_token_for_the_accounts_hosts_only() {
    let hosts = vec!["git.example".to_owned()];
    let mut sim = Sim::authorized_with(config(vec![Account { git_hosts: hosts, ..account("work") }]));
    for (host, is_served) in [("git.example", true), ("evil.example", false)] {
        let account = "work".to_owned();
        let git_host = Some(host.to_owned());
        let conn = sim.request(Request::Show(Show { account, wait: None, min_life: None, urls: true, git_host }));
        match is_served {
            true => assert_eq!(sim.token(conn), "access-1"),
            false => assert_eq!(sim.reason(conn), Reason::Error),
        }
    }
}

#[test]
fn the_scope_is_the_requested_one_where_none_is_sent() {
    for (scopes, want) in [(vec!["a".to_owned(), "b".to_owned()], Some("a b")), (vec![], None)] {
        let mut sim = Sim::new(vec![Account { scopes, ..account("work") }]);
        sim.authorize("work", r#"{"access_token":"access-1","refresh_token":"refresh-1","expires_in":3600}"#);
        let conn = sim.show("work");
        let Response::Token(token) = &sim.responses[&conn] else { panic!("no token") };
        assert_eq!(token.scope.as_deref(), want);
        assert_eq!(sim.status("work").scope.as_deref(), want);
    }
}

#[test]
fn an_expired_token_is_told_though_an_authorization_is_open() {
    let mut sim = Sim::authorized();
    sim.refresh("work", None);
    sim.answer_call(503, "");
    sim.now.time = sim.now.time + secs(3600);
    sim.auth("work", None);
    assert_eq!(sim.status("work").state, AccountState::Expired);
}

#[test]
fn a_plain_show_waits_briefly_for_a_first_token_alone() {
    let dead = r#"{"access_token":"a","expires_in":60}"#;
    for (name, min_life) in [("show", None), ("show -t", Some(600))] {
        let mut sim = Sim::new(vec![userless_account("work")]);
        let conn = sim.show_with("work", None, min_life);
        sim.sleep(secs(4));
        assert!(sim.is_waiting(conn), "{name}");
        sim.sleep(secs(1));
        assert_eq!(sim.reason(conn), Reason::Temporary, "{name}");
    }
    let mut sim = Sim::new(vec![userless_account("work")]);
    sim.answer_call(200, dead);
    sim.suspend(secs(60));
    let conn = sim.show("work");
    assert_eq!((sim.reason(conn), sim.calls.len()), (Reason::Temporary, 1), "a refresh is no first token");
    let mut sim = Sim::new(vec![device_account("work")]);
    sim.auth("work", None);
    sim.answer_call(200, super::device::CODES);
    sim.sleep(secs(5));
    sim.answer_call(200, dead);
    sim.suspend(secs(60));
    let conn = sim.show_with("work", None, Some(600));
    sim.sleep(secs(5));
    assert_eq!(sim.reason(conn), Reason::Temporary, "without refresh token, a user code is asked for");
}

#[test]
fn a_token_that_lives_too_short_is_refreshed_when_the_provider_allows_it() {
    let mut sim = Sim::new(vec![account("home"), account("work")]);
    for name in ["home", "work"] {
        sim.authorize(name, &tokens(1, 3600));
    }
    sim.sleep(secs(600));
    sim.refresh("home", None);
    sim.answer_unavailable(Some("20"));
    let waiting = sim.show_with("work", Some(60), Some(3500));
    let hasty = sim.show_with("work", None, Some(3500));
    assert_eq!((sim.is_waiting(waiting), sim.reason(hasty)), (true, Reason::Temporary));
    sim.sleep(secs(19));
    assert!(sim.calls.is_empty());
    sim.sleep(secs(1));
    sim.answer_call(200, &tokens(2, 3600));
    assert_eq!(sim.token(waiting), "access-2");
}

#[test]
fn who_wants_the_longest_life_is_served_when_the_store_is_read() {
    let mut earlier = Sim::authorized();
    let dump = earlier.dump();
    earlier.sleep(secs(600));
    let mut config = config(vec![account("work")]);
    config.restore_cmd = Some("restore".to_owned());
    let mut sim = Sim::start_at(config, earlier.now);
    let (plain, demanding) = (sim.show_waiting("work", 60), sim.show_with("work", Some(60), Some(3500)));
    sim.exit_hook(Hook::Restore, 0, &dump);
    assert_eq!(sim.token(plain), "access-1");
    sim.answer_call(200, &tokens(2, 3600));
    assert_eq!(sim.token(demanding), "access-2");
}
