//! Comparisons: the ratio with its interval, and the trials it is from.

use super::{better, figure};
use crate::report::plot::{self, Axis, Effect, Scale, Strip};
use crate::report::svg::escape;
use crate::report::text;
use crate::result::{CompareResult, Verdict};
use std::fmt::Write;

pub fn write_compares(out: &mut String, compares: &[(String, CompareResult)]) {
    for (name, it) in compares {
        write_compare(out, name, it);
    }
}

fn write_compare(out: &mut String, name: &str, it: &CompareResult) {
    let verdict = it.verdict.name();
    let _ = writeln!(
        out,
        "<section><h2>{}</h2><p class=\"verdict {verdict}\">{verdict}: {} of B is {:.3} of A's \
         (95 %: {:.3} to {:.3}; p {:.4}; threshold {} %)</p><p>{}<br>A {}<br>B {}</p>",
        escape(name),
        escape(&it.metric),
        it.ratio,
        it.ratio_low,
        it.ratio_high,
        it.p,
        it.threshold_percent,
        escape(&it.scenario),
        escape(&it.a),
        escape(&it.b)
    );
    if !it.void_trials.is_empty() {
        let items: String = it.void_trials.iter().map(|it| format!("<li>{}</li>", escape(it))).collect();
        let count = it.void_trials.len();
        let _ =
            writeln!(out, "<ul class=\"warnings\"><li>void trials, played again: {count}</li>{items}</ul>");
    }
    let effect = Effect {
        label: it.metric.clone(),
        ratio: it.ratio,
        low: it.ratio_low,
        high: it.ratio_high,
        class: match it.verdict {
            Verdict::Regressed => "bad",
            Verdict::Improved | Verdict::Equivalent => "good",
            Verdict::Inconclusive => "unsure",
        },
        note: format!("{:.3} {verdict}", it.ratio),
    };
    let hint = format!("{}; shaded: within the threshold of {} %", better(&it.metric), it.threshold_percent);
    let plot = plot::forest(&[effect], it.threshold_percent / 100.0, "B over A, with its 95 % interval");
    figure(out, "Ratio", &hint, &plot);
    write_trials(out, it);
    out.push_str("</section>\n");
}

fn write_trials(out: &mut String, it: &CompareResult) {
    let show = shown(&it.unit);
    let strip = |label: &str, values: &[f64], median: f64| Strip {
        label: label.to_owned(),
        values: values.to_vec(),
        median,
        note: format!("median {}", show(median)),
    };
    let title = format!("{}, one dot a trial", it.metric);
    let scale = Scale::log(it.a_values.iter().chain(&it.b_values).copied());
    let strips = [strip("A", &it.a_values, it.a_median), strip("B", &it.b_values, it.b_median)];
    figure(out, "Trials", better(&it.metric), &plot::strips(&strips, Axis { title: &title, scale, show }));
}

/// How a number of this unit is written; the names are `Metric::unit`'s.
fn shown(unit: &str) -> fn(f64) -> String {
    match unit {
        "ns" => |ns| text::cost(Some(ns)),
        "us" => text::time,
        "bytes" => text::bytes,
        _ => text::count,
    }
}
