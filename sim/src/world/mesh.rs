//! What goes from core to core: batches with a delay, in order, a bounded number at a time; connections that move.

use super::said::{Kind, Text};
use super::socket::{End, Place};
use super::{Event, Kept, World, broken, note};
use crate::model::Client;
use engine::ids::RoomId;
use engine::{ConnectionId, CoreId, Envelope, MemberId, Moved};
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
    envelopes: Vec<(Envelope, Option<Said>)>,
    /// The life that has sent it.
    life: u32,
}

/// What a client says by an envelope.
struct Said {
    client: Client,
    ticket: u32,
    text: Text,
}

impl Channel {
    pub(super) fn stall(&mut self, until_us: i64) {
        self.stalled_until_us = until_us;
    }

    /// All connections on the way; nothing is left.
    pub(super) fn forget_all(&mut self) -> impl Iterator<Item = Client> {
        let batches = std::mem::take(&mut self.batches).into_iter();
        let left = batches.flat_map(|batch| batch.connections).map(|(client, _)| client);
        left.chain(self.forget_waiting())
    }

    /// Connections that have not left.
    pub(super) fn forget_waiting(&mut self) -> impl Iterator<Item = Client> {
        std::mem::take(&mut self.waiting).into_iter().map(|(client, _)| client)
    }

    /// Nothing is on the way.
    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty() && self.waiting.is_empty()
    }
}

