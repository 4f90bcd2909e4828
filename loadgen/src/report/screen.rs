//! The one-screen report of a run, in fixed order: run, VALID, BOUND, response, service, lag, skew, start
//! spread, clock error, deadlines, cost, memory, SLOs, files.

use super::text::{bytes, cost, count, time};
use crate::result::{Bound, RunResult};
use std::fmt::Write;

const LATENCIES: [(&str, &str); 7] = [
    ("response", "response"),
    ("service", "service"),
    ("lag", "lag"),
    ("connect", "connect"),
    ("skew", "fan-out skew"),
    ("start_spread", "start spread"),
    ("clock_error", "clock error"),
];

/// The report; `files` are those that were written.
pub fn render(result: &RunResult, files: &[String]) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut out, result, files);
    out
}

fn write(out: &mut String, result: &RunResult, files: &[String]) -> std::fmt::Result {
    let loop_kind = if result.closed_loop { "closed loop" } else { "open loop" };
    writeln!(out, "run           {} against {}", result.scenario, result.target)?;
    writeln!(
        out,
        "              {} connections, {loop_kind}, {} s, {} B, seed {}",
        result.connections_asked, result.duration_s, result.payload_bytes, result.seed
    )?;
    match result.void_reasons.split_first() {
        None => writeln!(out, "VALID         yes")?,
        Some((first, others)) => {
            writeln!(out, "VALID         no: {first}")?;
            others.iter().try_for_each(|reason| writeln!(out, "              and {reason}"))?;
        }
    }
    bound(out, result)?;
    rates(out, result)?;
    writeln!(
        out,
        "              {:>10} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "count", "p50", "p90", "p99", "p99.9", "max"
    )?;
    for (name, title) in LATENCIES {
        if let Some(it) = result.latency_us.get(name) {
            let values = [it.p50, it.p90, it.p99, it.p99_9, it.max].map(time);
            let [p50, p90, p99, p99_9, max] =
                if it.count == 0 { std::array::from_fn(|_| "-".to_owned()) } else { values };
            writeln!(
                out,
                "{title:<13} {:>10} {p50:>9} {p90:>9} {p99:>9} {p99_9:>9} {max:>9}",
                count(it.count as f64)
            )?;
        }
    }
    if let Some(ppm) = result.deadline_miss_ppm {
        let plays = result.conservation.plays;
        writeln!(out, "deadlines     {ppm:.0} ppm of {plays} PLAYs came after the instant they name")?;
    }
    let each = if result.latency_us.contains_key("connect") { "connect" } else { "delivery" };
    writeln!(
        out,
        "cost          server {}, machine {}, generator {} of CPU a {each}; {} sleeps of the server a {each}",
        cost(result.cost.server_ns_per_message),
        cost(result.cost.machine_ns_per_message),
        cost(result.cost.generator_ns_per_message),
        result.cost.server_switches_per_message.map_or_else(|| "-".to_owned(), |it| format!("{it:.3}")),
    )?;
    if let Some(server) = &result.server {
        writeln!(out, "memory        server {} resident", bytes(server.rss_bytes as f64))?;
    }
    for slo in &result.slo {
        let verdict = if slo.holds { "kept" } else { "BROKEN" };
        writeln!(out, "SLO           {} {verdict}: {}", slo.slo, time(slo.measured_us))?;
    }
    result.faults.iter().try_for_each(|fault| writeln!(out, "fault         {fault}"))?;
    files.iter().try_for_each(|file| writeln!(out, "file          {file}"))
}

fn bound(out: &mut String, result: &RunResult) -> std::fmt::Result {
    let server = result.server.map_or_else(
        || "server unknown (--server-pid)".to_owned(),
        |it| {
            format!(
                "server {:.0} % of a CPU, its busiest thread {:.0} %",
                it.cpu_percent, it.busiest_thread_percent
            )
        },
    );
    let generator = result.generator;
    writeln!(
        out,
        "BOUND         {}: {server}; generator's busiest worker {:.0} %; stolen {:.1} %",
        result.bound.name(),
        generator.busiest_worker_percent,
        result.machine.steal_percent
    )?;
    if result.bound == Bound::Server && generator.busiest_worker_percent >= 95.0 {
        writeln!(out, "              both sides are full: the server may have more to give")?;
    }
    if result.closed_loop && result.bound != Bound::Server {
        writeln!(out, "              the rate is not the server's limit")?;
    }
    Ok(())
}

fn rates(out: &mut String, result: &RunResult) -> std::fmt::Result {
    let (messages, connections) = (&result.messages, &result.connections);
    writeln!(
        out,
        "rate          {}/s offered, {}/s achieved",
        count(result.offered_per_s),
        count(result.achieved_per_s)
    )?;
    writeln!(
        out,
        "messages      {} sent, {} received, {} in flight, {} lost, {} twice, {} out of order, {} corrupt",
        messages.sent,
        messages.received,
        messages.in_flight,
        messages.lost,
        messages.duplicated,
        messages.reordered,
        messages.corrupt
    )?;
    write!(
        out,
        "connections   {} open, {} made, {} ended",
        connections.open, connections.made, connections.ended
    )?;
    if connections.stalled > 0 {
        write!(out, "; {} stalled, of which {} were cut off", connections.stalled, connections.cut_off)?;
    }
    writeln!(out)
}
