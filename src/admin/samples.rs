//! Readings of all shards, and what two of them differ by: rates, times of the last second and of the last minute.
//!
//! A shard hands over what it observed since the reading before, so readings are taken one after the other by this alone.
//! They are taken once a second while someone listens or has asked of late, and otherwise only when someone asks.

use super::ask::Shards;
use crate::published::Figures;
use engine::Observed;
use glommio::sync::Semaphore;
use hdrhistogram::Histogram;
use std::cell::{Ref, RefCell};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A reading this old will do for whoever asks how things are.
pub const RECENT: Duration = Duration::from_millis(900);
/// What the minute is made of.
const SPAN: Duration = Duration::from_secs(10);
const SPANS: u32 = 6;

/// Upper ends of the buckets in which times are exported, s.
pub const BUCKETS_S: [f64; 19] = [
    1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];

/// Which of a shard's times.
pub type Pick = fn(&Observed) -> &Histogram<u64>;

/// Every time that is exported, with its name and what it is.
pub const TIMES: [(&str, &str, Pick); 8] = [
    ("turn", "Turns of the shard's loop, from waking to handing over what they led to", |it| &it.turn),
    ("dwell", "Messages, from the turn that took them waking to handing over what it led to", |it| &it.dwell),
    ("handshake", "Connections, from accept to the 101", |it| &it.handshake),
    ("rtt", "Round trips of members as TCP measured them, at the join and once in a ping interval", |it| {
        &it.rtt
    }),
    ("reported_rtt", "Round trips that devices reported with their readiness", |it| &it.reported_rtt),
    ("ready", "Devices, from PREPARE_TRACK to their answer that they are ready", |it| &it.ready),
    ("start_skew", "Starts, from the first member that PLAY reached to the last, at most", |it| {
        &it.start_skew
    }),
    ("drift", "How far off clients said they were in their sync_checks", |it| &it.drift),
];

/// All readings.
pub struct Sampler {
    pub shards: Shards,
    /// Who takes a reading, one after the other.
    takers: Semaphore,
    readings: RefCell<Readings>,
}

/// The newest readings, and what was added up.
pub struct Readings {
    pub newest: Option<Reading>,
    /// The one before it.
    pub before: Option<Reading>,
    /// By core, since the start.
    pub totals: Vec<Totals>,
    /// What all shards observed between the two.
    pub last: Box<Observed>,
    minute: Minute,
    /// Before the first.
    began: Instant,
}

/// One reading of all shards.
pub struct Reading {
    pub at: Instant,
    pub cores: Vec<CoreReading>,
}

/// One of one shard.
#[derive(Clone, Debug)]
pub struct CoreReading {
    pub figures: Figures,
    /// CPU time of its thread; nothing if it does not answer.
    pub cpu_us: Option<u64>,
    pub is_answering: bool,
    /// Its turns since the reading before.
    pub turn: Option<Summary>,
}

/// Times in a few numbers, µs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    pub count: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p99_9: u64,
    pub max: u64,
}

/// One core's times since the start, in [`BUCKETS_S`] and one for all that is longer; in the order of [`TIMES`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Totals {
    pub times: [Total; TIMES.len()],
    /// CPU time of its thread, µs, as last heard.
    pub cpu_us: u64,
}

/// One kind of times.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Total {
    pub buckets: [u64; BUCKETS_S.len() + 1],
    pub count: u64,
    pub sum_us: f64,
}

impl Summary {
    /// Nothing of nothing.
    pub fn of(times: &Histogram<u64>) -> Option<Summary> {
        let at = |quantile| times.value_at_quantile(quantile);
        (!times.is_empty()).then(|| Summary {
            count: times.len(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            max: times.max(),
        })
    }
}

impl Total {
    fn add(&mut self, times: &Histogram<u64>) {
        for step in times.iter_recorded() {
            let (us, count) = (step.value_iterated_to(), step.count_at_value());
            let is_above = |bound: &f64| us as f64 > bound * 1e6;
            self.buckets[BUCKETS_S.iter().take_while(|bound| is_above(bound)).count()] += count;
            self.count += count;
            self.sum_us += us as f64 * count as f64;
        }
    }
}

impl Sampler {
    pub fn new(shards: Shards) -> Sampler {
        let readings = Readings {
            newest: None,
            before: None,
            totals: vec![Totals::default(); shards.count()],
            last: Box::default(),
            minute: Minute::default(),
            began: Instant::now(),
        };
        Sampler { shards, takers: Semaphore::new(1), readings: RefCell::new(readings) }
    }

