//! A room's members on this core, and what all of them get in this turn.
//!
//! A frame for everyone is appended once to the turn's batch, whatever the number of listeners. Each
//! listener has a cursor into the batch: what it joined too late for, was left out of, or has already got
//! lies before it. When the turn ends the batch is frozen and every listener's outbox gets its part.
//! So an event costs nothing per member; a turn with events costs one step per member. A batch of news alone
//! may be put off, and then is the next turn's too.

use crate::ids::{CoreId, RoomId};
use crate::outbox::{Buffer, Pool};
use std::rc::Rc;

/// One core's part of a room, at its home or elsewhere.
#[derive(Debug)]
pub struct Audience {
    /// The room it is part of.
    pub room: RoomId,
    /// Its code.
    pub room_code: Box<str>,
    /// Connections by slot, and their cursors. A connection's record holds its place in here.
    pub listeners: Vec<Listener>,
    /// Frames for everyone in this turn, if there are any; no one else's until the turn ends. Every cursor
    /// is 0 while there are none.
    batch: Option<Buffer>,
    /// There is more than news in it: it is to leave with this turn.
    pub is_urgent: bool,
    /// It stands in the line of those with news, once, whether they have left meanwhile or not.
    pub is_put_off: bool,
}

/// A connection in an audience.
#[derive(Clone, Copy, Debug)]
pub struct Listener {
    /// The connection's slot.
    pub connection: u32,
    /// 0 ≤ cursor ≤ bytes of the batch
    pub cursor: u32,
}

impl Audience {
    /// An audience without listeners.
    pub fn new(room: RoomId, room_code: Box<str>) -> Audience {
        Audience { room, room_code, listeners: Vec::new(), batch: None, is_urgent: false, is_put_off: false }
    }

    /// The audience of the broadcast app, which has no room.
    pub fn everyone(core: CoreId) -> Audience {
        Audience::new(RoomId { home: core, index: u32::MAX, generation: 0 }, "".into())
    }

    /// Adds a connection, which hears what comes from now on; returns its place.
    pub fn add(&mut self, connection: u32) -> u32 {
        // A batch is far below 4 GiB: a turn handles a bounded number of messages.
        self.listeners.push(Listener { connection, cursor: self.batch_bytes() as u32 });
        self.listeners.len() as u32 - 1
    }

    /// Removes the listener at `place`; returns the slot of the connection that has this place now.
    pub fn remove(&mut self, place: u32) -> Option<u32> {
        self.listeners.swap_remove(place as usize);
        self.listeners.get(place as usize).map(|listener| listener.connection)
    }

    /// Bytes of the turn's batch.
    pub fn batch_bytes(&self) -> usize {
        self.batch.as_ref().map_or(0, |batch| batch.len())
    }

    /// Adds frames to the turn's batch. Constant, whatever the number of listeners.
    pub fn append(&mut self, frames: &[u8], pool: &mut Pool) {
        let batch = self.batch.get_or_insert_with(|| pool.take());
        Rc::get_mut(batch).expect("nobody shares a batch before its turn ends").extend_from_slice(frames);
    }

    /// The turn ends: the batch, which changes no more. The cursors are the caller's to reset.
    pub fn freeze(&mut self) -> Option<Buffer> {
        self.is_urgent = false;
        self.batch.take()
    }

    /// The listener at `place` has not got all of the batch yet.
    pub fn is_behind(&self, place: u32) -> bool {
        (self.listeners[place as usize].cursor as usize) < self.batch_bytes()
    }

    /// What the listener at `place` has not got yet; from now on it has.
    pub fn catch_up(&mut self, place: u32) -> &[u8] {
        let bytes = self.batch_bytes() as u32;
        let start = std::mem::replace(&mut self.listeners[place as usize].cursor, bytes);
        self.batch.as_ref().map_or(&[], |batch| &batch[start as usize..])
    }
}
