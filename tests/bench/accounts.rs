//! What a thousand accounts cost more than one.

use serde_json::{Value, json};

use super::{
    show,
    support::{
        control::Control,
        process::{figures, wait_until_asleep},
        server::Pizauth,
    },
    table::{Row, Unit},
    timing::{cost, interleaved, processor_time, run, undisturbed},
    world,
};

/// Numbers of accounts, each ten times the one before.
const SIZES: [usize; 3] = [10, 100, 1000];

/// Runs of `show`.
const ROUNDS: usize = 1000;

/// Runs of each request.
const REPEATS: usize = 5;

/// By how much ten times the accounts may cost more than ten times as much: for what is not ten times as much, as the
/// processor's caches.
const SLACK: f64 = 1.2;

/// What is asked, and the row's name.
const REQUESTS: [&str; 3] = ["reload", "status", "dump"];

pub fn rows() -> Vec<Row> {
    let one = world::server(1);
    let servers = SIZES.map(world::server);
    let [_, _, thousand] = &servers;
    let fresh = memory(&one, thousand);
    let mut rows = vec![shows(&one, thousand)];

    rows.push(growth("start", SIZES.map(start)));
    for request in REQUESTS {
        rows.push(growth(request, [0, 1, 2].map(|at| ask(&servers[at], request))));
    }
    rows.push(
        Row::at_most("  memory of an account besides its strings", fresh, 2000.0, Unit::Bytes)
            .limit(format!("its strings: {:.0} bytes", strings())),
    );
    rows.push(Row::told("    after all of that", Unit::Bytes.write(memory(&one, thousand))));
    rows
}

fn shows(one: &Pizauth, thousand: &Pizauth) -> Row {
    let (mut few, mut many) = (show::command(one, &world::name(0)), show::command(thousand, &world::name(999)));
    let [few, many] = interleaved(ROUNDS, [&mut || run(&mut few), &mut || run(&mut many)]);
    Row::at_most("1,000 accounts: show, against one account", undisturbed(&many) / undisturbed(&few), 1.1, Unit::Ratio)
}

/// Seconds of processor time from the start until everything is read and commands are answered.
fn start(accounts: usize) -> f64 {
    let times = [(); REPEATS].map(|()| {
        let server = world::empty_server(accounts);
        server.run(&["info"]).expect(0);
        processor_time(server.pid()).as_secs_f64()
    });
    least(&times)
}

/// Seconds of processor time that a request takes.
fn ask(server: &Pizauth, request: &str) -> f64 {
    let line = format!("{}\n", json!({ "version": 1, "request": request }));
    let times = [(); REPEATS].map(|()| {
        cost(server.pid(), || {
            let mut control = Control::connect(&server.socket());
            assert!(control.send(line.as_bytes()));
            let answer = control.answer().expect("an answer");
            assert_ne!(answer["answer"], Value::from("failed"), "{answer}");
            drop(control);
            wait_until_asleep(server.pid());
        })
    });
    least(&times)
}

/// The least of all: whatever disturbs a run, adds to it.
fn least(times: &[f64]) -> f64 {
    times.iter().copied().fold(f64::INFINITY, f64::min)
}

/// Whether ten times the accounts cost ten times as much.
fn growth(figure: &str, [ten, hundred, thousand]: [f64; 3]) -> Row {
    let times = format!("{:.1}, {:.1}, {:.1} ms", 1e3 * ten, 1e3 * hundred, 1e3 * thousand);
    Row::at_most(format!("  {figure}: a thousand against a hundred"), thousand / hundred, 10.0 * SLACK, Unit::Ratio)
        .limit(times)
}

/// Private memory of an account, without its strings.
fn memory(one: &Pizauth, thousand: &Pizauth) -> f64 {
    let [few, many] = [one, thousand].map(|server| {
        wait_until_asleep(server.pid());
        figures(server.pid()).expect("/proc").rss_anon as f64 * 1024.0
    });
    (many - few) / 999.0 - strings()
}

/// Bytes of an account's strings.
fn strings() -> f64 {
    world::strings(&world::config(1, world::NOWHERE)) as f64
}
