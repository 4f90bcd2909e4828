//! Closes a shard's connections at a rate, since all of their clients come back at once.

use crate::driver::Driver;
use engine::Now;
use engine::time::MS;

/// From the last close frame to the reset of whoever has not ended.
const PATIENCE_US: i64 = 1_200 * MS;
/// It goes on in steps of this.
const STEP_US: i64 = 10 * MS;

/// A drain on its way.
pub(super) struct Drain {
    per_s: u32,
    since_us: i64,
    /// Connections that may have been told by now.
    allowed: i64,
    /// When it goes on, or, once all are told, when whoever is left is reset.
    next_us: i64,
    is_told: bool,
    is_abandoned: bool,
}

impl Drain {
    /// A drain that begins now, with a step's connections at once.
    pub(super) fn new(per_s: u32, now: Now) -> Drain {
        let since_us = now.master_us - STEP_US;
        Drain { per_s, since_us, allowed: 0, next_us: now.master_us, is_told: false, is_abandoned: false }
    }

    /// Closes as many connections as the rate allows by now, and in the end whoever has not ended.
    pub(super) fn go_on(&mut self, driver: &mut Driver, now: Now) {
        if now.master_us < self.next_us || self.is_abandoned {
            return;
        }
        if self.is_told {
            self.is_abandoned = true;
            driver.abandon();
            return;
        }
        self.next_us = now.master_us + STEP_US;
        let allowed = (now.master_us - self.since_us) * i64::from(self.per_s) / 1_000_000;
        let limit = allowed - std::mem::replace(&mut self.allowed, allowed);
        if limit > 0 && !driver.drain(limit as usize, now) {
            self.is_told = true;
            self.next_us = now.master_us + PATIENCE_US;
        }
    }

    /// All are told, and gone.
    pub(super) fn is_over(&self, driver: &Driver) -> bool {
        self.is_told && driver.is_empty() && !driver.has_work()
    }

    /// When it has something to do.
    pub(super) fn next_us(&self) -> Option<i64> {
        (!self.is_abandoned).then_some(self.next_us)
    }
}
