//! The real binary without a server: usage, help, exit statuses, and what goes to which stream.
#![allow(clippy::unwrap_used)]

use std::{
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader, ErrorKind, Write},
    os::{
        fd::OwnedFd,
        unix::{
            ffi::OsStringExt,
            fs::PermissionsExt,
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use pizauth::cli::command::{COMMANDS, Operands, synopsis};

/// A folder of a test's own, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("pizauth-cli-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        Folder(path)
    }

    /// A command of which no server and no configuration of the user is in reach.
    fn pizauth(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pizauth"));
        command.args(arguments).stdin(Stdio::null());
        command.env("PIZAUTH_SOCKET", self.socket()).env("XDG_CONFIG_HOME", &self.0);
        command
    }

    fn socket(&self) -> PathBuf {
        self.0.join("pizauth.sock")
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn help_and_version_go_to_stdout() {
    let folder = Folder::new("help");
    let mut lines = vec![vec!["-h"], vec!["--help"], vec!["-V"], vec!["--version"]];
    lines.extend(COMMANDS.iter().map(|command| vec![command.name, "-h"]));
    for line in lines {
        let output = folder.pizauth(&line).output().unwrap();
        assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""), "{line:?}");
        let want = match COMMANDS.iter().find(|command| Some(&command.name) == line.first()) {
            Some(command) => format!("Usage: {}\n", synopsis(command)),
            None if line[0].to_lowercase().ends_with('h') || line[0] == "--help" => "Usage:\n".to_owned(),
            None => concat!("pizauth ", env!("CARGO_PKG_VERSION"), "\n").to_owned(),
        };
        assert!(stdout(&output).starts_with(&want), "{line:?}: {}", stdout(&output));
    }
}

#[test]
fn wrong_usage_is_told_on_stderr_with_status_2() {
    let folder = Folder::new("usage");
    for (line, want) in [
        (vec![], "Usage:\n  pizauth auth "),
        (vec!["shwo"], "pizauth: unknown command \"shwo\"; did you mean \"show\"?\nUsage:\n  pizauth auth "),
        (vec!["show"], "pizauth: the account is missing\nUsage: pizauth show "),
        (vec!["show", "-w", "soon", "work"], "pizauth: -w: \"soon\" is not a time such as 30s, 10m, 2h or 1d\nUsage: "),
    ] {
        let output = folder.pizauth(&line).output().unwrap();
        assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(2), ""), "{line:?}");
        assert!(stderr(&output).starts_with(want), "{line:?}: {}", stderr(&output));
    }
    let mut command = folder.pizauth(&["show"]);
    command.arg(std::ffi::OsString::from_vec(vec![b'w', 0xff]));
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).starts_with("pizauth: the argument \"w\\xFF\" is not UTF-8\n"), "{}", stderr(&output));
}

#[test]
fn without_a_server_every_client_exits_with_5_and_one_line() {
    let folder = Folder::new("none");
    let clients = COMMANDS.iter().filter(|command| !["check", "discover", "info", "server"].contains(&command.name));
    for command in clients {
        let mut line = vec![command.name];
        match command.operands {
            Operands::Account | Operands::AccountOperation => line.push("work"),
            Operands::None | Operands::Accounts | Operands::Url => {}
        }
        let output = folder.pizauth(&line).output().unwrap();
        assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(5), ""), "{line:?}");
        let message = stderr(&output);
        assert!(message.starts_with("pizauth: no server running"), "{line:?}: {message}");
        assert!(message.contains("pizauth authenticator not running or not responding"), "{line:?}: {message}");
        assert_eq!(message.lines().count(), 1, "{line:?}: {message}");
    }
}

#[test]
fn a_folder_that_others_can_use_is_named() {
    let folder = Folder::new("unsafe");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let output = folder.pizauth(&["show", "work"]).output().unwrap();
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(5), ""));
    assert!(stderr(&output).contains(&folder.path().display().to_string()), "{}", stderr(&output));
}

