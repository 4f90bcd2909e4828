//! `curve`: latency by load, for several servers in turn, and each one's knee.
//!
//! At each rate all servers are played round after round, in alternating direction, each trial a server started
//! anew. A server that cannot keep a rate (no trial there counts, and not for its host's theft) is not asked for more. The knee is Kleinrock's:
//! the load at which throughput over mean response is greatest.

use crate::args::CurveArgs;
use crate::clock;
use crate::exit::Failure;
use crate::machine::Host;
use crate::report::text;
use crate::result::{CurvePoint, CurveResult, CurveServer, RunResult};
use crate::run::Run;
use crate::statistics::median;
use crate::target::Target;
use crate::trial::{self, Judged};

/// Void trials are played again so often.
const RETRIES_MAX: usize = 2;

pub fn curve(args: &CurveArgs) -> Result<CurveResult, Failure> {
    if args.load.closed || args.load.rate.is_some() {
        return Err(Failure::usage("a curve is of open loops at --rates: neither --rate nor --closed"));
    }
    let is_rising = args.rates.windows(2).all(|pair| pair[0] < pair[1]) && args.rates[0] > 0.0;
    if !is_rising || args.rounds == 0 {
        return Err(Failure::usage("--rates: above 0 and rising; --rounds: at least 1"));
    }
    let profile = Run::new(args.scenario, &[], &args.load)?.load.profile;
    let targets = args.targets.iter().map(|it| Target::parse(it, profile)).collect::<Result<Vec<_>, _>>()?;
    let started_unix_s = (clock::unix_ms() / 1e3) as u64;
    let mut servers: Vec<CurveServer> = targets
        .iter()
        .map(|it| CurveServer { title: it.title().to_owned(), points: Vec::new(), knee_per_s: None })
        .collect();
    let mut is_over = vec![false; targets.len()];
    for rate in &args.rates {
        let mut trials: Vec<Vec<RunResult>> = targets.iter().map(|_| Vec::new()).collect();
        let mut voids: Vec<Vec<String>> = targets.iter().map(|_| Vec::new()).collect();
        let mut failed = vec![false; targets.len()];
        for round in 0..args.rounds {
            for server in trial::order(round, targets.len()) {
                if is_over[server] || failed[server] {
                    continue;
                }
                match measure(args, &targets[server], *rate, &mut voids[server])? {
                    Judged::Counts(result) => trials[server].push(*result),
                    Judged::Failed => failed[server] = true,
                    Judged::Stolen => {}
                }
            }
        }
        for server in 0..targets.len() {
            is_over[server] |= failed[server] && trials[server].is_empty();
        }
        for (server, (runs, voids)) in servers.iter_mut().zip(trials.iter().zip(voids)) {
            if !runs.is_empty() || !voids.is_empty() {
                let point = point(*rate, runs, voids);
                eprintln!("{:>10}/s {:<24} {}", text::count(*rate), server.title, words(&point));
                server.points.push(point);
            }
        }
    }
    for server in &mut servers {
        server.knee_per_s = knee(&server.points);
    }
    Ok(CurveResult {
        kind: "curve".to_owned(),
        scenario: args.scenario.name().to_owned(),
        connections: args.load.conns,
        payload_bytes: args.load.payload,
        rounds: args.rounds,
        servers,
        host: Host::read(),
        args: std::env::args().skip(1).collect(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_unix_s,
    })
}

fn measure(args: &CurveArgs, target: &Target, rate: f64, voids: &mut Vec<String>) -> Result<Judged, Failure> {
    let mut load = args.load.clone();
    load.rate = Some(rate);
    trial::counting(args.scenario, target, &load, RETRIES_MAX, |reason| voids.push(reason))
}

fn point(rate_per_s: f64, runs: &[RunResult], void_trials: Vec<String>) -> CurvePoint {
    let middle = |number: &dyn Fn(&RunResult) -> Option<f64>| {
        let numbers: Vec<f64> = runs.iter().filter_map(number).collect();
        (!numbers.is_empty()).then(|| median(&numbers))
    };
    let response = |number: fn(&crate::result::Percentiles) -> f64| middle(&|run| run.response().map(number));
    CurvePoint {
        rate_per_s,
        trials: runs.len(),
        mean_us: response(|it| it.mean),
        p50_us: response(|it| it.p50),
        p99_us: response(|it| it.p99),
        p99_9_us: response(|it| it.p99_9),
        server_busiest_percent: middle(&|run| run.server.map(|it| it.busiest_thread_percent)),
        generator_busiest_percent: middle(&|run| Some(run.generator.busiest_worker_percent)),
        server_ns_per_message: middle(&|run| run.cost.server_ns_per_message),
        void_trials,
    }
}

/// Where throughput over mean response is greatest (Kleinrock's power).
fn knee(points: &[CurvePoint]) -> Option<f64> {
    let powers = points.iter().filter_map(|it| Some((it.rate_per_s, it.rate_per_s / it.mean_us?)));
    powers.max_by(|a, b| a.1.total_cmp(&b.1)).map(|it| it.0)
}

fn words(point: &CurvePoint) -> String {
    match (point.p50_us, point.p99_us) {
        (Some(p50), Some(p99)) => format!("p50 {:>8}  p99 {:>8}", text::time(p50), text::time(p99)),
        _ => format!("void: {}", point.void_trials.last().map_or("", String::as_str)),
    }
}

/// The curves for people.
pub fn render(result: &CurveResult) -> String {
    let mut out = String::new();
    for server in &result.servers {
        let knee =
            server.knee_per_s.map_or_else(|| "none".to_owned(), |rate| format!("{}/s", text::count(rate)));
        out += &format!("{}, knee {knee}\n", server.title);
        for point in &server.points {
            out += &format!("{:>10}/s  {}\n", text::count(point.rate_per_s), words(point));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_knee_is_where_more_load_costs_more_latency_than_it_brings() {
        let at = |rate: f64, mean: Option<f64>| CurvePoint { mean_us: mean, ..point(rate, &[], Vec::new()) };
        let points = [
            at(10e3, Some(100.0)),
            at(20e3, Some(110.0)),
            at(40e3, Some(150.0)),
            at(60e3, Some(400.0)),
            at(80e3, None),
        ];
        assert_eq!(knee(&points), Some(40e3));
        assert_eq!(knee(&points[4..]), None);
    }
}
