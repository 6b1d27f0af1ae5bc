//! The control protocol on one connection.

use super::{
    support::control::Control,
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
    let mut control = Control::connect(&server.socket());
    let line = format!("{{\"version\":1,\"request\":\"show\",\"account\":\"{}\"}}\n", world::name(0));
    let mut ask = |ahead: usize| {
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
    };
    let (ahead, one_by_one) = (ask(AHEAD), ask(1));
    vec![
        Row::at_least("show on one connection, 50 sent ahead, a core", ahead, 50_000.0, Unit::PerSecond)
            .limit("the server's processor time"),
        Row::at_least("  each sent after the last answer", one_by_one, 50_000.0, Unit::PerSecond),
    ]
}
