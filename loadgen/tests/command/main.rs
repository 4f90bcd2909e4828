//! The command as people and CI use it, against the selftest's own server and, where rooms are spoken,
//! Downbeat: results, statuses, files.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod floods;

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

const LOADGEN: &str = env!("CARGO_BIN_EXE_loadgen");

fn loadgen(words: &[&str]) -> Output {
    Command::new(LOADGEN).args(words).output().unwrap()
}

/// A folder of the test's own.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("loadgen-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn decoy(faults: &str) -> String {
    format!("Decoy={LOADGEN} decoy --port {{port}} {faults}")
}

/// Downbeat, which `cargo test --workspace` has built beside the generator; built here if only this package is
/// tested.
fn downbeat() -> String {
    static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
        let folder = Path::new(LOADGEN).parent().unwrap();
        let program = folder.join("downbeat");
        if !program.exists() {
            let mut words = vec!["build", "--quiet", "-p", "downbeat", "--bin", "downbeat", "--target-dir"];
            words.push(folder.parent().unwrap().to_str().unwrap());
            if !cfg!(debug_assertions) {
                words.push("--release");
            }
            assert!(Command::new(env!("CARGO")).args(words).status().unwrap().success());
        }
        program
    });
    format!("Downbeat={} --host 127.0.0.1 --port {{port}} --cores 2 --metered=false", PROGRAM.display())
}

/// Runs chatter in rooms of 8, 8 and 4.
fn run_chatter(words: &[&str], json: &str) -> Value {
    let target = downbeat();
    let load = ["-q", "-c", "20", "--room-size", "8", "-d", "600ms", "--warmup", "100ms", "--json", json];
    let output = loadgen(&[&["run", "chatter", &target], words, &load].concat());
    let text = std::fs::read_to_string(json).unwrap_or_else(|_| panic!("{output:?}"));
    let result: Value = serde_json::from_str(&text).unwrap();
    assert_fits_schema(&result);
    for key in ["in_flight", "lost", "duplicated", "reordered", "corrupt"] {
        assert_eq!(result["messages"][key], 0, "{key}: {result}");
    }
    assert_eq!(result["conservation"]["owed"], result["conservation"]["delivered"]);
    result
}

/// Runs a short load; an unoptimised generator beside other tests may be late, which is not what is tested.
fn run(words: &[&str], json: &str) -> (Value, Output) {
    let mut all = vec!["run", "echo"];
    all.extend(words);
    all.extend(["-q", "-c", "8", "--rate", "400", "-d", "600ms", "--warmup", "100ms", "--json", json]);
    let output = loadgen(&all);
    let text = std::fs::read_to_string(json).unwrap_or_else(|_| panic!("{output:?}"));
    (serde_json::from_str(&text).unwrap(), output)
}

fn assert_fits_schema(result: &Value) {
    assert_fits(result, "result.json");
}

