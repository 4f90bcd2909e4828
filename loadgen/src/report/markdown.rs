//! Results as Markdown tables, and their place in a page that people write around them.

use super::{Named, text};
use crate::flood::result::FloodResult;
use crate::result::{
    BenchResult, BenchServer, CompareResult, CurveResult, MemResult, RunResult, StartResult,
};
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::fmt::Write;

const BEGIN: &str = "<!-- results: written by `loadgen report`, not by hand -->";
const END: &str = "<!-- end of results -->";

/// The tables of all results, by kind and name.
pub fn render(results: &[Named]) -> Result<String, String> {
    let mut out = String::new();
    let rows: Vec<BenchResult> = of_kind(results, "bench")?;
    for row in &rows {
        write_row(&mut out, row);
    }
    for (name, curve) in super::of_kind::<CurveResult>(results, "curve")? {
        write_curve(&mut out, &name, &curve);
    }
    write_runs(&mut out, &of_kind::<RunResult>(results, "run")?);
    write_compares(&mut out, &of_kind::<CompareResult>(results, "compare")?);
    write_mems(&mut out, &of_kind::<MemResult>(results, "mem")?);
    write_starts(&mut out, &of_kind::<StartResult>(results, "start")?);
    super::floods::write_table(&mut out, &of_kind::<FloodResult>(results, "flood")?);
    Ok(out)
}

/// Puts the tables between the page's marks, or makes a page of them.
pub fn place(page: Option<&str>, tables: &str) -> String {
    let section = format!("{BEGIN}\n{tables}{END}");
    match page.and_then(|page| Some((page.split_once(BEGIN)?.0, page.split_once(END)?.1))) {
        Some((before, after)) => format!("{before}{section}{after}"),
        None => format!("{}{section}\n", page.map(|page| format!("{page}\n")).unwrap_or_default()),
    }
}

fn of_kind<T: DeserializeOwned>(results: &[Named], kind: &str) -> Result<Vec<T>, String> {
    Ok(super::of_kind(results, kind)?.into_iter().map(|(_, it)| it).collect())
}

fn or_dash(number: Option<f64>, show: fn(f64) -> String) -> String {
    number.map_or_else(|| "-".to_owned(), show)
}

