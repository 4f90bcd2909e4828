//! What is found by trying: the highest rate, memory for each connection, time to start.

use super::{figure, or_dash, table};
use crate::flood::result::FloodResult;
use crate::report::curves;
use crate::report::floods;
use crate::report::plot::{self, Axis, Cloud, Mark, Scale, Strip};
use crate::report::svg::escape;
use crate::report::text;
use crate::result::{CurvePoint, CurveResult, CurveServer, MemResult, MemStep, SearchResult, StartResult};
use crate::slo::Slo;
use crate::statistics;
use std::fmt::Write;

pub fn write_curves(out: &mut String, curves: &[(String, CurveResult)]) {
    for (name, it) in curves {
        let _ = writeln!(
            out,
            "<section><h2>{}</h2><p>{}, {} connections, {} B; medians of {} trials</p>",
            escape(name),
            escape(&it.scenario),
            it.connections,
            it.payload_bytes,
            it.rounds
        );
        let plots = [
            curves::by_rate(it, "response p99", |point| point.p99_us),
            curves::by_rate(it, "response p50", |point| point.p50_us),
        ];
        for plot in plots {
            let title = plot.y.title;
            let plot = plot::points(&plot.clouds, plot.x, plot.y, None);
            figure(
                out,
                title,
                "lower and further right is better; a line ends where no trial counted",
                &plot,
            );
        }
        let rows: Vec<Vec<String>> = it.servers.iter().flat_map(curve_rows).collect();
        table(
            out,
            &["server", "rate", "p50", "p99", "p99.9", "server busy", "server CPU each", "void"],
            &rows,
        );
        out.push_str("</section>\n");
    }
}

fn curve_rows(server: &CurveServer) -> Vec<Vec<String>> {
    let row = |point: &CurvePoint| {
        let knee = if Some(point.rate_per_s) == server.knee_per_s { " (knee)" } else { "" };
        let busy = point.server_busiest_percent.map_or_else(|| "-".to_owned(), |it| format!("{it:.0} %"));
        vec![
            escape(&server.title),
            format!("{}/s{knee}", text::count(point.rate_per_s)),
            or_dash(point.p50_us, text::time),
            or_dash(point.p99_us, text::time),
            or_dash(point.p99_9_us, text::time),
            busy,
            text::cost(point.server_ns_per_message),
            escape(&point.void_trials.join("; ")),
        ]
    };
    server.points.iter().map(row).collect()
}

pub fn write_floods(out: &mut String, results: &[FloodResult]) {
    let Some(about) = floods::about(results) else { return };
    let _ = writeln!(out, "<section><h2>Floods</h2><p>{}</p>", escape(&about));
    let rows: Vec<Vec<String>> =
        results.iter().map(|it| floods::row(it).iter().map(|cell| escape(cell)).collect()).collect();
    table(out, &floods::HEADS, &rows);
    out.push_str("</section>\n");
}

pub fn write_searches(out: &mut String, searches: &[(String, SearchResult)]) {
    for (name, it) in searches {
        let highest = it.highest_per_s.map_or_else(
            || "<strong class=\"bad\">no rate holds</strong>".to_owned(),
            |rate| format!("<strong>{}/s is the highest rate that holds</strong>", text::count(rate)),
        );
        let _ = writeln!(
            out,
            "<section><h2>{}</h2><p>{highest}: {} against {}, {}</p>",
            escape(name),
            escape(&it.scenario),
            escape(&it.target),
            escape(&it.slo.join(", "))
        );
        plot_search(out, it);
        table(out, &["rate", "", "p99 (median)", "bound", "why not"], &search_rows(it));
        out.push_str("</section>\n");
    }
}

fn plot_search(out: &mut String, it: &SearchResult) {
    let runs =
        || it.points.iter().flat_map(|point| point.runs.iter().map(move |run| (point.rate_per_s, run)));
    // A run without a p99 has no place on a log axis; the table still has it.
    let of = |holds: bool| {
        let chosen = runs().filter(|(_, run)| run.holds == holds && run.p99_us > 0.0);
        chosen.map(|(rate, run)| (rate, run.p99_us)).collect::<Vec<_>>()
    };
    let (held, failed) = (of(true), of(false));
    if held.is_empty() && failed.is_empty() {
        return;
    }
    let highest = held.iter().copied().filter(|(rate, _)| Some(*rate) == it.highest_per_s).collect();
    let limit = it
        .slo
        .iter()
        .filter_map(|text| text.parse::<Slo>().ok())
        .find(|slo| slo.measure.name() == "response" && (slo.quantile - 0.99).abs() < 1e-9);
    let shown = || held.iter().chain(&failed);
    let x_scale = Scale::log(shown().map(|point| point.0));
    let y_scale = Scale::log(shown().map(|point| point.1).chain(limit.iter().map(|slo| slo.limit_us)));
    let cloud = |label: &str, class, mark, points| Cloud {
        label: label.to_owned(),
        class,
        mark,
        is_joined: false,
        points,
    };
    let clouds = [
        cloud("holds", "good", Mark::Dot, held.clone()),
        cloud("does not hold", "bad", Mark::Cross, failed.clone()),
        cloud("highest rate that holds", "ink", Mark::Ringed, highest),
    ];
    let plot = plot::points(
        &clouds,
        Axis { title: "rate, messages a second", scale: x_scale, show: text::count },
        Axis { title: "p99", scale: y_scale, show: text::time },
        limit.as_ref().map(|slo| (slo.limit_us, slo.text.as_str())),
    );
    figure(out, "Response p99 by rate", "each mark is a run; lower and further right is better", &plot);
}

