//! What goes from core to core: batches with a delay, in order, a bounded number at a time; connections that move.

use super::said::{Kind, Text};
use super::socket::{End, Place};
use super::{Event, Kept, World, broken, note};
use crate::model::Client;
use engine::ids::RoomId;
use engine::{ConnectionId, CoreId, Envelope, Moved};
use std::collections::VecDeque;

/// The way from one core to another.
#[derive(Default)]
pub(super) struct Channel {
    batches: VecDeque<Batch>,
    /// Connections that wait for the next batch.
    waiting: Vec<(Client, Moved)>,
    last_us: i64,
    stalled_until_us: i64,
}

struct Batch {
    at_us: i64,
    connections: Vec<(Client, Moved)>,
    envelopes: Vec<Envelope>,
}

impl Channel {
    pub(super) fn stall(&mut self, until_us: i64) {
        self.stalled_until_us = until_us;
    }

    /// Nothing is on the way.
    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty() && self.waiting.is_empty()
    }
}

impl World<'_> {
    fn channel(&mut self, from: u16, to: u16) -> &mut Channel {
        &mut self.channels[usize::from(from) * self.cores.len() + usize::from(to)]
    }

    /// A connection leaves for another core, unless too many wait for the way there.
    pub(super) fn send_away(&mut self, core: u16, client: Client, moved: Moved) -> Kept {
        let most = self.setup.waiting_connections_max;
        self.tally.placements += u64::from(moved.is_placed);
        let to = moved.to.0;
        if to == core || to >= self.setup.cores {
            return broken("a connection moves to another core", format!("{client} to {to}"));
        }
        if self.channel(core, to).waiting.len() >= most {
            self.tally.moves_kept += 1;
            note!(self, "{client} stays on core {core}");
            return self.take_in(core, client, Moved { is_placed: true, ..moved });
        }
        self.tally.moves += 1;
        note!(self, "{client} leaves core {core} for core {to}");
        self.channel(core, to).waiting.push((client, moved));
        self.turn_soon(core);
        Ok(())
    }

    fn take_in(&mut self, core: u16, client: Client, moved: Moved) -> Kept {
        if self.cores[usize::from(core)].is_draining {
            self.socket(client).place = Place::Released;
            self.end_down(client, End::Fin);
            return Ok(());
        }
        let before = self.refusals(core);
        let now = self.now;
        self.tally.steps += 1;
        let (id, flow) = self.cores[usize::from(core)].shard.handle_moved(moved, now);
        note!(self, "core {core} takes {client} in as {id:?}");
        self.insert(core, client, id)?;
        self.follow(core, client, flow, before)
    }

    /// One batch for each peer that has anything coming, if its channel has room.
    pub(super) fn post(&mut self, from: u16) -> Kept {
        let most = self.setup.channel_batches_max;
        for to in (0..self.setup.cores).filter(|to| *to != from) {
            let has_envelopes = self.cores[usize::from(from)].shard.has_envelopes(CoreId(to));
            let is_waiting = !self.channel(from, to).waiting.is_empty();
            if !has_envelopes && !is_waiting {
                continue;
            }
            if self.channel(from, to).batches.len() >= most {
                self.tally.channels_full += 1;
                self.turn_at(from, self.now.master_us + 2_000);
                continue;
            }
            let envelopes = self.cores[usize::from(from)].shard.take_envelopes(CoreId(to));
            if envelopes.is_empty() && has_envelopes {
                return broken("what waits for a peer can be taken", format!("core {from} for {to}"));
            }
            let delay_us = self.dice.within(1..=self.setup.network.link_us_max);
            let now_us = self.now.master_us;
            let channel = self.channel(from, to);
            let at_us = (now_us + delay_us).max(channel.last_us).max(channel.stalled_until_us);
            channel.last_us = at_us;
            let connections = std::mem::take(&mut channel.waiting);
            channel.batches.push_back(Batch { at_us, connections, envelopes });
            self.schedule(at_us, Event::Deliver(to));
        }
        Ok(())
    }

    pub(super) fn drain_inboxes(&mut self, core: u16) -> Kept {
        for from in (0..self.setup.cores).filter(|from| *from != core) {
            let now_us = self.now.master_us;
            while let Some(batch) = self.channel(from, core).batches.pop_front_if(|it| it.at_us <= now_us) {
                for (client, moved) in batch.connections {
                    self.take_in(core, client, moved)?;
                }
                for envelope in batch.envelopes {
                    self.deliver(from, core, envelope)?;
                }
            }
        }
        Ok(())
    }

    /// One envelope, and to the judge what it means at a room's home.
    fn deliver(&mut self, from: u16, core: u16, envelope: Envelope) -> Kept {
        let meaning = self.meaning(from, core, &envelope)?;
        let before = self.refusals(core);
        let now = self.now;
        self.tally.steps += 1;
        self.cores[usize::from(core)].shard.handle_envelope(CoreId(from), envelope, now);
        let refused = self.refused_since(core, before);
        match meaning {
            Some((client, ticket, text)) if text.kind == Kind::Join => {
                let at = self.clock();
                self.judge.join(client, ticket, &text, at, &mut self.sockets);
            }
            Some((client, _, text)) => {
                let at = self.clock();
                let is_start = self.judge.decide(core, client, &text, at, &mut self.sockets, refused);
                self.tally.starts_by_readiness += u64::from(is_start);
            }
            None => {}
        }
        self.after(core)
    }

    /// Who says what by this envelope, if it carries a client's message; what else it means is noted.
    fn meaning(
        &mut self,
        from: u16,
        core: u16,
        envelope: &Envelope,
    ) -> Result<Option<(Client, u32, Text)>, super::Broken> {
        let owners = &self.owners;
        let owner = |core: u16, id: ConnectionId| owners.get(&(core, id)).copied();
        match envelope {
            Envelope::Join(join) => {
                let client = owner(join.member.core.0, join.member.connection);
                note!(self, "{from} to {core}: {client:?} joins {}", join.room_code);
                let is_it = |text: &Text| {
                    text.kind == Kind::Join && text.room_code.as_deref() == Some(&join.room_code)
                };
                let text = self.travelled(core, client, is_it)?;
                Ok(client.zip(text).map(|(client, text)| (client, join.ticket, text)))
            }
            Envelope::Request { from: member, text, .. } => {
                let client = owner(member.core.0, member.connection);
                note!(self, "{from} to {core}: {client:?} says {}", String::from_utf8_lossy(text));
                let text = self.travelled(core, client, |sent| sent.text.as_bytes() == &text[..])?;
                Ok(client.zip(text).map(|(client, text)| (client, 0, text)))
            }
            Envelope::Joined { connection, ticket, room, .. } => {
                note!(self, "{from} to {core}: joined {connection:?} {ticket}");
                if let Some(client) = owner(core, *connection) {
                    let hearing = &mut self.sockets[client as usize].hearing;
                    if hearing.ticket == *ticket {
                        hearing.room = Some(*room);
                    }
                }
                Ok(None)
            }
            Envelope::Evict { room } => {
                note!(self, "{from} to {core}: evict {room:?}");
                self.evict(core, |id, _| id == Some(*room));
                Ok(None)
            }
            Envelope::EvictOne { connection, ticket } => {
                note!(self, "{from} to {core}: evict {connection:?} {ticket:?}");
                let evicted = owner(core, *connection);
                let evicted = evicted.filter(|client| {
                    let hearing = &self.sockets[*client as usize].hearing;
                    ticket.is_none_or(|ticket| ticket == hearing.ticket)
                });
                self.evict(core, |_, client| Some(client) == evicted);
                Ok(None)
            }
            Envelope::Leave { member, ticket } => {
                let client = owner(member.core.0, member.connection);
                note!(self, "{from} to {core}: {client:?} leaves its {ticket}");
                Ok(None)
            }
            Envelope::Respawned { life } | Envelope::Welcome { life } => {
                note!(self, "{from} to {core}: life {life}");
                Ok(None)
            }
            Envelope::ToOne { .. } | Envelope::ToAll { .. } | Envelope::Everyone { .. } => Ok(None),
        }
    }

    /// The oldest message of a client that is still on its way, which this must be.
    fn travelled(
        &mut self,
        core: u16,
        client: Option<Client>,
        is_it: impl Fn(&Text) -> bool,
    ) -> Result<Option<Text>, super::Broken> {
        const RULE: &str = "messages cross the mesh whole, once and in order";
        let Some(client) = client else {
            return broken(RULE, "nobody sent it").map(|()| None);
        };
        let travelling = self.sockets[client as usize].hearing.travelling.entry(core).or_default();
        while let Some(text) = travelling.pop_front() {
            if is_it(&text) {
                return Ok(Some(text));
            }
            // What is no message stays where it came from.
            if text.kind != Kind::Doubtful {
                return broken(RULE, format!("{client}: {} is lost", text.text)).map(|()| None);
            }
        }
        broken(RULE, format!("{client} sent no such thing")).map(|()| None)
    }

    /// Those of a core who are meant are closed with 1013.
    fn evict(&mut self, core: u16, is_meant: impl Fn(Option<RoomId>, Client) -> bool) {
        for socket in &mut self.sockets {
            let is_here = socket.core == core && socket.place == Place::Open;
            if is_here && is_meant(socket.hearing.room, socket.client) && !socket.is_unheard {
                socket.is_unheard = true;
                socket.hearing.closes.push(1013);
                socket.hearing.cut();
            }
        }
    }
}
