//! `gate`: figures held against a budget in TOML, metric by metric, and the acceptance of a change.
//!
//! A result of a run is held to bounds that its users set. Counted costs are held to what they were when they were
//! accepted, within a tolerance; there, a metric without a budget fails like one over it, so that none is forgotten.

mod budget;

use crate::args::GateArgs;
use crate::exit::Failure;
use budget::{Bounds, Budget, Changes};
use serde_json::Value;
use std::fmt::Write;
use std::time::SystemTime;

/// How a metric stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Kept,
    /// Below what was accepted, by more than the tolerance.
    Better,
    Over,
    /// Measured, but no budget says what it may be.
    Unbudgeted,
    /// Budgeted, but not measured.
    Unmeasured,
}

impl Standing {
    fn passes(self) -> bool {
        matches!(self, Standing::Kept | Standing::Better)
    }

    fn words(self) -> &'static str {
        match self {
            Standing::Kept => "",
            Standing::Better => "better",
            Standing::Over => "OVER BUDGET",
            Standing::Unbudgeted => "NO BUDGET",
            Standing::Unmeasured => "NOT MEASURED",
        }
    }
}

/// A line of the table.
struct Row {
    metric: String,
    bounds: Option<Bounds>,
    now: Option<f64>,
    standing: Standing,
}

/// The table, and whether everything is within budget.
pub fn gate(args: &GateArgs) -> Result<(String, bool), Failure> {
    let wrong = |path: &std::path::Path, line: String| Failure::usage(format!("{}: {line}", path.display()));
    let values: Value = serde_json::from_str(&budget::read(&args.result)?)
        .map_err(|error| wrong(&args.result, error.to_string()))?;
    let text = budget::read(&args.budget)?;
    let parsed = Budget::parse(&text).map_err(|line| wrong(&args.budget, line))?;
    let is_asked = |metric: &str| args.only.is_empty() || args.only.iter().any(|it| metric.starts_with(it));
    let rows = judge(&values, &parsed, is_asked).map_err(|line| wrong(&args.budget, line))?;
    let is_valid = values["valid"].as_bool().unwrap_or(true);
    let Some(reason) = &args.update else {
        return Ok(render(&rows, is_valid, &values["void_reasons"]));
    };
    if !is_valid {
        return Err(wrong(&args.result, "a void run is no reason to change a budget".to_owned()));
    }
    if reason.trim().is_empty() {
        return Err(Failure::usage("--update: say why, in a line for whoever reads the budget later"));
    }
    let changes = changes(&rows);
    if changes.is_empty() {
        return Ok(("nothing to update: every metric is within its tolerance\n".to_owned(), true));
    }
    let date = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let rewritten = budget::rewrite(&text, &changes, reason.trim(), date.get(..10).unwrap_or(&date))
        .map_err(|line| wrong(&args.budget, line))?;
    std::fs::write(&args.budget, rewritten).map_err(|error| wrong(&args.budget, error.to_string()))?;
    let (table, _) = render(&rows, true, &Value::Null);
    Ok((format!("{table}\n{}: {} metrics rewritten\n", args.budget.display(), changes.len()), true))
}

fn judge(values: &Value, budget: &Budget, is_asked: impl Fn(&str) -> bool) -> Result<Vec<Row>, String> {
    let counted = values["metrics"].as_object().filter(|_| values["kind"] == "costs");
    let mut rows = Vec::new();
    for (metric, bounds) in budget.metrics.iter().filter(|it| is_asked(it.0)) {
        let now = match counted {
            Some(counted) => counted.get(metric),
            None => metric.split('.').try_fold(values, |at, key| at.get(key)),
        };
        let now = now.and_then(Value::as_f64);
        if now.is_none() && counted.is_none() {
            return Err(format!("{metric}: no such number in the result"));
        }
        let standing = now.map_or(Standing::Unmeasured, |now| stand(bounds, now));
        rows.push(Row { metric: metric.clone(), bounds: Some(*bounds), now, standing });
    }
    for (metric, now) in counted.into_iter().flatten().filter(|it| is_asked(it.0)) {
        if !budget.metrics.contains_key(metric) {
            let standing = Standing::Unbudgeted;
            rows.push(Row { metric: metric.clone(), bounds: None, now: now.as_f64(), standing });
        }
    }
    if rows.is_empty() { Err("no metric of this budget was asked for".to_owned()) } else { Ok(rows) }
}

fn stand(bounds: &Bounds, now: f64) -> Standing {
    let tolerance = bounds.tolerance();
    let is_over = bounds.min.is_some_and(|min| now < min)
        || bounds.max.is_some_and(|max| now > max)
        || bounds.value.is_some_and(|value| now > value + tolerance);
    match bounds.value {
        _ if is_over => Standing::Over,
        Some(value) if now < value - tolerance => Standing::Better,
        _ => Standing::Kept,
    }
}

/// What `--update` accepts: everything that is not within its tolerance.
fn changes(rows: &[Row]) -> Changes {
    // Bounds that people have set are theirs to change.
    let is_ours = |row: &&Row| row.bounds.is_none_or(|it| it.value.is_some());
    let moved = rows.iter().filter(is_ours).filter(|row| row.standing != Standing::Kept);
    moved.map(|row| (row.metric.clone(), row.now)).collect()
}

fn render(rows: &[Row], is_valid: bool, void_reasons: &Value) -> (String, bool) {
    let mut out = String::new();
    let _ = writeln!(out, "{:<40} {:>16} {:>14} {:>9}", "metric", "budget", "now", "change");
    for row in rows {
        let now = row.now.map_or_else(|| "-".to_owned(), number);
        let change = row.bounds.and_then(|it| it.value).zip(row.now).map_or_else(String::new, change);
        let budget = row.bounds.map_or_else(|| "-".to_owned(), |bounds| allowed(&bounds));
        let line = format!("{:<40} {budget:>16} {now:>14} {change:>9}  {}", row.metric, row.standing.words());
        let _ = writeln!(out, "{}", line.trim_end());
    }
    let failed = rows.iter().filter(|row| !row.standing.passes()).count();
    let better = rows.iter().filter(|row| row.standing == Standing::Better).count();
    if failed > 0 {
        let _ = writeln!(out, "{failed} of {} metrics are not within budget", rows.len());
    }
    if better > 0 {
        let _ = writeln!(
            out,
            "{better} are better than their budget: update it, or they can be lost again unseen"
        );
    }
    if !is_valid {
        let _ = writeln!(out, "the run is void: {void_reasons}");
    }
    (out, is_valid && failed == 0)
}

/// `1747`, or `<= 9000` for bounds that people set.
fn allowed(bounds: &Bounds) -> String {
    let parts = [
        bounds.value.map(number),
        bounds.min.map(|min| format!(">= {}", number(min))),
        bounds.max.map(|max| format!("<= {}", number(max))),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

fn change((before, now): (f64, f64)) -> String {
    if before == 0.0 {
        return if now == 0.0 { String::new() } else { format!("{now:+.2}") };
    }
    format!("{:+.1} %", (now / before - 1.0) * 100.0)
}

fn number(value: f64) -> String {
    if value.abs() < 100.0 { format!("{value:.2}") } else { format!("{value:.0}") }
}

#[cfg(test)]
mod tests;
