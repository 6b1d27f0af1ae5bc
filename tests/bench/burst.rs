//! Many refreshes due at once, while the endpoint takes its time.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{
    show,
    support::{
        control::Control,
        process::{figures, wait_until_asleep},
        provider::{Answer, Provider, Settings},
        server::{Home, Pizauth},
    },
    table::{Row, Unit},
    timing::{median, run},
    world,
};

/// Accounts whose refreshes are due.
const ACCOUNTS: usize = 400;

/// What the endpoint takes for each.
const DELAY: Duration = Duration::from_millis(100);

/// Requests under way at once.
const AT_ONCE: usize = 32;

/// Runs of `show` on an idle server.
const ROUNDS: usize = 500;

/// Between two looks at the threads.
const GLANCE: Duration = Duration::from_millis(5);

pub fn rows() -> Vec<Row> {
    let provider = Provider::start(Settings::default());
    provider.always_answer("/token", Some(Answer::usual().delayed(DELAY)));
    let options = "grant = \"client_credentials\";";
    let account = |number| provider.account(&world::name(number), options);
    let config: String = (0..ACCOUNTS).map(account).collect();
    let server = Pizauth::start_in(Home::new(&config).quiet());
    provider.wait_for_issued(ACCOUNTS);
    wait_until_asleep(server.pid());
    let mut show = show::command(&server, &world::name(0));
    let idle: Vec<f64> = (0..ROUNDS).map(|_| seconds(|| run(&mut show))).collect();

    let is_over = AtomicBool::new(false);
    let (time, meanwhile, threads) = thread::scope(|scope| {
        let threads = scope.spawn(|| most_threads(server.pid(), &is_over));
        let shows = scope.spawn(|| {
            let mut times = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                times.push(seconds(|| run(&mut show)));
            }
            times
        });
        let time = seconds(|| {
            ask_all(&server);
            provider.wait_for_issued(2 * ACCOUNTS);
        });
        is_over.store(true, Ordering::Relaxed);
        (time, shows.join().expect("shows"), threads.join().expect("a count of threads"))
    });
    let peak = figures(server.pid()).expect("/proc").peak_rss as f64 / 1000.0;

    let least = ACCOUNTS as f64 * DELAY.as_secs_f64() / AT_ONCE as f64;
    vec![
        Row::at_most("400 refreshes at once: threads", threads as f64, 33.0, Unit::Count).counted(),
        Row::at_most("  most memory", peak, 12.0, Unit::Megabytes),
        Row::at_most("  show meanwhile, against idle", median(&meanwhile) / median(&idle), 2.0, Unit::Ratio)
            .limit(format!("{} shows", meanwhile.len())),
        Row::at_most("  until all are done", time / least, 1.3, Unit::Ratio).limit(format!("{least:.2} s")),
    ]
}

/// Asks for the refresh of every account, all in one write.
fn ask_all(server: &Pizauth) {
    let request =
        |number| format!("{{\"version\":1,\"request\":\"refresh\",\"account\":\"{}\"}}\n", world::name(number));
    let requests: String = (0..ACCOUNTS).map(request).collect();
    let mut control = Control::connect(&server.socket());
    assert!(control.send(requests.as_bytes()));
    for _ in 0..ACCOUNTS {
        let answer = control.answer().expect("an answer");
        assert_eq!(answer["answer"], "done", "{answer}");
    }
}

/// The most threads that a process is seen with until it is over.
fn most_threads(pid: u32, is_over: &AtomicBool) -> usize {
    let mut most = 0;
    while !is_over.load(Ordering::Relaxed) {
        most = most.max(figures(pid).map_or(0, |figures| figures.threads));
        thread::sleep(GLANCE);
    }
    most
}

fn seconds(work: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    work();
    begun.elapsed().as_secs_f64()
}
