//! Keeping tokens fresh: when a refresh is due, and what its answer means.

use super::sim::{Sim, account, config, device_account, reply, secs, tokens, userless_account};
use crate::{
    config::Account,
    engine::{ChildEnd, Hook, Level, Now, Time, WallTime, account::Renewal},
    oauth::{Reply, Stage},
    proto::Reason,
};

/// Seconds from now to the next refresh of the first account.
fn due_in(sim: &Sim) -> f64 {
    match sim.engine.accounts[0].renewal() {
        Renewal::Due(at) => at.since(sim.now.time).as_secs_f64(),
        other => panic!("{other:?}"),
    }
}

fn refresh_token_sent(sim: &Sim) -> Option<String> {
    sim.field(sim.call(), "refresh_token")
}

#[test]
fn a_refresh_is_due_as_the_options_and_the_provider_say() {
    let plain = || account("work");
    for (name, account, answer, want) in [
        ("before the end", plain(), tokens(1, 3600), 3510.0),
        ("at least so often", plain(), tokens(1, 100_000), 5400.0),
        ("half of a short life", plain(), tokens(1, 60), 30.0),
        ("just short", plain(), tokens(1, 179), 89.5),
        ("just not short", plain(), tokens(1, 180), 90.0),
        ("never within the pause", plain(), tokens(1, 1), 5.0),
        ("a shorter pause", Account { refresh_retry: secs(2), ..plain() }, tokens(1, 1), 2.0),
        ("no pause at all is a second", Account { refresh_retry: secs(0), ..plain() }, tokens(1, 1), 1.0),
        (
            "as the provider says",
            plain(),
            r#"{"access_token":"a","refresh_token":"r","expires_in":3600,"refresh_in":1800}"#.to_owned(),
            1800.0,
        ),
        (
            "not after its end",
            plain(),
            r#"{"access_token":"a","refresh_token":"r","expires_in":3600,"refresh_in":9999}"#.to_owned(),
            3600.0,
        ),
        ("assumed", plain(), r#"{"access_token":"a","refresh_token":"r"}"#.to_owned(), 3510.0),
        ("0 is unknown", plain(), tokens(1, 0), 3510.0),
        ("huge", plain(), tokens(1, u64::MAX), 5400.0),
    ] {
        let mut sim = Sim::new(vec![account]);
        sim.authorize("work", &answer);
        assert_eq!(due_in(&sim), want, "{name}");
    }
}

#[test]
fn a_reload_and_a_restart_keep_what_the_provider_said() {
    let answer = r#"{"access_token":"a","refresh_token":"r","expires_in":3600,"refresh_in":1800}"#;
    let mut sim = Sim::new(vec![account("work")]);
    sim.authorize("work", answer);
    sim.reload(config(vec![account("work")]), super::sim::bound(1234));
    assert_eq!(due_in(&sim), 1800.0);
    let dump = sim.dump();
    for uptime in [50, 3] {
        let now = Now { time: Time::new(secs(uptime)), wall: sim.now.wall };
        let mut next = Sim::start_at(config(vec![account("work")]), now);
        next.restore(&dump);
        assert_eq!(due_in(&next), 1800.0);
        next.reload(config(vec![account("work")]), super::sim::bound(1234));
        assert_eq!(due_in(&next), 1800.0, "{uptime}");
    }
}

#[test]
fn a_restart_shortly_after_boot_keeps_the_time_of_the_refresh() {
    let mut sim = Sim::new(vec![account("work")]);
    sim.authorize("work", &tokens(1, 100_000));
    sim.sleep(secs(5000));
    let dump = sim.dump();
    let now = Now { time: Time::new(secs(1)), wall: sim.now.wall };
    let mut next = Sim::start_at(config(vec![account("work")]), now);
    next.restore(&dump);
    assert_eq!(due_in(&next), 400.0);
}

#[test]
fn a_token_lives_from_the_moment_it_was_asked_for() {
    let mut sim = Sim::authorized();
    sim.refresh("work", None);
    sim.suspend(secs(10_000));
    sim.answer_call(200, &tokens(2, 3600));
    let show = sim.show("work");
    assert_eq!(sim.reason(show), Reason::Temporary, "the answer waited in the socket for hours");
    sim.sleep(secs(5));
    assert_eq!(refresh_token_sent(&sim).as_deref(), Some("refresh-2"));
}

#[test]
fn a_refresh_comes_by_itself_and_rotates() {
    let mut sim = Sim::authorized();
    sim.sleep(secs(3510));
    assert_eq!(refresh_token_sent(&sim).as_deref(), Some("refresh-1"));
    sim.answer_call(200, &tokens(2, 3600));
    sim.sleep(secs(3510));
    assert_eq!(refresh_token_sent(&sim).as_deref(), Some("refresh-2"));
    sim.answer_call(200, r#"{"access_token":"a","expires_in":3600,"refresh_token":null}"#);
    sim.sleep(secs(3510));
    assert_eq!(refresh_token_sent(&sim).as_deref(), Some("refresh-2"), "one that is not sent stays");
}

#[test]
fn a_narrower_scope_is_kept_as_it_came_and_logged() {
    let asking = Account { scopes: vec!["a".to_owned(), "b".to_owned()], ..account("work") };
    let mut sim = Sim::new(vec![asking]);
    sim.authorize("work", r#"{"access_token":"at","refresh_token":"rt","expires_in":3600,"scope":"a"}"#);
    assert_eq!(sim.status("work").scope.as_deref(), Some("a"));
    let narrower = sim.logged(Level::Info).iter().filter(|line| line.contains("narrower scope than asked: a")).count();
    assert_eq!(narrower, 1);
}

#[test]
fn there_is_never_a_second_request_with_one_refresh_token() {
    let mut sim = Sim::authorized();
    sim.sleep(secs(3510));
    for _ in 0..10 {
        sim.refresh("work", None);
        sim.refresh("work", Some(600));
        sim.show_with("work", None, Some(1000));
        sim.sleep(secs(1));
    }
    assert_eq!(sim.calls.len(), 1);
    let ticket = sim.call();
    sim.sleep(secs(400));
    assert_eq!(sim.calls.len(), 1, "given up, but it still may arrive");
    sim.answer(ticket, 200, &tokens(2, 3600));
    let show = sim.show("work");
    assert_eq!(sim.token(show), "access-2", "late, but welcome");
}

#[test]
fn a_rotated_refresh_token_is_kept_though_a_login_that_brought_none_came_first() {
    for (name, wait) in [("in time", 0), ("late", 33)] {
        let mut sim = Sim::authorized();
        sim.refresh("work", None);
        let refresh = sim.call();
        sim.sleep(secs(wait));
        sim.auth("work", None);
        sim.allow("work");
        let exchange = *sim.calls.keys().next_back().unwrap();
        sim.answer(exchange, 200, r#"{"access_token":"access-2","expires_in":3600}"#);
        sim.answer(refresh, 200, &tokens(3, 3600));
        let show = sim.show("work");
        assert_eq!(sim.token(show), "access-2", "{name}");
        sim.refresh("work", None);
        assert_eq!(refresh_token_sent(&sim).as_deref(), Some("refresh-3"), "{name}");
    }
}

#[test]
fn an_answer_to_the_refresh_before_a_login_costs_the_new_refresh_token_nothing() {
    for (name, status, body) in [
        ("tokens", 200, tokens(3, 3600)),
        ("a refusal", 400, r#"{"error":"invalid_grant"}"#.to_owned()),
        ("an unusable token", 200, r#"{"access_token":"a b","refresh_token":"refresh-3"}"#.to_owned()),
    ] {
        let mut sim = Sim::authorized();
        sim.refresh("work", None);
        let refresh = sim.call();
        sim.auth("work", None);
        sim.allow("work");
        let exchange = *sim.calls.keys().next_back().unwrap();
        sim.answer(exchange, 200, &tokens(2, 3600));
        sim.answer(refresh, status, &body);
        sim.refresh("work", None);
        assert_eq!(refresh_token_sent(&sim).as_deref(), Some("refresh-2"), "{name}");
    }
}

#[test]
fn what_a_failed_refresh_means() {
    let loops = r#"{"error":"invalid_grant","error_description":"AADSTS50196: loop"}"#;
    for (name, status, body, want) in [
        ("503", 503, "", "transient"),
        ("429 wins over its error", 429, r#"{"error":"invalid_grant"}"#, "transient"),
        ("captive portal", 200, "<html>", "transient"),
        ("redirect", 302, "", "transient"),
        ("404", 404, "", "transient"),
        ("temporarily_unavailable", 400, r#"{"error":"temporarily_unavailable"}"#, "transient"),
        ("looping", 400, loops, "later"),
        ("invalid_grant", 400, r#"{"error":"invalid_grant"}"#, "ended"),
        ("interaction_required", 400, r#"{"error":"interaction_required"}"#, "ended"),
        ("invalid_client", 401, r#"{"error":"invalid_client"}"#, "held"),
        ("an unknown code", 400, r#"{"error":"moon_phase"}"#, "held"),
        ("token type", 200, r#"{"access_token":"a","token_type":"mac"}"#, "held"),
    ] {
        let mut sim = Sim::authorized();
        let waiting = sim.refresh("work", Some(600));
        sim.answer_call(status, body);
        let account = &sim.engine.accounts[0];
        let kept = account.token.as_ref().is_some_and(|token| token.refresh_token.is_some());
        let now = sim.now.time;
        match want {
            "transient" => {
                assert!((40.0..=44.0).contains(&due_in(&sim)), "{name}: {}", due_in(&sim));
                assert!(kept, "{name}");
                assert_eq!(sim.reason(waiting), Reason::Temporary, "{name}");
            }
            "later" => assert!((600.0..=660.0).contains(&due_in(&sim)), "{name}: {}", due_in(&sim)),
            "held" => {
                assert!(kept && account.renewal() == Renewal::Held(now + secs(3600)), "{name}");
                assert_eq!(sim.reason(waiting), Reason::Error, "{name}");
                let show = sim.show("work");
                assert_eq!(sim.token(show), "access-1", "{name}");
            }
            _ => {
                assert!(account.token.is_none() && account.renewal() == Renewal::Unable, "{name}");
                assert_eq!(sim.reason(waiting), Reason::Authorize, "{name}");
            }
        }
    }
}

#[test]
fn a_rotated_refresh_token_beside_an_unusable_access_token_replaces_the_old() {
    let mut sim = Sim::new(vec![account("work")]);
    let tokens = r#"{"access_token":"a","refresh_token":"old","expires_in":3600,"refresh_token_expires_in":9000}"#;
    sim.authorize("work", tokens);
    assert!(sim.status("work").refresh_token_expires_at.is_some());
    sim.refresh("work", None);
    sim.answer_call(200, r#"{"access_token":"a b","refresh_token":"new"}"#);
    assert_eq!(sim.status("work").refresh_token_expires_at, None, "nothing is known of the new one's end");
    sim.refresh("work", None);
    assert_eq!(refresh_token_sent(&sim).as_deref(), Some("new"));
}

#[test]
fn pauses_double_up_to_half_an_hour_with_jitter() {
    let mut sim = Sim::authorized();
    sim.sleep(secs(3510));
    let mut pauses = Vec::new();
    for want in [40, 80, 160, 320, 640, 1280, 1800, 1800, 1800] {
        sim.break_call(Stage::Resolve);
        let pause = due_in(&sim);
        assert!((f64::from(want)..=f64::from(want) * 1.1).contains(&pause), "{want}: {pause}");
        pauses.push(pause);
        sim.sleep(secs(pause.ceil() as u64));
    }
    assert!(pauses.iter().any(|pause| pause.fract() != 0.0), "no jitter: {pauses:?}");
    sim.answer_call(200, &tokens(2, 3600));
    sim.sleep(secs(3510));
    sim.break_call(Stage::Resolve);
    assert!(due_in(&sim) <= 44.0, "a success starts anew");
}

#[test]
fn a_long_refresh_retry_stays_what_it_is() {
    let slow = Account { refresh_retry: secs(7200), ..account("work") };
    let mut sim = Sim::authorized_with(config(vec![slow]));
    sim.refresh("work", None);
    sim.answer_unavailable(None);
    assert!((7200.0..=7920.0).contains(&due_in(&sim)));
}

#[test]
fn a_retry_after_holds_for_every_account_of_the_endpoint() {
    let elsewhere = Account { token_uri: "https://b.example/token".to_owned(), ..account("elsewhere") };
    let mut sim = Sim::new(vec![account("a"), account("b"), elsewhere]);
    for (name, number) in [("a", 11), ("b", 12), ("elsewhere", 13)] {
        sim.authorize(name, &tokens(number, 3600));
    }
    let until = sim.now.wall + secs(600);
    let waiting = sim.refresh("b", Some(900));
    let other = *sim.calls.keys().next().unwrap();
    sim.refresh("a", None);
    let ticket = *sim.calls.keys().max().unwrap();
    sim.reply(ticket, Reply { retry_after: Some("600".to_owned()), ..reply(429, "") });
    for name in ["a", "b"] {
        let conn = sim.refresh(name, None);
        let (reason, message) = sim.failure(conn);
        assert_eq!(reason, Reason::Temporary, "{name}");
        assert!(message.contains(&until.to_string()), "{name}: {message}");
    }
    sim.answer(other, 200, &tokens(2, 300));
    assert!(sim.done(waiting).is_empty(), "what was under way goes on");
    sim.sleep(secs(400));
    assert!(sim.calls.is_empty(), "due meanwhile, but held back");
    let show = sim.show("b");
    let (reason, message) = sim.failure(show);
    assert_eq!(reason, Reason::Temporary);
    assert!(message.contains(&until.to_string()), "{message}");
    let free = sim.refresh("elsewhere", None);
    assert!(sim.done(free).is_empty());
    sim.answer_call(200, &tokens(3, 3600));
    sim.sleep(secs(200));
    assert_eq!(sim.calls.len(), 2, "both go when the time is over");
}

#[test]
fn pauses_of_two_endpoints_are_kept_apart() {
    let elsewhere = Account { token_uri: "https://b.example/token".to_owned(), ..account("b") };
    let mut sim = Sim::new(vec![account("a"), elsewhere]);
    for (name, number, pause) in [("a", 1, "600"), ("b", 2, "60")] {
        sim.authorize(name, &tokens(number, 3600));
        sim.refresh(name, None);
        sim.answer_unavailable(Some(pause));
    }
    let reason = |sim: &mut Sim, name| {
        let conn = sim.refresh(name, None);
        sim.reason(conn)
    };
    assert_eq!((reason(&mut sim, "a"), reason(&mut sim, "b")), (Reason::Temporary, Reason::Temporary));
    sim.now.time = sim.now.time + secs(61);
    let free = sim.refresh("b", None);
    assert!(sim.done(free).is_empty(), "its own pause is over");
    assert_eq!(reason(&mut sim, "a"), Reason::Temporary);
}

#[test]
fn a_retry_after_reaches_who_waits_for_its_turn() {
    let accounts: Vec<_> = (0..40).map(|number| account(&format!("a{number:02}"))).collect();
    let mut sim = Sim::new(accounts);
    for number in 0..40 {
        sim.authorize(&format!("a{number:02}"), &tokens(number, 3600));
    }
    let waiting: Vec<_> = (0..40).map(|number| sim.refresh(&format!("a{number:02}"), Some(60))).collect();
    assert_eq!(sim.calls.len(), 32);
    let first = *sim.calls.keys().next().unwrap();
    sim.reply(first, Reply { retry_after: Some("600".to_owned()), ..reply(429, "") });
    assert_eq!((sim.calls.len(), sim.called), (31, 72));
    assert_eq!(waiting.iter().filter(|conn| !sim.is_waiting(**conn)).count(), 9);
}

#[test]
fn a_refusal_is_tried_again_on_refresh_reload_or_after_an_hour() {
    for how in ["refresh", "reload", "hour", "show"] {
        let mut sim = Sim::authorized();
        sim.refresh("work", None);
        sim.answer_call(401, r#"{"error":"invalid_client"}"#);
        match how {
            "refresh" => _ = sim.refresh("work", None),
            "reload" => _ = sim.reload(config(vec![account("work")]), super::sim::bound(1234)),
            "hour" => sim.sleep(secs(3600)),
            _ => {
                sim.sleep(secs(3599));
                sim.show("work");
            }
        }
        assert_eq!(sim.calls.len(), usize::from(how != "show"), "{how}");
    }
}

#[test]
fn refresh_tells_how_it_ended() {
    let mut sim = Sim::authorized();
    let at_once = sim.refresh("work", None);
    assert!(sim.done(at_once).is_empty());
    let waiting = sim.refresh("work", Some(60));
    assert!(sim.is_waiting(waiting));
    sim.answer_call(200, &tokens(2, 3600));
    assert!(sim.done(waiting).is_empty());
    let slow = sim.refresh("work", Some(10));
    sim.sleep(secs(10));
    assert_eq!(sim.reason(slow), Reason::Temporary);
    let mut sim = Sim::new(vec![account("work")]);
    let asked = sim.refresh("work", None);
    assert_eq!(sim.reason(asked), Reason::Authorize);
    let waiting = sim.refresh("work", Some(600));
    sim.allow("work");
    sim.answer_call(200, &tokens(1, 3600));
    assert!(sim.done(waiting).is_empty());
}

#[test]
fn an_ended_grant_is_reported_and_the_next_show_asks() {
    let mut config = config(vec![account("work")]);
    config.error_notify_cmd = Some("error".to_owned());
    config.token_event_cmd = Some("event".to_owned());
    let mut sim = Sim::authorized_with(config);
    sim.exit_hook(Hook::TokenEvent, 0, "");
    sim.sleep(secs(3510));
    sim.answer_call(400, r#"{"error":"invalid_grant","error_description":"Token has been revoked."}"#);
    let hook = sim.running(Hook::ErrorNotify)[0];
    assert_eq!(sim.env(hook, "PIZAUTH_ACCOUNT").as_deref(), Some("work"));
    let message = sim.env(hook, "PIZAUTH_MSG").unwrap_or_default();
    assert!(message.contains("invalid_grant: Token has been revoked."), "{message}");
    let event = sim.running(Hook::TokenEvent)[0];
    assert_eq!(sim.env(event, "PIZAUTH_EVENT").as_deref(), Some("token_invalidated"));
    let show = sim.show("work");
    assert_eq!(sim.reason(show), Reason::Authorize);
}

#[test]
fn an_ended_grant_asks_nobody_who_does_not_wait() {
    let mut sim = Sim::authorized();
    sim.refresh("work", None);
    sim.answer_call(400, r#"{"error":"invalid_grant"}"#);
    assert_eq!(sim.status("work").authorization_url, None);
}

#[test]
fn the_pause_after_a_failed_question_outlasts_the_end_of_the_grant() {
    let mut sim = Sim::new(vec![device_account("work")]);
    sim.auth("work", None);
    sim.answer_call(200, super::device::CODES);
    sim.sleep(secs(5));
    sim.answer_call(200, &tokens(1, 3600));
    sim.suspend(secs(3600));
    sim.show_waiting("work", 600);
    let refresh = sim.call();
    sim.auth("work", Some(600));
    let question = *sim.calls.keys().next_back().unwrap();
    sim.answer(question, 503, "");
    sim.answer(refresh, 400, r#"{"error":"invalid_grant"}"#);
    assert!(sim.calls.is_empty());
    sim.sleep(secs(44));
    assert_eq!(sim.purposes(), ["device"]);
}

#[test]
fn the_end_of_a_refresh_token_is_that_of_the_one_there_is() {
    for (name, answer, want) in [
        ("none came", r#"{"access_token":"b","expires_in":3600}"#, Some(9000)),
        ("none came, a new end", r#"{"access_token":"b","refresh_token_expires_in":7000}"#, Some(7100)),
        ("a new one", r#"{"access_token":"b","refresh_token":"n","refresh_token_expires_in":8000}"#, Some(8100)),
        ("a new one without an end", r#"{"access_token":"b","refresh_token":"n"}"#, None),
    ] {
        let mut sim = Sim::new(vec![account("work")]);
        let start = sim.now.wall;
        let first = r#"{"access_token":"a","refresh_token":"r","expires_in":3600,"refresh_token_expires_in":9000}"#;
        sim.authorize("work", first);
        assert_eq!(sim.status("work").refresh_token_expires_at, Some(start + secs(9000)), "{name}");
        sim.sleep(secs(100));
        sim.refresh("work", None);
        sim.answer_call(200, answer);
        let end = want.map(|seconds| start + secs(seconds));
        assert_eq!(sim.status("work").refresh_token_expires_at, end, "{name}");
    }
}

#[test]
fn transient_failures_are_not_notified() {
    let mut config = config(vec![account("work")]);
    config.error_notify_cmd = Some("error".to_owned());
    let mut sim = Sim::authorized_with(config);
    sim.refresh("work", None);
    sim.answer_unavailable(None);
    assert_eq!(sim.starts(Hook::ErrorNotify), 0);
    assert!(sim.status("work").last_error.is_some_and(|error| error.transient));
    sim.refresh("work", None);
    sim.answer_call(200, &tokens(2, 3600));
    assert_eq!(sim.status("work").last_error, None);
}

#[test]
fn every_sixth_failure_in_a_row_is_judged() {
    let exited = |status| ChildEnd::Exited { status, stdout: Default::default() };
    for (name, end, ended) in [
        ("transient", exited(0), false),
        ("not transient", exited(1), true),
        ("too slow", ChildEnd::Killed, true),
        ("not started", ChildEnd::NotStarted("no".to_owned()), false),
    ] {
        let mut config = config(vec![account("work")]);
        config.transient_error_if_cmd = Some("judge".to_owned());
        let mut sim = Sim::authorized_with(config);
        sim.sleep(secs(3510));
        for failure in 1..=12 {
            sim.break_call(Stage::Connect);
            assert_eq!(sim.running(Hook::TransientErrorIf).len(), usize::from(failure % 6 == 0), "{name} {failure}");
            if failure == 6 {
                sim.exit_hook(Hook::TransientErrorIf, 0, "");
            }
            if failure < 12 {
                sim.sleep(secs(2000));
            }
        }
        let judge = sim.running(Hook::TransientErrorIf)[0];
        assert_eq!(sim.runs[&judge].limit, Some(secs(180)));
        sim.end(judge, end);
        assert_eq!(sim.engine.accounts[0].token.is_none(), ended, "{name}");
    }
}

#[test]
fn a_verdict_comes_too_late_after_a_success() {
    let mut config = config(vec![account("work")]);
    config.transient_error_if_cmd = Some("judge".to_owned());
    let mut sim = Sim::authorized_with(config);
    sim.sleep(secs(3510));
    for _ in 0..6 {
        sim.break_call(Stage::Connect);
        sim.sleep(secs(2000));
    }
    sim.answer_call(200, &tokens(2, 3600));
    let judge = sim.running(Hook::TransientErrorIf)[0];
    assert_eq!(sim.killed, [judge]);
    sim.end(judge, ChildEnd::Killed);
    let show = sim.show("work");
    assert_eq!(sim.token(show), "access-2");
}

#[test]
fn a_userless_account_is_kept_fresh() {
    let mut sim = Sim::new(vec![userless_account("work")]);
    for number in 0..3 {
        assert_eq!(sim.purposes(), ["client_credentials"]);
        sim.answer_call(200, &format!(r#"{{"access_token":"a{number}","expires_in":3600}}"#));
        sim.sleep(secs(3510));
    }
}

#[test]
fn idle_with_nothing_due_nothing_wakes_the_engine() {
    let mut sim = Sim::new(vec![account("work")]);
    assert_eq!(sim.engine.poll_timeout(), None);
    sim.authorize("work", &tokens(1, 3600));
    let (at, what) = sim.engine.poll_timeout().unwrap();
    assert_eq!((at.since(sim.now.time), what), (secs(3510), "refresh"));
}

#[test]
fn a_clock_of_1970_does_no_harm() {
    let mut config = config(vec![account("work")]);
    config.restore_cmd = Some("restore".to_owned());
    let mut sim = Sim::authorized();
    let dump = sim.dump();
    let right = sim.now.wall;
    let now = Now { time: Time::new(secs(10)), wall: WallTime::from_secs(100) };
    let mut next = Sim::start_at(config, now);
    next.exit_hook(Hook::Restore, 0, &dump);
    assert_eq!(next.purposes(), ["refresh_token"], "obtained in the future: refreshed now");
    assert!(next.engine.accounts[0].token.as_ref().unwrap().expires_at.since(now.time) <= secs(3600));
    next.answer_call(200, &tokens(2, 3600));
    next.sleep(secs(10));
    next.now.wall = right + secs(10);
    let show = next.show("work");
    assert_eq!(next.token(show), "access-2");
    let status = next.status("work");
    assert_eq!(status.expires_at.map(|at| at.since(next.now.wall)), Some(secs(3590)));
    next.sleep(secs(3500));
    assert_eq!(next.calls.len(), 1);
}

#[test]
fn a_refresh_token_that_an_account_without_user_gets_is_left_alone() {
    let mut sim = Sim::new(vec![userless_account("work")]);
    sim.answer_call(200, &tokens(1, 3600));
    sim.sleep(secs(3510));
    assert_eq!(sim.purposes(), ["client_credentials"]);
    sim.answer_call(200, r#"{"access_token":"a","token_type":"mac","refresh_token":"r"}"#);
    sim.refresh("work", None);
    assert_eq!(sim.purposes(), ["client_credentials"]);
    assert!(!sim.dump().contains("refresh"));
}

#[test]
fn there_is_no_verdict_on_an_account_without_user() {
    let mut config = config(vec![userless_account("work")]);
    config.transient_error_if_cmd = Some("judge".to_owned());
    let mut sim = Sim::start(config);
    for _ in 1..=12 {
        sim.break_call(Stage::Connect);
        sim.sleep(secs(2000));
    }
    assert!(sim.started.is_empty(), "it has no authorization that could have ended");
}

#[test]
fn the_end_of_a_refresh_token_that_is_left_alone_is_not_told() {
    let mut sim = Sim::new(vec![userless_account("work")]);
    let answer = r#"{"access_token":"a","refresh_token":"r","refresh_token_expires_in":9000,"expires_in":3600}"#;
    sim.answer_call(200, answer);
    assert_eq!(sim.status("work").refresh_token_expires_at, None);
}

#[test]
fn a_late_refresh_token_counts_though_its_access_token_is_of_no_use() {
    let mut sim = Sim::new(vec![account("work")]);
    sim.auth("work", None);
    sim.allow("work");
    let late = sim.call();
    sim.sleep(secs(33));
    sim.answer(late, 200, r#"{"access_token":"a","token_type":"mac","refresh_token":"r"}"#);
    let renewal = sim.call();
    assert_eq!(sim.field(renewal, "refresh_token").as_deref(), Some("r"));
}

#[test]
fn what_a_renewal_brings_after_the_verdict_is_revoked() {
    let mut config = config(vec![account("work")]);
    config.transient_error_if_cmd = Some("judge".to_owned());
    let mut sim = Sim::authorized_with(config);
    sim.sleep(secs(3510));
    for _ in 1..=6 {
        sim.break_call(Stage::Connect);
        sim.sleep(secs(2000));
    }
    sim.exit_hook(Hook::TransientErrorIf, 1, "");
    sim.answer_call(200, &tokens(2, 3600));
    assert_eq!(sim.purposes(), ["revoke"]);
    let revocation = sim.call();
    assert_eq!(sim.field(revocation, "token").as_deref(), Some("refresh-2"));
}

#[test]
fn a_clock_that_is_corrected_leaves_tokens_their_life() {
    for (name, wrong) in [("behind", -60 * 24 * 3600), ("ahead", 2 * 3600)] {
        let mut sim = Sim::new(vec![account("work")]);
        let right = sim.now.wall;
        let shift = |wall: WallTime, by: i64| {
            let step = secs(by.unsigned_abs());
            if by < 0 { wall - step } else { wall + step }
        };
        sim.now.wall = shift(right, wrong);
        sim.authorize("work", r#"{"access_token":"a","expires_in":3600,"refresh_in":1800}"#);
        sim.sleep(secs(600));
        sim.now.wall = right + secs(600);
        let status = sim.status("work");
        assert_eq!((status.obtained_at, status.expires_at), (Some(right), Some(right + secs(3600))), "{name}");
        let dump = sim.dump();
        for (clock, left) in [("right", 2990), ("wrong as before", 3600)] {
            let wall = if clock == "right" { sim.now.wall + secs(10) } else { shift(sim.now.wall, wrong.min(-7200)) };
            let now = Now { time: Time::new(secs(10)), wall };
            let mut next = Sim::start_at(config(vec![account("work")]), now);
            next.restore(&dump);
            let show = next.show("work");
            assert_eq!(next.token(show), "a", "{name}, {clock}");
            let expires_at = next.engine.accounts[0].token.as_ref().unwrap().expires_at;
            assert_eq!(expires_at.since(now.time), secs(left), "{name}, {clock}");
        }
    }
}

#[test]
fn a_verdict_that_is_awaited_is_not_asked_for_again() {
    let mut config = config(vec![account("work")]);
    config.transient_error_if_cmd = Some("judge".to_owned());
    let mut sim = Sim::authorized_with(config);
    sim.sleep(secs(3510));
    for _ in 1..=12 {
        sim.break_call(Stage::Connect);
        sim.sleep(secs(2000));
    }
    assert_eq!(sim.running(Hook::TransientErrorIf).len(), 1);
}

#[test]
fn a_token_that_comes_expired_is_not_refreshed_in_the_same_breath() {
    let mut sim = Sim::authorized();
    sim.sleep(secs(3510));
    let late = sim.call();
    sim.suspend(secs(7200));
    sim.answer(late, 200, &tokens(2, 3600));
    sim.sleep(secs(4));
    assert!(sim.calls.is_empty());
    sim.sleep(secs(1));
    assert_eq!(sim.purposes(), ["refresh_token"]);
}

#[test]
fn a_refresh_token_that_was_kept_is_newer_than_a_late_answer() {
    let mut sim = Sim::authorized();
    sim.sleep(secs(10));
    sim.refresh("work", None);
    let late = sim.call();
    sim.sleep(secs(33));
    sim.auth("work", None);
    sim.allow("work");
    let exchange = *sim.calls.keys().next_back().unwrap();
    sim.answer(exchange, 200, r#"{"access_token":"a","token_type":"mac","refresh_token":"kept"}"#);
    sim.answer(late, 200, &tokens(9, 3600));
    assert_eq!(sim.engine.accounts[0].refresh_token().map(|token| token.expose().as_str()), Some("kept"));
}
