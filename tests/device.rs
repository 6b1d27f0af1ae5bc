//! The device authorization grant (RFC 8628) on the real binary: what the user is shown, and how it ends.

mod support;

use std::time::{Duration, Instant};

use serde_json::json;
use support::{
    eventually, eventually_some,
    provider::{Answer, ClientAuth, Provider, Settings},
    server::{Client, Home, Pizauth},
};

/// An account whose user need not have a browser on this machine, and with [`DEVICE`] has none.
fn config(provider: &Provider, options: &str) -> String {
    let device_auth_uri = provider.url("/device");
    let account = provider.account("work", &format!("device_auth_uri = \"{device_auth_uri}\"; {options}"));
    let has_browser = !options.contains(DEVICE);
    let lines = account.lines().filter(|line| has_browser || !line.starts_with("    auth_uri"));
    let account: String = lines.map(|line| format!("{line}\n")).collect();
    // What the user is told goes to a file, and so does what failed.
    let told = "env | grep -E '^PIZAUTH_(ACCOUNT|U)' | sort > told.new; mv told.new told";
    let failed = "printenv PIZAUTH_MSG > failed.new; mv failed.new failed";
    format!("auth_notify_cmd = \"{told}\";\nerror_notify_cmd = \"{failed}\";\n{account}")
}

const DEVICE: &str = "grant = \"device_code\";";

/// The user code that the provider waits for.
#[track_caller]
fn user_code(provider: &Provider) -> String {
    eventually_some("a user code", || provider.pending_user_codes().pop())
}

/// `auth`, when the user has been told the code, and the code.
#[track_caller]
fn asked(server: &Pizauth, provider: &Provider) -> (Client, String) {
    let waiting = server.spawn(&["auth", "-w", "60s", "work"], b"");
    let code = user_code(provider);
    eventually("the notification", || server.folder().join("told").exists());
    (waiting, code)
}

/// A file that a hook writes.
#[track_caller]
fn written(server: &Pizauth, name: &str) -> String {
    eventually(name, || server.folder().join(name).exists());
    server.folder().read(name)
}

#[test]
fn auth_prints_where_to_enter_which_code_and_waits_for_the_token() {
    let provider = Provider::start(Settings::default());
    let server = Pizauth::start(&config(&provider, DEVICE));
    let (waiting, code) = asked(&server, &provider);
    let (uri, complete) = (provider.url("/activate"), format!("{}?user_code={code}", provider.url("/activate")));
    assert_eq!(
        written(&server, "told"),
        format!("PIZAUTH_ACCOUNT=work\nPIZAUTH_URL={uri}\nPIZAUTH_URL_COMPLETE={complete}\nPIZAUTH_USER_CODE={code}\n")
    );
    // Whoever asks meanwhile is told the same code.
    let shown = server.run(&["show", "work"]).expect(3);
    assert!(shown.stdout.is_empty() && shown.stderr.contains(&format!("{code} at {uri}")), "{}", shown.stderr);
    let hidden = server.run(&["show", "-u", "work"]).expect(3).stderr;
    assert!(!hidden.contains(&code) && !hidden.contains(&uri), "{hidden}");
    let patient = server.spawn(&["show", "-w", "60s", "work"], b"");

    assert!(provider.decide_device(&code, true));
    let ended = waiting.finish().expect(0);
    assert_eq!((ended.stdout, ended.stderr), (format!("{uri}\n{code}\n{complete}\n"), String::new()));
    assert_eq!(patient.finish().expect(0).stdout.trim_end(), provider.last_access_token());
    assert_eq!(provider.counters().early_polls, 0);

    server.run(&["refresh", "-w", "60s", "work"]).expect(0);
    assert_eq!(server.token("work"), provider.last_access_token());
}

#[test]
fn with_a_browser_as_well_whichever_comes_first_wins() {
    for is_device in [true, false] {
        let provider = Provider::start(Settings::default());
        let server = Pizauth::start(&config(&provider, ""));
        let waiting = server.spawn(&["auth", "-w", "60s", "work"], b"");
        let code = user_code(&provider);
        if is_device {
            assert!(provider.decide_device(&code, true));
        } else {
            server.authorize("work");
        }
        let printed = waiting.finish().expect(0).stdout;
        let url = provider.url("/authorize?");
        assert!(printed.lines().any(|line| line.starts_with(&url)), "{printed}");
        assert!(printed.contains(&format!("{}\n{code}\n", provider.url("/activate"))), "{printed}");
        assert_eq!(server.token("work"), provider.last_access_token());
    }
}

