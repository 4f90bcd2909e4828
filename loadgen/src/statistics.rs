//! Paired comparison: Hodges-Lehmann, its interval, Wilcoxon's signed-rank test, the verdict.
//!
//! The unit is the trial, never the message. Ratios are compared as logarithms, so that A/B and B/A agree.

use crate::result::Verdict;

/// B over A.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    pub ratio: f64,
    /// 95 % interval of the ratio.
    pub low: f64,
    pub high: f64,
    /// Two-sided.
    pub p: f64,
}

/// Compares pairs of positive, finite numbers.
pub fn compare(a: &[f64], b: &[f64]) -> Comparison {
    debug_assert!(a.iter().chain(b).all(|it| it.is_finite() && *it > 0.0), "logarithms need it");
    let logs: Vec<f64> = a.iter().zip(b).map(|(a, b)| (b / a).ln()).collect();
    let averages = walsh_averages(&logs);
    // Without enough pairs for 95 % there is no interval.
    let (low, high) = match interval_rank(logs.len()) {
        0 => (f64::NEG_INFINITY, f64::INFINITY),
        rank => (averages[rank - 1], averages[averages.len() - rank]),
    };
    Comparison { ratio: median(&averages).exp(), low: low.exp(), high: high.exp(), p: wilcoxon_p(&logs) }
}

impl Comparison {
    /// A change counts if the interval excludes none and the estimate is past the threshold; nothing changed
    /// if the whole interval lies within it. `more_is_worse` for costs and latencies, not for rates.
    pub fn verdict(&self, threshold: f64, more_is_worse: bool) -> Verdict {
        let (low, high) = (1.0 / (1.0 + threshold), 1.0 + threshold);
        if self.low >= low && self.high <= high {
            return Verdict::Equivalent;
        }
        if self.low > 1.0 && self.ratio > high {
            return if more_is_worse { Verdict::Regressed } else { Verdict::Improved };
        }
        if self.high < 1.0 && self.ratio < low {
            return if more_is_worse { Verdict::Improved } else { Verdict::Regressed };
        }
        Verdict::Inconclusive
    }
}

/// The middle, or the mean of both middles; 0 of nothing.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

/// The slope of the least-squares line.
pub fn slope(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    let (mean_x, mean_y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / n, y + point.1 / n));
    let (over, under) = points.iter().fold((0.0, 0.0), |(over, under), (x, y)| {
        (over + (x - mean_x) * (y - mean_y), under + (x - mean_x).powi(2))
    });
    if under == 0.0 { 0.0 } else { over / under }
}

/// Means of all pairs of values, each with itself too, sorted: their median is Hodges and Lehmann's estimate.
fn walsh_averages(values: &[f64]) -> Vec<f64> {
    let mut averages: Vec<f64> = (0..values.len())
        .flat_map(|i| (i..values.len()).map(move |j| (i, j)))
        .map(|(i, j)| f64::midpoint(values[i], values[j]))
        .collect();
    averages.sort_by(f64::total_cmp);
    averages
}

/// How many of all sign patterns give each rank sum: the exact null distribution of W+.
fn rank_sum_counts(n: usize) -> Vec<f64> {
    let mut counts = vec![0.0; n * (n + 1) / 2 + 1];
    counts[0] = 1.0;
    for rank in 1..=n {
        for sum in (rank..counts.len()).rev() {
            counts[sum] += counts[sum - rank];
        }
    }
    counts
}

/// The rank, from 1, of the average at which the 95 % interval begins: the largest k with P(W+ <= k - 1) <= 2.5 %.
fn interval_rank(n: usize) -> usize {
    let total = 2_f64.powi(n as i32);
    let mut below = 0.0;
    let counts = rank_sum_counts(n);
    counts
        .iter()
        .take_while(|count| {
            below += **count / total;
            below <= 0.025
        })
        .count()
}

