//! Every way in which a request for a token can fail, as the user sees it: tests/golden/failures.txt, to be read from
//! top to bottom.
//!
//! No socket and no clock: the engine is handed each outcome while somebody waits. `PIZAUTH_GOLDEN=write` writes the
//! file anew.

#[path = "failures/fates.rs"]
mod fates;

use std::{collections::BTreeMap, env, fmt::Write as _, fs, path::Path, time::Duration};

use pizauth::{
    config,
    engine::{Bound, ConnId, Effect, Engine, Event, Hook, Now, Ticket, Time, WallTime},
    oauth::{
        Call, Ports, Reply,
        authorization::{RedirectHead, Scheme},
    },
    proto::{self, Reason, Request, Response},
};
use serde_json::json;

use fates::{
    Fate, REDIRECTS, errors, google, microsoft, no_codes, no_secrets, page, refusal, reply, unanswered, without_reason,
};

/// 2026-11-23 09:05:00 UTC.
const WALL: u64 = 1_795_424_700;

const SECRET: &str = "hunter2hunter2";

/// More deadlines than any request has.
const MAX_STEPS: usize = 2000;

/// Who waits for the token.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// `auth`, then `refresh` and `show` with a token that has ended.
    Browser,
    /// `show -w` of a device, whose code is there.
    Device,
    /// `show`, with and without `-w`, of a device that has no code yet.
    DeviceCode,
    /// `show -w` of an account without a user.
    Client,
    /// `auth` where a command prints the client secret.
    BrowserSecret,
    /// `show -w` of an account without a user where a command prints the client secret.
    ClientSecret,
}

struct World {
    engine: Engine,
    now: Now,
    calls: BTreeMap<Ticket, Call>,
    responses: BTreeMap<ConnId, Response>,
    /// `client_secret_cmd`, while it runs.
    secret: Option<Ticket>,
    last: u64,
}

impl World {
    fn new(way: Way, host: &str) -> World {
        let grant = match way {
            Way::Browser | Way::BrowserSecret => format!("auth_uri = \"https://{host}/authorize\";"),
            Way::Device | Way::DeviceCode => {
                format!("grant = \"device_code\"; device_auth_uri = \"https://{host}/device\";")
            }
            Way::Client | Way::ClientSecret => "grant = \"client_credentials\";".to_owned(),
        };
        let secret = match way {
            Way::BrowserSecret | Way::ClientSecret => "client_secret_cmd = \"pass work\";".to_owned(),
            Way::Browser | Way::Device | Way::DeviceCode | Way::Client => format!("client_secret = \"{SECRET}\";"),
        };
        let text = format!(
            "account \"work\" {{ {grant} token_uri = \"https://{host}/token\"; client_id = \"id\"; {secret} }}"
        );
        let config = config::parse(&text).unwrap_or_else(|faults| panic!("{text}: {faults:?}"));
        let bound = Bound { ports: Ports { http: Some(1234), https: None }, ..Bound::default() };
        // Random numbers that are always the same, so that the file is.
        let engine = Engine::new(config, bound, Box::new(|bytes| bytes.fill(0x5a)));
        let now = Now { time: Time::new(Duration::from_secs(50)), wall: WallTime::from_secs(WALL) };
        let (calls, responses) = (BTreeMap::new(), BTreeMap::new());
        let mut world = World { engine, now, calls, responses, secret: None, last: 0 };
        world.event(Event::Started);
        world
    }

