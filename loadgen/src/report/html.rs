//! Results as one self-contained page: what is wrong, a table of all runs, plots, then each run's details.
//!
//! No script and no external resource. Void runs and losses are shown as such, never left out, and said in
//! words as well as in colour.

mod bench;
mod compare;
mod details;
mod probes;
mod run;
pub mod trend;

use super::svg::escape;
use super::{KINDS, Named, of_kind};
use crate::args::{Metric, Scenario};
use crate::flood::result::FloodResult;
use crate::machine::Host;
use crate::result::{
    BenchResult, CompareResult, CurveResult, MemResult, RunResult, SearchResult, StartResult,
};
use clap::ValueEnum;
use std::collections::BTreeMap;
use std::fmt::Write;

const STYLE: &str = include_str!("page.css");

/// The page. An error is one line that names the file.
pub fn render(results: &[Named]) -> Result<String, String> {
    if let Some(it) = results.iter().find(|it| !KINDS.iter().any(|kind| it.json["kind"] == *kind)) {
        return Err(format!("{}: kind is {}, not one of {}", it.name, it.json["kind"], KINDS.join(", ")));
    }
    let runs: Vec<(String, RunResult)> = of_kind(results, "run")?;
    let mut body = String::new();
    run::write_warnings(&mut body, &runs);
    run::write_summary(&mut body, &runs);
    let mut scenarios: BTreeMap<&str, Vec<&(String, RunResult)>> = BTreeMap::new();
    for run in &runs {
        scenarios.entry(&run.1.scenario).or_default().push(run);
    }
    for (scenario, runs) in scenarios {
        run::write_scenario(&mut body, scenario, &runs);
    }
    bench::write_rows(&mut body, &of_kind::<BenchResult>(results, "bench")?);
    compare::write_compares(&mut body, &of_kind::<CompareResult>(results, "compare")?);
    probes::write_curves(&mut body, &of_kind::<CurveResult>(results, "curve")?);
    probes::write_searches(&mut body, &of_kind::<SearchResult>(results, "search")?);
    probes::write_mems(&mut body, &of_kind::<MemResult>(results, "mem")?);
    probes::write_starts(&mut body, &of_kind::<StartResult>(results, "start")?);
    let floods: Vec<FloodResult> = of_kind(results, "flood")?.into_iter().map(|(_, it)| it).collect();
    probes::write_floods(&mut body, &floods);
    if !runs.is_empty() {
        body.push_str("<section><h2>Each run</h2>\n");
        runs.iter().for_each(|(name, run)| details::write_details(&mut body, name, run));
        body.push_str("</section>\n");
    }
    write_machines(&mut body, results)?;
    Ok(page("Load report", &body))
}

/// A page with nothing from elsewhere.
fn page(title: &str, body: &str) -> String {
    let policy = "default-src 'none'; style-src 'unsafe-inline'";
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title}</title><style>{STYLE}</style></head>\
         <body><main><h1>{title}</h1>\n{body}</main></body></html>\n"
    )
}

/// Where the numbers are from: results of different machines or versions do not compare.
fn write_machines(out: &mut String, results: &[Named]) -> Result<(), String> {
    let mut machines: BTreeMap<[String; 5], Vec<String>> = BTreeMap::new();
    for it in results {
        let host: Host = serde_json::from_value(it.json["host"].clone())
            .map_err(|error| format!("{}: host: {error}", it.name))?;
        let memory = format!("{:.1} GiB", host.memory_bytes as f64 / f64::from(1 << 30));
        let version = it.json["version"].as_str().unwrap_or("?");
        let row =
            [host.cpu, host.cpus.to_string(), memory, format!("Linux {}", host.kernel), version.to_owned()];
        machines.entry(row).or_default().push(it.name.clone());
    }
    if machines.is_empty() {
        return Ok(());
    }
    out.push_str("<section><h2>Machine and versions</h2>\n");
    if machines.len() > 1 {
        out.push_str("<p class=\"bad\">The results are from different machines or versions.</p>\n");
    }
    let rows: Vec<Vec<String>> = machines
        .iter()
        .map(|(row, names)| row.iter().map(|it| escape(it)).chain([escape(&names.join(", "))]).collect())
        .collect();
    table(out, &["CPU", "CPUs", "memory", "kernel", "loadgen", "results"], &rows);
    out.push_str("</section>\n");
    Ok(())
}

/// Cells are HTML: callers escape what is not theirs.
fn table(out: &mut String, head: &[&str], rows: &[Vec<String>]) {
    let head: String = head.iter().map(|it| format!("<th scope=\"col\">{it}</th>")).collect();
    let _ = write!(out, "<div class=\"wide\"><table><thead><tr>{head}</tr></thead><tbody>");
    for row in rows {
        let cells: String = row.iter().map(|it| format!("<td>{it}</td>")).collect();
        let _ = write!(out, "<tr>{cells}</tr>");
    }
    out.push_str("</tbody></table></div>\n");
}

/// A plot in a box of its own, which scrolls where the page is too narrow to read it.
fn figure(out: &mut String, title: &str, hint: &str, plot: &str) {
    let (title, hint) = (escape(title), escape(hint));
    let _ = writeln!(out, "<h3>{title} <small>{hint}</small></h3><div class=\"plot\">{plot}</div>");
}

/// Which way a metric is good, by the title that results have it under.
fn better(title: &str) -> &'static str {
    let has_title =
        |metric: &Metric| Scenario::value_variants().iter().any(|scenario| metric.title(*scenario) == title);
    let metric = Metric::value_variants().iter().find(|it| has_title(it));
    if metric.is_none_or(|it| it.more_is_worse()) { "lower is better" } else { "higher is better" }
}

fn or_dash(number: Option<f64>, show: fn(f64) -> String) -> String {
    number.map_or_else(|| "-".to_owned(), show)
}

#[cfg(test)]
mod tests;
