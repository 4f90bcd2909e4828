//! `bench`: one row of a table: several servers in turn, round after round, each trial a server started anew.
//!
//! Rounds alternate their direction, so that what drifts drifts for all. Ratios are to the first server, by
//! rounds.

use crate::args::{BenchArgs, Scenario};
use crate::clock;
use crate::exit::Failure;
use crate::machine::Host;
use crate::report::text;
use crate::result::{BenchResult, BenchServer, Bound, RunResult};
use crate::run::Run;
use crate::statistics::{self, median};
use crate::target::Target;
use crate::trial::{self, Judged};

/// Void trials are played again so often; then the server has no figure in this row.
const RETRIES_MAX: usize = 3;

pub fn bench(args: &BenchArgs) -> Result<BenchResult, Failure> {
    if args.rounds < 6 {
        return Err(Failure::usage("--rounds: at least 6; fewer have no 95 % interval"));
    }
    let load = Run::new(args.scenario, &[], &args.load)?.load;
    let targets =
        args.targets.iter().map(|it| Target::parse(it, load.profile)).collect::<Result<Vec<_>, _>>()?;
    let started_unix_s = (clock::unix_ms() / 1e3) as u64;
    let mut trials: Vec<Vec<RunResult>> = targets.iter().map(|_| Vec::new()).collect();
    let mut voids: Vec<Vec<String>> = targets.iter().map(|_| Vec::new()).collect();
    for round in 0..args.rounds {
        for server in trial::order(round, targets.len()) {
            if trials[server].len() == round {
                trials[server].extend(measure(args, &targets[server], &mut voids[server])?);
            }
        }
        eprintln!("{}: round {} of {}", args.name, round + 1, args.rounds);
    }
    let servers = targets.iter().zip(&trials).zip(voids);
    let servers = servers
        .map(|((target, runs), voids)| summary(args, target.title(), &trials[0], runs, voids))
        .collect();
    let closed_loop = args.load.closed;
    Ok(BenchResult {
        kind: "bench".to_owned(),
        name: args.name.clone(),
        scenario: args.scenario.name().to_owned(),
        closed_loop,
        connections: args.load.conns,
        payload_bytes: args.load.payload,
        rate_per_s: match args.scenario {
            Scenario::ConnectStorm => load.connect_rate,
            Scenario::Churn => load.rate_per_s,
            _ => (!closed_loop).then_some(args.load.rate).flatten(),
        },
        metric: args.metric.title(args.scenario).to_owned(),
        rounds: args.rounds,
        servers,
        host: Host::read(),
        args: std::env::args().skip(1).collect(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_unix_s,
    })
}

/// A trial that counts, or none if even the last is void.
fn measure(args: &BenchArgs, target: &Target, voids: &mut Vec<String>) -> Result<Option<RunResult>, Failure> {
    let judged = trial::counting(args.scenario, target, &args.load, RETRIES_MAX, |reason| {
        eprintln!("{}: {}: void: {reason}", args.name, target.title());
        voids.push(reason);
    })?;
    Ok(match judged {
        Judged::Counts(result) => Some(*result),
        Judged::Failed | Judged::Stolen => None,
    })
}

fn summary(
    args: &BenchArgs,
    title: &str,
    base: &[RunResult],
    runs: &[RunResult],
    void_trials: Vec<String>,
) -> BenchServer {
    let middle = |number: &dyn Fn(&RunResult) -> Option<f64>| {
        let numbers: Vec<f64> = runs.iter().filter_map(number).collect();
        (!numbers.is_empty()).then(|| median(&numbers))
    };
    let response = |number: fn(&crate::result::Percentiles) -> f64| middle(&|run| run.response().map(number));
    let p99_of = |name: &str| middle(&|run| run.latency_us.get(name).map(|it| it.p99));
    let values = |runs: &[RunResult]| -> Vec<f64> {
        runs.iter().filter_map(|run| args.metric.of(run)).filter(|value| *value > 0.0).collect()
    };
    let (ours, theirs) = (values(base), values(runs));
    let is_paired = !ours.is_empty() && ours.len() == theirs.len();
    let ratio = is_paired.then(|| statistics::compare(&ours, &theirs));
    BenchServer {
        title: title.to_owned(),
        trials: runs.len(),
        server_ns_per_message: middle(&|run| run.cost.server_ns_per_message),
        machine_ns_per_message: middle(&|run| run.cost.machine_ns_per_message),
        generator_ns_per_message: middle(&|run| run.cost.generator_ns_per_message),
        achieved_per_s: middle(&|run| Some(run.achieved_per_s)),
        p50_us: response(|it| it.p50),
        p99_us: response(|it| it.p99),
        p99_9_us: response(|it| it.p99_9),
        server_cpu_percent: middle(&|run| run.server.map(|it| it.cpu_percent)),
        server_busiest_percent: middle(&|run| run.server.map(|it| it.busiest_thread_percent)),
        generator_busiest_percent: middle(&|run| Some(run.generator.busiest_worker_percent)),
        rss_bytes: middle(&|run| run.server.map(|it| it.rss_bytes as f64)),
        server_bound_trials: runs.iter().filter(|run| run.bound == Bound::Server).count(),
        skew_p99_us: p99_of("skew"),
        start_spread_p99_us: p99_of("start_spread"),
        clock_error_p99_us: p99_of("clock_error"),
        deadline_miss_ppm: middle(&|run| run.deadline_miss_ppm),
        ratio: ratio.map(|it| it.ratio),
        ratio_low: ratio.map(|it| it.low),
        ratio_high: ratio.map(|it| it.high),
        void_trials,
    }
}

/// The row for people.
pub fn render(result: &BenchResult) -> String {
    let mut out = format!("{} ({})\n", result.name, result.metric);
    let unit = if result.is_connecting() { "connection" } else { "delivery" };
    for it in &result.servers {
        let ratio = match (it.ratio, it.ratio_low, it.ratio_high) {
            (Some(ratio), Some(low), Some(high)) => format!("{ratio:.3} ({low:.3} to {high:.3})"),
            _ => "no ratio".to_owned(),
        };
        out += &format!(
            "{:<24} {:>9} a {unit}, {:>8}/s, p50 {:>8}, p99 {:>8}, p99.9 {:>8}; {ratio}; {} void\n",
            it.title,
            text::cost(it.server_ns_per_message),
            it.achieved_per_s.map_or_else(|| "-".to_owned(), text::count),
            it.p50_us.map_or_else(|| "-".to_owned(), text::time),
            it.p99_us.map_or_else(|| "-".to_owned(), text::time),
            it.p99_9_us.map_or_else(|| "-".to_owned(), text::time),
            it.void_trials.len(),
        );
    }
    out
}