#[test]
fn git_needs_no_server_to_store_or_erase() {
    let folder = Folder::new("git");
    for operation in ["store", "erase", "capability"] {
        let output = folder.pizauth(&["show", "-f", "git", "work", operation]).output().unwrap();
        let got = (output.status.code(), stdout(&output), stderr(&output));
        assert_eq!(got, (Some(0), String::new(), String::new()), "{operation}");
    }
    let mut command = folder.pizauth(&["show", "-f", "git", "work", "get"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"protocol=http\nhost=git.example\n\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(1), ""));
    assert!(stderr(&output).starts_with("pizauth: no token for git over \"http\""), "{}", stderr(&output));
}

#[test]
fn info_works_without_a_server_and_a_configuration() {
    let folder = Folder::new("info");
    let output = folder.pizauth(&["info"]).output().unwrap();
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
    let text = stdout(&output);
    assert!(
        text.starts_with(&format!("pizauth version {}:\n  cache directory: ", env!("CARGO_PKG_VERSION"))),
        "{text}"
    );
    assert!(text.ends_with("\nserver not running\n"), "{text}");

    let output = folder.pizauth(&["info", "-j", "-c", "a.conf"]).output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["config_file"], "a.conf");
    assert_eq!(json["server_running"], false);

    let mut command = folder.pizauth(&["info", "-j"]);
    let output = command.env_remove("XDG_CONFIG_HOME").env_remove("HOME").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(json["config_file"].is_null());
}

#[test]
fn a_stdout_that_cannot_be_written_is_status_1() {
    let folder = Folder::new("stdout");
    let (broken, reader) = UnixStream::pair().unwrap();
    drop(reader);
    let read_only = File::open("/dev/null").unwrap();
    for (name, stdout) in [("nobody reads", OwnedFd::from(broken)), ("read only", read_only.into())] {
        let output = folder.pizauth(&["-h"]).stdout(stdout).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{name}");
        assert!(stderr(&output).starts_with("pizauth: cannot write to standard output: "), "{name}");
    }
    if let Ok(full) = OpenOptions::new().write(true).open("/dev/full") {
        let output = folder.pizauth(&["-h"]).stdout(full).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "full");
    }
}

#[test]
fn a_closed_stream_is_no_dev_null() {
    let folder = Folder::new("closed");
    let run = |arguments: &[&str], redirection: &str| {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &format!("exec \"$@\" {redirection}"), "sh", env!("CARGO_BIN_EXE_pizauth")]);
        command.args(arguments).env("PIZAUTH_SOCKET", folder.socket()).output().unwrap()
    };
    for (arguments, redirection, want) in [
        (&["-h"][..], ">&-", "pizauth: cannot write to standard output: "),
        // An empty input would have another meaning.
        (&["restore"], "<&-", "pizauth: cannot read standard input: "),
        (&["show", "-f", "git", "work", "get"], "<&-", "pizauth: cannot read standard input: "),
    ] {
        let output = run(arguments, redirection);
        assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(1), ""), "{arguments:?}");
        assert!(stderr(&output).starts_with(want), "{arguments:?}: {}", stderr(&output));
    }
    assert_eq!(run(&["show", "work"], "<&- >&- 2>&-").status.code(), Some(5));
}

#[test]
fn a_stderr_that_cannot_be_written_changes_no_status() {
    let folder = Folder::new("stderr");
    let read_only = File::open("/dev/null").unwrap();
    let status = folder.pizauth(&["show", "work"]).stdout(Stdio::null()).stderr(read_only).status().unwrap();
    assert_eq!(status.code(), Some(5));
}

/// The next connection of a client, with its first request.
fn first_request(listener: &UnixListener, client: &mut Child) -> (UnixStream, String) {
    listener.set_nonblocking(true).unwrap();
    let stream = loop {
        match listener.accept() {
            Ok((stream, _)) => break stream,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        assert_eq!(client.try_wait().unwrap(), None, "the client asks no more");
        std::thread::sleep(Duration::from_millis(10));
    };
    stream.set_nonblocking(false).unwrap();
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line).unwrap();
    (stream, line)
}

#[test]
fn a_busy_server_is_told_from_one_that_hangs() {
    let start = |folder: &Folder| {
        folder.pizauth(&["revoke", "work"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let (hung, busy) = (Folder::new("hung"), Folder::new("busy"));
    let _nobody = UnixListener::bind(hung.socket()).unwrap();
    let listener = UnixListener::bind(busy.socket()).unwrap();
    let (hopeless, mut patient) = (start(&hung), start(&busy));

    let (mut revocation, line) = first_request(&listener, &mut patient);
    assert!(line.contains("\"revoke\""), "{line}");
    let (mut other, line) = first_request(&listener, &mut patient);
    assert!(line.contains("\"info\""), "{line}");
    other.write_all(b"{\"version\":1,\"answer\":\"done\",\"messages\":[]}\n").unwrap();
    // The provider has answered by the time that the next question comes.
    let (unanswered, line) = first_request(&listener, &mut patient);
    assert!(line.contains("\"info\""), "{line}");
    revocation.write_all(b"{\"version\":1,\"answer\":\"done\",\"messages\":[\"gone\"]}\n").unwrap();
    drop(unanswered);
    let output = patient.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), "pizauth: gone\n"));

    let output = hopeless.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(5));
    assert!(stderr(&output).contains("no answer within 10 s"), "{}", stderr(&output));
}

