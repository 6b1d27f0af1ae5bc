//! How the server starts, detaches, is told what to do by signals and service managers, and ends.

mod support;

use std::{
    fs,
    net::TcpListener,
    os::{
        fd::OwnedFd,
        unix::{
            fs::{PermissionsExt, chown, symlink},
            net::{UnixDatagram, UnixListener},
        },
    },
    process::{Command, Stdio},
};

use support::{
    PATIENCE,
    control::Control,
    eventually, eventually_some,
    folder::Folder,
    http,
    process::{figures, living_in, signal},
    provider::{Provider, Settings},
    server::{Home, Output, Pizauth},
    terminal::Terminal,
    within,
};

/// An account that nobody logs in to.
const ACCOUNT: &str = "account \"work\" {\n    auth_uri = \"https://login.example.com/authorize\";\n    \
                       token_uri = \"https://login.example.com/token\";\n    client_id = \"id\";\n}\n";

/// A server that has detached. Dropping it shuts it down, and panics where something is left.
struct Daemon(Home);

impl Daemon {
    #[track_caller]
    fn start(home: Home) -> Daemon {
        let started = home.run(&["server"]);
        let daemon = Daemon(home);
        started.expect(0);
        daemon
    }

    /// Its process, where the system tells.
    fn pid(&self) -> Option<u32> {
        living_in(self.0.folder().path()).first().map(|(pid, _)| *pid)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let stopped = self.0.run(&["shutdown"]);
        let left = || living_in(self.0.folder().path());
        if std::thread::panicking() {
            left().into_iter().for_each(|(pid, _)| _ = signal("KILL", pid.into()));
            return;
        }
        stopped.expect(0);
        assert!(!self.0.socket().exists(), "the socket is left");
        eventually("the end of the daemon", || left().is_empty());
    }
}

/// A start that must fail: exit 1, nothing on stdout, one line on stderr, nothing left. Returns the line.
#[track_caller]
fn refused(home: &Home) -> String {
    let mut lines = ["-d", "-v"].map(|option| {
        let output = home.run(&["server", option]).expect(1);
        assert_eq!(output.stdout, "");
        assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
        assert!(output.stderr.starts_with("pizauth: "), "{}", output.stderr);
        output.stderr.trim_end().to_owned()
    });
    assert_eq!(lines[0], lines[1], "detaching or not");
    assert_eq!(living_in(home.folder().path()), []);
    std::mem::take(&mut lines[0])
}

/// A home whose socket is found by XDG_RUNTIME_DIR alone.
fn runtime_home() -> Home {
    Home::new(ACCOUNT).without_env("PIZAUTH_SOCKET")
}

#[test]
fn a_server_that_has_detached_answers_at_once() {
    let home = Home::new(ACCOUNT);
    for _ in 0..10 {
        let daemon = Daemon::start(home.clone());
        daemon.0.run(&["show", "-u", "work"]).expect(3);
        let second = daemon.0.run(&["server"]).expect(1);
        assert_eq!(second.stderr, "pizauth: pizauth authenticator already running\n");
    }
}

#[test]
fn a_detached_server_works_like_any_other() {
    let provider = Provider::start(Settings::default());
    let daemon = Daemon::start(Home::new(&provider.account("work", "")));
    let shown = daemon.0.run(&["show", "work"]).expect(3).stderr;
    let url = shown.split_once("authorised with URL ").expect("a URL").1.trim_end();
    let page = http::browse(url).and_then(http::Exchange::finish).expect("a page");
    assert_eq!(page.status, 200, "{}", page.body);
    assert_eq!(daemon.0.run(&["show", "work"]).expect(0).stdout.trim_end(), provider.last_access_token());
    let before = provider.last_access_token();
    daemon.0.run(&["refresh", "-w", "1m", "work"]).expect(0);
    assert_ne!(daemon.0.run(&["show", "work"]).expect(0).stdout.trim_end(), before);
}

#[test]
fn a_detached_server_keeps_its_socket_fresh_by_a_deadline_of_its_loop() {
    let daemon = Daemon::start(Home::new(ACCOUNT));
    let Some(pid) = daemon.pid() else { return println!("skipped: no /proc") };
    assert_eq!(figures(pid).map(|figures| figures.threads), Some(1));
    // The alarm of an idle server is set to the next touch, at most six hours away.
    let seconds = |info: String| {
        let value = info.lines().find_map(|line| line.strip_prefix("it_value: ("))?.split(',').next()?.to_owned();
        value.parse::<u64>().ok().filter(|&seconds| seconds > 0)
    };
    let entries = || fs::read_dir(format!("/proc/{pid}/fdinfo"));
    if entries().is_err() {
        return println!("skipped: not root");
    }
    // It has answered before its loop waits for the first time.
    let alarms = eventually_some("an alarm", || {
        let infos = entries().ok()?.flatten().filter_map(|entry| fs::read_to_string(entry.path()).ok());
        Some(infos.filter_map(seconds).collect::<Vec<_>>()).filter(|alarms| !alarms.is_empty())
    });
    assert!(matches!(alarms[..], [left] if left <= 6 * 60 * 60), "{alarms:?}");
}

