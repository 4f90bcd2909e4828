//! What a shard holds, for whoever checks that it holds no more than it should. It changes nothing and is on no
//! message's way.

use super::Shard;
use crate::ids::ConnectionId;
use crate::limits::App;
use crate::room::Room;

/// How many there are of everything that must go when everyone has gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Rooms whose home is this shard.
    pub rooms: usize,
    /// Their codes.
    pub codes: usize,
    /// This shard's parts of rooms, wherever their home is.
    pub audiences: usize,
    /// Of those, the ones of rooms whose home is elsewhere.
    pub audiences_elsewhere: usize,
    /// Members of rooms here whose sockets are elsewhere.
    pub members_elsewhere: usize,
    /// Requests that have not come whole.
    pub heads: usize,
    /// Connections in rooms whose home is elsewhere, or that asked for one.
    pub identities: usize,
    /// Connections that are midway in a message or behind.
    pub watched: usize,
    /// Pings that wait for room among the pongs.
    pub newest_pings: usize,
    /// Connections that have sent messages past their rate.
    pub excesses: usize,
    /// Connections to which a state is to be sent.
    pub states_due: usize,
    /// Connections in line to leave.
    pub ends_waiting: usize,
    /// Links in which an envelope waits.
    pub links_in_use: usize,
    /// Listeners of the broadcast app.
    pub everyone: usize,
    /// Slots in use.
    pub slots: usize,
    /// See [`Shard::has_work`].
    pub has_work: bool,
}

impl Shard {
    /// What it holds now. Linear in the number of cores.
    pub fn holdings(&self) -> Holdings {
        let everyone = (self.settings.app == App::Broadcast).then(|| self.audiences[0].listeners.len());
        Holdings {
            rooms: self.rooms.len(),
            codes: self.rooms_by_code.len(),
            audiences: self.audiences.len() - usize::from(everyone.is_some()),
            audiences_elsewhere: self.audiences_elsewhere.len(),
            members_elsewhere: self.members_elsewhere.len(),
            heads: self.heads.len(),
            identities: self.identities.len(),
            watched: self.watched.len(),
            newest_pings: self.newest_pings.len(),
            excesses: self.excesses.len(),
            states_due: self.states_due.len(),
            ends_waiting: self.ends_waiting.len(),
            links_in_use: self.links.iter().filter(|it| !it.is_empty()).count(),
            everyone: everyone.unwrap_or(0),
            slots: self.connections.len() - self.free.len(),
            has_work: self.has_work(),
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
