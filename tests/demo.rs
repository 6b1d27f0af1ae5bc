//! `make demo`: a login, a token, its refresh and the end, on loopback and in a temporary folder.
//!
//! Exits with 0 only where all of it happened. With `DEMO=browser`, and on a terminal, the login is the person's.

mod support;

use std::{
    io::{self, IsTerminal},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use support::{
    http::{self, visible_text},
    provider::{Approval, Provider, Settings},
    server::{Home, Output, Pizauth},
    within,
};

/// Life of the demo's tokens, in seconds: long enough to be read, short enough to be waited for.
const TOKEN_LIFE: u64 = 4;

/// How long a person may take to find the button.
const PERSON: Duration = Duration::from_secs(300);

/// How long a refresh may take.
const REFRESH: Duration = Duration::from_secs(30);

fn main() {
    let start = Instant::now();
    let is_personal = std::env::var_os("DEMO").is_some_and(|value| value == "browser") && io::stdin().is_terminal();
    say("pizauth, from the login to a refreshed token. Nothing leaves this machine.");

    let approval = if is_personal { Approval::Page } else { Approval::Automatic };
    let provider = Provider::start(Settings { approval, expires_in: Some(TOKEN_LIFE), ..Settings::default() });
    step("The demo provider, a small OAuth2 authorization server, listens here:");
    show(&provider.issuer());

    let account =
        provider.account("demo", "scopes = [\"mail\"];\n    refresh_before_expiry = 1s;\n    refresh_retry = 1s;");
    let config = format!("http_listen = \"127.0.0.1:0\";\n{account}");
    step("The configuration, pizauth.conf, names the account and the provider's addresses:");
    show(&config);
    let server = Pizauth::start_in(Home::new(&config).inheriting());
    step("The server is started, in the foreground:");
    show("$ pizauth server -d");

    step("There is no token yet, so show says where to log in:");
    let asked = command(&server, &["show", "demo"]).expect(3);
    assert_eq!(asked.stdout, "", "a failed show prints nothing on stdout");
    let url = server.authorization_url("demo");
    assert!(asked.stderr.contains(&url), "the authorization goes on with the same URL");

    if is_personal {
        step("Open this address in your browser and click on Allow (5 minutes at most):");
        show(&url);
        open_browser(&url);
    } else {
        step("The login, as a browser does it; the page where it ends says:");
        let page = http::browse(&url).and_then(http::Exchange::finish).expect("the login ends on a page");
        assert_eq!(page.status, 200, "the login failed: {}", page.body);
        show(&visible_text(&page.body));
    }
    let first = within(PERSON, || token(&server)).expect("no token after the login");

    step("Now there is a token, and the provider honours it:");
    show(&format!("$ pizauth show demo\n{first}"));
    show(&whoami(&provider, &first, 200));

    step(&format!("It lives for {TOKEN_LIFE} seconds. Meanwhile pizauth gets another one, without any question:"));
    let second = within(REFRESH, || token(&server).filter(|token| *token != first)).expect("no refreshed token");
    show(&format!("$ pizauth show demo\n{second}"));
    within(REFRESH, || (!provider.is_honoured(&first)).then_some(())).expect("the first token never expires");
    let current = within(REFRESH, || token(&server)).expect("no token");
    show(&format!("the first one: {}", whoami(&provider, &first, 401)));
    show(&format!("the new one:   {}", whoami(&provider, &current, 200)));

    step("The state of every account:");
    let status = command(&server, &["status"]).expect(0);
    assert!(status.stdout.contains("demo: Active access token"), "the account is not active");

    step("And the end:");
    show("$ pizauth shutdown");
    server.shutdown();
    say(&format!("\nAll of it happened, in {:.1} s.", start.elapsed().as_secs_f64()));
}

/// Runs a client and shows what it says.
fn command(server: &Pizauth, arguments: &[&str]) -> Output {
    let output = server.run(arguments);
    show(&format!("$ pizauth {}\n{}{}", arguments.join(" "), output.stdout, output.stderr));
    output
}

fn token(server: &Pizauth) -> Option<String> {
    let shown = server.run(&["show", "-u", "demo"]);
    (shown.status == 0).then(|| shown.stdout.trim_end().to_owned())
}

/// Uses a token at the provider's resource, which must answer with `status`.
fn whoami(provider: &Provider, token: &str, status: u16) -> String {
    let authorization = format!("Bearer {token}");
    let exchange = http::request("GET", &provider.url("/whoami"), &[("Authorization", &authorization)], "");
    let response = exchange.and_then(http::Exchange::finish).expect("an answer of the provider");
    assert_eq!(response.status, status, "{}", response.body);
    format!("GET /whoami: {} {}", response.status, response.body)
}

/// Opens the person's browser where there is a usual way to; the address is on the terminal in any case.
fn open_browser(url: &str) {
    let named = std::env::var("BROWSER").ok();
    for program in named.iter().map(String::as_str).chain(["xdg-open", "open"]) {
        let mut command = Command::new(program);
        if command.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().is_ok() {
            return;
        }
    }
}

fn say(text: &str) {
    println!("{text}");
}

fn step(text: &str) {
    println!("\n{text}");
}

fn show(text: &str) {
    text.trim_end().lines().for_each(|line| println!("    {line}"));
}
