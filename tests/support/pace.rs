//! How quickly `show` is answered, and whether that stays so while somebody misbehaves.
//!
//! The usual time is the best median of some batches, so that what else the machine does hardly counts; what a server
//! that waits for somebody does not do at all, it shows.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use super::control::Control;

/// How many times as long as at rest an answer may usually take.
const RATIO: u32 = 10;

/// Longest time that any answer may take: half of the shortest time that the server gives anybody.
const LONGEST: Duration = Duration::from_secs(5);

const BATCHES: usize = 8;
const BATCH: usize = 60;

/// The pace of a server that has nothing else to do.
pub struct Pace {
    at_rest: Duration,
}

impl Pace {
    /// Measures the server at `socket`, which is at rest and has a token for `account`.
    #[track_caller]
    pub fn at_rest(socket: &Path, account: &str) -> Pace {
        let (usual, _) = measure(socket, account);
        Pace { at_rest: usual }
    }

    /// Measures again, and panics where it takes too long; `what` is going on meanwhile.
    #[track_caller]
    pub fn is_kept(&self, what: &str, socket: &Path, account: &str) {
        let (usual, longest) = measure(socket, account);
        let ratio = usual.as_secs_f64() / self.at_rest.as_secs_f64();
        println!("{what}: {usual:?} instead of {:?}, {ratio:.1} times; at most {longest:?}", self.at_rest);
        assert!(usual <= self.at_rest * RATIO, "{what}: {usual:?} instead of {:?}", self.at_rest);
        assert!(longest < LONGEST, "{what}: one took {longest:?}");
    }
}

/// How long answers usually take, and the longest, connecting included.
#[track_caller]
fn measure(socket: &Path, account: &str) -> (Duration, Duration) {
    let mut longest = Duration::ZERO;
    let medians = (0..BATCHES).map(|_| {
        let began = Instant::now();
        let mut control = Control::connect(socket);
        assert!(control.token(account).is_some(), "no token");
        longest = longest.max(began.elapsed());
        let mut times: Vec<Duration> = (0..BATCH)
            .map(|_| {
                let began = Instant::now();
                assert!(control.token(account).is_some(), "no token");
                began.elapsed()
            })
            .collect();
        times.sort_unstable();
        longest = longest.max(times[BATCH - 1]);
        times[BATCH / 2]
    });
    let usual = medians.min().unwrap_or_default();
    (usual, longest)
}
