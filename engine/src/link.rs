//! What waits for one peer: envelopes in order, bounded.
//!
//! The channel below takes whole batches or nothing. When it takes nothing the batch stays here, and past
//! the limit each class of envelope has its own fate: see [`crate::envelope`] and the callers of
//! [`Link::is_full`].

use crate::envelope::Envelope;

/// The way to one peer.
#[derive(Debug)]
pub struct Link {
    queue: Vec<Envelope>,
    backlog_max: usize,
}

impl Link {
    /// An empty link.
    pub fn new(backlog_max: usize) -> Link {
        Link { queue: Vec::new(), backlog_max }
    }

    /// Data must not be added any more.
    pub fn is_full(&self) -> bool {
        self.queue.len() >= self.backlog_max
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Adds an envelope: control always, data only after asking [`Link::is_full`].
    pub fn push(&mut self, envelope: Envelope) {
        self.queue.push(envelope);
    }

    /// All that waits, as one batch.
    pub fn take(&mut self) -> Vec<Envelope> {
        std::mem::take(&mut self.queue)
    }
}
