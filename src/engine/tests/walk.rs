//! A random walk: every event in any order, with lost and late answers, clock steps and reloads, and after each step
//! everything that must always hold.
//!
//! `PIZAUTH_WALK_EVENTS` makes it longer, `PIZAUTH_WALK_SEED` repeats one.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    invariants::{Held, check},
    sim::{account, bound, command_account, config, device_account, random, reply, secs, tokens, userless_account},
};
use crate::{
    config::{Account, Config},
    engine::{
        ChildEnd, ConnId, Effect, Engine, Event, Hook, Now, Page, Run, Staging, Ticket, Time, WallTime,
        account::Browser, persistence::Load,
    },
    oauth::{
        Broken, Call, Reply, Stage,
        authorization::{RedirectHead, Scheme},
    },
    proto::{Request, Response, Show},
    secret::Secret,
};

/// Events of a walk in the normal run of the tests.
const EVENTS: u64 = 200_000;

/// Events after which another walk begins, with another seed.
const EVENTS_PER_WALK: u64 = 5_000;

/// Most effects of one event.
const MAX_EFFECTS: usize = 10_000;

/// What a walk must have seen, so that it is known to reach every corner.
const TRANSITIONS: [&str; 33] = [
    "browser closed -> requested",
    "browser requested -> closed",
    "browser closed -> exchanging",
    "browser exchanging -> closed",
    "device closed -> asking",
    "device asking -> polling",
    "device asking -> asking",
    "device asking -> closed",
    "device closed -> polling",
    "device polling -> closed",
    "device closed -> held",
    "device held -> asking",
    "device held -> closed",
    "renewal unable -> due",
    "renewal unable -> in flight",
    "renewal due -> in flight",
    "renewal due -> unable",
    "renewal in flight -> due",
    "renewal in flight -> held",
    "renewal in flight -> unable",
    "renewal held -> in flight",
    "renewal held -> unable",
    "restore off -> restoring",
    "restore restoring -> done",
    "restore restoring -> sealed",
    "restore sealed -> restoring",
    "restore sealed -> done",
    "restore sealed -> off",
    "save off -> dirty",
    "save clean -> dirty",
    "save dirty -> saving",
    "save saving -> clean",
    "save saving -> dirty",
];

pub struct World {
    pub engine: Engine,
    pub now: Now,
    seed: u64,
    config: Config,
    port: u16,
    pub calls: BTreeMap<Ticket, Call>,
    pub runs: BTreeMap<Ticket, Run>,
    stages: Vec<Ticket>,
    /// Who asked and was not answered.
    pub asked: BTreeSet<ConnId>,
    /// Browsers whose page was opened and not closed.
    pub open_pages: BTreeSet<ConnId>,
    /// When each access token ends.
    ends: BTreeMap<String, Time>,
    /// Codes that were written to the endpoint, or may have been.
    spent: BTreeSet<String>,
    stored: String,
    last: u64,
    tokens: u32,
    exited: bool,
    /// Every transition that was logged.
    transitions: BTreeSet<String>,
}

#[test]
fn a_random_walk_breaks_no_promise() {
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let events = number("PIZAUTH_WALK_EVENTS").unwrap_or(EVENTS);
    let walks = events.div_ceil(EVENTS_PER_WALK);
    let seeds = match number("PIZAUTH_WALK_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..walks + 1,
    };
    let whole = seeds.clone().count() as u64 >= EVENTS / EVENTS_PER_WALK;
    let mut transitions = BTreeSet::new();
    for seed in seeds {
        println!("PIZAUTH_WALK_SEED={seed}");
        let mut world = World::new(seed);
        for _ in 0..EVENTS_PER_WALK {
            world.step();
        }
        transitions.append(&mut world.transitions);
    }
    let missed: Vec<_> = TRANSITIONS.iter().filter(|transition| !transitions.contains(**transition)).collect();
    assert!(!whole || missed.is_empty(), "the walk does not reach {missed:?}");
}

fn accounts() -> Vec<Account> {
    let mut accounts = vec![
        account("browser"),
        command_account("command"),
        device_account("device"),
        Account { device_auth_uri: Some("https://a.example/device".to_owned()), ..account("either") },
        Account { token_uri: "https://b.example/token".to_owned(), revocation_uri: None, ..account("other") },
        userless_account("userless"),
    ];
    accounts.sort_by(|a, b| a.name.cmp(&b.name));
    accounts
}

fn full_config() -> Config {
    let command = |name: &str| Some(name.to_owned());
    Config {
        auth_notify_cmd: command("notify"),
        error_notify_cmd: command("error"),
        persist_cmd: command("persist"),
        restore_cmd: command("restore"),
        startup_cmd: command("startup"),
        token_event_cmd: command("event"),
        transient_error_if_cmd: command("judge"),
        ..config(accounts())
    }
}

