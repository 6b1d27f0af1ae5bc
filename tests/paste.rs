//! `pizauth auth` where the browser cannot reach the listener: its redirect URL is pasted.

mod support;

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use support::{
    PATIENCE, eventually, http,
    provider::{Answer, Approval, Provider, Settings},
    server::Pizauth,
};

/// `pizauth auth` with pipes.
struct Auth {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
}

fn lines(stream: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || BufReader::new(stream).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    receiver
}

impl Auth {
    fn start(server: &Pizauth, arguments: &[&str]) -> Auth {
        let mut command = server.command(&[&["auth"], arguments].concat());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("a process");
        let stdin = child.stdin.take();
        let stdout = lines(child.stdout.take().expect("a pipe"));
        let stderr = lines(child.stderr.take().expect("a pipe"));
        Auth { child, stdin, stdout, stderr }
    }

    #[track_caller]
    fn url(&self) -> String {
        self.stdout.recv_timeout(PATIENCE).expect("a URL on stdout")
    }

    fn paste(&mut self, text: &str) {
        self.stdin.as_mut().expect("a pipe").write_all(text.as_bytes()).expect("it reads");
    }

    #[track_caller]
    fn told(&self) -> String {
        self.stderr.recv_timeout(PATIENCE).expect("a line on stderr")
    }

    /// Its exit status, and that it has said no more than was read.
    #[track_caller]
    fn finish(mut self) -> Option<i32> {
        let mut status = None;
        eventually("the end of auth", || {
            status = self.child.try_wait().expect("a child can be waited for");
            status.is_some()
        });
        let rest: Vec<String> = self.stdout.iter().chain(self.stderr.iter()).collect();
        assert_eq!(rest, [""; 0]);
        status.and_then(|status| status.code())
    }
}

