//! Reload: what is kept, what is lost, who is told; and that a failure changes nothing.

use super::sim::{Sim, account, bound, command_account, config, secs, tokens};
use crate::{
    config::{Account, Config},
    engine::{Bound, Event, Hook, Page, Readiness, Staging},
    oauth::{Stage, dump},
    proto::{AccountState, Notice, Reason, Request},
};

fn two() -> Config {
    config(vec![account("home"), account("work")])
}

#[test]
fn accounts_that_are_still_the_same_keep_their_tokens() {
    let other = |change: fn(&mut Account)| {
        let mut account = account("work");
        change(&mut account);
        account
    };
    for (name, account, kept) in [
        ("the same", account("work"), true),
        ("refresh_retry", other(|account| account.refresh_retry = secs(1)), true),
        ("user", other(|account| account.user = Some("u".to_owned())), true),
        ("revocation_uri", other(|account| account.revocation_uri = None), true),
        ("token_uri", other(|account| account.token_uri.push('2')), false),
        ("client_id", other(|account| account.client_id.push('2')), false),
        ("scopes", other(|account| account.scopes.clear()), false),
        ("redirect_uri", other(|account| account.redirect_uri.push('2')), false),
    ] {
        let mut sim = Sim::authorized();
        let conn = sim.reload(config(vec![account]), bound(1234));
        assert!(sim.done(conn).is_empty(), "{name}");
        assert_eq!(sim.engine.accounts[0].token.is_some(), kept, "{name}");
        assert_eq!((sim.adopted.len(), sim.discarded.len()), (1, 0), "{name}");
        assert_eq!(sim.readiness, [Readiness::Ready, Readiness::Reloading, Readiness::Ready], "{name}");
    }
}

#[test]
fn who_waits_for_a_changed_or_removed_account_is_told() {
    for (name, accounts) in [
        ("changed", vec![Account { client_id: "x".to_owned(), ..account("work") }]),
        ("removed", vec![account("home")]),
    ] {
        let mut sim = Sim::new(vec![account("work")]);
        let (show, auth) = (sim.show_waiting("work", 600), sim.auth("work", Some(600)));
        let browser = sim.allow("work");
        sim.reload(config(accounts), bound(1234));
        for conn in [show, auth] {
            let (reason, message) = sim.failure(conn);
            assert_eq!(reason, Reason::Error, "{name}");
            assert!(message.contains("changed or removed"), "{name}: {message}");
        }
        let last = sim.pages.last();
        assert!(matches!(last, Some((conn, Page::Outcome(outcome))) if *conn == browser && !outcome.success), "{name}");
    }
}

#[test]
fn events_tell_of_a_token_that_a_change_cost() {
    let mut old = config(vec![account("work")]);
    old.token_event_cmd = Some("event".to_owned());
    let mut sim = Sim::authorized_with(old.clone());
    sim.exit_hook(Hook::TokenEvent, 0, "");
    old.accounts = vec![Account { client_id: "x".to_owned(), ..account("work") }];
    sim.reload(old, bound(1234));
    let hook = sim.running(Hook::TokenEvent)[0];
    assert_eq!(sim.env(hook, "PIZAUTH_EVENT").as_deref(), Some("token_invalidated"));
}

#[test]
fn a_failing_reload_changes_nothing() {
    let mut sim = Sim::authorized();
    let waiting = sim.auth("work", Some(600));
    let url = sim.url("work");
    let conn = sim.request(Request::Reload);
    sim.staged(Err(vec!["pizauth.conf:1:1: expected an option".to_owned()]));
    let (reason, message) = sim.failure(conn);
    assert_eq!((reason, message.as_str()), (Reason::Error, "pizauth.conf:1:1: expected an option"));
    assert_eq!(sim.url("work"), url);
    assert!(sim.is_waiting(waiting) && sim.adopted.is_empty());
    assert_eq!(sim.readiness, [Readiness::Ready, Readiness::Reloading, Readiness::Ready]);
    let show = sim.show("work");
    assert_eq!(sim.token(show), "access-1");
}

