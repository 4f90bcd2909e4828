//! Results as one self-contained page: a table of everything, plots, then each run's details.
//!
//! No script and no external resource; void runs are shown as such, never left out.

use super::svg::{self, Bar, Line, escape};
use super::{Named, text};
use crate::result::{BenchResult, CompareResult, MemResult, RunResult, SearchResult, StartResult};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt::Write;

const STYLE: &str = include_str!("page.css");

/// The page.
pub fn render(results: &[Named]) -> Result<String, String> {
    let runs: Vec<(String, RunResult)> = of_kind(results, "run")?;
    let mut body = String::new();
    write_summary(&mut body, &runs);
    let mut scenarios: BTreeMap<&str, Vec<&(String, RunResult)>> = BTreeMap::new();
    for run in &runs {
        scenarios.entry(&run.1.scenario).or_default().push(run);
    }
    for (scenario, runs) in scenarios {
        write_scenario(&mut body, scenario, &runs);
    }
    write_rows(&mut body, &of_kind::<BenchResult>(results, "bench")?);
    write_compares(&mut body, &of_kind::<CompareResult>(results, "compare")?);
    write_searches(&mut body, &of_kind::<SearchResult>(results, "search")?);
    write_mems(&mut body, &of_kind::<MemResult>(results, "mem")?);
    write_starts(&mut body, &of_kind::<StartResult>(results, "start")?);
    for (name, run) in &runs {
        write_details(&mut body, name, run);
    }
    let policy = "default-src 'none'; style-src 'unsafe-inline'";
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>loadgen report</title><style>{STYLE}</style></head><body><main><h1>Load report</h1>\n{body}</main></body></html>\n"
    ))
}

fn of_kind<T: DeserializeOwned>(results: &[Named], kind: &str) -> Result<Vec<(String, T)>, String> {
    let chosen = results.iter().filter(|it| it.json["kind"] == kind);
    let read = chosen.map(|it| {
        let value =
            serde_json::from_value(it.json.clone()).map_err(|error| format!("{}: {error}", it.name))?;
        Ok((it.name.clone(), value))
    });
    read.collect()
}

fn table(out: &mut String, head: &[&str], rows: &[Vec<String>]) {
    let cells = |tag: &str, cells: &[String]| {
        cells.iter().map(|it| format!("<{tag}>{it}</{tag}>")).collect::<String>()
    };
    let head: Vec<String> = head.iter().map(|it| (*it).to_owned()).collect();
    let _ = write!(out, "<div class=\"wide\"><table><thead><tr>{}</tr></thead><tbody>", cells("th", &head));
    for row in rows {
        let _ = write!(out, "<tr>{}</tr>", cells("td", row));
    }
    out.push_str("</tbody></table></div>\n");
}

fn label(name: &str, run: &RunResult) -> String {
    format!("{name}: {}", run.target)
}

fn validity(run: &RunResult) -> String {
    if run.valid {
        return "<span class=\"good\">valid</span>".to_owned();
    }
    format!("<span class=\"bad\">void</span> {}", escape(&run.void_reasons.join("; ")))
}

/// Response, or connect where connections are the load.
fn response(run: &RunResult) -> crate::result::Percentiles {
    let chosen = run.latency_us.get("response").filter(|it| it.count > 0).or(run.latency_us.get("connect"));
    chosen.copied().unwrap_or_default()
}

