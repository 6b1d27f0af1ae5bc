//! Clients of the control socket and the redirect listener that say nothing, too much, or come in crowds: they harm
//! nobody else. Figures of the process come from /proc; where there is none, only the answers are looked at.

mod support;

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    thread,
};

use support::{
    PATIENCE,
    control::Control,
    eventually,
    http::{self, Exchange},
    process::{Figures, figures, wait_until_asleep},
    provider::{Provider, Settings},
    server::{Home, Pizauth},
    tls,
};

/// Memory that a client may cost for a moment, in kB.
const ALLOWANCE: u64 = 8 * 1024;

fn redirect_authority(server: &Pizauth, account: &str) -> String {
    let url = server.authorization_url(account);
    let redirect_uri = http::field(&http::query(&url), "redirect_uri").expect("a redirect_uri").to_owned();
    redirect_uri.trim_start_matches("http://").trim_end_matches('/').to_owned()
}

fn connect(authority: &str) -> TcpStream {
    let stream = TcpStream::connect(authority).expect("the redirect listener accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    stream
}

/// Lets the server stand still until SIGCONT.
#[track_caller]
fn stop(server: &Pizauth) {
    server.signal("STOP");
    let is_stopped = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap_or_default();
        status.lines().any(|line| line.starts_with("State:\tT"))
    };
    if figures(server.pid()).is_some() {
        eventually("a server that stands still", is_stopped);
    }
}

/// The most resident memory that the server has had, in kB; 0 where the system does not tell.
fn peak(server: &Pizauth) -> u64 {
    figures(server.pid()).map_or(0, |figures| figures.peak_rss)
}

#[test]
fn silent_clients_of_the_control_socket_cost_a_descriptor_and_nobody_waits_for_them() {
    let provider = Provider::start(Settings::default());
    let server = Pizauth::start(&provider.account("work", ""));
    server.authorize("work");
    let before = figures(server.pid());
    let mut clients: Vec<Control> = (0..50).map(|_| Control::connect(&server.socket())).collect();
    assert_eq!(server.token("work"), provider.last_access_token());
    if let Some(before) = before {
        assert_eq!(figures(server.pid()).map(|figures| figures.threads), Some(1));
        // What was there before may have held a connection that was just closing, so it is a bound and no sum.
        eventually("the descriptors of the silent clients, and no others", || {
            let after = figures(server.pid()).and_then(|figures| figures.fds);
            after.zip(before.fds).is_none_or(|(after, before)| (50..=before + 50).contains(&after))
        });
    }
    assert!(clients.iter_mut().take(25).all(|client| client.send(b"{\"version\":1,")));
    assert_eq!(server.token("work"), provider.last_access_token());
    // Those who began a line had ten seconds for it.
    for client in &mut clients[..25] {
        let refusal = client.answer().expect("a slow client is told so");
        assert_eq!(refusal["answer"], "failed", "{refusal}");
        assert!(client.is_closed());
    }
    // Those who did not may still ask.
    assert_eq!(clients[25].token("work"), Some(provider.last_access_token()));
}

#[test]
fn a_request_line_without_end_is_refused_at_its_limit() {
    let provider = Provider::start(Settings::default());
    let server = Pizauth::start(&provider.account("work", ""));
    let authority = redirect_authority(&server, "work");
    let before = peak(&server);
    let stream = connect(&authority);
    let mut reader = stream.try_clone().expect("a descriptor");
    let answer = thread::spawn(move || {
        let mut answer = Vec::new();
        // A reset may follow the answer, since nobody reads the rest of the request.
        let _ = reader.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    });
    let chunk = [b'a'; 64 * 1024];
    let mut sent = (&stream).write_all(b"GET /?").map(|()| 0);
    while let Ok(length @ ..209_715_200) = sent {
        sent = (&stream).write_all(&chunk).map(|()| length + chunk.len());
    }
    let answer = answer.join().expect("the reader ends");
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer:.200}");
    assert!(sent.is_err(), "all of 200 MiB was taken");
    let after = peak(&server);
    assert!(after <= before + ALLOWANCE, "{before} kB -> {after} kB");
    server.authorize("work");
    assert_eq!(server.token("work"), provider.last_access_token());
}

#[test]
fn idle_browsers_cost_no_thread_and_are_bounded() {
    let provider = Provider::start(Settings::default());
    let server = Pizauth::start(&provider.account("work", ""));
    let authority = redirect_authority(&server, "work");
    let crowd: Vec<TcpStream> = (0..200).map(|_| connect(&authority)).collect();
    crowd.iter().step_by(2).for_each(|mut stream| _ = stream.write_all(b"GET /?state="));
    server.authorize("work");
    assert_eq!(server.token("work"), provider.last_access_token());
    if let Some(Figures { threads, fds, .. }) = figures(server.pid()) {
        assert_eq!(threads, 1);
        assert!(fds.is_none_or(|fds| fds < 120), "{fds:?} descriptors");
    }
    // Whoever is still there and began a head had ten seconds for it.
    for mut stream in crowd.into_iter().step_by(2) {
        let _ = stream.read_to_end(&mut Vec::new());
    }
}

