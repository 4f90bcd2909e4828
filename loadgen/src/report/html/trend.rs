//! A history of costs as a page: what changed, with which commit, then a plot of each metric that moved.

use super::{figure, page, table};
use crate::report::plot::{self, Axis, Cloud, Mark, Scale};
use crate::report::svg::escape;
use crate::report::text;
use crate::trend::{Change, Series, short};
use std::fmt::Write;

/// The page.
pub fn render(series: &[Series]) -> String {
    let mut body = String::new();
    write_changes(&mut body, series);
    let (moved, still): (Vec<&Series>, Vec<&Series>) = series.iter().partition(|it| has_moved(it));
    body.push_str("<section><h2>Each metric</h2><p>Less is better. Commits from left to right.</p>\n");
    for two in moved.chunks(2) {
        body.push_str("<div class=\"pair\">");
        two.iter().for_each(|it| write_series(&mut body, it));
        body.push_str("</div>\n");
    }
    let names: Vec<String> =
        still.iter().map(|it| format!("{} {}", escape(it.metric), text::count(it.points[0].1))).collect();
    if !names.is_empty() {
        let _ = writeln!(body, "<h3>Never moved</h3><p>{}</p>", names.join(", "));
    }
    body.push_str("</section>\n");
    page("Cost history", &body)
}

fn has_moved(series: &Series) -> bool {
    let first = series.points[0].1;
    series.points.iter().any(|point| (point.1 - first).abs() > first.abs() * 0.001 + 0.005)
}

fn write_changes(out: &mut String, series: &[Series]) {
    out.push_str("<section><h2>What changed</h2>\n");
    let mut changes: Vec<(&Series, &Change)> =
        series.iter().flat_map(|it| it.changes.iter().map(move |change| (it, change))).collect();
    changes.sort_by_key(|(it, change)| std::cmp::Reverse(it.points[change.at].0.committed_unix_s));
    if changes.is_empty() {
        out.push_str("<p>Nothing, as far as this history tells.</p>\n");
    }
    let rows: Vec<Vec<String>> = changes.iter().map(|(it, change)| row(it, change)).collect();
    if !rows.is_empty() {
        table(out, &["commit", "", "metric", "before", "after", "change", "p", "machine"], &rows);
    }
    out.push_str("</section>\n");
}

fn row(series: &Series, change: &Change) -> Vec<String> {
    let line = series.points[change.at].0;
    let (class, word) = if change.is_worse() { ("bad", "worse") } else { ("good", "better") };
    let percent = (change.ratio() - 1.0) * 100.0;
    vec![
        format!("<code>{}</code>", escape(short(&line.commit))),
        escape(&line.subject),
        escape(series.metric),
        text::count(change.before),
        text::count(change.after),
        format!("<span class=\"{class}\">{percent:+.1} % {word}</span>"),
        format!("{:.0e}", change.p),
        escape(series.machine),
    ]
}

fn write_series(out: &mut String, series: &Series) {
    let points: Vec<(f64, f64)> =
        series.points.iter().enumerate().map(|(i, point)| (i as f64 + 1.0, point.1)).collect();
    let marked = |is_worse: bool| -> Vec<(f64, f64)> {
        let changes = series.changes.iter().filter(|it| it.is_worse() == is_worse);
        changes.map(|it| points[it.at]).collect()
    };
    let cloud = |label: &str, class, mark, is_joined, points| Cloud {
        label: label.to_owned(),
        class,
        mark,
        is_joined,
        points,
    };
    let (worse, better) = (marked(true), marked(false));
    let scales =
        [Scale::from_zero(points.iter().map(|it| it.0)), Scale::from_zero(points.iter().map(|it| it.1))];
    let clouds = [
        cloud("commit", "c0", Mark::Dot, true, points),
        cloud("worse from here", "bad", Mark::Ringed, false, worse),
        cloud("better from here", "good", Mark::Ringed, false, better),
    ];
    let plot = plot::points(
        &clouds,
        Axis { title: "commit", scale: scales[0], show: text::count },
        Axis { title: unit(series.metric), scale: scales[1], show: text::count },
        None,
    );
    let last = series.points.last().map_or("", |point| short(&point.0.commit));
    out.push_str("<div>");
    figure(
        out,
        series.metric,
        &format!("{} commits to {last}, {}", series.points.len(), series.machine),
        &plot,
    );
    out.push_str("</div>");
}

/// What a metric's values are.
pub fn unit(metric: &str) -> &'static str {
    match metric.split('.').next() {
        Some("instructions") => "instructions",
        Some("allocations") => "allocations",
        Some("calls") => "system calls a message",
        Some("memory") => "bytes a connection",
        Some("size" | "binary") => "bytes",
        Some("cpu") => "ns of server CPU a message",
        _ => "value",
    }
}
