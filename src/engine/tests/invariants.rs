//! What holds after every event, whatever it was.

use std::collections::{BTreeMap, BTreeSet};

use super::walk::{World, field};
use crate::engine::{
    ConnId, Engine, Hook,
    account::{AccountId, Attempt, Browser, ClientSecret, Device, Renewal},
};

/// Requests under way at once.
const MAX_CALLS: usize = 32;

/// The refresh tokens that the engine has.
pub struct Held(BTreeMap<AccountId, String>);

impl Held {
    pub fn of(engine: &Engine) -> Held {
        let refresh_tokens =
            engine.accounts.iter().filter_map(|account| Some((account.id, account.refresh_token()?.expose().clone())));
        Held(refresh_tokens.collect())
    }

    pub fn holds(&self, refresh_token: &str) -> bool {
        self.0.values().any(|held| held == refresh_token)
    }
}

/// Holds the world against every promise; `event` is what happened, nothing where time passed.
pub fn check(world: &World, before: Held, event: Option<&str>) {
    check_deadlines(world);
    check_requests(world);
    check_everybody_waits_somewhere(world, event);
    check_nothing_is_stuck(&world.engine);
    check_refresh_tokens(world, before, event);
}

fn check_deadlines(world: &World) {
    if let Some((at, what)) = world.engine.poll_timeout() {
        assert!(at > world.now.time, "a deadline in the past stays: {what}");
    }
}

fn check_requests(world: &World) {
    assert!(world.calls.len() <= MAX_CALLS, "{} requests", world.calls.len());
    let mut refresh_tokens = BTreeSet::new();
    for call in world.calls.values() {
        if let Some(refresh_token) = field(call, "refresh_token") {
            assert!(refresh_tokens.insert(refresh_token), "two requests with one refresh token");
        }
    }
    for hook in [Hook::Persist, Hook::TokenEvent] {
        let running = world.runs.values().filter(|run| run.hook == hook).count();
        assert!(running <= 1, "{running} of {hook}");
    }
}

/// Nobody is forgotten, and nobody is remembered who was answered or went away.
fn check_everybody_waits_somewhere(world: &World, event: Option<&str>) {
    let engine = &world.engine;
    let waiters = engine.accounts.iter().flat_map(|account| &account.waiters);
    let mut waiting: Vec<ConnId> = waiters.map(|waiter| waiter.conn).collect();
    waiting.extend(engine.calls.askers());
    waiting.extend(engine.reloads.askers());
    waiting.extend(engine.phase.askers());
    waiting.sort();
    let asked: Vec<ConnId> = world.asked.iter().copied().collect();
    assert_eq!(waiting, asked, "who waits is not who asked, after {event:?}");
    let pages: BTreeSet<ConnId> = engine
        .accounts
        .iter()
        .flat_map(|account| match account.browser() {
            Browser::Exchanging(exchanging) => exchanging.pages.clone(),
            Browser::Requested(_) | Browser::Closed => Vec::new(),
        })
        .collect();
    assert_eq!(pages, world.open_pages, "open pages");
}

/// Whatever waits for an outcome has a request, a child or a deadline to come from.
fn check_nothing_is_stuck(engine: &Engine) {
    if !engine.is_running() {
        return;
    }
    for account in engine.accounts.iter() {
        let name = account.name();
        let expected = |attempt: Attempt| match attempt {
            Attempt::InFlight(ticket) => engine.calls.is_expected(ticket),
            Attempt::Due(_) => true,
        };
        if let Renewal::InFlight(ticket) = account.renewal() {
            assert!(engine.calls.is_expected(ticket), "{name}: a renewal is stuck");
        }
        if let Browser::Exchanging(exchanging) = account.browser() {
            assert!(expected(exchanging.attempt), "{name}: an exchange is stuck");
        }
        let reminds = account.reminder.as_ref().is_some_and(|reminder| reminder.next.is_some());
        assert!(!reminds || account.invitation().is_some(), "{name}: a reminder of nothing");
        match account.device() {
            Device::Asking(attempt) => assert!(expected(*attempt), "{name}: a question is stuck"),
            Device::Polling(polling) => assert!(expected(polling.attempt), "{name}: a poll is stuck"),
            Device::Closed | Device::Held(_) => {}
        }
        if let ClientSecret::Reading(ticket) = &account.client_secret {
            assert!(engine.running.iter().any(|running| running.ticket == *ticket), "{name}: a secret is stuck");
        }
        let can_renew = account.renewal() != Renewal::Unable;
        assert!(can_renew || account.refresh_token().is_none(), "{name}: a refresh token that is never used");
    }
}

/// A refresh token disappears only for a reason.
fn check_refresh_tokens(world: &World, before: Held, event: Option<&str>) {
    let after = Held::of(&world.engine);
    for (id, old) in before.0 {
        if after.0.get(&id) == Some(&old) {
            continue;
        }
        let event = event.unwrap_or("time passed");
        let replaced = after.0.contains_key(&id);
        let allowed = if replaced {
            event.starts_with("Answer")
        } else {
            let reasons = ["Answer", "Request { conn: ", "Exited", "Staged", "Started"];
            reasons.iter().any(|reason| event.starts_with(reason))
        };
        assert!(allowed, "a refresh token disappeared: {event}");
        if event.starts_with("Request") {
            assert!(event.contains("Revoke {"), "a refresh token disappeared: {event}");
        }
    }
}
