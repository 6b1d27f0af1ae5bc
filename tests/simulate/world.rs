//! The world around one engine: its clients, browsers, hooks, store, network and clocks, and what it finds wrong.

use std::{collections::BTreeMap, time::Duration};

use pizauth::{
    config::{self, Config},
    engine::{
        Bound, ChildEnd, ConnId, Effect, Engine, Event, ExitReason, Hook, Now, Page, Run, Ticket, Time, WallTime,
    },
    oauth::{Broken, Call, Ports, Reply, Stage, dump},
    proto::{Notice, Reason, Request, Response, Show},
    secret::Secret,
};

use super::{
    chance::Chance,
    faults::{self, Fault},
    provider::{Provider, field, reply},
};

pub const NAMES: [&str; 3] = ["home", "lab", "work"];

/// Parts of a life; each ends with everything well again, and held against the oracle.
const CHAPTERS: usize = 6;

/// Turns of the loop in one chapter: more is a busy loop.
const MAX_TURNS: usize = 20_000;

/// How long an outage may be felt after it is over: the longest backoff with its jitter, and two requests.
const RECOVERY: Duration = Duration::from_secs(40 * 60);

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
    Losing,
}

/// What the world knows of an account.
#[derive(Default)]
pub struct View {
    /// The grant whose tokens the daemon got last.
    pub active: Option<usize>,
    /// Somebody asked for an authorization although there may be a token.
    pub explicit: bool,
    pub url: Option<String>,
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
    pub shown: Vec<(ConnId, bool)>,
    pub dump: Option<String>,
    pub violations: Vec<String>,
    pub traced: bool,
}

