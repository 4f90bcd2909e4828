//! `loadgen flood`: each attack beside a few victims, briefly. What the selftest's own server does with an attack is
//! not the question here, only that victims lose nothing and that what became of the attackers is told; Downbeat is
//! held to what it promises.

use super::{Folder, LOADGEN, assert_fits, decoy, downbeat, loadgen};
use serde_json::Value;

/// Runs a flood of one round; a busy machine may be late by a second.
fn flood(name: &str, duration: &str, words: &[&str]) -> (Value, Option<i32>) {
    let folder = Folder::new(name);
    let json = folder.path("flood.json");
    let load = ["-c", "4", "--room-size", "2", "-d", duration, "--warmup", "100ms", "--slo", "p99<10s"];
    let output =
        loadgen(&[&["flood"], words, &load, &["--eager", "--rounds", "1", "--json", &json]].concat());
    let text = std::fs::read_to_string(&json).unwrap_or_else(|_| panic!("{words:?}: {output:?}"));
    let result: Value = serde_json::from_str(&text).unwrap();
    assert_fits(&result, "flood.json");
    for round in result["rounds"].as_array().unwrap() {
        let harms = round["harms"].to_string();
        // Whether it kept up is this machine's matter.
        assert!(!harms.contains("messages") && !harms.contains("connections"), "{words:?}: {harms}");
    }
    (result, output.status.code())
}

/// An echo of the selftest's under attack, and what attackers made of it: figures of the last round.
fn beside_echoes(kind: &str, attackers: &str) -> Value {
    let words = [kind, &decoy(""), "--victims", "echo", "--rate", "200", "--attackers", attackers];
    let (result, _) = flood(&format!("flood-{kind}"), "500ms", &words);
    assert_eq!((&result["flood"], &result["victims"]), (&kind.into(), &"echo".into()));
    let round = result["rounds"].as_array().unwrap().last().unwrap().clone();
    assert!(round["figures"]["rss_peak_bytes"].as_f64() > Some(100_000.0), "{round}");
    round
}

#[test]
fn attackers_that_only_stand_there_are_counted_and_stand_to_the_end() {
    for kind in ["silent", "half-open"] {
        let round = beside_echoes(kind, "20");
        for figure in ["attackers_made", "attackers_left"] {
            assert_eq!(round["figures"][figure], 20.0, "{kind}: {figure}");
        }
        assert_eq!(round["ended"], serde_json::json!({}), "this server has no limits");
    }
}

#[test]
fn a_paced_attack_is_as_long_as_the_victims_load_and_no_faster_than_told() {
    for (kind, attackers, each) in
        [("drip", "20", 100.0), ("stalled", "5", 5.0), ("messages", "1", 100_000.0)]
    {
        let per_s = beside_echoes(kind, attackers)["figures"]["attack_per_s"].as_f64().unwrap();
        let told = each * attackers.parse::<f64>().unwrap();
        // A busy machine may hold it back, and an attacker yields its CPU to all others.
        assert!(per_s > 0.0 && per_s < told * 1.2, "{kind}: {per_s} of {told}");
    }
}

