//! `reload` on the real binary: which file it reads, what becomes of open logins, and what a refused one leaves alone.

mod support;

use std::{
    fs,
    io::{BufRead, BufReader},
    net::{TcpListener, TcpStream, UdpSocket},
    process::{Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
};

use serde_json::Value;
use support::{
    PATIENCE, eventually, http,
    pace::Pace,
    process::living_in,
    provider::{Provider, Settings},
    server::{Home, Pizauth},
    tls, tool,
};

/// The lines of a stream as they come.
fn lines(stream: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || BufReader::new(stream).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    receiver
}

fn accounts_of(home: &Home) -> String {
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
    assert_eq!(accounts_of(&home), "home: No access token\nwork: No access token\n");
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

/// What `info` says of the running server.
fn info(home: &Home) -> String {
    home.run(&["info"]).expect(0).stdout
}

/// A configuration with these listeners.
fn listening(http: &str, https: &str, accounts: &str) -> String {
    let option = |name, address: &str| match address {
        "none" => format!("{name} = none;\n"),
        address => format!("{name} = \"{address}\";\n"),
    };
    [&option("http_listen", http), &option("https_listen", https), accounts].concat()
}

fn free_ports() -> [u16; 2] {
    let holders = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    holders.map(|holder| holder.local_addr().expect("an address").port())
}

#[test]
fn listeners_change_ports_and_addresses_with_each_other() {
    let provider = Provider::start(Settings::default());
    let accounts =
        [provider.account("home", "redirect_uri = \"https://localhost/\";"), provider.account("work", "")].concat();
    let [one, other] = free_ports();
    let at = |port| format!("127.0.0.1:{port}");
    let server = Pizauth::start(&listening(&at(one), &at(other), &accounts));
    server.authorization_url("work");
    server.configure(&listening(&at(other), &at(one), &accounts));
    assert_eq!(server.run(&["reload"]).expect(0).stderr, "");
    assert_eq!(http_port(&server), other.to_string());
    server.authorize("work");
    let redirect = http::get(&server.authorization_url("home"));
    let location = redirect.header("location").expect("a redirect").to_owned();
    assert!(location.starts_with(&format!("https://localhost:{one}/")), "{location}");
    tls::get(&location);
    for account in ["home", "work"] {
        let token = server.run(&["show", "-w", "1m", account]).expect(0);
        assert!(provider.is_honoured(token.stdout.trim_end()), "{account}");
    }
    if TcpListener::bind("[::1]:0").is_err() || !cfg!(target_os = "linux") {
        return println!("skipped: no ::1, or no 127.0.0.2");
    }

    // What both addresses share stays open, and what is left is closed.
    server.configure(&listening(&format!("127.0.0.2:{other}"), "none", &provider.account("work", "")));
    assert_eq!(server.run(&["reload"]).expect(0).stderr, "");
    for (address, is_open) in [
        (format!("127.0.0.2:{other}"), true),
        (format!("[::1]:{other}"), true),
        (format!("127.0.0.1:{other}"), false),
        (format!("127.0.0.1:{one}"), false),
        (format!("[::1]:{one}"), false),
    ] {
        assert_eq!(TcpStream::connect(&address).is_ok(), is_open, "{address}");
    }
    assert!((400..500).contains(&http::get(&format!("http://[::1]:{other}/")).status), "nobody answers");

    // An address that needs the own one closed first.
    let before = info(&server);
    let both = ["home", "work"].map(|name| provider.account(name, "")).concat();
    server.configure(&listening(&format!("0.0.0.0:{other}"), "none", &both));
    let refused = server.run(&["reload"]).expect(1);
    let told = "the running server itself holds 127.0.0.2";
    assert!(refused.stderr.contains(told) && refused.stderr.lines().count() == 1, "{}", refused.stderr);
    assert_eq!(info(&server), before);
    assert!(accounts_of(&server).starts_with("work: "), "the old accounts are there");
}

#[test]
fn the_other_family_is_listened_on_as_soon_as_it_is_free() {
    let Ok(stranger) = TcpListener::bind("[::1]:0") else { return println!("skipped: no ::1") };
    let port = stranger.local_addr().expect("an address").port();
    let provider = Provider::start(Settings::default());
    let server = Pizauth::start(&listening(&format!("127.0.0.1:{port}"), "none", &provider.account("work", "")));
    let warning = format!("[::1]:{port} is held by another program");
    for _ in 0..2 {
        assert!(info(&server).contains(&warning), "{}", info(&server));
        let told = server.run(&["reload"]).expect(0).stderr;
        assert!(told.contains(&warning), "{told}");
    }
    let url = server.authorization_url("work");
    drop(stranger);
    assert_eq!(server.run(&["reload"]).expect(0).stderr, "");
    assert!(!info(&server).contains("held by"), "{}", info(&server));
    assert_eq!(server.authorization_url("work"), url, "the listener did not move");
    let location = http::get(&url).header("location").expect("a redirect").to_owned();
    let page = http::get(&location.replace("localhost", "[::1]"));
    assert_eq!(page.status, 200, "{}", page.body);
    assert_eq!(server.run(&["show", "-w", "1m", "work"]).expect(0).stdout.trim_end(), provider.last_access_token());
}

/// Where the name server of these tests is: no address that a machine's own would have.
const NAME_SERVER: &str = "127.53.53.53:53";

/// A home whose server asks [`NAME_SERVER`] for names, except for `here.example`, which is 127.0.0.1. `None` where the
/// tests may not do that.
fn home_with_names(config: &str) -> Option<Home> {
    tool::find("unshare")?;
    let mut mount = Command::new("unshare");
    mount.args(["-m", "mount", "-t", "tmpfs", "none", "/mnt"]).stderr(Stdio::null());
    if !mount.status().is_ok_and(|status| status.success()) || !cfg!(target_env = "gnu") {
        tool::skip("no mounts, or another resolver");
        return None;
    }
    let home = Home::new(config);
    let (address, _) = NAME_SERVER.split_once(':').expect("an address");
    home.folder().write("resolv.conf", &format!("nameserver {address}\noptions timeout:30 attempts:1\n"));
    home.folder().write("hosts", "127.0.0.1 localhost here.example\n");
    home.folder().write("nsswitch.conf", "hosts: files dns\n");
    let mounts =
        "for file in resolv.conf hosts nsswitch.conf; do mount --bind $file /etc/$file || exit 1; done; exec \"$@\"";
    Some(home.limited(&format!("-c 0 && exec unshare -m sh -c '{mounts}' sh \"$@\"")))
}

#[test]
fn a_name_server_that_is_silent_holds_up_nobody() {
    let provider = Provider::start(Settings::default());
    let work = provider.account("work", "");
    let Some(home) = home_with_names(&work) else { return };
    let Ok(name_server) = UdpSocket::bind(NAME_SERVER) else { return tool::skip("no port 53") };
    name_server.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    let was_asked = || name_server.recv(&mut [0; 512]).expect("the name is asked for");
    let [port, _] = free_ports();
    let server = Pizauth::start_in(home);
    server.authorize("work");
    let before = info(&server);
    let pace = Pace::at_rest(&server.socket(), "work");

    server.configure(&listening(&format!("silent.example:{port}"), "none", &work));
    let reload = server.spawn(&["reload"], b"");
    was_asked();
    // Who asks meanwhile waits for the next one.
    let second = server.spawn(&["reload"], b"");
    pace.is_kept("a look-up", &server.socket(), "work");
    assert_eq!((reload.output_if_ended(), second.output_if_ended()), (None, None), "the reload waits");
    server.configure(&listening(&format!("here.example:{port}"), "none", &work));
    let refused = reload.finish().expect(1);
    let told =
        format!("pizauth: http_listen silent.example:{port}: no address was found for this name within 8 seconds\n");
    assert_eq!(refused.stderr, told);
    second.finish().expect(0);
    let listed = info(&server);
    assert!(before != listed && listed.contains(&port.to_string()), "{listed}");
    assert!(TcpStream::connect(("127.0.0.1", port)).is_ok(), "nobody listens at the name's address");

    // A name that is there already is not asked for again.
    server.configure(&listening(
        &format!("here.example:{port}"),
        "none",
        &[&*work, &provider.account("home", "")].concat(),
    ));
    server.run(&["reload"]).expect(0);
    assert!(accounts_of(&server).starts_with("home: "));

    // The end does not wait for an answer either.
    server.configure(&listening(&format!("silent.example:{port}"), "none", &work));
    let reload = server.spawn(&["reload"], b"");
    was_asked();
    server.run(&["shutdown"]).expect(0);
    reload.finish().expect(5);
    let (status, _) = server.wait();
    assert_eq!(status.code(), Some(0));
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
