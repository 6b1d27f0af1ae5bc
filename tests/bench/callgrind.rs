//! Instructions as valgrind counts them: the same in every run, whatever else the machine does.

use std::{
    env,
    ffi::OsStr,
    process::{Command, Stdio},
};

use super::{
    support::tool,
    table::{Row, thousands},
};

/// The variable that makes this program walk the engine through so many steps and do nothing else.
pub const STEPS: &str = "BENCH_STEPS";

/// The instructions of `program`, with those of `limit` beside them.
pub fn programs(figure: &str, program: &Command, limit: &Command) -> Row {
    if tool::find("valgrind").is_none() {
        return Row::skipped(figure, "no valgrind");
    }
    let [program, limit] = [program, limit].map(|command| instructions(command, &[]));
    Row::told(figure, thousands(program)).limit(format!("the C program {}", thousands(limit))).counted()
}

/// The instructions of one step of the engine.
pub fn step(figure: &str) -> Row {
    if tool::find("valgrind").is_none() {
        return Row::skipped(figure, "no valgrind");
    }
    let this = Command::new(env::current_exe().expect("this program has a path"));
    let [few, many] = ["1000", "3000"].map(|steps| instructions(&this, &[(STEPS, steps)]));
    Row::told(figure, thousands((many - few) / 2000.0)).counted()
}

/// Runs `command` under valgrind.
#[track_caller]
fn instructions(command: &Command, environment: &[(&str, &str)]) -> f64 {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(command.get_program());
    valgrind.args(command.get_args()).stdin(Stdio::null());
    let set = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
    valgrind.env_clear().env("PATH", env::var_os("PATH").as_deref().unwrap_or(OsStr::new("/usr/bin:/bin")));
    valgrind.envs(set).envs(environment.iter().copied());
    let output = valgrind.output().expect("valgrind can be started");
    let text = String::from_utf8_lossy(&output.stderr);
    let collected = text.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    collected.unwrap_or_else(|| panic!("valgrind says: {text}"))
}
