//! The command line of `flood`, and what each kind of attack is by default.

use super::{LoadArgs, Scenario};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flood {
    /// Readers that stop: what they are owed piles up
    Stalled,
    /// A byte at a time: of the head (half of them), then of messages
    Drip,
    /// Connections that say nothing, or half a head
    HalfOpen,
    /// One message of empty fragments without end
    EmptyFragments,
    /// Frames whose header alone announces too much
    HugeHeader,
    /// Control frames as fast as the socket takes them
    Pings,
    /// Messages faster than anyone types: time_pings, and a SEEK each tenth
    Messages,
    /// Joins of ever new rooms whose codes collide under the hashes in common use
    Codes,
    /// The same with random codes, to hold it against
    RandomCodes,
    /// All drop, and are back within 400 ms
    Herd,
    /// Connections that never join and never answer
    Silent,
}

/// How an attacker goes about it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tempo {
    /// So often a second, each.
    Paced(f64),
    /// As fast as its socket takes it.
    Tireless,
    /// By nothing but standing there.
    Mute,
}

impl Flood {
    pub fn name(self) -> &'static str {
        match self {
            Flood::Stalled => "stalled",
            Flood::Drip => "drip",
            Flood::HalfOpen => "half-open",
            Flood::EmptyFragments => "empty-fragments",
            Flood::HugeHeader => "huge-header",
            Flood::Pings => "pings",
            Flood::Messages => "messages",
            Flood::Codes => "codes",
            Flood::RandomCodes => "random-codes",
            Flood::Herd => "herd",
            Flood::Silent => "silent",
        }
    }

    pub fn attackers_default(self) -> usize {
        match self {
            // Each holds some 3 MB of socket buffers, of which a kernel has 2 GB for all on a machine of 24.
            Flood::Stalled => 500,
            Flood::Drip => 10_000,
            Flood::HalfOpen | Flood::Silent => 5_000,
            Flood::EmptyFragments | Flood::Pings => 10,
            Flood::HugeHeader => 100,
            Flood::Messages => 1,
            Flood::Codes | Flood::RandomCodes => 2_000,
            Flood::Herd => 9_000,
        }
    }

    pub fn tempo(self) -> Tempo {
        match self {
            // Within what an honest client may send: it is the reading that is missing.
            Flood::Stalled => Tempo::Paced(5.0),
            Flood::Drip => Tempo::Paced(100.0),
            Flood::Messages => Tempo::Paced(100_000.0),
            Flood::Codes | Flood::RandomCodes => Tempo::Paced(5.0),
            Flood::EmptyFragments | Flood::Pings => Tempo::Tireless,
            Flood::HalfOpen | Flood::HugeHeader | Flood::Herd | Flood::Silent => Tempo::Mute,
        }
    }
}

#[derive(Args)]
pub struct FloodArgs {
    /// What the attackers do
    pub flood: Flood,
    /// A ws:// URL, the name of a peer, or a command with {port} ([TITLE=]COMMAND), started anew for each round
    pub target: String,
    /// What the victims play: rooms, echo
    #[arg(long, default_value = "rooms")]
    pub victims: Scenario,
    #[command(flatten)]
    pub load: LoadArgs,
    /// Attackers [default: by the kind]
    #[arg(long, value_name = "N")]
    pub attackers: Option<usize>,
    /// What all attackers send a second: bytes (drip), messages or joins [default: by the kind]
    #[arg(long, value_name = "PER_S")]
    pub attack_rate: Option<f64>,
    /// Attackers take a CPU from others, if a tenth of what the victims' generator takes. Otherwise they take it only
    /// while nobody else wants it, and on a busy machine may hardly come to attack
    #[arg(long)]
    pub eager: bool,
    /// Rounds that count: alone, beside the attack, alone again
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// Fails unless each attacker that the server ended was ended so: 'close 1008', 'reset by the server'; may be
    /// given several times
    #[arg(long, value_name = "END")]
    pub promise: Vec<String>,
    /// Fails if the victims' p99 beside the attack is over so many times that alone
    #[arg(long, value_name = "RATIO")]
    pub ratio_max: Option<f64>,
    /// Fails if the victims' p99 beside the attack is over this
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub p99_max: Option<Duration>,
    /// Fails if the server's resident memory grows by more than this beside the attack
    #[arg(long, value_name = "MIB")]
    pub memory_max: Option<f64>,
    /// Fails if the kernel's socket buffers, the whole machine's, grow by more than this beside the attack
    #[arg(long, value_name = "MIB")]
    pub buffers_max: Option<f64>,
    /// The server's process, for its CPU and memory
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pub server_pid: Vec<u32>,
    /// Writes all rounds (loadgen/schema/flood.json describes it)
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}
