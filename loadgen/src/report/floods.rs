//! Floods: on the screen, and as a Markdown table with a row for each attack and server.

use super::text::{bytes, cost, count, time};
use crate::flood::result::FloodResult;
use std::collections::BTreeMap;
use std::fmt::Write;

/// The report on a screen.
pub fn screen(result: &FloodResult) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_screen(&mut out, result);
    out
}

fn write_screen(out: &mut String, result: &FloodResult) -> std::fmt::Result {
    let it = &result.medians;
    let counted = result.rounds.iter().filter(|round| round.void_reasons.is_empty()).count();
    writeln!(out, "flood         {} against {}", result.flood, result.target)?;
    writeln!(
        out,
        "              {} attackers beside {} clients of {}, {} s each phase; medians of {counted} rounds of {}",
        result.attackers,
        result.connections,
        result.victims,
        result.duration_s,
        result.rounds.len()
    )?;
    let voids = result.rounds.iter().flat_map(|round| round.void_reasons.first());
    voids.into_iter().try_for_each(|reason| writeln!(out, "void          {reason}"))?;
    match result.failures.split_first() {
        None if counted == 0 => writeln!(out, "VERDICT       void: no round counts")?,
        None => writeln!(out, "VERDICT       fine: nothing was lost, what was promised was kept")?,
        Some((first, others)) => {
            writeln!(out, "VERDICT       no: {first}")?;
            others.iter().try_for_each(|failure| writeln!(out, "              and {failure}"))?;
        }
    }
    writeln!(out, "{:<13} {:>10} {:>10} {:>10}", "victims", "alone", "beside", "after")?;
    let rows = [
        ("p50", [it.alone_p50_us, it.beside_p50_us, it.after_p50_us], time as fn(f64) -> String),
        ("p99", [it.alone_p99_us, it.beside_p99_us, it.after_p99_us], time),
        ("p99.9", [it.alone_p99_9_us, it.beside_p99_9_us, it.after_p99_9_us], time),
        ("max", [it.alone_max_us, it.beside_max_us, it.after_max_us], time),
        ("p99, times", [Some(1.0), it.beside_ratio, it.after_ratio], times),
        (
            "server CPU",
            [it.alone_server_cpu_percent, it.beside_server_cpu_percent, it.after_server_cpu_percent],
            percent,
        ),
        ("resident", [it.rss_before_bytes, it.rss_peak_bytes, it.rss_after_bytes], bytes),
        ("buffers", [it.buffers_before_bytes, it.buffers_peak_bytes, it.buffers_after_bytes], bytes),
        ("slab", [it.slab_before_bytes, it.slab_peak_bytes, it.slab_after_bytes], bytes),
    ];
    for (title, figures, show) in rows {
        let [alone, beside, after] = figures.map(|figure| or_dash(figure, show));
        writeln!(out, "{title:<13} {alone:>10} {beside:>10} {after:>10}")?;
    }
    writeln!(
        out,
        "attack        {}/s sent of {}/s, {} heard, {} of a CPU; {} of the server's CPU for each sent",
        or_dash(it.attack_per_s, count),
        or_dash(result.attack_rate_per_s, count),
        or_dash(it.attack_heard, count),
        or_dash(it.attack_cpu_percent, percent),
        cost(it.server_ns_per_attack)
    )?;
    writeln!(
        out,
        "attackers     {} connections made, {} left at the end; ended in all rounds: {}",
        or_dash(it.attackers_made, count),
        or_dash(it.attackers_left, count),
        ends(&result.ended)
    )?;
    writeln!(out, "at rest       {} after the attack's end", or_dash(it.settled_ms.map(|ms| ms * 1e3), time))
}

fn or_dash(number: Option<f64>, show: fn(f64) -> String) -> String {
    number.map_or_else(|| "-".to_owned(), show)
}

fn percent(number: f64) -> String {
    format!("{number:.0} %")
}

fn times(number: f64) -> String {
    format!("{number:.2}")
}

fn ends(ended: &BTreeMap<String, u64>) -> String {
    let each = ended.iter().map(|(end, number)| format!("{end} × {number}"));
    if ended.is_empty() { "none".to_owned() } else { each.collect::<Vec<_>>().join(", ") }
}

