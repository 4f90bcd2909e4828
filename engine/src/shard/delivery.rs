//! Who gets what: answers to one, events to a room's members wherever they are, and the end of a turn.
//!
//! Frames reach outboxes, or the place in an audience's batch that is theirs, when the message is handled:
//! someone who joins later in the turn does not get them. Only sends wait for the end of the turn.

use super::Shard;
use crate::connection::{Membership, Phase};
use crate::envelope::Envelope;
use crate::ids::{ConnectionId, CoreId, MemberId, RoomId};
use crate::limits::{AUDIENCE_PROMPT_MAX, BULK_SENDS_PER_TURN_MAX, TURN_ANSWER_BYTES_MAX, TURN_ANSWERS_MAX};
use crate::room::Room;
use std::collections::VecDeque;

/// Events for rooms in one turn, and the sends that they come to. Another event for the same rooms makes no
/// more sends in this turn, and as many again in the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FanOut {
    /// Frames, or groups of frames, for everyone in a room.
    pub events: usize,
    /// Members of the rooms that have any.
    pub sends: usize,
}

/// Connections with something to send, in the order they are to be served.
#[derive(Default)]
pub(super) struct Ready {
    prompt: Vec<u32>,
    /// How many of `prompt` were served; 0 if none are left.
    prompt_served: usize,
    /// Members of large audiences, served after the others and a slice at a time.
    bulk: VecDeque<u32>,
    bulk_sent: usize,
    /// Answers in this turn, and their bytes.
    answers: usize,
    answer_bytes: usize,
    /// So much has gathered that it should leave before more is read.
    is_pressing: bool,
    /// Audiences with a batch.
    audiences: Vec<u32>,
    /// Audiences whose batch is news and nothing else, in the order they have waited; each once.
    put_off: VecDeque<u32>,
    news_sent: usize,
    fan_out: FanOut,
    /// Connections whose outbox ran over. They go when the turn ends, as whoever found out may still be
    /// at work on their room.
    overflowed: Vec<ConnectionId>,
    /// Members that missed something because a link was full. They go when the turn ends.
    missed: Vec<Missed>,
    /// Listeners that got a batch behind a send that was not over yet.
    behind: Vec<u32>,
}

/// Who missed something.
#[derive(Clone, Copy)]
pub(super) enum Missed {
    /// A room's members on one core.
    Core(RoomId, CoreId),
    /// Whoever asked, and in which of its joins if it is a member.
    One(MemberId, Option<u32>),
}

impl Ready {
    #[inline]
    pub(super) fn next(&mut self) -> Option<u32> {
        let Some(index) = self.prompt.get(self.prompt_served).copied() else { return self.next_bulk() };
        self.prompt_served += 1;
        if self.prompt_served == self.prompt.len() {
            self.prompt.clear();
            self.prompt_served = 0;
        }
        Some(index)
    }

    #[cold]
    fn next_bulk(&mut self) -> Option<u32> {
        if self.bulk_sent == BULK_SENDS_PER_TURN_MAX {
            return None;
        }
        self.bulk.pop_front().inspect(|_| self.bulk_sent += 1)
    }

    /// Members of large audiences wait for their slice.
    pub(super) fn is_behind(&self) -> bool {
        !self.bulk.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.prompt.is_empty() && self.bulk.is_empty() && self.audiences.is_empty() && self.put_off.is_empty()
    }
}

impl Shard {
    /// Ends the turn: every audience's batch reaches its members' outboxes. Linear in those members.
    pub fn flush(&mut self) {
        #[cfg(feature = "chaos")]
        assert!(!self.is_doomed, "a client asked for a shard's panic");
        self.end_waiting();
        self.answer_newest_pings();
        self.send_states_due();
        self.actions_taken = 0;
        self.ready.bulk_sent = 0;
        self.ready.news_sent = 0;
        self.ready.answers = 0;
        self.ready.answer_bytes = 0;
        self.ready.is_pressing = false;
        self.ready.fan_out = FanOut::default();
        loop {
            // Who leaves here is told of to others, which fills batches and, on full links, costs more.
            if let Some(missed) = self.ready.missed.pop() {
                self.evict(missed);
            } else if let Some(id) = self.ready.overflowed.pop() {
                self.overflow(id);
            } else if let Some(audience) = self.ready.audiences.pop() {
                self.serve(audience);
            } else if self.ready.put_off.is_empty() || !self.serve_news() {
                break;
            }
        }
    }