#[test]
fn a_reload_behind_another_is_waited_for() {
    let folder = Folder::new("reload");
    let listener = UnixListener::bind(folder.socket()).unwrap();
    let mut child = folder.pizauth(&["reload"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut reload, line) = first_request(&listener, &mut child);
    assert!(line.contains("\"reload\""), "{line}");
    // Host names are being looked up, and for the one before they were, too.
    for _ in 0..2 {
        let (mut other, line) = first_request(&listener, &mut child);
        assert!(line.contains("\"info\""), "{line}");
        other.write_all(b"{\"version\":1,\"answer\":\"done\",\"messages\":[]}\n").unwrap();
    }
    reload.write_all(b"{\"version\":1,\"answer\":\"done\",\"messages\":[]}\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
}

#[test]
fn a_url_and_a_code_are_printed_once_each() {
    let folder = Folder::new("once");
    let listener = UnixListener::bind(folder.socket()).unwrap();
    let mut child = folder.pizauth(&["auth", "work"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut stream, _) = first_request(&listener, &mut child);
    let url = |url| format!("\"authorize\",\"url\":{url:?}");
    let code = |code| {
        format!(
            "\"device\",\"verification_uri\":\"https://a.example/d\",\"verification_uri_complete\":null,\"user_code\":{code:?}"
        )
    };
    for notice in [
        url("https://a.example/1"),
        code("ABC"),
        // A listener that moves changes the URL alone.
        url("https://a.example/2"),
        code("ABC"),
        code("DEF"),
        url("https://a.example/2"),
    ] {
        stream.write_all(format!("{{\"version\":1,\"notice\":{notice}}}\n").as_bytes()).unwrap();
    }
    stream.write_all(b"{\"version\":1,\"answer\":\"done\",\"messages\":[]}\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let want = "https://a.example/1\nhttps://a.example/d\nABC\nhttps://a.example/2\nhttps://a.example/d\nDEF\n";
    assert_eq!((stdout(&output).as_str(), stderr(&output).as_str()), (want, ""));
}

#[test]
fn what_is_no_server_is_told() {
    let folder = Folder::new("strange");
    let listener = UnixListener::bind(folder.socket()).unwrap();
    for (name, answer, status, want) in [
        ("closes", &b""[..], 5, "closed the connection without an answer"),
        ("another program", b"220 mail.example\r\n", 1, "cannot understand the server: malformed line"),
        ("another version", b"{\"version\":9}\n", 1, "protocol version 9 is not spoken here"),
        ("another answer", b"{\"version\":1,\"answer\":\"done\"}\n", 1, "the server answered another question"),
        (
            "a failure",
            b"{\"version\":1,\"answer\":\"failed\",\"reason\":\"authorize\",\"messages\":[\"a\\u001bb\"]}\n",
            3,
            "pizauth: a b\n",
        ),
        (
            "a name of two lines",
            b"{\"version\":1,\"answer\":\"failed\",\"reason\":\"error\",\"messages\":[\"a:1:1: \\nb\"]}\n",
            1,
            "pizauth: a:1:1:  b\n",
        ),
    ] {
        let mut child =
            folder.pizauth(&["show", "work"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (mut stream, line) = first_request(&listener, &mut child);
        assert_eq!(
            line,
            "{\"version\":1,\"request\":\"show\",\"account\":\"work\",\"wait\":null,\"min_life\":null,\"urls\":true,\"git_host\":null}\n"
        );
        stream.write_all(answer).unwrap();
        drop(stream);
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(status), ""), "{name}");
        assert!(stderr(&output).contains(want), "{name}: {}", stderr(&output));
        assert_eq!(stderr(&output).lines().count(), 1, "{name}: {}", stderr(&output));
    }
}
