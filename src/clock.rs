//! The clocks, read: the only place of the server where time comes from.
//!
//! One origin for the whole process, so that the master clock means the same on every core.

use engine::Now;
use engine::snapshot::UNKNOWN_BOOT;
use engine::time::Origin;
use futures_lite::future::or;
use glommio::timer::Timer;
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

/// What a future comes to, if it does in time.
pub async fn by<T>(until: Instant, future: impl Future<Output = T>) -> Option<T> {
    let late = async {
        Timer::new(until.saturating_duration_since(Instant::now())).await;
        None
    };
    or(async { Some(future.await) }, late).await
}

/// Time since the machine's boot, its sleep included, µs.
pub fn boot_us() -> i64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    time.tv_sec * 1_000_000 + time.tv_nsec / 1_000
}

/// Which boot of the machine this is, if it says.
pub fn boot_id() -> [u8; 16] {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    u128::from_str_radix(&digits, 16).map_or(UNKNOWN_BOOT, u128::to_be_bytes)
}

fn unix_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}