    /// Serves the audience whose news have waited longest; false if it must wait on.
    #[cold]
    fn serve_news(&mut self) -> bool {
        if self.ready.news_sent >= self.settings.limits.news_sends_max {
            self.stats.news_put_off += self.ready.put_off.len() as u64;
            return false;
        }
        // While the members of large rooms wait for their slice, such a room's news gather in one place, and not in each
        // member's outbox.
        let is_behind = self.ready.is_behind();
        let audiences = &self.audiences;
        let is_large = |slot: &u32| {
            audiences.get(*slot as usize).is_some_and(|it| it.listeners.len() > AUDIENCE_PROMPT_MAX)
        };
        let place = self.ready.put_off.iter().position(|slot| !is_behind || !is_large(slot));
        let Some(slot) = place.and_then(|place| self.ready.put_off.remove(place)) else {
            self.stats.news_put_off += self.ready.put_off.len() as u64;
            return false;
        };
        // A room that has ended is skipped, and one whose news a command has taken along: neither costs a send.
        if let Some(audience) = self.audiences.get_mut(slot as usize)
            && std::mem::take(&mut audience.is_put_off)
            && audience.batch_bytes() > 0
        {
            self.ready.news_sent += audience.listeners.len();
            self.serve(slot);
        }
        true
    }

    /// True if the turn should end before more is read: an outbox or a batch is filling up only because
    /// nothing was sent yet, and would otherwise cut off peers that do read; or the answers of all together
    /// have become many bytes.
    pub fn is_pressing(&self) -> bool {
        self.ready.is_pressing
    }

    /// What the turn's events come to by now.
    pub fn fan_out(&self) -> FanOut {
        self.ready.fan_out
    }

    /// Gives every listener its part of the batch. Must not join or leave while iterating.
    // A function of its own in the binary, too: profiles and the gate's counting know it by name.
    #[inline(never)]
    fn serve(&mut self, audience: u32) {
        let Some(audience) = self.audiences.get_mut(audience as usize) else { return };
        let Some(batch) = audience.freeze() else { return };
        let is_bulk = audience.listeners.len() > AUDIENCE_PROMPT_MAX;
        let owed_max = self.settings.limits.outbox_bytes_max;
        let is_small = !is_bulk && batch.len() <= owed_max;
        for listener in &mut audience.listeners {
            let start = std::mem::take(&mut listener.cursor) as usize;
            let connection = &mut self.connections[listener.connection as usize];
            // Nearly everyone is idle and gets all of it.
            if start == 0 && is_small && !connection.is_listed && connection.outbox.is_empty() {
                connection.outbox.begin(&batch);
                connection.is_listed = true;
                self.ready.prompt.push(listener.connection);
                continue;
            }
            if start == batch.len() {
                continue;
            }
            connection.outbox.push_shared(&batch, start);
            if !connection.is_watched && connection.outbox.is_in_flight() {
                self.ready.behind.push(listener.connection);
            }
            if connection.outbox.is_over(owed_max) {
                self.ready.overflowed.push(connection.id(listener.connection));
            } else if !connection.is_listed && connection.outbox.can_send() {
                connection.is_listed = true;
                if is_bulk {
                    self.ready.bulk.push_back(listener.connection);
                } else {
                    self.ready.prompt.push(listener.connection);
                }
            }
        }
        self.pool.put(batch);
        while let Some(index) = self.ready.behind.pop() {
            self.watch(index);
        }
    }

