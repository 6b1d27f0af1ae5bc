//! Shutdown: what is waited for, what is saved, and that everybody gets an answer.

use super::{
    device::CODES,
    sim::{Sim, account, bound, command_account, config, device_account, secs, tokens},
};
use crate::{
    config::Config,
    engine::{ChildEnd, Event, ExitReason, Hook, Page, Readiness, Staging},
    oauth::Stage,
    proto::{Reason, Request},
};

fn persisting() -> Config {
    let mut config = config(vec![account("work")]);
    config.persist_cmd = Some("persist".to_owned());
    config
}

#[test]
fn with_nothing_to_do_it_ends_at_once() {
    let mut sim = Sim::authorized();
    let conn = sim.request(Request::Shutdown);
    assert!(sim.done(conn).is_empty());
    assert_eq!(sim.exit, Some(ExitReason::Asked));
    assert_eq!(sim.readiness, [Readiness::Ready, Readiness::Stopping]);
    assert_eq!(sim.engine.poll_timeout(), None);
}

#[test]
fn a_refresh_in_flight_is_waited_for_and_saved() {
    let mut sim = Sim::authorized_with(persisting());
    sim.exit_hook(Hook::Persist, 0, "");
    sim.refresh("work", None);
    let conn = sim.request(Request::Shutdown);
    assert!(sim.is_waiting(conn));
    sim.sleep(secs(4));
    sim.answer_call(200, &tokens(2, 3600));
    let persisted = sim.persisted();
    sim.exit_hook(Hook::Persist, 0, "");
    assert!(sim.done(conn).is_empty());
    assert_eq!(sim.exit, Some(ExitReason::Asked));
    let mut next = Sim::start(persisting());
    next.restore(&persisted);
    next.suspend(secs(4000));
    next.sleep(secs(1));
    let ticket = next.call();
    assert_eq!(next.field(ticket, "refresh_token").as_deref(), Some("refresh-2"));
}

#[test]
fn a_refresh_that_never_ends_is_given_up_after_5_s() {
    let mut sim = Sim::authorized();
    sim.refresh("work", None);
    sim.event(Event::Shutdown);
    sim.sleep(secs(4));
    assert_eq!(sim.exit, None);
    sim.sleep(secs(1));
    assert_eq!(sim.exit, Some(ExitReason::Asked));
}

#[test]
fn a_save_that_hangs_is_given_up_after_10_s_and_named() {
    let mut sim = Sim::authorized_with(persisting());
    let conn = sim.request(Request::Shutdown);
    sim.sleep(secs(9));
    assert_eq!(sim.exit, None);
    sim.sleep(secs(1));
    let (reason, message) = sim.failure(conn);
    assert_eq!((reason, sim.exit), (Reason::Error, Some(ExitReason::Unsaved)));
    assert!(message.contains("work") && message.contains("persist_cmd took too long"), "{message}");
    assert_eq!(sim.killed, sim.running(Hook::Persist));
}

#[test]
fn a_save_that_fails_is_tried_again_until_its_time_is_up() {
    let mut sim = Sim::authorized_with(persisting());
    for _ in 0..8 {
        sim.exit_hook(Hook::Persist, 1, "");
        sim.sleep(secs(300));
    }
    let conn = sim.request(Request::Shutdown);
    sim.exit_hook(Hook::Persist, 1, "");
    sim.sleep(secs(1));
    sim.exit_hook(Hook::Persist, 1, "");
    sim.sleep(secs(2));
    sim.exit_hook(Hook::Persist, 0, "");
    assert!(sim.done(conn).is_empty());
    assert_eq!(sim.exit, Some(ExitReason::Asked));
}

#[test]
fn a_save_that_waits_for_its_retry_time_is_tried_at_once() {
    let mut sim = Sim::authorized_with(persisting());
    for _ in 0..10 {
        sim.exit_hook(Hook::Persist, 1, "");
        sim.sleep(secs(250));
        if sim.running(Hook::Persist).is_empty() {
            break;
        }
    }
    assert!(sim.running(Hook::Persist).is_empty());
    sim.event(Event::Shutdown);
    sim.exit_hook(Hook::Persist, 0, "");
    assert_eq!(sim.exit, Some(ExitReason::Asked));
}

