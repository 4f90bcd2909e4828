use super::*;
use expect_test::expect;

fn result() -> Value {
    serde_json::json!({
        "valid": true, "cost": { "server_ns_per_message": 9_000.0 }, "latency_us": { "response": { "p99": 800.0 } }
    })
}

fn costs() -> Value {
    serde_json::json!({ "kind": "costs", "metrics": { "a.one": 101.0, "a.two": 103.0, "a.new": 7.004, "b": 0.0 } })
}

const BUDGET: &str = "\
# Why it is so.
\"a.gone\" = { value = 3 }
\"a.one\" = { value = 100, percent = 1 } # nearly
\"a.two\" = { value = 100, percent = 1, absolute = 1.5 }
b = { value = 0.5, absolute = 0.1 }

[defaults]
\"a.\" = { percent = 1 }
\"a.new\" = { percent = 2 }
";

fn passes(values: &Value, budget: &str) -> Result<bool, String> {
    let rows = judge(values, &Budget::parse(budget)?, |_| true)?;
    Ok(render(&rows, values["valid"].as_bool().unwrap_or(true), &Value::Null).1)
}

#[test]
fn a_budget_is_kept_broken_or_wrong() {
    let judged = |budget: &str| passes(&result(), budget);
    assert_eq!(judged("'cost.server_ns_per_message' = { max = 9000 }"), Ok(true));
    assert_eq!(judged("'cost.server_ns_per_message' = { value = 8600, percent = 5 }"), Ok(true));
    assert_eq!(judged("'cost.server_ns_per_message' = { value = 8500, percent = 5 }"), Ok(false));
    assert_eq!(judged("'latency_us.response.p99' = { max = 799.5 }"), Ok(false));
    assert_eq!(judged("'latency_us.response.p99' = { min = 801 }"), Ok(false));
    assert!(judged("'latency_us.p99' = { max = 1 }").unwrap_err().contains("no such number"));
    assert!(judged("'valid' = { max = 1 }").is_err());
    assert!(judged("").is_err());
    assert!(judged("'latency_us.response.p99' = {}").unwrap_err().contains("neither"));
    assert!(judged("'latency_us.response.p99' = { most = 1 }").is_err());
}

#[test]
fn a_void_run_never_passes() {
    let values = serde_json::json!({ "valid": false, "void_reasons": ["late"], "n": 1 });
    assert_eq!(passes(&values, "n = { max = 2 }"), Ok(false));
}

#[test]
fn costs_without_a_budget_and_budgets_without_a_cost_fail() {
    let rows = judge(&costs(), &Budget::parse(BUDGET).unwrap(), |_| true).unwrap();
    let (table, passes) = render(&rows, true, &Value::Null);
    assert!(!passes);
    expect![[r#"
        metric                                             budget            now    change
        a.gone                                               3.00              -            NOT MEASURED
        a.one                                                 100            101    +1.0 %
        a.two                                                 100            103    +3.0 %  OVER BUDGET
        b                                                    0.50           0.00  -100.0 %  better
        a.new                                                   -           7.00            NO BUDGET
        3 of 5 metrics are not within budget
        1 are better than their budget: update it, or they can be lost again unseen
    "#]]
    .assert_eq(&table);
    let only = judge(&costs(), &Budget::parse(BUDGET).unwrap(), |metric| metric == "a.one").unwrap();
    assert!(render(&only, true, &Value::Null).1);
}

#[test]
fn an_update_changes_what_is_off_and_says_why() {
    let rows = judge(&costs(), &Budget::parse(BUDGET).unwrap(), |_| true).unwrap();
    let text = budget::rewrite(BUDGET, &changes(&rows), "a second \"copy\" is needed", "2026-11-23").unwrap();
    expect![[r#"
        # Why it is so.
        "a.one" = { value = 100, percent = 1 } # nearly
        "a.two" = { value = 103.0, percent = 1, absolute = 1.5 }
        b = { value = 0.0, absolute = 0.1 }
        "a.new" = { value = 7.0, percent = 2.0 }

        [defaults]
        "a." = { percent = 1 }
        "a.new" = { percent = 2 }

        [[accepted]]
        date = "2026-11-23"
        reason = 'a second "copy" is needed'
        changes = [
            "a.gone: 3 to none",
            "a.new: none to 7",
            "a.two: 100 to 103",
            "b: 0.5 to 0",
        ]
    "#]]
    .assert_eq(&text);
    assert_eq!(passes(&costs(), &text), Ok(true));
}
