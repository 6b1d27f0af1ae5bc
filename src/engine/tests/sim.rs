//! An engine, the clocks, and everything that the engine has asked of a world that is nothing but this list.
//!
//! Time passes only by `sleep`, which hops along the engine's deadlines, and by `suspend`, which does not.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    config::{Account, ClientAuth, ClientSecret, Config, Grant, Listen},
    engine::{
        Bound, ChildEnd, ConnId, Effect, Engine, Event, ExitReason, Hook, Level, Now, Page, Readiness, Run, Staging,
        Ticket, Time, WallTime,
    },
    oauth::{
        Broken, Call, Ports, Reply, Stage,
        authorization::{RedirectHead, Scheme},
    },
    proto::{self, AccountStatus, Notice, Reason, Request, Response},
    secret::Secret,
};

/// Most hops in one `sleep`: more means that a deadline does not go away.
const MAX_HOPS: usize = 100_000;

/// 2026-11-23 09:05:00 UTC.
const WALL: u64 = 1_795_424_700;

pub struct Sim {
    pub engine: Engine,
    pub now: Now,
    pub responses: BTreeMap<ConnId, Response>,
    pub notices: Vec<(ConnId, Notice)>,
    pub pages: Vec<(ConnId, Page)>,
    /// Calls that were not answered.
    pub calls: BTreeMap<Ticket, Call>,
    /// How many calls were made.
    pub called: usize,
    /// Hooks that have not ended.
    pub runs: BTreeMap<Ticket, Run>,
    /// Every hook that was started.
    pub started: Vec<Hook>,
    pub killed: Vec<Ticket>,
    pub stages: Vec<Ticket>,
    pub adopted: Vec<Ticket>,
    pub discarded: Vec<Ticket>,
    pub readiness: Vec<Readiness>,
    pub logs: Vec<(Level, String)>,
    pub exit: Option<ExitReason>,
    last_conn: u64,
}

/// Ten minutes, hours and so on are written `secs(600)`.
pub const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// An account of the authorization code grant, with a revocation endpoint.
pub fn account(name: &str) -> Account {
    Account {
        name: name.to_owned(),
        assume_expires_in: secs(3600),
        auth_uri: Some("https://a.example/auth".to_owned()),
        auth_uri_fields: Vec::new(),
        client_auth: ClientAuth::Post,
        client_id: "id".to_owned(),
        client_secret: ClientSecret::None,
        device_auth_uri: None,
        git_hosts: Vec::new(),
        grant: Grant::AuthorizationCode,
        issuer: None,
        login_hint: None,
        redirect_uri: "http://localhost/".to_owned(),
        refresh_at_least: secs(5400),
        refresh_before_expiry: secs(90),
        refresh_retry: secs(40),
        revocation_uri: Some("https://a.example/revoke".to_owned()),
        scopes: vec!["mail".to_owned()],
        token_uri: "https://a.example/token".to_owned(),
        token_uri_fields: Vec::new(),
        token_uri_headers: Vec::new(),
        user: None,
    }
}

/// An account of the device grant.
pub fn device_account(name: &str) -> Account {
    Account {
        grant: Grant::DeviceCode,
        auth_uri: None,
        device_auth_uri: Some("https://a.example/device".to_owned()),
        ..account(name)
    }
}

/// An account without a user.
pub fn userless_account(name: &str) -> Account {
    Account { grant: Grant::ClientCredentials, auth_uri: None, ..account(name) }
}

/// An account whose secret a command prints.
pub fn command_account(name: &str) -> Account {
    Account { client_secret: ClientSecret::Command("print-secret".to_owned()), ..account(name) }
}

pub fn config(accounts: Vec<Account>) -> Config {
    Config {
        accounts,
        auth_notify_cmd: None,
        auth_notify_interval: secs(900),
        ca_file: None,
        error_notify_cmd: None,
        http_listen: Listen::Default,
        https_cert: None,
        https_key: None,
        https_listen: Listen::Default,
        persist_cmd: None,
        restore_cmd: None,
        startup_cmd: None,
        token_event_cmd: None,
        transient_error_if_cmd: None,
    }
}

pub fn bound(http: u16) -> Bound {
    Bound { ports: Ports { http: Some(http), https: None }, ..Bound::default() }
}

/// Unpredictable enough, and the same in every run.
pub fn random(mut seed: u64) -> impl FnMut(&mut [u8]) {
    move |bytes| {
        for byte in bytes {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (seed >> 56) as u8;
        }
    }
}

