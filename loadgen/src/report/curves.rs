//! What plots of lines are made of, for the page and for pictures.

use super::plot::{Axis, Cloud, Mark, Scale};
use super::text;
use crate::result::{CurvePoint, CurveResult, MemResult};
use crate::trend::Series;

/// What a plot is made of.
pub struct Plot {
    pub clouds: Vec<Cloud>,
    pub x: Axis<'static>,
    pub y: Axis<'static>,
}

/// A line. Those beyond the last colour begin anew with another mark.
fn line(number: usize, label: String, points: Vec<(f64, f64)>) -> Cloud {
    const COLOURS: [&str; 6] = ["c0", "c1", "c2", "c3", "c4", "c5"];
    let mark = if number < COLOURS.len() { Mark::Dot } else { Mark::Cross };
    Cloud { label, class: COLOURS[number % COLOURS.len()], mark, is_joined: true, points }
}

/// One percentile of each server by rate; the knees are ringed.
pub fn by_rate(
    result: &CurveResult,
    title: &'static str,
    percentile: fn(&CurvePoint) -> Option<f64>,
) -> Plot {
    let mut clouds = Vec::new();
    let mut knees = Vec::new();
    for (i, server) in result.servers.iter().enumerate() {
        let points: Vec<(f64, f64)> =
            server.points.iter().filter_map(|it| Some((it.rate_per_s, percentile(it)?))).collect();
        knees.extend(points.iter().copied().filter(|point| Some(point.0) == server.knee_per_s));
        clouds.push(line(i, server.title.clone(), points));
    }
    let all = || clouds.iter().flat_map(|cloud| &cloud.points);
    let x = Axis {
        title: "messages a second offered",
        scale: Scale::from_zero(all().map(|it| it.0)),
        show: text::count,
    };
    let y = Axis { title, scale: Scale::log(all().map(|it| it.1)), show: text::time };
    let label = "knee".to_owned();
    clouds.push(Cloud { label, class: "ink", mark: Mark::Ringed, is_joined: false, points: knees });
    Plot { clouds, x, y }
}

/// Resident memory of each server by connections.
pub fn memory(results: &[(String, MemResult)]) -> Plot {
    let clouds: Vec<Cloud> = results
        .iter()
        .enumerate()
        .map(|(i, (_, it))| {
            let points = it.steps.iter().map(|step| (step.connections as f64, step.rss_bytes as f64));
            line(i, format!("{} ({})", it.target, it.profile), points.collect())
        })
        .collect();
    let all = || clouds.iter().flat_map(|cloud| &cloud.points);
    let x =
        Axis { title: "connections, idle", scale: Scale::from_zero(all().map(|it| it.0)), show: text::count };
    let y =
        Axis { title: "resident memory", scale: Scale::bytes_log(all().map(|it| it.1)), show: text::bytes };
    Plot { clouds, x, y }
}

/// Metrics by commit, each as a percentage of its first value.
pub fn by_commit(series: &[Series]) -> Plot {
    let percent = |series: &Series| -> Vec<(f64, f64)> {
        let first = series.points[0].1;
        let points = series.points.iter().enumerate();
        points
            .map(|(i, point)| (i as f64 + 1.0, if first == 0.0 { 100.0 } else { point.1 / first * 100.0 }))
            .collect()
    };
    let series = series.iter().enumerate();
    let clouds: Vec<Cloud> = series.map(|(i, it)| line(i, it.metric.to_owned(), percent(it))).collect();
    let all = || clouds.iter().flat_map(|cloud| &cloud.points);
    let x = Axis {
        title: "commit, oldest first",
        scale: Scale::from_zero(all().map(|it| it.0)),
        show: text::count,
    };
    let y = Axis {
        title: "% of its first value",
        scale: Scale::from_zero(all().map(|it| it.1)),
        show: text::count,
    };
    Plot { clouds, x, y }
}