fn write_summary(out: &mut String, runs: &[(String, RunResult)]) {
    if runs.is_empty() {
        return;
    }
    let rows: Vec<Vec<String>> = runs
        .iter()
        .map(|(name, run)| {
            let (response, service) =
                (response(run), run.latency_us.get("service").copied().unwrap_or_default());
            vec![
                format!("<strong>{}</strong><br>{}", escape(name), escape(&run.target)),
                escape(&run.scenario),
                validity(run),
                run.bound.name().to_owned(),
                format!("{} / {}", text::count(run.achieved_per_s), text::count(run.offered_per_s)),
                format!(
                    "{} / {} / {}",
                    text::time(response.p50),
                    text::time(response.p99),
                    text::time(response.p99_9)
                ),
                format!("{} / {}", text::time(service.p50), text::time(service.p99)),
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
        "service p50 / p99",
        "server CPU each",
        "server CPU",
        "RSS",
    ];
    table(out, &head, &rows);
}

fn write_scenario(out: &mut String, scenario: &str, runs: &[&(String, RunResult)]) {
    let _ = writeln!(out, "<section><h2>{}</h2>", escape(scenario));
    let plotted = runs.iter().filter(|(_, run)| !run.response_by_quantile.is_empty());
    let nines = |quantile: f64| -(1.0 - quantile).max(1e-9).log10();
    let lines: Vec<Line> = plotted
        .map(|(name, run)| {
            let points = run.response_by_quantile.iter().map(|(quantile, us)| (nines(*quantile), *us));
            Line { label: label(name, run), is_void: !run.valid, points: points.collect() }
        })
        .collect();
    let most =
        lines.iter().flat_map(|line| &line.points).fold(1.0_f64, |most, point| most.max(point.0)).ceil();
    let scaled: Vec<Line> = lines
        .into_iter()
        .map(|line| Line { points: line.points.iter().map(|(x, y)| (x / most, *y)).collect(), ..line })
        .collect();
    if !scaled.is_empty() {
        let names =
            ["0 %", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %", "99.9999 %", "7 nines", "8 nines"];
        let ticks: Vec<(f64, String)> = names
            .iter()
            .enumerate()
            .map(|(i, name)| (i as f64 / most, (*name).to_owned()))
            .filter(|(at, _)| *at <= 1.0)
            .collect();
        let _ = writeln!(
            out,
            "<h3>Response by percentile <small>lower is better</small></h3>{}",
            svg::lines(&scaled, &ticks, "percentile", svg::LATENCY)
        );
    }
    let bars: Vec<Bar> = runs
        .iter()
        .filter_map(|(name, run)| {
            let value = run.cost.server_ns_per_message?;
            let note = format!(
                "{} (machine {})",
                text::cost(Some(value)),
                text::cost(run.cost.machine_ns_per_message)
            );
            Some(Bar { label: label(name, run), value, note, is_void: !run.valid, interval: None })
        })
        .collect();
    write_bars(out, bars, "Server CPU for each delivery", None);
    for (name, run) in runs {
        write_series(out, name, run);
    }
    out.push_str("</section>\n");
}

fn write_bars(out: &mut String, mut bars: Vec<Bar>, title: &str, reference: Option<f64>) {
    if !bars.is_empty() {
        bars.sort_by(|a, b| a.value.total_cmp(&b.value));
        let _ = writeln!(
            out,
            "<h3>{title} <small>lower is better</small></h3>{}",
            svg::bars(&bars, title, reference)
        );
    }
}

fn write_series(out: &mut String, name: &str, run: &RunResult) {
    if run.series.len() < 2 {
        return;
    }
    let last = (run.series.len() - 1) as f64;
    let line = |label: &str, value: &dyn Fn(&crate::result::SeriesPoint) -> f64| {
        let points = run.series.iter().enumerate().map(|(i, point)| (i as f64 / last, value(point)));
        Line { label: label.to_owned(), is_void: false, points: points.collect() }
    };
    let every = run.series.len().div_ceil(10);
    let ticks: Vec<(f64, String)> = (0..run.series.len())
        .step_by(every)
        .map(|i| (i as f64 / last, (run.series[i].second + 1).to_string()))
        .collect();
    let rates = [line("out", &|it| it.sent as f64), line("in", &|it| it.received as f64)];
    let latencies =
        [line("p50", &|it| it.p50_us), line("p99", &|it| it.p99_us), line("max", &|it| it.max_us)];
    let _ = writeln!(
        out,
        "<h3>{} over time</h3><div class=\"pair\"><div>{}</div><div>{}</div></div>",
        escape(&label(name, run)),
        svg::lines(&latencies, &ticks, "second", svg::LATENCY),
        svg::lines(&rates, &ticks, "second", svg::RATE)
    );
}

fn write_rows(out: &mut String, rows: &[(String, BenchResult)]) {
    for (_, row) in rows {
        let _ = writeln!(
            out,
            "<section><h2>{}</h2><p>{} connections, {} B, medians of {} rounds</p>",
            escape(&row.name),
            row.connections,
            row.payload_bytes,
            row.rounds
        );
        let bars = row.servers.iter().filter_map(|it| {
            let value = it.ratio?;
            let note = format!("{value:.2} ({:.2} to {:.2})", it.ratio_low?, it.ratio_high?);
            Some(Bar {
                label: it.title.clone(),
                value,
                note,
                is_void: false,
                interval: Some((it.ratio_low?, it.ratio_high?)),
            })
        });
        let title =
            format!("{}, over {}", row.metric, row.servers.first().map_or("", |it| it.title.as_str()));
        let bars: Vec<Bar> = bars.collect();
        let _ = writeln!(out, "<h3>{}</h3>{}", escape(&title), svg::bars(&bars, &title, Some(1.0)));
        let dash = |number: Option<f64>, show: fn(f64) -> String| number.map_or_else(|| "-".to_owned(), show);
        let cells: Vec<Vec<String>> = row
            .servers
            .iter()
            .map(|it| {
                vec![
                    escape(&it.title),
                    text::cost(it.server_ns_per_message),
                    dash(it.achieved_per_s, text::count),
                    dash(it.p50_us, text::time),
                    dash(it.p99_us, text::time),
                    dash(it.p99_9_us, text::time),
                    dash(it.rss_bytes, text::bytes),
                    it.void_trials.len().to_string(),
                ]
            })
            .collect();
        table(
            out,
            &["server", "server CPU each", "a second", "p50", "p99", "p99.9", "RSS", "void trials"],
            &cells,
        );
        out.push_str("</section>\n");
    }
}

fn write_compares(out: &mut String, compares: &[(String, CompareResult)]) {
    for (name, it) in compares {
        let verdict = it.verdict.name();
        let _ = writeln!(
            out,
            "<section><h2>{}</h2><p class=\"verdict {verdict}\">{verdict}: {} of B is {:.3} of A's (95 %: {:.3} to {:.3}; p {:.4}; threshold {} %)</p><p>A {}<br>B {}</p>",
            escape(name),
            escape(&it.metric),
            it.ratio,
            it.ratio_low,
            it.ratio_high,
            it.p,
            it.threshold_percent,
            escape(&it.a),
            escape(&it.b)
        );
        let strip = |values: &[f64], label: &str| {
            let last = (values.len().max(2) - 1) as f64;
            let points = values.iter().enumerate().map(|(i, value)| (i as f64 / last, *value)).collect();
            Line { label: label.to_owned(), is_void: false, points }
        };
        let ticks: Vec<(f64, String)> = vec![(0.0, "1".to_owned()), (1.0, it.a_values.len().to_string())];
        let axis = svg::Axis { title: "value", is_log: false, show: text::count };
        let _ = writeln!(
            out,
            "<h3>Trials, in {}</h3>{}</section>",
            escape(&it.unit),
            svg::lines(&[strip(&it.a_values, "A"), strip(&it.b_values, "B")], &ticks, "pair", axis)
        );
    }
}

fn write_searches(out: &mut String, searches: &[(String, SearchResult)]) {
    for (name, it) in searches {
        let highest = it.highest_per_s.map_or_else(
            || "no rate holds".to_owned(),
            |rate| format!("{}/s is the highest rate that holds", text::count(rate)),
        );
        let _ = writeln!(
            out,
            "<section><h2>{}</h2><p>{} against {}, {}: <strong>{highest}</strong></p>",
            escape(name),
            escape(&it.scenario),
            escape(&it.target),
            escape(&it.slo.join(", "))
        );
        let mut points: Vec<_> = it.points.iter().collect();
        points.sort_by(|a, b| a.rate_per_s.total_cmp(&b.rate_per_s));
        let rows: Vec<Vec<String>> = points
            .iter()
            .map(|point| {
                let p99 =
                    crate::statistics::median(&point.runs.iter().map(|run| run.p99_us).collect::<Vec<_>>());
                let verdict = if point.holds {
                    "<span class=\"good\">holds</span>"
                } else {
                    "<span class=\"bad\">fails</span>"
                };
                let reason = point.runs.iter().find(|run| !run.holds).map_or("", |run| run.reason.as_str());
                vec![
                    format!("{}/s", text::count(point.rate_per_s)),
                    verdict.to_owned(),
                    text::time(p99),
                    escape(reason),
                ]
            })
            .collect();
        table(out, &["rate", "", "p99 (median)", "why not"], &rows);
        out.push_str("</section>\n");
    }
}

fn write_mems(out: &mut String, mems: &[(String, MemResult)]) {
    if mems.is_empty() {
        return;
    }
    let bars = mems.iter().map(|(name, it)| Bar {
        label: format!("{name}: {}", it.target),
        value: it.user_bytes_per_connection.max(0.0),
        note: format!(
            "{} (kernel {})",
            text::bytes(it.user_bytes_per_connection),
            text::bytes(it.kernel_bytes_per_connection)
        ),
        is_void: false,
        interval: None,
    });
    out.push_str("<section><h2>Memory</h2>");
    write_bars(out, bars.collect(), "The server's bytes for each connection", None);
    out.push_str("</section>\n");
}

fn write_starts(out: &mut String, starts: &[(String, StartResult)]) {
    if starts.is_empty() {
        return;
    }
    let bars = starts.iter().map(|(name, it)| {
        let (low, high) = it
            .times_us
            .iter()
            .fold((f64::MAX, 0.0_f64), |(low, high), time| (low.min(*time), high.max(*time)));
        let note = format!("{} ({} to {})", text::time(it.median_us), text::time(low), text::time(high));
        Bar {
            label: format!("{name}: {}", it.target),
            value: it.median_us,
            note,
            is_void: false,
            interval: None,
        }
    });
    out.push_str("<section><h2>Start</h2>");
    write_bars(out, bars.collect(), "From exec to the first answered upgrade", None);
    out.push_str("</section>\n");
}

fn write_details(out: &mut String, name: &str, run: &RunResult) {
    let _ = writeln!(out, "<details><summary>{}</summary>", escape(&label(name, run)));
    let rows: Vec<Vec<String>> = run
        .latency_us
        .iter()
        .map(|(name, it)| {
            let mut cells = vec![escape(&name.replace('_', " ")), text::count(it.count as f64)];
            cells.extend([it.mean, it.p50, it.p90, it.p99, it.p99_9, it.max].map(text::time));
            cells
        })
        .collect();
    table(out, &["latency", "count", "mean", "p50", "p90", "p99", "p99.9", "max"], &rows);
    let pretty = |value: serde_json::Result<String>| escape(&value.unwrap_or_default());
    let _ = writeln!(
        out,
        "<p>loadgen {} {}</p><p>seed {}, {} × {}, Linux {}, {:.1} % of the machine's time stolen</p><pre>messages {}\nconservation {}\nconnections {}\ngenerator {}</pre>",
        escape(&run.version),
        escape(&run.args.join(" ")),
        run.seed,
        run.host.cpus,
        escape(&run.host.cpu),
        escape(&run.host.kernel),
        run.machine.steal_percent,
        pretty(serde_json::to_string(&run.messages)),
        pretty(serde_json::to_string(&run.conservation)),
        pretty(serde_json::to_string(&run.connections)),
        pretty(serde_json::to_string(&run.generator))
    );
    for fault in &run.faults {
        let _ = writeln!(out, "<p class=\"bad\">{}</p>", escape(fault));
    }
    out.push_str("</details>\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_needs_nothing_from_elsewhere_and_runs_nothing() {
        let json = serde_json::json!({ "kind": "start", "target": "<b>", "profile": "echo", "times_us": [1.0, 2.0, 3.0],
            "median_us": 2.0, "host": crate::machine::Host::default(), "args": [], "version": "1", "started_unix_s": 1 });
        let page = render(&[Named { name: "a".to_owned(), json }]).unwrap();
        assert!(page.contains("a: &lt;b&gt;") && page.contains("2 µs"), "{page}");
        for forbidden in ["<script", "src=", "http://", "https://", "<link", "url("] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
    }

    #[test]
    fn a_file_that_is_not_what_it_says_is_one_line() {
        let json = serde_json::json!({ "kind": "run" });
        let error = render(&[Named { name: "a".to_owned(), json }]).unwrap_err();
        assert!(error.starts_with("a: ") && error.lines().count() == 1, "{error}");
    }
}
