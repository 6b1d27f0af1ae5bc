//! Hooks: what they are told, how many run, and what their end means.

use super::{
    device::CODES,
    sim::{Sim, account, command_account, config, device_account, secs, tokens},
};
use crate::{
    config::Config,
    engine::{ChildEnd, Hook, Level},
};

fn listening() -> Config {
    let mut config = config(vec![account("home"), account("work")]);
    config.token_event_cmd = Some("event".to_owned());
    config
}

#[test]
fn token_events_come_in_order_one_at_a_time() {
    let mut sim = Sim::start(listening());
    sim.authorize("work", &tokens(1, 3600));
    sim.refresh("work", None);
    sim.answer_call(200, &tokens(2, 3600));
    sim.authorize("home", &tokens(3, 3600));
    sim.revoke("home");
    sim.refresh("work", None);
    let refresh = *sim.calls.iter().find(|(_, call)| call.uri.ends_with("token")).unwrap().0;
    sim.answer(refresh, 400, r#"{"error":"invalid_grant"}"#);
    for (account, event) in [
        ("work", "token_new"),
        ("work", "token_refreshed"),
        ("home", "token_new"),
        ("home", "token_revoked"),
        ("work", "token_invalidated"),
    ] {
        let running = sim.running(Hook::TokenEvent);
        assert_eq!(running.len(), 1);
        assert_eq!(sim.env(running[0], "PIZAUTH_ACCOUNT").as_deref(), Some(account));
        assert_eq!(sim.env(running[0], "PIZAUTH_EVENT").as_deref(), Some(event));
        assert_eq!(sim.runs[&running[0]].limit, Some(secs(10)));
        sim.end(running[0], ChildEnd::Killed);
    }
    assert!(sim.running(Hook::TokenEvent).is_empty());
}

#[test]
fn an_authorization_beside_a_token_brings_a_new_one() {
    let mut sim = Sim::start(listening());
    sim.authorize("work", &tokens(1, 3600));
    sim.exit_hook(Hook::TokenEvent, 0, "");
    sim.authorize("work", &tokens(2, 3600));
    let hook = sim.running(Hook::TokenEvent)[0];
    assert_eq!(sim.env(hook, "PIZAUTH_EVENT").as_deref(), Some("token_new"));
}

#[test]
fn a_hook_that_hangs_drops_the_oldest_events_at_last() {
    let mut sim = Sim::start(listening());
    sim.authorize("work", &tokens(1, 3600));
    for number in 0..4200 {
        sim.refresh("work", None);
        sim.answer_call(200, &tokens(number, 3600));
    }
    assert_eq!(sim.running(Hook::TokenEvent).len(), 1);
    assert!(sim.logged(Level::Warn).iter().any(|line| line.contains("token_event_cmd")));
}

#[test]
fn each_hook_has_its_limit_its_environment_and_its_pipes() {
    let mut config = config(vec![command_account("browser"), device_account("device")]);
    let command = Some("command".to_owned());
    config.auth_notify_cmd.clone_from(&command);
    config.error_notify_cmd.clone_from(&command);
    config.persist_cmd.clone_from(&command);
    config.restore_cmd.clone_from(&command);
    config.startup_cmd.clone_from(&command);
    config.token_event_cmd.clone_from(&command);
    config.transient_error_if_cmd.clone_from(&command);
    let mut sim = Sim::start(config);
    let mut told = Vec::new();
    let mut tell = |sim: &Sim, hook: Hook| {
        let ticket = *sim.running(hook).last().unwrap_or_else(|| panic!("{hook} does not run"));
        let run = &sim.runs[&ticket];
        let names: Vec<&str> = run.env.iter().map(|(name, _)| *name).collect();
        let limit = run.limit.map(|limit| limit.as_secs());
        told.push(format!("{hook} {limit:?} {} {} {}", names.join(","), run.stdin.is_some(), run.capture > 0));
    };
    tell(&sim, Hook::Startup);
    tell(&sim, Hook::Restore);
    sim.exit_hook(Hook::Restore, 0, "");
    sim.auth("browser", None);
    tell(&sim, Hook::AuthNotify);
    sim.allow("browser");
    tell(&sim, Hook::ClientSecret);
    sim.exit_hook(Hook::ClientSecret, 0, "secret");
    sim.answer_call(200, &tokens(1, 3600));
    tell(&sim, Hook::TokenEvent);
    tell(&sim, Hook::Persist);
    for _ in 0..6 {
        sim.refresh("browser", None);
        sim.answer_call(503, "");
    }
    tell(&sim, Hook::TransientErrorIf);
    sim.refresh("browser", None);
    sim.answer_call(400, r#"{"error":"invalid_grant"}"#);
    tell(&sim, Hook::ErrorNotify);
    sim.auth("device", None);
    sim.answer_call(200, CODES);
    tell(&sim, Hook::AuthNotify);
    assert_eq!(
        told,
        [
            "startup_cmd None  false false",
            "restore_cmd Some(60)  false true",
            "auth_notify_cmd None PIZAUTH_ACCOUNT,PIZAUTH_URL false false",
            "client_secret_cmd Some(60) PIZAUTH_ACCOUNT false true",
            "token_event_cmd Some(10) PIZAUTH_ACCOUNT,PIZAUTH_EVENT false false",
            "persist_cmd Some(60)  true false",
            "transient_error_if_cmd Some(180) PIZAUTH_ACCOUNT false false",
            "error_notify_cmd Some(10) PIZAUTH_ACCOUNT,PIZAUTH_MSG false false",
            "auth_notify_cmd None PIZAUTH_ACCOUNT,PIZAUTH_URL,PIZAUTH_URL_COMPLETE,PIZAUTH_USER_CODE false false",
        ]
    );
}

#[test]
fn startup_cmd_runs_without_a_limit() {
    let mut config = config(vec![]);
    config.startup_cmd = Some("startup".to_owned());
    let mut sim = Sim::start(config);
    let hook = sim.running(Hook::Startup)[0];
    assert_eq!((sim.runs[&hook].limit, sim.runs[&hook].command.as_str()), (None, "startup"));
    sim.exit_hook(Hook::Startup, 1, "");
    assert!(sim.logged(Level::Warn).iter().any(|line| line.contains("startup_cmd")));
}

#[test]
fn without_error_notify_cmd_a_refusal_is_logged() {
    let mut sim = Sim::authorized();
    sim.refresh("work", None);
    sim.answer_call(401, r#"{"error":"invalid_client"}"#);
    assert!(sim.logged(Level::Error).iter().any(|line| line.contains("invalid_client")));
}

#[test]
fn no_secret_is_logged() {
    let mut sim = Sim::authorized();
    sim.refresh("work", None);
    sim.answer_call(400, r#"{"error":"x","error_description":"refresh-1 access-1"}"#);
    sim.auth("work", None);
    let state = sim.state("work");
    sim.allow("work");
    sim.answer_call(400, r#"{"error":"x","error_description":"the-code"}"#);
    for (_, line) in &sim.logs {
        for secret in ["access-1", "refresh-1", "the-code", &state] {
            assert!(!line.contains(secret), "{line}");
        }
    }
}