impl World {
    fn new(seed: u64) -> World {
        let now = Now { time: Time::new(secs(20)), wall: WallTime::from_secs(1_795_424_700) };
        let config = full_config();
        let mut world = World {
            engine: Engine::new(config.clone(), bound(1000), Box::new(random(seed))),
            now,
            seed: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            config,
            port: 1000,
            calls: BTreeMap::new(),
            runs: BTreeMap::new(),
            stages: Vec::new(),
            asked: BTreeSet::new(),
            open_pages: BTreeSet::new(),
            ends: BTreeMap::new(),
            spent: BTreeSet::new(),
            stored: String::new(),
            last: 0,
            tokens: 0,
            exited: false,
            transitions: BTreeSet::new(),
        };
        world.event(Event::Started);
        world
    }

    /// A number below `end`.
    fn below(&mut self, end: usize) -> usize {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        (self.seed >> 11) as usize % end.max(1)
    }

    fn pick<T: Clone>(&mut self, items: &[T]) -> Option<T> {
        let place = self.below(items.len());
        items.get(place).cloned()
    }

    fn conn(&mut self) -> ConnId {
        self.last += 1;
        ConnId(self.last)
    }

    fn step(&mut self) {
        match self.below(100) {
            0..30 => self.ask(),
            30..36 => self.browse(),
            36..62 => self.answer(),
            62..78 => self.end_hook(),
            78..80 => self.leave(),
            80..83 => self.stage(),
            83..99 => self.pass_time(),
            _ => self.upset(),
        }
        if self.exited {
            self.restart();
        }
    }

    fn ask(&mut self) {
        let names: Vec<String> = self.config.accounts.iter().map(|account| account.name.clone()).collect();
        let account = if self.below(20) == 0 { "nobody".to_owned() } else { self.pick(&names).unwrap_or_default() };
        let wait = [None, Some(0), Some(7), Some(300), Some(u64::MAX)][self.below(5)];
        let request = match self.below(24) {
            0..9 => {
                let min_life = [None, None, Some(10), Some(5000)][self.below(4)];
                Request::Show(Show { account, wait, min_life, urls: true, git_host: None })
            }
            9..13 => Request::Refresh { account, wait, urls: false },
            13..17 => Request::Auth { account, wait, urls: true },
            17 => {
                let state = self.state().unwrap_or_default();
                Request::Paste { account, text: format!("code=code-{state}&state={state}").into() }
            }
            18 => Request::Revoke { account, local: self.below(2) == 0 },
            19 => Request::Status { accounts: Vec::new(), urls: true },
            20 => Request::Reload,
            21 => Request::Dump,
            22 => {
                let dump = [String::new(), "garbage".to_owned(), self.stored.clone()][self.below(3)].clone();
                Request::Restore { dump: dump.into() }
            }
            _ if self.below(30) == 0 => Request::Shutdown,
            _ => Request::Info,
        };
        let conn = self.conn();
        self.asked.insert(conn);
        self.event(Event::Request { conn, request });
    }

    /// The state of some open or closed authorization.
    fn state(&mut self) -> Option<String> {
        let states = self.engine.accounts.iter().filter_map(|account| match account.browser() {
            Browser::Requested(request) => Some(request.state.expose().clone()),
            Browser::Exchanging(exchanging) => Some(exchanging.request.state.expose().clone()),
            Browser::Closed => None,
        });
        let states = states.collect::<Vec<_>>();
        self.pick(&states)
    }

    fn browse(&mut self) {
        let state = self.state().unwrap_or_else(|| "unknown".to_owned());
        let target = match self.below(6) {
            0 => "/favicon.ico".to_owned(),
            1 => format!("/?error=access_denied&state={state}"),
            _ => format!("/?code=code-{state}&state={state}"),
        };
        let hosts = vec![format!("localhost:{}", self.port)];
        let head = RedirectHead { scheme: Scheme::Http, method: "GET".to_owned(), target, hosts, prefetch: false };
        let conn = self.conn();
        self.event(Event::Redirect { conn, head });
    }

    fn answer(&mut self) {
        let tickets: Vec<Ticket> = self.calls.keys().copied().collect();
        let Some(ticket) = self.pick(&tickets) else { return };
        let Some(call) = self.calls.remove(&ticket) else { return };
        let outcome = self.outcome(&call);
        if let (Some(code), false) = (field(&call, "code"), outcome.as_ref().is_err_and(Broken::nothing_was_written)) {
            self.spent.insert(code);
        }
        let replaced = field(&call, "refresh_token").filter(|_| {
            let brings_another = outcome.as_ref().is_ok_and(|reply| brings_refresh_token(&reply.body));
            brings_another && !self.exited && self.engine.calls.is_wanted(ticket)
        });
        self.event(Event::Answer { ticket, outcome });
        if let Some(old) = replaced {
            assert!(!Held::of(&self.engine).holds(&old), "{old} is kept, though another took its place");
        }
    }

