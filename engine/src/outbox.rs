//! What a connection is owed: bytes in order, bounded, at most one send in flight.
//!
//! A [`Buffer`] is a broadcast's batch, shared by all who get it, or one connection's own answers; the count
//! is not atomic. Bytes stay where they are from [`Outbox::begin_send`] until the send is over. All that
//! gathers while a send is in flight leaves as one. An idle outbox owns no memory.
//! Invariants: `more` is `None` while `first` is; 0 ≤ start ≤ first.len(); a buffer in flight never changes.

use crate::limits::{MERGED_SEND_BYTES_MAX, PONGS_PENDING_MAX, POOL_BUFFER_BYTES, POOL_BYTES_MAX};
use std::collections::VecDeque;
use std::rc::Rc;

/// Bytes that have, or may come to have, several owners. With one owner they may grow.
pub type Buffer = Rc<Vec<u8>>;

/// Buffers that are between two uses, the one used last on top.
#[derive(Debug, Default)]
pub struct Pool {
    buffers: Vec<Buffer>,
    /// What all of them hold room for.
    bytes: usize,
}

impl Pool {
    /// An empty buffer with one owner.
    #[inline]
    pub fn take(&mut self) -> Buffer {
        match self.buffers.pop() {
            Some(buffer) => {
                self.bytes -= buffer.capacity();
                buffer
            }
            None => Rc::new(Vec::with_capacity(POOL_BUFFER_BYTES)),
        }
    }

    /// Lets go of a buffer; it is kept if this was its last owner and there is room for it.
    #[inline]
    pub fn put(&mut self, mut buffer: Buffer) {
        if let Some(bytes) = Rc::get_mut(&mut buffer)
            && self.bytes + bytes.capacity() <= POOL_BYTES_MAX
        {
            bytes.clear();
            self.bytes += bytes.capacity();
            self.buffers.push(buffer);
        }
    }
}

/// The bytes owed to one connection.
#[derive(Debug, Default)]
pub struct Outbox {
    /// The oldest: in flight, or the next to leave.
    first: Option<Buffer>,
    /// What is younger, for the few that are owed more than one buffer.
    more: Option<Box<Backlog>>,
    /// Where in `first` the bytes that are owed begin. A buffer is bounded far below 4 GiB.
    start: u32,
    is_in_flight: bool,
    /// The kernel has taken something, or was done with a send, since this was last asked for.
    has_progress: bool,
    /// Pongs written since the outbox was last empty.
    pongs: u8,
}

#[derive(Debug, Default)]
struct Backlog {
    /// Each with the place where its bytes begin.
    buffers: VecDeque<(Buffer, u32)>,
    bytes: usize,
}

impl Outbox {
    /// Bytes owed, in flight or not.
    pub fn owed_bytes(&self) -> usize {
        let first = self.first.as_ref().map_or(0, |first| first.len() - self.start as usize);
        first + self.more.as_ref().map_or(0, |more| more.bytes)
    }

    /// Bytes owed to a peer that has not taken all that was sent last; 0 if it has.
    pub fn behind_bytes(&self) -> usize {
        if self.is_in_flight { self.owed_bytes() } else { 0 }
    }

    /// More is owed than the limit, and the kernel has not taken what was sent last: the peer does not keep up. What waits for
    /// its first send, or its next, is no fault of the peer's.
    pub fn is_over(&self, owed_max: usize) -> bool {
        self.behind_bytes() > owed_max
    }

    /// Nothing is owed and nothing in flight.
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// A send is out.
    pub fn is_in_flight(&self) -> bool {
        self.is_in_flight
    }

    /// True if the kernel has taken something since the last call.
    pub fn take_progress(&mut self) -> bool {
        std::mem::take(&mut self.has_progress)
    }

    /// Counts a pong that is about to be written; false if so many wait that it should not be.
    pub fn count_pong(&mut self) -> bool {
        let is_few = self.pongs < PONGS_PENDING_MAX;
        self.pongs += u8::from(is_few);
        is_few
    }

