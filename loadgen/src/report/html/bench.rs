//! Rows of a table of servers.

use super::{better, figure, or_dash, table};
use crate::report::svg::{self, Bar, escape};
use crate::report::text;
use crate::result::BenchResult;
use std::fmt::Write;

pub fn write_rows(out: &mut String, rows: &[(String, BenchResult)]) {
    for (_, row) in rows {
        write_row(out, row);
    }
}

fn write_row(out: &mut String, row: &BenchResult) {
    let _ = writeln!(
        out,
        "<section><h2>{}</h2><p>{} connections, {} B, {}, medians of {} rounds</p>",
        escape(&row.name),
        row.connections,
        row.payload_bytes,
        if row.closed_loop { "closed loop" } else { "open loop" },
        row.rounds
    );
    let void = row.servers.iter().flat_map(|it| it.void_trials.iter().map(move |why| (&it.title, why)));
    let void: Vec<String> =
        void.map(|(title, why)| format!("<li>{}: {}</li>", escape(title), escape(why))).collect();
    if !void.is_empty() {
        let _ = writeln!(
            out,
            "<details class=\"bad\"><summary>void trials, which do not count: {}</summary><ul>{}</ul></details>",
            void.len(),
            void.concat()
        );
    }
    let bars = row.servers.iter().filter_map(|it| {
        let (value, low, high) = (it.ratio?, it.ratio_low?, it.ratio_high?);
        let note = format!("{value:.2} ({low:.2} to {high:.2})");
        Some(Bar { label: it.title.clone(), value, note, is_void: false, interval: Some((low, high)) })
    });
    let bars: Vec<Bar> = bars.collect();
    let first = row.servers.first().map_or("", |it| it.title.as_str());
    let title = format!("{}, over {first}", row.metric);
    figure(out, &title, better(&row.metric), &svg::bars(&bars, &title, Some(1.0)));
    let cells: Vec<Vec<String>> = row
        .servers
        .iter()
        .map(|it| {
            vec![
                escape(&it.title),
                text::cost(it.server_ns_per_message),
                or_dash(it.achieved_per_s, text::count),
                or_dash(it.p50_us, text::time),
                or_dash(it.p99_us, text::time),
                or_dash(it.p99_9_us, text::time),
                or_dash(it.rss_bytes, text::bytes),
                it.void_trials.len().to_string(),
            ]
        })
        .collect();
    let each = if row.is_connecting() { "server CPU a connection" } else { "server CPU each" };
    let head = ["server", each, "a second", "p50", "p99", "p99.9", "RSS", "void trials"];
    table(out, &head, &cells);
    out.push_str("</section>\n");
}
