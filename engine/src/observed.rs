//! Times that a shard observes, as histograms of fixed size: recording one is arithmetic in memory it has.
//!
//! All are in microseconds, with two significant digits, from 1 µs to [`OBSERVED_US_MAX`], which longer times count as.
//! What each of them means, and what it cannot see, stands in docs/metrics.md. Whoever wants them takes the whole set
//! and leaves an empty one, so that nothing is copied.

use hdrhistogram::Histogram;

/// The longest time that is told apart.
pub const OBSERVED_US_MAX: u64 = 60_000_000;

const SIGNIFICANT_DIGITS: u8 = 2;

/// Everything observed since the set was last taken.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Of each turn, from waking to handing over what it led to.
    pub turn: Histogram<u64>,
    /// The same, counted once for each message that came in the turn.
    pub dwell: Histogram<u64>,
    /// Of each connection, from accept to the 101.
    pub handshake: Histogram<u64>,
    /// Round trips of members, as TCP measured them.
    pub rtt: Histogram<u64>,
    /// Round trips that devices reported with their readiness.
    pub reported_rtt: Histogram<u64>,
    /// Of each device that became ready, from PREPARE_TRACK to its answer.
    pub ready: Histogram<u64>,
    /// Of each start, from the first member that PLAY reached to the last, at most.
    pub start_skew: Histogram<u64>,
    /// How far off clients said they were, one way or the other.
    pub drift: Histogram<u64>,
}

impl Default for Observed {
    fn default() -> Observed {
        let empty = || {
            let empty = Histogram::new_with_bounds(1, OBSERVED_US_MAX, SIGNIFICANT_DIGITS);
            empty.expect("1 and two digits are allowed, and the longest is more than twice 1")
        };
        Observed {
            turn: empty(),
            dwell: empty(),
            handshake: empty(),
            rtt: empty(),
            reported_rtt: empty(),
            ready: empty(),
            start_skew: empty(),
            drift: empty(),
        }
    }
}

impl Observed {
    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        let Observed { turn, dwell, handshake, rtt, reported_rtt, ready, start_skew, drift } = self;
        for histogram in [turn, dwell, handshake, rtt, reported_rtt, ready, start_skew, drift] {
            if !histogram.is_empty() {
                histogram.reset();
            }
        }
    }
}

/// Counts a time; one that went backwards as none.
pub(crate) fn record(histogram: &mut Histogram<u64>, us: i64) {
    histogram.saturating_record(us.max(0) as u64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_time_is_counted_and_a_cleared_set_is_like_a_new_one() {
        let mut observed = Observed::default();
        for us in [i64::MIN, -1, 0, 1, 999, OBSERVED_US_MAX as i64, i64::MAX] {
            record(&mut observed.drift, us);
        }
        observed.dwell.saturating_record_n(u64::MAX, u64::MAX);
        assert_eq!((observed.drift.len(), observed.drift.min()), (7, 0));
        assert!(observed.drift.value_at_quantile(0.5) == 1 && observed.drift.max() >= OBSERVED_US_MAX);
        assert!(observed.drift.max() < OBSERVED_US_MAX + OBSERVED_US_MAX / 8);
        observed.clear();
        assert_eq!((observed.drift.len(), observed.drift.max(), observed.dwell.len()), (0, 0, 0));
        record(&mut observed.drift, 40);
        assert_eq!((observed.drift.len(), observed.drift.max()), (1, 40));
    }
}
