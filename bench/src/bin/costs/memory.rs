//! Bytes of the server's own for each idle connection: what the engine holds, exactly, and the slope of the whole
//! server's resident memory, by `loadgen mem`. The slope sees everything, but pages that were freed and used again
//! hide some of it.

use crate::{Asked, Metrics, tool};
use serde_json::Value;
use std::process::Command;

/// Within the 10,000 that an ordinary limit of 20,000 descriptors leaves room for; the first step has paid for
/// what is shared.
const STEPS: &str = "5k,10k";
/// Servers whose middle slope counts: one in ten is off by a quarter.
const SLOPES: usize = 3;

/// Connections, just below powers of two: tables that double are nearly full at both.
const FEW: u32 = 1_000;
const MANY: u32 = 8_000;

/// Bytes a connection, unjoined and in rooms of 20.
pub fn measure(asked: &Asked) -> Result<Metrics, String> {
    let mut metrics = Metrics::new();
    for (metric, operation) in [("engine-connection", "connect"), ("engine-member", "connect-and-join")] {
        let metric = format!("memory.{metric}");
        if asked.wants(&metric) {
            metrics.insert(metric, tool::each("bytes", operation, FEW, MANY)?);
        }
    }
    for profile in ["echo", "rooms"] {
        let metric = format!("memory.{profile}-connection");
        if asked.wants(&metric) {
            let mut slopes = (0..SLOPES).map(|_| slope(asked, profile)).collect::<Result<Vec<_>, _>>()?;
            slopes.sort_by(f64::total_cmp);
            metrics.insert(metric, slopes[SLOPES / 2]);
        }
    }
    Ok(metrics)
}

fn slope(asked: &Asked, profile: &str) -> Result<f64, String> {
    let result = std::env::temp_dir().join(format!("downbeat-memory-{}.json", std::process::id()));
    let server =
        format!("{} --host 127.0.0.1 --port {{port}} --cores 1 --app {profile}", asked.server.display());
    let mut loadgen = Command::new(tool::sibling("loadgen")?);
    loadgen.args(["mem", &server, "--profile", profile, "--steps", STEPS, "--json"]).arg(&result);
    let text = tool::run(&mut loadgen, |code| code == 0)
        .and_then(|_| std::fs::read_to_string(&result).map_err(|error| error.to_string()));
    let _ = std::fs::remove_file(&result);
    let result: Value = serde_json::from_str(&text?).map_err(|error| error.to_string())?;
    result["user_bytes_per_connection"].as_f64().ok_or_else(|| "loadgen mem gave no slope".to_owned())
}
