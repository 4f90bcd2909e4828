//! A shard's turn, as the driver does it, with the rules checked after every call.

use super::said::{Kind, Text, What};
use super::socket::{End, InFlight, Place};
use super::{Completion, Kept, World, broken, note};
use crate::model::Client;
use engine::{Action, ConnectionId, Flow};
use serde_json::json;

/// Completions of one turn.
const COMPLETIONS_PER_TURN_MAX: usize = 64;

/// What a shard has refused, or what of it is new since another look.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Refused {
    /// Connections, because a link is full.
    pub(super) evicted: u64,
    /// Their time_pings and the answers to them, likewise.
    pub(super) pings_dropped: u64,
    /// time_pongs, because who asked does not read.
    pub(super) pongs_late: u64,
    /// States, which are sent once who asked has read.
    pub(super) states_late: u64,
}

/// Stages of a turn.
pub(super) const STAGES: usize = 9;
type Stage<'t> = fn(&mut World<'t>, u16) -> Kept;

impl Refused {
    fn since(self, before: Refused) -> Refused {
        Refused {
            evicted: self.evicted - before.evicted,
            pings_dropped: self.pings_dropped - before.pings_dropped,
            pongs_late: self.pongs_late - before.pongs_late,
            states_late: self.states_late - before.states_late,
        }
    }
}

impl<'t> World<'t> {
    /// A turn's, in order.
    const STAGES: [Stage<'t>; STAGES] = [
        World::begin_keeping,
        World::drain_inboxes,
        World::reap,
        World::fire,
        World::go_on_keeping,
        World::flush,
        World::take_sends,
        World::take_actions,
        World::post,
    ];

    pub(super) fn turn(&mut self, core: u16) -> Kept {
        let here = &self.cores[usize::from(core)];
        let stalled_until_us = here.stalled_until_us.max(here.begins_us);
        if stalled_until_us > self.now.master_us {
            self.turn_at(core, stalled_until_us);
            return Ok(());
        }
        self.tally.turns += 1;
        let life = self.life(core);
        for (number, stage) in Self::STAGES.into_iter().enumerate() {
            if self.fails_before(core, number) {
                return self.fail(core);
            }
            stage(self, core)?;
            if self.life(core) != life {
                return Ok(());
            }
        }
        self.check_kept()?;
        let shard = &mut self.cores[usize::from(core)].shard;
        let deadline_us = shard.next_deadline_us();
        if shard.has_work() || !self.cores[usize::from(core)].completions.is_empty() {
            self.turn_at(core, self.now.master_us + 1);
        }
        if let Some(deadline_us) = deadline_us {
            self.turn_at(core, deadline_us.max(self.now.master_us + 1));
        }
        Ok(())
    }

    fn reap(&mut self, core: u16) -> Kept {
        for _ in 0..COMPLETIONS_PER_TURN_MAX {
            let here = &mut self.cores[usize::from(core)];
            if here.shard.is_pressing() {
                return Ok(());
            }
            match here.completions.pop_front() {
                Some(Completion::Accept(client)) => self.accept(core, client)?,
                Some(Completion::Receive(client)) => self.receive(core, client)?,
                Some(Completion::Sent(client)) => self.handle_send(core, client)?,
                None => return Ok(()),
            }
        }
        Ok(())
    }

    fn accept(&mut self, core: u16, client: Client) -> Kept {
        let open =
            self.sockets.iter().filter(|it| it.connection.is_some() || it.place == Place::Moving).count();
        let is_over_limit = open >= self.setup.connections_max;
        let now = self.now;
        let here = &mut self.cores[usize::from(core)];
        if here.is_draining {
            self.socket(client).place = Place::Released;
            self.end_down(client, End::Reset);
            return Ok(());
        }
        let id = here.shard.handle_accept(is_over_limit, now);
        note!(
            self,
            "core {core} accepts {client} as {id:?}{}",
            if is_over_limit { ", one too many" } else { "" }
        );
        self.tally.connections += 1;
        if is_over_limit {
            self.tally.accepts_over_limit += 1;
            let socket = self.socket(client);
            socket.is_unheard = true;
            socket.excuse = Some("one too many");
            socket.hearing.statuses = vec![503];
        }
        self.insert(core, client, id)?;
        self.after(core)
    }

    /// The socket is in this shard's table from here on.
    pub(super) fn insert(&mut self, core: u16, client: Client, id: ConnectionId) -> Kept {
        let here = &mut self.cores[usize::from(core)];
        let index = id.index as usize;
        here.slots.resize(here.slots.len().max(index + 1), None);
        if let Some(other) = here.slots[index].replace(client) {
            return broken("a slot is reused only after its release", format!("{id:?}: {other}, {client}"));
        }
        let socket = self.socket(client);
        (socket.core, socket.place, socket.connection) = (core, Place::Open, Some(id));
        if self.owners.insert((self.life(core), id), client).is_some() {
            return broken("no two connections have one id", format!("{id:?} on core {core}"));
        }
        self.line_up(client);
        Ok(())
    }

