//! The authorization code grant: redirects, pastes, exchanges, reminders.

use super::sim::{Sim, account, config, device_account, secs, tokens};
use crate::{
    config::{Account, Config},
    engine::{Hook, Page},
    oauth::{Reply, Stage},
    proto::{AccountState, Notice, Reason, Request},
};

fn outcome_of(sim: &Sim, conn: crate::engine::ConnId) -> Option<bool> {
    let pages = sim.pages.iter().filter(|(to, _)| *to == conn);
    pages.fold(None, |seen, (_, page)| match page {
        Page::Outcome(outcome) => Some(outcome.success),
        Page::Opening | Page::Refusal { .. } => seen,
    })
}

fn status_of(sim: &Sim, conn: crate::engine::ConnId) -> Option<u16> {
    sim.pages.iter().find_map(|(to, page)| match page {
        Page::Refusal { status, .. } if *to == conn => Some(*status),
        Page::Refusal { .. } | Page::Opening | Page::Outcome(_) => None,
    })
}

fn notifying(accounts: Vec<Account>) -> Config {
    let mut config = config(accounts);
    config.auth_notify_cmd = Some("notify".to_owned());
    config
}

#[test]
fn a_login_goes_from_the_url_to_the_token() {
    let mut sim = Sim::new(vec![account("work")]);
    let waiting = sim.auth("work", Some(600));
    let url = sim.url("work");
    assert_eq!(sim.notices, [(waiting, Notice::Authorize { url })]);
    assert_eq!(sim.status("work").state, AccountState::Pending);
    let browser = sim.allow("work");
    assert_eq!(sim.pages, [(browser, Page::Opening)]);
    assert_eq!(sim.status("work").state, AccountState::Exchanging);
    let ticket = sim.call();
    assert_eq!(sim.field(ticket, "grant_type").as_deref(), Some("authorization_code"));
    assert_eq!(sim.field(ticket, "code").as_deref(), Some("the-code"));
    assert!(sim.field(ticket, "code_verifier").is_some_and(|verifier| verifier.len() == 86));
    assert_eq!(sim.field(ticket, "redirect_uri").as_deref(), Some("http%3A%2F%2Flocalhost%3A1234%2F"));
    sim.answer(ticket, 200, &tokens(1, 3600));
    assert_eq!(outcome_of(&sim, browser), Some(true));
    assert!(sim.done(waiting).is_empty());
    assert_eq!(sim.status("work").state, AccountState::Active);
}

#[test]
fn requests_that_are_not_the_redirect_never_use_up_the_authorization() {
    let mut sim = Sim::new(vec![account("work")]);
    sim.auth("work", None);
    let state = sim.state("work");
    for (name, target, status) in [
        ("favicon", "/favicon.ico".to_owned(), 404),
        ("nothing", "/".to_owned(), 404),
        ("another state", "/?code=c&state=AAAA".to_owned(), 404),
        ("another path", format!("/other?code=c&state={state}"), 404),
        ("no code", format!("/?state={state}"), 400),
        ("code twice", format!("/?code=a&code=b&state={state}"), 400),
    ] {
        let conn = sim.browse(&target);
        assert_eq!(status_of(&sim, conn), Some(status), "{name}");
        assert!(sim.calls.is_empty(), "{name}");
    }
    sim.allow("work");
    sim.answer_call(200, &tokens(1, 3600));
    assert_eq!(sim.status("work").state, AccountState::Active);
}

#[test]
fn a_repeat_joins_the_exchange_and_later_gets_its_outcome() {
    let mut sim = Sim::new(vec![account("work")]);
    sim.auth("work", None);
    let state = sim.state("work");
    let target = format!("/?code=the-code&state={state}");
    let (first, second) = (sim.browse(&target), sim.browse(&target));
    assert_eq!(sim.called, 1);
    sim.answer_call(200, &tokens(1, 3600));
    let third = sim.browse(&target);
    for conn in [first, second, third] {
        assert_eq!(outcome_of(&sim, conn), Some(true));
    }
    assert_eq!(sim.called, 1, "the code is sent once");
    sim.sleep(secs(601));
    let late = sim.browse(&target);
    assert!(status_of(&sim, late).is_some());
}