#[test]
fn a_taken_port_is_told_before_detaching() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("no loopback port");
    let address = holder.local_addr().expect("a bound listener has an address");
    let home = Home::new(&format!("http_listen = \"{address}\";\n{ACCOUNT}"));
    let line = refused(&home);
    assert!(line.contains(&address.to_string()), "{line}");
    drop(holder);
    let _daemon = Daemon::start(home);
}

#[test]
fn one_port_for_both_listeners_is_told_as_what_it_is() {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|holder| holder.local_addr()).expect("a free port");
    let port = address.port();
    for (http, https) in
        [(address.to_string(), format!("LOCALHOST:{port}")), (format!("0.0.0.0:{port}"), address.to_string())]
    {
        let home = Home::new(&format!("http_listen = \"{http}\";\nhttps_listen = \"{https}\";\n{ACCOUNT}"));
        let want = format!("pizauth: https_listen {https}: http_listen has this port already; take another port");
        // Only Linux keeps one address of a port from who wants it beside all of them.
        if cfg!(target_os = "linux") || !http.starts_with('0') {
            assert_eq!(refused(&home), want);
        }
    }
}

#[test]
fn a_bad_configuration_is_told_with_all_its_errors() {
    for (name, config, wanted) in [
        ("unknown option", format!("nonsense = 1;\n{ACCOUNT}"), &["pizauth.conf:1:1: "][..]),
        (
            "two errors",
            format!("nonsense = 1;\n{ACCOUNT}more = \"x\";\n"),
            &["pizauth.conf:1:1: ", "pizauth.conf:7:1: "],
        ),
        ("the same account twice", [ACCOUNT, ACCOUNT].concat(), &["pizauth.conf:6:9: ", "line 1", "twice"]),
        (
            "the same option twice",
            ACCOUNT.replace('}', "    client_id = \"x\";\n}"),
            &["pizauth.conf:5:5: ", "line 4", "twice"],
        ),
    ] {
        let home = Home::new(&config);
        for arguments in [&["check"][..], &["server"], &["server", "-d"]] {
            let Output { stderr, stdout, .. } = home.run(arguments).expect(1);
            assert_eq!(stdout, "", "{name}");
            for part in wanted {
                assert!(stderr.contains(part), "{name}: {arguments:?} lacks {part:?}: {stderr}");
            }
        }
        assert_eq!(living_in(home.folder().path()), [], "{name}");
        assert!(!home.socket().exists(), "{name}");
    }
    let home = Home::new(ACCOUNT);
    fs::remove_file(home.config_path()).expect("the configuration is there");
    let line = refused(&home);
    assert!(line.contains("pizauth.conf"), "{line}");
}

#[test]
fn an_unsafe_runtime_directory_is_refused_by_server_and_client() {
    type Spoil = fn(&Folder);
    let link: Spoil = |folder| {
        fs::remove_dir(folder.join("run/pizauth")).expect("it is empty");
        folder.make("elsewhere");
        symlink(folder.join("elsewhere"), folder.join("run/pizauth")).expect("a link");
    };
    let foreign: Spoil = |folder| {
        // Only root can do this.
        let _ = chown(folder.join("run/pizauth"), Some(54_321), None);
    };
    let readable: Spoil = |folder| set_mode(folder, "run/pizauth", 0o750);
    let searchable: Spoil = |folder| set_mode(folder, "run/pizauth", 0o701);
    let file: Spoil = |folder| {
        fs::remove_dir(folder.join("run/pizauth")).expect("it is empty");
        folder.write("run/pizauth", "");
    };
    let writable_parent: Spoil = |folder| set_mode(folder, "run", 0o777);
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    for (name, spoil, culprit) in [
        ("a link", link, "run/pizauth"),
        ("another's", foreign, "run/pizauth"),
        ("readable by the group", readable, "run/pizauth"),
        ("open to others", searchable, "run/pizauth"),
        ("a file", file, "run/pizauth"),
        ("in a folder where others can write", writable_parent, "run"),
    ] {
        if name == "another's" && !is_root {
            println!("skipped: not root");
            continue;
        }
        let home = runtime_home();
        spoil(home.folder());
        let line = refused(&home);
        let culprit = home.folder().join(culprit);
        assert!(line.contains(&culprit.display().to_string()), "{name}: {line}");
        let client = home.run(&["show", "work"]);
        assert_eq!(client.stdout, "", "{name}");
        // Root may look into the folders of others.
        if name != "another's" {
            assert!(client.stderr.contains(&culprit.display().to_string()), "{name}: {}", client.stderr);
        }
    }
    // A runtime directory that is a link, and folders that are not there yet, are the user's own choice.
    let home = runtime_home();
    symlink(home.folder().join("new"), home.folder().join("linked")).expect("a link");
    home.folder().make("new");
    let home = home.clone().env("XDG_RUNTIME_DIR", home.folder().join("linked"));
    home.run(&["server"]).expect(0);
    let mode = fs::metadata(home.folder().join("new/pizauth")).expect("it was made").permissions().mode();
    assert_eq!(mode & 0o7777, 0o700);
    home.run(&["show", "-u", "work"]).expect(3);
    home.run(&["shutdown"]).expect(0);
}

