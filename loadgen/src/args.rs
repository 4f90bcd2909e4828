//! The command line.

mod flood;

pub use flood::{Flood, FloodArgs, Tempo};

use crate::exit;
use crate::slo::Slo;
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Parser)]
#[command(name = "loadgen", version, after_help = exit::HELP, max_term_width = 110)]
/// A load generator for WebSocket servers that can be trusted
///
/// Open loop with intended times, every message accounted for, cost per message beside latency, and a run that
/// does not count says so.
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// What this machine can hold, and how to raise it
    Doctor {
        /// Connections to plan for
        #[arg(long, value_name = "N", default_values_t = [10_000, 100_000, 1_000_000])]
        plan: Vec<u64>,
    },
    /// Is it a correct server? To be asked before any measurement
    Check(CheckArgs),
    /// One run
    Run(RunArgs),
    /// The highest rate that keeps an SLO (a point holds if 3 of 4 runs do)
    Search(SearchArgs),
    /// Bytes for each connection, user and kernel apart
    Mem(MemArgs),
    /// Two servers in alternating pairs: ratio, interval, verdict
    Compare(CompareArgs),
    /// One row of a table: several servers in turn, ratios to the first
    Bench(BenchArgs),
    /// From exec to the first answered upgrade
    Start(StartArgs),
    /// What ordinary clients feel of an attack, and what becomes of it
    Flood(FloodArgs),
    /// Pass or fail of a result, for CI
    Gate(GateArgs),
    /// Latency by load: several servers at rising rates, and each one's knee
    Curve(CurveArgs),
    /// Appends a commit's costs to a history
    Record(RecordArgs),
    /// Where a history of costs changed for good, and with which commit
    Trend(TrendArgs),
    /// One self-contained page from results
    Report(ReportArgs),
    /// Other servers to compare with, described in bench/peers/*.toml
    Peers {
        #[command(subcommand)]
        command: PeersCommand,
    },
    /// Is the generator itself right? A minute of planted faults
    Selftest(SelftestArgs),
    /// A worker process of a large run; its part comes on standard input
    #[command(hide = true)]
    Part,
    /// The selftest's own server
    #[command(hide = true)]
    Decoy(DecoyArgs),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// Every message comes back to its sender
    Echo,
    /// Everyone speaks, everyone hears
    Broadcast,
    /// The real protocol at the real clients' cadence
    Rooms,
    /// Members of rooms speak, everyone in the room hears: the room protocol's SEEK
    Chatter,
    /// Connections and nothing else
    Idle,
    /// All connect, at --connect-rate or all at once
    ConnectStorm,
    /// All drop and come back in 1.0 to 1.4 s
    Herd,
    /// --rate connections a second end and are made again
    Churn,
    /// Some stop reading; how are the others?
    SlowReader,
}

impl Scenario {
    pub fn name(self) -> &'static str {
        match self {
            Scenario::Echo => "echo",
            Scenario::Broadcast => "broadcast",
            Scenario::Rooms => "rooms",
            Scenario::Chatter => "chatter",
            Scenario::Idle => "idle",
            Scenario::ConnectStorm => "connect-storm",
            Scenario::Herd => "herd",
            Scenario::Churn => "churn",
            Scenario::SlowReader => "slow-reader",
        }
    }

    /// Connections are the load, not messages.
    pub fn is_connecting(self) -> bool {
        matches!(self, Scenario::ConnectStorm | Scenario::Herd | Scenario::Churn)
    }
}

/// What the server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Every message back to its sender
    Echo,
    /// Every message to everyone
    Broadcast,
    /// The room protocol
    Rooms,
}

impl Profile {
    pub fn name(self) -> &'static str {
        match self {
            Profile::Echo => "echo",
            Profile::Broadcast => "broadcast",
            Profile::Rooms => "rooms",
        }
    }
}

