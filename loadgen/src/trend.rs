//! `trend`: where in a history a cost changed for good, and with which commit.
//!
//! Change points are found by E-divisive means (Matteson and James 2014): the split with the greatest energy distance
//! between what is before and after, then each part again. A split counts if Welch's t-test says so, as in Apache
//! Otava, rather than by permutations: counted costs hardly vary, and two of them on each side are enough.

use crate::args::TrendArgs;
use crate::exit::{Exit, Failure};
use crate::history::{self, Line};
use crate::report::{html, picture};
use statrs::distribution::{ContinuousCDF, StudentsT};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// A split by chance is as rare as this: with a hundred metrics of a hundred commits, one in ten histories.
const P_MAX: f64 = 0.001;
/// On either side of a split. What one measurement says, the gate and the pair are for.
const SIDE_MIN: usize = 2;

/// A metric's values on one class of machine, in the history's order.
pub struct Series<'a> {
    pub machine: &'a str,
    pub metric: &'a str,
    pub points: Vec<(&'a Line, f64)>,
    pub changes: Vec<Change>,
}

/// Where a series changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// The first point of what is new.
    pub at: usize,
    /// Means on both sides, to the next change.
    pub before: f64,
    pub after: f64,
    /// Two-sided, of Welch's t-test.
    pub p: f64,
}

impl Change {
    pub fn ratio(&self) -> f64 {
        if self.before == 0.0 { f64::INFINITY } else { self.after / self.before }
    }

    pub fn is_worse(&self) -> bool {
        self.after > self.before
    }
}

pub fn trend(args: &TrendArgs) -> Result<(String, Exit), Failure> {
    let lines = history::read(&args.history)?;
    if lines.is_empty() {
        return Err(Failure::usage(format!("{}: no line", args.history.display())));
    }
    let since = match &args.since {
        None => None,
        Some(commit) => {
            Some(lines.iter().position(|line| line.commit.starts_with(commit.as_str())).ok_or_else(|| {
                Failure::usage(format!("--since: {commit} is not in {}", args.history.display()))
            })?)
        }
    };
    let all = series(&lines, args);
    if all.is_empty() {
        return Err(Failure::usage("no metric begins so"));
    }
    if let Some(path) = &args.output {
        let is_picture = path.extension().is_some_and(|extension| extension == "svg");
        let page = if is_picture { picture::render_trend(&all) } else { html::trend::render(&all) };
        std::fs::write(path, page).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
    }
    let is_after = |line: &Line| since.is_none_or(|since| !lines[..=since].contains(line));
    let mut is_worse = false;
    let mut found: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for it in &all {
        for change in &it.changes {
            let line = it.points[change.at].0;
            is_worse |= change.is_worse() && is_after(line);
            let number = lines.iter().position(|other| other == line).unwrap_or(0);
            found.entry(number).or_default().push(describe(it, change));
        }
    }
    let mut out = format!("{} commits, {} metrics\n", lines.len(), all.len());
    for (number, changes) in &found {
        let _ = writeln!(out, "{} {}", short(&lines[*number].commit), lines[*number].subject);
        changes.iter().for_each(|change| out += change);
    }
    if found.is_empty() {
        out += "no change\n";
    }
    Ok((out, if since.is_some() && is_worse { Exit::No } else { Exit::Fine }))
}

fn describe(series: &Series, change: &Change) -> String {
    let verdict = if change.is_worse() { "worse" } else { "better" };
    format!(
        "    {:<36} {:>12.2} -> {:>12.2}  {:>+7.1} %  {verdict}, p {:.1e}\n",
        series.metric,
        change.before,
        change.after,
        (change.ratio() - 1.0) * 100.0,
        change.p
    )
}

/// As git shortens it.
pub fn short(commit: &str) -> &str {
    commit.get(..8).unwrap_or(commit)
}

