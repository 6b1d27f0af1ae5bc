//! The world around one engine: its clients, browsers, hooks, store, network and clocks, and what it finds wrong.

use std::{collections::BTreeMap, time::Duration};

use pizauth::{
    engine::{ChildEnd, ConnId, Effect, Engine, Event, ExitReason, Hook, Now, Page, Run, Ticket, Time, WallTime},
    oauth::{Broken, Call, Reply, Stage},
    proto::{Notice, Reason, Response},
    secret::Secret,
};

use super::{
    chance::Chance,
    faults::{self, Fault},
    provider::{Provider, field, reply},
    setting::{CLIENT_SECRET, DEVICE, NAMES, USERLESS, bound, config, random, secs},
};

/// Parts of a life; each ends with everything well again, and held against the oracle.
const CHAPTERS: usize = 6;

/// Turns of the loop in one chapter: more is a busy loop.
const MAX_TURNS: usize = 20_000;

/// How long a request is waited for, with a second for rounding.
const ANSWER: Duration = Duration::from_secs(31);

/// What will happen.
pub enum Happening {
    Answer { ticket: Ticket, outcome: Result<Reply, Broken>, grant: Option<(usize, bool)> },
    HookEnd { ticket: Ticket, end: ChildEnd },
    Staged { ticket: Ticket },
    Approve { account: String },
    Gone { conn: ConnId },
    Life(Life),
}

/// What happens to a daemon in the course of time.
#[derive(Clone, Copy)]
pub enum Life {
    Client,
    Reload,
    Restore,
    Crash,
    Shutdown,
    Suspend,
    ClockStep,
    TakeBack,
    Network(Network),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Network {
    Up,
    Down,
    Failing,
    Limited,
    Portal,
    /// The provider takes the client for another.
    Refusing,
    Losing,
}

/// What the world knows of an account.
#[derive(Default)]
pub struct View {
    /// The grant whose tokens the daemon got last.
    pub active: Option<usize>,
    /// Somebody asked for an authorization although there may be a token.
    pub explicit: bool,
    /// The URL to open, or the user code to enter.
    pub invitation: Option<String>,
    pub approving: bool,
    /// The account's configuration in its present form.
    pub form: u32,
}

pub struct InFlight {
    pub account: String,
    pub since: Time,
    pub abandoned: bool,
}

pub struct World {
    pub chance: Chance,
    pub fault: Option<Fault>,
    pub engine: Engine,
    pub now: Now,
    pub started: Time,
    pub port: u16,
    pub provider: Provider,
    pub network: Network,
    /// Nothing fails any more.
    pub calm: bool,
    pub queue: BTreeMap<(Time, u64), Happening>,
    pub sequence: u64,
    pub views: BTreeMap<&'static str, View>,
    pub clients: BTreeMap<ConnId, (Time, Option<String>)>,
    pub pages: BTreeMap<ConnId, Time>,
    pub calls: BTreeMap<Ticket, InFlight>,
    pub hooks: BTreeMap<Ticket, Run>,
    pub stored: String,
    pub save_failing: bool,
    pub store_read: bool,
    pub stopping: Option<Time>,
    pub exited: Option<ExitReason>,
    /// Somebody was told that only the administrator can help.
    pub held: bool,
    /// Who restores what is in the store.
    pub restoring: Option<ConnId>,
    pub shown: Vec<(ConnId, bool)>,
    pub dump: Option<String>,
    pub violations: Vec<String>,
    pub traced: bool,
}

impl World {
    /// Lives through a whole life, and tells what was wrong.
    pub fn live(seed: u64, fault: Option<Fault>) -> Vec<String> {
        let mut chance = Chance::new(seed);
        let life = secs([300, 3600, 7200][chance.below(3) as usize]);
        let now = Now { time: Time::new(secs(100)), wall: WallTime::from_secs(1_795_424_700) };
        let views = NAMES.iter().map(|name| (*name, View::default())).collect();
        let mut world = World {
            chance,
            fault,
            engine: Engine::new(config(&views), bound(1), random(0)),
            now,
            started: now.time,
            port: 1000,
            provider: Provider::new(life),
            network: Network::Up,
            calm: false,
            queue: BTreeMap::new(),
            sequence: 0,
            views,
            clients: BTreeMap::new(),
            pages: BTreeMap::new(),
            calls: BTreeMap::new(),
            hooks: BTreeMap::new(),
            stored: String::new(),
            save_failing: false,
            store_read: false,
            stopping: None,
            exited: None,
            held: false,
            restoring: None,
            shown: Vec::new(),
            dump: None,
            violations: Vec::new(),
            traced: std::env::var_os("TRACE").is_some(),
        };
        world.start();
        for _ in 0..CHAPTERS {
            world.plan_chapter();
            world.settle();
            if !world.is_clean() {
                break;
            }
        }
        world.revoke_all();
        world.violations.append(&mut world.provider.violations);
        world.violations
    }

