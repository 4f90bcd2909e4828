//! What a shard holds, for whoever checks that it holds no more than it should. It changes nothing and is on no
//! message's way.

use super::Shard;
use crate::ids::ConnectionId;
use crate::room::Room;

/// How many there are of everything that must go when everyone has gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Rooms whose home is this shard.
    pub rooms: usize,
    /// This shard's parts of rooms, wherever their home is.
    pub audiences: usize,
    /// Of those, the ones of rooms whose home is elsewhere.
    pub audiences_elsewhere: usize,
    /// Members of rooms here whose sockets are elsewhere.
    pub members_elsewhere: usize,
    /// Requests that have not come whole.
    pub heads: usize,
    /// Connections in line to leave.
    pub ends_waiting: usize,
    /// Slots in use.
    pub slots: usize,
}

impl Shard {
    /// What it holds now. Constant.
    pub fn holdings(&self) -> Holdings {
        Holdings {
            rooms: self.rooms.len(),
            audiences: self.audiences.len(),
            audiences_elsewhere: self.audiences_elsewhere.len(),
            members_elsewhere: self.members_elsewhere.len(),
            heads: self.heads.len(),
            ends_waiting: self.ends_waiting.len(),
            slots: self.connections.len() - self.free.len(),
        }
    }

    /// The rooms whose home it is, in no order that means anything.
    pub fn rooms(&self) -> impl Iterator<Item = &Room> {
        self.rooms.iter().map(|(_, room)| room)
    }

    /// Bytes owed to a connection; 0 once it is released.
    pub fn owed_bytes(&self, id: ConnectionId) -> usize {
        self.live(id).map_or(0, |index| self.connections[index as usize].outbox.owed_bytes())
    }
}