#[test]
fn another_state_joins_no_exchange() {
    let mut sim = Sim::new(vec![account("work")]);
    sim.auth("work", None);
    sim.allow("work");
    let stranger = sim.browse("/?code=c&state=AAAA");
    assert_eq!(status_of(&sim, stranger), Some(404));
    sim.answer_call(200, &tokens(1, 3600));
    assert_eq!(outcome_of(&sim, stranger), None);
}

#[test]
fn a_bounded_number_of_outcomes_is_kept() {
    let mut sim = Sim::new(vec![account("work")]);
    let mut targets = Vec::new();
    for number in 0..100 {
        sim.auth("work", None);
        targets.push(format!("/?code=the-code&state={}", sim.state("work")));
        sim.allow("work");
        sim.answer_call(200, &tokens(number, 3600));
    }
    let called = sim.called;
    let known = targets.iter().filter(|target| {
        let conn = sim.browse(target);
        outcome_of(&sim, conn) == Some(true)
    });
    assert_eq!(known.count(), 64);
    let last = sim.browse(&targets[99]);
    assert_eq!(outcome_of(&sim, last), Some(true), "the oldest go first");
    assert_eq!(sim.called, called, "no code is sent twice");
}

#[test]
fn a_page_that_goes_away_cancels_nothing() {
    let mut sim = Sim::new(vec![account("work")]);
    sim.auth("work", None);
    let conn = sim.allow("work");
    sim.event(crate::engine::Event::Gone { conn });
    sim.answer_call(200, &tokens(1, 3600));
    assert_eq!(outcome_of(&sim, conn), None);
    assert_eq!(sim.status("work").state, AccountState::Active);
}

#[test]
fn a_refusal_in_the_redirect_ends_the_authorization() {
    let mut sim = Sim::new(vec![account("work")]);
    let waiting = sim.auth("work", Some(60));
    let state = sim.state("work");
    let browser = sim.browse(&format!("/?error=access_denied&error_description=no&state={state}"));
    assert_eq!(outcome_of(&sim, browser), Some(false));
    assert_eq!(sim.reason(waiting), Reason::Error);
    let status = sim.status("work");
    assert_eq!(status.state, AccountState::Empty);
    assert!(status.last_error.is_some_and(|error| error.message.contains("access_denied") && !error.transient));
}

#[test]
fn an_exchange_is_tried_again_only_while_nothing_was_written() {
    for (stage, again) in [
        (Stage::Resolve, true),
        (Stage::Connect, true),
        (Stage::Proxy, true),
        (Stage::Tls, true),
        (Stage::NotStarted, true),
        (Stage::Sent, false),
        (Stage::ProxySetting, false),
        (Stage::Certificate(crate::oauth::CertificateFault::Expired), false),
    ] {
        let mut sim = Sim::new(vec![account("work")]);
        sim.auth("work", None);
        let browser = sim.allow("work");
        sim.break_call(stage);
        assert_eq!(outcome_of(&sim, browser), if again { None } else { Some(false) }, "{stage:?}");
        sim.sleep(secs(5));
        assert_eq!(sim.called, if again { 2 } else { 1 }, "{stage:?}");
    }
}

#[test]
fn an_exchange_is_tried_every_5_s_for_a_minute() {
    let mut sim = Sim::new(vec![account("work")]);
    let waiting = sim.auth("work", Some(600));
    let browser = sim.allow("work");
    while !sim.calls.is_empty() {
        assert_eq!(outcome_of(&sim, browser), None);
        sim.break_call(Stage::Connect);
        sim.sleep(secs(5));
    }
    assert_eq!(sim.called, 13);
    assert_eq!(outcome_of(&sim, browser), Some(false));
    assert_eq!(sim.reason(waiting), Reason::Error);
}

