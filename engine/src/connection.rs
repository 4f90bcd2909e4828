//! One connection's record in its shard: where it stands, what it has sent of a frame, what it is owed.
//!
//! Plain data; what happens to it is in [`crate::shard`]. An idle one owns no memory beyond its record.

use crate::ids::{ConnectionId, CoreId};
use crate::outbox::Outbox;
use wire::decoder::Decoder;

/// A slot of a shard's table.
#[derive(Debug)]
pub struct Connection {
    /// Counts the slot's uses.
    pub generation: u32,
    /// Where it stands.
    pub phase: Phase,
    /// Joins of this connection so far; names the newest to its home. While the upgrade request is being read nothing can
    /// be joined, and this is when it was accepted: µs of the master clock, wrapped.
    pub ticket: u32,
    /// The frame or message that is unfinished, if one is.
    pub unfinished: Option<Box<Unfinished>>,
    /// What it is owed.
    pub outbox: Outbox,
    /// What it is a member of.
    pub membership: Membership,
    /// It stands in a list of connections with something to send, or is to be sent nothing any more.
    pub is_listed: bool,
    /// It ended, and stands in line to leave.
    pub is_ending: bool,
    /// It is midway in a message or behind in what it is owed, and looked at until it is neither.
    pub is_watched: bool,
    /// It asked for the state while it was late: it gets the newest once it has caught up.
    pub is_state_due: bool,
    /// Pings since it last showed life.
    pub pings_unanswered: u8,
    /// How much it has had to say of late.
    pub activity: Activity,
}

/// A frame or message of which more is to come.
#[derive(Debug)]
pub struct Unfinished {
    /// What has come.
    pub decoder: Decoder,
    /// When it began, µs of the master clock.
    pub since_us: i64,
}

/// A connection's life, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The slot is unused.
    Free,
    /// The upgrade request is being read.
    Head,
    /// Messages flow.
    Open,
    /// Our last bytes are queued; nothing more is read or said.
    Closing {
        /// They are gone, and so is our end of the connection.
        is_shut: bool,
        /// The peer's end is gone: nothing holds the descriptor any longer than our last bytes.
        peer_ended: bool,
    },
    /// The driver was told to let go of the descriptor.
    Gone,
}

/// Whether a connection speaks, apart from answering pings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// It spoke since the last ping.
    Lively,
    /// It has not spoken since the last ping.
    Quiet,
    /// It did not speak between two pings: the driver waits for it with as little memory as possible.
    Resting,
}

/// What a connection is a member of. One room at most.
#[derive(Debug, Default)]
pub enum Membership {
    /// Nothing.
    #[default]
    None,
    /// It asked another core.
    Joining(Box<Joining>),
    /// It hears a room.
    Member {
        /// Which audience of this shard.
        audience: u32,
        /// Its place there.
        place: u32,
        /// Its place among the room's members, if the room's home is this shard.
        home_place: u32,
    },
}

/// A join that another core has not confirmed yet.
#[derive(Debug)]
pub struct Joining {
    /// The core asked.
    pub home: CoreId,
    /// The room asked for.
    pub room_code: Box<str>,
    /// It was a member before the room's home began anew.
    pub is_return: bool,
}

/// What a million idle connections cost: one cache line each. An idle one owns nothing else but its place in
/// its room.
const CONNECTION_BYTES_MAX: usize = 64;

const _: () = assert!(size_of::<Connection>() <= CONNECTION_BYTES_MAX);

impl Connection {
    /// A slot never used.
    pub fn unused() -> Connection {
        Connection {
            generation: 0,
            phase: Phase::Free,
            ticket: 0,
            unfinished: None,
            outbox: Outbox::default(),
            membership: Membership::None,
            is_listed: false,
            is_ending: false,
            is_watched: false,
            is_state_due: false,
            pings_unanswered: 0,
            activity: Activity::Lively,
        }
    }

    /// Its id, given its slot.
    pub fn id(&self, index: u32) -> ConnectionId {
        ConnectionId { index, generation: self.generation }
    }
}
