//! Bytes of the server's own for each idle connection: the slope of its resident memory, by `loadgen mem`.

use crate::{Asked, Metrics, tool};
use serde_json::Value;
use std::process::Command;

/// Within the 10,000 that an ordinary limit of 20,000 descriptors leaves room for; the first step has paid for
/// what is shared.
const STEPS: &str = "5k,10k";

/// Bytes a connection, unjoined and in rooms of 20.
pub fn measure(asked: &Asked) -> Result<Metrics, String> {
    let mut metrics = Metrics::new();
    for profile in ["echo", "rooms"] {
        let metric = format!("memory.{profile}-connection");
        if asked.wants(&metric) {
            metrics.insert(metric, slope(asked, profile)?);
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