fn assert_fits(result: &Value, schema: &str) {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema").join(schema);
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(schema).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> =
        validator.iter_errors(result).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

#[test]
fn a_result_fits_its_schema_and_every_message_is_accounted_for() {
    let folder = Folder::new("schema");
    let (result, output) = run(&[&decoy(""), "--slo", "p99<10s"], &folder.path("result.json"));
    assert_fits_schema(&result);
    // 400 a second for 0.7 s; on a busy machine the last ones may still wait for their turn.
    let sent = result["messages"]["sent"].as_u64().unwrap();
    assert!((200..=280).contains(&sent), "{sent}: {output:?}");
    assert_eq!(result["messages"]["received"], sent);
    assert_eq!(result["conservation"]["owed"], result["conservation"]["delivered"]);
    // 0.1 s of it is warm-up.
    let measured = result["latency_us"]["response"]["count"].as_u64().unwrap();
    assert!(measured <= 240 && measured + 40 >= sent, "{measured} of {sent}");
    assert_eq!(result["slo"][0]["holds"], true);
    assert!(result["server"]["rss_bytes"].as_u64().unwrap() > 100_000);
    let report = String::from_utf8(output.stdout).unwrap();
    let titles = [
        "run ",
        "VALID ",
        "BOUND ",
        "rate ",
        "messages ",
        "response ",
        "service ",
        "lag ",
        "cost ",
        "memory ",
        "SLO ",
        "file ",
    ];
    let places: Vec<usize> = titles.iter().map(|it| report.find(&format!("\n{it}")).unwrap_or(0)).collect();
    assert!(places.is_sorted(), "{report}");
}

#[test]
fn in_a_closed_chatter_everyone_in_a_room_hears_everyone_in_every_round() {
    let folder = Folder::new("chatter-closed");
    for workers in ["1", "2"] {
        let result = run_chatter(&["--closed", "--threads", workers], &folder.path("result.json"));
        let number = |group: &str, key: &str| result[group][key].as_u64().unwrap();
        // Whole rounds of rooms of 8 and 4.
        assert!(number("conservation", "events") >= 100, "{result}");
        assert_eq!(number("conservation", "events") % 4, 0);
        assert_eq!(number("conservation", "owed") % 16, 0);
        // Of 20, each also joins, hears that, and is told what plays.
        assert_eq!(number("messages", "sent"), number("conservation", "events") + 20);
        assert!(number("messages", "received") >= number("conservation", "owed") + 40);
        assert!(result["latency_us"]["skew"]["count"].as_u64().unwrap() > 0);
        let reasons = result["void_reasons"].to_string();
        assert!(!reasons.contains("account") && !reasons.contains("messages"), "{reasons}");
    }
}

#[test]
fn an_open_chatter_is_paced_over_its_speakers_and_owes_nothing_to_those_that_do_not_read() {
    let folder = Folder::new("chatter-open");
    let words = ["--rate", "300", "--speakers", "2", "--slow-share", "25"];
    let result = run_chatter(&words, &folder.path("result.json"));
    let number = |group: &str, key: &str| result[group][key].as_u64().unwrap();
    assert_eq!(number("connections", "stalled"), 2 + 2 + 1);
    // 300 a second for 0.7 s, less if this machine is busy, over two speakers of each room in turn: 6, 6 and 3
    // hear them.
    let events = number("conservation", "events");
    assert!((150..=210).contains(&events), "{result}");
    assert!(number("conservation", "owed").abs_diff(events * 5) <= 5, "{result}");
    let offered = result["offered_per_s"].as_f64().unwrap();
    assert!((offered - 1_500.0).abs() < 1.0, "{offered}");
}

#[test]
fn a_storm_costs_the_server_something_for_each_connection() {
    let folder = Folder::new("storm");
    let json = folder.path("result.json");
    let words = ["--profile", "rooms", "-q", "-c", "40", "-d", "600ms", "--json", &json];
    let output = loadgen(&[&["run", "connect-storm", &downbeat()], &words[..]].concat());
    let text = std::fs::read_to_string(&json).unwrap_or_else(|_| panic!("{output:?}"));
    let result: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(result["connections"]["open"], 40);
    assert_eq!(result["latency_us"]["connect"]["count"], 40);
    let cost = &result["cost"]["server_ns_per_message"];
    assert!(cost.as_f64().is_some_and(|it| it > 1_000.0), "{output:?}");
}

#[test]
fn a_result_that_lacks_a_key_does_not_fit() {
    let folder = Folder::new("schema-lacks");
    let (mut result, _) = run(&[&decoy("")], &folder.path("result.json"));
    result["messages"].as_object_mut().unwrap().remove("lost");
    let outcome = std::panic::catch_unwind(|| assert_fits_schema(&result));
    assert!(outcome.is_err());
}

#[test]
fn lost_messages_void_a_run_and_it_exits_3() {
    let folder = Folder::new("void");
    let (result, output) = run(&[&decoy("--drop 100"), "--depth", "1000"], &folder.path("result.json"));
    assert_fits_schema(&result);
    let lost = result["messages"]["lost"].as_u64().unwrap();
    assert!((2..=3).contains(&lost), "every 100th of 280: {result}");
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8(output.stdout).unwrap().contains("messages were lost"));
}

#[test]
fn a_broken_slo_exits_1_unless_the_run_is_void() {
    let folder = Folder::new("slo");
    let (result, output) = run(&[&decoy(""), "--slo", "p50<1us"], &folder.path("result.json"));
    let expected = if result["valid"] == true { 1 } else { 3 };
    assert_eq!(
        (result["slo"][0]["holds"].clone(), output.status.code()),
        (Value::Bool(false), Some(expected))
    );
}

#[test]
fn a_seed_repeats_and_is_told() {
    let folder = Folder::new("seed");
    let (result, _) = run(&[&decoy(""), "--seed", "42"], &folder.path("result.json"));
    assert_eq!(result["seed"], 42);
    assert!(result["args"].as_array().unwrap().contains(&"--seed".into()));
}

