//! The binary, the crates in it, and what building it takes.

use std::{collections::BTreeSet, fs, process::Command, thread, time::Instant};

use super::{
    support::folder::Folder,
    table::{Row, Unit},
    timing::run,
};

/// The program that is measured.
const PROGRAM: &str = env!("CARGO_BIN_EXE_pizauth");

pub fn rows() -> Vec<Row> {
    vec![
        Row::at_most("release binary, stripped", bytes() as f64 / 1e6, 2.2, Unit::Megabytes).counted(),
        Row::at_most("crates", crates() as f64, 46.0, Unit::Count).limit("the design's 43").counted(),
    ]
}

/// A release build with nothing built before, for `make`.
pub fn build() -> Vec<Row> {
    let target = Folder::new();
    let begun = Instant::now();
    run(Command::new(env!("CARGO"))
        .args(["build", "--release", "--locked", "--target-dir"])
        .arg(target.path())
        .current_dir(env!("CARGO_MANIFEST_DIR")));
    let processors = thread::available_parallelism().map_or(1, usize::from);
    vec![Row::told("clean release build", format!("{:.0} s on {processors} cores", begun.elapsed().as_secs_f64()))]
}

fn bytes() -> u64 {
    fs::metadata(PROGRAM).expect("the program is built").len()
}

/// The crates of the program, itself included.
fn crates() -> usize {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "-e", "normal", "--prefix", "none", "--no-dedupe", "--all-features"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo can be started");
    let text = String::from_utf8_lossy(&output.stdout);
    let name = |line: &str| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    text.lines().map(name).filter(|name| !name.is_empty()).collect::<BTreeSet<_>>().len()
}
