//! The exporter with figures of which no two are the same, and docs/metrics.md beside it.

use super::*;
use crate::published::tests::distinct;
use engine::Stats;
use std::collections::{HashMap, HashSet};

/// Exported names, without what is before and behind them, that are not those of their figures.
const RENAMED: [(&str, &str); 15] = [
    ("ending_connections", "ending"),
    ("outbox_behind_bytes", "outboxes_behind_bytes"),
    ("receives_armed", "armed"),
    ("receives_resting", "resting"),
    ("receives_queued", "queued"),
    ("messages", "messages_received"),
    ("answers", "frames_queued"),
    ("completion_queue_overflows", "overflows"),
    ("receives_without_buffer", "buffers_exhausted"),
    ("short_sends", "sends_short"),
    ("mesh_batches_sent", "batches_sent"),
    ("mesh_batches_received", "batches_received"),
    ("mesh_envelopes_sent", "envelopes_sent"),
    ("mesh_envelopes_received", "envelopes_received"),
    ("cpu_seconds", "cpu_s"),
];

/// Likewise the reasons of refusals.
const REASONS_RENAMED: [(&str, &str); 10] = [
    ("heads", "refused_heads"),
    ("origins", "origins_refused"),
    ("connections", "accepts_over_limit"),
    ("address_connections", "accepts_over_address_limit"),
    ("floods", "floods_closed"),
    ("controls", "controls_excess"),
    ("commands", "commands_excess"),
    ("room_commands", "room_commands_excess"),
    ("pause_states", "pause_states_excess"),
    ("rooms", "rooms_refused"),
];

/// Figures that no metric has: tests look at them.
const NOT_EXPORTED: [&str; 2] = ["ended", "sockets"];

/// The page has a row for each: its name and its help, as the exporter says them.
#[test]
fn every_metric_and_every_reason_stands_in_the_docs() {
    let page = include_str!("../../../docs/metrics.md");
    let documented = documented();
    for (name, help) in &documented {
        assert!(page.contains(&format!("| `{name}` |")), "{name} is not in docs/metrics.md");
        assert!(page.contains(help.as_str()), "{name}: docs/metrics.md says something else than {help:?}");
    }
    let rows = page.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(rows, documented.len(), "the page has a metric that is not exported");
    let names: HashSet<_> = documented.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), documented.len());
    assert!(documented.len() > 50);
}

/// Each figure by its field's name.
fn fields(figures: &Figures) -> HashMap<String, f64> {
    let text = format!("{figures:#?}");
    let numbers = text.lines().filter_map(|line| {
        let (name, value) = line.trim().trim_end_matches(',').split_once(": ")?;
        Some((name.to_owned(), value.parse().ok()?))
    });
    numbers.collect()
}

/// Two cores, of which the second has counted everything.
fn scrape() -> Scrape {
    let core = |figures, is_answering| CoreReading { figures, cpu_us: None, is_answering, turn: None };
    let times = |of_core: u64| {
        let total = |index| Total {
            count: of_core * (100 + index as u64),
            sum_us: of_core as f64 * 1e6 * (index + 1) as f64,
            ..Total::default()
        };
        std::array::from_fn(total)
    };
    Scrape {
        cores: vec![core(Figures::default(), false), core(distinct(), true)],
        times: vec![times(0), times(1)],
        cpu_us: vec![0, 7_500_000],
        respawns: vec![0, 3],
        uptime_s: 11.5,
        resident_bytes: 12,
        connections_max: 13,
        is_draining: true,
        log_lines_left_out: 14,
        snapshot: Some(SnapshotScrape { age_s: 15.5, rooms: 16, bytes: 17, took_s: 18.5, failures: 19 }),
    }
}

/// Each sample by name and labels.
fn samples() -> HashMap<String, f64> {
    let text = encode(scrape()).unwrap();
    let samples = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.strip_prefix(PREFIX).unwrap().to_owned(), value.parse().unwrap())
    });
    samples.collect()
}

#[test]
fn every_name_and_every_reason_has_the_figure_that_it_is_called_after() {
    let (samples, mut fields) = (samples(), fields(&distinct()));
    assert_eq!(fields.len(), Stats::COUNT + 20, "no two have one name: {fields:?}");
    fields.insert("shard_answering".to_owned(), 1.0);
    fields.insert("respawns".to_owned(), 3.0);
    fields.insert("cpu_s".to_owned(), 7.5);
    let mut exported = HashSet::new();
    for (key, value) in &samples {
        let Some((name, labels)) = key.split_once("{core=\"") else { continue };
        let Some((core, labels)) = labels.split_once('"') else { panic!("{key}") };
        if TIMES.iter().any(|(time, ..)| name.starts_with(&format!("{time}_seconds"))) {
            continue;
        }
        let reason = labels.strip_prefix(",reason=\"").and_then(|labels| labels.strip_suffix("\"}"));
        assert!(reason.is_some() == (name == "refusals_total") && (reason.is_some() || labels == "}"));
        let (name, renamed) = match reason {
            Some(reason) => (reason, &REASONS_RENAMED[..]),
            None => (name.strip_suffix("_total").unwrap_or(name), &RENAMED[..]),
        };
        let field = renamed.iter().find(|(exported, _)| *exported == name).map_or(name, |it| it.1);
        let figure = *fields.get(field).unwrap_or_else(|| panic!("{key}: no figure has this name"));
        assert_eq!(*value, if core == "1" { figure } else { 0.0 }, "{key} is not {field}");
        exported.insert(field.to_owned());
    }
    let mut missing: Vec<&String> = fields.keys().filter(|field| !exported.contains(*field)).collect();
    missing.sort_unstable();
    assert_eq!(missing, NOT_EXPORTED);
}

#[test]
fn every_name_of_the_process_and_of_times_has_its_value() {
    let samples = samples();
    for (name, value) in [
        ("uptime_seconds", 11.5),
        ("resident_bytes", 12.0),
        ("connections_max", 13.0),
        ("draining", 1.0),
        ("log_lines_left_out_total", 14.0),
        ("snapshot_age_seconds", 15.5),
        ("snapshot_rooms", 16.0),
        ("snapshot_bytes", 17.0),
        ("snapshot_duration_seconds", 18.5),
        ("snapshot_failures_total", 19.0),
        (concat!("build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}"), 1.0),
    ] {
        assert_eq!(samples.get(name), Some(&value), "{name}");
    }
    for (index, (name, ..)) in TIMES.iter().enumerate() {
        for (suffix, value) in [("count", 100.0 + index as f64), ("sum", 1.0 + index as f64)] {
            let of_core = |core| samples[&format!("{name}_seconds_{suffix}{{core=\"{core}\"}}")];
            assert_eq!([of_core(0), of_core(1)], [0.0, value], "{name} {suffix}");
        }
    }
}