impl Drop for Auth {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the browser's address bar shows in the end, without a request to the listener.
#[track_caller]
fn redirect(url: &str) -> String {
    http::get(url).header("location").expect("a redirect").to_owned()
}

#[test]
fn a_pasted_redirect_brings_the_token_and_wrong_ones_are_told() {
    let provider = Provider::start(Settings::default());
    let config = [provider.account("home", ""), provider.account("work", "")].concat();
    let server = Pizauth::start(&config);
    let of_home = redirect(&server.authorization_url("home"));
    let mut auth = Auth::start(&server, &["work"]);
    let url = auth.url();
    let right = redirect(&url);
    let (start, query) = right.split_once('?').expect("a query");
    let state = query.split('&').find(|field| field.starts_with("state=")).expect("a state");
    let port = start.rsplit_once(':').map_or("", |(_, port)| port);
    for (name, paste) in [
        ("of another account", of_home.clone()),
        ("another state", right.replace("state=", "state=x")),
        ("another host", right.replace("localhost", "evil.example")),
        ("another scheme", right.replacen("http:", "https:", 1)),
        ("another path", right.replacen("/?", "/other?", 1)),
        ("another port", right.replacen(port, "1/", 1)),
        ("cut short in the state", right[..right.len() - 5].to_owned()),
        ("cut short before the state", format!("{start}?{}", query.split('&').next().unwrap_or_default())),
        ("without code", format!("{start}?{state}")),
        ("the authorization URL", url.clone()),
        ("two codes", format!("{right}&code=x")),
        ("only words", "hello".to_owned()),
        ("a control character", right.replacen("code=", "code=\u{1b}[2J", 1)),
    ] {
        auth.paste(&format!("{paste}\n"));
        let told = auth.told();
        assert!(told.starts_with("pizauth: work: ") && told.ends_with("still waiting"), "{name}: {told}");
        assert!(!told.contains(char::is_control), "{name}: {told}");
        let code = query.split('&').find_map(|field| field.strip_prefix("code=")).expect("a code");
        assert!(!told.contains(code) && !told.contains(&state[6..]), "{name}: {told}");
    }
    assert!(provider.token_requests().is_empty());
    auth.paste(&format!(" \t{right}  \r\n"));
    assert_eq!(auth.finish(), Some(0));
    assert_eq!(server.token("work"), provider.last_access_token());

    // What was pasted at the wrong place is still good at the right one.
    http::get(&of_home);
    assert_eq!(server.token("home"), provider.last_access_token());
    assert_eq!(provider.counters().codes_reused, 0);
}

#[test]
fn the_bare_query_without_a_line_break_is_enough() {
    let provider = Provider::start(Settings::default());
    let server = Pizauth::start(&provider.account("work", ""));
    for end in ["", "\n"] {
        let mut auth = Auth::start(&server, &["-u", "work"]);
        let right = redirect(&auth.url());
        let query = right.split_once('?').expect("a query").1;
        auth.paste(&format!("{query}{end}"));
        if end.is_empty() {
            auth.stdin = None;
        }
        assert_eq!(auth.finish(), Some(0));
        assert_eq!(server.token("work"), provider.last_access_token());
    }
}

#[test]
fn the_listener_may_be_first() {
    let provider = Provider::start(Settings::default());
    let server = Pizauth::start(&provider.account("work", ""));
    let mut auth = Auth::start(&server, &["work"]);
    let right = redirect(&auth.url());
    auth.paste("not yet\n");
    auth.told();
    http::get(&right);
    assert_eq!(auth.finish(), Some(0));
    assert_eq!(provider.counters().codes_redeemed, 1);
}

#[test]
fn a_valid_token_is_kept_until_the_new_one_is_there() {
    let provider = Provider::start(Settings::default());
    let events = "token_event_cmd = \"echo $PIZAUTH_ACCOUNT $PIZAUTH_EVENT >>$HOME/events\";\n";
    let server = Pizauth::start(&(events.to_owned() + &provider.account("work", "")));
    server.authorize("work");
    let token = server.token("work");
    let mut auth = Auth::start(&server, &["work"]);
    let url = auth.url();
    assert_eq!(server.token("work"), token);

    // An authorization that is open is continued.
    let again = server.run(&["auth", "-n", "work"]).expect(0);
    assert_eq!((again.stdout.trim_end(), again.stderr.as_str()), (url.as_str(), ""));
    let up = server.run(&["auth", "-w", "1s", "work"]).expect(3);
    assert_eq!(up.stdout.trim_end(), url);
    assert_eq!(server.token("work"), token);

    auth.paste(&format!("{}\n", redirect(&url)));
    assert_eq!(auth.finish(), Some(0));
    assert_ne!(server.token("work"), token);
    eventually("both events", || server.folder().read("home/events") == "work token_new\nwork token_new\n");
}

#[test]
fn auth_ends_with_what_the_provider_says() {
    let provider = Provider::start(Settings { approval: Approval::Denied, ..Settings::default() });
    let server = Pizauth::start(&provider.account("work", ""));
    let mut auth = Auth::start(&server, &["work"]);
    let refused = redirect(&auth.url());
    auth.paste(&format!("{refused}\n"));
    let told = auth.told();
    assert!(told.contains("access_denied") && told.contains("the user said no"), "{told}");
    let mut rest = vec![told];
    rest.extend(auth.stderr.iter());
    assert!(rest.iter().all(|line| line.starts_with("pizauth: ")), "{rest:?}");
    assert_eq!(auth.finish(), Some(1));

    provider.change(|settings| settings.approval = Approval::Automatic);
    provider.next_token_answer(Answer::error(400, "invalid_client", "who are you?"));
    let mut auth = Auth::start(&server, &["work"]);
    let right = redirect(&auth.url());
    auth.paste(&format!("{right}\n"));
    let told: Vec<String> = auth.stderr.iter().collect();
    assert!(told.iter().any(|line| line.contains("who are you?")), "{told:?}");
    assert_eq!(auth.finish(), Some(1));
}

#[test]
fn auth_ends_with_the_server() {
    let provider = Provider::start(Settings::default());
    let server = Pizauth::start(&provider.account("work", ""));
    let auth = Auth::start(&server, &["work"]);
    auth.url();
    let start = Instant::now();
    server.shutdown();
    assert!(auth.told().starts_with("pizauth: "));
    assert_eq!(auth.finish(), Some(5));
    assert!(start.elapsed() < Duration::from_secs(20));
}
