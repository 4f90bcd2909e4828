//! What a server holds: memory of its own and of the kernel's for sockets, at one instant, at most, and when it
//! is at rest again.

use crate::clock;
use crate::exit::Failure;
use crate::machine::{self, KernelMemory};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

const LOOKS_EVERY: Duration = Duration::from_millis(100);
const LOOKS_AT_REST_EVERY: Duration = Duration::from_millis(20);
/// At rest if it used no more of a CPU than this between two looks.
const REST_SHARE: f64 = 0.05;
/// A server that is not at rest after this has not come back.
const RESTS_IN_NS: u64 = 30_000_000_000;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// The server's resident bytes.
    pub rss: u64,
    /// The whole machine's, both ends of each connection.
    pub tcp_buffers: u64,
    pub slab: u64,
}

impl Memory {
    pub fn read(pids: &[u32]) -> Memory {
        let kernel = KernelMemory::read();
        Memory { rss: machine::rss_bytes(&all(pids)), tcp_buffers: kernel.tcp_buffers, slab: kernel.slab }
    }

    fn most(self, other: Memory) -> Memory {
        Memory {
            rss: self.rss.max(other.rss),
            tcp_buffers: self.tcp_buffers.max(other.tcp_buffers),
            slab: self.slab.max(other.slab),
        }
    }
}

fn all(pids: &[u32]) -> Vec<u32> {
    pids.iter().flat_map(|pid| machine::family(*pid)).collect()
}

/// A thread that looks.
pub struct Peak {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Memory>,
}

impl Peak {
    pub fn watch(pids: &[u32]) -> Result<Peak, Failure> {
        let is_over = Arc::new(AtomicBool::new(false));
        let (pids, ends) = (pids.to_vec(), Arc::clone(&is_over));
        let look = move || {
            let mut peak = Memory::read(&pids);
            // Nothing is passed with it: the thread is joined.
            while !ends.load(Ordering::Relaxed) {
                std::thread::park_timeout(LOOKS_EVERY);
                peak = peak.most(Memory::read(&pids));
            }
            peak
        };
        let thread =
            std::thread::Builder::new().name("memory".to_owned()).spawn(look).map_err(Failure::fault)?;
        Ok(Peak { is_over, thread })
    }

    pub fn finish(self) -> Memory {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        self.thread.join().unwrap_or_default()
    }
}

/// A server before an attack: how many descriptors it holds.
pub struct Rest {
    pids: Vec<u32>,
    descriptors: usize,
}

impl Rest {
    pub fn of(pids: &[u32]) -> Rest {
        Rest { pids: pids.to_vec(), descriptors: machine::open_descriptors(&all(pids)) }
    }

    /// When the server holds no more descriptors than it did and is idle, in ms since then; `None` if it was not within
    /// half a minute, or if there is no process to look at.
    pub fn await_again(&self, since_ns: u64) -> Option<f64> {
        if self.pids.is_empty() {
            return None;
        }
        std::thread::sleep(Duration::from_nanos(since_ns.saturating_sub(clock::now_ns())));
        let (mut before, mut at_ns) = (self.cpu_ns(), clock::now_ns());
        while at_ns < since_ns + RESTS_IN_NS {
            std::thread::sleep(LOOKS_AT_REST_EVERY);
            let (after, now_ns) = (self.cpu_ns(), clock::now_ns());
            let used_ns = machine::used_ns(&before, &after) as f64;
            let is_idle = used_ns <= REST_SHARE * (now_ns - at_ns) as f64;
            if is_idle && machine::open_descriptors(&all(&self.pids)) <= self.descriptors {
                return Some(at_ns.saturating_sub(since_ns) as f64 / 1e6);
            }
            (before, at_ns) = (after, now_ns);
        }
        None
    }

    fn cpu_ns(&self) -> BTreeMap<u32, u64> {
        all(&self.pids).iter().flat_map(|pid| machine::threads_cpu_ns(*pid).unwrap_or_default()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_is_no_less_than_what_was_before() {
        let pids = [std::process::id()];
        let before = Memory::read(&pids);
        let peak = Peak::watch(&pids).unwrap().finish();
        assert!(before.rss > 100_000 && peak.rss >= before.rss / 2, "{before:?} {peak:?}");
        let (a, b) = (Memory { rss: 1, tcp_buffers: 5, slab: 3 }, Memory { rss: 2, tcp_buffers: 4, slab: 3 });
        assert_eq!(a.most(b), Memory { rss: 2, tcp_buffers: 5, slab: 3 });
    }

    #[test]
    fn nothing_to_look_at_is_never_at_rest() {
        assert_eq!(Rest::of(&[]).await_again(0), None);
    }
}