fn set_mode(folder: &Folder, name: &str, mode: u32) {
    fs::set_permissions(folder.join(name), fs::Permissions::from_mode(mode)).expect("its own folder");
}

#[test]
fn a_killed_daemon_can_be_started_again_many_times() {
    let home = Home::new(ACCOUNT);
    if figures(std::process::id()).is_none() {
        return println!("skipped: no /proc");
    }
    for _ in 0..3 {
        home.run(&["server"]).expect(0);
        let daemons = living_in(home.folder().path());
        assert!(!daemons.is_empty());
        daemons.into_iter().for_each(|(pid, _)| assert!(signal("KILL", pid.into())));
        eventually("the end of a killed server", || living_in(home.folder().path()).is_empty());
        assert!(home.socket().exists());
        home.run(&["show", "work"]).expect(5);
    }
    // Each takes the stale socket's place.
    let _daemon = Daemon::start(home);
}

#[test]
fn a_socket_that_was_removed_comes_back() {
    let daemon = Daemon::start(Home::new(ACCOUNT));
    let Some(pid) = daemon.pid() else { return println!("skipped: no /proc") };
    fs::remove_file(daemon.0.socket()).expect("the socket is there");
    daemon.0.run(&["status"]).expect(5);
    daemon.0.run(&["server"]).expect(1);
    assert!(signal("HUP", pid.into()));
    eventually("a new socket", || daemon.0.run(&["status"]).status == 0);
}

#[test]
fn a_signal_leaves_no_socket_and_no_child() {
    for name in ["TERM", "INT"] {
        let config =
            format!("startup_cmd = \"touch ready\";\nauth_notify_cmd = \"sleep 1000 & sleep 1000\";\n{ACCOUNT}");
        let server = Pizauth::start(&config);
        eventually("the start of startup_cmd", || server.folder().join("ready").exists());
        server.authorization_url("work");
        eventually("the notifier", || living_in(server.folder().path()).len() >= 3 || figures(1).is_none());
        server.signal(name);
        let (status, home) = server.wait();
        assert_eq!(status.code(), Some(0), "{name}");
        assert!(!home.socket().exists(), "{name}");
        eventually("the end of the children", || living_in(home.folder().path()).is_empty());
        assert_eq!(home.run(&["status"]).expect(5).stdout, "");
    }
}

