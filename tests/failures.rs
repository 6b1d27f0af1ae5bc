//! Every way in which a request for a token can fail, as the user sees it: tests/golden/failures.txt, to be read from
//! top to bottom.
//!
//! No socket and no clock: the engine is handed each outcome while somebody waits. `PIZAUTH_GOLDEN=write` writes the
//! file anew.

use std::{collections::BTreeMap, env, fmt::Write as _, fs, path::Path, time::Duration};

use pizauth::{
    config,
    engine::{Bound, ConnId, Effect, Engine, Event, Now, Ticket, Time, WallTime},
    oauth::{
        Broken, Call, CertificateFault, Ports, Reply, Stage,
        authorization::{RedirectHead, Scheme},
    },
    proto::{self, Reason, Request, Response},
    secret::Secret,
};
use serde_json::json;

/// 2026-11-23 09:05:00 UTC.
const WALL: u64 = 1_795_424_700;

const SECRET: &str = "hunter2hunter2";

/// More deadlines than any request has.
const MAX_STEPS: usize = 2000;

/// What becomes of a request to the token endpoint.
#[derive(Clone)]
enum Fate {
    Broken(Stage, &'static str),
    Answer { status: u16, content_type: &'static str, body: String, retry_after: Option<&'static str> },
    Moved(u16, &'static str),
}

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
}

struct World {
    engine: Engine,
    now: Now,
    calls: BTreeMap<Ticket, Call>,
    responses: BTreeMap<ConnId, Response>,
    last: u64,
}

impl World {
    fn new(way: Way, host: &str) -> World {
        let grant = match way {
            Way::Browser => format!("auth_uri = \"https://{host}/authorize\";"),
            Way::Device | Way::DeviceCode => {
                format!("grant = \"device_code\"; device_auth_uri = \"https://{host}/device\";")
            }
            Way::Client => "grant = \"client_credentials\";".to_owned(),
        };
        let text = format!(
            "account \"work\" {{ {grant} token_uri = \"https://{host}/token\"; client_id = \"id\"; \
             client_secret = \"{SECRET}\"; }}"
        );
        let config = config::parse(&text).unwrap_or_else(|faults| panic!("{text}: {faults:?}"));
        let bound = Bound { ports: Ports { http: Some(1234), https: None }, ..Bound::default() };
        // Random numbers that are always the same, so that the file is.
        let engine = Engine::new(config, bound, Box::new(|bytes| bytes.fill(0x5a)));
        let now = Now { time: Time::new(Duration::from_secs(50)), wall: WallTime::from_secs(WALL) };
        let mut world = World { engine, now, calls: BTreeMap::new(), responses: BTreeMap::new(), last: 0 };
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

impl Fate {
    fn outcome(&self) -> Result<Reply, Broken> {
        match self {
            Fate::Broken(stage, detail) => Err(Broken { stage: *stage, detail: (*detail).to_owned() }),
            Fate::Answer { status, content_type, body, retry_after } => Ok(Reply {
                content_type: Some((*content_type).to_owned()),
                retry_after: retry_after.map(str::to_owned),
                ..reply(*status, body)
            }),
            Fate::Moved(status, to) => Ok(Reply { location: Some((*to).to_owned()), ..reply(*status, "") }),
        }
    }
}

fn reply(status: u16, body: &str) -> Reply {
    Reply { status, body: Secret::new(body.as_bytes().to_vec()), ..Reply::default() }
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
    if way == Way::DeviceCode {
        // Not a multiple of the pause: the last try has failed when the time is up.
        for (command, wait) in [("show", None), ("show -w", Some(590))] {
            let mut world = World::new(way, host);
            let conn = world.show(wait);
            line(command, world.suffer(conn, way, fate));
        }
        return;
    }
    if way != Way::Browser {
        let mut world = World::new(way, host);
        let conn = world.show(Some(600));
        line("show -w", world.suffer(conn, way, fate));
        return;
    }
    let mut world = World::new(way, host);
    let conn = world.auth();
    world.redirect("code=code-1");
    line("auth", world.suffer(conn, way, fate));

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

fn broken(name: &'static str, stage: Stage, detail: &'static str) -> (&'static str, Fate) {
    (name, Fate::Broken(stage, detail))
}

fn json_answer(status: u16, body: serde_json::Value) -> Fate {
    Fate::Answer { status, content_type: "application/json", body: body.to_string(), retry_after: None }
}

fn page(status: u16, retry_after: Option<&'static str>) -> Fate {
    let body = "<html><h1>Log in to the network</h1></html>".to_owned();
    Fate::Answer { status, content_type: "text/html", body, retry_after }
}

fn refusal(error: &str, description: &str) -> Fate {
    let mut body = json!({ "error": error });
    if !description.is_empty() {
        body["error_description"] = json!(description);
    }
    json_answer(400, body)
}

/// Requests that got no answer, in the words of the one who made them.
fn unanswered() -> Vec<(&'static str, Fate)> {
    use CertificateFault as Fault;
    vec![
        broken(
            "The name cannot be resolved",
            Stage::Resolve,
            "could not resolve login.example.com: name or service not known",
        ),
        broken("Nobody listens", Stage::Connect, "connection to login.example.com:443 refused"),
        broken("The host does not answer", Stage::Connect, "timed out while connecting to login.example.com:443"),
        broken("There is no network", Stage::Connect, "no connection to login.example.com:443: network is unreachable"),
        broken(
            "The TLS handshake is cut short",
            Stage::Tls,
            "TLS handshake with login.example.com:443 failed: connection reset",
        ),
        broken("It is no TLS", Stage::Tls, "TLS handshake with login.example.com:443 failed: it does not speak TLS"),
        broken(
            "The certificate is of a private authority",
            Stage::Certificate(Fault::UnknownIssuer),
            "certificate of login.example.com:443 refused: no known root signed it",
        ),
        broken(
            "The certificate has expired",
            Stage::Certificate(Fault::Expired),
            "certificate of login.example.com:443 refused: it is expired",
        ),
        broken(
            "The certificate is for another name",
            Stage::Certificate(Fault::WrongName),
            "certificate of login.example.com:443 refused: it is for another name",
        ),
        broken(
            "The certificate is wrong in another way",
            Stage::Certificate(Fault::Other),
            "certificate of login.example.com:443 refused: it is not for servers",
        ),
        broken(
            "The proxy's name cannot be resolved",
            Stage::Resolve,
            "could not resolve the proxy proxy.example.com: name or service not known",
        ),
        broken("The proxy is not there", Stage::Connect, "connection to the proxy proxy.example.com:3128 refused"),
        broken(
            "The proxy wants a password",
            Stage::Proxy,
            "the proxy proxy.example.com:3128 made no connection to login.example.com:443: it asks for user and \
             password (status 407)",
        ),
        broken(
            "The proxy does not reach the provider",
            Stage::Proxy,
            "the proxy proxy.example.com:3128 made no connection to login.example.com:443: it answered with status 502",
        ),
        broken(
            "The proxy setting cannot be used",
            Stage::ProxySetting,
            "the environment's https_proxy cannot be used: only http:// proxies are supported",
        ),
        broken(
            "There are too many threads",
            Stage::NotStarted,
            "the request was not answered: no thread could be started for it",
        ),
        broken(
            "The request is written, and no answer comes",
            Stage::Sent,
            "no whole answer from login.example.com:443: timed out after 30 s",
        ),
        broken(
            "The answer is cut short, behind a proxy",
            Stage::Sent,
            "no whole answer from login.example.com:443 through the proxy proxy.example.com:3128: connection closed",
        ),
        broken(
            "The answer is too long",
            Stage::Sent,
            "no whole answer from login.example.com:443: its body is longer than 1 MiB",
        ),
    ]
}

/// Answers that are neither tokens nor an OAuth error.
fn without_reason() -> Vec<(&'static str, Fate)> {
    vec![
        ("A login page of the network", page(200, None)),
        ("JSON without a token", json_answer(200, json!({ "token_type": "Bearer" }))),
        ("A redirect", Fate::Moved(302, "https://login.example.com/elsewhere")),
        ("A redirect to nowhere", Fate::Moved(307, "")),
        ("400 without a reason", page(400, None)),
        ("401 without a reason", page(401, None)),
        ("403 without a reason", page(403, None)),
        ("404", page(404, None)),
        ("408", page(408, None)),
        ("429", page(429, None)),
        ("429 with Retry-After", page(429, Some("300"))),
        ("500", page(500, None)),
        ("502 of a gateway", page(502, None)),
        ("503 with a date in Retry-After", page(503, Some("Mon, 23 Nov 2026 10:15:00 GMT"))),
        ("503 that asks for more than an hour", page(503, Some("86400"))),
        ("A token of another type", json_answer(200, json!({ "access_token": "access-2", "token_type": "DPoP" }))),
        ("A token that is no token", json_answer(200, json!({ "access_token": "access 2\n", "token_type": "Bearer" }))),
    ]
}

/// OAuth errors: of the RFCs, of nobody, and dressed up.
fn errors() -> Vec<(&'static str, Fate)> {
    let mut fates = vec![
        ("invalid_request", refusal("invalid_request", "")),
        ("invalid_client", refusal("invalid_client", "")),
        ("invalid_client with 401", json_answer(401, json!({ "error": "invalid_client" }))),
        ("unauthorized_client", refusal("unauthorized_client", "")),
        ("unsupported_grant_type", refusal("unsupported_grant_type", "")),
        ("invalid_scope", refusal("invalid_scope", "")),
        ("invalid_grant", refusal("invalid_grant", "Token has been expired or revoked.")),
        ("invalid_token with 401", json_answer(401, json!({ "error": "invalid_token" }))),
        ("invalid_token with 400", refusal("invalid_token", "")),
        ("interaction_required", refusal("interaction_required", "")),
        ("login_required", refusal("login_required", "")),
        ("consent_required", refusal("consent_required", "")),
        ("redirect_uri_mismatch", refusal("redirect_uri_mismatch", "")),
        ("access_denied", refusal("access_denied", "")),
        (
            "bad_refresh_token (GitHub)",
            refusal("bad_refresh_token", "The refresh token passed is incorrect or expired."),
        ),
        ("temporarily_unavailable", refusal("temporarily_unavailable", "")),
        ("server_error", refusal("server_error", "")),
        ("slow_down", refusal("slow_down", "")),
        ("500 with an error", json_answer(500, json!({ "error": "invalid_grant" }))),
        ("An unknown error", refusal("moon_phase", "The moon is not full.")),
        (
            "An error with a page about it",
            json_answer(400, json!({ "error": "moon_phase", "error_uri": "https://login.example.com/moon" })),
        ),
        ("An error that is an object", json_answer(400, json!({ "error": { "code": 400, "message": "moon" } }))),
        ("200 with an error (GitHub)", json_answer(200, json!({ "error": "incorrect_client_credentials" }))),
        (
            "A description with control characters and the secret",
            refusal("invalid_client", &format!("no\r\n\u{1b}[31mgood: {SECRET}")),
        ),
    ];
    fates.push((
        "An error in a form",
        Fate::Answer {
            status: 400,
            content_type: "application/x-www-form-urlencoded",
            body: "error=invalid_client&error_description=not+today".to_owned(),
            retry_after: None,
        },
    ));
    fates
}

/// Microsoft's numbers, with the beginning of what Microsoft says.
fn microsoft() -> Vec<(&'static str, Fate)> {
    [
        ("invalid_request", "AADSTS28000: Provided value for the input parameter scope is not valid."),
        ("invalid_request", "AADSTS50011: The redirect URI specified in the request does not match."),
        (
            "interaction_required",
            "AADSTS50076: Due to a configuration change, you must use multi-factor authentication.",
        ),
        ("interaction_required", "AADSTS50079: Due to a configuration change, you must enroll in multi-factor."),
        ("invalid_grant", "AADSTS50173: The provided grant has expired due to it being revoked."),
        ("invalid_request", "AADSTS50194: Application is not configured as a multi-tenant application."),
        (
            "invalid_grant",
            "AADSTS50196: The server terminated an operation because it encountered a client request loop.",
        ),
        ("access_denied", "AADSTS53003: Access has been blocked by Conditional Access policies."),
        ("invalid_grant", "AADSTS54005: OAuth2 Authorization code was already redeemed."),
        ("invalid_grant", "AADSTS65001: The user or administrator has not consented to use the application."),
        ("invalid_grant", "AADSTS70043: The refresh token has expired or is invalid due to sign-in frequency checks."),
        ("invalid_client", "AADSTS700025: Client is public so neither 'client_assertion' nor 'client_secret'."),
        ("invalid_grant", "AADSTS700082: The refresh token has expired due to inactivity."),
        ("invalid_client", "AADSTS7000215: Invalid client secret provided."),
        ("invalid_client", "AADSTS7000218: The request body must contain 'client_assertion' or 'client_secret'."),
        ("invalid_client", "AADSTS7000222: The provided client secret keys are expired."),
        ("access_denied", "AADSTS90094: An administrator of the organisation has set a policy."),
        ("invalid_request", "AADSTS900144: The request body must contain the following parameter: 'scope'."),
        ("invalid_request", "AADSTS9002327: Tokens issued for the 'Single-Page Application' client-type."),
        ("invalid_request", "AADSTS9002346: Application is configured for use by Microsoft Account users only."),
    ]
    .map(|(error, description)| (description.split(':').next().unwrap_or(description), refusal(error, description)))
    .to_vec()
}

fn google() -> Vec<(&'static str, Fate)> {
    vec![
        ("invalid_grant of Google", refusal("invalid_grant", "Token has been expired or revoked.")),
        ("invalid_rapt", refusal("invalid_grant", "reauth related error (invalid_rapt)")),
        ("org_internal", refusal("org_internal", "")),
        ("access_denied of Google", json_answer(403, json!({ "error": "access_denied" }))),
    ]
}

/// What comes in place of a user code.
fn no_codes() -> Vec<(&'static str, Fate)> {
    let answer = |user_code: &str, verification_uri: &str| {
        let codes = json!({ "device_code": "d", "user_code": user_code, "verification_uri": verification_uri });
        json_answer(200, codes)
    };
    vec![
        broken("Nobody listens", Stage::Connect, "connection to login.example.com:443 refused"),
        ("The device grant is not enabled", refusal("unauthorized_client", "")),
        ("The device grant is not enabled (GitHub)", json_answer(200, json!({ "error": "device_flow_disabled" }))),
        ("A scope is wrong", refusal("invalid_scope", "")),
        ("The endpoint is not there", page(404, None)),
        ("The provider is down", page(503, None)),
        ("A login page of the network", page(200, None)),
        ("A verification URI that would run something", answer("WDJB-MJHT", "javascript:alert(1)")),
        ("A verification URI that is none", answer("WDJB-MJHT", "/device")),
        ("A user code that nobody can type", answer(&"W".repeat(65), "https://login.example.com/device")),
        ("A user code with control characters", answer("W\u{1b}[2J", "https://login.example.com/device")),
    ]
}

/// What comes back with the browser in place of a code.
const REDIRECTS: [(&str, &str); 5] = [
    ("The user says no", "error=access_denied&error_description=the+user+said+no"),
    ("A scope is wrong", "error=invalid_scope"),
    ("The client may not", "error=unauthorized_client"),
    ("The provider is ill", "error=server_error&error_description=try+later&error_uri=https://login.example.com/e"),
    ("Text that would do harm", "error=%1b%5b2J&error_description=%0d%0a%22%3E%3Cscript%3E"),
];

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
                ("The user code has ended", refusal("expired_token", "")),
                ("The user does nothing", refusal("authorization_pending", "")),
                ("The device grant is not enabled", refusal("unauthorized_client", "")),
                ("The secret is wrong", refusal("invalid_client", "")),
            ],
        ),
        ("DEVICES WITHOUT A CODE", Way::DeviceCode, host, no_codes()),
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