    /// What was read so far. Not to be held across an await.
    pub fn readings(&self) -> Ref<'_, Readings> {
        self.readings.borrow()
    }

    /// Takes a reading, unless there is one that is no older.
    pub async fn take(&self, age_max: Duration) {
        let Ok(_permit) = self.takers.acquire_permit(1).await else { return };
        if self.readings().age().is_some_and(|age| age < age_max) {
            return;
        }
        let measured = self.shards.measure().await;
        let at = Instant::now();
        let mut readings = self.readings.borrow_mut();
        let since = readings.newest.as_ref().map_or(readings.began, |newest| newest.at);
        readings.last.clear();
        let mut cores = Vec::new();
        for (core, measured) in measured.into_iter().enumerate() {
            let mut reading = CoreReading {
                figures: self.shards.figures(core),
                cpu_us: None,
                is_answering: measured.is_some(),
                turn: None,
            };
            if let Some(measured) = measured {
                reading.cpu_us = Some(measured.cpu_us);
                reading.turn = Summary::of(&measured.observed.turn);
                readings.add(core, &measured.observed);
                readings.totals[core].cpu_us = measured.cpu_us;
                self.shards.put_back(measured.observed);
            }
            cores.push(reading);
        }
        readings.end_interval(since, at);
        readings.before = readings.newest.replace(Reading { at, cores });
    }

    /// Sees to it that the last two readings are of about now.
    pub async fn catch_up(&self) {
        const INTERVAL: Duration = Duration::from_millis(250);
        const OLD: Duration = Duration::from_millis(1_600);
        let is_running = |readings: &Readings| {
            readings.before.is_some()
                && readings.age().is_some_and(|age| age < OLD)
                && readings.interval().is_some_and(|interval| interval < OLD)
        };
        if !is_running(&self.readings()) {
            self.take(INTERVAL).await;
            glommio::timer::Timer::new(INTERVAL).await;
            self.take(INTERVAL / 2).await;
        }
    }

    /// Whether a core's shard answered when it was last asked.
    pub fn is_answering(&self, core: usize) -> bool {
        let readings = self.readings();
        readings.newest.as_ref().is_some_and(|newest| newest.cores[core].is_answering)
    }
}

impl Readings {
    fn age(&self) -> Option<Duration> {
        self.newest.as_ref().map(|newest| newest.at.elapsed())
    }

    /// Between the last two.
    pub fn interval(&self) -> Option<Duration> {
        Some(self.newest.as_ref()?.at.duration_since(self.before.as_ref()?.at))
    }

    fn add(&mut self, core: usize, observed: &Observed) {
        for (total, (_, _, pick)) in self.totals[core].times.iter_mut().zip(TIMES) {
            total.add(pick(observed));
        }
        merge(&mut self.last, observed);
    }

    fn end_interval(&mut self, since: Instant, at: Instant) {
        self.minute.add(&self.last, since, at);
    }

    /// What all shards observed in the last minute, or in the last interval if that is longer; and how long that is.
    pub fn minute(&self) -> (Observed, Duration) {
        let mut sum = Observed::default();
        self.minute.spans.iter().for_each(|span| merge(&mut sum, &span.observed));
        let ends = self.minute.spans.front().zip(self.minute.spans.back());
        (sum, ends.map_or(Duration::ZERO, |(first, last)| last.until.duration_since(first.since)))
    }
}

/// The last minute, in spans of some seconds.
#[derive(Default)]
struct Minute {
    spans: VecDeque<Span>,
}

struct Span {
    since: Instant,
    until: Instant,
    observed: Box<Observed>,
}