    fn event(&mut self, event: Event) {
        self.engine.handle_event(event, self.now);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(effect) = self.engine.poll_effect() {
            match effect {
                Effect::Call { ticket, call } => _ = self.calls.insert(ticket, call),
                Effect::Respond { conn, response } => _ = self.responses.insert(conn, response),
                Effect::Run { ticket, run } if run.hook == Hook::ClientSecret => self.secret = Some(ticket),
                _ => (),
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now = Now { time: self.now.time + time, wall: self.now.wall + time };
    }

    fn conn(&mut self) -> ConnId {
        self.last += 1;
        ConnId(self.last)
    }

    fn request(&mut self, request: Request) -> ConnId {
        let conn = self.conn();
        self.event(Event::Request { conn, request });
        conn
    }

    fn show(&mut self, wait: Option<u64>) -> ConnId {
        self.request(Request::Show(proto::Show {
            account: "work".to_owned(),
            wait,
            min_life: None,
            urls: true,
            git_host: None,
        }))
    }

    fn auth(&mut self) -> ConnId {
        self.request(Request::Auth { account: "work".to_owned(), wait: Some(600), urls: true })
    }

    /// The browser comes back from the provider with `fields`.
    fn redirect(&mut self, fields: &str) {
        let conn = self.conn();
        let status = self.request(Request::Status { accounts: Vec::new(), urls: true });
        let Some(Response::Status(status)) = self.responses.get(&status) else { panic!("no status") };
        let url = status.accounts[0].authorization_url.clone().expect("an open authorization");
        let state = url.split(['?', '&']).find_map(|field| field.strip_prefix("state=")).expect("a state");
        let head = RedirectHead {
            scheme: Scheme::Http,
            method: "GET".to_owned(),
            target: format!("/?{fields}&state={state}"),
            hosts: vec!["localhost:1234".to_owned()],
            prefetch: false,
        };
        self.event(Event::Redirect { conn, head });
    }

    /// Gives every request `fate` until `conn` has its answer.
    fn suffer(&mut self, conn: ConnId, way: Way, fate: &Fate) -> String {
        for _ in 0..MAX_STEPS {
            if let Some(response) = self.responses.get(&conn) {
                return told(response);
            }
            if let (Some(ticket), Fate::NoSecret(end)) = (self.secret.take(), fate) {
                self.event(Event::Exited { ticket, end: end.clone() });
                continue;
            }
            if let Some((ticket, call)) = self.calls.pop_first() {
                let is_device = call.uri.ends_with("/device");
                let is_given = is_device && way == Way::Device;
                let outcome = if is_given { Ok(device_answer()) } else { fate.outcome() };
                self.event(Event::Answer { ticket, outcome });
                continue;
            }
            let (at, _) = self.engine.poll_timeout().expect("a deadline of the one who waits");
            self.pass(at.since(self.now.time));
            self.engine.handle_timeout(self.now);
            self.drain();
        }
        panic!("{conn:?} waits for ever");
    }

    fn succeed(&mut self) {
        let (ticket, _) = self.calls.pop_first().expect("a token request");
        let body = r#"{"access_token":"access-1","refresh_token":"refresh-1","expires_in":3600}"#;
        self.event(Event::Answer { ticket, outcome: Ok(reply(200, body)) });
    }
}

fn device_answer() -> Reply {
    let body = json!({
        "device_code": "device-1", "user_code": "WDJB-MJHT", "expires_in": 600,
        "verification_uri": "https://login.example.com/device",
    });
    reply(200, &body.to_string())
}

/// Exit status and stderr of the command that got this response.
fn told(response: &Response) -> String {
    match response {
        Response::Failed { reason, messages } => {
            let status = match reason {
                Reason::Error => 1,
                Reason::Authorize => 3,
                Reason::Temporary => 4,
                Reason::Unavailable => 5,
            };
            assert_eq!(messages.len(), 1, "{messages:?}");
            assert!(!messages[0].contains(SECRET), "{messages:?}");
            assert!(messages[0].chars().all(|c| !c.is_control()), "{messages:?}");
            // The authorization URL is long and is always the same.
            let until_url = messages[0].split_once("https://").filter(|(text, _)| text.ends_with(" URL "));
            let text = until_url.map_or(messages[0].clone(), |(text, _)| format!("{text}https://..."));
            format!("{status} pizauth: {text}")
        }
        other => panic!("no failure: {other:?}"),
    }
}

/// What each command says of one fate.
fn tell(out: &mut String, name: &str, way: Way, host: &str, fate: &Fate) {
    let _ = writeln!(out, "\n{name}");
    let mut line = |command: &str, text: String| _ = writeln!(out, "  {command:<7}  {text}");
    match way {
        Way::Browser => {
            line("auth", auth(way, host, fate));
            let mut world = World::new(way, host);
            world.auth();
            world.redirect("code=code-1");
            world.succeed();
            // Ten seconds before its end, the token is not refreshed yet, for nothing looked at the time.
            world.pass(Duration::from_secs(3590));
            let conn = world.request(Request::Refresh { account: "work".to_owned(), wait: Some(600), urls: true });
            line("refresh", world.suffer(conn, way, fate));
            world.pass(Duration::from_secs(20));
            let conn = world.show(None);
            let shown = world.responses.get(&conn).map(told);
            line("show", shown.unwrap_or_else(|| "(is waiting)".to_owned()));
        }
        Way::BrowserSecret => {
            line("auth", auth(way, host, fate));
            line("show -w", show(Way::ClientSecret, host, Some(600), fate));
        }
        Way::Device | Way::Client | Way::ClientSecret => line("show -w", show(way, host, Some(600), fate)),
        Way::DeviceCode => {
            line("show", show(way, host, None, fate));
            // Not a multiple of the pause: the last try has failed when the time is up.
            line("show -w", show(way, host, Some(590), fate));
        }
    }
}

fn auth(way: Way, host: &str, fate: &Fate) -> String {
    let mut world = World::new(way, host);
    let conn = world.auth();
    world.redirect("code=code-1");
    world.suffer(conn, way, fate)
}

fn show(way: Way, host: &str, wait: Option<u64>, fate: &Fate) -> String {
    let mut world = World::new(way, host);
    let conn = world.show(wait);
    world.suffer(conn, way, fate)
}

fn golden() -> String {
    let mut out =
        "Every way in which a request for a token can fail, and what the user reads: the command, its exit status, \
                   and its line on stderr.\nThe show is that of a token which has ended meanwhile.\n"
            .to_owned();
    let host = "login.example.com";
    for (title, way, host, fates) in [
        ("NO ANSWER", Way::Browser, host, unanswered()),
        ("NO REASON", Way::Browser, host, without_reason()),
        ("ERRORS", Way::Browser, host, errors()),
        ("MICROSOFT", Way::Browser, "login.microsoftonline.com", microsoft()),
        ("GOOGLE", Way::Browser, "oauth2.googleapis.com", google()),
        (
            "DEVICES",
            Way::Device,
            host,
            vec![
                ("The user says no", refusal("access_denied", "")),
                ("The user says no (Microsoft)", refusal("authorization_declined", "")),
                ("The user code has ended", refusal("expired_token", "")),
                ("The user does nothing", refusal("authorization_pending", "")),
                ("The device grant is not enabled", refusal("unauthorized_client", "")),
                ("The secret is wrong", refusal("invalid_client", "")),
            ],
        ),
        ("DEVICES WITHOUT A CODE", Way::DeviceCode, host, no_codes()),
        ("WITHOUT THE CLIENT SECRET", Way::BrowserSecret, host, no_secrets()),
        (
            "ACCOUNTS WITHOUT A USER",
            Way::Client,
            host,
            vec![
                ("The secret is wrong", refusal("invalid_client", "")),
                ("The grant is not enabled", refusal("unauthorized_client", "")),
                ("The provider is down", page(503, None)),
            ],
        ),
    ] {
        let _ = writeln!(out, "\n\n== {title}");
        for (name, fate) in fates {
            tell(&mut out, name, way, host, &fate);
        }
    }
    let _ = writeln!(out, "\n\n== REFUSED IN THE BROWSER");
    for (name, fields) in REDIRECTS {
        let mut world = World::new(Way::Browser, host);
        let conn = world.auth();
        world.redirect(fields);
        let _ = writeln!(out, "\n{name}\n  auth     {}", told(&world.responses[&conn]));
    }
    out
}

#[test]
fn every_failure_is_told_as_the_golden_file_shows() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/failures.txt");
    let golden = golden();
    if env::var_os("PIZAUTH_GOLDEN").is_some_and(|value| value == "write") {
        fs::write(&path, &golden).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    let stored = fs::read_to_string(&path).unwrap_or_default();
    for (number, (stored, made)) in stored.lines().zip(golden.lines()).enumerate() {
        assert_eq!(made, stored, "{}:{}; PIZAUTH_GOLDEN=write writes it anew", path.display(), number + 1);
    }
    assert_eq!(golden.len(), stored.len(), "{}; PIZAUTH_GOLDEN=write writes it anew", path.display());
}