#[test]
fn a_crowd_at_the_control_socket_leaves_room_for_who_asks() {
    let provider = Provider::start(Settings::default());
    let server = Pizauth::start_in(Home::new(&provider.account("work", "")).limited("-n 256"));
    server.authorize("work");
    let crowd: Vec<Control> = (0..400).map(|_| Control::connect(&server.socket())).collect();
    assert_eq!(server.token("work"), provider.last_access_token());
    if figures(server.pid()).is_some() {
        wait_until_asleep(server.pid());
    }
    assert_eq!(server.token("work"), provider.last_access_token());
    drop(crowd);
    server.run(&["status"]).expect(0);
}

#[test]
fn without_a_free_descriptor_nobody_turns_in_circles() {
    let provider = Provider::start(Settings::default());
    let accounts = ["home", "work"].map(|name| provider.account(name, "")).concat();
    let server = Pizauth::start_in(Home::new(&accounts).limited("-n 32"));
    server.authorize("work");
    let authority = redirect_authority(&server, "home");
    let silent: Vec<Control> = (0..16).map(|_| Control::connect(&server.socket())).collect();
    let browsers: Vec<TcpStream> = (0..8).map(|_| connect(&authority)).collect();
    if figures(server.pid()).is_some() {
        wait_until_asleep(server.pid());
    }
    let fds = figures(server.pid()).and_then(|figures| figures.fds);
    assert!(fds.is_none_or(|fds| fds >= 31), "{fds:?} descriptors are not all");
    assert_eq!(server.token("work"), provider.last_access_token(), "somebody silent goes instead");
    drop(silent);
    server.authorize("home");
    assert_eq!(server.token("home"), provider.last_access_token());
    drop(browsers);
}

#[test]
fn a_newcomer_does_not_pay_for_who_had_its_place_before() {
    let provider = Provider::start(Settings::default());
    let server = Pizauth::start_in(Home::new(&provider.account("work", "")).limited("-n 32"));
    // As many as this limit lets in. The last has been answered, so all are in.
    let mut crowd: Vec<Control> = (0..16).map(|_| Control::connect(&server.socket())).collect();
    crowd[15].ask("show", "work");
    stop(&server);
    // When it goes on, it learns at once that there is somebody new and that the oldest has gone.
    let mut newcomer = Control::connect(&server.socket());
    newcomer.send(b"{\"version\":1,\"request\":\"show\",\"account\":\"work\"}\n");
    crowd.remove(0);
    server.signal("CONT");
    assert!(newcomer.answer().is_some(), "the newcomer was sent away");
}

#[test]
fn a_crowd_at_the_redirect_listener_leaves_room_for_the_login() {
    let provider = Provider::start(Settings::default());
    let server = Pizauth::start_in(Home::new(&provider.account("work", "")).limited("-n 256"));
    let authority = redirect_authority(&server, "work");
    let crowd: Vec<TcpStream> = (0..400).map(|_| connect(&authority)).collect();
    if figures(server.pid()).is_some() {
        wait_until_asleep(server.pid());
    }
    server.authorize("work");
    assert_eq!(server.token("work"), provider.last_access_token());
    drop(crowd);
}

