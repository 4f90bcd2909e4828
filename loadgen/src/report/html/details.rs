//! All there is to know of one run, folded away.

use super::run::{label, losses};
use super::table;
use crate::report::svg::escape;
use crate::report::text;
use crate::result::RunResult;
use std::collections::BTreeMap;
use std::fmt::Write;

pub fn write_details(out: &mut String, name: &str, run: &RunResult) {
    let void = if run.valid { "" } else { " <span class=\"bad\">void</span>" };
    let _ = writeln!(out, "<details><summary>{}{void}</summary>", escape(&label(name, run)));
    for reason in run.void_reasons.iter().chain(&losses(run)).chain(&run.faults) {
        let _ = writeln!(out, "<p class=\"bad\">{}</p>", escape(reason));
    }
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
    let rows: Vec<Vec<String>> =
        facts(run).into_iter().map(|(what, value)| vec![what.to_owned(), escape(&value)]).collect();
    table(out, &["", ""], &rows);
    let _ = writeln!(
        out,
        "<p>seed {}, loadgen {}:</p><pre>loadgen {}</pre></details>",
        run.seed,
        escape(&run.version),
        escape(&command(&run.args))
    );
}

/// As it can be typed again.
fn command(args: &[String]) -> String {
    let plain = |it: char| it.is_ascii_alphanumeric() || "-_./:=,%+@".contains(it);
    let quoted = args.iter().map(|arg| {
        if !arg.is_empty() && arg.chars().all(plain) {
            arg.clone()
        } else {
            format!("'{}'", arg.replace('\'', r"'\''"))
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

fn facts(run: &RunResult) -> Vec<(&'static str, String)> {
    let (messages, kept, connections) = (&run.messages, &run.conservation, &run.connections);
    let load = if run.closed_loop { "closed loop" } else { "open loop" };
    vec![
        (
            "load",
            format!(
                "{load}, {} connections, {} B, {} s",
                run.connections_asked, run.payload_bytes, run.duration_s
            ),
        ),
        (
            "messages",
            format!(
                "{} sent, {} received, {} in flight, {} lost, {} duplicated, {} reordered, {} corrupt",
                messages.sent,
                messages.received,
                messages.in_flight,
                messages.lost,
                messages.duplicated,
                messages.reordered,
                messages.corrupt
            ),
        ),
        (
            "conservation",
            format!(
                "{} owed, {} delivered; {} events, {} plays, {} of them late",
                kept.owed, kept.delivered, kept.events, kept.plays, kept.deadlines_missed
            ),
        ),
        (
            "connections",
            format!(
                "{} made, {} open at the end, {} ended by us, {} stalled, {} of them cut off; failed: {}; lost: {}",
                connections.made,
                connections.open,
                connections.ended,
                connections.stalled,
                connections.cut_off,
                reasons(&connections.failed),
                reasons(&connections.lost)
            ),
        ),
        (
            "generator",
            format!(
                "{} workers in {} processes, {:.0} % CPU, busiest {:.0} %",
                run.generator.workers,
                run.generator.processes,
                run.generator.cpu_percent,
                run.generator.busiest_worker_percent
            ),
        ),
        (
            "machine",
            format!(
                "{:.0} % busy, {:.1} % stolen by its host",
                run.machine.busy_percent, run.machine.steal_percent
            ),
        ),
    ]
}

fn reasons(counts: &BTreeMap<String, u64>) -> String {
    if counts.is_empty() {
        return "none".to_owned();
    }
    counts.iter().map(|(reason, count)| format!("{count} {reason}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_can_be_typed_again() {
        let args = ["run", "echo", "x --port {port}", "it's", "-c", "10"].map(str::to_owned);
        assert_eq!(command(&args), r"run echo 'x --port {port}' 'it'\''s' -c 10");
    }
}
