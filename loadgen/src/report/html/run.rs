//! Runs: what is wrong with them, the table of all, and the plots of each scenario.

use super::{figure, table};
use crate::report::plot::{self, Costs};
use crate::report::svg::{self, Line, escape};
use crate::report::text;
use crate::result::{Percentiles, RunResult, SeriesPoint};
use std::fmt::Write;

pub fn label(name: &str, run: &RunResult) -> String {
    format!("{name}: {}", run.target)
}

/// Void runs and losses, before anything else is read.
pub fn write_warnings(out: &mut String, runs: &[(String, RunResult)]) {
    let wrong: Vec<String> = runs
        .iter()
        .flat_map(|(name, run)| {
            let void = (!run.valid).then(|| {
                format!("<strong>{} is void</strong>: {}", escape(name), escape(&run.void_reasons.join("; ")))
            });
            let losses = losses(run);
            let losses = (!losses.is_empty())
                .then(|| format!("<strong>{}</strong>: {}", escape(name), escape(&losses.join(", "))));
            void.into_iter().chain(losses)
        })
        .collect();
    if !wrong.is_empty() {
        let items: String = wrong.iter().map(|it| format!("<li>{it}</li>")).collect();
        let _ = writeln!(out, "<ul class=\"warnings\">{items}</ul>");
    }
}

/// What went missing or wrong, in words; empty if nothing did.
pub fn losses(run: &RunResult) -> Vec<String> {
    let connections = |reasons: &std::collections::BTreeMap<String, u64>| reasons.values().sum::<u64>();
    let counts = [
        (run.messages.lost, "messages lost"),
        (run.messages.duplicated, "messages duplicated"),
        (run.messages.reordered, "messages reordered"),
        (run.messages.corrupt, "messages corrupt"),
        (run.conservation.deadlines_missed, "deadlines missed"),
        (connections(&run.connections.failed), "connections failed"),
        (connections(&run.connections.lost), "connections lost"),
    ];
    counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect()
}

fn validity(run: &RunResult) -> String {
    let mut cell = if run.valid {
        "<span class=\"good\">valid</span>".to_owned()
    } else {
        format!("<span class=\"bad\">void</span> {}", escape(&run.void_reasons.join("; ")))
    };
    for loss in losses(run) {
        let _ = write!(cell, "<br><span class=\"bad\">{}</span>", escape(&loss));
    }
    for slo in &run.slo {
        let (class, word) = if slo.holds { ("good", "holds") } else { ("bad", "does not hold") };
        let measured = text::time(slo.measured_us);
        let _ = write!(cell, "<br>{} <span class=\"{class}\">{word}</span> ({measured})", escape(&slo.slo));
    }
    cell
}

pub fn write_summary(out: &mut String, runs: &[(String, RunResult)]) {
    if runs.is_empty() {
        return;
    }
    let percentiles = |it: Percentiles| {
        format!("{} / {} / {}", text::time(it.p50), text::time(it.p99), text::time(it.p99_9))
    };
    let rows: Vec<Vec<String>> = runs
        .iter()
        .map(|(name, run)| {
            vec![
                format!("<strong>{}</strong><br>{}", escape(name), escape(&run.target)),
                escape(&run.scenario),
                validity(run),
                run.bound.name().to_owned(),
                format!("{} / {}", text::count(run.achieved_per_s), text::count(run.offered_per_s)),
                percentiles(run.response().copied().unwrap_or_default()),
                percentiles(run.latency_us.get("service").copied().unwrap_or_default()),
                text::cost(run.cost.server_ns_per_message),
                run.server.map_or_else(|| "-".to_owned(), |it| format!("{:.0} %", it.cpu_percent)),
                run.server.map_or_else(|| "-".to_owned(), |it| text::bytes(it.rss_bytes as f64)),
            ]
        })
        .collect();
    let head = [
        "run",
        "scenario",
        "valid",
        "bound",
        "achieved / offered a second",
        "response p50 / p99 / p99.9",
        "service p50 / p99 / p99.9",
        "server CPU each",
        "server CPU",
        "RSS",
    ];
    table(out, &head, &rows);
}