#[test]
fn a_closed_loop_keeps_its_depth_in_flight_and_obeys_littles_law() {
    let folder = Folder::new("closed");
    let json = folder.path("result.json");
    let words = [
        "run",
        "echo",
        &decoy(""),
        "-q",
        "-c",
        "4",
        "--closed",
        "--depth",
        "8",
        "-d",
        "500ms",
        "--warmup",
        "100ms",
        "--json",
        &json,
    ];
    let output = loadgen(&words);
    let result: Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    let rate = result["achieved_per_s"].as_f64().unwrap();
    let latency_s = result["latency_us"]["service"]["mean"].as_f64().unwrap() / 1e6;
    assert!((rate * latency_s / 32.0 - 1.0).abs() < 0.1, "{rate}/s × {latency_s} s; {output:?}");
    let reasons = result["void_reasons"].to_string();
    assert!(!reasons.contains("Little"), "{reasons}");
}

#[test]
fn histograms_and_reports_are_written() {
    let folder = Folder::new("files");
    let (json, stem, page, table) =
        (folder.path("a.json"), folder.path("a"), folder.path("a.html"), folder.path("a.md"));
    run(&[&decoy(""), "--hdr", &stem], &json);
    for name in ["a-response.hgrm", "a-service.hgrm", "a-lag.hgrm", "a.hlog"] {
        assert!(folder.0.join(name).exists(), "{name}");
    }
    for output in [&page, &table] {
        assert_eq!(loadgen(&["report", &json, "-o", output]).status.code(), Some(0));
    }
    assert!(std::fs::read_to_string(page).unwrap().contains("<svg"));
    assert!(std::fs::read_to_string(table).unwrap().contains("| echo | Decoy |"));
}

#[test]
fn a_gate_passes_fails_or_says_what_is_wrong() {
    let folder = Folder::new("gate");
    let (json, budget) = (folder.path("a.json"), folder.path("budget.toml"));
    let (mut result, _) = run(&[&decoy("")], &json);
    // What this machine's load made of the run is not the gate's matter.
    result["valid"] = true.into();
    std::fs::write(&json, result.to_string()).unwrap();
    for (text, status) in [
        ("'messages.lost' = { max = 0 }", 0),
        ("'latency_us.response.p50' = { max = 0.001 }", 1),
        ("'nothing' = { max = 1 }", 64),
        ("=", 64),
    ] {
        std::fs::write(&budget, text).unwrap();
        let output = loadgen(&["gate", &json, "--budget", &budget]);
        assert_eq!(output.status.code(), Some(status), "{text}: {output:?}");
    }
}

