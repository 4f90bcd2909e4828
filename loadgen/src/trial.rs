//! One trial: a server started anew, loaded once, measured, ended.

use crate::args::{LoadArgs, Metric, Scenario};
use crate::exit::{Exit, Failure};
use crate::result::RunResult;
use crate::run::{self, Run};
use crate::target::Target;
use crate::verdict;

/// Runs a load against a target, which is started for it if it is a command.
pub fn play(
    scenario: Scenario,
    target: &Target,
    load: &LoadArgs,
    pids: &[u32],
) -> Result<RunResult, Failure> {
    let started = target.start(&run::server_cpus(load)?)?;
    let mut run = Run::new(scenario, std::slice::from_ref(&started.url), load)?;
    target.title().clone_into(&mut run.target);
    run.server_pids = pids.to_vec();
    run.server_pids.extend(started.pid());
    run.play(true).map(|(result, _)| result)
}

/// What a server's repetitions came to.
pub enum Judged {
    Counts(Box<RunResult>),
    /// Void to the last, at least once by its own doing.
    Failed,
    /// Void to the last, and always beside a host that stole time: this says nothing of the server.
    Stolen,
}

/// Trials beside a host that steals time are played again so often, beside `retries_max` for all other reasons.
const STOLEN_RETRIES_MAX: usize = 6;

/// Plays a trial until it counts. `voids` hears why others did not.
pub fn counting(
    scenario: Scenario,
    target: &Target,
    load: &LoadArgs,
    retries_max: usize,
    mut voids: impl FnMut(String),
) -> Result<Judged, Failure> {
    repeat(retries_max, || match play(scenario, target, load, &[]) {
        Ok(result) if result.valid => Ok(Judged::Counts(Box::new(result))),
        Ok(result) => {
            voids(result.void_reasons.join("; "));
            Ok(if verdict::is_stolen(&result) { Judged::Stolen } else { Judged::Failed })
        }
        // A server that falls over under this load is a result too.
        Err(failure) if failure.exit == Exit::Died || failure.exit == Exit::Refused => {
            voids(failure.line);
            Ok(Judged::Failed)
        }
        Err(failure) => Err(failure),
    })
}

fn repeat(retries_max: usize, mut trial: impl FnMut() -> Result<Judged, Failure>) -> Result<Judged, Failure> {
    let (mut failed, mut stolen) = (0, 0);
    loop {
        match trial()? {
            Judged::Counts(result) => return Ok(Judged::Counts(result)),
            Judged::Failed => failed += 1,
            Judged::Stolen => stolen += 1,
        }
        if failed > retries_max {
            return Ok(Judged::Failed);
        }
        if stolen > STOLEN_RETRIES_MAX {
            return Ok(if failed > 0 { Judged::Failed } else { Judged::Stolen });
        }
    }
}

/// The order of a round: there and back, so that what drifts drifts for all.
pub fn order(round: usize, servers: usize) -> Vec<usize> {
    if round.is_multiple_of(2) { (0..servers).collect() } else { (0..servers).rev().collect() }
}

impl Metric {
    /// A trial's number; `None` if it has none.
    pub fn of(self, result: &RunResult) -> Option<f64> {
        let response = result.response();
        match self {
            Metric::ServerCost => result.cost.server_ns_per_message,
            Metric::MachineCost => result.cost.machine_ns_per_message,
            Metric::P99 => response.map(|it| it.p99),
            Metric::P50 => response.map(|it| it.p50),
            Metric::Rate => Some(result.achieved_per_s),
            Metric::Rss => result.server.map(|server| server.rss_bytes as f64),
        }
    }

    pub fn title(self, scenario: Scenario) -> &'static str {
        match (self, scenario.is_connecting()) {
            (Metric::ServerCost, false) => "server CPU a delivery",
            (Metric::ServerCost, true) => "server CPU a connection",
            (Metric::MachineCost, false) => "machine CPU less the generator's a delivery",
            (Metric::MachineCost, true) => "machine CPU less the generator's a connection",
            (Metric::P99, false) => "response p99",
            (Metric::P99, true) => "connect p99",
            (Metric::P50, false) => "response p50",
            (Metric::P50, true) => "connect p50",
            (Metric::Rate, false) => "deliveries a second",
            (Metric::Rate, true) => "connections a second",
            (Metric::Rss, _) => "resident memory",
        }
    }

    pub fn unit(self) -> &'static str {
        match self {
            Metric::ServerCost | Metric::MachineCost => "ns",
            Metric::P99 | Metric::P50 => "us",
            Metric::Rate => "1/s",
            Metric::Rss => "bytes",
        }
    }

    pub fn more_is_worse(self) -> bool {
        self != Metric::Rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What trials come to that end so, one after the other, `F`ailed or `S`tolen, and how many were played.
    fn judged(trials: &str, retries_max: usize) -> (Judged, usize) {
        let mut kinds = trials.chars();
        let judged = repeat(retries_max, || match kinds.next() {
            Some('F') => Ok(Judged::Failed),
            Some('S') => Ok(Judged::Stolen),
            other => panic!("one trial too many: {other:?}"),
        });
        (judged.unwrap(), trials.len() - kinds.count())
    }

    #[test]
    fn stolen_time_does_not_use_up_the_patience_with_a_server() {
        assert!(matches!(judged("SSSFSSF", 1), (Judged::Failed, 7)));
        assert!(matches!(judged("FF", 1), (Judged::Failed, 2)));
        assert!(matches!(judged("FFF", 2), (Judged::Failed, 3)));
    }

    #[test]
    fn only_a_server_that_never_had_its_time_is_not_judged() {
        assert!(matches!(judged("SSSSSSS", 2), (Judged::Stolen, 7)));
        assert!(matches!(judged("SSSFSSSS", 2), (Judged::Failed, 8)));
    }
}