fn search_rows(it: &SearchResult) -> Vec<Vec<String>> {
    let mut points: Vec<_> = it.points.iter().collect();
    points.sort_by(|a, b| a.rate_per_s.total_cmp(&b.rate_per_s));
    points
        .iter()
        .map(|point| {
            let p99 = statistics::median(&point.runs.iter().map(|run| run.p99_us).collect::<Vec<_>>());
            let verdict = if point.holds {
                "<span class=\"good\">holds</span>"
            } else {
                "<span class=\"bad\">does not hold</span>"
            };
            let failed = point.runs.iter().find(|run| !run.holds);
            vec![
                format!("{}/s", text::count(point.rate_per_s)),
                verdict.to_owned(),
                text::time(p99),
                failed.or(point.runs.first()).map_or("-", |run| run.bound.name()).to_owned(),
                escape(failed.map_or("", |run| run.reason.as_str())),
            ]
        })
        .collect()
}

pub fn write_mems(out: &mut String, mems: &[(String, MemResult)]) {
    if mems.is_empty() {
        return;
    }
    out.push_str("<section><h2>Memory</h2>\n");
    for (name, it) in mems {
        plot_mem(out, name, it);
        let bytes = |bytes: u64| text::bytes(bytes as f64);
        let rows: Vec<Vec<String>> = it
            .steps
            .iter()
            .map(|step| {
                let memory = [step.rss_bytes, step.slab_bytes, step.tcp_buffer_bytes].map(bytes);
                [step.connections.to_string()].into_iter().chain(memory).collect()
            })
            .collect();
        table(out, &["connections", "RSS", "machine's slab", "machine's socket buffers"], &rows);
    }
    out.push_str("</section>\n");
}

/// Growth, not totals: the machine's slab is there before the first connection and would hide the slope.
fn plot_mem(out: &mut String, name: &str, it: &MemResult) {
    let Some(first) = it.steps.first() else { return };
    let kernel = |step: &MemStep| step.slab_bytes as f64 + step.tcp_buffer_bytes as f64;
    let growth = |of: &dyn Fn(&MemStep) -> f64| -> Vec<(f64, f64)> {
        it.steps.iter().map(|step| (step.connections as f64, of(step) - of(first))).collect()
    };
    let slope = |what: &str, bytes: f64| format!("{what}: {} a connection", text::bytes(bytes));
    let cloud = |label, class, of: &dyn Fn(&MemStep) -> f64| Cloud {
        label,
        class,
        mark: Mark::Dot,
        is_joined: true,
        points: growth(of),
    };
    let clouds = [
        cloud(slope("server", it.user_bytes_per_connection), "c0", &|step| step.rss_bytes as f64),
        cloud(slope("kernel, both ends", it.kernel_bytes_per_connection), "c1", &kernel),
    ];
    let every = || clouds.iter().flat_map(|cloud| &cloud.points);
    let plot = plot::points(
        &clouds,
        Axis { title: "connections", scale: Scale::from_zero(every().map(|it| it.0)), show: text::count },
        Axis {
            title: "more than at the first step",
            scale: Scale::bytes_from_zero(every().map(|it| it.1)),
            show: text::bytes,
        },
        None,
    );
    figure(out, &format!("{name}: {}, {}", it.target, it.profile), "lower is better", &plot);
}

pub fn write_starts(out: &mut String, starts: &[(String, StartResult)]) {
    if starts.is_empty() {
        return;
    }
    let mut sorted: Vec<_> = starts.iter().collect();
    sorted.sort_by(|(_, a), (_, b)| a.median_us.total_cmp(&b.median_us));
    let strips: Vec<Strip> = sorted
        .iter()
        .map(|(name, it)| Strip {
            label: format!("{name}: {}", it.target),
            values: it.times_us.clone(),
            median: it.median_us,
            note: format!("median {}", text::time(it.median_us)),
        })
        .collect();
    let scale = Scale::log(starts.iter().flat_map(|(_, it)| it.times_us.iter().copied()));
    let axis =
        Axis { title: "from exec to the first answered upgrade, one dot a start", scale, show: text::time };
    out.push_str("<section><h2>Start</h2>\n");
    figure(out, "Time to start", "lower is better", &plot::strips(&strips, axis));
    out.push_str("</section>\n");
}
