//! Who is in which room: join, leave, and what a full link does to members beyond it.
//!
//! A room's home keeps all its members; the core of a member's socket keeps it in the room's audience
//! there. The home's word travels to that core in order, so a member hears exactly what the home decided
//! after its join. A leave takes effect on the member's core at once, and at the home when it arrives.

use super::delivery::Missed;
use super::{Identity, MemberElsewhere, Shard};
use crate::audience::Audience;
use crate::connection::{Joining, Membership, Phase};
use crate::envelope::{Envelope, Join};
use crate::ids::{ConnectionId, CoreId, MemberId, RoomId};
use crate::limits::MESH_FULL;
use crate::placement;
use crate::room::Room;
use wire::close::Reason;
use wire::json::Json;

impl Shard {
    /// A connection of this shard wants to be a member; it leaves the room it was in.
    pub(super) fn join(&mut self, index: u32, room_code: &str, user_id: Option<Json>, host_id: Option<Json>) {
        if self.room_code(index) != Some(room_code) {
            self.leave(index);
            self.connections[index as usize].ticket += 1;
            self.forget_joined();
        }
        let member = self.member_id(index);
        let connection = &self.connections[index as usize];
        let ticket = connection.ticket;
        let join = Join { member, ticket, room_code: room_code.into(), user_id, host_id, is_return: false };
        let home = placement::home(self.settings.seed, room_code, self.settings.cores);
        if home == self.settings.core {
            self.admit(join);
            return;
        }
        let link = &mut self.links[usize::from(home.0)];
        if link.is_full() {
            self.stats.mesh_evicted += 1;
            self.close(index, MESH_FULL);
            return;
        }
        if matches!(connection.membership, Membership::None) {
            let joining = Joining { home, room_code: join.room_code.clone(), is_return: false };
            self.connections[index as usize].membership = Membership::Joining(Box::new(joining));
        }
        let identity = Identity { user_id: join.user_id.clone(), host_id: join.host_id.clone() };
        self.identities.insert(index, identity);
        link.push(Envelope::Join(Box::new(join)));
    }

    /// At the room's home: lets a member in, here or on another core.
    pub(super) fn admit(&mut self, join: Join) {
        let Join { member, ticket, room_code, user_id, host_id, is_return } = join;
        if let Some((room, place)) = self.standing(member) {
            if self.rooms[room as usize].code == room_code {
                self.readmit(member, room, place, user_id, host_id);
                return;
            }
            self.remove_member(room, place);
        }
        let is_new = !self.rooms_by_code.contains_key(&room_code);
        if is_new && !self.may_make_room(member, ticket) {
            return;
        }
        let index = self.room_of_code(room_code);
        let room = &mut self.rooms[index as usize];
        let place = room.add(member, user_id) as u32;
        let (id, audience) = (room.id, room.audience);
        let mut frames = std::mem::take(&mut self.scratch);
        if is_return {
            room.set_host_again(host_id);
            room.write_snapshot(self.now, &mut frames);
        } else {
            room.set_host(host_id);
            if room.members.len() > 1 {
                room.write_user_joined(place as usize, self.now, &mut frames);
                self.announce(index, &mut frames);
            }
            self.rooms[index as usize].write_joined(place as usize, self.now, &mut frames);
        }
        self.changes += 1;
        if member.core == self.settings.core {
            let connection = member.connection.index;
            let heard = self.audiences[audience].add(connection);
            self.connections[connection as usize].membership =
                Membership::Member { audience: audience as u32, place: heard, home_place: place };
            self.push_own(connection, |out| out.extend_from_slice(&frames));
            self.ask_rtt(connection);
        } else {
            self.members_elsewhere.insert(member, MemberElsewhere { room: index, place, ticket });
            let connection = member.connection;
            let frames = std::mem::take(&mut frames);
            let joined =
                Envelope::Joined { connection, ticket, room: id, is_new: is_new && !is_return, frames };
            self.links[usize::from(member.core.0)].push(joined);
        }
        frames.clear();
        self.scratch = frames;
    }

    /// At the room's home: there may be one more room, and this member may make it. If not, it is closed.
    fn may_make_room(&mut self, member: MemberId, ticket: u32) -> bool {
        if self.rooms.len() >= self.rooms_max() {
            self.refuse_room(member, ticket, Reason::TryAgainLater);
            return false;
        }
        // A member elsewhere is metered there, once it hears that it has made a room.
        if member.core == self.settings.core && !self.meter_room_made(member.connection) {
            self.refuse_room(member, ticket, Reason::Policy);
            return false;
        }
        true
    }

    /// Its part of the rooms of all cores.
    pub(super) fn rooms_max(&self) -> usize {
        self.settings.limits.rooms_max.div_ceil(usize::from(self.settings.cores))
    }

