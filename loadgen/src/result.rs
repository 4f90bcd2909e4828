//! A run's result: what `--json` writes and reports are made from. loadgen/schema/result.json describes it.

use crate::args::Scenario;
use crate::machine::Host;
use crate::outcome::{Connections, Conservation, Messages};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunResult {
    /// What kind of file this is: `run`.
    pub kind: String,
    pub scenario: String,
    /// The peer's title, the command, or the URLs.
    pub target: String,
    pub closed_loop: bool,
    pub connections_asked: usize,
    pub payload_bytes: usize,
    pub duration_s: f64,
    /// False if the run does not count, for `void_reasons`.
    pub valid: bool,
    pub void_reasons: Vec<String>,
    pub bound: Bound,
    /// Deliveries (connects, where connections are the load) that the load asked for, and that came, a second.
    pub offered_per_s: f64,
    pub achieved_per_s: f64,
    pub messages: Messages,
    pub conservation: Conservation,
    pub connections: Connections,
    /// µs, by name: response, service, lag always; others where they apply.
    pub latency_us: BTreeMap<String, Percentiles>,
    /// PLAYs that came after the instant they name, per million; null without PLAYs.
    pub deadline_miss_ppm: Option<f64>,
    pub cost: Cost,
    /// Null without a server's pid.
    pub server: Option<Server>,
    pub generator: Generator,
    pub machine: Machine,
    pub slo: Vec<SloVerdict>,
    pub series: Vec<SeriesPoint>,
    /// Response by quantile, for plots: pairs of quantile and µs.
    pub response_by_quantile: Vec<(f64, f64)>,
    /// What went wrong, in words; the first few.
    pub faults: Vec<String>,
    pub host: Host,
    pub args: Vec<String>,
    pub seed: u64,
    pub version: String,
    pub started_unix_s: u64,
}

impl RunResult {
    /// Responses, or connects where connections are the load.
    pub fn response(&self) -> Option<&Percentiles> {
        let some = |name| self.latency_us.get(name).filter(|it| it.count > 0);
        some("response").or_else(|| some("connect"))
    }
}

/// Who was the bottleneck.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    Server,
    Generator,
    Neither,
}

impl Bound {
    pub fn name(self) -> &'static str {
        match self {
            Bound::Server => "server",
            Bound::Generator => "generator",
            Bound::Neither => "neither",
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    pub count: u64,
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p99_9: f64,
    pub max: f64,
}

/// CPU-ns for each delivery in the measured window; null where a pid or a delivery is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    pub server_ns_per_message: Option<f64>,
    pub generator_ns_per_message: Option<f64>,
    /// The whole machine's less the generator's: soft interrupts land on either.
    pub machine_ns_per_message: Option<f64>,
    /// Voluntary context switches of the server: how often it went to sleep.
    pub server_switches_per_message: Option<f64>,
    /// io_uring_enter calls of the generator.
    pub generator_enters_per_message: Option<f64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Server {
    /// Of one CPU: 200 is two of them.
    pub cpu_percent: f64,
    pub busiest_thread_percent: f64,
    pub rss_bytes: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Generator {
    pub cpu_percent: f64,
    pub busiest_worker_percent: f64,
    pub workers: usize,
    pub processes: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    pub busy_percent: f64,
    pub steal_percent: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SloVerdict {
    pub slo: String,
    pub measured_us: f64,
    pub holds: bool,
}

/// A second of the load, warm-up too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SeriesPoint {
    pub second: u64,
    pub connections: u64,
    pub sent: u64,
    pub received: u64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub max_us: f64,
    /// The server's resident bytes; 0 without its pid.
    pub rss_bytes: u64,
}

/// What `compare --json` writes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CompareResult {
    /// `compare`.
    pub kind: String,
    pub scenario: String,
    pub a: String,
    pub b: String,
    /// What each trial's number is, with its unit.
    pub metric: String,
    pub unit: String,
    /// One number a trial, in pairs.
    pub a_values: Vec<f64>,
    pub b_values: Vec<f64>,
    pub a_median: f64,
    pub b_median: f64,
    /// B over A: Hodges-Lehmann on log ratios, and its 95 % interval.
    pub ratio: f64,
    pub ratio_low: f64,
    pub ratio_high: f64,
    /// Wilcoxon's signed-rank test, two-sided.
    pub p: f64,
    pub threshold_percent: f64,
    pub verdict: Verdict,
    /// Trials that were void and played again, and why.
    pub void_trials: Vec<String>,
    pub host: Host,
    pub args: Vec<String>,
    pub version: String,
    pub started_unix_s: u64,
}

/// B against A.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Regressed,
    Improved,
    Equivalent,
    Inconclusive,
}

impl Verdict {
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Regressed => "regressed",
            Verdict::Improved => "improved",
            Verdict::Equivalent => "equivalent",
            Verdict::Inconclusive => "inconclusive",
        }
    }
}

