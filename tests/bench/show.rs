//! `pizauth show` as a cold process, against a C program that does the least that can be done.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    callgrind,
    support::{server::Pizauth, tool},
    table::{Row, Unit},
    timing::{interleaved, median, quantile, run, undisturbed},
    world,
};

/// Runs of each program.
const ROUNDS: usize = 1500;

/// What is compared with.
const C_PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bench/limit.c");

pub fn rows() -> Vec<Row> {
    let Some(cc) = tool::find("cc") else { return vec![Row::skipped("show, cold process", "no cc")] };
    let server = world::server(1);
    let program = build(&cc, &server);
    let mut show = command(&server, &world::name(0));
    let c_command = || {
        let mut command = Command::new(&program);
        command.arg(server.socket()).arg(world::name(0)).env_clear();
        command
    };
    let (mut least, mut again, mut nothing) = (c_command(), c_command(), Command::new("true"));
    let [shows, leasts, agains, nothings] = interleaved(
        ROUNDS,
        [&mut || run(&mut show), &mut || run(&mut least), &mut || run(&mut again), &mut || run(&mut nothing)],
    );
    let unit = undisturbed(&leasts);
    let noise = 100.0 * (undisturbed(&agains) / unit - 1.0).abs();
    let spread = 100.0 * (quantile(&leasts, 0.75) - quantile(&leasts, 0.25)) / unit;
    vec![
        Row::at_most("show, cold process", undisturbed(&shows) / unit, 1.35, Unit::Ratio)
            .limit(format!("the C program 1, true {:.2}", undisturbed(&nothings) / unit)),
        Row::told("  medians", Unit::Ratio.write(median(&shows) / median(&leasts))),
        Row::told("  noise: the C program against itself", format!("{noise:.1} %"))
            .limit(format!("half of its runs within {spread:.0} %")),
        callgrind::programs("  instructions", &show, &c_command()),
    ]
}

/// `show` as a user's scripts give it: they find the socket by XDG_RUNTIME_DIR.
pub fn command(server: &Pizauth, account: &str) -> Command {
    let home = (**server).clone().without_env("PIZAUTH_SOCKET");
    home.command(&["show", account])
}

/// Builds the C program in the server's folder.
fn build(cc: &Path, server: &Pizauth) -> PathBuf {
    let program = server.folder().join("limit");
    run(Command::new(cc).args(["-O2", "-o"]).arg(&program).arg(C_PROGRAM));
    program
}
