//! The engine alone: events in, effects out, as the loop does it, without a system call.

use std::time::Duration;

use pizauth::{
    config,
    engine::{Bound, ConnId, Effect, Engine, Event, Now, Time},
    oauth::{Ports, Reply},
    proto::{Request, Show},
    secret::Secret,
};
use serde_json::json;

use super::{
    callgrind,
    table::{Row, Unit},
    timing::{median, own_cost},
    world,
};

/// Events in a measurement, and measurements.
const EVENTS: usize = 100_000;
const REPEATS: usize = 9;

pub fn rows() -> Vec<Row> {
    let rate = |accounts| {
        let mut walk = Walk::new(accounts);
        let times = [(); REPEATS].map(|()| own_cost(|| (0..EVENTS).for_each(|_| walk.step())));
        EVENTS as f64 / median(&times)
    };
    let refreshes = |accounts: usize| {
        let mut walk = Walk::new(accounts);
        let times = [(); REPEATS].map(|()| own_cost(|| walk.refresh_all()));
        accounts as f64 / median(&times)
    };
    vec![
        Row::at_least("engine: events with 10 accounts", rate(10), 1_000_000.0, Unit::PerSecond),
        Row::at_least("  with 1,000 accounts", rate(1000), 100_000.0, Unit::PerSecond),
        Row::told("  refreshes with 1,000 accounts, all due at once", Unit::PerSecond.write(refreshes(1000))),
        callgrind::step("  instructions of one event with 10 accounts"),
    ]
}

/// Walks through so many steps and does nothing else, for callgrind.
pub fn walk(steps: usize) {
    let mut walk = Walk::new(10);
    (0..steps).for_each(|_| walk.step());
}

/// An engine whose accounts have tokens and are asked for them in turn.
struct Walk {
    engine: Engine,
    now: Now,
    accounts: usize,
    next: usize,
}

impl Walk {
    fn new(accounts: usize) -> Walk {
        let text = world::config(accounts, world::NOWHERE);
        let config = config::parse(&text).expect("a good configuration");
        let bound = Bound { ports: Ports { http: Some(1), https: None }, ..Bound::default() };
        let dump = world::state(&text).into();
        // After the state: what was obtained in the future would be refreshed at once.
        let now = Now { time: Time::new(Duration::from_secs(100)), wall: world::now() };
        let mut engine = Engine::new(config, bound, Box::new(|bytes: &mut [u8]| bytes.fill(7)));
        engine.handle_event(Event::Started, now);
        engine.handle_event(Event::Request { conn: ConnId(0), request: Request::Restore { dump } }, now);
        while engine.poll_effect().is_some() {}
        Walk { engine, now, accounts, next: 0 }
    }

    /// One event: a client asks for a token that is there.
    fn step(&mut self) {
        let account = world::name(self.next % self.accounts);
        self.next += 1;
        let show = Show { account, wait: None, min_life: None, urls: true, git_host: None };
        let conn = ConnId(self.next as u64);
        self.now.time = self.now.time + Duration::from_micros(1);
        self.engine.handle_event(Event::Request { conn, request: Request::Show(show) }, self.now);
        let mut answers = 0;
        while let Some(effect) = self.engine.poll_effect() {
            answers += usize::from(matches!(effect, Effect::Respond { .. }));
        }
        assert_eq!(answers, 1);
        assert!(self.engine.poll_timeout().is_some_and(|(at, _)| at > self.now.time));
    }

    /// The refresh of every account, from its deadline to its answer.
    fn refresh_all(&mut self) {
        let (due, _) = self.engine.poll_timeout().expect("a refresh is due some time");
        let late = due.since(self.now.time) + Duration::from_secs(1);
        self.now = Now { time: self.now.time + late, wall: self.now.wall + late };
        self.engine.handle_timeout(self.now);
        let mut answered = 0;
        while answered < self.accounts {
            let Some(effect) = self.engine.poll_effect() else { panic!("only {answered} refreshes") };
            if let Effect::Call { ticket, .. } = effect {
                answered += 1;
                let outcome = Ok(Reply { status: 200, body: tokens(answered), ..Reply::default() });
                self.engine.handle_event(Event::Answer { ticket, outcome }, self.now);
            }
        }
        while self.engine.poll_effect().is_some() {}
    }
}

/// What the provider answers: no two accounts have the same refresh token.
fn tokens(number: usize) -> Secret<Vec<u8>> {
    let tokens = json!({
        "access_token": "an access token", "token_type": "Bearer", "expires_in": 3600,
        "refresh_token": format!("refresh token {number}"),
    });
    Secret::new(tokens.to_string().into_bytes())
}