#[test]
fn a_moved_listener_takes_its_authorizations_with_it() {
    let elsewhere = Account { redirect_uri: "https://auth.example.org/cb".to_owned(), ..account("proxy") };
    let mut sim = Sim::new(vec![elsewhere.clone(), account("work")]);
    let waiting = sim.auth("work", Some(600));
    sim.auth("proxy", None);
    let (old, proxy) = (sim.url("work"), sim.url("proxy"));
    let old_state = sim.state("work");
    sim.notices.clear();
    sim.reload(config(vec![elsewhere, account("work")]), bound(4321));
    let new = sim.url("work");
    assert!(new != old && new.contains("localhost%3A4321"), "{new}");
    assert_eq!(sim.notices, [(waiting, Notice::Authorize { url: new })]);
    assert_eq!(sim.url("proxy"), proxy);
    sim.browse(&format!("/?code=c&state={old_state}"));
    assert!(sim.calls.is_empty());
    sim.allow("work");
    sim.answer_call(200, &tokens(1, 3600));
    assert!(sim.done(waiting).is_empty());
}

#[test]
fn a_listener_that_stays_leaves_authorizations_alone() {
    let mut sim = Sim::new(vec![account("work")]);
    sim.auth("work", None);
    let url = sim.url("work");
    sim.reload(config(vec![account("work")]), bound(1234));
    assert_eq!(sim.url("work"), url);
}

#[test]
fn an_exchange_under_way_survives_a_reload() {
    let mut sim = Sim::new(vec![account("work")]);
    sim.auth("work", None);
    sim.allow("work");
    sim.reload(two(), bound(4321));
    sim.answer_call(200, &tokens(1, 3600));
    assert_eq!(sim.status("work").state, AccountState::Active);
    assert_eq!(sim.status("home").state, AccountState::Empty);
}

#[test]
fn two_reloads_queue() {
    let mut sim = Sim::authorized();
    let conns: Vec<_> = (0..3).map(|_| sim.request(Request::Reload)).collect();
    assert_eq!(sim.stages.len(), 1);
    sim.staged(Err(vec!["first".to_owned()]));
    assert_eq!(sim.failure(conns[0]).1, "first");
    assert!(sim.is_waiting(conns[1]) && sim.stages.len() == 1);
    sim.event(Event::Gone { conn: conns[1] });
    sim.staged(Ok(Box::new(Staging { config: two(), bound: bound(1234) })));
    assert!(sim.is_waiting(conns[1]));
    assert!(sim.done(conns[2]).is_empty());
    assert!(sim.stages.is_empty());
}

#[test]
fn hangup_reloads_without_anybody_to_answer() {
    let mut sim = Sim::authorized();
    sim.event(Event::Hangup);
    sim.event(Event::Hangup);
    sim.staged(Ok(Box::new(Staging { config: two(), bound: bound(1234) })));
    sim.staged(Ok(Box::new(Staging { config: two(), bound: bound(1234) })));
    assert_eq!(sim.adopted.len(), 2);
    assert_eq!(sim.engine.accounts.len(), 2);
}

#[test]
fn what_was_staged_for_nobody_is_dropped() {
    let mut sim = Sim::authorized();
    let ticket = crate::engine::Ticket(4711);
    sim.event(Event::Staged { ticket, result: Ok(Box::new(Staging { config: two(), bound: bound(1) })) });
    assert_eq!((sim.discarded.as_slice(), sim.engine.accounts.len()), ([ticket].as_slice(), 1));
}

#[test]
fn warnings_of_the_listeners_reach_who_asked() {
    let mut sim = Sim::authorized();
    let warnings = vec!["[::1]:1234 is taken".to_owned()];
    let conn = sim.reload(two(), Bound { warnings: warnings.clone(), ..bound(1234) });
    assert_eq!(sim.done(conn), warnings);
}

#[test]
fn a_new_refresh_time_applies_at_once() {
    let mut sim = Sim::authorized();
    sim.sleep(secs(1000));
    let early = Account { refresh_at_least: secs(900), ..account("work") };
    sim.reload(config(vec![early]), bound(1234));
    assert_eq!(sim.purposes(), ["refresh_token"]);
}

#[test]
fn a_refresh_under_way_survives_a_reload() {
    let mut sim = Sim::authorized();
    sim.refresh("work", None);
    sim.reload(two(), bound(1234));
    sim.answer_call(200, &tokens(2, 3600));
    let show = sim.show("work");
    assert_eq!(sim.token(show), "access-2");
}

