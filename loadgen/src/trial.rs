//! One trial: a server started anew, loaded once, measured, ended.

use crate::args::{LoadArgs, Metric, Scenario};
use crate::exit::{Exit, Failure};
use crate::result::RunResult;
use crate::run::{self, Run};
use crate::target::Target;

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

/// A trial that counts, or none if the last of its repetitions is void too. `voids` hears why others were.
pub fn counting(
    scenario: Scenario,
    target: &Target,
    load: &LoadArgs,
    retries_max: usize,
    mut voids: impl FnMut(String),
) -> Result<Option<RunResult>, Failure> {
    for _ in 0..=retries_max {
        match play(scenario, target, load, &[]) {
            Ok(result) if result.valid => return Ok(Some(result)),
            Ok(result) => voids(result.void_reasons.join("; ")),
            // A server that falls over under this load is a result too.
            Err(failure) if failure.exit == Exit::Died || failure.exit == Exit::Refused => {
                voids(failure.line);
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(None)
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
