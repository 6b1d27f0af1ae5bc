//! Measuring on a machine that does other things too: interleaved runs, medians, and processor time.

use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// Seconds of each of `subjects`, in turns, so that whatever else the machine does meets all of them alike.
pub fn interleaved<const N: usize>(rounds: usize, mut subjects: [&mut dyn FnMut(); N]) -> [Vec<f64>; N] {
    let mut times = [const { Vec::new() }; N];
    for _ in 0..rounds {
        for (subject, times) in subjects.iter_mut().zip(&mut times) {
            let begun = Instant::now();
            subject();
            times.push(begun.elapsed().as_secs_f64());
        }
    }
    times
}

/// The value in the middle.
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The value of a run that nothing disturbed: other work on the machine only ever adds to it.
pub fn undisturbed(values: &[f64]) -> f64 {
    quantile(values, 0.1)
}

/// The value that this share of all is below.
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len() as f64 * share) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

/// Runs a command to its end with nothing on its standard streams; panics where it fails.
#[track_caller]
pub fn run(command: &mut Command) {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = command.status().expect("the command can be started");
    assert!(status.success(), "{command:?}: {status}");
}

/// Processor time of a process's main thread so far. Linux only.
///
/// The clock is that of the scheduler, in nanoseconds; it stands still while others have the processor.
#[track_caller]
pub fn processor_time(pid: u32) -> Duration {
    scheduled(&format!("/proc/{pid}/schedstat"))
}

#[track_caller]
fn scheduled(file: &str) -> Duration {
    let text = fs::read_to_string(file).expect("the process runs, and on Linux");
    let nanos = text.split_whitespace().next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanos.expect("a number"))
}

/// Seconds of a server's processor time that `work` takes.
#[track_caller]
pub fn cost(pid: u32, work: impl FnOnce()) -> f64 {
    let before = processor_time(pid);
    work();
    (processor_time(pid) - before).as_secs_f64()
}

/// Seconds of this thread's processor time that `work` takes.
pub fn own_cost(work: impl FnOnce()) -> f64 {
    let own = || scheduled("/proc/thread-self/schedstat");
    let before = own();
    work();
    (own() - before).as_secs_f64()
}