pub fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
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
        world.violations.append(&mut world.provider.violations);
        world.violations
    }

    fn is_clean(&self) -> bool {
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
        self.queue.retain(|_, happening| matches!(happening, Happening::Life(_)));
        self.save_failing = false;
        self.store_read = false;
        self.stopping = None;
        self.exited = None;
        self.started = self.now.time;
        for view in self.views.values_mut() {
            (view.explicit, view.url, view.approving) = (false, None, false);
        }
        let seed = self.chance.below(u64::MAX);
        self.engine = Engine::new(config(&self.views), bound(self.port), random(seed));
        self.event(Event::Started);
    }

    fn plan_chapter(&mut self) {
        self.calm = false;
        let hours = 1 + self.chance.below(30);
        let end = self.now.time + secs(hours * 3600);
        for _ in 0..40 {
            let life = match self.chance.below(100) {
                0..60 => Life::Client,
                60..65 => Life::Reload,
                65..69 => Life::Crash,
                69..72 => Life::Shutdown,
                72..77 => Life::Suspend,
                77..80 => Life::ClockStep,
                80 => Life::TakeBack,
                81..88 => Life::Network(Network::Up),
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

    /// Lets everything become well, and holds it against what the provider knows.
    fn settle(&mut self) {
        self.calm = true;
        self.network = Network::Up;
        self.queue.retain(|_, happening| !matches!(happening, Happening::Life(_)));
        if self.stopping.is_some() {
            self.run_until(self.now.time + secs(21));
        }
        self.run_until(self.now.time + secs(120));
        let good: Vec<&str> = NAMES.into_iter().filter(|name| self.good_grant(name).is_some()).collect();
        self.shown.clear();
        for name in &good {
            self.ask(Request::Show(show(name, Some(RECOVERY.as_secs()))), RECOVERY + secs(1), None);
        }
        self.run_until(self.now.time + RECOVERY + secs(2));
        let got = self.shown.iter().filter(|(_, token)| *token).count();
        let still_good = good.iter().filter(|name| self.good_grant(name).is_some()).count();
        if self.is_clean() && got < still_good {
            self.wrong(format!("only {got} of {good:?} came back after the outage"));
        }
        self.ask(Request::Dump, secs(1), None);
        let dump = self.dump.take().unwrap_or_default();
        self.check_held("the daemon", &dump);
        if self.store_read && self.hooks.values().all(|run| run.hook != Hook::Persist) {
            self.check_held("the store", &self.stored.clone());
        }
    }

    /// The refresh tokens in a dump must be those that the provider honours.
    fn check_held(&mut self, place: &str, dump: &str) {
        for name in NAMES {
            let in_flight = self.calls.values().any(|call| call.account == name);
            let Some(grant) = self.good_grant(name).filter(|_| !in_flight) else { continue };
            let current = self.provider.grants[grant].current.clone();
            if !holds(dump, &current) {
                self.wrong(format!("{place} has forgotten {current} of {name}"));
            }
        }
    }

    /// The grant that the daemon has to keep.
    fn good_grant(&self, name: &str) -> Option<usize> {
        let place = self.views.get(name)?.active?;
        let grant = &self.provider.grants[place];
        (!grant.ended && !grant.excused).then_some(place)
    }

    pub fn later(&mut self, after: Duration, happening: Happening) {
        self.sequence += 1;
        self.queue.insert((self.now.time + after, self.sequence), happening);
    }

    fn run_until(&mut self, end: Time) {
        for _ in 0..MAX_TURNS {
            if !self.is_clean() {
                return;
            }
            let deadline = self.engine.poll_timeout().map(|(at, _)| at);
            let deadline = deadline.filter(|_| self.fault != Some(Fault::SleepThroughDeadlines));
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

    /// Everybody must have an answer by now who was promised one.
    fn check_patience(&mut self) {
        let late = |(_, until): &(&ConnId, Time)| *until < self.now.time;
        let client = self.clients.iter().map(|(conn, (until, _))| (conn, *until)).find(late).map(|(conn, _)| *conn);
        let page = self.pages.iter().map(|(conn, until)| (conn, *until)).find(late).map(|(conn, _)| *conn);
        if client.is_some() || page.is_some() {
            self.wrong(format!("still waiting: client {client:?}, page {page:?}"));
        }
        if self.stopping.is_some_and(|until| until < self.now.time) {
            self.wrong("the shutdown does not end".to_owned());
        }
    }

    fn call(&mut self, ticket: Ticket, call: &Call) {
        let client_id = field(call, "client_id").unwrap_or_default();
        let account = client_id.split('.').next().unwrap_or_default().to_owned();
        self.calls.insert(ticket, InFlight { account, since: self.now.time, abandoned: false });
        let soon = secs(self.chance.below(4));
        let mut after = soon;
        let mut grant = None;
        let broken = |stage| Err(Broken { stage, detail: "no answer".to_owned() });
        let outcome = match self.network {
            Network::Down => broken([Stage::Resolve, Stage::Connect, Stage::Tls][self.chance.below(3) as usize]),
            Network::Failing => Ok(reply(503, "")),
            Network::Limited => {
                let retry_after = Some((60 + self.chance.below(600)).to_string());
                Ok(Reply { retry_after, ..reply(429, "") })
            }
            Network::Portal => Ok(reply(200, "<html>log in to the network")),
            Network::Up | Network::Losing => {
                let answer = self.provider.handle(call, self.now.time);
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
            let late = self.now.time.since(call.since) > secs(31);
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
        let account = run.env.iter().find(|(name, _)| *name == "PIZAUTH_ACCOUNT").map(|(_, value)| value.expose());
        if let (Hook::AuthNotify, Some(account)) = (run.hook, account.cloned()) {
            let url = run.env.iter().find(|(name, _)| *name == "PIZAUTH_URL").map(|(_, value)| value.expose().clone());
            self.invite(&account, url);
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
                let stdout = if run.hook == Hook::Restore { self.stored.clone() } else { String::new() };
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

    /// The process has ended: what it leaves must be what the provider honours, where nothing was in between.
    pub fn check_exit(&mut self, reason: ExitReason) {
        let saving = self.hooks.values().any(|run| run.hook == Hook::Persist);
        let unsaved = saving || self.save_failing || !self.store_read;
        let in_flight: Vec<String> = self.calls.values().map(|call| call.account.clone()).collect();
        for name in NAMES {
            let Some(place) = self.good_grant(name) else { continue };
            let current = self.provider.grants[place].current.clone();
            if in_flight.iter().any(|account| account == name) {
                self.provider.grants[place].excused = true;
            } else if !holds(&self.stored, &current) {
                self.provider.grants[place].excused = true;
                if !unsaved || reason == ExitReason::Asked {
                    self.wrong(format!("{current} of {name} was not saved at the end ({reason:?})"));
                }
            }
        }
        // What was let go may be in the store still, as it was before.
        for place in 0..self.provider.grants.len() {
            let kept = self.views.values().any(|view| view.active == Some(place));
            self.provider.grants[place].excused |= !kept;
        }
        // Grants that were given while their answers were under way were never seen.
        let never_seen: Vec<usize> = self
            .queue
            .values()
            .filter_map(|happening| match happening {
                Happening::Answer { grant, .. } => grant.map(|(place, _)| place),
                _ => None,
            })
            .collect();
        for place in never_seen {
            self.provider.grants[place].excused = true;
        }
    }

    fn must_not_be_asked(&mut self, account: &str) {
        if self.good_grant(account).is_some() {
            self.wrong(format!("the user of {account} is asked although the grant is good"));
        }
    }

    fn invite(&mut self, account: &str, url: Option<String>) {
        let view = self.views.get_mut(account).expect("an account");
        view.url = url;
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
                if let Notice::Authorize { url } = notice {
                    let account = NAMES.into_iter().find(|name| url.contains(&format!("client_id={name}.")));
                    self.invite(account.unwrap_or_default(), Some(url.clone()));
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
            Response::Failed { .. } | Response::Done { .. } | Response::Status(_) | Response::Info(_) => {}
        }
    }
}

pub fn show(account: &str, wait: Option<u64>) -> Show {
    Show { account: account.to_owned(), wait, min_life: None, urls: true, git_host: None }
}

/// Whether a dump holds a refresh token.
fn holds(dump: &str, refresh_token: &str) -> bool {
    let saved = dump::read(dump.as_bytes()).unwrap_or_default();
    let mut refresh_tokens = saved.iter().filter_map(|saved| saved.refresh_token.as_ref());
    refresh_tokens.any(|saved| saved.expose() == refresh_token)
}

fn random(seed: u64) -> pizauth::engine::Random {
    let mut chance = Chance::new(seed);
    Box::new(move |bytes| bytes.fill_with(|| chance.below(256) as u8))
}

pub fn bound(http: u16) -> Bound {
    Bound { ports: Ports { http: Some(http), https: None }, ..Bound::default() }
}

pub fn config(views: &BTreeMap<&'static str, View>) -> Config {
    let mut text = "persist_cmd = \"persist\"; restore_cmd = \"restore\"; auth_notify_cmd = \"notify\";
        token_event_cmd = \"event\"; error_notify_cmd = \"error\";\n"
        .to_owned();
    for (name, view) in views {
        text.push_str(&format!(
            "account \"{name}\" {{ auth_uri = \"https://a.example/auth\"; token_uri = \"https://a.example/token\";
               revocation_uri = \"https://a.example/revoke\"; client_id = \"{name}.{}\"; }}\n",
            view.form
        ));
    }
    config::parse(&text).expect("a configuration of our own")
}
