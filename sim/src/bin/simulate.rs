//! Runs worlds of many seeds and prints what happened in them; exits 1 with the rule, the seed and the last lines of
//! the trace if a rule is broken.
//!
//! One world is one thread's; several run at once, and which runs where changes nothing.

#![allow(clippy::print_stdout, reason = "a command's results go to standard output")]

use clap::Parser;
use sim::world::{self, Broken, Tally, Trace};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Simulated worlds around Downbeat's shards.
#[derive(Parser)]
struct Args {
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds, from the first on.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Threads; all CPUs if 0.
    #[arg(long, default_value_t = 0)]
    jobs: usize,
    /// Prints every line of the trace on standard error.
    #[arg(long)]
    trace: bool,
}

/// A world that broke a rule.
struct Failure {
    seed: u64,
    broken: Broken,
    lines: Vec<String>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = if args.jobs == 0 { cpus } else { args.jobs };
    let started = Instant::now();
    let next = AtomicU64::new(args.seed);
    let end = args.seed + args.seeds;
    let total = Mutex::new((Tally::default(), None::<Failure>));
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    // Seeds are handed out in order, so the failure that is reported is nearly the first.
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let outcome = run(seed, args.trace);
                    let Ok(mut total) = total.lock() else { return };
                    match outcome {
                        Ok(tally) => total.0.add(&tally),
                        Err(failure) => {
                            next.store(end, Ordering::Relaxed);
                            if total.1.as_ref().is_none_or(|other| failure.seed < other.seed) {
                                total.1 = Some(failure);
                            }
                            return;
                        }
                    }
                }
            });
        }
    });
    let (tally, failure) = total.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    for (name, count) in tally.counts() {
        println!("{:<36} {count:>12}", name.replace('_', " "));
    }
    let seconds = started.elapsed().as_secs_f64();
    let Some(failure) = failure else {
        println!("{} seeds from {} on, all rules kept, {seconds:.1} s", args.seeds, args.seed);
        return ExitCode::SUCCESS;
    };
    for line in &failure.lines {
        println!("{line}");
    }
    println!("\nBROKEN after {seconds:.1} s: {}\n  {}", failure.broken.invariant, failure.broken.what);
    println!("seed {}; again, with all of its trace:", failure.seed);
    println!("  cargo run --release -p sim --bin simulate -- --seed {} --trace", failure.seed);
    ExitCode::FAILURE
}

/// One world. A panic of the engine breaks a rule as well.
fn run(seed: u64, is_printed: bool) -> Result<Tally, Failure> {
    let mut trace = Trace::new(is_printed);
    let outcome = catch_unwind(AssertUnwindSafe(|| world::run(seed, &mut trace)));
    let broken = match outcome {
        Ok(Ok(tally)) => return Ok(tally),
        Ok(Err(broken)) => broken,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
            Broken { invariant: "a shard never panics", what: text.to_owned() }
        }
    };
    Err(Failure { seed, broken, lines: trace.last_lines().map(str::to_owned).collect() })
}