#[test]
fn a_status_without_tokens_ends_the_exchange() {
    for (status, body) in [(503, ""), (429, ""), (200, "<html>"), (400, r#"{"error":"invalid_grant"}"#), (302, "")] {
        let mut sim = Sim::new(vec![account("work")]);
        sim.auth("work", None);
        let browser = sim.allow("work");
        sim.answer_call(status, body);
        assert_eq!(outcome_of(&sim, browser), Some(false), "{status}");
        sim.sleep(secs(4000));
        assert_eq!(sim.called, 1, "{status}");
    }
}

#[test]
fn a_retry_after_never_holds_up_an_exchange() {
    let mut sim = Sim::new(vec![account("home"), account("work")]);
    sim.authorize("home", &tokens(1, 3600));
    sim.refresh("home", None);
    sim.answer_unavailable(Some("600"));
    sim.authorize("work", &tokens(2, 3600));
    assert_eq!(sim.status("work").state, AccountState::Active);
}

#[test]
fn an_authorization_keeps_the_token_that_still_works() {
    let mut sim = Sim::authorized();
    sim.auth("work", None);
    let show = sim.show("work");
    assert_eq!(sim.token(show), "access-1");
    sim.allow("work");
    sim.answer_call(200, &tokens(2, 3600));
    let show = sim.show("work");
    assert_eq!(sim.token(show), "access-2");
}

#[test]
fn tokens_of_an_authorization_end_the_wait_for_a_refresh() {
    let mut sim = Sim::authorized();
    sim.auth("work", None);
    let refresh = sim.refresh("work", Some(600));
    let ticket = sim.call();
    sim.allow("work");
    let exchange = *sim.calls.keys().max().unwrap();
    sim.answer(exchange, 200, &tokens(2, 3600));
    assert!(sim.done(refresh).is_empty());
    sim.answer(ticket, 200, &tokens(3, 3600));
    let show = sim.show("work");
    assert_eq!(sim.token(show), "access-2", "the newer grant stays");
}

#[test]
fn the_same_question_again_goes_on_with_the_same_url() {
    let mut sim = Sim::new(vec![account("work")]);
    sim.show("work");
    let url = sim.url("work");
    sim.auth("work", Some(60));
    sim.refresh("work", None);
    sim.show_waiting("work", 60);
    assert_eq!(sim.url("work"), url);
}

#[test]
fn auth_answers_at_once_or_when_the_time_is_up() {
    let mut sim = Sim::new(vec![account("work")]);
    let at_once = sim.auth("work", None);
    assert!(sim.done(at_once).is_empty());
    let waiting = sim.auth("work", Some(60));
    assert_eq!(sim.notices.len(), 2);
    sim.sleep(secs(60));
    assert_eq!(sim.reason(waiting), Reason::Authorize);
}

#[test]
fn a_paste_finishes_the_authorization_as_the_listener_would() {
    let mut sim = Sim::new(vec![account("home"), account("work")]);
    let (home, work) = (sim.auth("home", Some(60)), sim.auth("work", Some(60)));
    let (home_state, work_state) = (sim.state("home"), sim.state("work"));
    let paste =
        |sim: &mut Sim, text: String| sim.request(Request::Paste { account: "work".to_owned(), text: text.into() });
    for (name, text, clause) in [
        ("another account's", format!("code=c&state={home_state}"), "\"home\""),
        ("no state", "code=c".to_owned(), ""),
        ("another state", "code=c&state=AAAA".to_owned(), ""),
        ("another host", format!("http://evil.example/?code=c&state={work_state}"), ""),
        ("cut short", "http://localhost:1234/?code=c&sta".to_owned(), ""),
        ("not a redirect", "hello".to_owned(), ""),
    ] {
        let conn = paste(&mut sim, text);
        let (reason, message) = sim.failure(conn);
        assert_eq!(reason, Reason::Error, "{name}");
        assert!(message.contains(clause) && message.ends_with("still waiting"), "{name}: {message}");
        assert!(sim.calls.is_empty() && sim.is_waiting(work), "{name}");
    }
    let conn = paste(&mut sim, format!(" http://localhost:1234/?code=c&state={work_state} "));
    assert!(sim.done(conn).is_empty());
    let again = paste(&mut sim, format!("code=c&state={work_state}"));
    assert_eq!(sim.reason(again), Reason::Error);
    sim.answer_call(200, &tokens(1, 3600));
    assert!(sim.done(work).is_empty() && sim.is_waiting(home));
}

#[test]
fn a_late_answer_to_an_exchange_is_still_taken() {
    let mut sim = Sim::new(vec![account("work")]);
    sim.auth("work", None);
    let browser = sim.allow("work");
    let ticket = sim.call();
    sim.sleep(secs(32));
    assert_eq!(outcome_of(&sim, browser), Some(false));
    sim.answer(ticket, 200, &tokens(1, 3600));
    let show = sim.show("work");
    assert_eq!(sim.token(show), "access-1");
}

#[test]
fn a_missing_refresh_token_is_told_once() {
    let mut sim = Sim::new(vec![account("work")]);
    let answer = r#"{"access_token":"a","expires_in":3600}"#;
    for messages in [1, 0] {
        let waiting = sim.auth("work", Some(600));
        sim.allow("work");
        sim.answer_call(200, answer);
        assert_eq!(sim.done(waiting).len(), messages);
    }
}

#[test]
fn a_refresh_token_with_an_unusable_access_token_is_kept_and_used() {
    let mut sim = Sim::new(vec![account("work")]);
    sim.auth("work", None);
    sim.allow("work");
    sim.answer_call(200, r#"{"access_token":"a b","refresh_token":"kept"}"#);
    let ticket = sim.call();
    assert_eq!(sim.field(ticket, "refresh_token").as_deref(), Some("kept"));
    sim.answer(ticket, 200, &tokens(2, 3600));
    let show = sim.show("work");
    assert_eq!(sim.token(show), "access-2");
}

#[test]
fn reminders_come_once_an_interval_however_often_is_asked() {
    let mut sim = Sim::start(notifying(vec![account("work")]));
    for _ in 0..100 {
        sim.show("work");
        sim.auth("work", None);
        sim.sleep(secs(5));
    }
    assert_eq!(sim.starts(Hook::AuthNotify), 1);
    let first = sim.running(Hook::AuthNotify)[0];
    let url = sim.url("work");
    assert_eq!(sim.env(first, "PIZAUTH_URL"), Some(url));
    assert_eq!(sim.env(first, "PIZAUTH_ACCOUNT").as_deref(), Some("work"));
    sim.sleep(secs(400));
    assert_eq!((sim.starts(Hook::AuthNotify), sim.killed.as_slice()), (2, [first].as_slice()));
    sim.allow("work");
    sim.sleep(secs(1000));
    assert_eq!((sim.starts(Hook::AuthNotify), sim.killed.len()), (2, 2), "authorised: no more reminders");
}

#[test]
fn a_reload_during_an_exchange_leaves_no_reminder_due() {
    let mut sim = Sim::start(notifying(vec![account("work")]));
    sim.auth("work", None);
    sim.allow("work");
    let mut config = notifying(vec![account("work")]);
    config.auth_notify_cmd = Some("another".to_owned());
    sim.reload(config, super::sim::bound(1234));
    sim.sleep(secs(20));
    assert_eq!(sim.starts(Hook::AuthNotify), 1);
}

#[test]
fn a_restored_token_closes_the_open_authorization() {
    let mut sim = Sim::authorized();
    let dump = sim.dump();
    let mut sim = Sim::start(notifying(vec![account("work")]));
    let (waiting, shown) = (sim.auth("work", Some(600)), sim.show_waiting("work", 600));
    sim.restore(&dump);
    assert!(sim.done(waiting).is_empty());
    assert_eq!(sim.token(shown), "access-1");
    sim.sleep(secs(2000));
    assert_eq!(sim.starts(Hook::AuthNotify), 1);
}

#[test]
fn an_exchange_under_way_survives_a_restore() {
    let mut sim = Sim::authorized();
    let dump = sim.dump();
    let mut sim = Sim::new(vec![account("work")]);
    let waiting = sim.auth("work", Some(600));
    sim.allow("work");
    sim.restore(&dump);
    assert!(sim.is_waiting(waiting));
    sim.answer_call(200, &tokens(2, 3600));
    assert!(sim.done(waiting).is_empty());
    let show = sim.show("work");
    assert_eq!(sim.token(show), "access-2");
}

#[test]
fn a_user_code_that_does_not_come_leaves_the_browser_to_answer_auth() {
    let both = Account { auth_uri: Some("https://a.example/auth".to_owned()), ..device_account("work") };
    let mut sim = Sim::new(vec![both]);
    let conn = sim.auth("work", None);
    assert!(sim.is_waiting(conn) && sim.notices.len() == 1);
    sim.answer_call(503, "");
    assert!(sim.done(conn).is_empty());
    let slow = sim.auth("work", None);
    sim.sleep(secs(5));
    assert!(sim.done(slow).is_empty());
}

#[test]
fn the_issuer_must_match_where_it_is_configured() {
    let strict = Account { issuer: Some("https://a.example".to_owned()), ..account("work") };
    let mut sim = Sim::new(vec![strict]);
    sim.auth("work", None);
    let state = sim.state("work");
    for query in ["", "&iss=https://b.example"] {
        for kind in ["code=c", "error=access_denied"] {
            let conn = sim.browse(&format!("/?{kind}&state={state}{query}"));
            assert!(status_of(&sim, conn).is_some_and(|status| (400..500).contains(&status)));
        }
    }
    sim.browse(&format!("/?code=c&state={state}&iss=https%3A%2F%2Fa.example"));
    assert_eq!(sim.called, 1);
}

#[test]
fn a_late_answer_is_masked_like_any_other() {
    let mut sim = Sim::new(vec![account("work")]);
    let waiting = sim.auth("work", Some(60));
    sim.allow("work");
    let body = r#"{"error":"invalid_grant","error_description":"code the-code is no good"}"#;
    let ticket = sim.call();
    sim.reply(ticket, Reply { ..super::sim::reply(400, body) });
    let (_, message) = sim.failure(waiting);
    assert!(message.contains("code *** is no good") && !message.contains("the-code"), "{message}");
}

#[test]
fn a_missing_refresh_token_is_not_told_where_the_old_one_stays() {
    let mut sim = Sim::authorized();
    let waiting = sim.auth("work", Some(600));
    sim.allow("work");
    sim.answer_call(200, r#"{"access_token":"a","expires_in":3600}"#);
    assert!(sim.done(waiting).is_empty());
    sim.refresh("work", None);
    assert_eq!(sim.field(sim.call(), "refresh_token").as_deref(), Some("refresh-1"));
}

#[test]
fn a_notification_that_has_ended_is_not_ended_again() {
    let mut config = config(vec![account("work")]);
    config.auth_notify_cmd = Some("notify".to_owned());
    let mut sim = Sim::start(config);
    sim.auth("work", None);
    sim.exit_hook(Hook::AuthNotify, 0, "");
    sim.sleep(secs(900));
    assert!(sim.killed.is_empty(), "the first was gone before the second came");
    let second = sim.running(Hook::AuthNotify);
    sim.allow("work");
    assert_eq!((second.len(), sim.killed), (1, second));
}
