//! The history of costs: one line of NDJSON for each commit that landed, and the reading of it.
//!
//! Lines of different machine classes never meet: a class is what a cost depends on besides the code.

use crate::args::RecordArgs;
use crate::clock;
use crate::exit::Failure;
use crate::machine::Host;
use crate::result::BenchResult;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

/// One commit's costs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    pub commit: String,
    pub subject: String,
    pub committed_unix_s: u64,
    pub measured_unix_s: u64,
    /// CPU, how many of it, and the kernel's version.
    pub machine: String,
    /// By name; less is better.
    pub metrics: BTreeMap<String, f64>,
}

/// Appends a line made of results.
pub fn record(args: &RecordArgs) -> Result<String, Failure> {
    let mut metrics = BTreeMap::new();
    for path in &args.results {
        let wrong = |error: &dyn std::fmt::Display| Failure::usage(format!("{}: {error}", path.display()));
        let text = fs::read_to_string(path).map_err(|error| wrong(&error))?;
        let json: Value = serde_json::from_str(&text).map_err(|error| wrong(&error))?;
        metrics.extend(metrics_of(json).map_err(|line| wrong(&line))?);
    }
    let before = if args.history.exists() { read(&args.history)? } else { Vec::new() };
    let machine = class(&Host::read());
    if before.iter().any(|line| line.commit == args.commit && line.machine == machine) {
        return Err(Failure::usage(format!(
            "{}: has {} of this machine already",
            args.history.display(),
            args.commit
        )));
    }
    let line = Line {
        commit: args.commit.clone(),
        subject: args.subject.clone(),
        committed_unix_s: args.committed,
        measured_unix_s: (clock::unix_ms() / 1e3) as u64,
        machine,
        metrics,
    };
    let text = serde_json::to_string(&line).map_err(Failure::fault)? + "\n";
    let file = fs::OpenOptions::new().create(true).append(true).open(&args.history);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| Failure::usage(format!("{}: {error}", args.history.display())))?;
    Ok(format!("{}: {} metrics of {}\n", args.history.display(), line.metrics.len(), line.commit))
}

/// Counted costs as they are; of a row what a message cost the first server.
fn metrics_of(json: Value) -> Result<BTreeMap<String, f64>, String> {
    match json["kind"].as_str() {
        Some("costs") => serde_json::from_value(json["metrics"].clone()).map_err(|error| error.to_string()),
        Some("bench") => {
            let row: BenchResult = serde_json::from_value(json).map_err(|error| error.to_string())?;
            let cost = row.servers.first().and_then(|server| server.server_ns_per_message);
            let cost = cost.ok_or("its first server has no cost: every trial was void")?;
            Ok([(format!("cpu.{}", row.name), cost)].into())
        }
        _ => Err("neither counted costs nor a row of bench".to_owned()),
    }
}

/// All lines, in the order of the file.
pub fn read(path: &Path) -> Result<Vec<Line>, Failure> {
    let wrong = |error: &dyn std::fmt::Display| Failure::usage(format!("{}: {error}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| wrong(&error))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(number, line)| {
            serde_json::from_str(line).map_err(|error| wrong(&format!("line {}: {error}", number + 1)))
        })
        .collect()
}

/// What a cost depends on besides the code: a patch release of the kernel is none of it.
fn class(host: &Host) -> String {
    let kernel: Vec<&str> = host.kernel.split(['.', '-']).take(2).collect();
    format!("{} × {}, Linux {}", host.cpus, host.cpu, kernel.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machines_class_forgets_the_patch_level() {
        let host = Host {
            cpu: "AMD EPYC".to_owned(),
            cpus: 2,
            memory_bytes: 1,
            kernel: "6.18.5-cloud".to_owned(),
            descriptors_max: 3,
        };
        assert_eq!(class(&host), "2 × AMD EPYC, Linux 6.18");
    }

    #[test]
    fn only_costs_and_rows_have_metrics() {
        let costs = serde_json::json!({ "kind": "costs", "metrics": { "instructions.ping": 1747.0 } });
        assert_eq!(metrics_of(costs), Ok([("instructions.ping".to_owned(), 1747.0)].into()));
        assert!(metrics_of(serde_json::json!({ "kind": "run" })).is_err());
    }
}
