//! RELIABILITY.md beside the settings, the counters and the tests that it names.

use super::settings::SETTINGS;
use super::{Config, Setting};
use crate::admin::documented;
use crate::driver::DriverStats;
use engine::Stats;
use engine::limits::{LATE_MS, PONGS_PENDING_MAX};
use std::collections::HashSet;
use std::path::Path;

const PAGE: &str = include_str!("../../RELIABILITY.md");

/// Defaults that are no number with a unit: the settings, what the page says, and the values.
const IN_WORDS: [(&[&str], &str, &[&str]); 5] = [
    (&["ping_interval_ms", "pings_unanswered_max"], "a ping each 25 s, two unanswered", &["25000", "2"]),
    (&["outboxes_bytes_max"], "a fifth of the memory (of the cgroup) for all cores", &[""]),
    (&["connections_max"], "by RLIMIT_NOFILE, less a reserve", &[""]),
    (&["address_connections_max"], "no limit", &[""]),
    (&["allowed_origins"], "all, with a warning at the start", &["\"all\""]),
];

/// Limits that cannot be set, and how they are shown.
fn constants() -> [(&'static str, &'static str, bool); 2] {
    [("PONGS_PENDING_MAX", "16", PONGS_PENDING_MAX == 16), ("LATE_MS", "1 s", LATE_MS == 1_000)]
}

/// A row of the table: what, setting, default, past it, counter, crossed by, kept clear of by.
fn rows() -> Vec<[&'static str; 7]> {
    let table = PAGE.split("\n## Limits\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let cells = |row: &'static str| row.split(" | ").collect::<Vec<_>>().try_into().unwrap();
    rows.filter(|row| !row.starts_with("---")).skip(1).map(cells).collect()
}

/// What stands between backticks.
fn names(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

fn setting(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

fn default(key: &str) -> String {
    (setting(key).unwrap().show)(&Config::default())
}

/// A default as the setting shows it; `None` if its unit is not the setting's.
fn parsed(key: &str, shown: &str) -> Option<String> {
    let end = shown.find(|c: char| !c.is_ascii_digit() && c != ',').unwrap_or(shown.len());
    let (digits, unit) = shown.split_at(end);
    let kind = ["_ms", "_per_s", "_per_min", "_burst"].into_iter().find(|kind| key.ends_with(kind));
    let kind = kind.unwrap_or(if key.contains("bytes") { "bytes" } else { "" });
    let scale = match (kind, unit) {
        ("_ms", " ms") | ("_per_s", "/s") | ("_per_min", "/min") | ("_burst", " at once") => 1,
        ("_ms", " s") => 1_000,
        ("bytes", " KiB") => 1 << 10,
        ("bytes", " MiB") => 1 << 20,
        ("bytes" | "", "") => 1,
        _ => return None,
    };
    Some((digits.replace(',', "").parse::<u64>().ok()? * scale).to_string())
}

#[test]
fn every_default_on_the_page_is_the_settings() {
    let mut in_words = 0;
    let mut constants_seen = 0;
    for [what, settings, shown, ..] in rows() {
        let keys = names(settings);
        if settings == "-" {
            continue;
        }
        if let Some((name, expected, is_so)) = constants().iter().find(|(name, ..)| keys == [*name]) {
            assert!(shown == *expected && *is_so, "{what}: {name} is not {shown}");
            constants_seen += 1;
            continue;
        }
        if let Some((_, expected, values)) = IN_WORDS.iter().find(|(of, ..)| *of == keys) {
            assert_eq!(shown, *expected, "{what}");
            let defaults: Vec<String> = keys.iter().map(|key| default(key)).collect();
            assert_eq!(defaults, *values, "{what}");
            in_words += 1;
            continue;
        }
        // What stands behind the values is a remark.
        let mut values = shown.split(", ");
        for key in keys {
            let value = values.next().unwrap_or_else(|| panic!("{what}: no value of {key}"));
            assert!(setting(key).is_some(), "{what}: no setting is called {key}");
            assert_eq!(parsed(key, value), Some(default(key)), "{what}: {key} is not {value}");
        }
    }
    assert_eq!((in_words, constants_seen), (IN_WORDS.len(), constants().len()));
}

#[test]
fn every_limit_that_can_be_set_stands_on_the_page_once() {
    let rows = rows();
    let keys: Vec<&str> = rows.iter().flat_map(|[_, settings, ..]| names(settings)).collect();
    let limits = || SETTINGS.iter().filter(|setting| setting.table == "limits");
    for setting in limits().filter(|setting| setting.key != "metered") {
        assert_eq!(keys.iter().filter(|key| **key == setting.key).count(), 1, "{}", setting.key);
    }
    // It bounds nothing by itself, and stands below the table.
    assert!(PAGE.contains("`--metered=false` turns all of them off") && default("metered") == "true");
    assert!(limits().count() > 25);
}

#[test]
fn every_counter_on_the_page_is_one() {
    let driver = format!("{:?}", DriverStats::default());
    let exported = documented();
    for [what, _, _, _, counters, ..] in rows() {
        for counter in counters.split(", ").filter(|counter| *counter != "-") {
            let [name] = names(counter)[..] else { panic!("{what}: {counter}") };
            let is_known = if counter.ends_with('*') {
                driver.contains(&format!(" {name}: "))
            } else {
                Stats::NAMES.contains(&name) || exported.iter().any(|(exported, _)| exported == name)
            };
            assert!(is_known, "{what}: nothing counts {counter}");
        }
    }
}

/// The names of all functions below a folder.
fn functions(folder: &Path, found: &mut HashSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_source = path.extension().is_some_and(|extension| extension == "rs");
        if is_source {
            let text = std::fs::read_to_string(path).unwrap();
            let names = text.lines().filter_map(|line| line.trim_start().strip_prefix("fn "));
            found.extend(names.filter_map(|line| Some(line.split_once(['(', '<'])?.0.to_owned())));
        } else if path.is_dir() {
            functions(&path, found);
        }
    }
}

#[test]
fn every_test_on_the_page_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = HashSet::new();
    for folder in ["src", "tests", "engine", "wire", "sim", "properties"] {
        functions(&root.join(folder), &mut found);
    }
    let figures = format!("{:?}", DriverStats::default());
    let exported = documented();
    // A test is a sentence; types of messages are shorter.
    let is_sentence = |name: &&str| {
        let is_name = name.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '_'));
        is_name && name.matches('_').count() >= 3
    };
    let mut tests = 0;
    for name in names(PAGE).into_iter().filter(is_sentence) {
        if found.contains(name) {
            tests += 1;
            continue;
        }
        let is_counter = Stats::NAMES.contains(&name) || figures.contains(&format!(" {name}: "));
        let is_exported = exported.iter().any(|(exported, _)| exported == name);
        assert!(setting(name).is_some() || is_counter || is_exported, "nothing is called {name}");
    }
    assert!(tests > 60, "{tests}");
}
