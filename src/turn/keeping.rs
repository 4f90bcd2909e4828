//! Hands over what is kept of the rooms, some of them a turn, so that nobody waits for it.

use crate::driver::Driver;
use engine::snapshot::Slice;
use futures_channel::oneshot::Sender;
use std::sync::Arc;

/// Where a slice goes; nothing if the rooms are as they were handed over last.
pub type Reply = Sender<Option<Arc<Slice>>>;

/// What is on its way to be handed over, and what was.
#[derive(Default)]
pub(super) struct Keeping {
    writing: Option<Writing>,
    /// What had changed when rooms were handed over last in this life.
    changes: Option<u64>,
}

struct Writing {
    slice: Slice,
    next: Option<usize>,
    /// What had changed when it began.
    changes: u64,
    reply: Reply,
}

impl Keeping {
    /// Begins a slice, if anything has changed.
    pub(super) fn begin(&mut self, driver: &mut Driver, reply: Reply) {
        let changes = driver.shard().changes();
        if self.changes == Some(changes) {
            // Who does not wait any more has no use for it.
            let _ = reply.send(None);
            return;
        }
        self.writing = Some(Writing { slice: Slice::default(), next: Some(0), changes, reply });
    }

    /// Writes some rooms more; the slice, once it is whole.
    pub(super) fn go_on(&mut self, driver: &mut Driver) -> Option<Arc<Slice>> {
        let mut writing = self.writing.take()?;
        writing.next = writing.next.and_then(|next| driver.shard().write_slice(next, &mut writing.slice));
        if writing.next.is_some() {
            self.writing = Some(writing);
            return None;
        }
        let slice = Arc::new(writing.slice);
        // What nobody has taken is handed over again.
        self.changes = writing.reply.send(Some(Arc::clone(&slice))).is_ok().then_some(writing.changes);
        Some(slice)
    }

    /// A slice is not whole yet.
    pub(super) fn has_work(&self) -> bool {
        self.writing.is_some()
    }
}
