use super::*;
use crate::outcome::{Connections, Conservation, Messages};
use crate::result::{Cost, Generator, Machine, Percentiles};
use serde_json::{Value, json};

const NASTY: &str = r#"<b a="x">&'"#;

fn named(name: &str, json: Value) -> Named {
    Named { name: name.to_owned(), json }
}

/// What every kind has.
fn with_host(mut json: Value) -> Value {
    json["host"] = json!(Host::default());
    json["args"] = json!(["run", NASTY]);
    json["version"] = json!("1");
    json["started_unix_s"] = json!(1);
    json
}

fn run(target: &str) -> Value {
    let point = json!({ "second": 0, "connections": 1, "sent": 2, "received": 2, "p50_us": 1.0, "p99_us": 2.0,
        "max_us": 3.0, "rss_bytes": 0 });
    with_host(json!({ "kind": "run", "scenario": "echo", "target": target, "closed_loop": false,
        "connections_asked": 1, "payload_bytes": 20, "duration_s": 1.0, "valid": true, "void_reasons": [],
        "bound": "neither", "offered_per_s": 2.0, "achieved_per_s": 2.0, "messages": Messages::default(),
        "conservation": Conservation::default(), "connections": Connections::default(),
        "latency_us": { "response": Percentiles { count: 2, ..Percentiles::default() } },
        "deadline_miss_ppm": null, "cost": Cost { server_ns_per_message: Some(9_000.0), ..Cost::default() },
        "server": null, "generator": Generator::default(), "machine": Machine::default(), "slo": [],
        "series": [point, point], "response_by_quantile": [[0.0, 10.0], [0.99, 90.0], [1.0, 95.0]], "faults": [NASTY],
        "seed": 1 }))
}

fn every_kind() -> Vec<Named> {
    let server = |title: &str| {
        json!({ "title": title, "trials": 1, "server_ns_per_message": 1.0, "machine_ns_per_message": null,
            "generator_ns_per_message": null, "achieved_per_s": 1.0, "p50_us": 1.0, "p99_us": 1.0, "p99_9_us": 1.0,
            "server_cpu_percent": 1.0, "server_busiest_percent": 1.0, "generator_busiest_percent": 1.0,
            "rss_bytes": 1.0, "server_bound_trials": 0, "skew_p99_us": null, "ratio": 1.0, "ratio_low": 0.9,
            "ratio_high": 1.1, "void_trials": [NASTY] })
    };
    let bench = json!({ "kind": "bench", "name": NASTY, "scenario": "echo", "closed_loop": true, "connections": 1,
        "payload_bytes": 20, "rate_per_s": null, "metric": "deliveries a second", "rounds": 1,
        "servers": [server(NASTY)] });
    let compare = json!({ "kind": "compare", "scenario": "echo", "a": NASTY, "b": "b", "metric": "response p99",
        "unit": "us", "a_values": [1.0, 2.0], "b_values": [2.0, 3.0], "a_median": 1.5, "b_median": 2.5, "ratio": 1.7,
        "ratio_low": 1.5, "ratio_high": 2.0, "p": 0.01, "threshold_percent": 3.0, "verdict": "regressed",
        "void_trials": [NASTY] });
    let search_run =
        json!({ "holds": false, "p50_us": 1.0, "p99_us": 0.0, "bound": "server", "reason": NASTY });
    let search = json!({ "kind": "search", "scenario": "echo", "target": NASTY, "slo": ["p99<1ms"],
        "points": [{ "rate_per_s": 10.0, "holds": false, "runs": [search_run] }], "highest_per_s": null });
    let step = |connections: usize| json!({ "connections": connections, "rss_bytes": 5_000 + connections, "slab_bytes": 9_000, "tcp_buffer_bytes": 0 });
    let mem = json!({ "kind": "mem", "target": NASTY, "profile": "echo", "steps": [step(0), step(10)],
        "user_bytes_per_connection": 1.0, "kernel_bytes_per_connection": -1.0 });
    let start = json!({ "kind": "start", "target": NASTY, "profile": "echo", "times_us": [1.0, 2.0, 3.0], "median_us": 2.0 });
    let others = [("bench", bench), ("compare", compare), ("search", search), ("mem", mem), ("start", start)];
    let others = others.into_iter().map(|(name, json)| named(name, with_host(json)));
    [named("run", run(NASTY))].into_iter().chain(others).collect()
}

#[test]
fn every_kind_is_on_a_page_that_needs_nothing_from_elsewhere_and_runs_nothing() {
    let page = render(&every_kind()).unwrap();
    let plots = [
        "Response by percentile",
        "CPU time for each delivery",
        "over time",
        "higher is better",
        "void trials, which do not count: 1",
        "Ratio",
        "Trials",
        "no rate holds",
        "Memory",
        "Time to start",
        "Machine and versions",
    ];
    for part in plots {
        assert!(page.contains(part), "{part}");
    }
    for forbidden in ["<b a", "<script", "src=", "http://", "https://", "<link", "url(", "NaN", "inf\""] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
}

#[test]
fn each_kind_is_a_page_alone() {
    for it in every_kind() {
        let name = it.name.clone();
        assert!(render(&[it]).is_ok_and(|page| page.contains("<h2>")), "{name}");
    }
    assert!(render(&[]).is_ok());
}

#[test]
fn void_runs_and_losses_are_said_in_words_and_come_last() {
    let mut void = run("cheap");
    (void["valid"], void["void_reasons"]) = (json!(false), json!(["stolen <time>"]));
    void["cost"]["server_ns_per_message"] = json!(1.0);
    void["messages"]["lost"] = json!(12);
    let page = render(&[named("a", void), named("b", run("dear"))]).unwrap();
    assert!(page.contains("a is void</strong>: stolen &lt;time&gt;"), "{page}");
    assert!(page.contains("<strong>a</strong>: 12 messages lost"), "{page}");
    let costs = page.split_once("CPU time for each delivery").unwrap().1;
    assert!(costs.find("b: dear").unwrap() < costs.find("a: cheap (void)").unwrap());
}

#[test]
fn a_file_that_is_not_what_it_says_is_one_line() {
    for (kind, said) in [("run", "missing field"), ("walk", "kind is \"walk\", not one of run, bench")] {
        let error = render(&[named("a", json!({ "kind": kind }))]).unwrap_err();
        assert!(error.starts_with("a: ") && error.contains(said) && error.lines().count() == 1, "{error}");
    }
    assert!(render(&[named("a", json!([]))]).unwrap_err().starts_with("a: kind is null"));
}

#[test]
fn results_of_different_machines_are_pointed_out() {
    let mut other = run("x");
    other["host"]["cpus"] = json!(64);
    let page = render(&[named("a", run("x")), named("b", other)]).unwrap();
    assert!(page.contains("different machines or versions"));
}
