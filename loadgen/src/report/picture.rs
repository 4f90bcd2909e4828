//! One plot as an SVG file, for pages that can hold pictures only: its colours and its legend are inside.

use super::curves::{self, Plot};
use super::{Named, of_kind, plot};
use crate::result::{CurveResult, MemResult};
use crate::trend::Series;

/// Metrics over a history's commits, each as a percentage of its first value.
pub fn render_trend(series: &[Series]) -> String {
    picture(&curves::by_commit(series))
}

/// A plot of a curve's p99, or of the memory of all results.
pub fn render(results: &[Named]) -> Result<String, String> {
    let curves: Vec<(String, CurveResult)> = of_kind(results, "curve")?;
    let mems: Vec<(String, MemResult)> = of_kind(results, "mem")?;
    match (&curves[..], &mems[..]) {
        ([(_, curve)], []) => Ok(picture(&curves::by_rate(curve, "response p99", |point| point.p99_us))),
        ([], [_, ..]) => Ok(picture(&curves::memory(&mems))),
        _ => Err("an .svg is of one curve, or of memory: give it one result of `curve` or some of `mem`"
            .to_owned()),
    }
}

/// The plot with all it needs to stand alone.
fn picture(it: &Plot) -> String {
    plot::picture(&it.clouds, it.x, it.y)
}
