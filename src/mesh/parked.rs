//! Who rings, and when: a core sleeps only after a last look, a sender rings only if it sleeps.
//!
//! The sleeper sets the flag, then looks at its inboxes; a sender fills an inbox, then looks at the flag.
//! With a sequentially consistent fence between the two on either side, at least one of them sees the
//! other, so no wake-up is lost; `tests/parked.rs` explores the interleavings of this very file.

use super::atomic::{AtomicBool, Ordering, fence};

/// Whether a core sleeps, or is about to.
#[derive(Default)]
pub struct Parked(AtomicBool);

impl Parked {
    /// The sleeper: about to sleep. It must look at its inboxes once more after this, and call
    /// [`Parked::wake`] if they are not empty, and when it has slept.
    pub fn prepare(&self) {
        self.0.store(true, Ordering::Relaxed);
        // Pairs with the fence in `must_ring`.
        fence(Ordering::SeqCst);
    }

    /// The sleeper: awake.
    pub fn wake(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// A sender, after filling an inbox: true if it has to ring. Only one of several senders rings.
    pub fn must_ring(&self) -> bool {
        // Pairs with the fence in `prepare`.
        fence(Ordering::SeqCst);
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed)
    }
}