impl Minute {
    fn add(&mut self, observed: &Observed, since: Instant, until: Instant) {
        match self.spans.back_mut() {
            Some(span) if until.duration_since(span.since) <= SPAN => span.until = until,
            _ => self.spans.push_back(Span { since, until, observed: Box::default() }),
        }
        if let Some(span) = self.spans.back_mut() {
            merge(&mut span.observed, observed);
        }
        let is_old = |span: &Span| until.duration_since(span.until) >= SPAN * SPANS;
        while self.spans.front().is_some_and(is_old) {
            self.spans.pop_front();
        }
    }
}

/// Adds a set to another; both have the same bounds, so nothing is lost.
fn merge(sum: &mut Observed, observed: &Observed) {
    let pairs = [
        (&mut sum.turn, &observed.turn),
        (&mut sum.dwell, &observed.dwell),
        (&mut sum.handshake, &observed.handshake),
        (&mut sum.rtt, &observed.rtt),
        (&mut sum.reported_rtt, &observed.reported_rtt),
        (&mut sum.ready, &observed.ready),
        (&mut sum.start_skew, &observed.start_skew),
        (&mut sum.drift, &observed.drift),
    ];
    for (sum, times) in pairs.into_iter().filter(|(_, times)| !times.is_empty()) {
        let added = sum.add(times);
        debug_assert!(added.is_ok(), "the same bounds");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_exported_in_the_bucket_they_belong_to() {
        let mut observed = Observed::default();
        for (us, count) in [(0, 1), (10, 2), (11, 1), (1_000_000, 3), (59_000_000, 1)] {
            observed.ready.saturating_record_n(us, count);
        }
        let mut total = Total::default();
        total.add(&observed.ready);
        total.add(&observed.ready);
        assert_eq!((total.buckets[0], total.buckets[1], total.buckets[19]), (6, 2, 2));
        let second = BUCKETS_S.iter().position(|bound| *bound == 1.0).unwrap();
        assert_eq!(total.buckets[second] + total.buckets[second + 1], 6, "two digits decide");
        assert_eq!((total.count, total.buckets.iter().sum::<u64>()), (16, 16));
        assert!((total.sum_us / 124_000_062.0 - 1.0).abs() < 0.01, "{}", total.sum_us);
    }

    #[test]
    fn every_name_picks_the_times_that_it_is_called_after() {
        let mut observed = Observed::default();
        let Observed { turn, dwell, handshake, rtt, reported_rtt, ready, start_skew, drift } = &mut observed;
        let all = [
            ("turn", turn),
            ("dwell", dwell),
            ("handshake", handshake),
            ("rtt", rtt),
            ("reported_rtt", reported_rtt),
            ("ready", ready),
            ("start_skew", start_skew),
            ("drift", drift),
        ];
        let mut count = 0;
        let counts = all.map(|(name, times)| {
            count += 1;
            times.saturating_record_n(1, count);
            (name, count)
        });
        for (name, count) in counts {
            let (.., pick) = TIMES.iter().find(|(exported, ..)| *exported == name).unwrap();
            assert_eq!(pick(&observed).len(), count, "{name}");
        }
    }

    #[test]
    fn the_minute_forgets_what_is_older_and_keeps_an_interval_that_is_longer() {
        let start = Instant::now();
        let at = |s: u64| start + Duration::from_secs(s);
        let mut observed = Observed::default();
        observed.rtt.saturating_record(40);
        let mut minute = Minute::default();
        minute.add(&observed, at(0), at(3_600));
        assert_eq!(minute.spans.len(), 1);
        for second in 3_600..3_720 {
            minute.add(&observed, at(second), at(second + 1));
        }
        let sum: u64 = minute.spans.iter().map(|span| span.observed.rtt.len()).sum();
        assert!((60..=70).contains(&sum), "{sum}");
    }

    #[test]
    fn a_summary_of_nothing_is_nothing() {
        assert_eq!(Summary::of(&Observed::default().drift), None);
        let mut observed = Observed::default();
        (1..=100).for_each(|us| observed.drift.saturating_record(us));
        let summary = Summary::of(&observed.drift).unwrap();
        assert_eq!((summary.count, summary.p50, summary.p90, summary.max), (100, 50, 90, 100));
    }
}
