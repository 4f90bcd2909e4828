//! No wake-up is lost: every interleaving of a sleeper and its senders, by loom.
//!
//! The file under test is the server's own, compiled here against loom's atomics.

mod atomic {
    pub(super) use loom::sync::atomic::{AtomicBool, Ordering, fence};
}

#[path = "../src/mesh/parked.rs"]
mod parked;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use parked::Parked;

/// An inbox and a bell whose memory orders promise nothing beyond the flag's own protocol.
struct Core {
    parked: Parked,
    inbox: AtomicUsize,
    bell: AtomicUsize,
}

fn send(core: &Core) {
    core.inbox.fetch_add(1, Ordering::Relaxed);
    if core.parked.must_ring() {
        core.bell.fetch_add(1, Ordering::Relaxed);
    }
}

/// Looks once; true if it would go on sleeping although `sent` messages are there and no bell rang.
fn park_once(core: &Core) -> (usize, bool) {
    core.parked.prepare();
    let seen = core.inbox.swap(0, Ordering::Relaxed);
    if seen > 0 {
        core.parked.wake();
    }
    (seen, seen == 0)
}

/// Explores all interleavings with up to `preemptions` switches that no one asked for; all of them if `None`.
fn check(senders: usize, preemptions: Option<usize>) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = preemptions;
    model.check(move || {
        let core = Arc::new(Core {
            parked: Parked::default(),
            inbox: AtomicUsize::new(0),
            bell: AtomicUsize::new(0),
        });
        let threads: Vec<_> = (0..senders)
            .map(|_| {
                let core = Arc::clone(&core);
                thread::spawn(move || send(&core))
            })
            .collect();
        let (seen, asleep) = park_once(&core);
        for thread in threads {
            thread.join().expect("a sender does not panic");
        }
        let left = core.inbox.load(Ordering::Relaxed);
        let rang = core.bell.load(Ordering::Relaxed);
        assert_eq!(seen + left, senders, "nothing is lost on the way");
        assert!(!asleep || left == 0 || rang > 0, "asleep with a full inbox and a silent bell");
        assert!(rang <= senders);
    });
}

#[test]
fn one_sender_never_leaves_a_sleeper_asleep() {
    check(1, None);
}

#[test]
fn two_senders_never_leave_a_sleeper_asleep() {
    check(2, Some(3));
}