/// A token answer; the access token ends in `number`, and so does the refresh token.
pub fn tokens(number: u32, expires_in: u64) -> String {
    format!(
        r#"{{"access_token":"access-{number}","refresh_token":"refresh-{number}","token_type":"bearer",
            "expires_in":{expires_in},"scope":"mail"}}"#
    )
}

pub fn reply(status: u16, body: &str) -> Reply {
    Reply { status, body: Secret::new(body.as_bytes().to_vec()), ..Reply::default() }
}

impl Sim {
    /// An engine that was started with these accounts and no command.
    pub fn new(accounts: Vec<Account>) -> Sim {
        Sim::start(config(accounts))
    }

    pub fn start(config: Config) -> Sim {
        let now = Now { time: Time::new(secs(50)), wall: WallTime::from_secs(WALL) };
        Sim::start_at(config, now)
    }

    pub fn start_at(config: Config, now: Now) -> Sim {
        let mut sim = Sim {
            engine: Engine::new(config, bound(1234), Box::new(random(7))),
            now,
            responses: BTreeMap::new(),
            notices: Vec::new(),
            pages: Vec::new(),
            calls: BTreeMap::new(),
            called: 0,
            runs: BTreeMap::new(),
            started: Vec::new(),
            killed: Vec::new(),
            stages: Vec::new(),
            adopted: Vec::new(),
            discarded: Vec::new(),
            readiness: Vec::new(),
            logs: Vec::new(),
            exit: None,
            last_conn: 0,
        };
        sim.event(Event::Started);
        sim
    }

    /// An account "work" with tokens number 1, good for an hour.
    pub fn authorized() -> Sim {
        Sim::authorized_with(config(vec![account("work")]))
    }

    /// The first account has tokens number 1, good for an hour.
    pub fn authorized_with(config: Config) -> Sim {
        let name = config.accounts[0].name.clone();
        let mut sim = Sim::start(config);
        sim.authorize(&name, &tokens(1, 3600));
        sim
    }

    /// Feeds one event and takes every effect.
    pub fn event(&mut self, event: Event) {
        self.engine.handle_event(event, self.now);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(effect) = self.engine.poll_effect() {
            self.perform(effect);
        }
        if let Some((at, what)) = self.engine.poll_timeout() {
            assert!(at > self.now.time, "a deadline in the past stays: {what}");
        }
    }

    fn perform(&mut self, effect: Effect) {
        assert!(self.exit.is_none(), "an effect after the exit: {effect:?}");
        match effect {
            Effect::Notice { conn, notice } => self.notices.push((conn, notice)),
            Effect::Respond { conn, response } => {
                let earlier = self.responses.insert(conn, response);
                assert!(earlier.is_none(), "{conn:?} was answered twice");
            }
            Effect::Page { conn, page } => self.pages.push((conn, page)),
            Effect::Call { ticket, call } => {
                self.called += 1;
                self.calls.insert(ticket, call);
            }
            Effect::Run { ticket, run } => {
                self.started.push(run.hook);
                self.runs.insert(ticket, run);
            }
            Effect::Kill { ticket } => self.killed.push(ticket),
            Effect::Stage { ticket } => self.stages.push(ticket),
            Effect::Adopt { ticket } => self.adopted.push(ticket),
            Effect::Discard { ticket } => self.discarded.push(ticket),
            Effect::Notify(readiness) => self.readiness.push(readiness),
            Effect::Log { level, line } => {
                assert!(!line.contains('\n'), "{line}");
                self.logs.push((level, line));
            }
            Effect::Exit(reason) => self.exit = Some(reason),
        }
    }

    /// Lets time pass, and the engine do what is due in it.
    pub fn sleep(&mut self, duration: Duration) {
        let end = self.now.time + duration;
        for _ in 0..MAX_HOPS {
            let next = self.engine.poll_timeout().map_or(end, |(at, _)| at.min(end));
            self.pass(next.since(self.now.time));
            self.engine.handle_timeout(self.now);
            self.drain();
            if self.now.time == end {
                return;
            }
        }
        panic!("deadlines without end: {:?}", self.engine.poll_timeout());
    }

    /// Lets time pass behind the engine's back, as a suspended machine does.
    pub fn suspend(&mut self, duration: Duration) {
        self.pass(duration);
    }

    fn pass(&mut self, duration: Duration) {
        self.now = Now { time: self.now.time + duration, wall: self.now.wall + duration };
    }

    pub fn conn(&mut self) -> ConnId {
        self.last_conn += 1;
        ConnId(self.last_conn)
    }

