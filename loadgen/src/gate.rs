//! `gate`: a result held against a budget in TOML, metric by metric.

use crate::exit::Failure;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

/// What a metric may be. In the result's own units.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bounds {
    min: Option<f64>,
    max: Option<f64>,
}

/// The table, and whether everything is within budget.
pub fn gate(result: &Path, budget: &Path) -> Result<(String, bool), Failure> {
    let read = |path: &Path| {
        std::fs::read_to_string(path).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
    };
    let values: Value = serde_json::from_str(&read(result)?)
        .map_err(|error| Failure::usage(format!("{}: {error}", result.display())))?;
    let bounds: BTreeMap<String, Bounds> = toml::from_str(&read(budget)?)
        .map_err(|error| Failure::usage(format!("{}: {}", budget.display(), error.message())))?;
    judge(&values, &bounds).map_err(|line| Failure::usage(format!("{}: {line}", budget.display())))
}

fn judge(values: &Value, bounds: &BTreeMap<String, Bounds>) -> Result<(String, bool), String> {
    let mut out = format!("{:<40} {:>14} {:>14} {:>14}\n", "metric", "now", "least", "most");
    let is_valid = values["valid"].as_bool().unwrap_or(true);
    let mut passes = is_valid;
    if !is_valid {
        let _ = writeln!(out, "the run is void: {}", values["void_reasons"]);
    }
    if bounds.is_empty() {
        return Err("an empty budget would pass everything".to_owned());
    }
    for (metric, bounds) in bounds {
        let found = metric.split('.').try_fold(values, |at, key| at.get(key));
        let now =
            found.and_then(Value::as_f64).ok_or_else(|| format!("{metric}: no such number in the result"))?;
        if bounds.min.is_none() && bounds.max.is_none() {
            return Err(format!("{metric}: neither min nor max"));
        }
        let is_kept = bounds.min.is_none_or(|min| now >= min) && bounds.max.is_none_or(|max| now <= max);
        passes &= is_kept;
        let show = |bound: Option<f64>| bound.map_or_else(|| "-".to_owned(), |bound| bound.to_string());
        let (least, most) = (show(bounds.min), show(bounds.max));
        let verdict = if is_kept { "" } else { "  OVER BUDGET" };
        let _ = writeln!(out, "{metric:<40} {now:>14.2} {least:>14} {most:>14}{verdict}");
    }
    Ok((out, passes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(budget: &str) -> Result<bool, String> {
        let values = serde_json::json!({
            "valid": true, "cost": { "server_ns_per_message": 9_000.0 }, "latency_us": { "response": { "p99": 800.0 } }
        });
        judge(&values, &toml::from_str(budget).unwrap()).map(|(_, passes)| passes)
    }

    #[test]
    fn a_budget_is_kept_broken_or_wrong() {
        assert_eq!(judged("'cost.server_ns_per_message' = { max = 9000 }"), Ok(true));
        assert_eq!(judged("'latency_us.response.p99' = { max = 799.5 }"), Ok(false));
        assert_eq!(judged("'latency_us.response.p99' = { min = 801 }"), Ok(false));
        assert!(judged("'latency_us.p99' = { max = 1 }").unwrap_err().contains("no such number"));
        assert!(judged("'valid' = { max = 1 }").is_err());
        assert!(judged("").is_err());
        assert!(judged("'latency_us.response.p99' = {}").unwrap_err().contains("neither"));
    }

    #[test]
    fn a_void_run_never_passes() {
        let values = serde_json::json!({ "valid": false, "void_reasons": ["late"], "n": 1 });
        let bounds = toml::from_str("n = { max = 2 }").unwrap();
        assert!(!judge(&values, &bounds).unwrap().1);
    }
}