#[test]
fn a_redirect_that_has_come_is_not_given_up_for_who_says_nothing() {
    let provider = Provider::start(Settings::default());
    for (name, limits, silent, idle) in
        [("more browsers than may come", "-c 0", 0, 70), ("no free descriptor", "-n 32", 16, 7)]
    {
        let server = Pizauth::start_in(Home::new(&provider.account("work", "")).limited(limits));
        let redirect = http::get(&server.authorization_url("work"));
        let location = redirect.header("location").expect("a redirect").trim_start_matches("http://");
        let (authority, query) = location.split_once('/').expect("a path");
        let clients: Vec<Control> = (0..silent).map(|_| Control::connect(&server.socket())).collect();
        if figures(server.pid()).is_some() {
            wait_until_asleep(server.pid());
        }
        stop(&server);
        // When it goes on, all of them wait to be accepted, the login first.
        let mut login = connect(authority);
        let request = format!("GET /{query} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
        login.write_all(request.as_bytes()).expect("the kernel takes it");
        let browsers: Vec<TcpStream> = (0..idle).map(|_| connect(authority)).collect();
        server.signal("CONT");
        let mut status = [0; 12];
        login.read_exact(&mut status).unwrap_or_else(|error| panic!("{name}: no page: {error}"));
        assert_eq!(String::from_utf8_lossy(&status), "HTTP/1.1 200", "{name}");
        drop((clients, browsers));
        let token = server.run(&["show", "-w", "1m", "work"]).expect(0);
        assert_eq!(token.stdout.trim_end(), provider.last_access_token(), "{name}");
    }
}

#[test]
fn a_handshake_that_has_begun_is_not_given_up_for_who_says_nothing() {
    let provider = Provider::start(Settings::default());
    let server = Pizauth::start(&provider.account("work", "redirect_uri = \"https://localhost/\";"));
    let redirect = http::get(&server.authorization_url("work"));
    let location = redirect.header("location").expect("a redirect").trim_start_matches("https://");
    let (authority, query) = location.split_once('/').expect("a path");
    let port = authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port");
    stop(&server);
    let mut login = tls::greet(port).expect("the kernel takes it");
    let browsers: Vec<TcpStream> = (0..70).map(|_| connect(&format!("127.0.0.1:{port}"))).collect();
    server.signal("CONT");
    let request = format!("GET /{query} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
    login.write_all(request.as_bytes()).expect("a handshake");
    let mut page = String::new();
    login.read_to_string(&mut page).expect("a page");
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    assert_eq!(server.token("work"), provider.last_access_token());
    drop(browsers);
}

#[test]
fn a_command_without_end_is_refused_at_its_limit() {
    let provider = Provider::start(Settings::default());
    let server = Pizauth::start(&provider.account("work", ""));
    let before = peak(&server);
    let mut client = Control::connect(&server.socket());
    let chunk = [b' '; 64 * 1024];
    let taken = (0..1024).take_while(|_| client.send(&chunk)).count();
    assert!(taken < 1024, "all of 64 MB was taken");
    let refusal = client.answer().expect("a client that says too much is told so");
    assert_eq!(refusal["answer"], "failed", "{refusal}");
    let after = peak(&server);
    assert!(after <= before + ALLOWANCE, "{before} kB -> {after} kB");
    server.run(&["status"]).expect(0);
}

#[test]
fn commands_that_are_none_are_answered_and_change_nothing() {
    let provider = Provider::start(Settings::default());
    let server = Pizauth::start(&provider.account("work", ""));
    server.authorize("work");
    for (name, line) in [
        ("nothing", &b"\n"[..]),
        ("no JSON", b"show work\n"),
        ("no object", b"[1]\n"),
        ("no version", b"{\"request\":\"status\"}\n"),
        ("another version", b"{\"version\":2,\"request\":\"status\"}\n"),
        ("an unknown request", b"{\"version\":1,\"request\":\"format\"}\n"),
        ("a missing field", b"{\"version\":1,\"request\":\"show\"}\n"),
        ("no text", b"\xff\xfe\n"),
        ("nested deeply", &[&[b'['; 60_000][..], b"\n"].concat()),
        ("the old protocol", b"showtoken:0:work"),
    ] {
        let mut client = Control::connect(&server.socket());
        client.send(line);
        client.shutdown_write();
        let answer = client.answer().unwrap_or_else(|| panic!("{name}: no answer"));
        assert_eq!(answer["answer"], "failed", "{name}: {answer}");
        assert_eq!(answer["reason"], "error", "{name}: {answer}");
    }
    assert_eq!(server.token("work"), provider.last_access_token());
}

#[test]
fn heads_that_are_no_redirect_get_a_page_and_leave_the_login_open() {
    let provider = Provider::start(Settings::default());
    let server = Pizauth::start(&provider.account("work", ""));
    let url = server.authorization_url("work");
    let redirect = http::get(&url);
    let location = redirect.header("location").expect("a redirect").to_owned();
    let (authority, query) = location.trim_start_matches("http://").split_once('/').expect("a path");
    for (name, request) in [
        ("POST", format!("POST /{query} HTTP/1.1\r\nHost: {authority}\r\nContent-Length: 0\r\n\r\n")),
        ("HEAD", format!("HEAD /{query} HTTP/1.1\r\nHost: {authority}\r\n\r\n")),
        ("a prefetch", format!("GET /{query} HTTP/1.1\r\nHost: {authority}\r\nSec-Purpose: prefetch\r\n\r\n")),
        ("no Host", format!("GET /{query} HTTP/1.1\r\n\r\n")),
        ("two Hosts", format!("GET /{query} HTTP/1.1\r\nHost: {authority}\r\nHost: {authority}\r\n\r\n")),
        ("another Host", format!("GET /{query} HTTP/1.1\r\nHost: evil.example.org\r\n\r\n")),
        ("another path", format!("GET /x{query} HTTP/1.1\r\nHost: {authority}\r\n\r\n")),
        ("state twice", format!("GET /{query}&state=x HTTP/1.1\r\nHost: {authority}\r\n\r\n")),
        ("no HTTP", "hello\r\n\r\n".to_owned()),
        (
            "many header fields",
            format!("GET /{query} HTTP/1.1\r\nHost: {authority}\r\n{}\r\n", "a: b\r\n".repeat(1000)),
        ),
    ] {
        let answer = Exchange::send(authority, request.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!((400..500).contains(&answer.status), "{name}: {}", answer.status);
        assert_eq!(provider.token_requests().len(), 0, "{name}");
    }
    let half = connect(authority);
    let _ = (&half).write_all(b"GET / HTTP/1.1\r\n").and_then(|()| half.shutdown(Shutdown::Write));
    assert_eq!(http::get(&location).status, 200);
    assert_eq!(server.token("work"), provider.last_access_token());
}