/// Each metric of each class of machine.
fn series<'a>(lines: &'a [Line], args: &TrendArgs) -> Vec<Series<'a>> {
    let is_asked = |metric: &str| args.only.is_empty() || args.only.iter().any(|it| metric.starts_with(it));
    let keys: BTreeSet<(&str, &str)> = lines
        .iter()
        .flat_map(|line| line.metrics.keys().map(move |metric| (line.machine.as_str(), metric.as_str())))
        .filter(|(_, metric)| is_asked(metric))
        .collect();
    let least = args.least / 100.0;
    keys.into_iter()
        .map(|(machine, metric)| {
            let of_class = lines.iter().filter(|line| line.machine == machine);
            let points: Vec<(&Line, f64)> =
                of_class.filter_map(|line| Some((line, *line.metrics.get(metric)?))).collect();
            let values: Vec<f64> = points.iter().map(|point| point.1).collect();
            Series { machine, metric, points, changes: changes(&values, least) }
        })
        .collect()
}

/// Change points of at least that relative size, in order.
fn changes(values: &[f64], least: f64) -> Vec<Change> {
    let mut splits = Vec::new();
    divide(values, 0, &mut splits);
    splits.sort_unstable();
    // A split was judged within what was known then; its neighbours may have taken its reason away.
    loop {
        let judged: Vec<Change> = (0..splits.len())
            .map(|i| {
                let from = if i == 0 { 0 } else { splits[i - 1] };
                let to = splits.get(i + 1).copied().unwrap_or(values.len());
                let (before, after) = (&values[from..splits[i]], &values[splits[i]..to]);
                Change { at: splits[i], before: mean(before), after: mean(after), p: welch_p(before, after) }
            })
            .collect();
        let counts = |change: &Change| change.p <= P_MAX && (change.ratio() - 1.0).abs() >= least;
        let Some(weakest) = (0..judged.len())
            .filter(|i| !counts(&judged[*i]))
            .max_by(|a, b| judged[*a].p.total_cmp(&judged[*b].p))
        else {
            return judged;
        };
        splits.remove(weakest);
    }
}

/// Splits where the energy distance is greatest, and each part again, as long as a split is significant.
fn divide(values: &[f64], offset: usize, splits: &mut Vec<usize>) {
    let candidates = SIDE_MIN..(values.len() + 1).saturating_sub(SIDE_MIN);
    let distances = candidates.map(|at| (at, energy(&values[..at], &values[at..])));
    let Some((at, distance)) = distances.max_by(|a, b| a.1.total_cmp(&b.1)) else { return };
    let (before, after) = values.split_at(at);
    if distance > 0.0 && welch_p(before, after) <= P_MAX {
        splits.push(offset + at);
        divide(before, offset, splits);
        divide(after, offset + at, splits);
    }
}

/// The scaled energy distance of two samples, with exponent 1: Matteson and James' Q.
fn energy(x: &[f64], y: &[f64]) -> f64 {
    let (n, m) = (x.len() as f64, y.len() as f64);
    let sum =
        |a: &[f64], b: &[f64]| -> f64 { a.iter().flat_map(|a| b.iter().map(move |b| (a - b).abs())).sum() };
    let within =
        |it: &[f64], count: f64| if count > 1.0 { sum(it, it) / (count * (count - 1.0)) } else { 0.0 };
    n * m / (n + m) * (2.0 / (n * m) * sum(x, y) - within(x, n) - within(y, m))
}