#[test]
fn a_sealed_store_is_named_as_the_reason() {
    let mut config = persisting();
    config.restore_cmd = Some("restore".to_owned());
    let mut sim = Sim::start(config);
    sim.exit_hook(Hook::Restore, 1, "");
    sim.authorize("work", &tokens(1, 3600));
    let conn = sim.request(Request::Shutdown);
    let (reason, message) = sim.failure(conn);
    assert_eq!((reason, sim.exit), (Reason::Error, Some(ExitReason::Unsaved)));
    assert!(message.contains("work") && message.contains("restore_cmd"), "{message}");
    assert_eq!(sim.starts(Hook::Persist), 0);
}

#[test]
fn everybody_who_waits_is_answered() {
    let mut config = config(vec![account("home"), account("work")]);
    config.auth_notify_cmd = Some("notify".to_owned());
    let mut sim = Sim::start(config);
    sim.authorize("work", &tokens(1, 3600));
    let (shown, asked) = (sim.show_waiting("home", 600), sim.auth("home", Some(600)));
    let refreshed = sim.refresh("work", Some(60));
    let reloads = [sim.request(Request::Reload), sim.request(Request::Reload)];
    let browser = sim.allow("home");
    let revoked = sim.revoke("work");
    let stopped = sim.request(Request::Shutdown);
    for conn in [shown, asked, reloads[0], reloads[1]] {
        assert_eq!(sim.reason(conn), Reason::Unavailable);
    }
    assert!(!sim.is_waiting(refreshed));
    let late = sim.show("home");
    assert_eq!(sim.reason(late), Reason::Unavailable);
    sim.sleep(secs(60));
    assert!(sim.exit.is_some());
    assert!(sim.done(revoked)[0].contains("shutting down"), "{:?}", sim.done(revoked));
    assert!(sim.done(stopped).is_empty());
    let page = sim.pages.iter().rfind(|(conn, _)| *conn == browser).map(|(_, page)| page);
    assert!(matches!(page, Some(Page::Outcome(outcome)) if !outcome.success), "{page:?}");
}

