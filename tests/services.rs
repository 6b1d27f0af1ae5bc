//! What starts pizauth at login or boot: systemd's units, the launchd agent, rc.d scripts and the autostart entry, as
//! far as the tools of those systems, or their protocols, are here.

mod support;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use support::{eventually_some, folder::Folder, server::Home, tool};

const PROGRAM: &str = env!("CARGO_BIN_EXE_pizauth");

/// An account that nobody logs in to.
const ACCOUNT: &str = "account \"work\" { auth_uri = \"https://login.example/authorize\"; \
                       token_uri = \"https://login.example/token\"; client_id = \"id\"; }";

/// The text of a file in conf/service.
fn service(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/service").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Whether a command ended well, and all that it said.
fn outcome(command: &mut Command) -> (bool, String) {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// The units in a folder, as `make install-systemd` makes them.
fn units() -> Folder {
    let folder = Folder::new();
    for name in ["pizauth.service", "pizauth.socket"] {
        folder.write(name, &service(name).replace("/usr/local/bin/pizauth", PROGRAM));
    }
    folder
}

/// What systemd says of the units, but for the type that systemd before 253 does not know.
fn verify(tool: &Path, folder: &Folder) -> Vec<String> {
    let mut command = Command::new(tool);
    command.args(["--user", "--man=no", "verify"]).args(["pizauth.service", "pizauth.socket"]);
    command.current_dir(folder.path()).env("HOME", folder.path()).env("XDG_RUNTIME_DIR", folder.path());
    let (is_success, said) = outcome(&mut command);
    let is_old = |line: &str| line.ends_with("Failed to parse service type, ignoring: notify-reload");
    let mut lines: Vec<_> = said.lines().filter(|line| !is_old(line)).map(str::to_owned).collect();
    if !is_success {
        lines.push("it failed".to_owned());
    }
    lines
}

#[test]
fn systemd_finds_no_fault_with_the_units() {
    let Some(tool) = tool::find("systemd-analyze") else { return };
    let folder = units();
    assert_eq!(verify(&tool, &folder), Vec::<String>::new());
    folder.make("pizauth.service.d");
    folder.write("pizauth.service.d/hardening.conf", &service("hardening.conf"));
    assert_eq!(verify(&tool, &folder), Vec::<String>::new(), "with the drop-in");
    folder.write("pizauth.service.d/hardening.conf", "[Service]\nNoSuchSetting=yes\n");
    assert!(!verify(&tool, &folder).is_empty(), "a fault would be found");
}

#[test]
fn the_socket_unit_names_the_place_where_clients_look() {
    let unit = service("pizauth.socket");
    // %t is XDG_RUNTIME_DIR.
    assert!(unit.contains("\nListenStream=%t/pizauth/pizauth.sock\n"), "{unit}");
    assert!(unit.contains("\nSocketMode=0600\n") && unit.contains("\nDirectoryMode=0700\n"), "{unit}");
}

#[test]
fn the_first_client_starts_a_server_by_socket_activation() {
    let Some(tool) = tool::find("systemd-socket-activate") else { return };
    let home = Home::new(ACCOUNT).without_env("PIZAUTH_SOCKET");
    let mut command = Command::new(tool);
    command.arg("--listen").arg(home.socket());
    // It gives the server a few variables only.
    let pizauth = home.command(&["server", "-d"]);
    for (name, value) in pizauth.get_envs().filter_map(|(name, value)| Some((name, value?))) {
        command.arg(format!("--setenv={}={}", name.to_string_lossy(), value.to_string_lossy()));
    }
    command.arg(pizauth.get_program()).args(pizauth.get_args());
    let log = fs::File::create(home.folder().join("log")).expect("a log file");
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let mut activator = command.current_dir(home.folder().path()).spawn().expect("systemd-socket-activate");
    eventually_some("the socket", || home.socket().exists().then_some(()));

    let shown = home.run(&["show", "-u", "work"]);
    let info = home.run(&["info", "-j"]);
    let stopped = home.run(&["shutdown"]);
    if stopped.status != 0 {
        let _ = activator.kill();
    }
    let status = eventually_some("the end of the server", || activator.try_wait().expect("a child can be waited for"));
    assert_eq!(shown.status, 3, "{}; {}", shown.stderr, home.log());
    let info: Value = serde_json::from_str(&info.expect(0).stdout).expect("JSON");
    assert_eq!(info["server_running"], true);
    assert_eq!(status.code(), Some(0), "{}", home.log());
    assert!(home.socket().exists(), "the service manager's socket is removed");
}

#[test]
fn the_launchd_agent_says_what_it_should() {
    let Some(python) = tool::find("python3") else { return };
    let folder = Folder::new();
    let file = folder.write("pizauth.plist", &service("pizauth.plist"));
    let script = "import json, plistlib, sys; print(json.dumps(plistlib.load(open(sys.argv[1], 'rb'))))";
    let (is_success, said) = outcome(Command::new(python).args(["-c", script]).arg(file));
    assert!(is_success, "{said}");
    let agent: Value = serde_json::from_str(&said).expect("JSON");
    for (key, want) in [
        ("Label", json!("pizauth")),
        ("ProgramArguments", json!(["/usr/local/bin/pizauth", "server", "-d"])),
        ("RunAtLoad", json!(true)),
        ("KeepAlive", json!({ "SuccessfulExit": false })),
        ("Umask", json!(0o077)),
    ] {
        assert_eq!(agent[key], want, "{key}");
    }
    let path = agent["EnvironmentVariables"]["PATH"].as_str().expect("a PATH for hooks");
    assert!(path.split(':').all(|folder| folder.starts_with('/')), "{path}");
}

#[test]
fn the_autostart_entry_is_valid() {
    let Some(tool) = tool::find("desktop-file-validate") else { return };
    let folder = Folder::new();
    let file = folder.write("pizauth.desktop", &service("pizauth.desktop"));
    assert_eq!(outcome(Command::new(tool).arg(file)), (true, String::new()));
    assert!(service("pizauth.desktop").contains("\nExec=pizauth server\n"));
}

/// An rc.d script with a subroutine library of the test's own, whose commands only write down what they were asked.
struct Script {
    folder: Folder,
    file: PathBuf,
}

impl Script {
    fn new(system: &str, library: &str, subroutines: &str) -> Script {
        let folder = Folder::new();
        let own = folder.write("rc.subr", subroutines);
        let text = service(&format!("rc.d/{system}"));
        assert!(text.contains(&format!("\n. {library}\n")), "{system}");
        let file = folder.write("pizauth", &text.replace(library, &own.display().to_string()));
        for tool in ["su", "pkill", "pgrep"] {
            let text = format!("#!/bin/sh\necho {tool} \"$*\"\ncase $* in *bob*) exit 1 ;; esac\n");
            let tool = folder.write(tool, &text);
            fs::set_permissions(tool, fs::Permissions::from_mode(0o700)).expect("a mode");
        }
        Script { folder, file }
    }

    fn run(&self, action: &str) -> (bool, String) {
        let path = format!("{}:{}", self.folder.path().display(), std::env::var("PATH").unwrap_or_default());
        outcome(Command::new("/bin/sh").arg(&self.file).arg(action).env("PATH", path))
    }
}

#[test]
fn rc_scripts_are_shell_text() {
    for system in ["freebsd", "netbsd", "openbsd"] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/service/rc.d").join(system);
        assert_eq!(outcome(Command::new("/bin/sh").arg("-n").arg(file)), (true, String::new()), "{system}");
    }
}

#[test]
fn rc_scripts_of_freebsd_and_netbsd_ask_every_user() {
    let subroutines = "load_rc_config() { pizauth_users='alice bob carol'; }\n\
                       run_rc_command() { eval \"\\$${1}_cmd\"; }\n";
    for system in ["freebsd", "netbsd"] {
        let script = Script::new(system, "/etc/rc.subr", subroutines);
        for (action, command) in [("start", "server"), ("stop", "shutdown"), ("reload", "reload"), ("status", "status")]
        {
            let lines = |user: &str| {
                format!("pizauth: {command} for {user}\nsu -l {user} -c /usr/local/bin/pizauth {command}\n")
            };
            let want = ["alice", "bob", "carol"].map(lines).concat();
            assert_eq!(script.run(action), (false, want), "{system} {action}: one of them fails");
        }
    }
}

#[test]
fn the_rc_script_of_openbsd_asks_its_user_only() {
    let subroutines = "daemon_user=alice; pexp=$daemon\nrc_cmd() { rc_$1; }\n";
    let script = Script::new("openbsd", "/etc/rc.d/rc.subr", subroutines);
    for (action, want) in [
        ("check", "pgrep -q -U alice -xf /usr/local/bin/pizauth server\n"),
        ("reload", "pkill -HUP -U alice -xf /usr/local/bin/pizauth server\n"),
        ("stop", "pkill -TERM -U alice -xf /usr/local/bin/pizauth server\n"),
        ("pre", ""),
    ] {
        assert_eq!(script.run(action), (true, want.to_owned()), "{action}");
    }
    let for_root = Script::new("openbsd", "/etc/rc.d/rc.subr", &subroutines.replace("alice", "root"));
    assert!(!for_root.run("pre").0, "not for root");
}
