//! Clocks and processes that stand still or jump: a server that was stopped, and one that was started in 1970.

mod support;

use std::{
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

/// Adds what the file says, in seconds, to the wall clock of every program that it is loaded into.
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
    if (clock != CLOCK_REALTIME || !path)
        return result;
    char text[32] = "";
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file >= 0) {
        if (read(file, text, sizeof text - 1) > 0)
            time->tv_sec += atol(text);
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

/// A home where programs see a clock that [`set_clock`] sets.
fn home_with_clock(config: &str) -> Option<Home> {
    let compiler = tool::find("cc")?;
    let home = Home::new(config);
    let source = home.folder().write("clock.c", CLOCK);
    let library = home.folder().join("clock.so");
    let status = Command::new(compiler).args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).arg("-ldl").status();
    assert!(status.expect("it runs").success(), "the clock cannot be built");
    let clock = home.folder().write("clock", "0");
    Some(home.env("LD_PRELOAD", library).env("PIZAUTH_TEST_CLOCK", clock))
}

/// Adds so many seconds to the clock.
fn set_clock(home: &Home, seconds: i64) {
    home.folder().write("clock.new", &seconds.to_string());
    std::fs::rename(home.folder().join("clock.new"), home.folder().join("clock")).expect("it is there");
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
    set_clock(&home, 100 - i64::try_from(now.as_secs()).expect("it is not so late"));
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

    set_clock(&server, 0);
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