/// What to load and how; the same for all commands that run load.
#[derive(Args, Clone, Debug)]
pub struct LoadArgs {
    /// Connections
    #[arg(short, long, visible_alias = "connections", value_name = "N", default_value_t = 100)]
    pub conns: usize,
    /// What the server speaks, where a scenario fits several [default: by the scenario]
    #[arg(long)]
    pub profile: Option<Profile>,
    /// Members of a room
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub room_size: usize,
    /// Rooms; instead of --room-size
    #[arg(long, value_name = "N", conflicts_with = "room_size")]
    pub rooms: Option<usize>,
    /// Number of the first room: runs beside each other at one server need rooms of their own
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub first_room: usize,
    /// Open loop: messages a second in all [default: 1000]; churn: connections a second [default: 100]
    #[arg(long, value_name = "PER_S")]
    pub rate: Option<f64>,
    /// Closed loop, for throughput only: echo keeps --depth in flight, broadcast and each room of chatter play
    /// rounds
    #[arg(long, conflicts_with = "rate")]
    pub closed: bool,
    /// Echo: messages in flight on a connection at most
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub depth: u32,
    /// Measured time
    #[arg(short, long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    pub duration: Duration,
    /// Load before the measured time
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = humantime::parse_duration)]
    pub warmup: Duration,
    /// Bytes of a message, 20 at least: its stamp
    #[arg(long, value_name = "BYTES", default_value_t = 20)]
    pub payload: usize,
    /// Connections a second while connecting [default: as fast as they are answered]
    #[arg(long, value_name = "PER_S")]
    pub connect_rate: Option<f64>,
    /// Chatter: members of each room that speak, the first ones [default: all that read]
    #[arg(long, value_name = "N")]
    pub speakers: Option<usize>,
    /// Share of connections that stop reading [default: slow-reader 10, chatter 0: the last of each room]
    #[arg(long, value_name = "PERCENT")]
    pub slow_share: Option<f64>,
    /// Rooms: mean time between a host's clicks
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    pub click_every: Duration,
    /// Rooms: share of members that vanish and return within a minute
    #[arg(long, value_name = "PERCENT", default_value_t = 10.0)]
    pub leavers: f64,
    /// Worker threads
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub threads: usize,
    /// CPUs of the workers, as 1 or 2,3 [default: the last ones]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub cpus: Vec<usize>,
    /// CPUs of servers that are started here [default: the first]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub server_cpus: Vec<usize>,
    /// Source addresses [default: 127.0.0.1, .2, ... as ports run out, on loopback]
    #[arg(long, value_name = "ADDRESSES", value_delimiter = ',')]
    pub source: Vec<IpAddr>,
    /// Repeats a run's random choices [default: drawn, and printed]
    #[arg(long)]
    pub seed: Option<u64>,
    /// An objective such as p99<1ms or skew.p99<5ms; may be given several times
    #[arg(long, value_name = "SLO")]
    pub slo: Vec<Slo>,
}

#[derive(Args)]
pub struct RunArgs {
    pub scenario: Scenario,
    /// ws:// URLs (connections are spread over several), the name of a peer, or a command with {port}
    #[arg(required = true)]
    pub targets: Vec<String>,
    #[command(flatten)]
    pub load: LoadArgs,
    /// The server's process, for its CPU and memory; several with commas
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pub server_pid: Vec<u32>,
    /// Writes the result (loadgen/schema/result.json describes it)
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Writes FILE-response.hgrm, FILE-service.hgrm, ... and FILE.hlog
    #[arg(long, value_name = "FILE")]
    pub hdr: Option<PathBuf>,
    /// No progress
    #[arg(short, long)]
    pub quiet: bool,
}

#[derive(Args)]
pub struct CheckArgs {
    /// A ws:// URL, the name of a peer, or a command with {port} ([TITLE=]COMMAND)
    pub target: String,
    /// What the server speaks
    #[arg(long, default_value = "echo")]
    pub profile: Profile,
}

#[derive(Args)]
pub struct SearchArgs {
    pub scenario: Scenario,
    /// A ws:// URL, the name of a peer, or a command with {port} ([TITLE=]COMMAND)
    pub target: String,
    #[command(flatten)]
    pub load: LoadArgs,
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    /// The server's process, for its CPU and memory
    pub server_pid: Vec<u32>,
    /// The first rate tried
    #[arg(long, value_name = "PER_S", default_value_t = 1_000.0)]
    pub from: f64,
    /// How close the answer has to be
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0)]
    pub within: f64,
    /// Writes all points tried
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

#[derive(Args)]
pub struct MemArgs {
    /// A ws:// URL, the name of a peer, or a command with {port} ([TITLE=]COMMAND)
    pub target: String,
    /// Connections to hold, as 0,10k,50k
    #[arg(long, value_name = "LIST", default_value = "0,2500,5k,10k")]
    pub steps: String,
    /// What the server speaks; with rooms all join
    #[arg(long, default_value = "echo")]
    pub profile: Profile,
    /// Members of a room
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub room_size: usize,
    /// The server's process
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pub server_pid: Vec<u32>,
    /// CPUs of a server that is started here
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub server_cpus: Vec<usize>,
    #[arg(long, value_name = "FILE")]
    /// Writes the figures
    pub json: Option<PathBuf>,
}

