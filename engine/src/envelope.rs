//! What cores tell each other: moved values, in order for each pair of cores.
//!
//! Three classes, by what a full link may do to them. Control: never lost, bounded by the number of
//! connections. Data: past the link's limit they cost the connections concerned (1013). Pings: droppable.

use crate::ids::{ConnectionId, MemberId, RoomId};
use wire::close::Reason;
use wire::json::Json;

/// One message from core to core.
#[derive(Debug)]
pub enum Envelope {
    /// To a room's home: a connection wants in. Control.
    Join(Box<Join>),
    /// To a room's home: the connection has left what it joined or asked to join. Control.
    Leave {
        /// Who.
        member: MemberId,
        /// The join that ends.
        ticket: u32,
    },
    /// To a room's home: a request, as the client's JSON text, before parsing. Data, or a ping.
    Request {
        /// Who asks.
        from: MemberId,
        /// The JSON text.
        text: Box<[u8]>,
        /// A time_ping, which may be dropped.
        is_ping: bool,
    },
    /// From a room's home: the join is done; from here on this member hears the room. Control.
    Joined {
        /// Who.
        connection: ConnectionId,
        /// Which of its joins.
        ticket: u32,
        /// The room.
        room: RoomId,
        /// It was made for this member.
        is_new: bool,
        /// `joined` and the snapshot, as frames.
        frames: Vec<u8>,
    },
    /// From a room's home to one connection: frames. Data, or a ping.
    ToOne {
        /// Who.
        connection: ConnectionId,
        /// The join of the member that is answered, so that it hears nothing of a room that it has left; `None` for
        /// whoever is no member.
        ticket: Option<u32>,
        /// Whole frames.
        frames: Vec<u8>,
        /// A time_pong, which may be dropped.
        is_ping: bool,
    },
    /// From a room's home to all its members on the receiving core but one. Data.
    ToAll {
        /// The room.
        room: RoomId,
        /// Whole frames, encoded once.
        frames: Vec<u8>,
        /// They tell who came or went, which may wait a little.
        is_news: bool,
        /// Who does not get it.
        except: Option<ConnectionId>,
    },
    /// From a room's home: this link was full; these members have missed something and must come back.
    /// Control.
    Evict {
        /// The room, all of whose members on this core are meant.
        room: RoomId,
    },
    /// From a room's home: one connection must go. Control.
    EvictOne {
        /// Who.
        connection: ConnectionId,
        /// The join of the member that is meant; `None` for the connection, in whatever room it is by now.
        ticket: Option<u32>,
        /// Why.
        reason: Reason,
    },
    /// The sender has taken the place of a shard that failed: nothing of anyone is there any more. Control.
    Respawned {
        /// Which of its lives.
        life: u32,
    },
    /// The answer: from here on all is meant for that life. Control.
    Welcome {
        /// Which.
        life: u32,
    },
    /// The broadcast app: frames for every connection. Data, dropped and counted when the link is full.
    Everyone {
        /// Whole frames.
        frames: Vec<u8>,
    },
}

impl Envelope {
    /// The connection whose message this is, if it is one.
    pub fn asker(&self) -> Option<MemberId> {
        match self {
            Envelope::Join(join) => Some(join.member),
            Envelope::Request { from, .. } => Some(*from),
            _ => None,
        }
    }
}

/// A connection's wish to be a member.
#[derive(Debug)]
pub struct Join {
    /// Who.
    pub member: MemberId,
    /// Which of its joins.
    pub ticket: u32,
    /// The room.
    pub room_code: Box<str>,
    /// The user's id, as sent.
    pub user_id: Option<Json>,
    /// The host's id, as sent.
    pub host_id: Option<Json>,
    /// It was a member before the room's home began anew: nobody is told, and it hears only where the room is.
    pub is_return: bool,
}
