//! The server as the kernel sees it: memory, descriptors, CPU.

use std::fmt;
use std::fs;
use std::time::{Duration, Instant};

/// Looks at one process.
pub struct Watch {
    pid: u32,
}

/// One look.
#[derive(Clone, Copy)]
pub struct Reading {
    /// Resident memory, KiB.
    pub rss_kib: u64,
    /// Open descriptors.
    pub descriptors: usize,
    /// CPU used so far, user and system.
    cpu_ms: u64,
}

impl Watch {
    pub fn new(pid: u32) -> Watch {
        Watch { pid }
    }

    pub fn read(&self) -> Reading {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let rss_kib = rss.and_then(|rss| rss.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0);
        let descriptors = fs::read_dir(format!("/proc/{}/fd", self.pid)).map_or(0, Iterator::count);
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |i: usize| fields.get(i).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
        // utime and stime, in ticks of 10 ms.
        Reading { rss_kib, descriptors, cpu_ms: (ticks(11) + ticks(12)) * 10 }
    }

    /// Waits until the server holds no more descriptors than `descriptors`, or patience ends.
    pub fn await_descriptors(&self, descriptors: usize, patience: Duration) -> Reading {
        let start = Instant::now();
        loop {
            let reading = self.read();
            if reading.descriptors <= descriptors || start.elapsed() > patience {
                return reading;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cpu_s = self.cpu_ms as f64 / 1000.0;
        write!(f, "{} KiB, {} descriptors, {cpu_s:.2} s CPU", self.rss_kib, self.descriptors)
    }
}