    /// False if the connection makes rooms too fast.
    pub(super) fn meter_room_made(&mut self, id: ConnectionId) -> bool {
        self.live(id)
            .is_none_or(|index| self.meters[index as usize].rooms_made.take(&self.rates.rooms_made, self.now))
    }

    /// Closes a connection that would make one room too many, wherever it is.
    pub(super) fn refuse_room(&mut self, member: MemberId, ticket: u32, reason: Reason) {
        let MemberId { core, connection } = member;
        if core != self.settings.core {
            self.stats.rooms_refused += 1;
            self.evict_one(member, Some(ticket), reason);
        } else if let Some(index) = self.live(connection) {
            self.stats.rooms_refused += 1;
            self.close(index, reason);
        }
    }

    /// Joining again the same room is no new member; the newest word on the host counts all the same.
    fn readmit(&mut self, member: MemberId, room: u32, place: u32, user: Option<Json>, host: Option<Json>) {
        self.changes += 1;
        let entered = &mut self.rooms[room as usize];
        entered.set_host(host);
        entered.members[place as usize].user_id = user;
        let mut frames = std::mem::take(&mut self.scratch);
        entered.write_joined(place as usize, self.now, &mut frames);
        self.reply(member, Some(room), &mut frames, false);
        self.scratch = frames;
    }

    /// On a member's core: its room's home has let it in.
    pub(super) fn handle_joined(&mut self, id: ConnectionId, ticket: u32, room: RoomId, frames: &[u8]) {
        let Some(index) = self.live(id) else { return };
        let connection = &mut self.connections[index as usize];
        if connection.ticket != ticket || connection.phase != Phase::Open {
            return;
        }
        let Membership::Joining(joining) = std::mem::take(&mut connection.membership) else { return };
        let audiences = &mut self.audiences;
        let audience = *self
            .audiences_elsewhere
            .entry(room)
            .or_insert_with(|| audiences.insert(Audience::new(room, joining.room_code)) as u32);
        let place = self.audiences[audience as usize].add(index);
        connection.membership = Membership::Member { audience, place, home_place: 0 };
        self.push_own(index, |out| out.extend_from_slice(frames));
        self.ask_rtt(index);
    }

    /// A connection of this shard leaves what it is in or asked to join.
    pub(super) fn leave(&mut self, index: u32) {
        let member = self.member_id(index);
        let ticket = self.connections[index as usize].ticket;
        if !self.identities.is_empty() {
            self.identities.remove(&index);
        }
        match std::mem::take(&mut self.connections[index as usize].membership) {
            Membership::None => {}
            Membership::Joining(joining) => {
                self.links[usize::from(joining.home.0)].push(Envelope::Leave { member, ticket });
            }
            Membership::Member { audience, place, home_place } => {
                let room = self.leave_audience(index, audience, place);
                if self.settings.app != crate::App::Rooms {
                    return;
                }
                if room.home == self.settings.core {
                    self.remove_member(room.index, home_place);
                } else {
                    self.links[usize::from(room.home.0)].push(Envelope::Leave { member, ticket });
                    self.end_audience_elsewhere(audience, room);
                }
            }
        }
    }

    /// Ends this core's part of a room whose home is elsewhere, if nobody hears it any more.
    pub(super) fn end_audience_elsewhere(&mut self, audience: u32, room: RoomId) {
        if self.audiences[audience as usize].listeners.is_empty() {
            self.audiences.remove(audience as usize);
            self.audiences_elsewhere.remove(&room);
        }
    }

    pub(super) fn leave_audience(&mut self, index: u32, audience: u32, place: u32) -> RoomId {
        if self.connections[index as usize].phase == Phase::Open {
            self.catch_up(index, audience, place);
        }
        let heard = &mut self.audiences[audience as usize];
        if let Some(moved) = heard.remove(place)
            && let Membership::Member { place: its_place, .. } =
                &mut self.connections[moved as usize].membership
        {
            *its_place = place;
        }
        heard.room
    }

    /// At the room's home: a member is no more. The last one out ends the room.
    pub(super) fn remove_member(&mut self, index: u32, place: u32) {
        let room = &mut self.rooms[index as usize];
        self.stats.out_of_sync -= u64::from(room.out_of_sync);
        let member = room.remove(place as usize);
        self.stats.out_of_sync += u64::from(room.out_of_sync);
        if let Some(moved) = room.members.get(place as usize).map(|moved| moved.id) {
            if moved.core == self.settings.core {
                let connection = &mut self.connections[moved.connection.index as usize];
                if let Membership::Member { home_place, .. } = &mut connection.membership {
                    *home_place = place;
                }
            } else if let Some(elsewhere) = self.members_elsewhere.get_mut(&moved) {
                elsewhere.place = place;
            }
        }
        if member.id.core != self.settings.core {
            self.members_elsewhere.remove(&member.id);
        }
        self.changes += 1;
        if room.members.is_empty() && self.is_draining {
            room.wait_for_members(self.now);
            self.arm_room(index);
        } else if room.members.is_empty() {
            self.remove_room(index);
        } else if !self.is_quiet {
            let mut frames = std::mem::take(&mut self.scratch);
            debug_assert!(frames.is_empty(), "no frame is being written while members leave");
            self.rooms[index as usize].write_user_left(&member, &mut frames);
            self.announce(index, &mut frames);
            self.scratch = frames;
        }
    }

