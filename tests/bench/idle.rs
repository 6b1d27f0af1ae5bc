//! What an idle daemon does: nothing.

use std::{thread, time::Duration};

use super::{
    support::process::{figures, wait_until_asleep},
    table::{Row, Unit},
    world,
};

/// How long the daemon is watched.
const IDLE: Duration = Duration::from_secs(20);

/// Longest time that a connection lingers.
const LINGER: Duration = Duration::from_secs(2);

pub fn rows() -> Vec<Row> {
    let server = world::server(1);
    wait_until_asleep(server.pid());
    thread::sleep(LINGER);
    let before = figures(server.pid()).expect("/proc");
    thread::sleep(IDLE);
    let after = figures(server.pid()).expect("/proc");
    let woken = after.voluntary_switches - before.voluntary_switches;
    let figure = format!("idle wake-ups in {} s", IDLE.as_secs());
    vec![Row::at_most(figure, woken as f64, 0.0, Unit::Count).counted()]
}