    pub fn request(&mut self, request: Request) -> ConnId {
        let conn = self.conn();
        self.event(Event::Request { conn, request });
        conn
    }

    /// `pizauth show`
    pub fn show(&mut self, account: &str) -> ConnId {
        self.show_with(account, None, None)
    }

    /// `pizauth show -w`
    pub fn show_waiting(&mut self, account: &str, wait: u64) -> ConnId {
        self.show_with(account, Some(wait), None)
    }

    /// `pizauth show -w -t`
    pub fn show_with(&mut self, account: &str, wait: Option<u64>, min_life: Option<u64>) -> ConnId {
        self.request(Request::Show(proto::Show {
            account: account.to_owned(),
            wait,
            min_life,
            urls: true,
            git_host: None,
        }))
    }

    pub fn auth(&mut self, account: &str, wait: Option<u64>) -> ConnId {
        self.request(Request::Auth { account: account.to_owned(), wait, urls: true })
    }

    pub fn refresh(&mut self, account: &str, wait: Option<u64>) -> ConnId {
        self.request(Request::Refresh { account: account.to_owned(), wait, urls: true })
    }

    pub fn revoke(&mut self, account: &str) -> ConnId {
        self.request(Request::Revoke { account: account.to_owned(), local: false })
    }

    pub fn is_waiting(&self, conn: ConnId) -> bool {
        !self.responses.contains_key(&conn)
    }

    /// The access token that a `show` got.
    pub fn token(&self, conn: ConnId) -> &str {
        match self.responses.get(&conn) {
            Some(Response::Token(token)) => token.access_token.expose(),
            other => panic!("no token: {other:?}"),
        }
    }

    /// Why a request was not done, and the message.
    pub fn failure(&self, conn: ConnId) -> (Reason, String) {
        match self.responses.get(&conn) {
            Some(Response::Failed { reason, messages }) => (*reason, messages.join("\n")),
            other => panic!("no failure: {other:?}"),
        }
    }

    pub fn reason(&self, conn: ConnId) -> Reason {
        self.failure(conn).0
    }

    /// What a request that was done brought besides.
    pub fn done(&self, conn: ConnId) -> &[String] {
        match self.responses.get(&conn) {
            Some(Response::Done { messages }) => messages,
            other => panic!("not done: {other:?}"),
        }
    }

    pub fn status(&mut self, account: &str) -> AccountStatus {
        let conn = self.request(Request::Status { accounts: vec![account.to_owned()], urls: true });
        match self.responses.get(&conn) {
            Some(Response::Status(status)) => status.accounts[0].clone(),
            other => panic!("no status: {other:?}"),
        }
    }

    pub fn persistence(&mut self) -> proto::PersistenceStatus {
        let conn = self.request(Request::Status { accounts: Vec::new(), urls: true });
        match self.responses.get(&conn) {
            Some(Response::Status(status)) => status.persistence.clone(),
            other => panic!("no status: {other:?}"),
        }
    }

    pub fn dump(&mut self) -> String {
        let conn = self.request(Request::Dump);
        match self.responses.get(&conn) {
            Some(Response::Dump { dump }) => dump.expose().clone(),
            other => panic!("no dump: {other:?}"),
        }
    }

    pub fn restore(&mut self, dump: &str) -> ConnId {
        self.request(Request::Restore { dump: Secret::from(dump) })
    }

    /// The URL of an account's open authorization.
    pub fn url(&mut self, account: &str) -> String {
        self.status(account).authorization_url.expect("an open authorization")
    }

    /// The `state` in an authorization URL.
    pub fn state(&mut self, account: &str) -> String {
        let url = self.url(account);
        url.split(['?', '&']).find_map(|field| field.strip_prefix("state=")).expect("a state").to_owned()
    }

    /// A browser asks the listener for `target`.
    pub fn browse(&mut self, target: &str) -> ConnId {
        let conn = self.conn();
        let port = self.engine.bound.ports.http.unwrap_or_default();
        let head = RedirectHead {
            scheme: Scheme::Http,
            method: "GET".to_owned(),
            target: target.to_owned(),
            hosts: vec![format!("localhost:{port}")],
            prefetch: false,
        };
        self.event(Event::Redirect { conn, head });
        conn
    }

    /// The user allows it, and the browser brings the code.
    pub fn allow(&mut self, account: &str) -> ConnId {
        let state = self.state(account);
        self.browse(&format!("/?code=the-code&state={state}"))
    }