    /// Lets `write` append bytes of the connection's own; a buffer comes from `pool` if no one can grow.
    pub fn append(&mut self, pool: &mut Pool, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(more) = &mut self.more {
            more.append(pool, write);
        } else if self.is_in_flight {
            self.more.insert(Box::default()).append(pool, write);
        } else if let Some(own) = Rc::get_mut(self.first.get_or_insert_with(|| pool.take())) {
            write(own);
        } else {
            self.more.insert(Box::default()).append(pool, write);
        }
    }

    /// Adds a whole batch to an outbox that is empty.
    #[inline]
    pub fn begin(&mut self, batch: &Buffer) {
        debug_assert!(self.first.is_none() && self.start == 0, "an idle outbox is empty");
        self.first = Some(Rc::clone(batch));
    }

    /// Adds the part of a batch from `start` on.
    pub fn push_shared(&mut self, batch: &Buffer, start: usize) {
        let Some(first) = &mut self.first else {
            self.first = Some(Rc::clone(batch));
            self.start = start as u32;
            return;
        };
        if self.more.is_none()
            && !self.is_in_flight
            && let Some(own) = Rc::get_mut(first)
        {
            own.extend_from_slice(&batch[start..]);
        } else {
            self.push_behind(batch, start);
        }
    }

    /// A slow reader's share of a broadcast is not copied: its memory is that of all members.
    #[cold]
    fn push_behind(&mut self, batch: &Buffer, start: usize) {
        self.more.get_or_insert_default().push(Rc::clone(batch), start);
    }

    /// Something waits, and no send is out.
    #[inline]
    pub fn can_send(&self) -> bool {
        !self.is_in_flight && self.first.is_some()
    }

    /// The bytes of the next send, which is out from now on; `None` if one is out already.
    #[inline]
    pub fn begin_send(&mut self) -> Option<&[u8]> {
        if self.is_in_flight {
            return None;
        }
        if self.more.is_some() {
            self.merge();
        }
        let first = self.first.as_ref()?;
        self.is_in_flight = true;
        Some(&first[self.start as usize..])
    }

    /// The kernel has taken `bytes` of the send that is out. True if some are left, which stay out; else the
    /// send is over.
    #[inline]
    pub fn sent(&mut self, bytes: usize, pool: &mut Pool) -> bool {
        let Some(first) = &self.first else { return false };
        let owed = first.len() - self.start as usize;
        debug_assert!(self.is_in_flight && bytes <= owed, "no more is sent than was handed out");
        if bytes < owed {
            self.has_progress |= bytes > 0;
            self.start += bytes as u32;
            return true;
        }
        self.end_send(pool);
        false
    }

    /// The bytes that are out.
    pub fn in_flight(&self) -> Option<&[u8]> {
        self.first.as_ref().filter(|_| self.is_in_flight).map(|first| &first[self.start as usize..])
    }

    /// The send is over, whatever of it was sent.
    #[inline]
    pub fn end_send(&mut self, pool: &mut Pool) {
        self.is_in_flight = false;
        self.start = 0;
        self.has_progress = true;
        self.pongs = 0;
        if let Some(first) = self.first.take() {
            pool.put(first);
        }
        if self.more.is_some() {
            self.next();
        }
    }

    /// Forgets all that waits; a send that is out stays so until it is over.
    pub fn clear(&mut self) {
        self.more = None;
        if !self.is_in_flight {
            self.first = None;
        }
    }

    /// Moves the oldest of the backlog to the empty front.
    #[cold]
    fn next(&mut self) {
        if let Some(more) = &mut self.more
            && let Some((buffer, start)) = more.pop()
        {
            self.first = Some(buffer);
            self.start = start;
        }
        if self.more.as_ref().is_some_and(|more| more.buffers.is_empty()) {
            self.more = None;
        }
    }