/// One table: a row for each attack and server, so that before stands above after.
pub fn write_table(out: &mut String, results: &[FloodResult]) {
    let Some(about) = about(results) else { return };
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{about}\n\n| {} |", HEADS.join(" | "));
    let _ = writeln!(out, "| --- | --- | ---: | ---: |{}", " --- |".repeat(HEADS.len() - 4));
    for result in results {
        let cells = row(result).map(|cell| cell.replace('|', "\\|"));
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
    out.push('\n');
}

/// What the table shows; `None` if there is nothing to show.
pub fn about(results: &[FloodResult]) -> Option<String> {
    let first = results.first()?;
    Some(format!(
        "Victims: clients of {}. Latencies, CPU and memory are medians of the rounds that count. Resident: the \
         server's, before the attack, at most, and at rest after it. Socket buffers and slab: \
         by how much they grew at most, the whole machine's and so both ends of each connection.",
        first.victims
    ))
}

pub const HEADS: [&str; 12] = [
    "flood",
    "server",
    "attackers beside victims",
    "sent/s",
    "victims' p99 alone, beside, after",
    "times",
    "server CPU alone, beside",
    "server CPU each sent",
    "resident",
    "socket buffers, slab",
    "at rest in",
    "attackers ended by the server",
];

/// A row of the table.
pub fn row(result: &FloodResult) -> [String; HEADS.len()] {
    let it = &result.medians;
    let list = |figures: &[Option<f64>], show: fn(f64) -> String| {
        figures.iter().map(|figure| or_dash(*figure, show)).collect::<Vec<_>>().join(", ")
    };
    let grown = |peak: Option<f64>, before: Option<f64>| {
        or_dash(peak.zip(before).map(|(peak, before)| (peak - before).max(0.0)), |it| {
            format!("+{}", bytes(it))
        })
    };
    let buffers = grown(it.buffers_peak_bytes, it.buffers_before_bytes);
    let slab = grown(it.slab_peak_bytes, it.slab_before_bytes);
    [
        result.flood.clone(),
        result.target.clone(),
        format!("{} beside {}", count(result.attackers as f64), count(result.connections as f64)),
        or_dash(it.attack_per_s, count),
        list(&[it.alone_p99_us, it.beside_p99_us, it.after_p99_us], time),
        or_dash(it.beside_ratio, times),
        list(&[it.alone_server_cpu_percent, it.beside_server_cpu_percent], percent),
        cost(it.server_ns_per_attack),
        list(&[it.rss_before_bytes, it.rss_peak_bytes, it.rss_after_bytes], bytes),
        format!("{buffers}, {slab}"),
        or_dash(it.settled_ms.map(|ms| ms * 1e3), time),
        format!("{}{}", failed(result), ends(&result.ended)),
    ]
}

/// What is wrong with a result, in bold before all else.
fn failed(result: &FloodResult) -> String {
    let is_void = result.rounds.iter().all(|round| !round.void_reasons.is_empty());
    match &result.failures[..] {
        [] if is_void => "**void**; ".to_owned(),
        [] => String::new(),
        [first, ..] => format!("**{first}**; "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flood::result::{FloodFigures, FloodRound};
    use crate::machine::Host;
    use expect_test::expect;

    fn result(target: &str, failures: &[&str]) -> FloodResult {
        let figures = FloodFigures {
            alone_p99_us: Some(400.0),
            beside_p99_us: Some(600.0),
            after_p99_us: Some(410.0),
            beside_ratio: Some(1.5),
            rss_before_bytes: Some(5e6),
            rss_peak_bytes: Some(9e6),
            rss_after_bytes: Some(6e6),
            buffers_before_bytes: Some(1e6),
            buffers_peak_bytes: Some(3e6),
            alone_server_cpu_percent: Some(12.0),
            beside_server_cpu_percent: Some(55.0),
            attack_per_s: Some(98_000.0),
            attackers_made: Some(44.0),
            settled_ms: Some(120.0),
            ..FloodFigures::default()
        };
        let round = FloodRound {
            void_reasons: Vec::new(),
            harms: Vec::new(),
            ended: BTreeMap::new(),
            figures: figures.clone(),
        };
        FloodResult {
            kind: "flood".to_owned(),
            flood: "pings".to_owned(),
            target: target.to_owned(),
            victims: "rooms".to_owned(),
            connections: 1_000,
            attackers: 10,
            attack_rate_per_s: None,
            duration_s: 4.0,
            rounds: vec![round],
            medians: figures,
            ended: BTreeMap::from([("close 1008".to_owned(), 34)]),
            failures: failures.iter().map(|it| (*it).to_owned()).collect(),
            host: Host::default(),
            args: Vec::new(),
            version: String::new(),
            started_unix_s: 0,
        }
    }

    #[test]
    fn the_screen_says_the_verdict_and_all_three_phases() {
        expect![[r#"
            flood         pings against Downbeat
                          10 attackers beside 1000 clients of rooms, 4 s each phase; medians of 1 rounds of 1
            VERDICT       no: round 1: alone: 3 messages were lost
            victims            alone     beside      after
            p50                    -          -          -
            p99               400 µs     600 µs     410 µs
            p99.9                  -          -          -
            max                    -          -          -
            p99, times          1.00       1.50          -
            server CPU          12 %       55 %          -
            resident        4.77 MiB   8.58 MiB   5.72 MiB
            buffers          977 KiB   2.86 MiB          -
            slab                   -          -          -
            attack        98 k/s sent of -/s, - heard, - of a CPU; - of the server's CPU for each sent
            attackers     44 connections made, - left at the end; ended in all rounds: close 1008 × 34
            at rest       120 ms after the attack's end
        "#]]
        .assert_eq(&screen(&result("Downbeat", &["round 1: alone: 3 messages were lost"])));
    }

    #[test]
    fn servers_stand_beside_each_other() {
        let mut out = String::new();
        write_table(&mut out, &[result("before", &["harm"]), result("after", &[])]);
        expect![[r#"
            Victims: clients of rooms. Latencies, CPU and memory are medians of the rounds that count. Resident: the server's, before the attack, at most, and at rest after it. Socket buffers and slab: by how much they grew at most, the whole machine's and so both ends of each connection.

            | flood | server | attackers beside victims | sent/s | victims' p99 alone, beside, after | times | server CPU alone, beside | server CPU each sent | resident | socket buffers, slab | at rest in | attackers ended by the server |
            | --- | --- | ---: | ---: | --- | --- | --- | --- | --- | --- | --- | --- |
            | pings | before | 10 beside 1000 | 98 k | 400 µs, 600 µs, 410 µs | 1.50 | 12 %, 55 % | - | 4.77 MiB, 8.58 MiB, 5.72 MiB | +1.91 MiB, - | 120 ms | **harm**; close 1008 × 34 |
            | pings | after | 10 beside 1000 | 98 k | 400 µs, 600 µs, 410 µs | 1.50 | 12 %, 55 % | - | 4.77 MiB, 8.58 MiB, 5.72 MiB | +1.91 MiB, - | 120 ms | close 1008 × 34 |

        "#]].assert_eq(&out);
    }
}
