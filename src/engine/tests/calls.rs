//! Requests under way: how many, whose turn it is, what becomes of those that nobody wants; and client secrets.

use super::sim::{Sim, account, bound, command_account, config, secs, tokens};
use crate::{
    config::Account,
    engine::{ChildEnd, Event, Hook, Page, account::ClientSecret},
    oauth::Stage,
    proto::{AccountState, Reason, Request},
    secret::Secret,
};

fn many(count: usize) -> Sim {
    let names: Vec<String> = (0..count).map(|number| format!("a{number:03}")).collect();
    let mut sim = Sim::new(names.iter().map(|name| account(name)).collect());
    for (number, name) in (1000..).zip(names) {
        sim.authorize(&name, &tokens(number, 3600));
    }
    sim
}

#[test]
fn at_most_32_requests_are_under_way() {
    let mut sim = many(400);
    let called = sim.called;
    sim.sleep(secs(3510));
    assert_eq!(sim.calls.len(), 32);
    while let Some(ticket) = sim.calls.keys().next().copied() {
        sim.answer(ticket, 200, &tokens(2, 3600));
        assert!(sim.calls.len() <= 32);
    }
    assert_eq!(sim.called - called, 400);
}

#[test]
fn requests_somebody_waits_for_go_first() {
    let mut sim = many(100);
    sim.sleep(secs(3510));
    sim.show_with("a090", None, Some(1000));
    let first = sim.call_of_longest_wait();
    sim.answer(first, 200, &tokens(2, 3600));
    let newest = *sim.calls.keys().max().unwrap();
    sim.answer(newest, 200, &tokens(7, 3600));
    let show = sim.show("a090");
    assert_eq!(sim.token(show), "access-7");
}

#[test]
fn who_waits_goes_first_in_the_order_of_asking() {
    let mut sim = many(40);
    sim.sleep(secs(3510));
    sim.request(Request::Revoke { account: "a000".to_owned(), local: true });
    assert_eq!(sim.next_call(), "refresh-1032", "nobody waits for what a late answer has revoked");
    sim.revoke("a039");
    sim.revoke("a038");
    assert_eq!(sim.next_call(), "revoke refresh-1039", "somebody waits for this one");
    assert_eq!(sim.next_call(), "revoke refresh-1038");
    sim.auth("a001", None);
    sim.allow("a001");
    assert_eq!(sim.next_call(), "authorization_code");
    for name in ["a036", "a037"] {
        sim.show_with(name, Some(600), Some(3000));
    }
    for want in ["refresh-1036", "refresh-1037", "refresh-1033"] {
        assert_eq!(sim.next_call(), want);
    }
}

#[test]
fn a_request_without_answer_is_given_up_but_counts() {
    let mut sim = many(33);
    for number in 0..33 {
        sim.refresh(&format!("a{number:03}"), None);
    }
    sim.sleep(secs(35));
    assert_eq!(sim.calls.len(), 32, "all of them may still be on their way");
    let ticket = *sim.calls.keys().next().unwrap();
    sim.answer(ticket, 503, "");
    assert_eq!(sim.calls.len(), 32, "the next had its turn");
}

#[test]
fn what_a_request_brings_after_revoke_is_revoked() {
    for (name, revocation_uri, calls) in [("with an endpoint", true, 1), ("without", false, 0)] {
        let mut account = account("work");
        account.revocation_uri = account.revocation_uri.filter(|_| revocation_uri);
        let mut sim = Sim::authorized_with(config(vec![account]));
        sim.refresh("work", None);
        sim.request(Request::Revoke { account: "work".to_owned(), local: true });
        sim.answer_call(200, &tokens(2, 3600));
        assert_eq!(sim.calls.len(), calls, "{name}");
        if let Some(ticket) = sim.calls.keys().next().copied() {
            assert_eq!(sim.field(ticket, "token").as_deref(), Some("refresh-2"));
            sim.answer(ticket, 200, "");
            let ticket = sim.call();
            assert_eq!(sim.field(ticket, "token").as_deref(), Some("access-2"));
            sim.answer(ticket, 200, "");
        }
        assert!(sim.calls.is_empty());
        let show = sim.show("work");
        assert_eq!(sim.reason(show), Reason::Authorize, "{name}");
    }
}

