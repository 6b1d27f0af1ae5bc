//! The device grant, from the question for a user code to its end.

use super::sim::{Sim, account, bound, config, device_account, reply, secs, tokens};
use crate::{
    config::Account,
    engine::Hook,
    oauth::{Reply, Stage},
    proto::{AccountState, Notice, Reason},
};

pub const CODES: &str = r#"{"device_code":"dc","user_code":"WDJB-MJHT","verification_uri":"https://a.example/device",
    "verification_uri_complete":"https://a.example/device?c=WDJB-MJHT","expires_in":600,"interval":5}"#;

const PENDING: &str = r#"{"error":"authorization_pending"}"#;

/// An account whose user has a code, and a client that waits.
fn asked() -> (Sim, crate::engine::ConnId) {
    let mut config = config(vec![device_account("work")]);
    config.auth_notify_cmd = Some("notify".to_owned());
    let mut sim = Sim::start(config);
    let conn = sim.auth("work", Some(3600));
    sim.answer_call(200, CODES);
    (sim, conn)
}

#[test]
fn a_device_is_asked_polled_slowed_down_and_approved() {
    let (mut sim, conn) = asked();
    let Some((to, Notice::Device { user_code, verification_uri, verification_uri_complete })) = sim.notices.first()
    else {
        panic!("{:?}", sim.notices)
    };
    assert_eq!((*to, user_code.as_str(), verification_uri.as_str()), (conn, "WDJB-MJHT", "https://a.example/device"));
    assert!(verification_uri_complete.is_some());
    let hook = sim.running(Hook::AuthNotify)[0];
    assert_eq!(sim.env(hook, "PIZAUTH_URL").as_deref(), Some("https://a.example/device"));
    assert_eq!(sim.env(hook, "PIZAUTH_USER_CODE").as_deref(), Some("WDJB-MJHT"));
    assert!(sim.env(hook, "PIZAUTH_URL_COMPLETE").is_some());
    for (name, pause, status, body) in [
        ("first poll", 5, 400, PENDING),
        ("pending", 5, 400, r#"{"error":"slow_down"}"#),
        ("slower", 10, 400, r#"{"error":"slow_down"}"#),
        ("slower still", 15, 400, PENDING),
        ("stays slow", 15, 200, &tokens(1, 3600)),
    ] {
        sim.sleep(secs(pause - 1));
        assert!(sim.calls.is_empty(), "{name}: too early");
        sim.sleep(secs(1));
        let ticket = sim.call();
        assert_eq!(sim.field(ticket, "device_code").as_deref(), Some("dc"), "{name}");
        sim.answer(ticket, status, body);
    }
    assert!(sim.done(conn).is_empty());
    assert_eq!(sim.status("work").state, AccountState::Active);
    assert_eq!(sim.killed, [hook]);
}

#[test]
fn slow_down_and_429_make_the_pause_longer_from_the_first_poll_on() {
    for (name, status, body) in [("slow_down", 400, r#"{"error":"slow_down"}"#), ("429", 429, "<html>")] {
        let (mut sim, conn) = asked();
        let mut pause = 5;
        for _ in 0..3 {
            sim.sleep(secs(pause - 1));
            assert!(sim.calls.is_empty(), "{name}: too early after {pause} s");
            sim.sleep(secs(1));
            sim.answer_call(status, body);
            pause += 5;
        }
        sim.sleep(secs(pause));
        sim.answer_call(200, &tokens(1, 3600));
        assert!(sim.done(conn).is_empty(), "{name}");
    }
}

#[test]
fn a_show_tells_the_user_code() {
    let mut sim = Sim::new(vec![device_account("work")]);
    let conn = sim.show("work");
    sim.answer_call(200, CODES);
    let (reason, message) = sim.failure(conn);
    assert_eq!(reason, Reason::Authorize);
    assert!(message.contains("WDJB-MJHT at https://a.example/device"), "{message}");
    let again = sim.show("work");
    assert_eq!(sim.failure(again), (reason, message));
}

#[test]
fn polling_lives_through_trouble() {
    let (mut sim, conn) = asked();
    sim.sleep(secs(5));
    sim.break_call(Stage::Connect);
    sim.sleep(secs(5));
    sim.answer_unavailable(None);
    sim.sleep(secs(5));
    sim.answer_unavailable(Some("30"));
    sim.sleep(secs(34));
    assert!(sim.calls.is_empty(), "Retry-After is added to the interval");
    sim.sleep(secs(1));
    sim.answer_call(200, "<html>a captive portal");
    sim.sleep(secs(5));
    sim.answer_call(200, &tokens(1, 3600));
    assert!(sim.done(conn).is_empty());
}

#[test]
fn a_provider_that_finds_a_loop_is_left_alone_for_10_minutes() {
    const LOOP: &str = r#"{"error":"invalid_request","error_description":"AADSTS50196: the client loops"}"#;
    let (mut sim, _) = asked();
    sim.sleep(secs(5));
    sim.answer_call(400, LOOP);
    sim.sleep(secs(594));
    assert!(sim.calls.is_empty(), "no poll");
    let mut sim = Sim::new(vec![device_account("work")]);
    sim.show_waiting("work", 3600);
    sim.answer_call(400, LOOP);
    sim.sleep(secs(599));
    assert!(sim.calls.is_empty(), "no question");
    sim.sleep(secs(1));
    assert_eq!(sim.purposes(), ["device"]);
}

#[test]
fn a_poll_under_way_goes_on_through_a_reload_and_is_revoked_after_a_change() {
    let changed = || Account { client_id: "another".to_owned(), ..device_account("work") };
    for (name, account, waits, purposes) in [
        ("the same account", Some(device_account("work")), true, &[][..]),
        ("a changed one", Some(changed()), false, &["revoke"]),
        ("a removed one", None, false, &["revoke"]),
    ] {
        let (mut sim, conn) = asked();
        sim.sleep(secs(5));
        sim.reload(config(account.into_iter().collect()), bound(1234));
        assert_eq!(sim.is_waiting(conn), waits, "{name}");
        sim.answer_call(200, &tokens(1, 3600));
        assert_eq!(sim.purposes(), purposes, "{name}");
        if waits {
            assert!(sim.done(conn).is_empty(), "{name}");
            let show = sim.show("work");
            assert_eq!(sim.token(show), "access-1", "{name}");
        }
    }
}

#[test]
fn a_retry_after_of_a_poll_holds_for_refreshes_too() {
    let mut sim = Sim::new(vec![account("home"), device_account("work")]);
    sim.authorize("home", &tokens(1, 3600));
    sim.auth("work", None);
    sim.answer_call(200, CODES);
    sim.sleep(secs(5));
    sim.answer_unavailable(Some("60"));
    let conn = sim.refresh("home", None);
    assert_eq!(sim.reason(conn), Reason::Temporary);
}

#[test]
fn a_denial_ends_it_for_everybody() {
    for body in [r#"{"error":"access_denied"}"#, r#"{"error":"expired_token"}"#, r#"{"error":"invalid_client"}"#] {
        let (mut sim, conn) = asked();
        let show = sim.show_waiting("work", 600);
        sim.sleep(secs(5));
        sim.answer_call(400, body);
        assert_eq!((sim.reason(conn), sim.reason(show)), (Reason::Error, Reason::Error));
        assert_eq!(sim.status("work").state, AccountState::Empty);
        sim.sleep(secs(4000));
        assert!(sim.calls.is_empty());
    }
}

#[test]
fn a_code_that_nobody_enters_expires() {
    let (mut sim, conn) = asked();
    for _ in 0..119 {
        sim.sleep(secs(5));
        sim.answer_call(400, PENDING);
    }
    sim.sleep(secs(5));
    if !sim.calls.is_empty() {
        sim.answer_call(400, PENDING);
    }
    let (reason, message) = sim.failure(conn);
    assert_eq!(reason, Reason::Error);
    assert!(message.contains("expired"), "{message}");
}

#[test]
fn the_answer_to_the_last_poll_counts_though_the_code_has_expired() {
    let (mut sim, conn) = asked();
    for _ in 0..118 {
        sim.sleep(secs(5));
        sim.answer_call(400, PENDING);
    }
    sim.sleep(secs(8));
    let ticket = sim.call();
    sim.sleep(secs(4));
    sim.answer(ticket, 200, &tokens(1, 3600));
    assert!(sim.done(conn).is_empty());
}

#[test]
fn a_late_answer_to_a_poll_counts() {
    let (mut sim, conn) = asked();
    sim.sleep(secs(5));
    let ticket = sim.call();
    sim.sleep(secs(33));
    sim.answer(ticket, 200, &tokens(1, 3600));
    assert!(sim.done(conn).is_empty());
    let mut sim = Sim::new(vec![device_account("work")]);
    for number in 1..3 {
        sim.auth("work", None);
        sim.answer_call(200, CODES);
        sim.sleep(secs(5));
        let ticket = sim.call();
        sim.sleep(secs(33));
        sim.answer(ticket, 200, &tokens(number, 3600));
    }
    let show = sim.show("work");
    assert_eq!(sim.token(show), "access-2");
}

#[test]
fn a_device_endpoint_that_is_down_is_asked_again_while_somebody_waits() {
    let mut sim = Sim::new(vec![device_account("work")]);
    let (patient, hasty) = (sim.show_waiting("work", 600), sim.show("work"));
    let auth = sim.auth("work", Some(600));
    sim.break_call(Stage::Connect);
    let (reason, message) = sim.failure(hasty);
    assert_eq!(reason, Reason::Temporary);
    assert!(message.contains("user code"), "{message}");
    assert!(sim.is_waiting(patient) && sim.is_waiting(auth));
    sim.sleep(secs(40));
    sim.answer_call(200, CODES);
    sim.sleep(secs(5));
    sim.answer_call(200, &tokens(1, 3600));
    assert_eq!(sim.token(patient), "access-1");
    assert!(sim.done(auth).is_empty());
}

#[test]
fn a_device_endpoint_is_left_alone_when_nobody_waits_any_longer() {
    let mut sim = Sim::new(vec![device_account("work")]);
    let conn = sim.show_waiting("work", 10);
    sim.answer_unavailable(None);
    sim.sleep(secs(10));
    assert_eq!(sim.reason(conn), Reason::Temporary);
    sim.sleep(secs(1000));
    assert_eq!(sim.called, 1);
    sim.show("work");
    assert_eq!(sim.called, 2);
}

#[test]
fn a_refused_question_is_told() {
    let mut sim = Sim::new(vec![device_account("work")]);
    let (auth, show) = (sim.auth("work", Some(60)), sim.show("work"));
    sim.answer_call(400, r#"{"error":"unauthorized_client"}"#);
    for conn in [auth, show] {
        let (reason, message) = sim.failure(conn);
        assert_eq!(reason, Reason::Error);
        assert!(message.contains("unauthorized_client"), "{message}");
    }
}

#[test]
fn what_is_not_fit_for_the_user_is_refused() {
    let mut sim = Sim::new(vec![device_account("work")]);
    let conn = sim.auth("work", Some(60));
    sim.answer_call(200, r#"{"device_code":"d","user_code":"U","verification_uri":"javascript:alert(1)"}"#);
    assert_eq!(sim.reason(conn), Reason::Error);
}

#[test]
fn auth_without_waiting_answers_when_the_code_is_there() {
    let mut sim = Sim::new(vec![device_account("work")]);
    let conn = sim.auth("work", None);
    assert!(sim.is_waiting(conn));
    sim.answer_call(200, CODES);
    assert!(sim.done(conn).is_empty());
    assert!(matches!(sim.notices.as_slice(), [(to, Notice::Device { .. })] if *to == conn));
}

#[test]
fn a_refresh_tells_how_far_asking_the_user_is() {
    let mut sim = Sim::new(vec![device_account("work")]);
    let asking = sim.refresh("work", None);
    sim.answer_call(200, CODES);
    let asked = sim.refresh("work", None);
    for (conn, reason, words) in
        [(asking, Reason::Temporary, "is being asked for a user code"), (asked, Reason::Authorize, "WDJB-MJHT")]
    {
        let (told, message) = sim.failure(conn);
        assert!(told == reason && message.contains(words), "{words}: {message}");
    }
    let mut sim = Sim::new(vec![account("work")]);
    let conn = sim.refresh("work", None);
    let want = format!("work: Access token unavailable until authorised with URL {}", sim.url("work"));
    assert_eq!(sim.failure(conn), (Reason::Authorize, want));
}

#[test]
fn a_refresh_leaves_the_pause_after_a_failed_question_alone() {
    let mut sim = Sim::new(vec![device_account("work")]);
    sim.show_waiting("work", 600);
    sim.break_call(Stage::Connect);
    let conn = sim.refresh("work", None);
    assert_eq!((sim.reason(conn), sim.called), (Reason::Authorize, 1));
    sim.sleep(secs(40));
    assert_eq!(sim.purposes(), ["device"]);
}

#[test]
fn auth_is_done_with_a_url_where_no_user_code_comes() {
    let both = || Account { auth_uri: Some("https://a.example/auth".to_owned()), ..device_account("work") };
    for (name, account, is_done) in [("both", both(), true), ("device only", device_account("work"), false)] {
        let mut sim = Sim::new(vec![account]);
        let conn = sim.auth("work", None);
        sim.sleep(secs(4));
        assert!(sim.is_waiting(conn), "{name}");
        sim.sleep(secs(1));
        if is_done {
            assert!(sim.done(conn).is_empty(), "{name}");
        } else {
            let (reason, message) = sim.failure(conn);
            assert!(reason == Reason::Temporary && message.contains("is being asked for a user code"), "{message}");
        }
    }
    let mut sim = Sim::new(vec![both()]);
    let conn = sim.auth("work", None);
    sim.answer_call(400, r#"{"error":"unauthorized_client"}"#);
    assert!(sim.done(conn).is_empty(), "the URL is enough");
    assert!(sim.status("work").authorization_url.is_some());
    assert!(sim.status("work").last_error.is_some_and(|error| error.message.contains("unauthorized_client")));
}

#[test]
fn a_question_that_failed_for_nobody_who_waits_is_asked_again_by_the_next() {
    let mut sim = Sim::new(vec![device_account("work")]);
    let first = sim.show("work");
    sim.answer_unavailable(None);
    assert_eq!(sim.reason(first), Reason::Temporary);
    let second = sim.show("work");
    assert!(sim.is_waiting(second) && sim.called == 2);
}

#[test]
fn a_retry_after_of_a_429_is_added_to_the_longer_interval() {
    let (mut sim, _) = asked();
    sim.sleep(secs(5));
    let ticket = sim.call();
    sim.reply(ticket, Reply { retry_after: Some("30".to_owned()), ..reply(429, "") });
    sim.sleep(secs(39));
    assert!(sim.calls.is_empty(), "5 s, 5 s more and 30 s");
    sim.sleep(secs(1));
    sim.answer_call(400, PENDING);
    sim.sleep(secs(9));
    assert!(sim.calls.is_empty(), "10 s from now on");
    sim.sleep(secs(1));
    sim.call();
}

#[test]
fn tokens_that_come_late_count_though_the_code_was_refused_meanwhile() {
    let (mut sim, conn) = asked();
    sim.sleep(secs(5));
    let late = sim.call();
    sim.sleep(secs(37));
    let next = *sim.calls.keys().next_back().unwrap();
    assert_ne!(late, next);
    sim.answer(next, 400, r#"{"error":"access_denied"}"#);
    assert_eq!(sim.reason(conn), Reason::Error);
    sim.answer(late, 200, &tokens(1, 3600));
    let show = sim.show("work");
    assert_eq!(sim.token(show), "access-1");
}