    pub fn is_clean(&self) -> bool {
        self.violations.is_empty() && self.provider.violations.is_empty()
    }

    pub fn wrong(&mut self, what: String) {
        self.violations.push(format!("at {} s: {what}", self.now.time.since_start().as_secs()));
    }

    /// A process begins.
    pub fn start(&mut self) {
        self.clients.clear();
        self.pages.clear();
        self.calls.clear();
        self.hooks.clear();
        self.restoring = None;
        self.queue.retain(|_, happening| matches!(happening, Happening::Life(_)));
        self.save_failing = false;
        self.store_read = false;
        self.stopping = None;
        self.exited = None;
        self.started = self.now.time;
        for view in self.views.values_mut() {
            (view.explicit, view.invitation, view.approving) = (false, None, false);
        }
        let seed = self.chance.below(u64::MAX);
        self.engine = Engine::new(config(&self.views), bound(self.port), random(seed));
        self.event(Event::Started);
    }

    fn plan_chapter(&mut self) {
        self.calm = false;
        let hours = 1 + self.chance.below(30);
        let end = self.now.time + secs(hours * 3600);
        for _ in 0..60 {
            let life = match self.chance.below(100) {
                0..58 => Life::Client,
                58..60 => Life::Restore,
                60..65 => Life::Reload,
                65..69 => Life::Crash,
                69..72 => Life::Shutdown,
                72..77 => Life::Suspend,
                77..80 => Life::ClockStep,
                80 => Life::TakeBack,
                81..87 => Life::Network(Network::Up),
                87 => Life::Network(Network::Refusing),
                88..90 => Life::Network(Network::Down),
                90..92 => Life::Network(Network::Failing),
                92..94 => Life::Network(Network::Limited),
                94..96 => Life::Network(Network::Portal),
                _ => Life::Network(Network::Losing),
            };
            let after = secs(self.chance.below(hours * 3600));
            self.later(after, Happening::Life(life));
        }
        self.run_until(end);
    }

    pub fn later(&mut self, after: Duration, happening: Happening) {
        self.sequence += 1;
        self.queue.insert((self.now.time + after, self.sequence), happening);
    }

    pub fn run_until(&mut self, end: Time) {
        for _ in 0..MAX_TURNS {
            if !self.is_clean() {
                return;
            }
            let deadline = self.engine.poll_timeout().map(|(at, _)| at);
            let deadline = deadline.and_then(|deadline| faults::spoil_deadline(self.fault, deadline));
            let next = self.queue.keys().next().map(|(at, _)| *at);
            let at = [deadline, next, Some(end)].into_iter().flatten().min().unwrap_or(end);
            self.pass(at.since(self.now.time));
            let now = self.now.time;
            let due = self.queue.first_entry().filter(|entry| entry.key().0 <= now).map(|entry| entry.remove());
            if let Some(happening) = due {
                self.happen(happening);
            } else if deadline.is_some_and(|deadline| deadline <= self.now.time) {
                self.engine.handle_timeout(self.now);
                self.drain();
            } else if self.now.time >= end {
                return;
            }
            self.check_patience();
            if let Some(reason) = self.exited {
                self.check_exit(reason);
                self.start();
            }
        }
        self.wrong(format!("a busy loop: {:?}", self.engine.poll_timeout()));
    }

    pub fn pass(&mut self, time: Duration) {
        self.now = Now { time: self.now.time + time, wall: self.now.wall + time };
    }