/// What `search --json` writes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SearchResult {
    /// `search`.
    pub kind: String,
    pub scenario: String,
    pub target: String,
    pub slo: Vec<String>,
    pub points: Vec<SearchPoint>,
    /// The highest rate that holds; null if none does.
    pub highest_per_s: Option<f64>,
    pub host: Host,
    pub args: Vec<String>,
    pub version: String,
    pub started_unix_s: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SearchPoint {
    pub rate_per_s: f64,
    pub holds: bool,
    pub runs: Vec<SearchRun>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SearchRun {
    pub holds: bool,
    pub p50_us: f64,
    pub p99_us: f64,
    pub bound: Bound,
    /// Why it does not hold; empty if it does.
    pub reason: String,
}

/// What `mem --json` writes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MemResult {
    /// `mem`.
    pub kind: String,
    pub target: String,
    pub profile: String,
    pub steps: Vec<MemStep>,
    /// Least squares over the steps. The server's alone.
    pub user_bytes_per_connection: f64,
    /// The machine's slab and socket buffers, both ends of each connection.
    pub kernel_bytes_per_connection: f64,
    pub host: Host,
    pub args: Vec<String>,
    pub version: String,
    pub started_unix_s: u64,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct MemStep {
    pub connections: usize,
    pub rss_bytes: u64,
    pub slab_bytes: u64,
    pub tcp_buffer_bytes: u64,
}

/// What `curve --json` writes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CurveResult {
    /// `curve`.
    pub kind: String,
    pub scenario: String,
    pub connections: usize,
    pub payload_bytes: usize,
    pub rounds: usize,
    pub servers: Vec<CurveServer>,
    pub host: Host,
    pub args: Vec<String>,
    pub version: String,
    pub started_unix_s: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CurveServer {
    pub title: String,
    pub points: Vec<CurvePoint>,
    /// The rate with the greatest throughput over mean response; null if no trial counts.
    pub knee_per_s: Option<f64>,
}

/// Medians over the trials that count; null where there is none, which ends a server's curve.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CurvePoint {
    pub rate_per_s: f64,
    pub trials: usize,
    pub mean_us: Option<f64>,
    pub p50_us: Option<f64>,
    pub p99_us: Option<f64>,
    pub p99_9_us: Option<f64>,
    pub server_busiest_percent: Option<f64>,
    pub generator_busiest_percent: Option<f64>,
    pub server_ns_per_message: Option<f64>,
    pub void_trials: Vec<String>,
}

/// What `start --json` writes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StartResult {
    /// `start`.
    pub kind: String,
    pub target: String,
    pub profile: String,
    /// From exec to the first answered upgrade.
    pub times_us: Vec<f64>,
    pub median_us: f64,
    pub host: Host,
    pub args: Vec<String>,
    pub version: String,
    pub started_unix_s: u64,
}

/// What `bench --json` writes: one row of a table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BenchResult {
    /// `bench`.
    pub kind: String,
    pub name: String,
    pub scenario: String,
    pub closed_loop: bool,
    pub connections: usize,
    pub payload_bytes: usize,
    /// Messages, or connections where they are the load. Null for closed loops, for rooms, whose rate is their
    /// clients', and where all connect at once.
    pub rate_per_s: Option<f64>,
    /// What ratios are of.
    pub metric: String,
    pub rounds: usize,
    /// The first is what the others are held against.
    pub servers: Vec<BenchServer>,
    pub host: Host,
    pub args: Vec<String>,
    pub version: String,
    pub started_unix_s: u64,
}

impl BenchResult {
    /// Connections are the load, not messages.
    pub fn is_connecting(&self) -> bool {
        Scenario::from_str(&self.scenario, false).is_ok_and(Scenario::is_connecting)
    }
}

/// Medians over the trials that count; null where there is none.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BenchServer {
    pub title: String,
    pub trials: usize,
    pub server_ns_per_message: Option<f64>,
    pub machine_ns_per_message: Option<f64>,
    pub generator_ns_per_message: Option<f64>,
    pub achieved_per_s: Option<f64>,
    pub p50_us: Option<f64>,
    pub p99_us: Option<f64>,
    pub p99_9_us: Option<f64>,
    pub server_cpu_percent: Option<f64>,
    pub server_busiest_percent: Option<f64>,
    pub generator_busiest_percent: Option<f64>,
    pub rss_bytes: Option<f64>,
    /// Trials in which the server was the bottleneck.
    pub server_bound_trials: usize,
    pub skew_p99_us: Option<f64>,
    /// Of rooms: how far apart its devices would start, how wrong their clocks are, PLAYs that came too late.
    #[serde(default)]
    pub start_spread_p99_us: Option<f64>,
    #[serde(default)]
    pub clock_error_p99_us: Option<f64>,
    #[serde(default)]
    pub deadline_miss_ppm: Option<f64>,
    /// This server over the first: Hodges-Lehmann with its 95 % interval.
    pub ratio: Option<f64>,
    pub ratio_low: Option<f64>,
    pub ratio_high: Option<f64>,
    pub void_trials: Vec<String>,
}
