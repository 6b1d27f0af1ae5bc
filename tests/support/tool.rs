//! Programs of the system that some tests drive, and tests that only run when asked for.

use std::{env, path::PathBuf};

/// Where `name` is installed, in PATH or among the system's daemons.
///
/// `None`, and a line that says so, where it is not; with `CI=true` that is a failure.
#[track_caller]
pub fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let daemons = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    let found = env::split_paths(&path).chain(daemons).map(|folder| folder.join(name)).find(|file| file.is_file());
    if found.is_none() {
        skip(&format!("no {name}"));
    }
    found
}

/// Whether the variable `name` asks for a test, by 1.
///
/// Where it does not, says that the test is skipped.
pub fn is_asked_for(name: &str) -> bool {
    let is_asked_for = env::var_os(name).is_some_and(|value| value == "1");
    if !is_asked_for {
        println!("skipped: {name} is not set");
    }
    is_asked_for
}

/// Says that a test is skipped, and why; with `CI=true` that is a failure.
#[track_caller]
pub fn skip(reason: &str) {
    assert!(env::var_os("CI").is_none_or(|value| value != "true"), "{reason}, and with CI=true nothing is skipped");
    println!("skipped: {reason}");
}
