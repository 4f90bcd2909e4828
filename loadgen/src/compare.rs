//! `compare`: two servers in alternating pairs, A B B A, each trial a server started anew.

use crate::args::CompareArgs;
use crate::clock;
use crate::exit::{Exit, Failure};
use crate::machine::Host;
use crate::report::text;
use crate::result::{CompareResult, Verdict};
use crate::run::Run;
use crate::statistics;
use crate::target::Target;
use crate::trial;

/// Void trials are played again so often in a row.
const RETRIES_MAX: usize = 5;

pub fn compare(args: &CompareArgs) -> Result<CompareResult, Failure> {
    if args.pairs < 6 {
        return Err(Failure::usage("--pairs: at least 6; fewer can never tell at 95 %"));
    }
    let profile = Run::new(args.scenario, &[], &args.load)?.load.profile;
    let targets = [Target::parse(&args.a, profile)?, Target::parse(&args.b, profile)?];
    let started_unix_s = (clock::unix_ms() / 1e3) as u64;
    let mut values = [Vec::new(), Vec::new()];
    let mut void_trials = Vec::new();
    for pair in 0..args.pairs {
        let order = if pair % 2 == 0 { [0, 1] } else { [1, 0] };
        for side in order {
            let value = measure(args, &targets[side], &mut void_trials)?;
            values[side].push(value);
        }
        eprintln!(
            "pair {:>2}/{}: A {}  B {}  ratio {:.3}",
            pair + 1,
            args.pairs,
            show(args, values[0][pair]),
            show(args, values[1][pair]),
            values[1][pair] / values[0][pair]
        );
    }
    let [a_values, b_values] = values;
    let comparison = statistics::compare(&a_values, &b_values);
    Ok(CompareResult {
        kind: "compare".to_owned(),
        scenario: args.scenario.name().to_owned(),
        a: targets[0].title().to_owned(),
        b: targets[1].title().to_owned(),
        metric: args.metric.title(args.scenario).to_owned(),
        unit: args.metric.unit().to_owned(),
        a_median: statistics::median(&a_values),
        b_median: statistics::median(&b_values),
        a_values,
        b_values,
        ratio: comparison.ratio,
        ratio_low: comparison.low,
        ratio_high: comparison.high,
        p: comparison.p,
        threshold_percent: args.threshold,
        verdict: comparison.verdict(args.threshold / 100.0, args.metric.more_is_worse()),
        void_trials,
        host: Host::read(),
        args: std::env::args().skip(1).collect(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_unix_s,
    })
}

/// A trial that counts.
fn measure(args: &CompareArgs, target: &Target, void_trials: &mut Vec<String>) -> Result<f64, Failure> {
    for _ in 0..=RETRIES_MAX {
        let result = trial::play(args.scenario, target, &args.load, &[])?;
        if result.valid {
            return args.metric.of(&result).filter(|value| *value > 0.0).ok_or_else(|| {
                Failure::usage(format!("{}: a trial has no such number", args.metric.title(args.scenario)))
            });
        }
        let reason = format!("{}: {}", target.title(), result.void_reasons.join("; "));
        eprintln!("void, again: {reason}");
        void_trials.push(reason);
    }
    let line = format!("{}: {RETRIES_MAX} trials in a row were void", target.title());
    Err(Failure { exit: Exit::Void, line })
}

fn show(args: &CompareArgs, value: f64) -> String {
    match args.metric.unit() {
        "ns" => text::cost(Some(value)),
        "us" => text::time(value),
        "bytes" => text::bytes(value),
        _ => text::count(value),
    }
}

/// The verdict for people.
pub fn render(args: &CompareArgs, result: &CompareResult) -> String {
    let worse = if args.metric.more_is_worse() { "less is better" } else { "more is better" };
    format!(
        "A             {}\nB             {}\n{:<13} A {}, B {} (medians of {}; {worse})\n\
         B / A         {:.3} (95 %: {:.3} to {:.3}), Wilcoxon p {:.4}\nverdict       {} (threshold {} %)\n",
        result.a,
        result.b,
        result.metric,
        show(args, result.a_median),
        show(args, result.b_median),
        result.a_values.len(),
        result.ratio,
        result.ratio_low,
        result.ratio_high,
        result.p,
        result.verdict.name(),
        result.threshold_percent
    )
}

pub fn exit(verdict: Verdict) -> Exit {
    if verdict == Verdict::Regressed { Exit::No } else { Exit::Fine }
}