    /// Joins the front with as much of the backlog as one send may carry.
    #[cold]
    fn merge(&mut self) {
        while let (Some(first), Some(more)) = (&mut self.first, &mut self.more)
            && let Some((next, start)) = more.buffers.front()
        {
            let next = &next[*start as usize..];
            if first.len() - self.start as usize + next.len() > MERGED_SEND_BYTES_MAX {
                return;
            }
            if let Some(own) = Rc::get_mut(first) {
                own.extend_from_slice(next);
            } else {
                let own = [&first[self.start as usize..], next].concat();
                *first = Rc::new(own);
                self.start = 0;
            }
            more.pop();
            if more.buffers.is_empty() {
                self.more = None;
            }
        }
    }
}

impl Backlog {
    fn push(&mut self, buffer: Buffer, start: usize) {
        self.bytes += buffer.len() - start;
        self.buffers.push_back((buffer, start as u32));
    }

    fn pop(&mut self) -> Option<(Buffer, u32)> {
        let (buffer, start) = self.buffers.pop_front()?;
        self.bytes -= buffer.len() - start as usize;
        Some((buffer, start))
    }

    fn append(&mut self, pool: &mut Pool, write: impl FnOnce(&mut Vec<u8>)) {
        if self.buffers.back_mut().is_none_or(|(youngest, _)| Rc::get_mut(youngest).is_none()) {
            self.buffers.push_back((pool.take(), 0));
        }
        if let Some(own) = self.buffers.back_mut().and_then(|(youngest, _)| Rc::get_mut(youngest)) {
            let before = own.len();
            write(own);
            self.bytes += own.len() - before;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(bytes: Option<&[u8]>) -> String {
        bytes.map_or_else(|| "-".to_owned(), |bytes| String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[test]
    fn bytes_leave_in_order_one_send_at_a_time_and_are_all_accounted_for() {
        let mut outbox = Outbox::default();
        let pool = &mut Pool::default();
        let batch = Rc::new(b"0123456789".to_vec());
        outbox.push_shared(&batch, 7);
        assert_eq!(Rc::strong_count(&batch), 2, "not copied");
        assert_eq!(text(outbox.begin_send()), "789");
        outbox.append(pool, |own| own.extend_from_slice(b"own"));
        outbox.push_shared(&batch, 8);
        assert_eq!(Rc::strong_count(&batch), 3, "not copied while a send is in flight");
        outbox.append(pool, |own| own.extend_from_slice(b"more"));
        assert_eq!(outbox.owed_bytes(), 3 + 3 + 2 + 4);
        assert_eq!(text(outbox.begin_send()), "-", "one send at a time");
        assert!(outbox.sent(1, pool));
        assert_eq!(text(outbox.in_flight()), "89", "the rest of a short send");
        assert_eq!(text(outbox.begin_send()), "-", "which is still in flight");
        assert!(!outbox.sent(2, pool));
        assert_eq!(text(outbox.begin_send()), "own89more");
        assert_eq!(Rc::strong_count(&batch), 1);
        assert!(!outbox.sent(9, pool));
        assert!(outbox.is_empty() && outbox.owed_bytes() == 0 && outbox.begin_send().is_none());
    }

    #[test]
    fn what_is_in_flight_stays_as_it_is_until_the_send_is_over() {
        let mut outbox = Outbox::default();
        let pool = &mut Pool::default();
        outbox.append(pool, |own| own.extend_from_slice(b"first"));
        let address = outbox.begin_send().unwrap().as_ptr();
        outbox.append(pool, |own| own.extend_from_slice(&[0; 2 * POOL_BUFFER_BYTES]));
        outbox.clear();
        assert_eq!(outbox.in_flight().unwrap().as_ptr(), address);
        assert_eq!(text(outbox.in_flight()), "first");
        outbox.end_send(pool);
        assert!(outbox.is_empty());
    }

    #[test]
    fn the_pool_keeps_buffers_that_have_no_other_owner_up_to_its_bytes() {
        let mut pool = Pool::default();
        let mut buffer = pool.take();
        Rc::get_mut(&mut buffer).unwrap().extend_from_slice(b"used");
        let address = buffer.as_ptr();
        let other = Rc::clone(&buffer);
        pool.put(buffer);
        assert_eq!(pool.buffers.len(), 0, "it has another owner");
        pool.put(other);
        let buffer = pool.take();
        assert!(buffer.is_empty() && buffer.as_ptr() == address && pool.bytes == 0);
        for _ in 0..20 {
            pool.put(Rc::new(Vec::with_capacity(POOL_BYTES_MAX / 10)));
        }
        assert_eq!((pool.buffers.len(), pool.bytes), (10, POOL_BYTES_MAX / 10 * 10));
    }

    #[test]
    fn answers_and_a_broadcast_of_one_turn_are_one_send() {
        let mut outbox = Outbox::default();
        outbox.append(&mut Pool::default(), |own| own.extend_from_slice(b"answer"));
        outbox.push_shared(&Rc::new(b"event".to_vec()), 0);
        assert_eq!(text(outbox.begin_send()), "answerevent");
        outbox.sent(11, &mut Pool::default());
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_broadcast_and_an_answer_of_one_turn_are_one_send() {
        let mut outbox = Outbox::default();
        let batch = Rc::new(b"an event".to_vec());
        outbox.push_shared(&batch, 3);
        outbox.append(&mut Pool::default(), |own| own.extend_from_slice(b"answer"));
        assert_eq!(text(outbox.begin_send()), "eventanswer");
    }

    #[test]
    fn a_backlog_leaves_in_sends_of_bounded_size() {
        let mut outbox = Outbox::default();
        let pool = &mut Pool::default();
        let batch = Rc::new(vec![b'x'; MERGED_SEND_BYTES_MAX / 2]);
        outbox.push_shared(&batch, 0);
        let first = outbox.begin_send().map(<[u8]>::len).unwrap();
        for _ in 0..5 {
            outbox.push_shared(&batch, 0);
        }
        assert!(!outbox.sent(first, pool));
        let mut sends = vec![];
        while let Some(bytes) = outbox.begin_send().map(<[u8]>::len) {
            sends.push(bytes);
            assert!(!outbox.sent(bytes, pool));
        }
        assert_eq!(sends, [MERGED_SEND_BYTES_MAX, MERGED_SEND_BYTES_MAX, MERGED_SEND_BYTES_MAX / 2]);
        assert_eq!(outbox.owed_bytes(), 0);
    }

    proptest! {
        /// Whatever is pushed, and however sends are cut short, the peer gets it in order and once.
        #[test]
        fn what_goes_in_comes_out(steps in prop::collection::vec((0..4_u8, 0..40_usize), 1..60)) {
            let mut outbox = Outbox::default();
            let pool = &mut Pool::default();
            let (mut owed, mut got) = (Vec::new(), Vec::new());
            let mut count = 0_u8;
            for (step, amount) in steps {
                count = count.wrapping_add(1);
                match step {
                    0 => {
                        outbox.append(pool, |own| own.extend(std::iter::repeat_n(count, amount + 1)));
                        owed.extend(std::iter::repeat_n(count, amount + 1));
                    }
                    1 => {
                        let batch = Rc::new(vec![count; amount + 3]);
                        outbox.push_shared(&batch, 2);
                        owed.extend(std::iter::repeat_n(count, amount + 1));
                    }
                    _ => {
                        let bytes = match outbox.in_flight() {
                            Some(bytes) => bytes.to_vec(),
                            None => outbox.begin_send().unwrap_or_default().to_vec(),
                        };
                        let taken = amount.min(bytes.len());
                        if !bytes.is_empty() {
                            got.extend_from_slice(&bytes[..taken]);
                            let is_left = outbox.sent(taken, pool);
                            prop_assert_eq!(outbox.in_flight().unwrap_or_default(), &bytes[taken..]);
                            prop_assert_eq!(is_left, taken < bytes.len());
                        }
                    }
                }
                prop_assert_eq!(outbox.owed_bytes(), owed.len() - got.len());
                prop_assert_eq!(outbox.is_empty(), owed.len() == got.len());
            }
            prop_assert_eq!(&got[..], &owed[..got.len()]);
        }
    }
}