/// Two-sided p of Welch's t-test. Counts that do not vary at all differ for certain, or not at all.
fn welch_p(x: &[f64], y: &[f64]) -> f64 {
    let [share_x, share_y] = [x, y].map(|it| variance(it) / it.len() as f64);
    let difference = mean(x) - mean(y);
    let error = (share_x + share_y).sqrt();
    if error <= f64::EPSILON * mean(x).abs() {
        return if difference.abs() <= f64::EPSILON * mean(x).abs() { 1.0 } else { 0.0 };
    }
    let freedom = (share_x + share_y).powi(2)
        / (share_x.powi(2) / (x.len() as f64 - 1.0) + share_y.powi(2) / (y.len() as f64 - 1.0));
    let t = (difference / error).abs();
    StudentsT::new(0.0, 1.0, freedom).map_or(1.0, |it| 2.0 * it.sf(t))
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn variance(values: &[f64]) -> f64 {
    let mean = mean(values);
    values.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / (values.len() as f64 - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ats(values: &[f64]) -> Vec<usize> {
        changes(values, 0.01).iter().map(|it| it.at).collect()
    }

    /// Around `level`, with noise of so many percent that repeats.
    fn noisy(level: f64, count: usize, percent: f64) -> Vec<f64> {
        (0..count).map(|i| level * (1.0 + percent / 100.0 * ((i * 7 % 11) as f64 - 5.0) / 5.0)).collect()
    }

    #[test]
    fn counts_that_step_are_found_with_two_on_each_side_and_not_with_one() {
        assert_eq!(ats(&[100.0, 100.0, 105.0, 105.0]), [2]);
        assert_eq!(ats(&[100.0, 100.0, 100.0, 105.0]), [] as [usize; 0]);
        assert_eq!(ats(&[100.0, 100.0, 105.0, 105.0, 105.0, 90.0, 90.0]), [2, 5]);
        assert_eq!(ats(&[100.0, 100.0, 100.5, 100.5]), [] as [usize; 0], "less than 1 %");
        assert_eq!(ats(&[7.0; 30]), [] as [usize; 0]);
        assert_eq!(ats(&[0.0, 0.0, 1.0, 1.0]), [2]);
        assert_eq!(ats(&[1.0]), [] as [usize; 0]);
    }

    #[test]
    fn a_step_in_noise_is_found_where_it_is_and_noise_alone_is_none() {
        let step = [noisy(100.0, 12, 3.0), noisy(110.0, 12, 3.0)].concat();
        assert_eq!(ats(&step), [12]);
        let change = changes(&step, 0.01)[0];
        assert!(change.is_worse() && (change.ratio() - 1.1).abs() < 0.02, "{change:?}");
        assert_eq!(ats(&noisy(100.0, 40, 5.0)), [] as [usize; 0]);
        let spike = [noisy(100.0, 10, 2.0), vec![180.0], noisy(100.0, 10, 2.0)].concat();
        assert_eq!(ats(&spike), [] as [usize; 0], "one bad measurement is no change");
    }

    /// Welch's test of the two samples of Moore, McCabe and Craig's reading example (directed reading activities,
    /// 21 and 23 children): t = 2.31, 37.9 degrees of freedom, two-sided p = 0.0264.
    #[test]
    fn welchs_test_agrees_with_the_textbook() {
        let treated = [
            24.0, 43.0, 58.0, 71.0, 43.0, 49.0, 61.0, 44.0, 67.0, 49.0, 53.0, 56.0, 59.0, 52.0, 62.0, 54.0,
            57.0, 33.0, 46.0, 43.0, 57.0,
        ];
        let control = [
            42.0, 43.0, 55.0, 26.0, 62.0, 37.0, 33.0, 41.0, 19.0, 54.0, 20.0, 85.0, 46.0, 10.0, 17.0, 60.0,
            53.0, 42.0, 37.0, 42.0, 55.0, 28.0, 48.0,
        ];
        assert!((welch_p(&treated, &control) - 0.0264).abs() < 0.0002, "{}", welch_p(&treated, &control));
    }

    #[test]
    fn the_energy_distance_is_zero_for_equal_samples_and_grows_with_the_gap() {
        // By hand: 4/4 * (2/4 * 4 * 3 - 0 - 0) = 6 for {1, 1} and {4, 4}.
        assert!((energy(&[1.0, 1.0], &[4.0, 4.0]) - 6.0).abs() < 1e-12);
        assert!(energy(&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0]) <= 0.0);
    }
}
