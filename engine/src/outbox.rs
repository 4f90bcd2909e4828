//! What a connection is owed: bytes in order, bounded, at most one send in flight.
//!
//! Bytes of a broadcast are shared with the other members by a non-atomic count; a connection's own answers
//! are its own. All that gathers while a send is in flight leaves as one. An idle outbox owns no memory.

use crate::limits::{MERGED_SEND_BYTES_MAX, POOL_BUFFER_BYTES, POOL_BUFFERS_MAX};
use std::collections::VecDeque;
use std::rc::Rc;

/// One send's bytes. They stay where they are until the send has completed.
#[derive(Debug)]
pub enum Chunk {
    /// One connection's.
    Own(Vec<u8>),
    /// A part of what an audience's members all get.
    Shared {
        /// The turn's batch.
        batch: Rc<Vec<u8>>,
        /// Where this member's part begins.
        start: usize,
    },
}

impl Chunk {
    /// The bytes to send.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Chunk::Own(bytes) => bytes,
            Chunk::Shared { batch, start } => &batch[*start..],
        }
    }
}

/// Buffers that are between two uses, all of one size.
#[derive(Debug, Default)]
pub struct Pool(Vec<Vec<u8>>);

impl Pool {
    /// An empty buffer.
    pub fn take(&mut self) -> Vec<u8> {
        self.0.pop().unwrap_or_else(|| Vec::with_capacity(POOL_BUFFER_BYTES))
    }

    /// Gives a buffer back; it is kept if it did not grow and there is room.
    pub fn put(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() == POOL_BUFFER_BYTES && self.0.len() < POOL_BUFFERS_MAX {
            buffer.clear();
            self.0.push(buffer);
        }
    }
}

/// The bytes owed to one connection.
#[derive(Debug, Default)]
pub struct Outbox {
    /// The oldest, if nothing stands before it.
    next: Option<Chunk>,
    /// Younger than `next`.
    #[expect(clippy::box_collection, reason = "8 bytes of an idle outbox, not 32")]
    backlog: Option<Box<VecDeque<Chunk>>>,
    /// The youngest; grows in place.
    own: Vec<u8>,
    /// Bytes of `next` and `backlog`. An outbox is bounded far below 4 GiB.
    waiting_bytes: u32,
    /// Bytes handed out and not yet reported as sent.
    in_flight_bytes: u32,
}

impl Outbox {
    /// Bytes owed, in flight or not.
    pub fn owed_bytes(&self) -> usize {
        (self.in_flight_bytes + self.waiting_bytes) as usize + self.own.len()
    }

    /// Nothing waits to be handed out.
    pub fn is_empty(&self) -> bool {
        self.waiting_bytes == 0 && self.own.is_empty()
    }

    /// A send is out.
    pub fn is_in_flight(&self) -> bool {
        self.in_flight_bytes > 0
    }

    /// Where the connection's own next bytes go; the buffer comes from `pool` if there is none yet.
    pub fn own(&mut self, pool: &mut Pool) -> &mut Vec<u8> {
        if self.own.capacity() == 0 {
            self.own = pool.take();
        }
        &mut self.own
    }

    /// Adds the part of a batch from `start` on.
    pub fn push_shared(&mut self, batch: &Rc<Vec<u8>>, start: usize) {
        if self.own.is_empty() && self.next.is_none() {
            self.waiting_bytes = (batch.len() - start) as u32;
            self.next = Some(Chunk::Shared { batch: Rc::clone(batch), start });
        } else if self.is_in_flight() {
            // A slow reader's share of a broadcast is not copied: its memory is that of all members.
            self.queue_own();
            self.queue(Chunk::Shared { batch: Rc::clone(batch), start });
        } else {
            self.own.extend_from_slice(&batch[start..]);
        }
    }

    /// Hands out the next send, if none is in flight.
    pub fn take(&mut self) -> Option<Chunk> {
        if self.is_in_flight() {
            return None;
        }
        self.queue_own();
        let mut chunk = self.next.take()?;
        if self.backlog.is_some() {
            chunk = self.merged(chunk);
        }
        self.in_flight_bytes = chunk.as_slice().len() as u32;
        self.waiting_bytes -= self.in_flight_bytes;
        Some(chunk)
    }

