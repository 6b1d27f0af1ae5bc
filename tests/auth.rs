//! `pizauth auth` and `show` against a server of the test's own: what is pasted, piped and typed, and what becomes of
//! the terminal.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::{
        fs::PermissionsExt,
        net::{UnixListener, UnixStream},
    },
    path::PathBuf,
    process::{Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use pizauth::proto::{Notice, Reason, Request, Response, read_request, write_notice, write_request, write_response};
use support::{eventually, terminal::Terminal};

const URL: &str = "https://login.example/authorize?state=s";

/// A folder of a test's own, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("pizauth-auth-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        Folder(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("pizauth.sock")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A server that takes every pasted text with `code=ok` in it for the redirect.
struct Server {
    folder: Folder,
    pasted: Receiver<String>,
}

impl Server {
    fn start(name: &str) -> Server {
        let folder = Folder::new(name);
        let listener = UnixListener::bind(folder.socket()).unwrap();
        let (sender, pasted) = channel();
        thread::spawn(move || {
            let (mut waiting, _) = listener.accept().unwrap();
            assert!(matches!(request(&waiting), Request::Auth { .. }));
            waiting.write_all(write_notice(&Notice::Authorize { url: URL.to_owned() }).expose()).unwrap();
            loop {
                let (mut stream, _) = listener.accept().unwrap();
                let Request::Paste { account, text } = request(&stream) else { panic!("not a paste") };
                assert_eq!(account, "work");
                sender.send(text.expose().clone()).unwrap();
                let done = Response::Done { messages: Vec::new() };
                if text.expose().contains("code=ok") {
                    stream.write_all(write_response(&done).expose()).unwrap();
                    waiting.write_all(write_response(&done).expose()).unwrap();
                    return;
                }
                let messages = vec!["that is not the redirect".to_owned()];
                let failed = Response::Failed { reason: Reason::Error, messages };
                stream.write_all(write_response(&failed).expose()).unwrap();
            }
        });
        Server { folder, pasted }
    }

    fn auth(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pizauth"));
        command.args(["auth", "work"]).env("PIZAUTH_SOCKET", self.folder.socket());
        command
    }

    /// Another client brings the redirect.
    fn finish_elsewhere(&self) {
        let mut paste = UnixStream::connect(self.folder.socket()).unwrap();
        let text = "code=ok&state=s".into();
        paste.write_all(write_request(&Request::Paste { account: "work".into(), text }).expose()).unwrap();
        paste.read_to_end(&mut Vec::new()).unwrap();
    }

    fn all_pasted(&self) -> Vec<String> {
        self.pasted.try_iter().collect()
    }
}

fn request(stream: &UnixStream) -> Request {
    let mut line = Vec::new();
    BufReader::new(stream).read_until(b'\n', &mut line).unwrap();
    read_request(&line).unwrap()
}

#[test]
fn piped_lines_are_pasted_until_one_is_right() {
    let server = Server::start("piped");
    let mut command = server.auth();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // The last line has no line break.
    child.stdin.take().unwrap().write_all(b"wrong\n\n  http://localhost:1/?code=ok&state=s").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{URL}\n"));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "pizauth: that is not the redirect\n");
    assert_eq!(server.all_pasted(), ["wrong", "http://localhost:1/?code=ok&state=s"]);
}

#[test]
fn the_end_of_input_ends_nothing() {
    let server = Server::start("end");
    let mut child = server.auth().stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, format!("{URL}\n"));
    server.finish_elsewhere();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_long_url_is_typed_whole_and_the_terminal_is_put_back() {
    let server = Server::start("typed");
    let mut terminal = Terminal::open();
    let before = terminal.mode().c_lflag;
    let mut child = terminal.start(server.auth());
    let seen = terminal.read_until("paste its address here");
    assert!(seen.contains(URL), "{seen}");
    terminal.write("wrp\x7fong\n");
    let seen = terminal.read_until("that is not the redirect");
    assert!(seen.contains("wrp\x08 \x08ong\r\n"), "{seen:?}");
    let url = format!("http://localhost:1/?code=ok&state={}", "s".repeat(8_000));
    terminal.write(&url);
    terminal.write("\r");
    terminal.read_until("sss\r\n");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(server.all_pasted(), ["wrong", &url]);
    assert_eq!(terminal.mode().c_lflag, before);
}

#[test]
fn an_interrupt_puts_the_terminal_back() {
    let server = Server::start("interrupt");
    let mut terminal = Terminal::open();
    let before = terminal.mode().c_lflag;
    let mut child = terminal.start(server.auth());
    terminal.read_until("paste its address here");
    // A key shows that the mode was changed: only then is it echoed by the program.
    terminal.write("x");
    terminal.read_until("x");
    assert_eq!(terminal.mode().c_lflag & libc::ICANON, 0);
    terminal.write("\x03");
    assert!(!child.wait().unwrap().success());
    assert_eq!(terminal.mode().c_lflag, before);
}

#[test]
fn after_bg_and_fg_the_terminal_is_read_as_before() {
    let server = Server::start("foreground");
    let mut terminal = Terminal::open();
    let before = terminal.mode();
    let mut child = terminal.start(server.auth());
    terminal.read_until("paste its address here");
    eventually("another mode", || terminal.mode().c_lflag & libc::ICANON == 0);
    // A shell gives the terminal the mode that it had when it stopped the job, and sends no signal to a running one.
    terminal.set_mode(&before);
    eventually("the mode again", || terminal.mode().c_lflag & libc::ICANON == 0);
    let url = format!("http://localhost:1/?code=ok&state={}", "s".repeat(8_000));
    terminal.write(&url);
    terminal.write("\r");
    terminal.read_until("sss\r\n");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(server.all_pasted(), [url]);
    assert_eq!(terminal.mode().c_lflag, before.c_lflag);
}

#[test]
fn a_show_that_waits_tells_a_terminal_the_url_at_once() {
    let folder = Folder::new("show");
    let listener = UnixListener::bind(folder.socket()).unwrap();
    let told = format!("pizauth: waiting until authorised with URL {URL}\r\n");
    for (name, option, is_told) in [("a terminal", "-v", true), ("-u", "-u", false)] {
        let mut terminal = Terminal::open();
        let mut command = Command::new(env!("CARGO_BIN_EXE_pizauth"));
        command.args(["show", "-w", "60s", option, "work"]).env("PIZAUTH_SOCKET", folder.socket());
        let mut child = terminal.start(command);
        let (mut waiting, _) = listener.accept().unwrap();
        assert!(matches!(request(&waiting), Request::Show(show) if show.wait == Some(60)));
        waiting.write_all(write_notice(&Notice::Authorize { url: URL.to_owned() }).expose()).unwrap();
        let before = if is_told { terminal.read_until(URL) } else { String::new() };
        let messages = vec!["the end".to_owned()];
        let failed = Response::Failed { reason: Reason::Authorize, messages };
        waiting.write_all(write_response(&failed).expose()).unwrap();
        let seen = before + &terminal.read_until("the end\r\n");
        let want = if is_told { told.clone() } else { String::new() } + "pizauth: the end\r\n";
        assert_eq!(seen, want, "{name}");
        assert_eq!(child.wait().unwrap().code(), Some(3), "{name}");
    }
}

#[test]
fn in_the_background_it_is_not_stopped_by_what_is_typed() {
    let server = Server::start("background");
    let mut terminal = Terminal::open();
    let before = terminal.mode().c_lflag;
    // A shell with jobs keeps the foreground for itself.
    let mut shell = Command::new("/bin/sh");
    shell.args(["-m", "-c", "\"$0\" auth work & wait $!", env!("CARGO_BIN_EXE_pizauth")]);
    shell.env("PIZAUTH_SOCKET", server.folder.socket());
    let mut child = terminal.start(shell);
    terminal.read_until(URL);
    terminal.write("for somebody else\n");
    thread::sleep(Duration::from_millis(1500));
    assert_eq!(terminal.mode().c_lflag, before);
    server.finish_elsewhere();
    eventually("its end", || child.try_wait().unwrap().is_some());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(server.all_pasted(), ["code=ok&state=s"]);
}