    fn receive(&mut self, core: u16, client: Client) -> Kept {
        self.socket(client).is_receive_due = false;
        let Some(id) = self.connection(core, client) else { return Ok(()) };
        let socket = &mut self.sockets[client as usize];
        if socket.is_resting && !socket.is_woken {
            socket.is_woken = true;
            self.schedule_in(10, 500, super::Event::Wake(client));
            return Ok(());
        }
        socket.is_woken = false;
        if socket.arrived.is_empty() {
            return self.tell_end(core, client, id);
        }
        // What is refused must be told from what is not: one text at a time.
        let is_refusable = self.setup.is_mesh_tight || socket.is_slow;
        let most = if is_refusable { socket.one_text_bytes() } else { socket.arrived.len() };
        let count = if self.dice.one_in(4) { 1 + self.dice.below(most) } else { most }.min(4096);
        let mut bytes: Vec<u8> = socket.arrived.drain(..count).collect();
        socket.told += count as u64;
        let texts = socket.said.iter().filter(|(end, what)| *end <= socket.told && what.is_text()).count();
        let is_cut = socket.said.iter().all(|(end, _)| *end != socket.told);
        self.tally.receives_split += u64::from(is_cut);
        self.tally.receives_of_a_byte += u64::from(count == 1);
        self.tally.receives_of_several += u64::from(texts > 1);
        let before = self.refusals(core);
        let now = self.now;
        self.tally.steps += 1;
        let flow = self.cores[usize::from(core)].shard.handle_bytes(id, &mut bytes, now);
        note!(self, "core {core} receives {count} bytes of {client}: {}", flow_name(&flow));
        self.follow(core, client, flow, before)
    }

    /// Goes on with a socket as the shard says, after the shard was told of its bytes.
    pub(super) fn follow(&mut self, core: u16, client: Client, flow: Flow, before: Refused) -> Kept {
        let refused = self.refused_since(core, before);
        match flow {
            Flow::Moved(moved) => {
                let index = self.socket(client).connection.take().map_or(0, |id| id.index as usize);
                self.cores[usize::from(core)].slots[index] = None;
                self.socket(client).place = Place::Moving;
                self.after(core)?;
                return self.send_away(core, client, moved);
            }
            Flow::Rest if !self.sockets[client as usize].is_resting => {
                return broken("a rest is asked for by an action", format!("{client}"));
            }
            Flow::Rest => {}
            Flow::Head | Flow::Stream => self.socket(client).is_resting = false,
        }
        self.carry_out(core, client, refused);
        self.after(core)?;
        self.line_up(client);
        Ok(())
    }

    /// What a shard has refused so far, by its own counters.
    pub(super) fn refusals(&self, core: u16) -> Refused {
        let stats = self.cores[usize::from(core)].shard.stats();
        Refused {
            evicted: stats.mesh_evicted,
            pings_dropped: stats.mesh_pings_dropped,
            pongs_late: stats.pongs_late,
            states_late: stats.states_late,
        }
    }

    /// What it has refused since it had refused that much.
    pub(super) fn refused_since(&self, core: u16, before: Refused) -> Refused {
        self.refusals(core).since(before)
    }

    /// The judge is told what the shard has just been told.
    fn carry_out(&mut self, core: u16, client: Client, refused: Refused) {
        loop {
            let socket = self.socket(client);
            let Some((_, what)) = socket.said.pop_front_if(|(end, _)| *end <= socket.told) else { return };
            if socket.is_unheard {
                continue;
            }
            match what {
                What::Head => {
                    socket.is_upgraded = true;
                    self.tally.upgrades += 1;
                }
                What::BadHead => {
                    socket.is_unheard = true;
                    self.tally.heads_refused += 1;
                }
                What::Text(text) => self.carry_out_text(core, client, &text, refused),
                What::Ping(payload) => socket.hearing.pongs.push_back(payload),
                What::Pong => {}
                What::Last => socket.is_unheard = true,
            }
        }
    }

    fn carry_out_text(&mut self, core: u16, client: Client, text: &Text, refused: Refused) {
        let at = self.clock();
        let standing = self.socket(client).hearing.room_code.clone();
        let decided_at = self.judge.decided_at(core, text, standing.as_deref());
        if let (Kind::Join, Some(room_code)) = (text.kind, &text.room_code) {
            if standing.as_deref() == Some(room_code) {
                self.tally.rejoins += 1;
            } else {
                if let Some(standing) = standing {
                    self.change_room(core, client, &standing);
                }
                self.socket(client).hearing.begin(room_code);
            }
            if decided_at == core {
                let ticket = self.socket(client).hearing.ticket;
                self.judge.join(client, ticket, text, at, &mut self.sockets);
                return;
            }
        } else if decided_at == core {
            let is_start = self.judge.decide(core, client, text, at, &mut self.sockets, refused);
            self.tally.starts_by_readiness += u64::from(is_start);
            self.socket(client).is_state_due |= refused.states_late > 0;
            return;
        }
        let socket = self.socket(client);
        if refused.evicted > 0 {
            socket.is_unheard = true;
            socket.hearing.closes.push(1013);
            socket.hearing.cut();
        } else if refused.pings_dropped == 0 {
            if text.kind == Kind::Join {
                socket.hearing.join = Some(text.clone());
            }
            socket.hearing.travelling.entry(decided_at).or_default().push_back(text.clone());
        }
    }

