//! The device grant, from the question for a user code to its end.

use super::sim::{Sim, account, bound, config, device_account, reply, secs, tokens};
use crate::{
    config::{Account, ClientSecret, Config, Grant},
    engine::{Bound, Hook, Ticket},
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
    sim.sleep(secs(10));
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
    sim.sleep(secs(61));
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
    sim.sleep(secs(44));
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
    let (reason, message) = sim.failure(conn);
    assert!(
        reason == Reason::Temporary && message.contains("it broke; try again after 2026-11-23T09:05:"),
        "{message}"
    );
    assert_eq!(sim.called, 1);
    sim.sleep(secs(44));
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
    sim.sleep(secs(39));
    let early = sim.show("work");
    assert_eq!((sim.reason(early), sim.called), (Reason::Temporary, 1), "the retry time holds");
    sim.sleep(secs(5));
    assert_eq!(sim.called, 1, "nobody waits");
    let second = sim.show("work");
    assert!(sim.is_waiting(second) && sim.called == 2);
}

#[test]
fn a_device_endpoint_that_stays_down_is_asked_ever_more_rarely() {
    let mut sim = Sim::new(vec![device_account("work")]);
    sim.show_waiting("work", 100_000);
    for pause in [40, 80, 160, 320, 640, 1280, 1800, 1800] {
        sim.answer_unavailable(None);
        let mut waited = 0;
        while sim.calls.is_empty() {
            sim.sleep(secs(1));
            waited += 1;
        }
        assert!((pause..=pause + pause / 10 + 1).contains(&waited), "{waited} s in place of {pause} s");
    }
}

#[test]
fn a_retry_after_of_the_device_endpoint_holds_for_every_question() {
    let mut sim = Sim::new(vec![device_account("home"), device_account("work")]);
    let first = sim.show("work");
    sim.answer_unavailable(Some("600"));
    assert_eq!(sim.reason(first), Reason::Temporary);
    for account in ["work", "home"] {
        for conn in [sim.show(account), sim.auth(account, None)] {
            let (reason, message) = sim.failure(conn);
            assert!(reason == Reason::Temporary && message.contains("2026-11-23T09:15:00Z"), "{account}: {message}");
        }
    }
    let patient = sim.auth("home", Some(3600));
    sim.sleep(secs(599));
    assert_eq!(sim.called, 1);
    sim.sleep(secs(1));
    assert_eq!((sim.called, sim.is_waiting(patient)), (2, true));
}

