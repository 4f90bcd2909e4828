//! A connection between a client and a shard: both ends, and what is on the way.
//!
//! Plain data. Bytes go up in pieces with a time of arrival each, wait in the kernel, and are received by the
//! shard that has the socket; down they go through the one send in flight into the kernel, whose room is bounded,
//! and wait there for the client to read.

use super::hearing::Hearing;
use super::said::What;
use crate::model::Client;
use engine::ConnectionId;
use std::collections::VecDeque;

/// Where the server has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// On its way to another core.
    Moving,
    /// In a shard's table.
    Open,
    /// The shard has let go of it; the kernel has not.
    Dropping,
    /// Nowhere any more.
    Released,
}

/// How a side ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Fin,
    Reset,
}

/// What travels up.
#[derive(Clone, Debug)]
pub(super) enum Piece {
    Bytes(Vec<u8>),
    End(End),
}

/// What the client's program does with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// It reads and writes.
    Open,
    /// It has ended its own direction and goes on reading.
    HalfClosed,
    /// It is gone, by an end, a reset or without a word.
    Gone,
}

/// A send that the kernel has.
#[derive(Debug)]
pub(super) struct InFlight {
    /// Where the rest of its bytes lies in the engine's memory.
    pub(super) address: usize,
    /// The rest of its bytes, as they were handed over.
    pub(super) bytes: Vec<u8>,
    /// What the client was owed when it began.
    pub(super) owed_bytes: usize,
    /// It waits for the client to read.
    pub(super) is_waiting: bool,
}

#[derive(Debug)]
pub(super) struct Socket {
    pub(super) client: Client,
    pub(super) person: usize,
    pub(super) core: u16,
    pub(super) place: Place,
    /// While it is in a shard's table.
    pub(super) connection: Option<ConnectionId>,

    /// On the way up, with the time of arrival.
    pub(super) pieces: VecDeque<(i64, Piece)>,
    /// Bytes that the client has written.
    pub(super) written: u64,
    /// What those bytes mean, each with the offset where it is complete.
    pub(super) said: VecDeque<(u64, What)>,
    /// Arrived and not received by the shard.
    pub(super) arrived: Vec<u8>,
    pub(super) arrived_end: Option<End>,
    /// The shard was told of the end.
    pub(super) is_end_told: bool,
    /// Bytes that the shard was told.
    pub(super) told: u64,
    /// The request's head was read to its end.
    pub(super) is_upgraded: bool,
    /// Whatever comes now is not listened to: a close, a fault or a refusal came before.
    pub(super) is_unheard: bool,
    /// It went with the shard that had it.
    pub(super) is_lost: bool,
    /// A receive stands in the shard's line of completions.
    pub(super) is_receive_due: bool,
    pub(super) is_resting: bool,
    pub(super) is_woken: bool,

    pub(super) in_flight: Option<InFlight>,
    /// Sent, and not read by the client.
    pub(super) sent: Vec<u8>,
    pub(super) sent_end: Option<End>,
    pub(super) is_read_due: bool,
    pub(super) is_stalled: bool,
    /// It was stalled once, so some of its questions may not be answered.
    pub(super) is_slow: bool,
    /// It is to be told where its room is once it has read.
    pub(super) is_state_due: bool,
    pub(super) side: Side,
    /// Read, and not a whole frame yet.
    pub(super) read: Vec<u8>,
    pub(super) is_answered: bool,

    /// Why the server may let go of it without a word, if there is a reason.
    pub(super) excuse: Option<&'static str>,
    pub(super) hearing: Hearing,
}

impl Socket {
    pub(super) fn new(client: Client, person: usize, core: u16) -> Socket {
        Socket {
            client,
            person,
            core,
            place: Place::Open,
            connection: None,
            pieces: VecDeque::new(),
            written: 0,
            said: VecDeque::new(),
            arrived: Vec::new(),
            arrived_end: None,
            is_end_told: false,
            told: 0,
            is_upgraded: false,
            is_unheard: false,
            is_lost: false,
            is_receive_due: false,
            is_resting: false,
            is_woken: false,
            in_flight: None,
            sent: Vec::new(),
            sent_end: None,
            is_read_due: false,
            is_stalled: false,
            is_slow: false,
            is_state_due: false,
            side: Side::Open,
            read: Vec::new(),
            is_answered: false,
            excuse: None,
            hearing: Hearing::default(),
        }
    }

    /// The client may write.
    pub(super) fn is_writable(&self) -> bool {
        self.side == Side::Open && self.is_answered && !self.hearing.is_closed && self.sent_end.is_none()
    }

    /// How many of the arrived bytes one receive may take so that at most one text is completed by it.
    pub(super) fn one_text_bytes(&self) -> usize {
        let mut ends = self.said.iter().filter(|(end, what)| *end > self.told && what.is_text());
        let second = ends.nth(1).map_or(u64::MAX, |(end, _)| *end - 1);
        (second - self.told).min(self.arrived.len() as u64) as usize
    }
}
