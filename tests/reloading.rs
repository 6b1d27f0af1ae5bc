//! `reload` on the real binary: which file it reads, what becomes of open logins, and what a refused one leaves alone.

mod support;

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
};

use serde_json::Value;
use support::{
    PATIENCE, eventually, http,
    process::living_in,
    provider::{Provider, Settings},
    server::{Home, Pizauth},
};

/// The lines of a stream as they come.
fn lines(stream: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || BufReader::new(stream).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    receiver
}

fn accounts(home: &Home) -> String {
    home.run(&["status"]).expect(0).stdout
}

fn http_port(home: &Home) -> String {
    let info: Value = serde_json::from_str(&home.run(&["info", "-j"]).expect(0).stdout).expect("JSON");
    info["server_info"]["http_port"].as_str().expect("a port").to_owned()
}

#[test]
fn the_file_that_c_names_is_found_again_and_hooks_keep_the_folder() {
    let provider = Provider::start(Settings::default());
    let home = Home::new("nonsense");
    home.folder().make("etc");
    home.folder().make("elsewhere");
    let work = provider.account("work", "");
    let hook = "startup_cmd = \"pwd >pwd.new && mv pwd.new pwd\";\n";
    home.folder().write("etc/my.conf", &[hook, &work].concat());
    let mut server = home.command(&["server", "-c", "../etc/my.conf"]);
    server.current_dir(home.folder().join("elsewhere"));
    assert!(server.status().expect("a process").success());
    let folder = home.folder().join("elsewhere").display().to_string();
    eventually("startup_cmd", || home.folder().read("elsewhere/pwd").trim_end() == folder);

    home.folder().write("etc/my.conf", &[work.as_str(), &provider.account("home", "")].concat());
    home.run(&["reload"]).expect(0);
    assert_eq!(accounts(&home), "home: No access token\nwork: No access token\n");
    home.run(&["shutdown"]).expect(0);
    eventually("the end of the server", || living_in(home.folder().path()).is_empty());
}

#[test]
fn a_port_that_cannot_be_bound_leaves_everything_as_it_was() {
    let provider = Provider::start(Settings::default());
    let work = provider.account("work", "");
    let server = Pizauth::start(&work);
    let url = server.authorization_url("work");
    let port = http_port(&server);
    let stranger = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = stranger.local_addr().expect("an address").to_string();
    server.configure(&format!("http_listen = \"{taken}\";\n{work}{}", provider.account("home", "")));
    let refused = server.run(&["reload"]).expect(1);
    assert_eq!((refused.stdout.as_str(), refused.stderr.lines().count()), ("", 1), "{}", refused.stderr);
    assert!(refused.stderr.contains(&taken), "{}", refused.stderr);
    server.signal("HUP");
    server.wait_for_log("not reloaded");
    assert_eq!(http_port(&server), port);
    server.run(&["show", "home"]).expect(1);
    assert_eq!(server.authorization_url("work"), url, "the login stays open");
    server.authorize("work");
    assert_eq!(server.token("work"), provider.last_access_token());
}

#[test]
fn a_listener_that_moves_asks_anew_for_the_open_logins() {
    let provider = Provider::start(Settings::default());
    let work = provider.account("work", "");
    let server = Pizauth::start(&work);
    let mut auth = server.command(&["auth", "work"]);
    let mut auth = auth.stdout(Stdio::piped()).spawn().expect("a process");
    let urls = lines(auth.stdout.take().expect("a pipe"));
    let old = urls.recv_timeout(PATIENCE).expect("a URL");
    let left = http_port(&server);

    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    server.configure(&format!("http_listen = \"{free}\";\n{work}"));
    server.run(&["reload"]).expect(0);
    let new = urls.recv_timeout(PATIENCE).expect("a new URL");
    let redirect_uri = |url: &str| http::field(&http::query(url), "redirect_uri").expect("a redirect_uri").to_owned();
    assert_eq!(redirect_uri(&old), format!("http://localhost:{left}/"));
    assert_eq!(redirect_uri(&new), format!("http://localhost:{}/", free.port()));
    assert!(std::net::TcpStream::connect(format!("127.0.0.1:{left}")).is_err(), "the old port is still listened on");

    let page = http::browse(&new).and_then(http::Exchange::finish).expect("a page");
    assert_eq!(page.status, 200, "{}", page.body);
    assert_eq!(auth.wait().expect("its end").code(), Some(0));
    assert!(urls.iter().next().is_none());
    assert_eq!(server.token("work"), provider.last_access_token());
}

#[test]
fn a_configuration_that_is_no_file_is_not_waited_for() {
    let provider = Provider::start(Settings::default());
    let account = provider.account("work", "");
    let server = Pizauth::start(&account);
    fs::remove_file(server.config_path()).expect("a configuration");
    let made = Command::new("mkfifo").arg(server.config_path()).status().expect("mkfifo");
    assert!(made.success());
    let refused = server.run(&["reload"]).expect(1);
    assert!(refused.stderr.contains("not a regular file"), "{}", refused.stderr);
    fs::remove_file(server.config_path()).expect("a pipe");
    server.configure(&[account.as_str(), &provider.account("home", "")].concat());
    server.run(&["reload"]).expect(0);
    server.run(&["show", "home"]).expect(3);
}