    /// The kernel has taken `bytes` more of the send in flight.
    pub fn sent(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.in_flight_bytes as usize, "no more is sent than was handed out");
        self.in_flight_bytes = self.in_flight_bytes.saturating_sub(bytes as u32);
    }

    /// Forgets all that waits; a send in flight stays so until it is reported.
    pub fn clear(&mut self) {
        *self = Outbox { in_flight_bytes: self.in_flight_bytes, ..Outbox::default() };
    }

    fn queue_own(&mut self) {
        if !self.own.is_empty() {
            let own = std::mem::take(&mut self.own);
            self.queue(Chunk::Own(own));
        }
    }

    fn queue(&mut self, chunk: Chunk) {
        self.waiting_bytes += chunk.as_slice().len() as u32;
        if self.next.is_none() {
            self.next = Some(chunk);
        } else {
            self.backlog.get_or_insert_default().push_back(chunk);
        }
    }

    /// `first` and as much of the backlog as one send may carry.
    fn merged(&mut self, first: Chunk) -> Chunk {
        let Some(backlog) = &mut self.backlog else { return first };
        let mut chunk = first;
        while let Some(next) = backlog.pop_front() {
            if chunk.as_slice().len() + next.as_slice().len() > MERGED_SEND_BYTES_MAX {
                self.next = Some(next);
                return chunk;
            }
            let mut bytes = match chunk {
                Chunk::Own(bytes) => bytes,
                shared @ Chunk::Shared { .. } => shared.as_slice().to_vec(),
            };
            bytes.extend_from_slice(next.as_slice());
            chunk = Chunk::Own(bytes);
        }
        self.backlog = None;
        chunk
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(chunk: Option<Chunk>) -> String {
        chunk.map_or_else(|| "-".to_owned(), |chunk| String::from_utf8(chunk.as_slice().to_vec()).unwrap())
    }

    #[test]
    fn bytes_leave_in_order_one_send_at_a_time_and_are_all_accounted_for() {
        let mut outbox = Outbox::default();
        let pool = &mut Pool::default();
        let batch = Rc::new(b"0123456789".to_vec());
        outbox.push_shared(&batch, 7);
        assert_eq!(text(outbox.take()), "789");
        assert_eq!(Rc::strong_count(&batch), 1, "the chunk held the share");
        outbox.own(pool).extend_from_slice(b"own");
        outbox.push_shared(&batch, 8);
        assert_eq!(Rc::strong_count(&batch), 2, "not copied while a send is in flight");
        outbox.own(pool).extend_from_slice(b"more");
        assert_eq!(outbox.owed_bytes(), 3 + 3 + 2 + 4);
        assert_eq!(text(outbox.take()), "-", "one send at a time");
        outbox.sent(1);
        assert_eq!(text(outbox.take()), "-", "the rest of a short send is still in flight");
        outbox.sent(2);
        assert_eq!(text(outbox.take()), "own89more");
        outbox.sent(9);
        assert!(outbox.is_empty() && outbox.owed_bytes() == 0 && outbox.take().is_none());
    }

    #[test]
    fn the_pool_keeps_buffers_of_its_size_and_no_others() {
        let mut pool = Pool::default();
        let mut buffer = pool.take();
        buffer.extend_from_slice(b"used");
        let address = buffer.as_ptr();
        pool.put(buffer);
        let mut buffer = pool.take();
        assert!(buffer.is_empty() && buffer.as_ptr() == address);
        buffer.extend_from_slice(&[0; POOL_BUFFER_BYTES + 1]);
        pool.put(buffer);
        assert_eq!(pool.take().capacity(), POOL_BUFFER_BYTES);
        (0..2 * POOL_BUFFERS_MAX).for_each(|_| pool.put(Vec::with_capacity(POOL_BUFFER_BYTES)));
        assert_eq!(pool.0.len(), POOL_BUFFERS_MAX);
    }

    #[test]
    fn answers_and_a_broadcast_of_one_turn_are_one_send() {
        let mut outbox = Outbox::default();
        outbox.own(&mut Pool::default()).extend_from_slice(b"answer");
        outbox.push_shared(&Rc::new(b"event".to_vec()), 0);
        assert_eq!(text(outbox.take()), "answerevent");
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_backlog_leaves_in_sends_of_bounded_size() {
        let mut outbox = Outbox::default();
        let batch = Rc::new(vec![b'x'; MERGED_SEND_BYTES_MAX / 2]);
        outbox.push_shared(&batch, 0);
        let first = outbox.take().map(|chunk| chunk.as_slice().len());
        for _ in 0..5 {
            outbox.push_shared(&batch, 0);
        }
        let mut sends = vec![];
        outbox.sent(first.unwrap());
        while let Some(chunk) = outbox.take() {
            sends.push(chunk.as_slice().len());
            outbox.sent(chunk.as_slice().len());
        }
        assert_eq!(sends, [MERGED_SEND_BYTES_MAX, MERGED_SEND_BYTES_MAX, MERGED_SEND_BYTES_MAX / 2]);
        assert_eq!(outbox.owed_bytes(), 0);
    }
}
