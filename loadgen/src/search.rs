//! `search`: the highest rate that keeps the SLOs. Doubles until a rate fails, then halves the gap.

use crate::args::SearchArgs;
use crate::clock;
use crate::exit::Failure;
use crate::machine::Host;
use crate::report::text;
use crate::result::{SearchPoint, SearchResult, SearchRun};
use crate::run::Run;
use crate::target::Target;
use crate::trial;

/// A point holds if this many of so many runs do.
const HOLD: usize = 3;
const RUNS: usize = 4;
const RATE_MAX: f64 = 1e8;

pub fn search(args: &SearchArgs) -> Result<SearchResult, Failure> {
    if args.load.slo.is_empty() {
        return Err(Failure::usage("--slo: a search needs one, such as p99<1ms"));
    }
    if args.load.closed || args.load.rate.is_some() {
        return Err(Failure::usage("search finds the rate: neither --rate nor --closed, but --from"));
    }
    if !(args.from > 0.0 && args.from < RATE_MAX && args.within > 0.0) {
        return Err(Failure::usage("--from, --within: above 0"));
    }
    let profile = Run::new(args.scenario, &[], &args.load)?.load.profile;
    let target = Target::parse(&args.target, profile)?;
    let started_unix_s = (clock::unix_ms() / 1e3) as u64;
    let mut points = Vec::new();
    let mut holds = |rate: f64| -> Result<bool, Failure> {
        let point = try_rate(args, &target, rate)?;
        let holds = point.holds;
        eprintln!("{}/s {}", text::count(rate), if holds { "holds" } else { "does not hold" });
        points.push(point);
        Ok(holds)
    };
    let (highest, _) = bracket(args.from, args.within / 100.0, &mut holds)?;
    Ok(SearchResult {
        kind: "search".to_owned(),
        scenario: args.scenario.name().to_owned(),
        target: target.title().to_owned(),
        slo: args.load.slo.iter().map(|slo| slo.text.clone()).collect(),
        points,
        highest_per_s: highest,
        host: Host::read(),
        args: std::env::args().skip(1).collect(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_unix_s,
    })
}

/// The highest rate that holds and the lowest that does not, within a share of each other.
fn bracket<E>(
    from: f64,
    within: f64,
    holds: &mut impl FnMut(f64) -> Result<bool, E>,
) -> Result<(Option<f64>, Option<f64>), E> {
    let (mut low, mut high) = (None, None);
    let mut rate = from;
    while high.is_none() && rate <= RATE_MAX {
        if holds(rate)? {
            low = Some(rate);
            rate *= 2.0;
        } else {
            high = Some(rate);
        }
    }
    // If the first rate fails, what holds lies below it.
    while low.is_none() && rate > from / 64.0 {
        rate /= 2.0;
        if holds(rate)? {
            low = Some(rate);
        } else {
            high = Some(rate);
        }
    }
    while let (Some(holding), Some(failing)) = (low, high) {
        if failing / holding <= 1.0 + within {
            break;
        }
        let middle = (holding * failing).sqrt();
        if holds(middle)? {
            low = Some(middle);
        } else {
            high = Some(middle);
        }
    }
    Ok((low, high))
}

fn try_rate(args: &SearchArgs, target: &Target, rate: f64) -> Result<SearchPoint, Failure> {
    let mut load = args.load.clone();
    load.rate = Some(rate);
    let mut runs: Vec<SearchRun> = Vec::new();
    loop {
        let held = runs.iter().filter(|run| run.holds).count();
        if held >= HOLD || runs.len() - held > RUNS - HOLD {
            return Ok(SearchPoint { rate_per_s: rate, holds: held >= HOLD, runs });
        }
        let result = trial::play(args.scenario, target, &load, &args.server_pid)?;
        let broken = result.slo.iter().filter(|slo| !slo.holds);
        let reasons = broken.map(|slo| format!("{}: {}", slo.slo, text::time(slo.measured_us)));
        let reasons: Vec<String> = result.void_reasons.iter().cloned().chain(reasons).collect();
        let response = result.latency_us.get("response").copied().unwrap_or_default();
        runs.push(SearchRun {
            holds: reasons.is_empty(),
            p50_us: response.p50,
            p99_us: response.p99,
            bound: result.bound,
            reason: reasons.join("; "),
        });
    }
}

/// The answer for people.
pub fn render(result: &SearchResult) -> String {
    let mut out = format!("{} against {}, {}\n", result.scenario, result.target, result.slo.join(", "));
    for point in &result.points {
        let verdict = if point.holds { "holds" } else { "fails" };
        let last = point.runs.iter().rfind(|run| run.holds == point.holds);
        let (p99, bound) = last.map_or((0.0, ""), |run| (run.p99_us, run.bound.name()));
        let reason = last.map_or("", |run| run.reason.as_str());
        out += &format!(
            "{:>10}/s {verdict}  p99 {:>8}  bound {bound:<9} {reason}\n",
            text::count(point.rate_per_s),
            text::time(p99)
        );
    }
    match result.highest_per_s {
        Some(rate) => out += &format!("highest rate that holds: {}/s\n", text::count(rate)),
        None => out += "no rate holds\n",
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    #[test]
    fn the_highest_rate_is_found_within_its_share_from_above_and_below() {
        for (limit, from) in [(50_000.0, 1_000.0), (50_000.0, 100_000.0), (1_300.0, 1_000.0)] {
            let mut asked = 0;
            let mut holds = |rate: f64| -> Result<bool, Infallible> {
                asked += 1;
                Ok(rate <= limit)
            };
            let Ok((low, high)) = bracket(from, 0.05, &mut holds);
            let (low, high) = (low.unwrap(), high.unwrap());
            assert!(low <= limit && limit < high && high / low <= 1.05, "{low} {high}");
            assert!(asked < 15, "{asked}");
        }
        let Ok(found) = bracket(1_000.0, 0.05, &mut |_| Ok::<_, Infallible>(false));
        assert_eq!(found.0, None);
    }
}
