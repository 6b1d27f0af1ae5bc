//! `show` is answered as quickly as ever, whatever others do: clients, browsers, endpoints, hooks. How quickly is a
//! ratio to the server at rest, see `support::pace`.

mod support;

use std::{
    env,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use support::{
    eventually, http,
    pace::Pace,
    process::figures,
    provider::{Answer, Cut, Provider, Settings},
    server::{Home, Pizauth},
};

/// Connections to each socket, and in how many processes: one may have 1,024 descriptors.
const CROWD: usize = 2_000;
const PROCESSES: usize = 5;

/// Memory that an answer may cost for a moment, in kB.
const ALLOWANCE: u64 = 16 * 1024;

/// Where the redirect of `account` goes to.
fn redirect_authority(server: &Pizauth, account: &str) -> String {
    let url = server.authorization_url(account);
    let redirect_uri = http::field(&http::query(&url), "redirect_uri").expect("a redirect_uri").to_owned();
    redirect_uri.trim_start_matches("http://").trim_end_matches('/').to_owned()
}

/// A server with a token for `work` and a second account, `other`, to which things happen.
fn server(provider: &Provider) -> Pizauth {
    let accounts = ["work", "other"].map(|name| provider.account(name, "")).concat();
    let server = Pizauth::start(&accounts);
    server.authorize("work");
    server
}

#[test]
fn by_slow_and_half_open_clients_of_both_sockets() {
    let provider = Provider::start(Settings::default());
    let server = server(&provider);
    let pace = Pace::at_rest(&server.socket(), "work");
    let authority = redirect_authority(&server, "other");
    let clients: Vec<UnixStream> = (0..90).map(|_| UnixStream::connect(server.socket()).expect("it listens")).collect();
    let browsers: Vec<TcpStream> = (0..45).map(|_| TcpStream::connect(&authority).expect("it listens")).collect();
    // A third says nothing, one stops in the middle, and one says that no more will come.
    for (place, mut client) in clients.iter().enumerate() {
        let _ = client.write_all(if place % 3 == 0 { b"" } else { b"{\"version\":1,\"request\":" });
        if place % 3 == 2 {
            let _ = client.shutdown(Shutdown::Write);
        }
    }
    for (place, mut browser) in browsers.iter().enumerate() {
        let _ = browser.write_all(if place % 3 == 0 { b"" } else { b"GET /?state=" });
        if place % 3 == 2 {
            let _ = browser.shutdown(Shutdown::Write);
        }
    }
    // And some drip.
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                for mut client in clients.iter().skip(1).step_by(3) {
                    let _ = client.write_all(b" ");
                }
                for mut browser in browsers.iter().skip(1).step_by(3) {
                    let _ = browser.write_all(b"a");
                }
                thread::sleep(Duration::from_millis(20));
            }
        });
        pace.is_kept("slow and half-open clients", &server.socket(), "work");
        is_over.store(true, Ordering::Relaxed);
    });
    server.authorize("other");
}

/// Connects `count` times to both sockets, says nothing, and keeps the connections.
fn crowd(socket: &Path, authority: &str, count: usize) -> io::Result<(Vec<UnixStream>, Vec<TcpStream>)> {
    let clients: io::Result<_> = (0..count).map(|_| UnixStream::connect(socket)).collect();
    let browsers: io::Result<_> = (0..count).map(|_| TcpStream::connect(authority)).collect();
    Ok((clients?, browsers?))
}

/// Not a test by itself: a part of the crowd of the next one.
#[test]
fn a_part_of_a_crowd() {
    let Some(authority) = env::var_os("PIZAUTH_TEST_CROWD") else { return };
    let socket = env::var_os("PIZAUTH_SOCKET").expect("the socket");
    let authority = authority.into_string().expect("an authority");
    let crowd = crowd(Path::new(&socket), &authority, CROWD / PROCESSES).expect("all connect");
    println!("\nall are here");
    let _ = io::stdin().read_to_end(&mut Vec::new());
    drop(crowd);
}

#[test]
fn by_two_thousand_connections_to_each_socket() {
    let provider = Provider::start(Settings::default());
    let server = server(&provider);
    let pace = Pace::at_rest(&server.socket(), "work");
    let authority = redirect_authority(&server, "other");
    let mut parts: Vec<Child> = (0..PROCESSES)
        .map(|_| {
            let mut command = Command::new(env::current_exe().expect("a path"));
            command.args(["--exact", "a_part_of_a_crowd", "--nocapture"]).env("PIZAUTH_TEST_CROWD", &authority);
            command.env("PIZAUTH_SOCKET", server.socket()).stdin(Stdio::piped()).stdout(Stdio::piped());
            command.spawn().expect("this test program runs")
        })
        .collect();
    for part in &mut parts {
        let lines = BufReader::new(part.stdout.as_mut().expect("a pipe")).lines();
        assert!(lines.map_while(Result::ok).any(|line| line == "all are here"), "not all could connect");
    }
    pace.is_kept("2,000 connections to each socket", &server.socket(), "work");
    if let Some(figures) = figures(server.pid()) {
        assert_eq!(figures.threads, 1);
    }
    server.authorize("other");
    for mut part in parts {
        drop(part.stdin.take());
        assert!(part.wait().expect("a child can be waited for").success());
    }
}

