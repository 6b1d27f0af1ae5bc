//! Clocks and processes that stand still or jump: a server that was stopped, one that was started in 1970, one that slept.

mod support;

use std::{
    fs,
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::Value;
use support::{
    control::Control,
    eventually,
    pace::Pace,
    provider::{Provider, Rotation, Settings},
    server::{Home, Pizauth},
    tool,
};

/// Adds what the file says, in seconds, to the clocks of every program that it is loaded into: first to the wall clock,
/// then to those that tell how time passes.
const CLOCK: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *time) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, time);
    const char *path = getenv("PIZAUTH_TEST_CLOCK");
    if (!path)
        return result;
    char text[64] = "", *rest = text;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file >= 0) {
        if (read(file, text, sizeof text - 1) > 0) {
            long wall = strtol(text, &rest, 10), passing = strtol(rest, NULL, 10);
            time->tv_sec += clock == CLOCK_REALTIME ? wall : passing;
        }
        close(file);
    }
    return result;
}
"#;

#[test]
fn a_server_that_was_stopped_shows_no_token_that_died_meanwhile() {
    let provider = Provider::start(Settings { expires_in: Some(4), ..Settings::default() });
    let accounts = provider.account("work", "") + &provider.account("steady", "");
    let server = Pizauth::start(&accounts);
    provider.change(|settings| settings.expires_in = Some(3600));
    server.authorize("steady");
    let pace = Pace::at_rest(&server.socket(), "steady");
    provider.change(|settings| settings.expires_in = Some(4));
    server.authorize("work");
    let old = provider.last_access_token();

    server.signal("STOP");
    let mut clients: Vec<Control> = (0..20).map(|_| Control::connect(&server.socket())).collect();
    for client in &mut clients {
        assert!(client.send(b"{\"version\":1,\"request\":\"show\",\"account\":\"work\"}\n"));
    }
    eventually("the end of the token", || !provider.is_honoured(&old));
    server.signal("CONT");
    for client in &mut clients {
        let answer = client.answer().expect("an answer after all");
        assert_ne!(answer["access_token"], old.as_str(), "a dead token");
    }
    pace.is_kept("after a stop", &server.socket(), "steady");
    let token = server.run(&["show", "-w", "30s", "work"]).expect(0).stdout;
    assert_ne!(token.trim_end(), old);
}

#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "the loader's ways differ")]
fn a_socket_is_marked_as_in_use_every_six_hours() {
    let Some(home) = home_with_clock(&Provider::start(Settings::default()).account("work", "")) else { return };
    let server = Pizauth::start_in(home);
    let used_at = || fs::metadata(server.socket()).and_then(|socket| socket.modified()).expect("a socket");
    let status = Command::new("touch").args(["-d", "2001-02-03"]).arg(server.socket()).status();
    assert!(status.expect("it runs").success());
    let old = used_at();

    let hours = 60 * 60;
    set_clocks(&server, 6 * hours - 60, 6 * hours - 60);
    server.run(&["status"]).expect(0);
    assert_eq!(used_at(), old, "before its time");
    set_clocks(&server, 6 * hours + 60, 6 * hours + 60);
    eventually("a socket in use", || server.run(&["status"]).status == 0 && used_at() > old);
}

/// A home where programs see clocks that [`set_clocks`] sets.
fn home_with_clock(config: &str) -> Option<Home> {
    let compiler = tool::find("cc")?;
    let home = Home::new(config);
    let source = home.folder().write("clock.c", CLOCK);
    let library = home.folder().join("clock.so");
    let status = Command::new(compiler).args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).arg("-ldl").status();
    assert!(status.expect("it runs").success(), "the clock cannot be built");
    let clock = home.folder().write("clock", "0 0");
    Some(home.env("LD_PRELOAD", library).env("PIZAUTH_TEST_CLOCK", clock))
}

/// Adds so many seconds to the wall clock, and to the clocks that tell how time passes.
fn set_clocks(home: &Home, wall: i64, passing: i64) {
    home.folder().write("clock.new", &format!("{wall} {passing}"));
    fs::rename(home.folder().join("clock.new"), home.folder().join("clock")).expect("it is there");
}

fn account(server: &Pizauth, name: &str) -> Value {
    let status: Value = serde_json::from_str(&server.run(&["status", "-j", name]).expect(0).stdout).expect("JSON");
    status["accounts"][0].clone()
}

#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "the loader's ways differ")]
fn a_clock_of_1970_that_is_corrected_later_costs_no_token() {
    let provider = Provider::start(Settings { rotation: Rotation::Strict, ..Settings::default() });
    let accounts = ["old", "new"].map(|name| provider.account(name, "")).concat();
    let hooks = "persist_cmd = \"cat > state\";\nrestore_cmd = \"cat state 2> /dev/null; true\";\n";
    let Some(home) = home_with_clock(&(hooks.to_owned() + &accounts)) else { return };
    let server = Pizauth::start_in(home);
    eventually("the restore", || server.run(&["show", "-u", "old"]).status == 3);
    server.authorize("old");
    let home = server.shutdown();

    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock that is right");
    set_clocks(&home, 100 - i64::try_from(now.as_secs()).expect("it is not so late"), 0);
    let server = Pizauth::start_in(home);
    // What was obtained in the future is not believed, and refreshed.
    provider.wait_for_issued(2);
    eventually("the refresh", || {
        account(&server, "old")["obtained_at"].as_str().is_some_and(|at| at.starts_with("1970"))
    });
    assert_eq!(server.token("old"), provider.last_access_token());
    server.authorize("new");
    let new = server.token("new");
    assert_eq!(new, provider.last_access_token());
    let pace = Pace::at_rest(&server.socket(), "new");

    set_clocks(&server, 0, 0);
    pace.is_kept("a clock that was corrected", &server.socket(), "new");
    assert_eq!(server.token("new"), new);
    let shown: Value =
        serde_json::from_str(&server.run(&["show", "-f", "json", "new"]).expect(0).stdout).expect("JSON");
    let left = shown["expires_in"].as_u64().expect("a number");
    assert!((3000..=3600).contains(&left), "{shown}");
    let requests = provider.token_requests().len();
    server.run(&["refresh", "-w", "1m", "old"]).expect(0);
    assert_eq!(provider.token_requests().len(), requests + 1, "a clock that jumps makes no requests");

    let server = Pizauth::start_in(server.shutdown());
    for name in ["old", "new"] {
        let token = server.run(&["show", "-w", "30s", name]).expect(0).stdout;
        assert!(provider.is_honoured(token.trim_end()), "{name}");
    }
    assert_eq!(provider.counters().refresh_tokens_reused, 0);
}