/// Two-sided exact p of Wilcoxon's signed-rank test; zeros are left out, ties share their ranks.
fn wilcoxon_p(differences: &[f64]) -> f64 {
    let mut values: Vec<f64> = differences.iter().copied().filter(|it| it.abs() > 0.0).collect();
    if values.is_empty() {
        return 1.0;
    }
    values.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
    let n = values.len();
    let mut positive = 0.0;
    let mut at = 0;
    while at < n {
        let upto = at + values[at..].iter().take_while(|it| it.abs() == values[at].abs()).count();
        let shared_rank = f64::midpoint(at as f64 + 1.0, upto as f64);
        positive += values[at..upto].iter().filter(|it| **it > 0.0).count() as f64 * shared_rank;
        at = upto;
    }
    let whole = (n * (n + 1) / 2) as f64;
    let lesser = positive.min(whole - positive).floor() as usize;
    let tail: f64 = rank_sum_counts(n)[..=lesser].iter().sum::<f64>() / 2_f64.powi(n as i32);
    (2.0 * tail).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hollander and Wolfe, Nonparametric Statistical Methods, example 3.1: Hamilton's depression scale of
    /// nine patients before and after; T+ = 40, two-sided exact p = 0.039, estimate -0.46, interval at
    /// 96.1 % from -0.786 to -0.010.
    const BEFORE: [f64; 9] = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30];
    #[allow(clippy::approx_constant, reason = "a patient's score")]
    const AFTER: [f64; 9] = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29];

    #[test]
    fn the_textbooks_example_comes_out_as_printed() {
        let differences: Vec<f64> = BEFORE.iter().zip(AFTER).map(|(before, after)| after - before).collect();
        assert!((wilcoxon_p(&differences) - 0.0390625).abs() < 1e-9);
        let averages = walsh_averages(&differences);
        assert!((median(&averages) - -0.46).abs() < 1e-9);
        let rank = interval_rank(9);
        assert!(
            (averages[rank - 1] - -0.786).abs() < 1e-9
                && (averages[averages.len() - rank] - -0.010).abs() < 1e-9
        );
    }

    #[test]
    fn critical_values_are_those_of_the_tables() {
        // Two-sided 5 %: the largest rank sum that is significant.
        for (n, critical) in [(6, 0), (7, 2), (8, 3), (9, 5), (10, 8), (12, 13), (15, 25), (20, 52), (25, 89)]
        {
            assert_eq!(interval_rank(n), critical + 1, "n = {n}");
        }
        assert_eq!(interval_rank(5), 0, "five pairs can never tell at 5 %");
    }

    #[test]
    fn equal_changed_and_unclear_are_told_apart() {
        let a: Vec<f64> = (0..12).map(|i| 100.0 + f64::from(i % 5) * 0.2).collect();
        let times = |factor: f64, noise: f64| -> Vec<f64> {
            a.iter()
                .enumerate()
                .map(|(i, a)| a * factor * (1.0 + noise * ((i * 7 % 12) as f64 - 5.5) / 5.5))
                .collect()
        };
        let verdict = |b: &[f64]| compare(&a, b).verdict(0.02, true);
        assert_eq!(verdict(&times(1.0, 0.01)), Verdict::Equivalent);
        assert_eq!(verdict(&times(1.05, 0.02)), Verdict::Regressed);
        assert_eq!(verdict(&times(0.95, 0.02)), Verdict::Improved);
        assert_eq!(verdict(&times(1.0, 0.2)), Verdict::Inconclusive);
        assert_eq!(compare(&a, &times(1.05, 0.02)).verdict(0.02, false), Verdict::Improved, "a rate");
        let comparison = compare(&a, &times(1.05, 0.0));
        assert!((comparison.ratio - 1.05).abs() < 1e-9 && comparison.p < 0.001);
    }

    #[test]
    fn a_slope_is_least_squares() {
        assert!((slope(&[(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]) - 2.0).abs() < 1e-12);
        assert_eq!(slope(&[(1.0, 5.0)]), 0.0);
    }
}