#[test]
fn by_a_crowd_where_descriptors_are_few() {
    let provider = Provider::start(Settings::default());
    let accounts = ["work", "other"].map(|name| provider.account(name, "")).concat();
    let server = Pizauth::start_in(Home::new(&accounts).limited("-n 64"));
    server.authorize("work");
    let pace = Pace::at_rest(&server.socket(), "work");
    let authority = redirect_authority(&server, "other");
    let crowd = crowd(&server.socket(), &authority, 100).expect("all connect");
    pace.is_kept("200 connections and 64 descriptors", &server.socket(), "work");
    server.authorize("other");
    server.run(&["refresh", "-w", "1m", "work"]).expect(0);
    assert_eq!(server.token("work"), provider.last_access_token());
    drop(crowd);
}

/// A token endpoint that resets each connection: it closes with a request unread.
fn resetting() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("no loopback port");
    let url = format!("http://{}/token", listener.local_addr().expect("an address"));
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let _ = (&stream).read(&mut [0]);
        }
    });
    url
}

#[test]
fn by_an_endpoint_that_drips_resets_redirects_or_never_ends() {
    let provider = Provider::start(Settings::default());
    let broken = format!(
        "account \"broken\" {{ grant = \"client_credentials\"; token_uri = \"{}\"; client_id = \"id\"; \
         client_secret = \"secret\"; }}",
        resetting()
    );
    let accounts = ["work", "other"].map(|name| provider.account(name, "")).concat();
    let server = Pizauth::start(&format!("{accounts}{broken}"));
    server.authorize("work");
    server.authorize("other");
    let tokens = provider.token_requests().len();
    let pace = Pace::at_rest(&server.socket(), "work");
    let before = figures(server.pid()).map_or(0, |figures| figures.peak_rss);
    let elsewhere = provider.url("/elsewhere");
    let mebibyte = vec![b' '; 1024 * 1024];
    let drip = Answer::usual().dripped(1, Duration::from_secs(1));
    for (count, (name, answer, told)) in [
        ("a GiB", Answer::new(200, "application/json", mebibyte).repeated(1024), "longer than 1 MiB"),
        ("a redirect", Answer::redirect(307, &elsewhere), elsewhere.as_str()),
        ("no answer", Answer::usual().cut(Cut::BeforeHead), ""),
        ("half an answer", Answer::usual().cut(Cut::InBody), ""),
        ("a byte a second", drip, "timed out after 30 s"),
    ]
    .into_iter()
    .enumerate()
    {
        provider.next_token_answer(answer);
        let refresh = server.spawn(&["refresh", "-w", "50s", "other"], b"");
        provider.wait_for_token_requests(tokens + count + 1);
        pace.is_kept(name, &server.socket(), "work");
        let refused = refresh.finish();
        assert_eq!(refused.status, 4, "{name}: {}", refused.stderr);
        assert!(refused.stderr.contains(told), "{name}: {}", refused.stderr);
        // The token lives on, and so does the grant.
        assert!(provider.is_honoured(&server.token("other")), "{name}");
    }
    let reset = server.run(&["show", "-w", "3s", "broken"]).expect(4);
    assert!(reset.stderr.contains("reset"), "{}", reset.stderr);
    pace.is_kept("a reset", &server.socket(), "work");
    let after = figures(server.pid()).map_or(0, |figures| figures.peak_rss);
    assert!(after <= before + ALLOWANCE, "{before} kB -> {after} kB");
    assert!(provider.requests().iter().all(|request| request.path != "/elsewhere"), "the redirect was followed");
    server.run(&["refresh", "-w", "1m", "other"]).expect(0);
    assert_eq!(server.token("other"), provider.last_access_token());
}

#[test]
fn by_hooks_that_fork_and_hang() {
    let provider = Provider::start(Settings::default());
    let hang = "cat > /dev/null; sleep 1000 & sleep 1000 & echo run >> runs; wait";
    let globals = ["token_event_cmd", "auth_notify_cmd", "error_notify_cmd", "persist_cmd"]
        .map(|hook| format!("{hook} = \"{hang}\";\n"))
        .concat();
    let server = server(&provider);
    let pace = Pace::at_rest(&server.socket(), "work");
    let accounts = ["work", "other"].map(|name| provider.account(name, "")).concat();
    server.configure(&(globals + &accounts));
    server.run(&["reload"]).expect(0);
    server.authorization_url("other");
    provider.next_token_answer(Answer::error(400, "invalid_client", "no"));
    server.run(&["refresh", "-w", "1m", "work"]).expect(1);
    server.run(&["refresh", "-w", "1m", "work"]).expect(0);
    // The save, the notifier of the login, the error, and the event.
    eventually("hooks that hang", || server.folder().read("runs").lines().count() >= 4);
    pace.is_kept("hooks that hang", &server.socket(), "work");
    server.run(&["shutdown"]).expect(1);
    let (status, _) = server.wait();
    assert_eq!(status.code(), Some(1), "the save was cut short");
}