    /// Ends a room without members.
    pub(super) fn remove_room(&mut self, index: u32) {
        let room = self.rooms.remove(index as usize);
        self.audiences.remove(room.audience);
        self.rooms_by_code.remove(&room.code);
        self.stats.rooms -= 1;
        self.changes += 1;
    }

    /// Has a connection on another core closed; with a ticket only if it is still in that join.
    pub(super) fn evict_one(&mut self, member: MemberId, ticket: Option<u32>, reason: Reason) {
        let MemberId { core, connection } = member;
        self.links[usize::from(core.0)].push(Envelope::EvictOne { connection, ticket, reason });
    }

    /// At the room's home: the way to members was full, so they have missed something. They leave, and are
    /// told to come back, when they will get the state anew.
    pub(super) fn evict(&mut self, missed: Missed) {
        match missed {
            Missed::One(member, ticket) => {
                self.evict_one(member, ticket, MESH_FULL);
                if let Some(elsewhere) = self.members_elsewhere.get(&member).copied()
                    && Some(elsewhere.ticket) == ticket
                {
                    self.stats.mesh_evicted += 1;
                    self.remove_member(elsewhere.room, elsewhere.place);
                }
            }
            Missed::Core(room, core) => {
                let mut is_told = false;
                while let Some(place) = self
                    .rooms
                    .get(room.index as usize)
                    .filter(|it| it.id == room)
                    .and_then(|room| room.members.iter().position(|member| member.id.core == core))
                {
                    if !std::mem::replace(&mut is_told, true) {
                        self.links[usize::from(core.0)].push(Envelope::Evict { room });
                    }
                    self.stats.mesh_evicted += 1;
                    self.remove_member(room.index, place as u32);
                }
            }
        }
    }

    /// The room here that a connection anywhere is a member of, and its place.
    pub(super) fn standing(&self, member: MemberId) -> Option<(u32, u32)> {
        if member.core != self.settings.core {
            return self.members_elsewhere.get(&member).map(|elsewhere| (elsewhere.room, elsewhere.place));
        }
        match self.connections[self.live(member.connection)? as usize].membership {
            Membership::Member { audience, home_place, .. } => {
                let room = self.audiences[audience as usize].room;
                (room.home == self.settings.core).then_some((room.index, home_place))
            }
            Membership::None | Membership::Joining(_) => None,
        }
    }

    /// At a room's home: a member's core says it has left.
    pub(super) fn handle_leave(&mut self, member: MemberId, ticket: u32) {
        if let Some(elsewhere) = self.members_elsewhere.get(&member).filter(|it| it.ticket == ticket).copied()
        {
            // While a core drains, its members leave as quietly as our own.
            self.is_quiet = self.is_draining;
            self.remove_member(elsewhere.room, elsewhere.place);
            self.is_quiet = false;
        }
    }

    /// The core with the fewest members of a room here, once it has outgrown this core.
    pub(super) fn emptiest_core(&self, room_code: &str) -> Option<CoreId> {
        let room = &self.rooms[*self.rooms_by_code.get(room_code)? as usize];
        if self.audiences[room.audience].listeners.len() < self.settings.limits.room_local_max {
            return None;
        }
        let members = |core: CoreId| match room.remote.iter().find(|(remote, _)| *remote == core) {
            Some((_, members)) => *members as usize,
            None if core == self.settings.core => self.audiences[room.audience].listeners.len(),
            None => 0,
        };
        (0..self.settings.cores).map(CoreId).min_by_key(|core| members(*core))
    }

    /// The code of the room a connection is in or asked for.
    pub(super) fn room_code(&self, index: u32) -> Option<&str> {
        match &self.connections[index as usize].membership {
            Membership::None => None,
            Membership::Joining(joining) => Some(&joining.room_code),
            Membership::Member { audience, .. } => Some(&self.audiences[*audience as usize].room_code),
        }
    }

    pub(super) fn room_of_code(&mut self, room_code: Box<str>) -> u32 {
        if let Some(index) = self.rooms_by_code.get(&room_code) {
            return *index;
        }
        let entry = self.rooms.vacant_entry();
        let index = entry.key() as u32;
        self.rooms_made = self.rooms_made.wrapping_add(1);
        let id = RoomId { home: self.settings.core, index, generation: self.rooms_made };
        let audience = self.audiences.insert(Audience::new(id, room_code.clone()));
        entry.insert(Room::new(id, room_code.clone(), audience, self.settings.seed));
        self.rooms_by_code.insert(room_code, index);
        self.stats.rooms += 1;
        index
    }
}