    /// Writes a connection's own bytes, after what its audience has for it so far.
    pub(super) fn push_own(&mut self, index: u32, write: impl FnOnce(&mut Vec<u8>)) {
        let connection = &mut self.connections[index as usize];
        let owed_max = self.settings.limits.outbox_bytes_max;
        if !matches!(connection.phase, Phase::Open | Phase::Head) {
            return;
        }
        if connection.outbox.is_over(owed_max) {
            self.ready.overflowed.push(connection.id(index));
            return;
        }
        let owed_before = connection.outbox.owed_bytes();
        let audiences = &mut self.audiences;
        let membership = &connection.membership;
        connection.outbox.append(&mut self.pool, |own| {
            if let Membership::Member { audience, place, .. } = *membership {
                own.extend_from_slice(audiences[audience as usize].catch_up(place));
            }
            write(own);
        });
        self.stats.frames_queued += 1;
        let owed_bytes = connection.outbox.owed_bytes();
        if connection.outbox.is_over(owed_max) {
            self.ready.overflowed.push(connection.id(index));
        } else if connection.outbox.is_in_flight() {
            self.watch(index);
        } else {
            self.ready.answers += 1;
            self.ready.answer_bytes += owed_bytes - owed_before;
            self.ready.is_pressing |= self.settings.limits.is_pressing(owed_bytes)
                || self.ready.answers >= TURN_ANSWERS_MAX
                || self.ready.answer_bytes > TURN_ANSWER_BYTES_MAX;
            self.list(index);
        }
    }

    /// Puts a connection in line for sending, unless it is, or has a send in flight.
    pub(super) fn list(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        if !connection.is_listed && !connection.outbox.is_in_flight() {
            connection.is_listed = true;
            self.ready.prompt.push(index);
        }
    }

    /// Nobody on this core is there any more who has missed anything.
    pub(super) fn forget_missed(&mut self, core: CoreId) {
        self.ready.missed.retain(|missed| match missed {
            Missed::Core(_, of) => *of != core,
            Missed::One(member, _) => member.core != core,
        });
    }

    /// A reader that does not keep up: nothing more is sent, and it leaves.
    fn overflow(&mut self, id: ConnectionId) {
        if let Some(index) =
            self.live(id).filter(|index| self.connections[*index as usize].phase != Phase::Gone)
        {
            self.stats.outboxes_overflowed += 1;
            self.drop_connection(index, true);
        }
    }

    /// Frames of a room, if they are of one, to one connection, wherever its socket is. Empties `frames`.
    pub(super) fn reply(&mut self, to: MemberId, room: Option<u32>, frames: &mut Vec<u8>, is_ping: bool) {
        if frames.is_empty() {
            return;
        }
        if to.core == self.settings.core {
            if let Some(index) = self.live(to.connection) {
                self.push_own(index, |out| out.extend_from_slice(frames));
            }
            frames.clear();
            return;
        }
        let member = self.members_elsewhere.get(&to).filter(|member| Some(member.room) == room);
        let ticket = member.map(|member| member.ticket);
        let link = &mut self.links[usize::from(to.core.0)];
        if !link.is_full() {
            let frames = std::mem::take(frames);
            link.push(Envelope::ToOne { connection: to.connection, ticket, frames, is_ping });
        } else if is_ping {
            self.stats.mesh_pings_dropped += 1;
            frames.clear();
        } else {
            frames.clear();
            self.ready.missed.push(Missed::One(to, ticket));
        }
    }

    /// Frames to all members of a room but `except`: once into the local batch, once to each other core
    /// with members. Empties `frames`.
    pub(super) fn broadcast(&mut self, room: u32, frames: &mut Vec<u8>, except: Option<MemberId>) {
        self.spread(room, frames, false, except);
    }

    /// Tells all members of a room who came or went, which may wait where much is to be told. Empties `frames`.
    pub(super) fn announce(&mut self, room: u32, frames: &mut Vec<u8>) {
        self.spread(room, frames, true, None);
    }