fn write_row(out: &mut String, row: &BenchResult) {
    let is_connecting = row.is_connecting();
    let kind = match (row.closed_loop, row.rate_per_s) {
        (true, _) => "closed loop".to_owned(),
        (false, Some(rate)) if is_connecting => format!("{} connections/s", text::count(rate)),
        (false, Some(rate)) => format!("{} messages/s", text::count(rate)),
        (false, None) if is_connecting => "all at once".to_owned(),
        (false, None) => "the clients' own cadence".to_owned(),
    };
    let _ = writeln!(
        out,
        "### {}\n\n{} connections, {} B, {kind}; medians of {} rounds. Ratio: {}, this server over the first, with its 95 % interval.\n",
        row.name, row.connections, row.payload_bytes, row.rounds, row.metric
    );
    if row.closed_loop {
        let _ = writeln!(
            out,
            "| server | deliveries/s | ratio | server CPU each | server busy | generator busy | whose limit | void |"
        );
        let _ = writeln!(out, "| --- | ---: | ---: | ---: | ---: | ---: | --- | ---: |");
    } else {
        let each = if is_connecting { "a connection" } else { "each" };
        let _ = writeln!(
            out,
            "| server | server CPU {each} | ratio | machine CPU {each} | p50 | p99 | p99.9 | RSS | void |"
        );
        let _ = writeln!(out, "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    }
    for server in &row.servers {
        let cells = if row.closed_loop { closed_cells(server) } else { paced_cells(server) };
        let _ = writeln!(out, "| {} | {} | {} |", server.title, cells.join(" | "), server.void_trials.len());
    }
    write_sync(out, &row.servers);
    let _ = writeln!(out, "\n`loadgen {}`\n", command(&row.args));
}

/// How well devices would play together, where a row tells.
fn write_sync(out: &mut String, servers: &[BenchServer]) {
    if servers.iter().all(|server| server.start_spread_p99_us.is_none()) {
        return;
    }
    let _ = writeln!(
        out,
        "\nSync: how far apart a room hears an event, how far apart its devices would start, how wrong their clocks are (99 % of each), and PLAYs that came after their start.\n"
    );
    let _ = writeln!(out, "| server | skew | start spread | clock error | late PLAYs, ppm |");
    let _ = writeln!(out, "| --- | ---: | ---: | ---: | ---: |");
    for it in servers {
        let cells = [
            or_dash(it.skew_p99_us, text::time),
            or_dash(it.start_spread_p99_us, text::time),
            or_dash(it.clock_error_p99_us, text::time),
            or_dash(it.deadline_miss_ppm, text::count),
        ];
        let _ = writeln!(out, "| {} | {} |", it.title, cells.join(" | "));
    }
}

fn write_curve(out: &mut String, name: &str, curve: &CurveResult) {
    let _ = writeln!(
        out,
        "### {name}\n\nLatency by load: {}, {} connections, {} B; medians of {} trials. p50 and p99 at each rate; the knee is in bold, and a rate at which no trial counts is \"-\", the last that was tried.\n",
        curve.scenario, curve.connections, curve.payload_bytes, curve.rounds
    );
    let rates: BTreeSet<u64> =
        curve.servers.iter().flat_map(|it| &it.points).map(|point| point.rate_per_s as u64).collect();
    let heads: Vec<String> = rates.iter().map(|rate| format!("{}/s", text::count(*rate as f64))).collect();
    let _ = writeln!(out, "| server | {} |", heads.join(" | "));
    let _ = writeln!(out, "| --- |{}", " ---: |".repeat(rates.len()));
    for server in &curve.servers {
        let cell = |rate: &u64| {
            let point = server.points.iter().find(|point| point.rate_per_s as u64 == *rate);
            let latencies = point.map(|point| (point.p50_us, point.p99_us));
            let is_knee = server.knee_per_s.is_some_and(|knee| knee as u64 == *rate);
            match latencies {
                Some((Some(p50), Some(p99))) => {
                    let cell = format!("{}, {}", text::time(p50), text::time(p99));
                    if is_knee { format!("**{cell}**") } else { cell }
                }
                Some(_) => "-".to_owned(),
                None => String::new(),
            }
        };
        let cells: Vec<String> = rates.iter().map(cell).collect();
        let _ = writeln!(out, "| {} | {} |", server.title, cells.join(" | "));
    }
    let _ = writeln!(out, "\n`loadgen {}`\n", command(&curve.args));
}

fn ratio(server: &BenchServer) -> String {
    match (server.ratio, server.ratio_low, server.ratio_high) {
        (Some(ratio), Some(low), Some(high)) => format!("{ratio:.2} ({low:.2} to {high:.2})"),
        _ => "-".to_owned(),
    }
}

fn paced_cells(server: &BenchServer) -> Vec<String> {
    vec![
        text::cost(server.server_ns_per_message),
        ratio(server),
        text::cost(server.machine_ns_per_message),
        or_dash(server.p50_us, text::time),
        or_dash(server.p99_us, text::time),
        or_dash(server.p99_9_us, text::time),
        or_dash(server.rss_bytes, text::bytes),
    ]
}

fn closed_cells(server: &BenchServer) -> Vec<String> {
    let percent = |number: Option<f64>| number.map_or_else(|| "-".to_owned(), |it| format!("{it:.0} %"));
    let generator_full = server.generator_busiest_percent.is_some_and(|it| it >= 95.0);
    let limit = match (server.server_bound_trials * 2 > server.trials, generator_full) {
        (true, false) => "the server's",
        (true, true) => "both",
        (false, true) => "the generator's",
        (false, false) => "neither's",
    };
    vec![
        or_dash(server.achieved_per_s, text::count),
        ratio(server),
        text::cost(server.server_ns_per_message),
        percent(server.server_busiest_percent),
        percent(server.generator_busiest_percent),
        limit.to_owned(),
    ]
}

/// As it can be typed again.
fn command(args: &[String]) -> String {
    let quoted =
        args.iter().map(|arg| if arg.contains([' ', '{', '<']) { format!("'{arg}'") } else { arg.clone() });
    quoted.collect::<Vec<_>>().join(" ")
}

fn write_runs(out: &mut String, runs: &[RunResult]) {
    if runs.is_empty() {
        return;
    }
    let _ = writeln!(
        out,
        "### Runs\n\n| scenario | target | valid | bound | achieved/s | p50 | p99 | p99.9 | server CPU each | RSS |"
    );
    let _ = writeln!(out, "| --- | --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    for run in runs {
        let response = run.response().copied().unwrap_or_default();
        let valid = if run.valid { "yes".to_owned() } else { format!("no: {}", run.void_reasons.join("; ")) };
        let cells = [
            run.scenario.clone(),
            run.target.clone(),
            valid,
            run.bound.name().to_owned(),
            text::count(run.achieved_per_s),
            text::time(response.p50),
            text::time(response.p99),
            text::time(response.p99_9),
            text::cost(run.cost.server_ns_per_message),
            or_dash(run.server.map(|it| it.rss_bytes as f64), text::bytes),
        ];
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
    out.push('\n');
}

fn write_compares(out: &mut String, compares: &[CompareResult]) {
    for it in compares {
        let _ = writeln!(
            out,
            "- {}: {} over {}: {:.3} ({:.3} to {:.3}), p {:.4}: {}",
            it.metric,
            it.b,
            it.a,
            it.ratio,
            it.ratio_low,
            it.ratio_high,
            it.p,
            it.verdict.name()
        );
    }
    if !compares.is_empty() {
        out.push('\n');
    }
}

fn write_mems(out: &mut String, mems: &[MemResult]) {
    if mems.is_empty() {
        return;
    }
    let _ = writeln!(
        out,
        "### memory\n\nBytes a connection: slopes over steps. The kernel's part is of the whole machine: both ends and the generator's side.\n"
    );
    let _ = writeln!(
        out,
        "| server | speaks | steps | user | kernel | RSS at the last step |\n| --- | --- | --- | ---: | ---: | ---: |"
    );
    for it in mems {
        let steps: Vec<String> = it.steps.iter().map(|step| step.connections.to_string()).collect();
        let last = it.steps.last().map(|step| step.rss_bytes as f64);
        let (user, kernel) = (it.user_bytes_per_connection, it.kernel_bytes_per_connection);
        let cells = [
            it.target.clone(),
            it.profile.clone(),
            steps.join(", "),
            text::bytes(user),
            text::bytes(kernel),
            or_dash(last, text::bytes),
        ];
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
    out.push('\n');
}

fn write_starts(out: &mut String, starts: &[StartResult]) {
    if starts.is_empty() {
        return;
    }
    let _ = writeln!(
        out,
        "### start\n\nFrom exec to the first answered upgrade.\n\n| server | median | least | most | starts |\n| --- | ---: | ---: | ---: | ---: |"
    );
    for it in starts {
        let (low, high) = it
            .times_us
            .iter()
            .fold((f64::MAX, 0.0_f64), |(low, high), time| (low.min(*time), high.max(*time)));
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} |",
            it.target,
            text::time(it.median_us),
            text::time(low),
            text::time(high),
            it.times_us.len()
        );
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_take_the_place_of_the_ones_before() {
        let page = place(None, "one\n");
        let page = place(Some(&format!("# Title\n\n{page}\nAfter.\n")), "two\n");
        assert_eq!(page, format!("# Title\n\n{BEGIN}\ntwo\n{END}\n\nAfter.\n"));
        assert_eq!(place(Some(&page), "two\n"), page);
    }

    #[test]
    fn a_command_can_be_typed_again() {
        let args = ["bench", "echo", "Downbeat=x --port {port}", "-c", "10"].map(str::to_owned);
        assert_eq!(command(&args), "bench echo 'Downbeat=x --port {port}' -c 10");
    }
}