impl World<'_> {
    pub(super) fn channel(&mut self, from: u16, to: u16) -> &mut Channel {
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
        let shard = &mut self.cores[usize::from(core)].shard;
        let id = shard.open_moved(&moved, now);
        let flow = shard.handle_moved(id, moved, now);
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
            let mut parcels = Vec::with_capacity(envelopes.len());
            for envelope in envelopes {
                let said = self.said_by(from, to, &envelope)?;
                parcels.push((envelope, said));
            }
            self.post_expected(from, to);
            let life = self.life(from).number;
            let delay_us = self.dice.within(1..=self.setup.network.link_us_max);
            let now_us = self.now.master_us;
            let channel = self.channel(from, to);
            let at_us = (now_us + delay_us).max(channel.last_us).max(channel.stalled_until_us);
            channel.last_us = at_us;
            let connections = std::mem::take(&mut channel.waiting);
            channel.batches.push_back(Batch { at_us, connections, envelopes: parcels, life });
            self.schedule(at_us, Event::Deliver(to));
        }
        Ok(())
    }

    /// What a core's rooms have for another's clients has left.
    fn post_expected(&mut self, from: u16, to: u16) {
        if self.setup.lives.is_none() {
            return;
        }
        let sockets = self.sockets.iter_mut().filter(|socket| socket.core == to);
        for segment in sockets.flat_map(|socket| &mut socket.hearing.segments) {
            if self.judge.home(&segment.room_code) == from {
                segment.post();
            }
        }
    }

    pub(super) fn drain_inboxes(&mut self, core: u16) -> Kept {
        for from in (0..self.setup.cores).filter(|from| *from != core) {
            let now_us = self.now.master_us;
            while let Some(batch) = self.channel(from, core).batches.pop_front_if(|it| it.at_us <= now_us) {
                for (client, moved) in batch.connections {
                    self.take_in(core, client, moved)?;
                }
                for (envelope, said) in batch.envelopes {
                    self.deliver(from, core, batch.life, envelope, said)?;
                    if self.fails_after_envelope(core) {
                        return self.fail(core);
                    }
                }
            }
        }
        Ok(())
    }

    /// One envelope, and to the judge what it means at a room's home.
    fn deliver(&mut self, from: u16, core: u16, life: u32, envelope: Envelope, said: Option<Said>) -> Kept {
        let is_heard = self.hears(from, core, &envelope);
        let is_respawned = matches!(envelope, Envelope::Respawned { .. });
        if is_heard {
            self.cores[usize::from(core)].lives_known[usize::from(from)] = life;
            self.take_note(from, core, &envelope)?;
        } else {
            self.tally.envelopes_unheard += 1;
        }
        let before = self.refusals(core);
        let now = self.now;
        self.tally.steps += 1;
        self.cores[usize::from(core)].shard.handle_envelope(CoreId(from), envelope, now);
        let refused = self.refused_since(core, before);
        if is_respawned {
            self.ask_anew(core, from, life);
        }
        let at = self.clock();
        match said.filter(|_| is_heard) {
            Some(Said { client, ticket, text }) if text.kind == Kind::Join => {
                self.judge.join(client, ticket, &text, at, &mut self.sockets);
                self.note_let_in(core, client, ticket);
            }
            Some(Said { client, ticket, text }) if text.kind == Kind::Return => {
                self.judge.come_back(client, ticket, &text, at, &mut self.sockets);
                self.note_let_in(core, client, ticket);
            }
            Some(Said { client, text, .. }) => {
                let is_start = self.judge.decide(core, client, &text, at, &mut self.sockets, refused);
                self.tally.starts_by_readiness += u64::from(is_start);
            }
            None => {}
        }
        self.after(core)
    }

    fn note_let_in(&mut self, core: u16, client: Client, ticket: u32) {
        let life = self.life(core).number;
        if let Some(segment) = self.socket(client).hearing.segment(ticket) {
            segment.let_in = Some(life);
        }
    }

    /// Who says what by this envelope, if it carries a client's message.
    fn said_by(&mut self, from: u16, to: u16, envelope: &Envelope) -> Result<Option<Said>, super::Broken> {
        let life = self.life(from);
        let client_of =
            |world: &Self, member: MemberId| world.owners.get(&(life, member.connection)).copied();
        match envelope {
            Envelope::Join(join) => {
                let client = client_of(self, join.member);
                note!(self, "{from} for {to}: {client:?} joins {}", join.room_code);
                let is_it = |text: &Text| {
                    matches!(text.kind, Kind::Join | Kind::Return)
                        && text.room_code.as_deref() == Some(&join.room_code)
                };
                self.travelled(to, client, join.ticket, is_it).map(Some)
            }
            Envelope::Request { from: member, text, .. } => {
                let client = client_of(self, *member);
                note!(self, "{from} for {to}: {client:?} says {}", String::from_utf8_lossy(text));
                self.travelled(to, client, 0, |sent| sent.text.as_bytes() == &text[..]).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// What else an envelope means is noted.
    fn take_note(&mut self, from: u16, core: u16, envelope: &Envelope) -> Kept {
        let life = self.life(core);
        let owner = |world: &Self, id: ConnectionId| world.owners.get(&(life, id)).copied();
        match envelope {
            Envelope::Joined { connection, ticket, room, .. } => {
                note!(self, "{from} to {core}: joined {connection:?} {ticket}");
                if let Some(client) = owner(self, *connection) {
                    let hearing = &mut self.sockets[client as usize].hearing;
                    if hearing.ticket == *ticket {
                        hearing.room = Some(*room);
                    }
                }
            }
            Envelope::Evict { room } => {
                note!(self, "{from} to {core}: evict {room:?}");
                self.evict(core, |id, _| id == Some(*room));
            }
            Envelope::EvictOne { connection, ticket, reason } => {
                note!(self, "{from} to {core}: evict {connection:?} {ticket:?}, {reason:?}");
                let evicted = owner(self, *connection).filter(|client| {
                    let hearing = &self.sockets[*client as usize].hearing;
                    ticket.is_none_or(|ticket| ticket == hearing.ticket)
                });
                if let Some(client) = evicted
                    && !self.sockets[client as usize].hearing.asked.contains(&from)
                {
                    return broken("only who can have missed something is evicted", format!("{client}"));
                }
                self.evict(core, |_, client| Some(client) == evicted);
            }
            Envelope::Leave { member, ticket } => {
                note!(self, "{from} to {core}: {:?} leaves its {ticket}", member.connection);
            }
            Envelope::Respawned { life } | Envelope::Welcome { life } => {
                note!(self, "{from} to {core}: life {life}");
            }
            _ => {}
        }
        Ok(())
    }

    /// The oldest message of a client that is still on its way, which this must be.
    fn travelled(
        &mut self,
        core: u16,
        client: Option<Client>,
        ticket: u32,
        is_it: impl Fn(&Text) -> bool,
    ) -> Result<Said, super::Broken> {
        let lost = |what: String| super::Broken {
            invariant: "messages cross the mesh whole, once and in order",
            what,
        };
        let client = client.ok_or_else(|| lost("nobody sent it".to_owned()))?;
        let hearing = &mut self.sockets[client as usize].hearing;
        hearing.asked.insert(core);
        let travelling = hearing.travelling.entry(core).or_default();
        while let Some(text) = travelling.pop_front() {
            if is_it(&text) {
                return Ok(Said { client, ticket, text });
            }
            // What is no message stays where it came from.
            if text.kind != Kind::Doubtful {
                return Err(lost(format!("{client}: {} is lost", text.text)));
            }
        }
        Err(lost(format!("{client} sent no such thing")))
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
