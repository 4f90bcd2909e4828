//! What `flood --json` writes; loadgen/schema/flood.json describes it.

use crate::machine::Host;
use crate::statistics;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FloodResult {
    /// `flood`.
    pub kind: String,
    pub flood: String,
    pub target: String,
    /// The scenario that the victims play, and how many they are.
    pub victims: String,
    pub connections: usize,
    pub attackers: usize,
    /// What all attackers together were to send a second; null where they are not paced.
    pub attack_rate_per_s: Option<f64>,
    pub duration_s: f64,
    pub rounds: Vec<FloodRound>,
    /// Medians over the rounds that count.
    pub medians: FloodFigures,
    /// How the server ended attackers, in all rounds.
    pub ended: BTreeMap<String, u64>,
    /// What is not as it must be: harm to victims, ends that were not promised, a ratio over its limit.
    pub failures: Vec<String>,
    pub host: Host,
    pub args: Vec<String>,
    pub version: String,
    pub started_unix_s: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FloodRound {
    /// Why it does not count, which is no doing of the server's; empty if it does.
    pub void_reasons: Vec<String>,
    /// What victims suffered beyond a longer wait.
    pub harms: Vec<String>,
    /// How the server ended attackers: a close code, a reset, a status instead of an upgrade.
    pub ended: BTreeMap<String, u64>,
    pub figures: FloodFigures,
}

macro_rules! figures {
    ($($(#[$comment:meta])* $name:ident,)*) => {
        /// Null where there is no such figure: without a server's pid, or where nothing was sent.
        #[derive(Clone, Debug, Default, Serialize, Deserialize)]
        pub struct FloodFigures {
            $($(#[$comment])* pub $name: Option<f64>,)*
        }

        impl FloodFigures {
            /// Of each figure the middle of those that there are.
            pub fn medians(rounds: &[&FloodFigures]) -> FloodFigures {
                FloodFigures { $($name: middle(&rounds.iter().filter_map(|it| it.$name).collect::<Vec<_>>()),)* }
            }
        }
    };
}

fn middle(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| statistics::median(values))
}

figures! {
    /// The victims' responses, µs, in the three phases.
    alone_p50_us,
    alone_p99_us,
    alone_p99_9_us,
    alone_max_us,
    beside_p50_us,
    beside_p99_us,
    beside_p99_9_us,
    beside_max_us,
    after_p50_us,
    after_p99_us,
    after_p99_9_us,
    after_max_us,
    /// The p99 over the p99 alone.
    beside_ratio,
    after_ratio,
    /// Of one CPU.
    alone_server_cpu_percent,
    beside_server_cpu_percent,
    after_server_cpu_percent,
    /// The server's resident bytes before the attack, at most during it, and when the server was at rest again.
    rss_before_bytes,
    rss_peak_bytes,
    rss_after_bytes,
    /// The machine's socket buffers, both ends of each connection, likewise.
    buffers_before_bytes,
    buffers_peak_bytes,
    buffers_after_bytes,
    /// The machine's slab, which sockets are part of, likewise.
    slab_before_bytes,
    slab_peak_bytes,
    slab_after_bytes,
    /// Connections of attackers in all, and those that stood when the attack was over.
    attackers_made,
    attackers_left,
    /// Bytes, messages, frames or joins that attackers sent in the measured time, a second; and what they heard in
    /// all.
    attack_per_s,
    attack_heard,
    /// Of one CPU.
    attack_cpu_percent,
    /// What one of them cost the server: its CPU beside the attack less that alone.
    server_ns_per_attack,
    /// From the attack's end until the server was idle and held no more descriptors than at first.
    settled_ms,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_of_the_rounds_that_have_the_figure() {
        let round =
            |p99, settled_ms| FloodFigures { beside_p99_us: p99, settled_ms, ..FloodFigures::default() };
        let rounds = [round(Some(3.0), None), round(Some(1.0), Some(5.0)), round(Some(9.0), None)];
        let medians = FloodFigures::medians(&rounds.iter().collect::<Vec<_>>());
        assert_eq!(
            (medians.beside_p99_us, medians.settled_ms, medians.rss_peak_bytes),
            (Some(3.0), Some(5.0), None)
        );
    }
}
