//! Latency histograms: HdrHistogram in nanoseconds, three digits, one second to serialise.

use hdrhistogram::Histogram;
use serde::de::Deserializer;
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

/// Finest and coarsest value kept apart from its neighbours, ns.
const LOW_NS: u64 = 64;
const HIGH_NS: u64 = 3_600_000_000_000;

/// One latency, of which values come in runs: all deliveries of a turn have the same time.
#[derive(Clone, Debug)]
pub struct Latency {
    histogram: Histogram<u64>,
    run_ns: u64,
    run_count: u64,
}

impl Default for Latency {
    fn default() -> Latency {
        let histogram = Histogram::new_with_bounds(LOW_NS, HIGH_NS, 3).expect("the bounds are in order");
        Latency { histogram, run_ns: 0, run_count: 0 }
    }
}

impl Latency {
    /// Notes a value; past an hour it counts as an hour.
    pub fn record(&mut self, value_ns: u64) {
        if value_ns == self.run_ns {
            self.run_count += 1;
            return;
        }
        self.settle();
        (self.run_ns, self.run_count) = (value_ns, 1);
    }

    fn settle(&mut self) {
        if self.run_count > 0 {
            self.histogram.saturating_record_n(self.run_ns, self.run_count);
            self.run_count = 0;
        }
    }

    /// The histogram with everything in it.
    pub fn histogram(&mut self) -> &Histogram<u64> {
        self.settle();
        &self.histogram
    }

    pub fn add(&mut self, other: &mut Latency) {
        self.settle();
        self.histogram.add(other.histogram()).expect("all have the same bounds");
    }

    pub fn count(&mut self) -> u64 {
        self.histogram().len()
    }

    /// The value at a quantile from 0 to 1, µs.
    pub fn quantile_us(&mut self, quantile: f64) -> f64 {
        let value_ns = self.histogram().value_at_quantile(quantile);
        // All below the lowest is one value to the histogram; a closed loop's lag is none.
        if value_ns < LOW_NS { 0.0 } else { value_ns as f64 / 1e3 }
    }

    pub fn mean_ns(&mut self) -> f64 {
        self.histogram().mean()
    }
}

/// As pairs of value and count: what worker processes send.
impl Serialize for Latency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut whole = self.clone();
        let pairs = whole.histogram().iter_recorded().map(|it| (it.value_iterated_to(), it.count_at_value()));
        serializer.collect_seq(pairs)
    }
}

impl<'de> Deserialize<'de> for Latency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Latency, D::Error> {
        let mut latency = Latency::default();
        for (value_ns, count) in Vec::<(u64, u64)>::deserialize(deserializer)? {
            latency.histogram.saturating_record_n(value_ns, count);
        }
        Ok(latency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_sends_is_what_its_parent_adds_up() {
        let mut latency = Latency::default();
        for value_ns in [100, 100, 100, 5_000, 123_456_789, u64::MAX] {
            latency.record(value_ns);
        }
        let text = serde_json::to_string(&latency).unwrap();
        let mut back: Latency = serde_json::from_str(&text).unwrap();
        assert_eq!(back.histogram(), latency.histogram());
        assert_eq!(back.count(), 6);
        let mut both = back.clone();
        both.add(&mut latency);
        assert_eq!((both.count(), both.quantile_us(0.5)), (12, back.quantile_us(0.5)));
    }
}