pub fn write_scenario(out: &mut String, scenario: &str, runs: &[&(String, RunResult)]) {
    let _ = writeln!(out, "<section><h2>{}</h2>", escape(scenario));
    write_percentiles(out, runs);
    write_costs(out, runs);
    for (name, run) in runs {
        write_series(out, name, run);
    }
    out.push_str("</section>\n");
}

fn write_percentiles(out: &mut String, runs: &[&(String, RunResult)]) {
    const NINES_MAX: f64 = 8.0;
    let nines = |quantile: f64| (-(1.0 - quantile).max(1e-9).log10()).min(NINES_MAX);
    let plotted = || runs.iter().filter(|(_, run)| !run.response_by_quantile.is_empty());
    let quantiles = plotted().flat_map(|(_, run)| &run.response_by_quantile);
    let most = quantiles.fold(1.0_f64, |most, point| most.max(nines(point.0)));
    let lines: Vec<Line> = plotted()
        .map(|(name, run)| {
            let points = run.response_by_quantile.iter().map(|(quantile, us)| (nines(*quantile) / most, *us));
            Line { label: label(name, run), is_void: !run.valid, points: points.collect() }
        })
        .collect();
    if lines.is_empty() {
        return;
    }
    let names = ["0 %", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %", "6 nines", "7 nines", "8 nines"];
    let ticks: Vec<(f64, String)> = names
        .iter()
        .enumerate()
        .map(|(i, name)| (i as f64 / most, (*name).to_owned()))
        .filter(|(at, _)| *at <= 1.0)
        .collect();
    let plot = svg::lines(&lines, &ticks, "percentile", svg::LATENCY);
    figure(out, "Response by percentile", "lower is better; void runs are dashed", &plot);
}

fn write_costs(out: &mut String, runs: &[&(String, RunResult)]) {
    let mut sorted: Vec<_> =
        runs.iter().filter(|(_, run)| run.cost.server_ns_per_message.is_some()).collect();
    // A void run does not lead, however cheap it looks.
    sorted.sort_by(|(_, a), (_, b)| {
        let cost = |run: &RunResult| run.cost.server_ns_per_message.unwrap_or(f64::MAX);
        b.valid.cmp(&a.valid).then(cost(a).total_cmp(&cost(b)))
    });
    let groups: Vec<Costs> = sorted
        .iter()
        .map(|(name, run)| {
            let costs = [
                ("server", run.cost.server_ns_per_message, false),
                ("machine", run.cost.machine_ns_per_message, false),
                ("generator", run.cost.generator_ns_per_message, true),
            ];
            let bars = costs
                .into_iter()
                .filter_map(|(name, ns, is_muted)| Some((name, ns?, text::cost(ns), is_muted)));
            Costs { label: label(name, run), is_void: !run.valid, bars: bars.collect() }
        })
        .collect();
    if !groups.is_empty() {
        let hint = "lower is better; machine is all but the generator";
        figure(out, "CPU time for each delivery", hint, &plot::costs(&groups, "CPU time for each delivery"));
    }
}

fn write_series(out: &mut String, name: &str, run: &RunResult) {
    if run.series.len() < 2 {
        return;
    }
    let last = (run.series.len() - 1) as f64;
    let line = |label: &str, value: &dyn Fn(&SeriesPoint) -> f64| {
        let points = run.series.iter().enumerate().map(|(i, point)| (i as f64 / last, value(point)));
        Line { label: label.to_owned(), is_void: !run.valid, points: points.collect() }
    };
    let every = run.series.len().div_ceil(10);
    let ticks: Vec<(f64, String)> = (0..run.series.len())
        .step_by(every)
        .map(|i| (i as f64 / last, (run.series[i].second + 1).to_string()))
        .collect();
    let rates = [line("out", &|it| it.sent as f64), line("in", &|it| it.received as f64)];
    let latencies =
        [line("p50", &|it| it.p50_us), line("p99", &|it| it.p99_us), line("max", &|it| it.max_us)];
    let void = if run.valid { "" } else { " <span class=\"bad\">void</span>" };
    let _ = writeln!(
        out,
        "<h3>{} over time{void}</h3><div class=\"pair\"><div><h4>Response, by second</h4>{}</div>\
         <div><h4>Messages a second</h4>{}</div></div>",
        escape(&label(name, run)),
        svg::lines(&latencies, &ticks, "second", svg::LATENCY),
        svg::lines(&rates, &ticks, "second", svg::RATE)
    );
}