#[test]
fn the_service_manager_is_told_of_start_reload_and_end() {
    let folder = Folder::new();
    let manager = UnixDatagram::bind(folder.join("notify")).expect("a socket");
    manager.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    let told = || {
        let mut buffer = [0; 4096];
        let length = manager.recv(&mut buffer).expect("a message to the service manager");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let hooks = format!("startup_cmd = \"env > {}/env\";\n", folder.path().display());
    let home = Home::new(&[hooks.as_str(), ACCOUNT].concat()).env("NOTIFY_SOCKET", folder.join("notify"));
    let home = home.env("LISTEN_FDNAMES", "control").env("LISTEN_PIDFDID", "1");
    let server = Pizauth::start_in(home);
    assert_eq!(told(), "READY=1\n");
    for (name, config) in [("good", ACCOUNT), ("bad", "nonsense")] {
        server.configure(config);
        server.signal("HUP");
        let reloading = told();
        let since = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect(name);
        assert!(since.trim_end().parse::<u64>().is_ok_and(|since| since > 0), "{name}: {since}");
        assert_eq!(told(), "READY=1\n", "{name}");
        server.run(&["show", "-u", "work"]).expect(3);
    }
    eventually("startup_cmd's environment", || folder.read("env").contains("PATH="));
    for variable in ["NOTIFY_SOCKET", "LISTEN_"] {
        assert!(!folder.read("env").contains(variable), "{variable} reaches hooks");
    }
    server.shutdown();
    assert_eq!(told(), "STOPPING=1\n");
}

#[test]
fn a_passed_socket_is_served_and_left_alone() {
    let home = Home::new(ACCOUNT);
    let path = home.folder().join("passed.sock");
    let home = home.env("PIZAUTH_SOCKET", &path);
    let listener = UnixListener::bind(&path).expect("a socket");
    // As a service manager does it: descriptor 3, and the process that it is for.
    let script = "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ LISTEN_FDNAMES=control; \
                  export LISTEN_FDS LISTEN_PID LISTEN_FDNAMES; exec \"$@\"";
    let inner = home.command(&["server", "-d"]);
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script, "sh"]).arg(inner.get_program()).args(inner.get_args());
    command.env_clear().envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(home.folder().path()).stdin(Stdio::from(OwnedFd::from(listener)));
    let log = fs::File::create(home.folder().join("log")).expect("a log file");
    let mut server = command.stdout(Stdio::null()).stderr(log).spawn().expect("no /bin/sh");
    // Asked before it is there, the socket keeps who comes.
    let shown = home.run(&["show", "-u", "work"]);
    if shown.status != 3 {
        let _ = server.kill();
    }
    assert_eq!(shown.status, 3, "{} {}", shown.stderr, home.log());
    home.run(&["shutdown"]).expect(0);
    let status = eventually_some("the end of the server", || server.try_wait().expect("a child can be waited for"));
    assert_eq!(status.code(), Some(0), "{}", home.log());
    assert!(path.exists(), "the service manager's socket is removed");
}

#[test]
fn a_terminal_that_nobody_reads_holds_nobody_up() {
    let home = Home::new(ACCOUNT);
    let mut terminal = Terminal::open();
    let mut server = terminal.start(home.command(&["server", "-d", "-vvvv"]));
    terminal.read_until("pizauth: next: ");
    let mut client = Control::connect(&home.socket());
    let answered = (0..2_000).take_while(|_| {
        client.send(b"{\"version\":1,\"request\":\"status\",\"accounts\":[]}\n") && client.answer().is_some()
    });
    let answered = answered.count();
    if answered < 2_000 {
        let _ = server.kill();
        let _ = server.wait();
        panic!("{answered} requests were answered");
    }
    home.run(&["shutdown"]).expect(0);
    let status = eventually_some("the end of the server", || server.try_wait().expect("a child can be waited for"));
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_terminal_that_stops_who_writes_in_the_background_does_not_stop_the_server() {
    let home = Home::new(ACCOUNT);
    let terminal = Terminal::open();
    let mut mode = terminal.mode();
    mode.c_lflag |= libc::TOSTOP;
    terminal.set_mode(&mode);
    let inner = home.command(&["server", "-d", "-vvvv"]);
    let mut shell = Command::new("/bin/sh");
    // A job in the background, as a user's shell makes it.
    shell.args(["-c", "set -m; \"$@\" & wait $!", "sh"]).arg(inner.get_program()).args(inner.get_args());
    shell.env_clear().envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.current_dir(home.folder().path());
    let mut shell = terminal.start(shell);
    if within(PATIENCE, || (home.run(&["show", "-u", "work"]).status == 3).then_some(())).is_none() {
        living_in(home.folder().path()).into_iter().for_each(|(pid, _)| _ = signal("KILL", pid.into()));
        let _ = shell.wait();
        panic!("the server is stopped");
    }
    home.run(&["shutdown"]).expect(0);
    let status = eventually_some("the end of the shell", || shell.try_wait().expect("a child can be waited for"));
    assert_eq!(status.code(), Some(0));
}

#[test]
fn closed_standard_streams_do_no_harm() {
    let home = Home::new(ACCOUNT);
    let inner = home.command(&["server"]);
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "exec \"$@\" <&- >&- 2>&-", "sh"]).arg(inner.get_program()).args(inner.get_args());
    command.env_clear().envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let status = command.current_dir(home.folder().path()).status().expect("no /bin/sh");
    let daemon = Daemon(home);
    assert_eq!(status.code(), Some(0));
    daemon.0.run(&["show", "-u", "work"]).expect(3);
}