    fn call(&mut self, ticket: Ticket, call: &Call) {
        let client_id = field(call, "client_id").unwrap_or_default();
        let account = client_id.split('.').next().unwrap_or_default().to_owned();
        let given_up = self.calls.values().any(|call| call.account == account && call.since + ANSWER <= self.now.time);
        self.calls.insert(ticket, InFlight { account: account.clone(), since: self.now.time, abandoned: false });
        let soon = secs(self.chance.below(4));
        let mut after = soon;
        let mut grant = None;
        let broken = |stage| Err(Broken { stage, detail: "no answer".to_owned() });
        if self.chance.percent(2) && !self.calm {
            // A look-up of the name takes longer than the engine waits, and fails in the end.
            let after = secs(30 + self.chance.below(300));
            return self.later(after, Happening::Answer { ticket, outcome: broken(Stage::Resolve), grant: None });
        }
        let outcome = match self.network {
            Network::Down => broken([Stage::Resolve, Stage::Connect, Stage::Tls][self.chance.below(3) as usize]),
            Network::Failing => Ok(reply(503, "")),
            Network::Limited => {
                let retry_after = Some((60 + self.chance.below(600)).to_string());
                Ok(Reply { retry_after, ..reply(429, "") })
            }
            Network::Portal => Ok(reply(200, "<html>log in to the network")),
            Network::Refusing => {
                self.held = true;
                Ok(reply(401, r#"{"error":"invalid_client"}"#))
            }
            Network::Up | Network::Losing => {
                let answer = self.provider.handle(call, &account, given_up, self.now.time);
                grant = answer.grant.map(|grant| (grant, answer.first));
                if self.network == Network::Losing && self.chance.percent(50) {
                    after = secs(30);
                    if let Some((place, _)) = grant.take() {
                        self.provider.grants[place].excused = true;
                    }
                    broken(Stage::Sent)
                } else {
                    if self.chance.percent(5) && !self.calm {
                        after = secs(20 + self.chance.below(30));
                    }
                    Ok(answer.reply)
                }
            }
        };
        if self.chance.percent(5) {
            self.later(after + secs(1), Happening::Answer { ticket, outcome: outcome.clone(), grant: None });
        }
        self.later(after, Happening::Answer { ticket, outcome, grant });
    }

    pub fn deliver(&mut self, ticket: Ticket, outcome: Result<Reply, Broken>, grant: Option<(usize, bool)>) {
        if let (Some(call), Some((place, first))) = (self.calls.remove(&ticket), grant) {
            let late = self.now.time.since(call.since) > ANSWER;
            let view = self.views.get_mut(call.account.as_str()).expect("an account");
            if call.abandoned {
                self.provider.grants[place].excused = true;
            } else if first {
                // Given up already, it may be taken or not: neither grant proves anything any more.
                if let Some(old) = view.active.filter(|_| late) {
                    self.provider.grants[old].excused = true;
                }
                self.provider.grants[place].excused |= late;
                (view.active, view.explicit) = (Some(place), false);
            }
        }
        self.event(Event::Answer { ticket, outcome });
    }

    fn run(&mut self, ticket: Ticket, run: Run) {
        let env = |name| run.env.iter().find(|(other, _)| *other == name).map(|(_, value)| value.expose().clone());
        if let (Hook::AuthNotify, Some(account)) = (run.hook, env("PIZAUTH_ACCOUNT")) {
            self.invite(&account, env("PIZAUTH_USER_CODE").or_else(|| env("PIZAUTH_URL")));
            if !self.views[account.as_str()].explicit {
                self.must_not_be_asked(&account);
            }
        }
        let fate = if self.calm { 99 } else { self.chance.below(100) };
        let limit = run.limit.unwrap_or(secs(100_000));
        let quickly = secs(self.chance.below(3));
        let (after, end) = match fate {
            0..8 => (limit, ChildEnd::Killed),
            8..16 => (quickly, ChildEnd::Exited { status: 1, stdout: Secret::default() }),
            16..20 => (quickly, ChildEnd::NotStarted("no fork".to_owned())),
            _ => {
                let stdout = match run.hook {
                    Hook::Restore => self.stored.clone(),
                    Hook::ClientSecret => format!("{CLIENT_SECRET}\n"),
                    _ => String::new(),
                };
                (quickly, ChildEnd::Exited { status: 0, stdout: Secret::new(stdout.into_bytes()) })
            }
        };
        self.hooks.insert(ticket, run);
        self.later(after, Happening::HookEnd { ticket, end });
    }

    pub fn end_hook(&mut self, ticket: Ticket, end: ChildEnd) {
        let Some(run) = self.hooks.remove(&ticket) else { return };
        let good = matches!(end, ChildEnd::Exited { status: 0, .. });
        match run.hook {
            Hook::Persist => {
                self.save_failing = !good;
                if let (Some(stdin), true) = (&run.stdin, good && self.fault != Some(Fault::LoseSave)) {
                    self.stored = stdin.expose().clone();
                }
                // The world knows better than a daemon that was lied to.
                self.save_failing &= self.fault != Some(Fault::BelieveFailedSave);
            }
            Hook::Restore => self.store_read |= good,
            _ => {}
        }
        self.send(Event::Exited { ticket, end }, Some(run.hook));
    }

    fn invite(&mut self, account: &str, invitation: Option<String>) {
        if account == USERLESS {
            return self.wrong("a user is asked for an account without one".to_owned());
        }
        let view = self.views.get_mut(account).expect("an account");
        view.invitation = invitation;
        if !std::mem::replace(&mut view.approving, true) {
            let after = secs(5 + self.chance.below(300));
            self.later(after, Happening::Approve { account: account.to_owned() });
        }
    }

    pub fn event(&mut self, event: Event) {
        self.send(event, None);
    }

    fn send(&mut self, mut event: Event, hook: Option<Hook>) {
        self.trace("->", &event);
        if faults::spoil_event(self.fault, &mut event, hook) {
            let now = faults::spoil_time(self.fault, &event, self.started, self.now);
            self.engine.handle_event(event, now);
            self.drain();
        }
    }

    fn trace(&self, way: &str, what: &impl std::fmt::Debug) {
        if self.traced {
            eprintln!("{} {way} {what:?}", self.now.time.since_start().as_secs());
        }
    }

    fn drain(&mut self) {
        while let Some(mut effect) = self.engine.poll_effect() {
            self.trace("<-", &effect);
            let times = faults::spoil_effect(self.fault, &mut effect);
            for _ in 0..times {
                self.perform(&effect);
            }
        }
    }

    fn perform(&mut self, effect: &Effect) {
        match effect {
            Effect::Notice { conn, notice } => {
                if !self.clients.contains_key(conn) {
                    self.wrong(format!("a notice to {conn:?}, who is gone"));
                }
                match notice {
                    Notice::Authorize { url } => {
                        let account = NAMES.into_iter().find(|name| url.contains(&format!("client_id={name}.")));
                        self.invite(account.unwrap_or_default(), Some(url.clone()));
                    }
                    Notice::Device { user_code, .. } => self.invite(DEVICE, Some(user_code.clone())),
                    Notice::Message { .. } => {}
                }
            }
            Effect::Respond { conn, response } => self.take_answer(*conn, response),
            Effect::Page { conn, page: Page::Opening } => {
                self.pages.insert(*conn, self.now.time + secs(130));
            }
            Effect::Page { conn, page: Page::Outcome(_) } => {
                if self.pages.remove(conn).is_none() {
                    self.wrong("a page was finished that was not open".to_owned());
                }
            }
            Effect::Page { page: Page::Refusal { .. }, .. } => {}
            Effect::Call { ticket, call } => self.call(*ticket, call),
            Effect::Run { ticket, run } => self.run(*ticket, run.clone()),
            Effect::Kill { ticket } => {
                let after = secs(self.chance.below(3));
                self.later(after, Happening::HookEnd { ticket: *ticket, end: ChildEnd::Killed });
            }
            Effect::Stage { ticket } => {
                let after = secs(self.chance.below(4));
                self.later(after, Happening::Staged { ticket: *ticket });
            }
            Effect::Exit(reason) => self.exited = Some(*reason),
            Effect::Adopt { .. } | Effect::Discard { .. } | Effect::Notify(_) | Effect::Log { .. } => {}
        }
    }

    fn take_answer(&mut self, conn: ConnId, response: &Response) {
        let Some((_, good)) = self.clients.remove(&conn) else {
            return self.wrong(format!("{conn:?} is answered, who does not wait"));
        };
        self.shown.push((conn, matches!(response, Response::Token(_))));
        match response {
            Response::Token(token) => {
                let end = self.provider.access.get(token.access_token.expose()).map(|(end, _)| *end);
                if end.is_some_and(|end| end <= self.now.time) {
                    self.wrong("a dead token was shown".to_owned());
                }
            }
            Response::Failed { reason: Reason::Authorize, .. } => {
                if let Some(account) = good {
                    self.must_not_be_asked(&account);
                }
            }
            Response::Dump { dump } => self.dump = Some(dump.expose().clone()),
            Response::Done { .. } => self.store_read |= self.restoring == Some(conn),
            Response::Failed { .. } | Response::Status(_) | Response::Info(_) => {}
        }
    }
}