#[test]
fn a_budget_is_updated_with_a_reason_and_without_one_is_not() {
    let folder = Folder::new("update");
    let (json, budget) = (folder.path("costs.json"), folder.path("budget.toml"));
    std::fs::write(&json, r#"{ "kind": "costs", "metrics": { "a.one": 110, "a.two": 5 } }"#).unwrap();
    std::fs::write(&budget, "# Ours.\n'a.one' = { value = 100, percent = 1 }\n").unwrap();
    let gate = |more: &[&str]| {
        let output = loadgen(&[&["gate", &json, "--budget", &budget], more].concat());
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (status, table) = gate(&[]);
    assert_eq!(status, Some(1));
    assert!(table.contains("+10.0 %  OVER BUDGET") && table.contains("NO BUDGET"), "{table}");
    assert_eq!(gate(&["--update", " "]).0, Some(64));
    assert_eq!(gate(&["--update", "it buys sync"]).0, Some(0));
    assert_eq!(gate(&[]).0, Some(0));
    let text = std::fs::read_to_string(&budget).unwrap();
    assert!(text.starts_with("# Ours.\n'a.one' = { value = 110.0, percent = 1 }"), "{text}");
    assert!(text.contains("reason = \"it buys sync\""), "{text}");
}

#[test]
fn a_history_is_recorded_and_its_change_named_by_its_commit() {
    let folder = Folder::new("history");
    let [json, history, page, picture] =
        ["costs.json", "history.ndjson", "page.html", "picture.svg"].map(|name| folder.path(name));
    let record = |commit: &str, instructions: u32| {
        let costs = format!(r#"{{ "kind": "costs", "metrics": {{ "instructions.ping": {instructions} }} }}"#);
        std::fs::write(&json, costs).unwrap();
        let words = ["--commit", commit, "--subject", "engine: <b>", "--committed", "1700000000"];
        loadgen(&[&["record", &json, "--history", &history][..], &words].concat()).status.code()
    };
    for (commit, instructions) in [("aaaa1111", 100), ("bbbb2222", 100), ("cccc3333", 105), ("dddd4444", 105)]
    {
        assert_eq!(record(commit, instructions), Some(0));
    }
    assert_eq!(record("dddd4444", 105), Some(64), "a commit has one line");
    let trend = |more: &[&str]| loadgen(&[&["trend", &history], more].concat());
    let output = trend(&["-o", &page]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(text.contains("cccc3333 engine: <b>\n    instructions.ping "), "{text}");
    assert!(text.contains("+5.0 %  worse"), "{text}");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(
        page.contains("cccc3333") && page.contains("engine: &lt;b&gt;") && page.contains("<svg"),
        "{page}"
    );
    assert_eq!(trend(&["--since", "bbbb", "-o", &picture]).status.code(), Some(1));
    assert_eq!(trend(&["--since", "cccc"]).status.code(), Some(0));
    assert_eq!(trend(&["--since", "eeee"]).status.code(), Some(64));
    let picture = std::fs::read_to_string(picture).unwrap();
    assert!(picture.starts_with("<svg xmlns=") && picture.contains("instructions.ping"), "{picture}");
}

#[test]
fn a_curve_has_a_point_for_each_rate_and_a_picture() {
    let folder = Folder::new("curve");
    let [json, picture, table] = ["curve.json", "curve.svg", "curve.md"].map(|name| folder.path(name));
    let load = ["-c", "4", "-d", "300ms", "--warmup", "50ms", "--slo", "p99<10s", "--rounds", "1"];
    let words = ["curve", "echo", &decoy(""), "--rates", "100,200", "--json", &json];
    let output = loadgen(&[&words[..], &load].concat());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let curve: Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    let points = curve["servers"][0]["points"].as_array().unwrap();
    // A busy machine may void a rate, and the next one is not asked for then.
    assert!(points.len() == 2 || points[0]["trials"] == 0, "{curve}");
    assert_eq!(points[0]["rate_per_s"], 100.0);
    for output in [&picture, &table] {
        assert_eq!(loadgen(&["report", &json, "-o", output]).status.code(), Some(0));
    }
    assert!(std::fs::read_to_string(picture).unwrap().starts_with("<svg xmlns="));
    assert!(std::fs::read_to_string(table).unwrap().contains("| server | 100/s |"));
    assert_eq!(loadgen(&["curve", "echo", &decoy(""), "--rates", "200,100"]).status.code(), Some(64));
}

#[test]
fn a_check_finds_what_a_server_does_wrong() {
    let output = loadgen(&["check", &decoy("--corrupt 2")]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("FAIL  binary of every form of length comes back"), "{text}");
    assert!(text.contains("ok    the upgrade is answered with the right accept key"), "{text}");
}

#[test]
fn wrong_arguments_are_one_line_and_64() {
    for (words, line) in [
        (&["run", "echo", "ws://127.0.0.1:1", "--payload", "19"][..], "--payload: at least 20"),
        (&["run", "broadcast", "ws://127.0.0.1:1", "-c", "9000"], "at most 8192 connections"),
        (&["run", "idle", "ws://127.0.0.1:1", "--closed"], "--closed: for echo, broadcast and chatter only"),
        (&["run", "echo", "ws://127.0.0.1:1", "--speakers", "1"], "--speakers: for chatter only"),
        (&["run", "chatter", "ws://127.0.0.1:1", "--profile", "echo"], "--profile: chatter"),
        (&["run", "chatter", "ws://127.0.0.1:1", "ws://127.0.0.1:2"], "chatter: one target"),
        (&["run", "chatter", "ws://127.0.0.1:1", "--speakers", "21"], "has 20 members that read"),
        (&["run", "echo", "wss://127.0.0.1:1"], "TLS is not spoken here"),
        (&["run", "echo", "ws://127.0.0.1:1", "--cpus", "4095"], "--cpus: 4095"),
        (&["search", "echo", "ws://127.0.0.1:1"], "--slo"),
        (&["compare", "a", "b", "--pairs", "5"], "--pairs: at least 6"),
        (&["mem", "ws://127.0.0.1:1", "--steps", "1,x"], "--steps: x"),
        (&["report", "/nonexistent.json"], "/nonexistent.json"),
    ] {
        let output = loadgen(words);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{words:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{words:?}: {error}");
        assert!(error.contains(line), "{words:?}: {error}");
    }
}