#[test]
fn a_user_who_declines_or_lets_it_expire_is_told_so() {
    for (name, lives, part) in [("declined", 600, "access_denied"), ("expired", 2, "user code")] {
        let provider = Provider::start(Settings { device_expires_in: lives, ..Settings::default() });
        let server = Pizauth::start(&config(&provider, DEVICE));
        let waiting = server.spawn(&["auth", "-w", "60s", "work"], b"");
        if name == "declined" {
            assert!(provider.decide_device(&user_code(&provider), false));
        }
        let ended = waiting.finish().expect(1);
        assert!(ended.stderr.contains(part) && ended.stderr.lines().count() == 1, "{name}: {}", ended.stderr);
        assert!(written(&server, "failed").contains(part), "{name}");
        let status = server.run(&["status"]).expect(0).stdout;
        assert!(status.starts_with("work: No access token [last error: "), "{name}: {status}");
    }
}

#[test]
fn a_show_follows_the_device_endpoint() {
    let provider = Provider::start(Settings::default());
    for (name, answer, status, part) in [
        ("down", Answer::html(503, "<h1>Busy"), 4, "HTTP status 503"),
        ("a captive portal", Answer::html(200, "<h1>Log in"), 4, "no device code"),
        ("refused", Answer::error(400, "unauthorized_client", ""), 1, "unauthorized_client"),
        ("GitHub's refusal", Answer::error(200, "device_flow_disabled", "Not here."), 1, "Not here."),
    ] {
        provider.next_answer("/device", answer);
        let server = Pizauth::start(&config(&provider, DEVICE));
        let questions = || provider.requests().iter().filter(|request| request.path == "/device").count();
        let before = questions();
        for time in ["first", "again"] {
            let shown = server.run(&["show", "work"]).expect(status);
            assert!(shown.stdout.is_empty() && shown.stderr.contains(part), "{name}, {time}: {}", shown.stderr);
        }
        assert_eq!(questions(), before + 1, "{name}: the retry time holds");
    }

    // A slow one is waited for, but not for long.
    let server = Pizauth::start(&config(&provider, DEVICE));
    provider.next_answer("/device", Answer::usual().delayed(Duration::from_secs(60)));
    let began = Instant::now();
    let shown = server.run(&["show", "work"]).expect(4);
    assert!(shown.stderr.contains("user code"), "{}", shown.stderr);
    assert!((Duration::from_secs(4)..Duration::from_secs(25)).contains(&began.elapsed()), "{:?}", began.elapsed());
}

#[test]
fn what_must_not_be_opened_reaches_nobody() {
    let provider = Provider::start(Settings::default());
    let server = Pizauth::start(&config(&provider, DEVICE));
    for (name, user_code, verification_uri) in [
        ("a script", "WDJB-MJHT", "javascript:alert(1)"),
        ("a file", "WDJB-MJHT", "file:///etc/passwd"),
        ("an option", "WDJB-MJHT", "--help"),
        ("a line break", "WDJB-MJHT", "https://provider.example/\nx"),
        ("an escape sequence", "\u{1b}[2J", "https://provider.example/"),
        ("a novel", &"x".repeat(1000), "https://provider.example/"),
    ] {
        let codes = json!({ "device_code": "d", "user_code": user_code, "verification_uri": verification_uri });
        provider.next_answer("/device", Answer::json(200, &codes));
        let ended = server.run(&["auth", "-w", "60s", "work"]).expect(1);
        assert!(ended.stdout.is_empty(), "{name}: {}", ended.stdout);
        assert!(ended.stderr.contains("device endpoint"), "{name}: {}", ended.stderr);
        assert!(
            !ended.stderr.contains(verification_uri) && !ended.stderr.contains('\u{1b}'),
            "{name}: {}",
            ended.stderr
        );
    }
    assert!(!server.folder().join("told").exists());
}

#[test]
fn the_client_authenticates_in_its_way_at_every_endpoint() {
    for client_auth in [ClientAuth::Post, ClientAuth::Basic] {
        let provider = Provider::start(Settings { client_auth, ..Settings::default() });
        let is_basic = client_auth == ClientAuth::Basic;
        let revocation_uri = provider.url("/revoke");
        let way = if is_basic { "basic" } else { "post" };
        let options = format!("{DEVICE} client_auth = \"{way}\"; revocation_uri = \"{revocation_uri}\";");
        let server = Pizauth::start_in(Home::new(&config(&provider, &options)));
        let (waiting, code) = asked(&server, &provider);
        assert!(provider.decide_device(&code, true));
        waiting.finish().expect(0);
        server.run(&["refresh", "-w", "60s", "work"]).expect(0);
        assert_eq!(server.run(&["revoke", "work"]).expect(0).stderr, "");

        let requests = provider.requests();
        for path in ["/device", "/token", "/revoke"] {
            let to_path: Vec<_> = requests.iter().filter(|request| request.path == path).collect();
            assert!(!to_path.is_empty(), "{path}");
            for request in to_path {
                let has_header = request.header("authorization").is_some_and(|value| value.starts_with("Basic "));
                let has_secret = request.form("client_secret").is_some();
                assert_eq!((has_header, has_secret), (is_basic, !is_basic), "{path} {way}");
            }
        }
    }
}
