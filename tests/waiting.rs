//! `show` that waits: hundreds at once, those that go away, and tokens that must live for some time yet.

mod support;

use std::{
    fs,
    io::Read,
    os::unix::process::CommandExt,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use serde_json::json;
use support::{
    control::Control,
    eventually, http,
    process::{figures, signal, wait_until_asleep},
    provider::{Answer, Cut, Provider, Settings},
    server::Pizauth,
};

/// How many clients wait at once.
const CROWD: usize = 500;

/// Wake-ups that one login may cost, however many wait for it: the answer of the token endpoint, the page, its end,
/// and the hooks' children.
const WAKE_UPS: u64 = 20;

/// `pizauth show -w 60s work` many times over, in one process group.
struct Crowd {
    children: Vec<Child>,
    group: i32,
}

impl Crowd {
    fn start(server: &Pizauth, count: usize) -> Crowd {
        let mut crowd = Crowd { children: Vec::new(), group: 0 };
        for _ in 0..count {
            let mut command = server.command(&["show", "-w", "60s", "work"]);
            command.stdout(Stdio::piped()).stderr(Stdio::null()).process_group(crowd.group);
            let child = command.spawn().expect("a process");
            if crowd.group == 0 {
                crowd.group = i32::try_from(child.id()).expect("a process number");
            }
            crowd.children.push(child);
        }
        crowd
    }

    fn signal(&self, name: &str) {
        assert!(signal(name, -i64::from(self.group)), "nobody is there to get {name}");
    }

    /// Whether every client has done what it can, and sleeps.
    fn is_asleep(&self) -> bool {
        self.children.iter().all(|child| {
            let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, fields)| fields.starts_with('S'))
        })
    }

    /// What each has printed, at its end.
    fn finish(mut self) -> Vec<(Option<i32>, String)> {
        let children = std::mem::take(&mut self.children);
        let finish = |mut child: Child| {
            let mut stdout = String::new();
            child.stdout.take().expect("a pipe").read_to_string(&mut stdout).expect("text");
            (child.wait().expect("its end").code(), stdout)
        };
        children.into_iter().map(finish).collect()
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for mut child in self.children.drain(..) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn fds(server: &Pizauth) -> usize {
    figures(server.pid()).and_then(|figures| figures.fds).expect("the server's descriptors can be counted")
}

/// The same when nobody is left whose end the server has not noticed yet.
fn fds_at_rest(server: &Pizauth) -> usize {
    wait_until_asleep(server.pid());
    fds(server)
}

#[test]
fn hundreds_that_wait_are_answered_at_once_by_one_thread() {
    let provider = Provider::start(Settings::default());
    let server = Pizauth::start(&provider.account("work", ""));
    if figures(server.pid()).is_none() {
        return println!("skipped: no /proc");
    }
    let before = fds_at_rest(&server);
    let crowd = Crowd::start(&server, CROWD);
    eventually("a connection of each client", || fds(&server) == before + CROWD);
    eventually("clients that sleep", || crowd.is_asleep());
    wait_until_asleep(server.pid());
    assert_eq!(figures(server.pid()).expect("the server runs").threads, 1);

    // The login goes as far as to the token endpoint, which waits.
    provider.hold();
    let url = Control::connect(&server.socket()).authorization_url("work");
    let mut page = http::browse(&url).expect("a page");
    page.read_until("processing authentication");
    provider.wait_for_token_requests(1);
    wait_until_asleep(server.pid());

    // The clients are stopped, so that nothing which they do wakes the server up.
    crowd.signal("STOP");
    let waiting = figures(server.pid()).expect("the server runs");
    provider.release();
    page.read_until("authorised");
    wait_until_asleep(server.pid());
    let woken = figures(server.pid()).expect("the server runs").voluntary_switches - waiting.voluntary_switches;
    assert!(woken <= WAKE_UPS, "{woken} wake-ups for {CROWD} clients");

    // Every answer is on its way already: the server is stopped, and the clients print it all the same.
    server.signal("STOP");
    crowd.signal("CONT");
    let token = format!("{}\n", provider.last_access_token());
    let printed = crowd.finish();
    server.signal("CONT");
    assert_eq!(printed.len(), CROWD);
    assert!(printed.iter().all(|(status, stdout)| *status == Some(0) && *stdout == token), "{printed:?}");
    eventually("the end of all connections", || fds(&server) <= before);
    assert_eq!(provider.token_requests().len(), 1);
}

#[test]
fn a_killed_client_leaves_nothing_behind() {
    let provider = Provider::start(Settings::default());
    let server = Pizauth::start(&provider.account("work", ""));
    if figures(server.pid()).is_none() {
        return println!("skipped: no /proc");
    }
    let before = fds_at_rest(&server);
    let crowd = Crowd::start(&server, 5);
    eventually("a connection of each client", || fds(&server) == before + 5);
    crowd.signal("KILL");
    assert!(crowd.finish().iter().all(|(status, stdout)| status.is_none() && stdout.is_empty()));
    eventually("the end of all connections", || fds(&server) == before);
    wait_until_asleep(server.pid());
    server.authorize("work");
    assert_eq!(server.token("work"), provider.last_access_token());
}

#[test]
fn a_client_that_closes_one_half_keeps_its_wait() {
    let provider = Provider::start(Settings::default());
    let server = Pizauth::start(&provider.account("work", ""));
    let request = json!({ "version": 1, "request": "show", "account": "work", "wait": 600 });
    let mut client = Control::connect(&server.socket());
    client.send(format!("{request}\n").as_bytes());
    client.shutdown_write();
    assert!(client.line().expect("a notice")["url"].is_string());
    wait_until_asleep(server.pid());
    server.authorize("work");
    assert_eq!(client.answer().expect("an answer")["access_token"], provider.last_access_token());
    assert!(client.is_closed());
}

#[test]
fn waiting_ends_with_the_message_of_a_plain_show() {
    let provider = Provider::start(Settings::default());
    let server = Pizauth::start(&provider.account("work", ""));
    let plain = server.run(&["show", "work"]).expect(3);
    let waited = server.run(&["show", "-w", "1s", "work"]).expect(3);
    assert_eq!((plain.stdout.as_str(), &plain.stderr), ("", &waited.stderr));
    for (name, end, status, text) in [
        ("revoked", &["revoke", "work"][..], 1, "revoked"),
        ("refused", &["reload"], 1, "changed or removed"),
        ("shutdown", &["shutdown"], 5, "shutting down"),
    ] {
        let before = fds_at_rest(&server);
        let client = server.spawn(&["show", "-w", "60s", "work"], b"");
        eventually("a waiting client", || fds(&server) == before + 1);
        wait_until_asleep(server.pid());
        server.configure(&provider.account("work", &format!("scopes = [{name:?}];")));
        server.run(end).expect(0);
        let output = client.finish().expect(status);
        assert_eq!(output.stdout, "", "{name}");
        assert!(output.stderr.contains(text) && output.stderr.lines().count() == 1, "{name}: {}", output.stderr);
    }
    let (status, _) = server.wait();
    assert!(status.success());
}

#[test]
fn a_failed_login_ends_the_wait_with_its_reason() {
    let provider = Provider::start(Settings::default());
    let server = Pizauth::start(&provider.account("work", ""));
    let client = server.spawn(&["show", "-w", "60s", "work"], b"");
    eventually("the wait", || server.run(&["status"]).stdout.contains("pending"));
    provider.next_token_answer(Answer::error(400, "invalid_grant", "the moon is full"));
    server.authorize("work");
    let output = client.finish().expect(1);
    assert!(output.stdout.is_empty() && output.stderr.contains("the moon is full"), "{}", output.stderr);
}

#[test]
fn a_token_that_ends_too_soon_is_refreshed_first() {
    let provider = Provider::start(Settings { expires_in: Some(300), ..Settings::default() });
    let server = Pizauth::start(&provider.account("work", "refresh_retry = 1s;"));
    server.authorize("work");
    let first = server.token("work");
    provider.change(|settings| settings.expires_in = Some(3600));
    // For the first second, the token is as fresh as can be.
    let long_enough = || server.run(&["show", "-t", "10m", "work"]).expect(0).stdout;
    eventually("a token that lives long enough", || long_enough().trim_end() != first);
    assert_eq!(long_enough().trim_end(), provider.last_access_token());
    assert_eq!(server.token("work"), provider.last_access_token());
    assert_eq!(provider.token_requests().len(), 2);
}

#[test]
fn a_provider_that_never_gives_that_long_is_not_hammered() {
    let provider = Provider::start(Settings { expires_in: Some(180), ..Settings::default() });
    let server = Pizauth::start(&provider.account("work", "refresh_retry = 1s;"));
    server.authorize("work");
    let first = server.token("work");
    let shown = || server.run(&["show", "-t", "10m", "work"]).expect(0).stdout.trim_end().to_owned();
    eventually("a fresh token", || shown() != first);
    let (start, before) = (Instant::now(), provider.token_requests().len());
    let tokens: Vec<String> = (0..30).map(|_| shown()).collect();
    assert!(provider.issued().iter().any(|issued| Some(&issued.access_token) == tokens.last()));
    let requests = (provider.token_requests().len() - before) as u64;
    assert!(requests <= start.elapsed().as_secs() + 1, "{requests} requests in {:?}", start.elapsed());
}

#[test]
fn a_dead_endpoint_costs_a_shorter_token_nothing() {
    let provider = Provider::start(Settings { expires_in: Some(300), ..Settings::default() });
    let server = Pizauth::start(&provider.account("work", "refresh_retry = 1s;"));
    server.authorize("work");
    let token = server.token("work");

    provider.always_answer("/token", Some(Answer::usual().cut(Cut::BeforeHead)));
    eventually("the end of its freshness", || server.run(&["show", "-t", "10m", "work"]).status == 4);
    for (name, arguments, limit) in [
        ("no wait of its own", &["show", "-t", "10m", "work"][..], 20),
        ("a short wait", &["show", "-t", "10m", "-w", "2s", "work"], 20),
    ] {
        let start = Instant::now();
        let shown = server.run(arguments).expect(4);
        assert!(start.elapsed() < Duration::from_secs(limit), "{name}: {:?}", start.elapsed());
        assert_eq!(shown.stdout, "", "{name}");
        assert!(shown.stderr.contains("work") && shown.stderr.lines().count() == 1, "{name}: {}", shown.stderr);
        assert_eq!(server.token("work"), token, "{name}");
    }

    // One that takes connections and says nothing.
    provider.always_answer("/token", None);
    provider.hold();
    let asked = provider.token_requests().len();
    server.run(&["refresh", "work"]).expect(0);
    provider.wait_for_token_requests(asked + 1);
    server.run(&["show", "-t", "10m", "-w", "1s", "work"]).expect(4);
    assert_eq!(server.token("work"), token);
    provider.release();
    eventually("a new token", || server.token("work") != token);
}

#[test]
fn a_wish_that_nobody_can_grant_changes_nothing() {
    let provider = Provider::start(Settings { refresh_tokens: false, expires_in: Some(60), ..Settings::default() });
    let server = Pizauth::start(&provider.account("work", "refresh_retry = 1s;"));
    server.run(&["show", "-t", "10m", "work"]).expect(3);
    server.authorize("work");
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(1500) {
        assert_eq!(server.run(&["show", "-t", "10m", "work"]).expect(0).stdout.trim_end(), server.token("work"));
    }
    assert_eq!(provider.token_requests().len(), 1);
}

#[test]
fn a_grant_that_ends_meanwhile_starts_an_authorization_and_the_wait_goes_on() {
    let provider = Provider::start(Settings { expires_in: Some(300), ..Settings::default() });
    let server = Pizauth::start(&provider.account("work", "refresh_retry = 1s;"));
    server.authorize("work");
    let first = server.token("work");
    provider.revoke_client("work");
    eventually("the end of the grant", || server.run(&["show", "-t", "10m", "-w", "1s", "work"]).status == 3);
    let client = server.spawn(&["show", "-t", "10m", "-w", "60s", "work"], b"");
    provider.change(|settings| settings.expires_in = Some(3600));
    server.authorize("work");
    let shown = client.finish().expect(0).stdout;
    assert_eq!(shown.trim_end(), provider.last_access_token());
    assert_ne!(shown.trim_end(), first);
}

#[test]
fn refresh_tells_how_it_ended_where_it_waits() {
    let provider = Provider::start(Settings::default());
    let server = Pizauth::start(&provider.account("work", "refresh_retry = 1s;"));
    server.authorize("work");
    let cases = [
        ("refreshed", None, 0, ""),
        ("transient", Some(Answer::error(503, "server_error", "busy")), 4, "busy"),
        ("refused", Some(Answer::error(400, "invalid_scope", "no such scope")), 1, "no such scope"),
        ("ended", Some(Answer::error(400, "invalid_grant", "it is over")), 3, "it is over"),
    ];
    for (name, answer, status, text) in cases {
        answer.into_iter().for_each(|answer| provider.next_token_answer(answer));
        let output = server.run(&["refresh", "-w", "30s", "work"]);
        assert_eq!((output.status, output.stdout.as_str()), (status, ""), "{name}: {}", output.stderr);
        assert!(output.stderr.contains(text), "{name}: {}", output.stderr);
        assert_eq!(output.stderr.lines().count(), usize::from(status != 0), "{name}: {}", output.stderr);
    }
}
