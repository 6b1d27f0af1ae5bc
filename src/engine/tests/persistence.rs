//! Dump, restore and the two commands: nothing is lost, nothing comes back that should not.

use super::sim::{Sim, account, bound, config, secs, tokens, userless_account};
use crate::{
    config::{Account, Config},
    engine::{ChildEnd, Event, Hook, Now, Time},
    proto::{PersistenceState, Reason, Request},
};

fn stored(persist: bool, restore: bool) -> Config {
    stored_with(vec![account("home"), account("work")], persist, restore)
}

fn stored_with(accounts: Vec<Account>, persist: bool, restore: bool) -> Config {
    let mut config = config(accounts);
    config.persist_cmd = persist.then(|| "persist".to_owned());
    config.restore_cmd = restore.then(|| "restore".to_owned());
    config
}

/// A dump in which "work" has tokens number 1.
fn dump() -> String {
    let mut sim = Sim::new(vec![account("home"), account("work")]);
    sim.authorize("work", &tokens(1, 3600));
    sim.dump()
}

/// A server whose store is sealed.
fn sealed() -> Sim {
    let mut sim = Sim::start(stored(true, true));
    sim.exit_hook(Hook::Restore, 1, "");
    assert_eq!(sim.persistence().state, PersistenceState::Sealed);
    sim
}

#[test]
fn a_dump_brings_back_what_was_there() {
    let mut sim = Sim::new(vec![account("home"), account("work")]);
    let conn = sim.restore(&dump());
    assert!(sim.done(conn).is_empty());
    let show = sim.show("work");
    assert_eq!(sim.token(show), "access-1");
    assert!(sim.dump().starts_with("pizauth-dump 1\n"));
}