#[derive(Args)]
pub struct CompareArgs {
    /// The name of a peer, or a command with {port}; started anew for each trial
    pub a: String,
    /// Against A
    pub b: String,
    /// What is run
    #[arg(long, default_value = "echo")]
    pub scenario: Scenario,
    #[command(flatten)]
    pub load: LoadArgs,
    /// Pairs of trials, A B B A
    #[arg(long, default_value_t = 12)]
    pub pairs: usize,
    /// What is compared
    #[arg(long, default_value = "server-cost")]
    pub metric: Metric,
    /// A change below this is none
    #[arg(long, value_name = "PERCENT", default_value_t = 2.0)]
    pub threshold: f64,
    /// Writes all trials and the verdict
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

#[derive(Args)]
pub struct BenchArgs {
    /// What is run
    pub scenario: Scenario,
    /// Peers' names or commands with {port}; the first is what the others are held against
    #[arg(required = true)]
    pub targets: Vec<String>,
    #[command(flatten)]
    pub load: LoadArgs,
    /// The row's name
    #[arg(long, default_value = "row")]
    pub name: String,
    /// Trials of each server
    #[arg(long, default_value_t = 6)]
    pub rounds: usize,
    /// What ratios are of
    #[arg(long, default_value = "server-cost")]
    pub metric: Metric,
    /// Writes the row
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// A trial's one number; less is better for all but rates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// CPU of the server for each message or delivery
    ServerCost,
    /// CPU of the machine less the generator's, for each message or delivery
    MachineCost,
    /// 99 % of responses
    P99,
    /// Median response
    P50,
    /// Messages or deliveries a second
    Rate,
    /// Resident bytes at the end
    Rss,
}

#[derive(Args)]
pub struct StartArgs {
    /// The name of a peer, or a command with {port}
    pub target: String,
    /// What the server speaks
    #[arg(long, default_value = "echo")]
    pub profile: Profile,
    /// Starts
    #[arg(long, default_value_t = 21)]
    pub times: usize,
    /// Fails if the median is above
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub max: Option<Duration>,
    /// CPUs of the server [default: all]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub server_cpus: Vec<usize>,
    /// Writes the figures
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

#[derive(Args)]
pub struct GateArgs {
    /// A result of `run --json`, or counted costs
    pub result: PathBuf,
    /// TOML: `"cost.server_ns_per_message" = { max = 9000 }`, or `{ value = 9000, percent = 5 }`
    #[arg(long, value_name = "FILE")]
    pub budget: PathBuf,
    /// Only metrics that begin so
    #[arg(long, value_name = "METRIC")]
    pub only: Vec<String>,
    /// Accepts what is now: rewrites each `value` that is off by more than its tolerance, and notes why
    #[arg(long, value_name = "REASON")]
    pub update: Option<String>,
}

#[derive(Args)]
pub struct CurveArgs {
    /// What is run
    pub scenario: Scenario,
    /// Peers' names or commands with {port}
    #[arg(required = true)]
    pub targets: Vec<String>,
    #[command(flatten)]
    pub load: LoadArgs,
    /// Messages a second, rising
    #[arg(long, value_name = "LIST", value_delimiter = ',', required = true)]
    pub rates: Vec<f64>,
    /// Trials of each server at each rate
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// Writes the curves
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

#[derive(Args)]
pub struct RecordArgs {
    /// Counted costs, and rows of bench
    #[arg(required = true)]
    pub results: Vec<PathBuf>,
    /// NDJSON, a line for each commit
    #[arg(long, value_name = "FILE")]
    pub history: PathBuf,
    /// What was measured
    #[arg(long, value_name = "HASH")]
    pub commit: String,
    /// Its first line
    #[arg(long, value_name = "TEXT")]
    pub subject: String,
    /// When it was made, in seconds since 1970
    #[arg(long, value_name = "UNIX_S")]
    pub committed: u64,
}

#[derive(Args)]
pub struct TrendArgs {
    /// NDJSON, as `record` writes it
    pub history: PathBuf,
    /// Only metrics that begin so
    #[arg(long, value_name = "METRIC")]
    pub only: Vec<String>,
    /// Changes below this are none
    #[arg(long, value_name = "PERCENT", default_value_t = 1.0)]
    pub least: f64,
    /// Fails if anything became worse after this commit
    #[arg(long, value_name = "COMMIT")]
    pub since: Option<String>,
    /// An .html page of plots, or an .svg of all that is asked for, as percentages of their first values
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

#[derive(Args)]
pub struct ReportArgs {
    /// Results of run, bench, compare, curve, search, mem and start
    #[arg(required = true)]
    pub results: Vec<PathBuf>,
    /// An .html page, .md for Markdown, or .svg for one plot of curves or of memory
    #[arg(short, long, value_name = "FILE", default_value = "report.html")]
    pub output: PathBuf,
}

#[derive(Subcommand)]
pub enum PeersCommand {
    /// All peers, and whether they are installed
    List,
    /// Starts a peer and waits for Ctrl-C
    Start {
        name: String,
        /// What it is to speak
        #[arg(long, default_value = "echo")]
        profile: Profile,
        #[arg(long, default_value_t = 6002)]
        port: u16,
    },
}

#[derive(Args)]
pub struct SelftestArgs {
    /// Comparisons with a planted slowdown, and with none
    #[arg(long, default_value_t = 10)]
    pub comparisons: usize,
    /// Run only those whose name contains this
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub only: String,
}

#[derive(Args, Clone, Debug, Default)]
pub struct DecoyArgs {
    #[arg(long)]
    pub port: u16,
    /// Swallows every Nth message
    #[arg(long, default_value_t = 0)]
    pub drop: u64,
    /// Answers every Nth message twice
    #[arg(long, default_value_t = 0)]
    pub duplicate: u64,
    /// Answers every Nth message after the next one
    #[arg(long, default_value_t = 0)]
    pub reorder: u64,
    /// Flips a bit of every Nth message
    #[arg(long, default_value_t = 0)]
    pub corrupt: u64,
    /// Works so much more for each message
    #[arg(long, default_value_t = 0.0)]
    pub slower_percent: f64,
    /// Steps of work for each message
    #[arg(long, default_value_t = 0)]
    pub work: u64,
}