    fn outcome(&mut self, call: &Call) -> Result<Reply, Broken> {
        if self.below(5) == 0 {
            let stages = [Stage::NotStarted, Stage::Resolve, Stage::Connect, Stage::Tls, Stage::Sent];
            let stage = stages[self.below(stages.len())];
            return Err(Broken { stage, detail: "broken".to_owned() });
        }
        if call.uri.ends_with("/device") && self.below(3) != 0 {
            return Ok(reply(
                200,
                r#"{"device_code":"d","user_code":"U","verification_uri":"https://a.example/","expires_in":60}"#,
            ));
        }
        if call.uri.ends_with("/revoke") && self.below(3) != 0 {
            return Ok(reply(200, ""));
        }
        let error = |error: &str| reply(400, &format!(r#"{{"error":"{error}"}}"#));
        Ok(match self.below(16) {
            0 => error("invalid_grant"),
            1 => error("invalid_client"),
            2 => error("slow_down"),
            3 => error("authorization_pending"),
            4 => reply(503, ""),
            5 => Reply { retry_after: Some("100".to_owned()), ..reply(429, "") },
            6 => reply(200, "<html>"),
            7 => self.issue(r#"{"access_token":"a b","refresh_token":"REFRESH"}"#, 0),
            8 => self.issue(r#"{"access_token":"ACCESS","expires_in":30}"#, 30),
            9 => error("access_denied"),
            _ => {
                let life = [1, 30, 100, 3600][self.below(4)];
                self.tokens += 1;
                self.ends.insert(format!("access-{}", self.tokens), self.now.time + secs(life));
                reply(200, &tokens(self.tokens, life))
            }
        })
    }

    fn issue(&mut self, body: &str, life: u64) -> Reply {
        self.tokens += 1;
        let access = format!("access-{}", self.tokens);
        let body = body.replace("ACCESS", &access).replace("REFRESH", &format!("refresh-{}", self.tokens));
        self.ends.insert(access, self.now.time + secs(life));
        reply(200, &body)
    }

    fn end_hook(&mut self) {
        let tickets: Vec<Ticket> = self.runs.keys().copied().collect();
        let Some(ticket) = self.pick(&tickets) else { return };
        let Some(run) = self.runs.remove(&ticket) else { return };
        let end = match self.below(8) {
            0 => ChildEnd::Killed,
            1 => ChildEnd::NotStarted("no fork".to_owned()),
            2 => ChildEnd::TooMuch,
            3 => ChildEnd::Exited { status: 1, stdout: Secret::default() },
            _ => {
                let stdout = match run.hook {
                    Hook::Restore => self.stored.clone(),
                    Hook::ClientSecret => "secret\n".to_owned(),
                    _ => String::new(),
                };
                if let (Hook::Persist, Some(stdin)) = (run.hook, &run.stdin) {
                    self.stored = stdin.expose().clone();
                }
                ChildEnd::Exited { status: 0, stdout: Secret::new(stdout.into_bytes()) }
            }
        };
        self.event(Event::Exited { ticket, end });
    }

    fn leave(&mut self) {
        let everybody: Vec<ConnId> = self.asked.iter().chain(&self.open_pages).copied().collect();
        let Some(conn) = self.pick(&everybody) else { return };
        self.asked.remove(&conn);
        self.open_pages.remove(&conn);
        self.event(Event::Gone { conn });
    }

    fn stage(&mut self) {
        if self.stages.is_empty() {
            return;
        }
        let ticket = self.stages.remove(0);
        let mut config = full_config();
        match self.below(9) {
            0 => {
                let result = Err(vec!["wrong".to_owned()]);
                return self.event(Event::Staged { ticket, result });
            }
            1 => config.accounts[0].client_id.push('x'),
            2 => drop(config.accounts.remove(1)),
            3 => config.persist_cmd = None,
            4 => config.restore_cmd = None,
            5 => config.auth_notify_cmd = Some("another".to_owned()),
            6 => config.accounts.iter_mut().for_each(|account| account.refresh_retry = secs(0)),
            7 => self.port += 1,
            _ => {}
        }
        self.config = config.clone();
        let bound = bound(self.port);
        self.event(Event::Staged { ticket, result: Ok(Box::new(Staging { config, bound })) });
    }

    fn pass_time(&mut self) {
        let pause = match self.below(10) {
            0..6 => {
                let Some((at, _)) = self.engine.poll_timeout() else { return };
                at.since(self.now.time).min(secs(100_000_000))
            }
            6 | 7 => secs(self.below(30) as u64),
            8 => secs(self.below(4000) as u64),
            _ => secs(self.below(1_000_000) as u64),
        };
        self.now = Now { time: self.now.time + pause, wall: self.now.wall + pause };
        let held = Held::of(&self.engine);
        self.engine.handle_timeout(self.now);
        self.drain();
        check(self, held, None);
    }

    /// What seldom happens: signals, crashes, clock steps, answers to nobody.
    fn upset(&mut self) {
        match self.below(12) {
            0 => self.event(Event::Shutdown),
            1 => self.exited = true,
            2 | 3 => {
                let step = secs(self.below(10_000_000) as u64);
                let forward = self.below(2) == 0;
                self.now.wall = if forward { self.now.wall + step } else { self.now.wall - step };
                // What is restored from now on may live a little longer, or shorter, than it should.
                self.ends.clear();
            }
            4 => self.event(Event::Answer { ticket: Ticket(u64::MAX), outcome: Ok(reply(200, &tokens(0, 60))) }),
            5 => self.event(Event::Exited { ticket: Ticket(u64::MAX), end: ChildEnd::Killed }),
            _ => self.event(Event::Hangup),
        }
    }

    /// Another process begins where the last one ended, or crashed.
    fn restart(&mut self) {
        self.calls.clear();
        self.runs.clear();
        self.stages.clear();
        self.asked.clear();
        self.open_pages.clear();
        self.spent.clear();
        self.exited = false;
        self.config = full_config();
        let seed = self.seed;
        self.engine = Engine::new(self.config.clone(), bound(self.port), Box::new(random(seed)));
        self.event(Event::Started);
    }

    fn event(&mut self, event: Event) {
        let held = Held::of(&self.engine);
        let text = format!("{event:?}");
        self.engine.handle_event(event, self.now);
        self.drain();
        check(self, held, Some(&text));
    }

    fn drain(&mut self) {
        for _ in 0..MAX_EFFECTS {
            let Some(effect) = self.engine.poll_effect() else { return };
            self.perform(effect);
        }
        panic!("effects without end");
    }

    fn perform(&mut self, effect: Effect) {
        assert!(!self.exited, "after the exit: {effect:?}");
        match effect {
            Effect::Notice { conn, .. } => assert!(self.asked.contains(&conn), "a notice to nobody"),
            Effect::Respond { conn, response } => {
                assert!(self.asked.remove(&conn), "an answer to nobody: {response:?}");
                if let Response::Token(token) = response {
                    let end = self.ends.get(token.access_token.expose());
                    assert!(end.is_none_or(|end| self.now.time < *end), "a dead token was shown");
                    assert!(token.expires_at > self.now.wall, "a dead token was shown");
                }
            }
            Effect::Page { conn, page } => match page {
                Page::Opening => assert!(self.open_pages.insert(conn)),
                Page::Outcome(_) => assert!(self.open_pages.remove(&conn), "an outcome for nobody"),
                Page::Refusal { .. } => assert!(!self.open_pages.contains(&conn)),
            },
            Effect::Call { ticket, call } => {
                if let Some(code) = field(&call, "code") {
                    assert!(!self.spent.contains(&code), "a code was sent twice");
                    assert!(self.calls.values().all(|other| field(other, "code").as_ref() != Some(&code)));
                }
                self.calls.insert(ticket, call);
            }
            Effect::Run { ticket, run } => {
                let sealed = matches!(self.engine.load, Load::Sealed { .. } | Load::Restoring { .. });
                assert!(run.hook != Hook::Persist || !sealed, "a sealed store was written over");
                self.runs.insert(ticket, run);
            }
            Effect::Stage { ticket } => self.stages.push(ticket),
            Effect::Kill { .. } | Effect::Adopt { .. } | Effect::Discard { .. } => {}
            Effect::Log { line, .. } if line.contains(" -> ") => {
                let transition = line.split_once(": ").map_or(line.as_str(), |(_, transition)| transition);
                self.transitions.insert(transition.to_owned());
            }
            Effect::Notify(_) | Effect::Log { .. } => {}
            Effect::Exit(_) => {
                assert!(self.asked.is_empty(), "not answered at the exit: {:?}", self.asked);
                assert!(self.open_pages.is_empty(), "pages left open at the exit");
                self.exited = true;
            }
        }
    }
}

/// Whether an answer has a new refresh token.
fn brings_refresh_token(body: &Secret<Vec<u8>>) -> bool {
    String::from_utf8_lossy(body.expose()).contains("\"refresh_token\":\"refresh-")
}

/// A field of a call's form.
pub fn field(call: &Call, name: &str) -> Option<String> {
    let body = call.body.as_ref()?.expose();
    body.split('&').find_map(|field| field.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
}
