//! Worlds of some seeds: every rule is kept, every fault happens, the same seed is the same world.
//!
//! `scripts/ci.sh` runs 2,000 seeds and plants bugs; see `scripts/sim-planted.sh`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use sim::world::{self, Tally, Trace};

/// Runs a world; its tally, and the hash and number of its trace's lines.
fn run(seed: u64) -> (Tally, u64, u64) {
    let mut trace = Trace::new(false);
    match world::run(seed, &mut trace) {
        Ok(tally) => (tally, trace.hash(), trace.count()),
        Err(broken) => {
            let lines: Vec<&str> = trace.last_lines().collect();
            panic!(
                "seed {seed}: {}\n  {}\n{}\ncargo run --release -p sim --bin simulate -- --seed {seed} --trace",
                broken.invariant,
                broken.what,
                lines.join("\n")
            );
        }
    }
}

fn run_all(seeds: std::ops::Range<u64>) -> Tally {
    let mut total = Tally::default();
    seeds.for_each(|seed| total.add(&run(seed).0));
    total
}

#[test]
fn a_hundred_worlds_keep_every_rule_and_every_fault_happens() {
    let halves = std::thread::scope(|scope| {
        // Among these are some in which the rarest of all strikes.
        let halves = [201..261, 261..321].map(|seeds| scope.spawn(|| run_all(seeds)));
        halves.map(|half| half.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let mut total = Tally::default();
    halves.iter().for_each(|half| total.add(half));
    let missing: Vec<&str> =
        total.counts().into_iter().filter(|(_, count)| *count == 0).map(|(name, _)| name).collect();
    assert!(missing.is_empty(), "never happened: {missing:?}");
}

#[test]
fn the_same_seed_is_the_same_world_line_by_line() {
    for seed in [3, 17, 92] {
        let (tally, hash, count) = run(seed);
        assert!(count > 100, "{count}");
        assert_eq!((tally, hash, count), run(seed), "seed {seed}");
        assert_ne!(hash, run(seed + 1).1);
    }
}