    fn change_room(&mut self, core: u16, client: Client, from: &str) {
        self.tally.rooms_changed += 1;
        let is_here = self.judge.home(from) == core;
        if let Some(segment) = self.socket(client).hearing.segments.back_mut() {
            segment.is_over = true;
            segment.is_cut |= !is_here;
        }
        if is_here {
            let (at, is_silent) = (self.clock(), self.cores[usize::from(core)].is_draining);
            self.judge.leave(from, client, at, &mut self.sockets, is_silent);
        }
    }

    fn fire(&mut self, core: u16) -> Kept {
        let now = self.now;
        let before = self.refusals(core);
        let shard = &mut self.cores[usize::from(core)].shard;
        let is_due = shard.next_deadline_us().is_some_and(|due_us| due_us <= now.master_us);
        self.tally.steps += 1;
        shard.handle_deadlines(now);
        let next_us = shard.next_deadline_us();
        if is_due {
            note!(self, "core {core} fires");
        }
        // Connections whose time is up leave before rooms' timers fire.
        self.reconcile(core, before)?;
        for expected in self.judge.advance(core, self.clock(), &mut self.sockets) {
            self.tally.starts_by_time += u64::from(expected["type"] == "PLAY");
            self.tally.pause_states += u64::from(expected["type"] == "PAUSE_STATE");
        }
        self.after(core)?;
        match next_us {
            Some(next_us) if next_us <= now.master_us => broken(
                "no deadline is left in the past",
                format!("core {core}: {next_us} at {}", now.master_us),
            ),
            _ => Ok(()),
        }
    }

    fn flush(&mut self, core: u16) -> Kept {
        let before = self.refusals(core);
        let shard = &mut self.cores[usize::from(core)].shard;
        self.tally.steps += 1;
        shard.flush();
        self.send_states_due(core);
        self.reconcile(core, before)?;
        self.check_outboxes(core)?;
        self.after(core)
    }

    /// Who had not read, and then has, gets the state that it asked for as it is now.
    fn send_states_due(&mut self, core: u16) {
        let at = self.clock();
        for client in std::mem::take(&mut self.cores[usize::from(core)].states_due) {
            let socket = self.socket(client);
            if socket.place == Place::Open && std::mem::take(&mut socket.is_state_due) {
                // A stranger's question, which --authz off allows, is forgotten.
                let room_code = socket.hearing.room_code.clone();
                let room_code = room_code.filter(|room_code| self.judge.home(room_code) == core);
                let query = json!({"type": "get_playback_state", "roomCode": room_code}).to_string();
                let text = Text { text: query, kind: Kind::Other, room_code };
                let nothing = Refused::default();
                self.judge.decide(core, client, &text, at, &mut self.sockets, nothing);
            }
        }
    }

    fn take_sends(&mut self, core: u16) -> Kept {
        loop {
            let here = &mut self.cores[usize::from(core)];
            let Some((id, bytes)) = here.shard.poll_send() else { return Ok(()) };
            let (address, bytes) = (bytes.as_ptr() as usize, bytes.to_vec());
            let owed_bytes = here.shard.owed_bytes(id);
            let Some(client) = here.slots.get(id.index as usize).copied().flatten() else {
                return broken("a send is for a connection", format!("{id:?}"));
            };
            let socket = &mut self.sockets[client as usize];
            if socket.connection != Some(id) || socket.place != Place::Open || bytes.is_empty() {
                return broken("a send is for a connection that is open", format!("{client}"));
            }
            let in_flight = InFlight { address, bytes, owed_bytes, is_waiting: false };
            if socket.in_flight.replace(in_flight).is_some() {
                return broken("one send in flight", format!("{client}"));
            }
            self.schedule_in(1, self.setup.network.send_us_max, super::Event::Sent(client));
        }
    }

    fn take_actions(&mut self, core: u16) -> Kept {
        while let Some(action) = self.cores[usize::from(core)].shard.poll_action() {
            let (Action::Shutdown(id) | Action::Drop { connection: id, .. } | Action::Rest(id)) = action;
            let Some(client) = self.owners.get(&(self.life(core), id)).copied() else {
                return broken("an action is for a connection", format!("{action:?}"));
            };
            note!(self, "core {core}: {action:?} of {client}");
            match action {
                Action::Shutdown(_) => {
                    if self.cores[usize::from(core)].shard.owed_bytes(id) > 0 {
                        return broken("our side ends once all is sent", format!("{client}"));
                    }
                    self.end_down(client, End::Fin);
                }
                Action::Drop { reset, .. } => self.let_go(core, client, reset)?,
                Action::Rest(_) => {
                    self.tally.rests += 1;
                    self.socket(client).is_resting = true;
                }
            }
        }
        Ok(())
    }
}

fn flow_name(flow: &Flow) -> &'static str {
    match flow {
        Flow::Head => "head",
        Flow::Stream => "stream",
        Flow::Rest => "rest",
        Flow::Moved(_) => "moved",
    }
}