#[test]
fn a_tireless_attack_is_answered_or_cut_and_comes_back() {
    let pings = beside_echoes("pings", "2");
    assert!(pings["figures"]["attack_per_s"].as_f64() > Some(1_000.0), "{pings}");
    assert_eq!(pings["ended"], serde_json::json!({}), "this server answers them all");
    for kind in ["empty-fragments", "huge-header"] {
        let round = beside_echoes(kind, "8");
        let ended: u64 = round["ended"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
        let made = round["figures"]["attackers_made"].as_f64().unwrap();
        // Of the headers one in four announces no more than this server takes.
        assert!(ended >= 4 && made > 8.0, "{kind}: {round}");
    }
}

#[test]
fn downbeat_ends_attackers_as_it_promises_and_spares_their_victims() {
    let rooms = downbeat();
    let (too_big, broken) = (["--promise", "close 1009"], ["--promise", "close 1002"]);
    let short = format!("{rooms} --head-timeout-ms 100 --ping-interval-ms 200 --pings-unanswered-max 3");
    let reset = ["--promise", "reset by the server"];
    for (kind, target, duration, promises) in [
        ("empty-fragments", &rooms, "1s", &["--promise", "close 1008"][..]),
        ("huge-header", &rooms, "1s", &[too_big, broken].concat()),
        ("half-open", &short, "1s", &reset),
        // Three pings, and one interval more.
        ("silent", &short, "2s", &reset),
    ] {
        let words = [&[kind, target, "--attackers", "12"], promises].concat();
        let (result, status) = flood(&format!("flood-downbeat-{kind}"), duration, &words);
        let ended = &result["ended"];
        let failures = result["failures"].to_string();
        assert!(!failures.contains("promised"), "{kind}: {failures}; {ended}");
        assert!(matches!(status, Some(0 | 1 | 3)), "{kind}: {status:?}");
        assert!(result["medians"]["settled_ms"].is_number() || status != Some(0), "{kind}: {result}");
    }
}

#[test]
fn joins_of_colliding_and_of_random_codes_are_counted() {
    for kind in ["codes", "random-codes"] {
        let (result, _) = flood(&format!("flood-{kind}"), "500ms", &[kind, &downbeat(), "--attackers", "10"]);
        let figures = &result["rounds"][0]["figures"];
        assert!(
            figures["attack_per_s"].as_f64() > Some(0.0) && figures["attack_heard"].as_f64() > Some(0.0),
            "{figures}"
        );
    }
}

#[test]
fn a_herd_beside_victims_is_back_whole() {
    let words = ["herd", &decoy(""), "--victims", "echo", "--rate", "100", "--attackers", "30"];
    let folder = Folder::new("flood-herd");
    let json = folder.path("flood.json");
    let load = ["-c", "4", "--eager", "-d", "3s", "--warmup", "100ms", "--slo", "p99<10s", "--rounds", "1"];
    let output = loadgen(&[&["flood"], &words[..], &load, &["--json", &json]].concat());
    let result: Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    let figures = &result["rounds"][0]["figures"];
    assert_eq!(
        (figures["attackers_made"].as_f64(), figures["attackers_left"].as_f64()),
        (Some(60.0), Some(30.0)),
        "{output:?}"
    );
}

#[test]
fn a_broken_promise_exits_1_and_no_server_4_and_one_that_dies_5() {
    let status = |words: &[&str]| {
        let load = ["--victims", "echo", "--rounds", "1", "-c", "4", "--slo", "p99<10s", "--warmup", "100ms"];
        let output = loadgen(&[&["flood"], words, &load].concat());
        let line = String::from_utf8(output.stderr).unwrap().lines().last().unwrap_or_default().to_owned();
        (output.status.code(), line, String::from_utf8(output.stdout).unwrap())
    };
    let (code, _, report) =
        status(&["silent", &decoy(""), "--attackers", "3", "--promise", "close 1008", "-d", "300ms"]);
    assert_eq!(code, Some(1), "{report}");
    assert!(report.contains("VERDICT       no: no attacker was ended, promised was: close 1008"), "{report}");
    let (code, line, _) = status(&["silent", "ws://127.0.0.1:1"]);
    assert_eq!(code, Some(4), "{line}");
    let dying = format!("timeout 1 {LOADGEN} decoy --port {{port}}");
    let (code, line, _) = status(&["silent", &dying, "--attackers", "3", "-d", "5s"]);
    assert_eq!(code, Some(5), "{line}");
}

#[test]
fn a_flood_has_its_row_in_a_page() {
    let folder = Folder::new("flood-report");
    let [json, page] = ["flood.json", "page.md"].map(|name| folder.path(name));
    let words = ["flood", "silent", &decoy(""), "--victims", "echo", "--rounds", "1", "--attackers", "3"];
    loadgen(&[&words[..], &["-c", "4", "-d", "300ms", "--slo", "p99<10s", "--json", &json]].concat());
    std::fs::write(&page, "# Ours\n").unwrap();
    assert_eq!(loadgen(&["report", &json, "-o", &page]).status.code(), Some(0));
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.starts_with("# Ours\n") && page.contains("| silent | Decoy | 3 beside 4 |"), "{page}");
}

#[test]
fn wrong_arguments_of_a_flood_are_one_line_and_64() {
    for (words, line) in [
        (&["codes", "ws://127.0.0.1:1", "--victims", "echo"][..], "only rooms have codes"),
        (&["silent", "ws://127.0.0.1:1", "--victims", "idle"], "--victims: rooms or echo"),
        (&["silent", "ws://127.0.0.1:1", "--attack-rate", "5"], "--attack-rate: not here"),
        (&["drip", "ws://127.0.0.1:1", "--attack-rate", "0"], "--attack-rate: above 0"),
        (&["herd", "ws://127.0.0.1:1", "-d", "2s"], "--duration: 3 s at least"),
        (&["pings", "ws://127.0.0.1:1", "--rounds", "0"], "--rounds: at least 1"),
        (&["pings", "ws://127.0.0.1:1", "--attackers", "0"], "--attackers: at least 1"),
        (&["pings", "ws://127.0.0.1:1", "--victims", "echo", "--closed"], "--closed: not here"),
        (&["pings", "nothing"], "not a ws:// URL"),
    ] {
        let output = loadgen(&[&["flood"], words].concat());
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{words:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{words:?}: {error}");
        assert!(error.contains(line), "{words:?}: {error}");
    }
}
