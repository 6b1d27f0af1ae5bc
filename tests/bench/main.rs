//! `make bench`: what pizauth costs, measured on the release binary and on the engine as a library, as one table.
//!
//! Times are told as ratios of interleaved runs or as processor time, never as what a clock on the wall shows, and of
//! many runs the fast ones count, so that a busy machine spoils little. `BENCH=show,engine` measures some of the subjects only. Exits with 1 where something
//! could not be measured, and with `BENCH_STRICT=1` also where a goal is missed whose figure is the same in every run.

#[path = "../support/mod.rs"]
mod support;

mod accounts;
mod burst;
mod callgrind;
mod control;
mod engine;
mod idle;
mod memory;
mod show;
mod size;
mod table;
mod timing;
mod world;

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
};

use pizauth::sys::wipe::WipingAllocator;
use table::{Kind, Row, Verdict};

/// The program's own, so that the engine costs here what it costs there.
#[global_allocator]
static ALLOCATOR: WipingAllocator = WipingAllocator;

/// Measures a subject.
type Measure = fn() -> Vec<Row>;

/// Subjects by their names, in the order of the table.
const SUBJECTS: [(&str, Measure); 9] = [
    ("size", size::rows),
    ("show", show::rows),
    ("memory", memory::rows),
    ("idle", idle::rows),
    ("burst", burst::rows),
    ("accounts", accounts::rows),
    ("control", control::rows),
    ("engine", engine::rows),
    ("build", size::build),
];

fn main() -> ExitCode {
    if let Some(steps) = env::var(callgrind::STEPS).ok().and_then(|steps| steps.parse().ok()) {
        engine::walk(steps);
        return ExitCode::SUCCESS;
    }
    let asked = env::var("BENCH").unwrap_or_default();
    let asked: Vec<&str> = asked.split([',', ' ']).filter(|name| !name.is_empty()).collect();
    if let Some(unknown) = asked.iter().find(|name| SUBJECTS.iter().all(|(subject, _)| subject != *name)) {
        let names = SUBJECTS.map(|(name, _)| name).join(", ");
        eprintln!("BENCH={unknown}: there is no such subject, only {names}");
        return ExitCode::from(2);
    }

    let mut rows = Vec::new();
    for (name, measure) in SUBJECTS {
        if asked.is_empty() || asked.contains(&name) {
            eprintln!("{name} ...");
            let measured = catch_unwind(AssertUnwindSafe(measure));
            rows.extend(measured.unwrap_or_else(|_| vec![Row { verdict: Verdict::Broken, ..Row::told(name, "") }]));
        }
    }
    table::print(&rows);

    let is_strict = env::var("BENCH_STRICT").is_ok_and(|value| value == "1");
    let fails = |row: &Row| match row.verdict {
        Verdict::Broken => true,
        Verdict::Missed => is_strict && row.kind == Kind::Count,
        Verdict::Ok | Verdict::Told | Verdict::Skipped => false,
    };
    if rows.iter().any(fails) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
