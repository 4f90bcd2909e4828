//! Counts what Downbeat costs, exactly or nearly so: what the gate holds against `bench/budget.toml`.
//!
//! Instructions by callgrind, allocations by counting, system calls by strace, bytes by looking. No time is
//! taken here: on a shared machine two of them never agree. Each file measures one kind of cost; a new one is a
//! file with a `measure` and a line below.

#![allow(clippy::print_stdout, reason = "a command's results go to standard output")]

mod allocations;
mod binary;
mod calls;
mod instructions;
mod memory;
mod sizes;
mod tool;

use clap::Parser;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

/// Counts what Downbeat costs: instructions, allocations, system calls, bytes
#[derive(Parser)]
struct Args {
    /// Only metrics that begin so, such as instructions.ping
    wanted: Vec<String>,
    /// Writes the metrics
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The server's binary [default: beside this one]
    #[arg(long, value_name = "FILE")]
    server: Option<PathBuf>,
}

/// What is measured, and which of it is wanted.
pub struct Asked {
    wanted: Vec<String>,
    server: PathBuf,
}

impl Asked {
    /// Is this metric wanted, or one that begins so?
    fn wants(&self, metric: &str) -> bool {
        self.wanted.is_empty()
            || self
                .wanted
                .iter()
                .any(|it| metric.starts_with(it) || (metric.ends_with('.') && it.starts_with(metric)))
    }
}

/// Values by metric, in the metric's own unit.
pub type Metrics = BTreeMap<String, f64>;

/// What `--json` writes.
#[derive(Serialize)]
struct Costs {
    kind: &'static str,
    metrics: Metrics,
    version: &'static str,
}

/// What a kind of metric begins with, and what measures it.
type Measure = fn(&Asked) -> Result<Metrics, String>;
const KINDS: [(&str, Measure); 6] = [
    ("instructions.", instructions::measure),
    ("allocations.", allocations::measure),
    ("calls.", calls::measure),
    ("memory.", memory::measure),
    ("size.", sizes::measure),
    ("binary.", binary::measure),
];

fn main() -> ExitCode {
    match measure(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(line) => {
            eprintln!("costs: {line}");
            ExitCode::from(70)
        }
    }
}

fn measure(args: Args) -> Result<(), String> {
    let server = args.server.map_or_else(|| tool::sibling("downbeat"), Ok)?;
    let asked = Asked { wanted: args.wanted, server };
    let mut metrics = Metrics::new();
    for (kind, measure) in KINDS {
        if asked.wants(kind) || asked.wanted.iter().any(|it| kind.starts_with(it)) {
            let mut of_kind = measure(&asked)?;
            of_kind.retain(|metric, _| asked.wants(metric));
            of_kind.iter().for_each(|(metric, value)| println!("{metric:<36} {value:>14.2}"));
            metrics.extend(of_kind);
        }
    }
    if metrics.is_empty() {
        return Err(format!("no metric begins with {}", asked.wanted.join(" or ")));
    }
    let Some(path) = args.json else { return Ok(()) };
    let costs = Costs { kind: "costs", metrics, version: env!("CARGO_PKG_VERSION") };
    let text = serde_json::to_string_pretty(&costs).map_err(|error| error.to_string())?;
    std::fs::write(&path, text + "\n").map_err(|error| format!("{}: {error}", path.display()))
}