#[test]
fn restore_only_improves_on_what_is_there() {
    let dump = dump();
    for (name, prepare, want) in [
        ("active", (|sim: &mut Sim| sim.authorize("work", &tokens(7, 3600))) as fn(&mut Sim), "refresh-7"),
        (
            "expired, but with a refresh token",
            |sim: &mut Sim| {
                sim.authorize("work", &tokens(7, 3600));
                sim.suspend(secs(3601));
            },
            "refresh-7",
        ),
        (
            "expired for good",
            |sim: &mut Sim| {
                sim.authorize("work", r#"{"access_token":"x","expires_in":1}"#);
                sim.sleep(secs(2));
            },
            "refresh-1",
        ),
    ] {
        let mut sim = Sim::new(vec![account("work")]);
        prepare(&mut sim);
        sim.restore(&dump);
        let token = sim.engine.accounts[0].token.as_ref().and_then(|token| token.refresh_token.as_ref());
        assert_eq!(token.map(|token| token.expose().as_str()), Some(want), "{name}");
    }
}

#[test]
fn a_saved_token_that_is_dead_is_no_improvement() {
    let mut sim = Sim::new(vec![account("work")]);
    sim.authorize("work", r#"{"access_token":"x","expires_in":60}"#);
    let dump = sim.dump();
    let mut next = Sim::start_at(config(vec![account("work")]), Now { wall: sim.now.wall + secs(61), ..sim.now });
    next.restore(&dump);
    assert!(next.engine.accounts[0].token.is_none());
}

#[test]
fn only_accounts_that_are_still_the_same_are_restored() {
    let dump = dump();
    for (name, account, taken) in [
        ("same", account("work"), true),
        ("another user", Account { user: Some("u".to_owned()), ..account("work") }, true),
        ("another client", Account { client_id: "x".to_owned(), ..account("work") }, false),
        ("another scope", Account { scopes: vec!["x".to_owned()], ..account("work") }, false),
        ("another name", account("works"), false),
    ] {
        let mut sim = Sim::new(vec![account]);
        sim.restore(&dump);
        assert_eq!(sim.engine.accounts[0].token.is_some(), taken, "{name}");
    }
}

#[test]
fn what_cannot_be_restored_is_refused_whole() {
    let good = dump();
    for bad in ["hello", "pizauth-dump 2\nAAAA\n", &good[..good.len() / 2]] {
        let mut sim = Sim::new(vec![account("work")]);
        let conn = sim.restore(bad);
        let (reason, message) = sim.failure(conn);
        assert_eq!(reason, Reason::Error);
        assert!(message.starts_with("token state not restored: "), "{message}");
        assert!(sim.engine.accounts[0].token.is_none());
    }
}

#[test]
fn a_restored_token_has_no_longer_life_than_it_had() {
    let dump = dump();
    for (name, later, want) in [("at once", 0, 3600), ("later", 3000, 600)] {
        let base = Sim::authorized();
        let wall = base.now.wall + secs(later);
        let now = Now { time: Time::new(secs(9000)), wall };
        let mut sim = Sim::start_at(config(vec![account("work")]), now);
        sim.restore(&dump);
        let token = sim.engine.accounts[0].token.as_ref().unwrap();
        assert_eq!(token.expires_at.since(sim.now.time), secs(want), "{name}");
    }
}

#[test]
fn until_the_store_is_read_show_is_temporary_and_waits() {
    let mut sim = Sim::start(stored(true, true));
    let (plain, waiting) = (sim.show("work"), sim.show_waiting("work", 60));
    let refresh = sim.refresh("work", None);
    for conn in [plain, refresh] {
        let (reason, message) = sim.failure(conn);
        assert_eq!(reason, Reason::Temporary);
        assert!(message.contains("being restored"), "{message}");
    }
    sim.exit_hook(Hook::Restore, 0, &dump());
    assert_eq!(sim.token(waiting), "access-1");
    sim.sleep(secs(100));
    assert_eq!(sim.starts(Hook::Persist), 0, "what came from the store is no change");
}

#[test]
fn an_empty_store_is_read_and_who_waits_is_asked_to_authorise() {
    let mut sim = Sim::start(stored(true, true));
    let waiting = sim.show_waiting("work", 600);
    sim.exit_hook(Hook::Restore, 0, "");
    assert_eq!(sim.persistence().state, PersistenceState::Saved);
    assert_eq!(sim.notices.len(), 1, "the wait goes on through the authorization");
    sim.allow("work");
    sim.answer_call(200, &tokens(1, 3600));
    assert_eq!(sim.token(waiting), "access-1");
}

#[test]
fn who_waits_is_asked_however_the_store_opens() {
    for how in ["restore", "reload"] {
        let mut sim = sealed();
        let waiting = sim.show_waiting("work", 600);
        match how {
            "restore" => _ = sim.restore(""),
            _ => _ = sim.reload(stored(true, false), bound(1234)),
        }
        assert!(sim.is_waiting(waiting) && sim.notices.len() == 1, "{how}");
    }
}

#[test]
fn an_error_is_forgotten_with_what_it_was_about() {
    for (name, mend) in [
        ("tokens are restored", (|sim: &mut Sim| _ = sim.restore(&dump())) as fn(&mut Sim)),
        ("the account is changed", |sim: &mut Sim| {
            let other = Account { client_id: "x".to_owned(), ..account("work") };
            sim.reload(config(vec![account("home"), other]), bound(1234));
        }),
    ] {
        let mut sim = Sim::new(vec![account("home"), account("work")]);
        sim.auth("work", None);
        sim.allow("work");
        sim.answer_call(401, r#"{"error":"invalid_client"}"#);
        assert!(sim.status("work").last_error.is_some(), "{name}");
        mend(&mut sim);
        assert_eq!(sim.status("work").last_error, None, "{name}");
    }
}

#[test]
fn a_userless_account_waits_for_the_store_and_then_helps_itself() {
    let mut sim = Sim::start(stored_with(vec![userless_account("work")], false, true));
    let waiting = sim.show_waiting("work", 60);
    assert!(sim.calls.is_empty());
    sim.exit_hook(Hook::Restore, 0, "");
    sim.answer_call(200, r#"{"access_token":"a","expires_in":60}"#);
    assert_eq!(sim.token(waiting), "a");
}

#[test]
fn a_userless_account_gets_a_token_under_a_seal_where_it_is_asked_for() {
    for (name, ask) in [
        ("auth", (|sim: &mut Sim| sim.auth("work", Some(60))) as fn(&mut Sim) -> _),
        ("refresh", |sim: &mut Sim| sim.refresh("work", Some(60))),
    ] {
        let mut sim = Sim::start(stored_with(vec![userless_account("work")], true, true));
        sim.exit_hook(Hook::Restore, 1, "");
        let conn = ask(&mut sim);
        assert!(sim.is_waiting(conn), "{name}");
        sim.answer_call(200, r#"{"access_token":"a","expires_in":60}"#);
        assert!(sim.done(conn).is_empty(), "{name}");
        let show = sim.show("work");
        assert_eq!(sim.token(show), "a", "{name}");
    }
}

#[test]
fn a_refresh_under_a_seal_is_told_why_it_cannot_be() {
    let mut sim = sealed();
    let conn = sim.refresh("work", Some(60));
    let (reason, message) = sim.failure(conn);
    assert_eq!(reason, Reason::Temporary);
    assert!(message.contains("exit status 1") && message.contains("pizauth auth work"), "{message}");
}

#[test]
fn a_store_that_cannot_be_read_is_never_written_over() {
    for end in [
        ChildEnd::Exited { status: 1, stdout: Default::default() },
        ChildEnd::Exited { status: 0, stdout: crate::secret::Secret::new(b"garbage".to_vec()) },
        ChildEnd::Killed,
        ChildEnd::NotStarted("no fork".to_owned()),
        ChildEnd::TooMuch,
    ] {
        let mut sim = Sim::start(stored(true, true));
        sim.end(sim.running(Hook::Restore)[0], end.clone());
        let persistence = sim.persistence();
        assert_eq!(persistence.state, PersistenceState::Sealed, "{end:?}");
        assert!(persistence.last_error.is_some(), "{end:?}");
        sim.authorize("work", &tokens(1, 3600));
        let show = sim.show("work");
        assert_eq!(sim.token(show), "access-1");
        let reason = sim.status("work").not_saved.expect("not saved");
        assert!(reason.contains("restore_cmd"), "{reason}");
        sim.sleep(secs(600));
        assert_eq!(sim.starts(Hook::Persist), 0, "{end:?}");
    }
}

#[test]
fn a_sealed_store_is_tried_again_by_show_at_most_every_10_s() {
    let mut sim = sealed();
    for _ in 0..30 {
        let show = sim.show("work");
        assert_eq!(sim.reason(show), Reason::Temporary);
        sim.sleep(secs(1));
        if !sim.running(Hook::Restore).is_empty() {
            sim.exit_hook(Hook::Restore, 1, "");
            assert_eq!(sim.persistence().state, PersistenceState::Sealed);
        }
    }
    assert_eq!(sim.starts(Hook::Restore), 3);
    sim.sleep(secs(1000));
    assert_eq!(sim.starts(Hook::Restore), 3, "nobody asks");
}

#[test]
fn a_sealed_store_is_tried_again_by_itself_while_somebody_waits() {
    let mut sim = sealed();
    let waiting = sim.show_waiting("work", 600);
    for _ in 0..3 {
        sim.sleep(secs(10));
        assert_eq!(sim.persistence().state, PersistenceState::Sealed, "it is not open before it was read");
        sim.exit_hook(Hook::Restore, 1, "");
    }
    sim.sleep(secs(10));
    sim.exit_hook(Hook::Restore, 0, &dump());
    assert_eq!(sim.token(waiting), "access-1");
}

#[test]
fn what_was_obtained_while_sealed_is_merged_and_saved() {
    let mut sim = sealed();
    sim.authorize("home", &tokens(5, 3600));
    sim.sleep(secs(10));
    sim.show("work");
    sim.exit_hook(Hook::Restore, 0, &dump());
    let persisted = sim.persisted();
    let mut next = Sim::new(vec![account("home"), account("work")]);
    next.restore(&persisted);
    let (home, work) = (next.show("home"), next.show("work"));
    assert_eq!((next.token(home), next.token(work)), ("access-5", "access-1"));
}

#[test]
fn what_was_revoked_or_refused_while_sealed_does_not_come_back() {
    for (name, end) in [
        ("revoked without a token here", (|sim: &mut Sim| _ = sim.revoke("work")) as fn(&mut Sim)),
        ("revoked with one", |sim: &mut Sim| {
            sim.authorize("work", &tokens(3, 3600));
            sim.request(Request::Revoke { account: "work".to_owned(), local: true });
        }),
        ("refused", |sim: &mut Sim| {
            sim.authorize("work", &tokens(3, 3600));
            sim.refresh("work", None);
            sim.answer_call(400, r#"{"error":"invalid_grant"}"#);
        }),
        ("changed and changed back", |sim: &mut Sim| {
            let other = Account { client_id: "x".to_owned(), ..account("work") };
            sim.reload(stored_with(vec![account("home"), other], true, true), bound(1234));
            sim.reload(stored(true, true), bound(1234));
        }),
        ("revoked while it is read again", |sim: &mut Sim| {
            sim.sleep(secs(10));
            sim.show("work");
            sim.revoke("work");
            sim.exit_hook(Hook::Restore, 2, "");
        }),
    ] {
        let mut sim = sealed();
        end(&mut sim);
        sim.sleep(secs(20));
        sim.show("work");
        sim.exit_hook(Hook::Restore, 0, &dump());
        assert!(sim.engine.accounts[1].token.is_none(), "{name}");
        let persisted = sim.persisted();
        sim.exit_hook(Hook::Persist, 0, "");
        let mut next = Sim::start(stored(true, true));
        next.exit_hook(Hook::Restore, 0, &persisted);
        assert!(next.engine.accounts[1].token.is_none(), "{name}: not after a restart either");
    }
}

#[test]
fn pizauth_restore_unseals() {
    let mut sim = sealed();
    sim.authorize("home", &tokens(5, 3600));
    let conn = sim.restore("");
    assert!(sim.done(conn).is_empty());
    assert_eq!(sim.starts(Hook::Persist), 1);
    let mut sim = Sim::start(stored(true, true));
    let hook = sim.running(Hook::Restore)[0];
    sim.restore(&dump());
    assert_eq!(sim.killed, [hook]);
    sim.end(hook, ChildEnd::Killed);
    assert_eq!(sim.starts(Hook::Persist), 1, "what pizauth restore brings is a change");
    sim.exit_hook(Hook::Persist, 0, "");
    assert_eq!(sim.persistence().state, PersistenceState::Saved);
}

#[test]
fn every_change_is_saved_and_changes_meanwhile_are_folded() {
    let mut sim = Sim::start(stored(true, false));
    sim.authorize("work", &tokens(1, 3600));
    assert_eq!(sim.starts(Hook::Persist), 1);
    assert_eq!(sim.runs[&sim.running(Hook::Persist)[0]].limit, Some(secs(60)));
    for number in 2..9 {
        sim.refresh("work", None);
        sim.answer_call(200, &tokens(number, 3600));
    }
    assert_eq!(sim.starts(Hook::Persist), 1, "never two at once");
    assert!(sim.status("work").not_saved.is_some());
    sim.exit_hook(Hook::Persist, 0, "");
    assert_eq!(sim.starts(Hook::Persist), 2);
    sim.exit_hook(Hook::Persist, 0, "");
    assert_eq!((sim.starts(Hook::Persist), sim.status("work").not_saved), (2, None));
    assert_eq!(sim.persistence().state, PersistenceState::Saved);
    sim.revoke("work");
    assert_eq!(sim.starts(Hook::Persist), 3);
}

#[test]
fn a_failed_save_is_told_and_retried_with_backoff() {
    let mut sim = Sim::start(stored(true, false));
    sim.authorize("work", &tokens(1, 3600));
    sim.exit_hook(Hook::Persist, 0, "");
    sim.authorize("home", &tokens(1, 100_000));
    let mut at = sim.now.time;
    for want in [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
        while sim.running(Hook::Persist).is_empty() {
            let (next, what) = sim.engine.poll_timeout().unwrap();
            assert_eq!(what, "persist_cmd");
            sim.sleep(next.since(sim.now.time));
        }
        assert_eq!(sim.now.time.since(at), secs(want));
        at = sim.now.time;
        sim.exit_hook(Hook::Persist, 1, "");
        let reason = sim.status("home").not_saved.unwrap();
        assert!(reason.contains("exit status 1"), "{reason}");
        assert_eq!(sim.status("work").not_saved, None, "it was saved before");
    }
    assert_eq!(sim.persistence().state, PersistenceState::Unsaved);
    sim.sleep(secs(300));
    sim.exit_hook(Hook::Persist, 0, "");
    assert_eq!(sim.persistence().last_error, None);
}

#[test]
fn adding_persist_cmd_saves_at_once() {
    let mut sim = Sim::start(stored(false, false));
    sim.authorize("work", &tokens(1, 3600));
    assert_eq!(sim.persistence().state, PersistenceState::Off);
    sim.reload(stored(true, false), bound(1234));
    assert_eq!(sim.starts(Hook::Persist), 1);
    sim.exit_hook(Hook::Persist, 0, "");
    sim.reload(stored(true, false), bound(1234));
    assert_eq!(sim.starts(Hook::Persist), 1, "nothing changed");
}

#[test]
fn two_saves_never_run_at_once_whatever_is_reloaded() {
    let mut sim = Sim::start(stored(true, false));
    sim.authorize("work", &tokens(1, 3600));
    sim.reload(stored(false, false), bound(1234));
    sim.reload(stored(true, false), bound(1234));
    assert_eq!(sim.running(Hook::Persist).len(), 1);
    sim.sleep(secs(5));
    sim.exit_hook(Hook::Persist, 0, "");
    assert_eq!(sim.starts(Hook::Persist), 2);
}

#[test]
fn a_removed_account_leaves_the_store() {
    let mut sim = Sim::start(stored(true, false));
    sim.authorize("work", &tokens(1, 3600));
    sim.exit_hook(Hook::Persist, 0, "");
    sim.reload(stored_with(vec![account("home")], true, false), bound(1234));
    let persisted = sim.persisted();
    let mut next = Sim::new(vec![account("home"), account("work")]);
    next.restore(&persisted);
    assert!(next.engine.accounts[1].token.is_none());
}

#[test]
fn a_token_lost_to_a_changed_configuration_is_told_until_that_is_saved() {
    let mut sim = Sim::start(stored(true, false));
    sim.authorize("work", &tokens(1, 3600));
    sim.exit_hook(Hook::Persist, 0, "");
    let other = Account { client_id: "x".to_owned(), ..account("work") };
    sim.reload(stored_with(vec![account("home"), other], true, false), bound(1234));
    sim.exit_hook(Hook::Persist, 1, "");
    let reason = sim.status("work").not_saved.expect("not saved");
    assert!(reason.contains("exit status 1"), "{reason}");
    assert_eq!(sim.status("home").not_saved, None);
    sim.sleep(secs(1));
    sim.exit_hook(Hook::Persist, 0, "");
    assert_eq!(sim.status("work").not_saved, None);
}

#[test]
fn an_unsaved_removal_is_named_at_shutdown() {
    let mut sim = sealed();
    sim.revoke("work");
    let conn = sim.request(Request::Shutdown);
    let (reason, message) = sim.failure(conn);
    assert_eq!(reason, Reason::Error);
    assert!(message.contains("work"), "{message}");
    let mut sim = Sim::start(stored(true, false));
    sim.authorize("work", &tokens(1, 3600));
    sim.exit_hook(Hook::Persist, 0, "");
    sim.reload(stored_with(vec![account("home")], true, false), bound(1234));
    let conn = sim.request(Request::Shutdown);
    sim.sleep(secs(10));
    let (_, message) = sim.failure(conn);
    assert!(message.contains("without saving the token state"), "{message}");
}

#[test]
fn token_state_without_commands_is_nobodys_business() {
    let mut sim = Sim::authorized();
    assert_eq!(sim.persistence().state, PersistenceState::Off);
    assert_eq!(sim.status("work").not_saved, None);
    sim.event(Event::Shutdown);
    assert_eq!(sim.exit, Some(crate::engine::ExitReason::Asked));
}

#[test]
fn a_saved_token_that_cannot_be_renewed_comes_back_while_it_lives() {
    let mut sim = Sim::new(vec![account("work")]);
    sim.authorize("work", r#"{"access_token":"alone","expires_in":3600}"#);
    let dump = sim.dump();
    for (name, later, want) in [("alive", 3599, Some("alone")), ("just dead", 3600, None)] {
        let now = Now { time: sim.now.time + secs(later), wall: sim.now.wall + secs(later) };
        let mut next = Sim::start_at(config(vec![account("work")]), now);
        next.restore(&dump);
        let show = next.show("work");
        match want {
            Some(token) => assert_eq!(next.token(show), token, "{name}"),
            None => assert_eq!(next.reason(show), Reason::Authorize, "{name}"),
        }
    }
}

#[test]
fn an_idle_store_is_off_only_without_both_commands() {
    for (persist, restore, want) in [
        (false, false, PersistenceState::Off),
        (true, false, PersistenceState::Saved),
        (false, true, PersistenceState::Saved),
        (true, true, PersistenceState::Saved),
    ] {
        let mut sim = Sim::start(stored(persist, restore));
        if restore {
            sim.exit_hook(Hook::Restore, 0, "");
        }
        assert_eq!(sim.persistence().state, want, "{persist} {restore}");
    }
}

#[test]
fn a_userless_account_that_a_reload_brings_waits_for_a_sealed_store_alone() {
    let both = || vec![account("home"), userless_account("work")];
    let mut sim = Sim::start(stored_with(vec![account("home")], true, true));
    sim.exit_hook(Hook::Restore, 1, "");
    sim.reload(stored_with(both(), true, true), bound(1234));
    assert!(sim.calls.is_empty(), "its token may be in the store");
    sim.reload(stored_with(both(), true, false), bound(1234));
    assert_eq!(sim.purposes(), ["client_credentials"], "there is no store any more");
    let mut sim = Sim::start(stored_with(vec![account("home")], true, false));
    sim.reload(stored_with(both(), true, false), bound(1234));
    assert_eq!(sim.purposes(), ["client_credentials"]);
}

#[test]
fn a_request_under_way_goes_on_when_the_store_is_read() {
    let userless = || vec![userless_account("work")];
    let dump = {
        let mut sim = Sim::new(userless());
        sim.answer_call(200, &tokens(1, 3600));
        sim.dump()
    };
    let mut sim = Sim::start(stored_with(userless(), false, true));
    let refresh = sim.refresh("work", Some(12));
    sim.exit_hook(Hook::Restore, 0, &dump);
    let show = sim.show("work");
    assert_eq!(sim.token(show), "access-1");
    sim.answer_call(200, &tokens(2, 3600));
    assert!(sim.done(refresh).is_empty());
}

#[test]
fn a_new_store_has_nothing_of_what_was_restored() {
    let mut sim = Sim::start(stored(false, true));
    sim.exit_hook(Hook::Restore, 0, &dump());
    sim.reload(stored(true, true), bound(1234));
    assert!(sim.status("work").not_saved.is_some() && sim.status("home").not_saved.is_none());
    let conn = sim.request(Request::Shutdown);
    sim.exit_hook(Hook::Persist, 3, "");
    sim.sleep(secs(10));
    let (_, message) = sim.failure(conn);
    assert!(message.contains("the tokens of work"), "{message}");
}

#[test]
fn a_store_that_is_read_for_the_first_time_is_not_called_sealed() {
    let mut sim = Sim::start(stored(true, true));
    assert_eq!(sim.persistence().state, PersistenceState::Saved);
    sim.exit_hook(Hook::Restore, 1, "");
    sim.sleep(secs(10));
    sim.show("work");
    assert_eq!((sim.running(Hook::Restore).len(), sim.persistence().state), (1, PersistenceState::Sealed));
}

#[test]
fn a_late_answer_does_not_replace_what_was_restored() {
    let userless = || vec![userless_account("work")];
    let dump = {
        let mut sim = Sim::new(userless());
        sim.answer_call(200, &tokens(1, 3600));
        sim.dump()
    };
    let mut sim = Sim::new(userless());
    let late = sim.call();
    sim.sleep(secs(33));
    let conn = sim.restore(&dump);
    assert!(sim.done(conn).is_empty());
    sim.answer(late, 200, &tokens(2, 3600));
    let show = sim.show("work");
    assert_eq!(sim.token(show), "access-1");
}

#[test]
fn a_token_that_expired_before_it_was_restored_expired_when_it_did() {
    let mut earlier = Sim::new(vec![account("home"), account("work")]);
    earlier.authorize("work", &tokens(1, 3600));
    let (dump, expired) = (earlier.dump(), earlier.now.wall + secs(3600));
    earlier.sleep(secs(8000));
    let mut sim = Sim::start_at(stored(false, false), earlier.now);
    sim.restore(&dump);
    assert_eq!(sim.status("work").expires_at, Some(expired));
}

#[test]
fn a_restored_token_without_refresh_token_is_not_refreshed() {
    let dump = {
        let mut sim = Sim::new(vec![account("home"), account("work")]);
        sim.authorize("work", r#"{"access_token":"a","expires_in":3600}"#);
        sim.dump()
    };
    let mut sim = Sim::start(stored(false, false));
    sim.restore(&dump);
    assert_eq!(sim.status("work").next_refresh_at, None);
    sim.sleep(secs(3600));
    let show = sim.show("work");
    assert_eq!((sim.reason(show), sim.called), (Reason::Authorize, 0));
}
