//! A shard that takes the place of one that failed, and what its peers do about it.
//!
//! The new one tells its peers first of all. Until a peer has answered, what comes from it was meant for the one
//! before, and is not heard. The peer lets go of the members whose sockets are gone, and asks for its own members' places
//! in the rooms there anew: their connections stay, and hear where the room is. Both ways are in order, so nothing else
//! has to be agreed on. Lives are numbered, since a shard may fail again before it was answered.

use super::Shard;
use crate::connection::{Joining, Membership};
use crate::envelope::{Envelope, Join};
use crate::ids::{CoreId, MemberId};
use crate::time::Now;
use wire::json::Json;

/// Numbers of one life's handshakes, and lives until they are used again: with a core's number, what an id has room for.
const HANDSHAKE_BITS: u32 = 40;
const HANDSHAKE_LIVES: u32 = 1 << 8;

/// As whom a connection joined a room whose home is elsewhere.
#[derive(Clone, Debug, Default)]
pub(super) struct Identity {
    pub(super) user_id: Option<Json>,
    pub(super) host_id: Option<Json>,
}

impl Shard {
    /// Takes the place of a shard that failed; `life` differs from that of all before.
    pub fn begin_life(&mut self, life: u32, now: Now) {
        self.now = now;
        self.life = life;
        // Devices may still answer a handshake of the life before.
        self.handshakes = u64::from(life % HANDSHAKE_LIVES) << HANDSHAKE_BITS;
        for peer in self.peers() {
            self.unheard[usize::from(peer.0)] = true;
            self.links[usize::from(peer.0)].push(Envelope::Respawned { life });
        }
    }

    /// False for what a peer sent before it knew of this life.
    pub(super) fn hears(&mut self, from: CoreId, envelope: &Envelope) -> bool {
        let unheard = &mut self.unheard[usize::from(from.0)];
        if *unheard && matches!(envelope, Envelope::Welcome { life } if *life == self.life) {
            *unheard = false;
        }
        // The other's own new life is heard in any case.
        !*unheard || matches!(envelope, Envelope::Respawned { .. })
    }

    /// A peer has begun anew, without anything of anyone.
    pub(super) fn handle_respawned(&mut self, peer: CoreId, life: u32) {
        self.remove_members_of(peer);
        // It says so again if it cannot know whether we have heard it: then it begins anew with what it says to us, and
        // we do not, since it will still get our answer and what came behind that.
        if self.welcomed[usize::from(peer.0)].replace(life) == Some(life) {
            return;
        }
        let link = &mut self.links[usize::from(peer.0)];
        link.take();
        if self.unheard[usize::from(peer.0)] {
            // The other's new life has not heard of ours.
            link.push(Envelope::Respawned { life: self.life });
        }
        link.push(Envelope::Welcome { life });
        let mut slots: Vec<u32> = self.identities.keys().copied().collect();
        slots.retain(|index| self.home_of(*index) == Some(peer));
        // So that the same shard does the same again.
        slots.sort_unstable();
        slots.into_iter().for_each(|index| self.join_again(index, peer));
    }

    fn remove_members_of(&mut self, peer: CoreId) {
        let mut gone: Vec<MemberId> =
            self.members_elsewhere.keys().filter(|member| member.core == peer).copied().collect();
        gone.sort_unstable_by_key(|member| (member.connection.index, member.connection.generation));
        for member in gone {
            if let Some((room, place)) = self.standing(member) {
                self.remove_member(room, place);
            }
        }
        // What they have missed they would be told of in the next life, where others have their slots.
        self.forget_missed(peer);
    }

    /// A connection whose room's home has begun anew asks to be let in again, as who it was.
    fn join_again(&mut self, index: u32, home: CoreId) {
        let Some(room_code) = self.room_code(index).map(Box::<str>::from) else { return };
        let is_return = match &self.connections[index as usize].membership {
            Membership::None => return,
            // Whoever has heard of no join is to hear of it.
            Membership::Joining(joining) => joining.is_return,
            Membership::Member { audience, place, .. } => {
                let (audience, place) = (*audience, *place);
                let room = self.leave_audience(index, audience, place);
                self.end_audience_elsewhere(audience, room);
                true
            }
        };
        let Identity { user_id, host_id } = self.identities.get(&index).cloned().unwrap_or_default();
        let joining = Joining { home, room_code: room_code.clone(), is_return };
        let connection = &mut self.connections[index as usize];
        connection.membership = Membership::Joining(Box::new(joining));
        connection.ticket += 1;
        let (ticket, member) = (connection.ticket, self.member_id(index));
        let join = Join { member, ticket, room_code, user_id, host_id, is_return };
        self.links[usize::from(home.0)].push(Envelope::Join(Box::new(join)));
    }

    /// The home of the room that a connection is in or asked for.
    fn home_of(&self, index: u32) -> Option<CoreId> {
        match &self.connections[index as usize].membership {
            Membership::None => None,
            Membership::Joining(joining) => Some(joining.home),
            Membership::Member { audience, .. } => Some(self.audiences[*audience as usize].room.home),
        }
    }

    fn peers(&self) -> impl Iterator<Item = CoreId> + use<> {
        let core = self.settings.core;
        (0..self.settings.cores).map(CoreId).filter(move |peer| *peer != core)
    }
}
