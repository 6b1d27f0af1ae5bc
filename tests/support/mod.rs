//! What integration tests, benches and the demo share: the demo provider, the other side of every conversation, and
//! a harness for the built binary. Nothing here uses pizauth's own code.
#![allow(dead_code, unused_imports, reason = "every test uses a part of it")]

pub mod chromium;
pub mod control;
pub mod document;
pub mod folder;
pub mod http;
pub mod mail;
pub mod memory;
pub mod pace;
pub mod person;
pub mod process;
pub mod provider;
pub mod server;
pub mod stranger;
pub mod terminal;
pub mod tls;
pub mod tool;

use std::{
    io::{self, Read},
    thread,
    time::{Duration, Instant},
};

/// How long a condition may take to come true: far beyond what a loaded machine needs, since only failures wait for it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Pause between two looks at a condition that nothing announces.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Waits until `condition` holds; panics with `what` after [`PATIENCE`].
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    eventually_some(what, || condition().then_some(()));
}

/// Waits until `attempt` yields a value; panics with `what` after [`PATIENCE`].
#[track_caller]
pub fn eventually_some<T>(what: &str, attempt: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, attempt).unwrap_or_else(|| panic!("waited {} s in vain for: {what}", PATIENCE.as_secs()))
}

/// Looks until `attempt` yields a value, or `limit` is over.
pub fn within<T>(limit: Duration, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = attempt() {
            return Some(value);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(LOOK_AGAIN);
    }
}

/// Reads once, again where that was interrupted: a read with a time limit is when its process was stopped for a moment.
pub fn read_once(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match from.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
