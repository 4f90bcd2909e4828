//! The clocks, read: the only place of the server where time comes from.
//!
//! One origin for the whole process, so that the master clock means the same on every core.

use engine::Now;
use engine::time::Origin;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Both clocks of the process. Copied to every shard.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    origin: Origin,
}

impl Clock {
    /// Starts the process's master clock.
    pub fn start() -> Clock {
        Clock { start: Instant::now(), origin: Origin { monotonic_us: 0, unix_us: unix_us() } }
    }

    /// Reads both clocks; two calls into the vDSO, no system call.
    pub fn now(&self) -> Now {
        Now::at(self.origin, self.start.elapsed().as_micros() as i64, unix_us())
    }
}

fn unix_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}
