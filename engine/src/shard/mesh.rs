//! Envelopes from peers: each is carried out as it arrives, in order.

use super::Shard;
use crate::connection::Membership;
use crate::envelope::Envelope;
use crate::ids::{CoreId, MemberId};
use crate::limits::MESH_FULL;
use crate::time::Now;
use wire::close::Reason;

impl Shard {
    /// A peer's envelope.
    pub fn handle_envelope(&mut self, from: CoreId, envelope: Envelope, now: Now) {
        self.now = now;
        self.stats.envelopes_received += 1;
        if !self.hears(from, &envelope) {
            return;
        }
        match envelope {
            Envelope::Join(join) => self.admit(*join),
            Envelope::Leave { member, ticket } => self.handle_leave(member, ticket),
            Envelope::Request { from, mut text, .. } => self.handle_travelled(from, &mut text),
            Envelope::Joined { connection, ticket, room, is_new, frames } => {
                self.handle_joined(connection, ticket, room, &frames);
                if is_new && !self.meter_room_made(connection) {
                    let member = MemberId { core: self.settings.core, connection };
                    self.refuse_room(member, ticket, Reason::Policy);
                }
            }
            Envelope::ToOne { connection, ticket, frames, .. } => {
                if let Some(index) = self.live(connection).filter(|index| self.is_in_join(*index, ticket)) {
                    self.push_own(index, |out| out.extend_from_slice(&frames));
                }
            }
            Envelope::ToAll { room, frames, is_news, except } => {
                if let Some(audience) = self.audiences_elsewhere.get(&room) {
                    self.append(*audience, &frames, is_news, except);
                }
            }
            Envelope::Evict { room } => self.close_audience(room),
            Envelope::EvictOne { connection, ticket, reason } => {
                if let Some(index) = self.live(connection).filter(|index| self.is_in_join(*index, ticket)) {
                    self.close(index, reason);
                }
            }
            Envelope::Respawned { life } => self.handle_respawned(from, life),
            Envelope::Welcome { .. } => {}
            Envelope::Everyone { frames } => self.append(0, &frames, false, None),
        }
    }

    /// What was sent in a join is for whoever is still in it.
    fn is_in_join(&self, index: u32, ticket: Option<u32>) -> bool {
        ticket.is_none_or(|ticket| ticket == self.connections[index as usize].ticket)
    }

    fn close_audience(&mut self, room: crate::ids::RoomId) {
        let Some(audience) = self.audiences_elsewhere.get(&room).copied() else { return };
        let listeners = self.audiences[audience as usize].listeners.iter();
        let connections: Vec<u32> = listeners.map(|listener| listener.connection).collect();
        for index in connections {
            debug_assert!(matches!(self.connections[index as usize].membership, Membership::Member { .. }));
            self.close(index, MESH_FULL);
        }
    }
}