    fn spread(&mut self, room: u32, frames: &mut Vec<u8>, is_news: bool, except: Option<MemberId>) {
        if frames.is_empty() {
            return;
        }
        self.changes += 1;
        let audience = self.rooms[room as usize].audience as u32;
        let here = except.filter(|except| except.core == self.settings.core).map(|except| except.connection);
        self.append(audience, frames, is_news, here);
        let Room { id, remote, .. } = &self.rooms[room as usize];
        for (core, _) in remote {
            let there = except.filter(|except| except.core == *core).map(|except| except.connection);
            let link = &mut self.links[usize::from(core.0)];
            if link.is_full() {
                self.ready.missed.push(Missed::Core(*id, *core));
            } else {
                link.push(Envelope::ToAll { room: *id, frames: frames.clone(), is_news, except: there });
            }
        }
        frames.clear();
    }

    /// What a listener has not got yet of the batch goes to its own outbox now.
    pub(super) fn catch_up(&mut self, index: u32, audience: u32, place: u32) {
        let audience = &mut self.audiences[audience as usize];
        if !audience.is_behind(place) {
            return;
        }
        let connection = &mut self.connections[index as usize];
        connection.outbox.append(&mut self.pool, |own| own.extend_from_slice(audience.catch_up(place)));
        if connection.outbox.is_over(self.settings.limits.outbox_bytes_max) {
            self.ready.overflowed.push(connection.id(index));
        } else if connection.outbox.is_in_flight() {
            self.watch(index);
        } else {
            self.list(index);
        }
    }

    /// Adds frames to an audience's batch, for all listeners but one. Constant, whatever their number.
    pub(super) fn append(
        &mut self,
        audience: u32,
        frames: &[u8],
        is_news: bool,
        except: Option<ConnectionId>,
    ) {
        let except = except.and_then(|id| self.live(id)).and_then(|index| {
            match self.connections[index as usize].membership {
                Membership::Member { audience: of, place, .. } if of == audience => Some((index, place)),
                _ => None,
            }
        });
        if let Some((index, place)) = except {
            if self.audiences[audience as usize].listeners.len() == 1 {
                return;
            }
            // Then its cursor can skip these frames.
            self.catch_up(index, audience, place);
        }
        let audience_slot = audience;
        let audience = &mut self.audiences[audience as usize];
        if audience.listeners.is_empty() {
            return;
        }
        audience.append(frames, &mut self.pool);
        let is_filling = self.settings.limits.is_pressing(audience.batch_bytes());
        self.ready.is_pressing |= is_filling;
        if audience.is_urgent {
            // It is in line already.
        } else if !is_news || is_filling {
            audience.is_urgent = true;
            self.ready.audiences.push(audience_slot);
            self.ready.fan_out.sends += audience.listeners.len();
        } else if !audience.is_put_off {
            audience.is_put_off = true;
            self.ready.put_off.push_back(audience_slot);
        }
        self.ready.fan_out.events += 1;
        self.stats.deliveries += audience.listeners.len() as u64 - u64::from(except.is_some());
        if let Some((_, place)) = except {
            audience.listeners[place as usize].cursor = audience.batch_bytes() as u32;
        }
    }

    /// The kernel took `bytes` of the send in flight: what is left of it, to be sent next.
    #[inline]
    pub fn handle_sent(&mut self, id: ConnectionId, bytes: usize) -> Option<&[u8]> {
        let connection = self.connections.get_mut(id.index as usize)?;
        if connection.generation != id.generation {
            return None;
        }
        if connection.outbox.sent(bytes, &mut self.pool) {
            return self.connections[id.index as usize].outbox.in_flight();
        }
        if !connection.outbox.is_empty() {
            self.list(id.index);
        } else if matches!(connection.phase, Phase::Closing { .. }) {
            self.finish_closing(id.index);
        } else if connection.is_state_due {
            self.states_due.push(id);
        }
        None
    }

    /// The send in flight was refused for a passing reason: its bytes, to be sent again.
    pub fn handle_unsent(&self, id: ConnectionId) -> Option<&[u8]> {
        self.connections[self.live(id)? as usize].outbox.in_flight()
    }

    /// The kernel is done with the send in flight of a connection that fails, or that was let go of.
    pub fn handle_send_ended(&mut self, id: ConnectionId) {
        if let Some(index) = self.live(id) {
            self.connections[index as usize].outbox.end_send(&mut self.pool);
        }
    }
}