#[test]
fn nothing_new_is_begun() {
    let mut config = persisting();
    config.auth_notify_cmd = Some("notify".to_owned());
    config.error_notify_cmd = Some("error".to_owned());
    config.transient_error_if_cmd = Some("transient".to_owned());
    let mut sim = Sim::authorized_with(config);
    sim.exit_hook(Hook::Persist, 0, "");
    sim.auth("work", None);
    sim.refresh("work", None);
    let started = sim.started.len();
    sim.event(Event::Shutdown);
    sim.event(Event::Hangup);
    sim.event(Event::Shutdown);
    assert!(sim.stages.is_empty() && sim.readiness.last() == Some(&Readiness::Stopping));
    let url = "/?code=c&state=";
    let state = match sim.engine.accounts[0].browser() {
        crate::engine::account::Browser::Requested(request) => request.state.expose().clone(),
        other => panic!("{other:?}"),
    };
    sim.browse(&format!("{url}{state}"));
    assert!(matches!(sim.pages.last(), Some((_, Page::Refusal { status: 503, .. }))), "{:?}", sim.pages);
    sim.answer_call(401, r#"{"error":"invalid_client"}"#);
    assert_eq!((sim.started.len(), sim.called), (started, 2));
    assert_eq!(sim.exit, Some(ExitReason::Asked));
}

#[test]
fn an_exchange_in_flight_is_waited_for_and_not_tried_again() {
    let mut sim = Sim::new(vec![account("work")]);
    sim.auth("work", None);
    sim.allow("work");
    sim.event(Event::Shutdown);
    sim.break_call(Stage::Connect);
    assert_eq!(sim.exit, Some(ExitReason::Asked));
    assert!(matches!(sim.pages.last(), Some((_, Page::Outcome(outcome))) if !outcome.success));
}

#[test]
fn what_nobody_wants_any_more_is_not_waited_for() {
    let mut sim = Sim::authorized();
    sim.refresh("work", None);
    sim.request(Request::Revoke { account: "work".to_owned(), local: true });
    sim.event(Event::Shutdown);
    assert_eq!(sim.exit, Some(ExitReason::Asked));
}

#[test]
fn hooks_are_ended_but_not_startup_cmd() {
    let mut config = config(vec![account("work")]);
    config.startup_cmd = Some("startup".to_owned());
    config.auth_notify_cmd = Some("notify".to_owned());
    config.token_event_cmd = Some("event".to_owned());
    let mut sim = Sim::start(config);
    sim.authorize("work", &tokens(1, 3600));
    sim.auth("work", None);
    sim.event(Event::Shutdown);
    let startup = sim.running(Hook::Startup)[0];
    assert!(!sim.killed.contains(&startup));
    for ticket in sim.running(Hook::AuthNotify).into_iter().chain(sim.running(Hook::TokenEvent)) {
        assert!(sim.killed.contains(&ticket));
    }
}

#[test]
fn a_configuration_that_arrives_meanwhile_is_dropped() {
    let mut sim = Sim::authorized();
    sim.refresh("work", None);
    sim.request(Request::Reload);
    sim.event(Event::Shutdown);
    let ticket = sim.stages[0];
    sim.staged(Ok(Box::new(Staging { config: config(vec![]), bound: bound(1) })));
    assert_eq!((sim.discarded.as_slice(), sim.adopted.len(), sim.stages.len()), ([ticket].as_slice(), 0, 0));
    assert_eq!(sim.engine.accounts.len(), 1);
}

#[test]
fn a_client_that_gives_up_does_not_stop_the_shutdown() {
    let mut sim = Sim::authorized_with(persisting());
    let conn = sim.request(Request::Shutdown);
    sim.event(Event::Gone { conn });
    let ticket = sim.running(Hook::Persist)[0];
    sim.end(ticket, ChildEnd::Exited { status: 0, stdout: Default::default() });
    assert!(sim.is_waiting(conn) && sim.exit == Some(ExitReason::Asked));
}

#[test]
fn only_what_may_bring_tokens_is_waited_for() {
    let device = || vec![device_account("work")];
    let mut sim = Sim::new(device());
    sim.auth("work", None);
    sim.event(Event::Shutdown);
    assert_eq!(sim.exit, Some(ExitReason::Asked), "a question for a user code");
    let mut sim = Sim::authorized();
    let conn = sim.revoke("work");
    sim.event(Event::Shutdown);
    assert_eq!(sim.exit, Some(ExitReason::Asked), "a revocation");
    assert!(sim.done(conn)[0].contains("shutting down"), "{:?}", sim.done(conn));
    let mut sim = Sim::new(device());
    sim.auth("work", None);
    sim.answer_call(200, CODES);
    sim.sleep(secs(5));
    sim.event(Event::Shutdown);
    assert_eq!((sim.exit, sim.calls.len()), (None, 1), "a poll");
    sim.answer_call(200, &tokens(1, 3600));
    assert_eq!(sim.exit, Some(ExitReason::Asked));
}

#[test]
fn a_revocation_that_waits_for_its_turn_is_told_at_once() {
    let mut sim = Sim::new(vec![account("home"), command_account("work")]);
    sim.authorize("home", &tokens(1, 3600));
    let mut other = Sim::new(vec![command_account("work")]);
    other.auth("work", None);
    other.allow("work");
    other.exit_hook(Hook::ClientSecret, 0, "s");
    other.answer_call(200, &tokens(2, 3600));
    sim.restore(&other.dump());
    sim.refresh("home", None);
    let conn = sim.revoke("work");
    assert!(sim.is_waiting(conn) && sim.calls.len() == 1);
    sim.event(Event::Shutdown);
    assert_eq!(sim.exit, None);
    assert!(sim.done(conn)[0].contains("shutting down"), "{:?}", sim.done(conn));
}