#[test]
fn a_refresh_token_in_flight_is_not_sent_again_though_its_account_was_changed_and_changed_back() {
    let mut sim = Sim::authorized();
    let dump = sim.dump();
    sim.refresh("work", None);
    sim.reload(config(vec![Account { client_id: "x".to_owned(), ..account("work") }]), bound(1234));
    sim.reload(config(vec![account("work")]), bound(1234));
    sim.restore(&dump);
    sim.refresh("work", None);
    assert_eq!(sim.purposes(), ["refresh_token"]);
    sim.answer_call(503, "");
    sim.sleep(secs(41));
    assert_eq!(sim.purposes(), ["refresh_token"]);
}

#[test]
fn what_an_exchange_brings_after_a_change_of_its_account_is_revoked() {
    let mut sim = Sim::new(vec![account("work")]);
    sim.auth("work", None);
    sim.allow("work");
    sim.reload(config(vec![Account { client_id: "another".to_owned(), ..account("work") }]), bound(1234));
    sim.answer_call(200, &tokens(1, 3600));
    let ticket = sim.call();
    assert_eq!(sim.field(ticket, "token").as_deref(), Some("refresh-1"));
    assert_eq!(sim.field(ticket, "client_id").as_deref(), Some("id"));
}

#[test]
fn revoke_tells_what_the_provider_said() {
    for (name, ends, messages) in [
        ("revoked", [(200, ""), (200, "")], 0),
        ("refused", [(400, r#"{"error":"unsupported_token_type"}"#), (200, "")], 1),
        ("down", [(503, ""), (503, "")], 2),
    ] {
        let mut sim = Sim::authorized();
        let conn = sim.revoke("work");
        let hints = ["refresh_token", "access_token"];
        for ((status, body), hint) in ends.into_iter().zip(hints) {
            let ticket = sim.call();
            assert_eq!(sim.field(ticket, "token_type_hint").as_deref(), Some(hint), "{name}");
            sim.answer(ticket, status, body);
        }
        assert_eq!(sim.done(conn).len(), messages, "{name}");
        let show = sim.show("work");
        assert_eq!(sim.reason(show), Reason::Authorize, "{name}");
    }
}

#[test]
fn a_provider_that_cannot_be_reached_is_asked_to_revoke_once() {
    let mut sim = Sim::authorized();
    let conn = sim.revoke("work");
    sim.break_call(Stage::Sent);
    assert_eq!(sim.done(conn).len(), 1);
    assert!(sim.calls.is_empty());
}

#[test]
fn revoke_without_anything_to_revoke_is_done_at_once() {
    let mut sim = Sim::new(vec![account("work")]);
    let conn = sim.revoke("work");
    assert!(sim.done(conn).is_empty());
    let local = Account { revocation_uri: None, ..account("home") };
    let mut sim = Sim::authorized_with(config(vec![local]));
    let conn = sim.revoke("home");
    assert!(sim.done(conn).is_empty() && sim.calls.is_empty());
}

#[test]
fn a_client_that_waits_for_a_revocation_may_go() {
    let mut sim = Sim::authorized();
    let conn = sim.revoke("work");
    sim.event(Event::Gone { conn });
    sim.answer_call(200, "");
    sim.answer_call(200, "");
    assert!(sim.is_waiting(conn));
}

#[test]
fn a_request_waits_for_its_client_secret() {
    let mut sim = Sim::new(vec![command_account("work")]);
    sim.auth("work", None);
    assert_eq!(sim.starts(Hook::ClientSecret), 0, "run when first needed");
    sim.allow("work");
    assert!(sim.calls.is_empty());
    let hook = sim.running(Hook::ClientSecret)[0];
    assert_eq!(sim.env(hook, "PIZAUTH_ACCOUNT").as_deref(), Some("work"));
    assert_eq!(sim.runs[&hook].limit, Some(secs(60)));
    sim.exit_hook(Hook::ClientSecret, 0, "hunter2\n");
    let ticket = sim.call();
    assert_eq!(sim.field(ticket, "client_secret").as_deref(), Some("hunter2"));
    sim.answer(ticket, 200, &tokens(1, 3600));
    sim.refresh("work", None);
    let ticket = sim.call();
    assert_eq!(sim.field(ticket, "client_secret").as_deref(), Some("hunter2"), "kept in memory");
}

#[test]
fn what_waits_for_its_client_secret_goes_with_its_account() {
    for (name, end) in [
        ("revoke", (|sim: &mut Sim| _ = sim.revoke("work")) as fn(&mut Sim)),
        ("a change", |sim: &mut Sim| {
            let account = Account { client_id: "another".to_owned(), ..command_account("work") };
            sim.reload(config(vec![account]), bound(1234));
        }),
        ("removal", |sim: &mut Sim| _ = sim.reload(config(Vec::new()), bound(1234))),
        ("shutdown", |sim: &mut Sim| sim.event(Event::Shutdown)),
    ] {
        let mut sim = Sim::new(vec![command_account("work")]);
        sim.auth("work", None);
        sim.allow("work");
        end(&mut sim);
        let outcomes = sim.pages.iter().filter(|(_, page)| matches!(page, Page::Outcome(outcome) if !outcome.success));
        assert_eq!(outcomes.count(), 1, "{name}: the browser is told");
        for hook in sim.running(Hook::ClientSecret) {
            sim.end(hook, ChildEnd::Exited { status: 0, stdout: Secret::new(b"secret".to_vec()) });
        }
        assert_eq!(sim.called, 0, "{name}");
    }
}

#[test]
fn a_client_secret_that_does_not_come_is_a_transient_failure() {
    for (name, end) in [
        ("status", ChildEnd::Exited { status: 2, stdout: Default::default() }),
        ("nothing", ChildEnd::Exited { status: 0, stdout: Default::default() }),
        ("two lines", ChildEnd::Exited { status: 0, stdout: crate::secret::Secret::new(b"a\nb\n".to_vec()) }),
        ("not UTF-8", ChildEnd::Exited { status: 0, stdout: crate::secret::Secret::new(vec![255]) }),
        ("too slow", ChildEnd::Killed),
        ("not started", ChildEnd::NotStarted("no".to_owned())),
        ("too much", ChildEnd::TooMuch),
    ] {
        let mut sim = Sim::new(vec![command_account("work")]);
        let waiting = sim.auth("work", Some(600));
        sim.allow("work");
        sim.end(sim.running(Hook::ClientSecret)[0], end);
        assert!(sim.is_waiting(waiting) && sim.calls.is_empty(), "{name}");
        let error = sim.status("work").last_error.expect("an error");
        assert!(error.message.contains("client_secret_cmd") && error.transient, "{name}: {}", error.message);
        sim.sleep(secs(5));
        sim.exit_hook(Hook::ClientSecret, 0, "s");
        sim.answer_call(200, &tokens(1, 3600));
        assert!(sim.done(waiting).is_empty(), "{name}: a failure is not remembered");
    }
}

#[test]
fn a_refused_client_secret_and_a_reload_ask_the_command_again() {
    for reload in [false, true] {
        let mut sim = Sim::new(vec![command_account("work")]);
        sim.auth("work", None);
        sim.allow("work");
        sim.exit_hook(Hook::ClientSecret, 0, "old");
        sim.answer_call(200, &tokens(1, 3600));
        sim.refresh("work", None);
        if reload {
            sim.answer_call(200, &tokens(2, 3600));
            sim.reload(config(vec![command_account("work")]), bound(1234));
        } else {
            sim.answer_call(401, r#"{"error":"invalid_client"}"#);
        }
        sim.refresh("work", None);
        sim.exit_hook(Hook::ClientSecret, 0, "new");
        let ticket = sim.call();
        assert_eq!(sim.field(ticket, "client_secret").as_deref(), Some("new"), "{reload}");
    }
}

#[test]
fn a_revocation_waits_for_the_client_secret_too() {
    let mut sim = Sim::authorized_with_secret("s");
    let dump = sim.dump();
    let mut sim = Sim::new(vec![command_account("work")]);
    sim.restore(&dump);
    let conn = sim.revoke("work");
    assert!(sim.calls.is_empty());
    sim.exit_hook(Hook::ClientSecret, 0, "s");
    for _ in 0..2 {
        let ticket = sim.call();
        assert_eq!(sim.field(ticket, "client_secret").as_deref(), Some("s"));
        sim.answer(ticket, 200, "");
    }
    assert!(sim.done(conn).is_empty());
    let mut sim = Sim::new(vec![command_account("work")]);
    sim.restore(&dump);
    let conn = sim.revoke("work");
    sim.exit_hook(Hook::ClientSecret, 1, "");
    if !sim.running(Hook::ClientSecret).is_empty() {
        sim.exit_hook(Hook::ClientSecret, 1, "");
    }
    assert!(sim.done(conn)[0].contains("client_secret_cmd"), "{:?}", sim.done(conn));
}

#[test]
fn what_comes_after_revoke_is_revoked_with_the_printed_secret() {
    let mut sim = Sim::authorized_with_secret("s");
    sim.refresh("work", None);
    sim.request(Request::Revoke { account: "work".to_owned(), local: true });
    sim.answer_call(200, &tokens(2, 3600));
    let ticket = sim.call();
    assert_eq!(sim.field(ticket, "client_secret").as_deref(), Some("s"));
}

#[test]
fn what_comes_after_a_change_is_revoked_with_the_secret_printed_before() {
    for revoked in [false, true] {
        let mut sim = Sim::authorized_with_secret("s");
        sim.refresh("work", None);
        if revoked {
            sim.request(Request::Revoke { account: "work".to_owned(), local: true });
        }
        sim.reload(config(vec![Account { client_id: "another".to_owned(), ..command_account("work") }]), bound(1234));
        sim.answer_call(200, &tokens(2, 3600));
        for token in ["refresh-2", "access-2"] {
            let ticket = sim.call();
            assert_eq!(sim.field(ticket, "token").as_deref(), Some(token));
            assert_eq!(sim.field(ticket, "client_secret").as_deref(), Some("s"), "{token} {revoked}");
            sim.answer(ticket, 200, "");
        }
    }
}

#[test]
fn what_comes_after_two_reloads_is_revoked_with_the_secret_that_it_was_asked_with() {
    let mut sim = Sim::authorized_with_secret("s");
    sim.refresh("work", None);
    // The first has the command asked again, the second takes the account away.
    sim.reload(config(vec![command_account("work")]), bound(1234));
    sim.reload(config(vec![Account { client_id: "another".to_owned(), ..command_account("work") }]), bound(1234));
    sim.answer_call(200, &tokens(2, 3600));
    let ticket = sim.call();
    assert_eq!(sim.field(ticket, "token").as_deref(), Some("refresh-2"));
    assert_eq!(sim.field(ticket, "client_secret").as_deref(), Some("s"));
}

#[test]
fn a_refresh_token_with_an_unusable_access_token_is_revoked_too() {
    let mut sim = Sim::authorized();
    sim.refresh("work", None);
    sim.request(Request::Revoke { account: "work".to_owned(), local: true });
    sim.answer_call(200, r#"{"access_token":"a b","refresh_token":"refresh-2"}"#);
    assert_eq!(sim.purposes(), ["revoke"]);
    assert_eq!(sim.field(sim.call(), "token").as_deref(), Some("refresh-2"));
}

#[test]
fn a_secret_is_masked_though_a_reload_has_it_printed_anew() {
    let mut sim = Sim::authorized_with_secret("s3cret");
    sim.refresh("work", None);
    sim.reload(config(vec![command_account("work")]), bound(1234));
    sim.answer_call(400, r#"{"error":"invalid_client","error_description":"s3cret is wrong"}"#);
    let error = sim.status("work").last_error.expect("an error");
    assert!(error.message.contains("*** is wrong"), "{}", error.message);
    assert!(sim.logs.iter().all(|(_, line)| !line.contains("s3cret")), "{:?}", sim.logs);
}

#[test]
fn an_answer_that_nobody_asked_for_is_ignored() {
    let mut sim = Sim::authorized();
    let ticket = crate::engine::Ticket(4711);
    sim.event(Event::Answer { ticket, outcome: Ok(super::sim::reply(200, &tokens(9, 3600))) });
    sim.event(Event::Exited { ticket, end: ChildEnd::Killed });
    let show = sim.show("work");
    assert_eq!(sim.token(show), "access-1");
}

#[test]
fn a_transient_failure_before_the_request_is_written_is_retried() {
    let mut sim = Sim::authorized();
    sim.refresh("work", None);
    sim.break_call(Stage::NotStarted);
    sim.sleep(secs(44));
    assert_eq!(sim.purposes(), ["refresh_token"]);
}

#[test]
fn a_late_answer_brings_nothing_back_and_costs_nothing() {
    let mut config = config(vec![account("work")]);
    config.transient_error_if_cmd = Some("judge".to_owned());
    let mut sim = Sim::authorized_with(config);
    sim.sleep(secs(3510));
    for _ in 0..5 {
        sim.answer_call(503, "");
        sim.sleep(secs(2000));
    }
    let late = sim.call();
    sim.sleep(secs(32));
    sim.exit_hook(Hook::TransientErrorIf, 1, "");
    sim.answer(late, 200, &tokens(2, 3600));
    assert_eq!(sim.field(sim.call(), "token").as_deref(), Some("refresh-2"), "the grant was given up");
    let show = sim.show("work");
    assert_eq!(sim.reason(show), Reason::Authorize);

    for (name, refreshes, want) in [("newer than what is there", false, "access-2"), ("older", true, "access-3")] {
        let mut sim = Sim::authorized();
        sim.auth("work", None);
        sim.allow("work");
        let late = sim.call();
        sim.sleep(secs(32));
        if refreshes {
            sim.refresh("work", None);
            let refresh = *sim.calls.keys().next_back().unwrap();
            sim.answer(refresh, 200, &tokens(3, 3600));
        }
        sim.answer(late, 200, &tokens(2, 3600));
        assert!(sim.calls.is_empty(), "{name}: some providers end every grant of a client with one");
        let show = sim.show("work");
        assert_eq!(sim.token(show), want, "{name}");
    }
}

impl Sim {
    /// Answers the oldest call with tokens, and tells what has its turn then: by its token, or what it is for.
    fn next_call(&mut self) -> String {
        let before: Vec<_> = self.calls.keys().copied().collect();
        self.answer(before[0], 200, &tokens(2, 3600));
        let next = self.calls.keys().position(|ticket| !before.contains(ticket)).expect("a next call");
        let ticket = *self.calls.keys().nth(next).expect("a next call");
        let revoked = self.field(ticket, "token").map(|token| format!("revoke {token}"));
        self.field(ticket, "refresh_token").or(revoked).unwrap_or_else(|| self.purposes()[next].clone())
    }

    /// The oldest call.
    fn call_of_longest_wait(&self) -> crate::engine::Ticket {
        self.calls.keys().next().copied().expect("a call")
    }

    /// An account "work" with tokens, whose client secret a command printed.
    fn authorized_with_secret(secret: &str) -> Sim {
        let mut sim = Sim::new(vec![command_account("work")]);
        sim.auth("work", None);
        sim.allow("work");
        sim.exit_hook(Hook::ClientSecret, 0, secret);
        sim.answer_call(200, &tokens(1, 3600));
        assert!(matches!(sim.engine.accounts[0].client_secret, ClientSecret::Known(_)));
        sim
    }
}

#[test]
fn a_revocation_that_is_answered_late_has_been_told_and_is_over() {
    let mut sim = Sim::authorized();
    let conn = sim.revoke("work");
    let late = sim.call();
    sim.sleep(secs(33));
    assert_eq!(sim.done(conn).len(), 1);
    sim.answer(late, 200, "");
    assert!(sim.calls.is_empty(), "whoever did not answer in time is not asked again");
}

#[test]
fn a_late_token_counts_while_it_lives_or_can_be_refreshed() {
    for (name, body, state) in [
        ("alive", r#"{"access_token":"a","expires_in":3600}"#, AccountState::Active),
        ("dead", r#"{"access_token":"a","expires_in":30}"#, AccountState::Empty),
        ("dead, to be refreshed", &tokens(1, 30), AccountState::Expired),
    ] {
        let mut sim = Sim::new(vec![account("work")]);
        sim.auth("work", None);
        sim.allow("work");
        let late = sim.call();
        sim.sleep(secs(40));
        sim.answer(late, 200, body);
        assert_eq!(sim.status("work").state, state, "{name}");
    }
}

#[test]
fn a_late_refusal_leaves_newer_tokens_alone() {
    let mut sim = Sim::authorized();
    sim.auth("work", None);
    sim.allow("work");
    let late = sim.call();
    sim.sleep(secs(33));
    sim.refresh("work", None);
    let refresh = *sim.calls.keys().next_back().unwrap();
    sim.answer(refresh, 200, &tokens(3, 3600));
    sim.answer(late, 200, r#"{"access_token":"a","token_type":"mac","refresh_token":"older"}"#);
    let refresh_token = sim.engine.accounts[0].refresh_token();
    assert_eq!(refresh_token.map(|token| token.expose().as_str()), Some("refresh-3"));
}
