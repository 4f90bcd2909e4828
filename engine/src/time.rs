//! Time as an argument: one reading of both clocks, and where the master clock starts.
//!
//! Microseconds everywhere inside; milliseconds with a fraction only on the wire.

/// Unix time of the master clock's zero, 2025-01-01T00:00:00Z, in µs. A fixed instant, so that the clock
/// goes on across a restart and means the same on every core; not Unix time itself, which would wake up a
/// dormant path of the browser client.
pub const MASTER_EPOCH_UNIX_US: i64 = 1_735_689_600_000_000;

/// µs in a millisecond.
pub const MS: i64 = 1_000;

/// One reading of the clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The master clock: µs since 2025-01-01T00:00:00Z, never going back.
    pub master_us: i64,
    /// Unix time in µs, which may be set and so go back.
    pub unix_us: i64,
}

impl Now {
    /// A reading of a monotonic clock, as the master clock's time: `origin` is the reading of both clocks
    /// when the process started.
    pub fn at(origin: Origin, monotonic_us: i64, unix_us: i64) -> Now {
        let since_start_us = monotonic_us - origin.monotonic_us;
        Now { master_us: origin.unix_us - MASTER_EPOCH_UNIX_US + since_start_us, unix_us }
    }
}

/// Where a process's monotonic clock stands on the calendar; read once, the same for all shards.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// The monotonic clock at the start, µs.
    pub monotonic_us: i64,
    /// Unix time at the same instant, µs.
    pub unix_us: i64,
}

/// A wish of a client in ms, as µs. Wishes are clamped on parsing, far inside i64.
pub fn us(ms: f64) -> i64 {
    (ms * 1000.0).round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Difference 11 of the room protocol.
    #[test]
    fn the_master_clock_goes_on_across_a_restart_and_is_not_unix_time() {
        let first = Origin { monotonic_us: 500, unix_us: MASTER_EPOCH_UNIX_US + 60_000_000 };
        let before = Now::at(first, 10_000_500, first.unix_us + 10_000_000);
        assert_eq!(before.master_us, 70_000_000);
        let second = Origin { monotonic_us: 77, unix_us: first.unix_us + 12_000_000 };
        let after = Now::at(second, 77, second.unix_us);
        assert_eq!(after.master_us - before.master_us, 2_000_000);
        let stepped = Now::at(second, 1_077, second.unix_us - 3_600_000_000);
        assert_eq!(stepped.master_us - after.master_us, 1_000, "a step of Unix time does not move it");
        assert!(after.master_us < after.unix_us / 2);
    }
}