#[test]
fn a_device_endpoint_that_refused_is_asked_by_the_user_alone_for_an_hour() {
    let refused = || {
        let mut sim =
            Sim::start(Config { error_notify_cmd: Some("error".to_owned()), ..config(vec![device_account("work")]) });
        sim.show("work");
        sim.answer_call(400, r#"{"error":"unauthorized_client"}"#);
        for wait in [None, Some(60)] {
            let conn = sim.show_with("work", wait, None);
            let (reason, message) = sim.failure(conn);
            assert!(reason == Reason::Error && message.contains("unauthorized_client"), "{message}");
        }
        assert_eq!((sim.called, sim.running(Hook::ErrorNotify).len()), (1, 1));
        sim
    };
    let mut sim = refused();
    sim.sleep(secs(3599));
    sim.show("work");
    assert_eq!(sim.called, 1);
    sim.sleep(secs(1));
    sim.show("work");
    assert_eq!(sim.called, 2);
    for (name, ask) in [
        ("auth", (|sim: &mut Sim| _ = sim.auth("work", None)) as fn(&mut Sim)),
        ("refresh", |sim| _ = sim.refresh("work", None)),
        ("reload", |sim| {
            sim.reload(config(vec![device_account("work")]), bound(1234));
            sim.show("work");
        }),
    ] {
        let mut sim = refused();
        ask(&mut sim);
        assert_eq!(sim.called, 2, "{name}");
    }
}

#[test]
fn polls_without_answer_become_rarer_until_one_is_answered() {
    let (mut sim, _) = asked();
    sim.sleep(secs(5));
    for pause in [10, 20, 40, 60, 60] {
        sim.break_call(Stage::Sent);
        sim.sleep(secs(pause - 1));
        assert!(sim.calls.is_empty(), "too early after {pause} s");
        sim.sleep(secs(1));
        sim.call();
    }
    sim.answer_call(400, PENDING);
    sim.sleep(secs(5));
    sim.break_call(Stage::Connect);
    sim.sleep(secs(10));
    sim.call();
}

#[test]
fn an_account_of_both_grants_tells_what_its_own_needs() {
    let both = |grant| Account { grant, auth_uri: Some("https://a.example/auth".to_owned()), ..device_account("work") };
    for (grant, is_device) in [(Grant::DeviceCode, true), (Grant::AuthorizationCode, false)] {
        let mut sim = Sim::start(Config { auth_notify_cmd: Some("notify".to_owned()), ..config(vec![both(grant)]) });
        sim.auth("work", None);
        sim.answer_call(200, CODES);
        let show = sim.show("work");
        let (_, message) = sim.failure(show);
        assert_eq!(message.contains("WDJB-MJHT"), is_device, "{grant:?}: {message}");
        let url = sim.url("work");
        assert_eq!(url == "https://a.example/device", is_device, "{grant:?}: {url}");
        let hook = *sim.running(Hook::AuthNotify).last().unwrap();
        let env = ["PIZAUTH_URL_COMPLETE", "PIZAUTH_USER_CODE"].map(|name| sim.env(hook, name).is_some());
        assert_eq!(env, [is_device; 2], "{grant:?}");
        assert_eq!(sim.env(hook, "PIZAUTH_URL"), Some(url), "{grant:?}");
    }
}

#[test]
fn tokens_of_a_poll_count_though_the_browser_refused_meanwhile() {
    let device_auth_uri = device_account("work").device_auth_uri;
    let both = Account { device_auth_uri, ..account("work") };
    let mut sim = Sim::new(vec![both]);
    sim.auth("work", None);
    sim.answer_call(200, CODES);
    sim.sleep(secs(5));
    let poll = sim.call();
    let state = sim.state("work");
    sim.browse(&format!("/?error=access_denied&state={state}"));
    sim.answer(poll, 200, &tokens(1, 3600));
    let show = sim.show("work");
    assert_eq!(sim.token(show), "access-1");
}

#[test]
fn a_refresh_token_that_came_with_a_useless_token_is_kept_beside_a_browser() {
    let both = Account { auth_uri: Some("https://a.example/auth".to_owned()), ..device_account("work") };
    let mut sim = Sim::new(vec![both]);
    sim.auth("work", None);
    sim.answer_call(200, CODES);
    sim.sleep(secs(5));
    sim.answer_call(200, r#"{"access_token":"a","token_type":"mac","refresh_token":"r"}"#);
    let renewal = sim.call();
    assert_eq!(sim.field(renewal, "refresh_token").as_deref(), Some("r"));
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
    sim.sleep(secs(42));
    let next = *sim.calls.keys().next_back().unwrap();
    assert_ne!(late, next);
    sim.answer(next, 400, r#"{"error":"access_denied"}"#);
    assert_eq!(sim.reason(conn), Reason::Error);
    sim.answer(late, 200, &tokens(1, 3600));
    let show = sim.show("work");
    assert_eq!(sim.token(show), "access-1");
}

#[test]
fn a_browser_without_listener_is_taken_back_and_a_code_asked_for_who_waits() {
    let both = || Account { auth_uri: Some("https://a.example/auth".to_owned()), ..device_account("work") };
    for (name, wait, asked) in [("nobody waits", None, false), ("auth -w waits", Some(3600), true)] {
        let with = |accounts| Config { auth_notify_cmd: Some("notify".to_owned()), ..config(accounts) };
        let mut sim = Sim::start(with(vec![both()]));
        let conn = sim.auth("work", wait);
        sim.answer_call(400, r#"{"error":"unauthorized_client"}"#);
        let shown = sim.running(Hook::AuthNotify);
        sim.reload(with(vec![both()]), Bound::default());
        assert_eq!(sim.killed, shown, "{name}: the notification has a dead URL");
        assert_eq!(sim.status("work").authorization_url, None, "{name}");
        sim.sleep(secs(20));
        assert_eq!((sim.purposes() == ["device"], sim.is_waiting(conn)), (asked, asked), "{name}");
        sim.sleep(secs(3600));
    }
}

#[test]
fn a_code_that_ends_while_a_browser_is_exchanging_reminds_of_nothing() {
    let both = Account { auth_uri: Some("https://a.example/auth".to_owned()), ..device_account("work") };
    let config =
        Config { auth_notify_cmd: Some("notify".to_owned()), auth_notify_interval: secs(15), ..config(vec![both]) };
    let mut sim = Sim::start(config);
    sim.auth("work", None);
    let question = sim.call();
    sim.allow("work");
    sim.answer(question, 200, &CODES.replace("600", "10"));
    let notified = sim.started.len();
    sim.sleep(secs(5));
    let poll = *sim.calls.keys().next_back().unwrap();
    sim.answer(poll, 400, r#"{"error":"access_denied"}"#);
    sim.sleep(secs(20));
    assert_eq!((sim.started.len(), sim.killed.len()), (notified, notified));
}

/// An account whose own grant is `grant`, and that has what the other needs too.
fn both(grant: Grant) -> Account {
    Account { grant, auth_uri: Some("https://a.example/auth".to_owned()), ..device_account("work") }
}

#[test]
fn who_waits_in_vain_for_a_user_code_is_told_why() {
    let mut sim = Sim::new(vec![device_account("work")]);
    let conn = sim.auth("work", Some(30));
    sim.answer_unavailable(None);
    sim.sleep(secs(30));
    let (reason, message) = sim.failure(conn);
    assert!(reason == Reason::Authorize && message.contains("HTTP status 503"), "{message}");
}

#[test]
fn the_backoff_of_questions_outlasts_who_asks() {
    let mut sim = Sim::new(vec![device_account("work")]);
    for _ in 0..3600 {
        sim.show("work");
        if !sim.calls.is_empty() {
            sim.answer_unavailable(None);
        }
        sim.sleep(secs(1));
    }
    assert!(sim.called <= 7, "{} questions in an hour", sim.called);
    sim.auth("work", None);
    sim.answer_call(200, CODES);
    sim.sleep(secs(5));
    sim.answer_call(400, r#"{"error":"access_denied"}"#);
    sim.show("work");
    sim.answer_unavailable(None);
    sim.sleep(secs(45));
    sim.show("work");
    assert_eq!(sim.calls.len(), 1, "a code ends the row of failures");
}

#[test]
fn a_secret_that_was_refused_anywhere_is_read_anew() {
    let refuse = |sim: &mut Sim| sim.answer_call(401, r#"{"error":"invalid_client"}"#);
    for name in ["question", "poll", "revocation"] {
        let command = ClientSecret::Command("print-secret".to_owned());
        let mut sim = Sim::new(vec![Account { client_secret: command, ..both(Grant::AuthorizationCode) }]);
        sim.auth("work", None);
        sim.exit_hook(Hook::ClientSecret, 0, "old");
        match name {
            "question" => refuse(&mut sim),
            "poll" => {
                sim.answer_call(200, CODES);
                sim.sleep(secs(5));
                refuse(&mut sim);
            }
            _ => {
                sim.answer_call(200, CODES);
                sim.sleep(secs(5));
                sim.answer_call(200, &tokens(1, 3600));
                sim.revoke("work");
                refuse(&mut sim);
            }
        }
        if name != "revocation" {
            sim.allow("work");
        }
        assert!(sim.calls.is_empty(), "{name}: no request goes out with the old one");
        sim.exit_hook(Hook::ClientSecret, 0, "new");
        let call = sim.call();
        assert_eq!(sim.field(call, "client_secret").as_deref(), Some("new"), "{name}");
    }
}

#[test]
fn a_code_beside_a_url_is_notified_only_where_it_is_what_is_told() {
    for (grant, notified) in [(Grant::AuthorizationCode, [1, 1, 1]), (Grant::DeviceCode, [1, 2, 3])] {
        let mut sim = Sim::start(Config { auth_notify_cmd: Some("notify".to_owned()), ..config(vec![both(grant)]) });
        let count = |sim: &Sim| sim.started.len();
        sim.auth("work", None);
        let first = count(&sim);
        sim.answer_call(200, CODES);
        let second = count(&sim);
        sim.sleep(secs(5));
        sim.answer_call(400, r#"{"error":"access_denied"}"#);
        assert_eq!([first, second, count(&sim)], notified, "{grant:?}");
        assert!(sim.status("work").last_error.is_some_and(|error| error.message.contains("access_denied")));
    }
}

#[test]
fn a_question_whose_turn_comes_in_a_pause_waits() {
    let secretive = Account { client_secret: ClientSecret::Command("s".to_owned()), ..device_account("work") };
    let mut sim = Sim::new(vec![device_account("home"), secretive]);
    let (short, patient) = (sim.auth("work", None), sim.auth("work", Some(3600)));
    sim.auth("home", None);
    sim.answer_unavailable(Some("600"));
    sim.exit_hook(Hook::ClientSecret, 0, "secret");
    assert_eq!((sim.calls.len(), sim.reason(short), sim.is_waiting(patient)), (0, Reason::Temporary, true));
    sim.sleep(secs(600));
    assert_eq!(sim.purposes(), ["device"]);
}

#[test]
fn a_show_that_waits_for_a_refresh_survives_a_failed_question() {
    let (mut sim, _) = asked();
    sim.sleep(secs(5));
    sim.answer_call(200, &tokens(1, 3600));
    sim.sleep(secs(600));
    let show = sim.show_with("work", None, Some(3500));
    let refresh = sim.call();
    sim.auth("work", None);
    let question = *sim.calls.keys().next_back().unwrap();
    sim.answer(question, 503, "");
    sim.answer(refresh, 200, &tokens(2, 3600));
    assert_eq!(sim.token(show), "access-2");
}

#[test]
fn a_refused_question_does_not_outlast_the_grant_beside_it() {
    let (mut sim, _) = asked();
    sim.sleep(secs(5));
    sim.answer_call(200, &tokens(1, 3600));
    sim.auth("work", None);
    sim.answer_call(400, r#"{"error":"unauthorized_client"}"#);
    sim.refresh("work", None);
    sim.answer_call(400, r#"{"error":"invalid_grant"}"#);
    let show = sim.show("work");
    assert!(sim.is_waiting(show));
    assert_eq!(sim.purposes(), ["device"]);
}

/// A dump of the tokens number 1 of an account that can be given a user code.
fn dump_of(account: Account) -> String {
    let mut sim = Sim::new(vec![account]);
    sim.auth("work", None);
    sim.answer_call(200, CODES);
    sim.sleep(secs(5));
    sim.answer_call(200, &tokens(1, 3600));
    sim.dump()
}

/// The request that was made last.
fn last_call(sim: &Sim) -> Ticket {
    *sim.calls.keys().next_back().unwrap()
}

#[test]
fn what_a_poll_brings_that_was_under_way_when_tokens_were_restored_counts() {
    let dump = dump_of(device_account("work"));
    for (name, status, body, want) in [
        ("pending", 400, PENDING.to_owned(), "access-1"),
        ("denied", 400, r#"{"error":"access_denied"}"#.to_owned(), "access-1"),
        ("tokens", 200, tokens(2, 3600), "access-2"),
    ] {
        let with = |command: &str| Config {
            auth_notify_cmd: Some(command.to_owned()),
            ..config(vec![device_account("work")])
        };
        let mut sim = Sim::start(with("notify"));
        let conn = sim.auth("work", Some(3600));
        sim.answer_call(200, CODES);
        sim.sleep(secs(5));
        sim.restore(&dump);
        assert!(sim.done(conn).is_empty(), "{name}");
        assert_eq!(sim.status("work").authorization_url, None, "{name}");
        let notified = sim.started.len();
        sim.reload(with("another"), bound(1234));
        sim.answer_call(status, &body);
        sim.sleep(secs(3000));
        assert_eq!((sim.calls.len(), sim.started.len()), (0, notified), "{name}");
        let show = sim.show("work");
        assert_eq!(sim.token(show), want, "{name}");
    }
}

#[test]
fn a_late_refusal_of_a_poll_is_heeded() {
    let secretive = || Account { client_secret: ClientSecret::Command("s".to_owned()), ..device_account("work") };
    let restored = |account: fn() -> Account| {
        let mut sim = Sim::new(vec![account()]);
        sim.auth("work", None);
        if !sim.runs.is_empty() {
            sim.exit_hook(Hook::ClientSecret, 0, "old");
        }
        sim.answer_call(200, CODES);
        sim.sleep(secs(5));
        sim.restore(&dump_of(device_account("work")));
        sim
    };
    let mut sim = restored(|| device_account("work"));
    sim.answer_unavailable(Some("600"));
    let refresh = sim.refresh("work", None);
    assert_eq!((sim.reason(refresh), sim.calls.len()), (Reason::Temporary, 0), "Retry-After");

    let mut sim = restored(|| device_account("work"));
    sim.answer_call(200, r#"{"access_token":"a","token_type":"mac","refresh_token":"r"}"#);
    let renewal = sim.call();
    assert_eq!(sim.field(renewal, "refresh_token").as_deref(), Some("r"), "a refresh token that came along");

    let mut sim = restored(secretive);
    sim.answer_call(401, r#"{"error":"invalid_client"}"#);
    sim.refresh("work", None);
    assert!(sim.calls.is_empty() && sim.starts(Hook::ClientSecret) == 2, "a refused secret");
}

#[test]
fn what_is_granted_while_tokens_are_restored_replaces_them() {
    for grant in [Grant::DeviceCode, Grant::AuthorizationCode] {
        let dump = dump_of(both(grant));
        for polls in [true, false] {
            let mut sim = Sim::new(vec![both(grant)]);
            sim.auth("work", Some(3600));
            let state = sim.state("work");
            sim.answer_call(200, CODES);
            sim.sleep(secs(if polls { 5 } else { 0 }));
            sim.browse(&format!("/?code=c&state={state}"));
            let exchange = last_call(&sim);
            sim.restore(&dump);
            sim.sleep(secs(if polls { 0 } else { 5 }));
            let poll = *sim.calls.keys().find(|ticket| **ticket != exchange).unwrap();
            sim.answer(poll, 400, PENDING);
            sim.answer(exchange, 200, &tokens(2, 3600));
            let show = sim.show("work");
            assert_eq!(sim.token(show), "access-2", "{grant:?}, polls: {polls}");
        }
    }
}

#[test]
fn who_asks_anew_after_a_restore_gets_a_code_of_its_own() {
    let dump = dump_of(device_account("work"));
    let mut sim = Sim::new(vec![device_account("work")]);
    sim.auth("work", None);
    sim.answer_call(200, CODES);
    sim.sleep(secs(5));
    let poll = sim.call();
    sim.restore(&dump);
    let conn = sim.auth("work", Some(3600));
    sim.answer(poll, 400, PENDING);
    sim.answer_call(200, CODES);
    assert!(sim.is_waiting(conn));
}

#[test]
fn a_browser_beside_a_question_that_waits_is_enough() {
    let secretive = |grant| Account { client_secret: ClientSecret::Command("s".to_owned()), ..both(grant) };
    let mut sim = Sim::new(vec![device_account("home"), secretive(Grant::DeviceCode)]);
    let show = sim.show("work");
    let auth = sim.auth("work", None);
    sim.auth("home", None);
    sim.answer_unavailable(Some("600"));
    sim.exit_hook(Hook::ClientSecret, 0, "secret");
    assert!(sim.done(auth).is_empty());
    assert_eq!(sim.reason(show), Reason::Authorize);

    // Nor does a code that is being exchanged wait for a pause.
    let mut sim = Sim::new(vec![device_account("home"), both(Grant::AuthorizationCode)]);
    sim.auth("work", None);
    sim.answer_call(400, r#"{"error":"unauthorized_client"}"#);
    sim.auth("home", None);
    sim.answer_unavailable(Some("600"));
    sim.allow("work");
    let auth = sim.auth("work", None);
    assert!(sim.done(auth).is_empty());
}

#[test]
fn a_code_that_is_exchanged_comes_before_one_that_is_polled() {
    let mut sim = Sim::new(vec![both(Grant::AuthorizationCode)]);
    sim.auth("work", None);
    sim.answer_call(200, CODES);
    sim.allow("work");
    let show = sim.show("work");
    assert!(sim.is_waiting(show) || sim.reason(show) == Reason::Temporary);
}

#[test]
fn the_same_code_is_notified_once() {
    let with = || Config { auth_notify_cmd: Some("notify".to_owned()), ..config(vec![both(Grant::DeviceCode)]) };
    let mut sim = Sim::start(with());
    sim.show("work");
    sim.answer_call(200, CODES);
    sim.auth("work", None);
    sim.reload(with(), bound(4321));
    assert_eq!(sim.started.len(), 1);
}

#[test]
fn a_pause_that_ended_in_suspend_is_over() {
    for (name, status, body) in [("backoff", 503, ""), ("refusal", 400, r#"{"error":"unauthorized_client"}"#)] {
        for ask in [|sim: &mut Sim| sim.show("work"), |sim: &mut Sim| sim.refresh("work", Some(60))] {
            let mut sim = Sim::new(vec![device_account("work")]);
            sim.show("work");
            sim.answer_call(status, body);
            sim.suspend(secs(7200));
            let conn = ask(&mut sim);
            assert_eq!((sim.is_waiting(conn), sim.called), (true, 2), "{name}");
        }
    }
}

#[test]
fn tokens_of_a_browser_end_the_backoff_of_questions() {
    let mut sim = Sim::new(vec![both(Grant::DeviceCode)]);
    for _ in 0..6 {
        sim.show("work");
        sim.answer_unavailable(None);
        sim.sleep(secs(2000));
    }
    sim.auth("work", None);
    let question = sim.call();
    let state = sim.state("work");
    sim.answer(question, 503, "");
    sim.browse(&format!("/?code=c&state={state}"));
    sim.answer_call(200, r#"{"access_token":"a","expires_in":3600}"#);
    sim.sleep(secs(86_400));
    sim.show("work");
    sim.answer_unavailable(None);
    sim.sleep(secs(60));
    sim.show("work");
    assert_eq!(sim.purposes(), ["device"]);
}

#[test]
fn who_waits_for_a_silent_device_endpoint_is_told_so() {
    let mut sim = Sim::new(vec![device_account("work")]);
    let conn = sim.auth("work", Some(20));
    sim.sleep(secs(20));
    let (reason, message) = sim.failure(conn);
    assert!(reason == Reason::Authorize && message.contains("is being asked for a user code"), "{message}");
}

#[test]
fn what_a_device_endpoint_says_keeps_no_browser_closed() {
    let with = || config(vec![both(Grant::AuthorizationCode)]);
    for (status, body) in [(503, ""), (400, r#"{"error":"unauthorized_client"}"#)] {
        let mut sim = Sim::start(with());
        sim.auth("work", Some(60));
        sim.answer_call(400, r#"{"error":"unauthorized_client"}"#);
        sim.reload(with(), Bound::default());
        sim.answer_call(status, body);
        sim.engine.bound = bound(1234);
        let show = sim.show("work");
        assert_eq!(sim.reason(show), Reason::Authorize);
    }
}

#[test]
fn tokens_that_come_expired_leave_who_waits_asking() {
    let body = r#"{"access_token":"a","expires_in":3600}"#;
    let (mut sim, _) = asked();
    let (auth, show) = (sim.auth("work", Some(80_000)), sim.show_waiting("work", 80_000));
    sim.sleep(secs(5));
    let poll = sim.call();
    sim.suspend(secs(7200));
    sim.answer(poll, 200, body);
    sim.done(auth);
    assert_eq!((sim.is_waiting(show), sim.purposes()), (true, vec!["device".to_owned()]));
    sim.answer_call(200, CODES);
    sim.sleep(secs(5));
    let late = sim.call();
    sim.sleep(secs(33));
    sim.suspend(secs(300));
    sim.answer(late, 200, r#"{"access_token":"b","expires_in":30}"#);
    sim.sleep(secs(40));
    assert!(sim.status("work").authorization_url.is_some(), "a late one that is dead closes nothing");
}
