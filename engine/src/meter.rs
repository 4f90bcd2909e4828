//! How often something may happen: token buckets that fill again with time.
//!
//! A bucket is two bytes, so that every connection can have several. It knows what was taken, and when it was last
//! taken from, counted in the time that one token takes to come back and modulo 256. After a pause of just that
//! many tokens it may still count what was taken before the pause: less is refilled then, never more, and who kept to
//! the rate before has taken next to nothing.

use crate::limits::{EXCESS_INTERVAL_MS, Limits};
use crate::time::{MS, Now};

const SECOND_US: u64 = 1_000_000;
const MINUTE_US: u64 = 60 * SECOND_US;

/// So many at once, and one more in each interval.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// The time that one takes to come back, µs; 0 if there is no limit.
    interval_us: u64,
    burst: u8,
}

impl Rate {
    fn new(per: u32, unit_us: u64, burst: u8) -> Rate {
        Rate { interval_us: unit_us.checked_div(u64::from(per)).unwrap_or(0), burst }
    }
}

/// All rates of a shard.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Messages of a connection.
    pub messages: Rate,
    /// Pings and pongs of a connection.
    pub controls: Rate,
    /// Commands of a connection.
    pub commands: Rate,
    /// Commands of a room.
    pub room_commands: Rate,
    /// Rooms that a connection makes.
    pub rooms_made: Rate,
}

impl Rates {
    /// As the limits say.
    pub fn new(limits: &Limits) -> Rates {
        let rate = |per, unit_us, burst| Rate::new(if limits.is_metered { per } else { 0 }, unit_us, burst);
        Rates {
            messages: rate(limits.messages_per_s, SECOND_US, limits.messages_burst),
            controls: rate(limits.controls_per_s, SECOND_US, limits.controls_burst),
            commands: rate(limits.commands_per_s, SECOND_US, limits.commands_burst),
            room_commands: rate(limits.room_commands_per_s, SECOND_US, limits.room_commands_burst),
            rooms_made: rate(limits.rooms_made_per_min, MINUTE_US, limits.rooms_made_burst),
        }
    }
}

/// What was taken of one rate.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket {
    taken: u8,
    /// When it was last taken from, in intervals.
    at: u8,
}

impl Bucket {
    /// Takes one if it is there.
    #[inline]
    pub fn take(&mut self, rate: &Rate, now: Now) -> bool {
        let Some(interval) = (now.master_us as u64).checked_div(rate.interval_us) else { return true };
        let back = (interval as u8).wrapping_sub(self.at);
        self.at = interval as u8;
        self.taken = self.taken.saturating_sub(back);
        let is_there = self.taken < rate.burst;
        self.taken += u8::from(is_there);
        is_there
    }
}

/// What has come past a rate within [`EXCESS_INTERVAL_MS`] of the first that did. Few have one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Excess {
    count: u32,
    began_us: i64,
}

impl Excess {
    /// One more; how many there are by now.
    pub fn add(&mut self, now: Now) -> u32 {
        if self.count == 0 || now.master_us - self.began_us > EXCESS_INTERVAL_MS * MS {
            *self = Excess { count: 0, began_us: now.master_us };
        }
        self.count += 1;
        self.count
    }
}

/// What one connection has taken.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meter {
    /// Text and binary messages.
    pub messages: Bucket,
    /// Pings and pongs.
    pub controls: Bucket,
    /// PLAY, PAUSE, RESUME, SEEK, TRACK_CHANGE.
    pub commands: Bucket,
    /// Rooms made by joining them.
    pub rooms_made: Bucket,
}

/// Every connection has one.
const METER_BYTES: usize = 8;

const _: () = assert!(size_of::<Meter>() == METER_BYTES);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(ms: i64) -> Now {
        Now { master_us: 59_000_000_000_000 + ms * 1000, unix_us: 0 }
    }

    fn rate(per_s: u32, burst: u8) -> Rate {
        Rate::new(per_s, SECOND_US, burst)
    }

    #[test]
    fn a_burst_passes_then_the_rate() {
        for burst in [1, 100, u8::MAX] {
            let mut bucket = Bucket::default();
            let rate = rate(50, burst);
            assert_eq!((0..1000).filter(|_| bucket.take(&rate, at(0))).count(), usize::from(burst));
            assert_eq!([1, 20, 21, 39].map(|ms| bucket.take(&rate, at(ms))), [false, true, false, false]);
            assert!((2..50).all(|n| bucket.take(&rate, at(20 * n))), "at its rate it goes on for ever");
        }
    }

    #[test]
    fn what_is_refused_takes_nothing() {
        let mut bucket = Bucket::default();
        let rate = rate(5, 2);
        let taken: Vec<bool> = (0..12).map(|n| bucket.take(&rate, at(50 * n))).collect();
        let expected = [true, true, false, false, true, false, false, false, true, false, false, false];
        assert_eq!(taken, expected);
    }

    #[test]
    fn a_rate_of_none_is_no_limit() {
        let mut bucket = Bucket::default();
        assert!((0..1000).all(|_| bucket.take(&rate(0, 1), at(0))));
    }

    #[test]
    fn an_excess_is_counted_for_half_a_minute() {
        let mut excess = Excess::default();
        let counts = [0, 0, 29_999, 30_000, 30_001, 30_002].map(|ms| excess.add(at(ms)));
        assert_eq!(counts, [1, 2, 3, 4, 1, 2]);
    }

    proptest! {
        /// However someone is paced: never more in any time than the burst and the rate.
        #[test]
        fn no_more_passes_than_burst_and_rate(gaps in prop::collection::vec(0..600_i64, 1..300)) {
            let (mut bucket, rate) = (Bucket::default(), rate(10, 5));
            let (mut ms, mut passed) = (0, Vec::new());
            for gap in gaps {
                ms += gap;
                if bucket.take(&rate, at(ms)) {
                    passed.push(ms);
                }
            }
            for (first, from) in passed.iter().enumerate() {
                for (last, to) in passed.iter().enumerate().skip(first) {
                    // One more, as tokens come back on a grid of their interval.
                    prop_assert!((last - first) as i64 <= 5 + (to - from) / 100 + 1);
                }
            }
        }

        /// Whoever keeps to the rate is never refused, whatever pauses he makes.
        #[test]
        fn who_keeps_to_the_rate_passes(gaps in prop::collection::vec(100..60_000_i64, 1..300)) {
            let (mut bucket, rate) = (Bucket::default(), rate(10, 5));
            let mut ms = 0;
            for gap in gaps {
                ms += gap;
                prop_assert!(bucket.take(&rate, at(ms)));
            }
        }
    }
}
