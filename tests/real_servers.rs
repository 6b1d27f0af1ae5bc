//! pizauth against authorization servers that others wrote: oidc-provider and Canaille, as they are, on loopback.
//!
//! `tests/servers/install.sh` installs them; without them these tests are skipped, and fail with `CI=true`.

mod support;

use std::{
    env,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use support::{
    PATIENCE, eventually, eventually_some,
    http::{self, visible_text},
    person::Person,
    server::{Home, Pizauth},
    tool,
};

/// The secret of every client that has one; the servers' scripts say the same.
const SECRET: &str = "a secret &=+/%:0123456789012345678901234567";

const DONE: &str = "work is authorised";

/// A running authorization server; dropping it stops it.
struct RealServer {
    child: Child,
    issuer: String,
    /// Where it has the resource that the token opens.
    userinfo: &'static str,
    scopes: &'static str,
    /// A port that pizauth can have, which the server's clients have registered.
    http_port: u16,
}

impl RealServer {
    /// oidc-provider; `None`, and a line that says so, where it is not installed.
    fn oidc_provider() -> Option<RealServer> {
        let packages = installed("oidc-provider", "node")?;
        let mut command = Command::new("node");
        command.arg(script("oidc_provider.mjs")).arg(packages);
        Some(RealServer::start(command, "/me", "openid offline_access mail"))
    }

    /// Canaille; `None`, and a line that says so, where it is not installed.
    fn canaille() -> Option<RealServer> {
        let packages = installed("canaille", "python")?;
        let mut command = Command::new(packages.join("bin/python"));
        command.arg(script("canaille_server.py"));
        Some(RealServer::start(command, "/oauth/userinfo", "openid profile email"))
    }

    fn start(mut command: Command, userinfo: &'static str, scopes: &'static str) -> RealServer {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
        let http_port = free.port();
        command.arg(http_port.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut issuer = String::new();
        let stdout = child.stdout.take().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut issuer).expect("a line with the issuer");
        assert!(issuer.starts_with("http://127.0.0.1:"), "{command:?} does not start: {issuer:?}");
        RealServer { child, issuer: issuer.trim_end().to_owned(), userinfo, scopes, http_port }
    }

    fn person(&self) -> Person {
        Person::new("robin", "correct horse battery staple")
    }

    /// Asks the server for a block, as a newcomer does, and fills in what it leaves open.
    fn account(&self, client_id: &str, options: &str) -> String {
        let home = Home::new("");
        let block = home.run(&["discover", &self.issuer]).expect(0).stdout;
        home.configure(&block);
        let refused = home.run(&["check"]).expect(1);
        assert!(refused.stderr.contains("client_id"), "{}", refused.stderr);

        let scopes: Vec<_> = self.scopes.split(' ').map(|scope| format!("\"{scope}\"")).collect();
        let filled = format!("client_id = \"{client_id}\";\n    scopes = [{}];\n    {options}", scopes.join(", "));
        let name = format!("\"{}\"", self.issuer.trim_start_matches("http://"));
        assert!(block.contains(&name) && block.contains("client_id = \"\";"), "{block}");
        let block = block.replacen(&name, "\"work\"", 1).replacen("client_id = \"\";", &filled, 1);
        let config = format!("http_listen = \"127.0.0.1:{}\";\n{block}", self.http_port);
        home.configure(&config);
        assert_eq!(home.run(&["check"]).expect(0).stderr, "", "{config}");
        config
    }

    /// Whether the server takes the token for its own resource.
    fn honours(&self, token: &str) -> bool {
        let authorization = format!("Bearer {token}");
        let url = format!("{}{}", self.issuer, self.userinfo);
        let headers = [("Authorization", authorization.as_str()), ("Accept", "application/json")];
        let answer = http::request("GET", &url, &headers, "").and_then(http::Exchange::finish).expect("an answer");
        assert!(matches!(answer.status, 200 | 401 | 403), "{} {}", answer.status, answer.body);
        answer.status == 200
    }
}

impl Drop for RealServer {
    fn drop(&mut self) {
        // The end of its stdin is its end.
        drop(self.child.stdin.take());
        if support::within(PATIENCE / 4, || self.child.try_wait().ok().flatten()).is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The folder that `tests/servers/install.sh` made.
#[track_caller]
fn installed(name: &str, folder: &str) -> Option<PathBuf> {
    let cache = env::var_os("PIZAUTH_CACHE").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache/pizauth-tests")));
    let folder = cache.map(|cache| cache.join(folder)).filter(|folder| folder.join("installed").is_file());
    if folder.is_none() {
        tool::skip(&format!("no {name}"));
    }
    folder
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers").join(name)
}

fn secret(client_auth: &str) -> String {
    format!("client_secret = \"{SECRET}\"; client_auth = \"{client_auth}\";")
}

/// Logs in, and returns the token.
#[track_caller]
fn log_in(real: &RealServer, server: &Pizauth) -> String {
    let page = real.person().visit(&server.authorization_url("work"));
    assert!(visible_text(&page.body).contains(DONE), "{} {}", page.status, page.body);
    let token = server.token("work");
    assert!(real.honours(&token));
    token
}

/// Refreshes some times over, which a server that rotates only bears with the newest refresh token.
#[track_caller]
fn refresh(real: &RealServer, server: &Pizauth) {
    for _ in 0..3 {
        let before = server.token("work");
        // A signed token that is made twice in a second is the same.
        eventually("another token", || {
            server.run(&["refresh", "-w", "30s", "work"]).expect(0);
            server.token("work") != before
        });
        assert!(real.honours(&server.token("work")));
    }
}

/// Revokes, after which the server must not honour the token any more.
#[track_caller]
fn revoke(real: &RealServer, server: &Pizauth) {
    let token = server.token("work");
    assert!(real.honours(&token));
    assert_eq!(server.run(&["revoke", "work"]).expect(0).stderr, "");
    eventually("the end of the token", || !real.honours(&token));
    server.run(&["show", "-u", "work"]).expect(3);
}

/// The whole life of an account: discover, check, log in, refresh, revoke.
fn whole_life(real: &RealServer, client_id: &str, options: &str) {
    let server = Pizauth::start(&real.account(client_id, options));
    log_in(real, &server);
    refresh(real, &server);
    revoke(real, &server);
    // And once more, with a session at the provider that knows nothing of the first.
    log_in(real, &server);
}

const OFFLINE: &str = "auth_uri_fields = { \"prompt\": \"consent\" };";

#[test]
fn oidc_provider_with_a_secret_in_the_header() {
    let Some(real) = RealServer::oidc_provider() else { return };
    whole_life(&real, "basic", &format!("{} {OFFLINE}", secret("basic")));
}

#[test]
fn oidc_provider_with_a_secret_in_the_form() {
    let Some(real) = RealServer::oidc_provider() else { return };
    whole_life(&real, "post", &format!("{} {OFFLINE}", secret("post")));
}

#[test]
fn oidc_provider_with_a_public_client() {
    let Some(real) = RealServer::oidc_provider() else { return };
    whole_life(&real, "public", OFFLINE);
}

#[test]
fn canaille_with_a_secret_in_the_header() {
    let Some(real) = RealServer::canaille() else { return };
    whole_life(&real, "basic", &secret("basic"));
}

#[test]
fn canaille_with_a_secret_in_the_form() {
    let Some(real) = RealServer::canaille() else { return };
    let server = Pizauth::start(&real.account("post", &secret("post")));
    log_in(&real, &server);
    refresh(&real, &server);
}

#[test]
fn canaille_with_a_public_client() {
    let Some(real) = RealServer::canaille() else { return };
    let server = Pizauth::start(&real.account("public", ""));
    log_in(&real, &server);
    refresh(&real, &server);
}

#[test]
fn the_wrong_way_to_authenticate_is_told_with_the_right_one() {
    let Some(real) = RealServer::canaille() else { return };
    for (client_id, client_auth, advice) in
        [("basic", "post", "client_auth = \"basic\""), ("post", "basic", "client_auth = \"post\"")]
    {
        let server = Pizauth::start(&real.account(client_id, &secret(client_auth)));
        let waiting = server.spawn(&["auth", "-w", "60s", "work"], b"");
        let url = eventually_some("the URL", || {
            let status = server.run(&["status", "-j"]).expect(0).stdout;
            let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
            status["accounts"][0]["authorization_url"].as_str().map(str::to_owned)
        });
        let text = visible_text(&real.person().visit(&url).body);
        assert!(text.contains("invalid_client") && text.contains(advice), "{text}");
        let told = waiting.finish().expect(1).stderr;
        assert!(told.contains("invalid_client") && told.contains(advice), "{told}");
        assert!(!told.contains(SECRET) && !server.log().contains(SECRET));
    }
}

#[test]
fn a_redirect_of_another_issuer_is_refused_and_leaves_the_login_open() {
    for real in [RealServer::oidc_provider(), RealServer::canaille()].into_iter().flatten() {
        let config = real.account("public", OFFLINE);
        let issuer = format!("issuer = \"{}\";", real.issuer);
        assert!(config.contains(&issuer), "{config}");
        let server = Pizauth::start(&config.replace(&issuer, "issuer = \"http://127.0.0.1:1\";"));
        let url = server.authorization_url("work");
        let page = real.person().visit(&url);
        assert!((400..500).contains(&page.status), "{} {}", page.status, page.body);
        assert_eq!(server.authorization_url("work"), url);
    }
}

#[test]
fn who_declines_is_told_so() {
    let Some(real) = RealServer::canaille() else { return };
    let server = Pizauth::start(&real.account("public", ""));
    let page = real.person().pressing("deny").visit(&server.authorization_url("work"));
    let text = visible_text(&page.body);
    assert!(text.contains("access_denied"), "{text}");
    server.run(&["show", "-u", "work"]).expect(3);
}

#[test]
fn a_device_is_approved_and_kept_fresh() {
    let Some(real) = RealServer::oidc_provider() else { return };
    for is_typed in [false, true] {
        let server = Pizauth::start(&real.account("device", "grant = \"device_code\";"));
        let (verification_uri, user_code) = asked_for_device(&server);
        let page = if is_typed {
            real.person().typing(&user_code).visit(&verification_uri)
        } else {
            real.person().visit(&format!("{verification_uri}?user_code={user_code}"))
        };
        assert!(visible_text(&page.body).contains("Sign-in Success"), "{}", page.body);
        let token = server.run(&["show", "-w", "60s", "work"]).expect(0).stdout;
        assert!(real.honours(token.trim_end()));
        refresh(&real, &server);
        revoke(&real, &server);
    }
}

#[test]
fn a_device_that_is_declined_is_told_so() {
    let Some(real) = RealServer::oidc_provider() else { return };
    let server = Pizauth::start(&real.account("device", "grant = \"device_code\";"));
    let (verification_uri, user_code) = asked_for_device(&server);
    let waiting = server.spawn(&["show", "-w", "60s", "work"], b"");
    real.person().pressing("abort").visit(&format!("{verification_uri}?user_code={user_code}"));
    let told = waiting.finish().expect(1).stderr;
    assert!(told.contains("access_denied"), "{told}");
}

/// The verification URI and the user code that `show` tells.
#[track_caller]
fn asked_for_device(server: &Pizauth) -> (String, String) {
    let told = server.run(&["show", "work"]).expect(3).stderr;
    let (_, rest) = told.split_once("enter code ").unwrap_or_else(|| panic!("no user code in {told:?}"));
    let (user_code, rest) = rest.split_once(" at ").unwrap_or_else(|| panic!("no URI in {told:?}"));
    (rest.split_whitespace().next().unwrap_or_default().to_owned(), user_code.to_owned())
}

#[test]
fn a_client_gets_a_token_of_its_own() {
    let one = RealServer::oidc_provider().map(|real| (real, "/token/introspection"));
    let other = RealServer::canaille().map(|real| (real, "/oauth/introspect"));
    for (real, introspection) in [one, other].into_iter().flatten() {
        let options = format!("{} grant = \"client_credentials\";", secret("basic"));
        let config = real.account("machine", &options).replace("\"openid\", \"offline_access\", ", "");
        let server = Pizauth::start(&config);
        let token = server.run(&["show", "-w", "30s", "work"]).expect(0).stdout;
        let url = format!("{}{introspection}", real.issuer);
        let credentials = http::encode_form(&[("machine", SECRET)]).replacen('=', ":", 1);
        let authorization = format!("Basic {}", BASE64_STANDARD.encode(credentials));
        let is_active = |token: &str| {
            let answer = http::try_post(&url, &[("Authorization", authorization.as_str())], &[("token", token)]);
            answer.expect("an answer").json()["active"] == true
        };
        assert!(is_active(token.trim_end()));
        assert!(!is_active("another"));
        server.run(&["refresh", "-w", "30s", "work"]).expect(0);
        assert!(is_active(&server.token("work")));
    }
}
