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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::{Percentiles, Server, SloVerdict};
    use expect_test::{Expect, expect};
    use serde_json::json;

    fn result() -> RunResult {
        let percentiles = |p50: f64| Percentiles {
            count: 200_000,
            mean: p50,
            p50,
            p90: 2.0 * p50,
            p99: 5.0 * p50,
            p99_9: 20.0 * p50,
            max: 100.0 * p50,
        };
        let value = json!({
            "kind": "run", "scenario": "rooms", "target": "ws://127.0.0.1:6001", "closed_loop": false,
            "connections_asked": 10_000, "payload_bytes": 20, "duration_s": 20.0, "valid": true, "void_reasons": [],
            "bound": "neither", "offered_per_s": 46_700.0, "achieved_per_s": 46_690.5, "messages": {
                "sent": 934_000, "received": 1_200_000, "in_flight": 0, "lost": 0, "duplicated": 0, "reordered": 0, "corrupt": 0 },
            "conservation": { "owed": 1, "delivered": 1, "events": 1, "plays": 5_000, "deadlines_missed": 1 },
            "connections": { "open": 10_000, "made": 10_100, "failed": {}, "lost": {}, "ended": 100, "stalled": 0, "cut_off": 0 },
            "latency_us": { "response": percentiles(120.0), "service": percentiles(90.0), "lag": percentiles(30.0),
                "skew": percentiles(150.0), "start_spread": percentiles(5_000.0), "clock_error": percentiles(900.0) },
            "deadline_miss_ppm": 200.0, "cost": { "server_ns_per_message": 9_000.0, "generator_ns_per_message": 12_000.0,
                "machine_ns_per_message": 9_400.0, "server_switches_per_message": 0.25, "generator_enters_per_message": 0.5 },
            "server": null, "generator": { "cpu_percent": 50.0, "busiest_worker_percent": 50.0, "workers": 1, "processes": 1 },
            "machine": { "busy_percent": 40.0, "steal_percent": 0.2 }, "slo": [], "series": [], "response_by_quantile": [],
            "faults": [], "host": crate::machine::Host::default(), "args": [], "seed": 7, "version": "0", "started_unix_s": 0
        });
        serde_json::from_value(value).unwrap()
    }

    fn check(result: &RunResult, files: &[String], expected: &Expect) {
        expected.assert_eq(&render(result, files));
    }

    #[test]
    fn a_run_of_rooms() {
        let mut result = result();
        result.server = Some(Server { cpu_percent: 42.0, busiest_thread_percent: 41.0, rss_bytes: 12 << 20 });
        result.slo = vec![SloVerdict { slo: "p99<1ms".to_owned(), measured_us: 600.0, holds: true }];
        check(
            &result,
            &["result.json".to_owned()],
            &expect![[r#"
            run           rooms against ws://127.0.0.1:6001
                          10000 connections, open loop, 20 s, 20 B, seed 7
            VALID         yes
            BOUND         neither: server 42 % of a CPU, its busiest thread 41 %; generator's busiest worker 50 %; stolen 0.2 %
            rate          46.7 k/s offered, 46.7 k/s achieved
            messages      934000 sent, 1200000 received, 0 in flight, 0 lost, 0 twice, 0 out of order, 0 corrupt
            connections   10000 open, 10100 made, 100 ended
                               count       p50       p90       p99     p99.9       max
            response           200 k    120 µs    240 µs    600 µs   2.40 ms     12 ms
            service            200 k     90 µs    180 µs    450 µs   1.80 ms      9 ms
            lag                200 k     30 µs     60 µs    150 µs    600 µs      3 ms
            fan-out skew       200 k    150 µs    300 µs    750 µs      3 ms     15 ms
            start spread       200 k      5 ms     10 ms     25 ms    100 ms    500 ms
            clock error        200 k    900 µs   1.80 ms   4.50 ms     18 ms     90 ms
            deadlines     200 ppm of 5000 PLAYs came after the instant they name
            cost          server 9000 ns, machine 9400 ns, generator 12 µs of CPU a delivery; 0.250 sleeps of the server a delivery
            memory        server 12 MiB resident
            SLO           p99<1ms kept: 600 µs
            file          result.json
        "#]],
        );
    }

    #[test]
    fn a_void_run_says_all_its_reasons() {
        let mut result = result();
        result.void_reasons = vec!["3 messages were lost".to_owned(), "the generator was late".to_owned()];
        result.valid = false;
        result.faults = vec!["connection 7: message 12 twice".to_owned()];
        check(
            &result,
            &[],
            &expect![[r#"
            run           rooms against ws://127.0.0.1:6001
                          10000 connections, open loop, 20 s, 20 B, seed 7
            VALID         no: 3 messages were lost
                          and the generator was late
            BOUND         neither: server unknown (--server-pid); generator's busiest worker 50 %; stolen 0.2 %
            rate          46.7 k/s offered, 46.7 k/s achieved
            messages      934000 sent, 1200000 received, 0 in flight, 0 lost, 0 twice, 0 out of order, 0 corrupt
            connections   10000 open, 10100 made, 100 ended
                               count       p50       p90       p99     p99.9       max
            response           200 k    120 µs    240 µs    600 µs   2.40 ms     12 ms
            service            200 k     90 µs    180 µs    450 µs   1.80 ms      9 ms
            lag                200 k     30 µs     60 µs    150 µs    600 µs      3 ms
            fan-out skew       200 k    150 µs    300 µs    750 µs      3 ms     15 ms
            start spread       200 k      5 ms     10 ms     25 ms    100 ms    500 ms
            clock error        200 k    900 µs   1.80 ms   4.50 ms     18 ms     90 ms
            deadlines     200 ppm of 5000 PLAYs came after the instant they name
            cost          server 9000 ns, machine 9400 ns, generator 12 µs of CPU a delivery; 0.250 sleeps of the server a delivery
            fault         connection 7: message 12 twice
        "#]],
        );
    }

    #[test]
    fn a_closed_loop_with_both_sides_full() {
        let mut result = result();
        (result.closed_loop, result.bound) = (true, Bound::Server);
        result.server = Some(Server { cpu_percent: 97.0, busiest_thread_percent: 97.0, rss_bytes: 5 << 20 });
        result.generator.busiest_worker_percent = 97.0;
        check(
            &result,
            &[],
            &expect![[r#"
            run           rooms against ws://127.0.0.1:6001
                          10000 connections, closed loop, 20 s, 20 B, seed 7
            VALID         yes
            BOUND         server: server 97 % of a CPU, its busiest thread 97 %; generator's busiest worker 97 %; stolen 0.2 %
                          both sides are full: the server may have more to give
            rate          46.7 k/s offered, 46.7 k/s achieved
            messages      934000 sent, 1200000 received, 0 in flight, 0 lost, 0 twice, 0 out of order, 0 corrupt
            connections   10000 open, 10100 made, 100 ended
                               count       p50       p90       p99     p99.9       max
            response           200 k    120 µs    240 µs    600 µs   2.40 ms     12 ms
            service            200 k     90 µs    180 µs    450 µs   1.80 ms      9 ms
            lag                200 k     30 µs     60 µs    150 µs    600 µs      3 ms
            fan-out skew       200 k    150 µs    300 µs    750 µs      3 ms     15 ms
            start spread       200 k      5 ms     10 ms     25 ms    100 ms    500 ms
            clock error        200 k    900 µs   1.80 ms   4.50 ms     18 ms     90 ms
            deadlines     200 ppm of 5000 PLAYs came after the instant they name
            cost          server 9000 ns, machine 9400 ns, generator 12 µs of CPU a delivery; 0.250 sleeps of the server a delivery
            memory        server 5 MiB resident
        "#]],
        );
    }
}