#[test]
fn reminders_follow_their_command() {
    let with = |command: Option<&str>| {
        let mut config = config(vec![account("work")]);
        config.auth_notify_cmd = command.map(str::to_owned);
        config
    };
    let mut sim = Sim::start(with(None));
    sim.auth("work", None);
    assert_eq!(sim.starts(Hook::AuthNotify), 0);
    for (name, command, starts) in
        [("added", Some("a"), 1), ("same", Some("a"), 1), ("other", Some("b"), 2), ("none", None, 2)]
    {
        sim.reload(with(command), bound(1234));
        assert_eq!(sim.starts(Hook::AuthNotify), starts, "{name}");
    }
    sim.sleep(secs(5000));
    assert_eq!(sim.starts(Hook::AuthNotify), 2);
}

#[test]
fn the_pause_after_a_failure_outlasts_a_reload() {
    let mut sim = Sim::authorized();
    sim.refresh("work", None);
    sim.answer_call(503, "");
    let (before, _) = sim.engine.poll_timeout().unwrap();
    sim.reload(config(vec![account("work")]), bound(1234));
    assert!(sim.calls.is_empty());
    assert_eq!(sim.engine.poll_timeout(), Some((before, "refresh")));
}

#[test]
fn what_runs_for_an_account_that_is_taken_away_is_ended() {
    let mut sim = Sim::new(vec![command_account("work")]);
    sim.auth("work", None);
    sim.allow("work");
    let reading = sim.running(Hook::ClientSecret);
    sim.reload(config(Vec::new()), bound(1234));
    assert_eq!((reading.len(), sim.killed), (1, reading));

    let judged = || Config { transient_error_if_cmd: Some("judge".to_owned()), ..config(vec![account("work")]) };
    let mut sim = Sim::authorized_with(judged());
    sim.sleep(secs(3510));
    for _ in 1..=6 {
        sim.break_call(Stage::Connect);
        sim.sleep(secs(2000));
    }
    let judging = sim.running(Hook::TransientErrorIf);
    sim.reload(config(Vec::new()), bound(1234));
    assert_eq!((judging.len(), sim.killed), (1, judging));
}

#[test]
fn an_account_that_is_taken_away_during_a_save_is_saved_away() {
    let stored = |accounts| Config { persist_cmd: Some("persist".to_owned()), ..config(accounts) };
    let mut sim = Sim::authorized_with(stored(vec![account("work")]));
    assert!(!dump::read(sim.persisted().as_bytes()).unwrap().is_empty());
    sim.reload(stored(Vec::new()), bound(1234));
    sim.exit_hook(Hook::Persist, 0, "");
    assert!(dump::read(sim.persisted().as_bytes()).unwrap().is_empty());
}

#[test]
fn a_new_command_and_a_moved_listener_make_one_notification() {
    let with = |command: &str| Config { auth_notify_cmd: Some(command.to_owned()), ..config(vec![account("work")]) };
    let mut sim = Sim::start(with("old"));
    sim.auth("work", None);
    let old = sim.running(Hook::AuthNotify);
    sim.reload(with("new"), bound(4321));
    assert_eq!((sim.started.len(), sim.killed.clone()), (2, old));
    let url = sim.url("work");
    let new = *sim.running(Hook::AuthNotify).last().unwrap();
    assert_eq!(sim.env(new, "PIZAUTH_URL"), Some(url));
}

#[test]
fn a_new_interval_counts_from_the_last_notification() {
    let every = |interval| Config {
        auth_notify_cmd: Some("notify".to_owned()),
        auth_notify_interval: secs(interval),
        ..config(vec![account("work")])
    };
    for (interval, next) in [(600, 500), (60, 1)] {
        let mut sim = Sim::start(every(86_400));
        sim.auth("work", None);
        sim.sleep(secs(100));
        sim.reload(every(interval), bound(1234));
        sim.sleep(secs(next - 1));
        let early = usize::from(interval < 100);
        assert_eq!(sim.started.len(), 1 + early, "every {interval} s");
        sim.sleep(secs(1));
        assert_eq!(sim.started.len(), 2, "every {interval} s");
    }
}
