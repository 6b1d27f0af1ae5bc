//! Months in the life of a daemon, simulated: providers that rotate, answer late or never, clients, hooks, crashes,
//! suspended machines, stepped clocks. The oracle is what the provider knows.
//!
//! `SEEDS=n` simulates n worlds, `SEED=n` repeats one, `TRACE=1` tells everything that happens in it.

mod chance;
mod faults;
mod happenings;
mod oracle;
mod provider;
mod setting;
mod world;

use world::World;

/// Worlds in the normal run of the tests.
const SEEDS: u64 = 60;

/// A planted fault is found within so many worlds.
const SEEDS_PER_FAULT: u64 = 1000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

#[test]
fn no_world_breaks_a_promise() {
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(SEEDS),
    };
    println!("{} worlds", seeds.clone().count());
    for seed in seeds {
        let violations = World::live(seed, None);
        assert!(violations.is_empty(), "SEED={seed}:\n{}", violations.join("\n"));
    }
}

#[test]
fn every_planted_fault_is_found() {
    for fault in faults::ALL {
        let found =
            (0..SEEDS_PER_FAULT).find_map(|seed| Some((seed, World::live(seed, Some(fault)).into_iter().next()?)));
        let Some((seed, violation)) = found else { panic!("{fault:?} is not found") };
        println!("{fault:?}: SEED={seed}: {violation}");
    }
}
