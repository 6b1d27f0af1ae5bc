//! The control protocol on one connection.

use std::{
    fs,
    process::{Command, Stdio},
    thread,
};

use super::{
    support::{control::Control, server::Pizauth},
    table::{Row, Unit},
    timing::{cost, median},
    world,
};

/// Requests in a measurement, and measurements.
const REQUESTS: usize = 20_000;
const REPEATS: usize = 5;

/// Requests that a client sends before it reads their answers.
const AHEAD: usize = 50;

pub fn rows() -> Vec<Row> {
    let server = world::server(1);
    // In a thread of its own, which alone is kept on the server's core.
    let measured = thread::scope(|scope| scope.spawn(|| [AHEAD, 1].map(|ahead| rate(&server, ahead))).join());
    let [ahead, one_by_one] = measured.expect("the server answers");
    vec![
        Row::at_least("show on one connection, 50 sent ahead, a core", ahead, 50_000.0, Unit::PerSecond)
            .limit("the server's processor time"),
        Row::at_least("  each sent after the last answer", one_by_one, 50_000.0, Unit::PerSecond),
    ]
}

/// Answers in a second of the server's processor time to a client that sends so many requests at once.
fn rate(server: &Pizauth, ahead: usize) -> f64 {
    share_a_core(server.pid());
    let mut control = Control::connect(&server.socket());
    let line = format!("{{\"version\":1,\"request\":\"show\",\"account\":\"{}\"}}\n", world::name(0));
    let (lines, rounds) = (line.repeat(ahead), REQUESTS / ahead);
    let times = [(); REPEATS].map(|()| {
        cost(server.pid(), || {
            for _ in 0..rounds {
                assert!(control.send(lines.as_bytes()));
                for _ in 0..ahead {
                    assert!(control.raw_line().is_some_and(|line| line.contains("access_token")));
                }
            }
        })
    });
    REQUESTS as f64 / median(&times)
}

/// Keeps this thread and the process `pid` on one core, where taskset(1) is there: else much of what is measured is the
/// system waking another core up.
fn share_a_core(pid: u32) {
    let thread = fs::read_link("/proc/thread-self").ok();
    let thread = thread.and_then(|link| Some(link.file_name()?.to_string_lossy().into_owned()));
    for task in thread.into_iter().chain([pid.to_string()]) {
        let _ = Command::new("taskset").args(["-cp", "0", &task]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}