    /// Asks for a token and goes all the way to it.
    pub fn authorize(&mut self, account: &str, answer: &str) {
        self.auth(account, None);
        self.allow(account);
        let ticket = self.call();
        self.answer(ticket, 200, answer);
    }

    /// The one call that is under way.
    pub fn call(&self) -> Ticket {
        assert_eq!(self.calls.len(), 1, "{:?}", self.calls);
        self.calls.keys().next().copied().expect("a call")
    }

    /// A field of a call's form.
    pub fn field(&self, ticket: Ticket, name: &str) -> Option<String> {
        let body = self.calls.get(&ticket)?.body.as_ref()?.expose().clone();
        let fields = body.split('&').map(str::to_owned);
        fields.filter_map(|field| field.strip_prefix(&format!("{name}=")).map(str::to_owned)).next()
    }

    /// What every call that is under way is for, by its `grant_type` or endpoint.
    pub fn purposes(&self) -> Vec<String> {
        let purpose = |ticket: &Ticket| {
            let uri = self.calls[ticket].uri.rsplit('/').next().unwrap_or_default().to_owned();
            self.field(*ticket, "grant_type").unwrap_or(uri)
        };
        self.calls.keys().map(purpose).collect()
    }

    pub fn answer(&mut self, ticket: Ticket, status: u16, body: &str) {
        self.reply(ticket, reply(status, body));
    }

    pub fn reply(&mut self, ticket: Ticket, reply: Reply) {
        self.calls.remove(&ticket).expect("a call that is under way");
        self.event(Event::Answer { ticket, outcome: Ok(reply) });
    }

    /// The one call under way is answered.
    pub fn answer_call(&mut self, status: u16, body: &str) {
        let ticket = self.call();
        self.answer(ticket, status, body);
    }

    /// The one call under way is answered by 503, or by 429 with a Retry-After.
    pub fn answer_unavailable(&mut self, retry_after: Option<&str>) {
        let ticket = self.call();
        let retry_after = retry_after.map(str::to_owned);
        self.reply(ticket, Reply { retry_after, ..reply(503, "") });
    }

    /// The one call under way gets no answer.
    pub fn break_call(&mut self, stage: Stage) {
        let ticket = self.call();
        self.calls.remove(&ticket);
        let detail = "it broke".to_owned();
        self.event(Event::Answer { ticket, outcome: Err(Broken { stage, detail }) });
    }

    /// The hooks of a kind that have not ended.
    pub fn running(&self, hook: Hook) -> Vec<Ticket> {
        self.runs.iter().filter(|(_, run)| run.hook == hook).map(|(ticket, _)| *ticket).collect()
    }

    /// An environment variable of a hook.
    pub fn env(&self, ticket: Ticket, name: &str) -> Option<String> {
        let env = &self.runs[&ticket].env;
        env.iter().find(|(variable, _)| *variable == name).map(|(_, value)| value.expose().clone())
    }

    /// The one running hook of a kind exits.
    pub fn exit_hook(&mut self, hook: Hook, status: i32, stdout: &str) {
        let running = self.running(hook);
        assert_eq!(running.len(), 1, "{hook}: {running:?}");
        let stdout = Secret::new(stdout.as_bytes().to_vec());
        self.end(running[0], ChildEnd::Exited { status, stdout });
    }

    pub fn end(&mut self, ticket: Ticket, end: ChildEnd) {
        self.runs.remove(&ticket).expect("a hook that runs");
        self.event(Event::Exited { ticket, end });
    }

    /// What the running `persist_cmd` got.
    pub fn persisted(&self) -> String {
        let running = self.running(Hook::Persist);
        self.runs[&running[0]].stdin.as_ref().expect("a dump").expose().clone()
    }

    /// `pizauth reload` with this outcome.
    pub fn reload(&mut self, config: Config, bound: Bound) -> ConnId {
        let conn = self.request(Request::Reload);
        self.staged(Ok(Box::new(Staging { config, bound })));
        conn
    }

    /// The oldest staging under way ends.
    pub fn staged(&mut self, result: Result<Box<Staging>, Vec<String>>) {
        let ticket = self.stages.remove(0);
        self.event(Event::Staged { ticket, result });
    }

    /// The lines that were logged at `level`.
    pub fn logged(&self, level: Level) -> Vec<&str> {
        self.logs.iter().filter(|(at, _)| *at == level).map(|(_, line)| line.as_str()).collect()
    }

    /// How many times a hook was started.
    pub fn starts(&self, hook: Hook) -> usize {
        self.started.iter().filter(|started| **started == hook).count()
    }
}
