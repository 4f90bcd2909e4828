//! The rules, each a function with its name and what breaks it. `after` checks them after every call into a shard.

use super::socket::Place;
use super::turn::Refused;
use super::{Kept, World, broken};
use crate::model::Client;
use engine::CoreId;
use engine::room::Member;

/// A handshake and two PAUSE_STATEs.
const TIMERS_MAX: usize = 3;
/// Further off than this a client is told where to go.
const DRIFT_MS_MAX: u16 = 450;

impl World<'_> {
    /// After a call into a shard: the judge is told who left, then everything is looked at.
    pub(super) fn after(&mut self, core: u16) -> Kept {
        let before = self.refusals(core);
        self.reconcile(core, before)?;
        self.check_in_flight(core)?;
        self.check_rooms(core)?;
        self.check_slots(core)
    }

    /// A room's members are those that the model has, less those who have just left: the judge is told of them.
    /// `before` is what the shard had refused before the call.
    pub(super) fn reconcile(&mut self, core: u16, before: Refused) -> Kept {
        const RULE: &str = "a room's members are those who joined and have not left";
        let is_evicting = self.refused_since(core, before).evicted > 0;
        let is_silent = self.cores[usize::from(core)].is_draining;
        let mut left: Vec<(String, Vec<Client>)> = Vec::new();
        for (room_code, room) in self.judge.rooms.iter().filter(|(_, room)| room.home == core) {
            let mut gone = room.model.members(room_code);
            let here = self.cores[usize::from(core)].shard.rooms().find(|it| *it.code == **room_code);
            for member in here.into_iter().flat_map(|room| &room.members) {
                let life = self.life_known(core, member.id.core);
                let client = self.owners.get(&(life, member.id.connection));
                match gone.iter().position(|it| Some(it) == client) {
                    Some(place) => drop(gone.swap_remove(place)),
                    None => return broken(RULE, format!("{client:?} is in {room_code}")),
                }
            }
            if !gone.is_empty() {
                gone.sort_unstable();
                left.push((room_code.clone(), gone));
            }
        }
        let at = self.clock();
        for (room_code, gone) in left {
            super::note!(self, "core {core}: {gone:?} left {room_code}");
            let tickets: Vec<_> = gone.iter().map(|client| self.judge.ticket(&room_code, *client)).collect();
            if is_silent || gone.len() == 1 {
                gone.iter()
                    .for_each(|it| self.judge.leave(&room_code, *it, at, &mut self.sockets, is_silent));
            } else {
                self.tally.departures_at_once += 1;
                self.judge.leave_together(&room_code, &gone, at, &mut self.sockets);
            }
            for (client, ticket) in gone.into_iter().zip(tickets) {
                let socket = &mut self.sockets[client as usize];
                if is_evicting && socket.core != core {
                    socket.hearing.closes.push(1013);
                }
                if let Some(segment) = ticket.and_then(|ticket| socket.hearing.segment(ticket)) {
                    (segment.is_over, segment.is_cut) = (true, true);
                }
            }
        }
        Ok(())
    }

    /// The bytes of a send in flight stay as they are, where they are.
    fn check_in_flight(&self, core: u16) -> Kept {
        let here = &self.cores[usize::from(core)];
        for client in here.slots.iter().flatten() {
            let socket = &self.sockets[*client as usize];
            let (Some(id), Some(in_flight)) = (socket.connection, &socket.in_flight) else { continue };
            let bytes = here.shard.handle_unsent(id);
            let is_same = bytes.is_some_and(|bytes| {
                bytes.as_ptr() as usize == in_flight.address && bytes == in_flight.bytes
            });
            if !is_same {
                return broken("bytes in flight do not change", format!("{client}"));
            }
        }
        Ok(())
    }

    /// A room exactly while it has members; three timers at most; where the model says, and never back.
    fn check_rooms(&mut self, core: u16) -> Kept {
        let shard = &self.cores[usize::from(core)].shard;
        let (now, at) = (self.now, self.clock());
        let is_draining = self.cores[usize::from(core)].is_draining;
        let (mut rooms, mut vacant) = (0, 0);
        let mut out_of_sync = 0;
        for room in shard.rooms() {
            out_of_sync += u64::from(room.out_of_sync);
            let is_off =
                |member: &&Member| member.drift_ms().is_some_and(|ms| ms.unsigned_abs() > DRIFT_MS_MAX);
            if room.members.iter().filter(is_off).count() != room.out_of_sync as usize {
                return broken("a room counts its members that are out of sync", format!("{room:?}"));
            }
            let name = &room.code;
            let is_vacant = self.judge.rooms.get(&**name).is_some_and(|judged| judged.model.is_vacant(name));
            // In a drain a room waits for whoever may come back to it.
            if room.members.is_empty() && is_draining && !is_vacant {
                vacant += 1;
                continue;
            }
            rooms += 1;
            if room.members.is_empty() != is_vacant {
                return broken("a room exists exactly while it has members", format!("{name} is empty"));
            }
            let Some(judged) = self.judge.rooms.get_mut(&*room.code).filter(|it| it.home == core) else {
                return broken("a room exists exactly while it has members", format!("nobody joined {name}"));
            };
            if room.timers() > TIMERS_MAX {
                return broken("a room has three timers at most", format!("{name}: {}", room.timers()));
            }
            let position_us = room.position_us(now);
            if judged.model.position_us(name, at) != Some(position_us) {
                let model_us = judged.model.position_us(name, at);
                return broken(
                    "a room is where its model is",
                    format!("{name}: {position_us} µs, {model_us:?}"),
                );
            }
            if judged.played_us.is_some_and(|played_us| position_us < played_us) && !judged.may_jump {
                return broken(
                    "a position never goes back while playing",
                    format!("{name}: {position_us} µs"),
                );
            }
            // Nobody hears what a stranger does to a room without members.
            judged.played_us = (room.is_playing() && !is_vacant).then_some(position_us);
            judged.may_jump = false;
        }
        if shard.stats().out_of_sync != out_of_sync {
            let gauge = shard.stats().out_of_sync;
            return broken(
                "a shard counts its rooms' members that are out of sync",
                format!("{gauge}, {out_of_sync}"),
            );
        }
        let mut modelled = 0;
        for judged in self.judge.rooms.values_mut().filter(|room| room.home == core) {
            if judged.model.rooms() == 0 {
                // Another room of this name begins anew.
                judged.played_us = None;
            } else {
                modelled += 1;
            }
        }
        if rooms != modelled || rooms as u64 + vacant != shard.stats().rooms {
            return broken(
                "a room exists exactly while it has members",
                format!("core {core}: {rooms}, {modelled}, {}", shard.stats().rooms),
            );
        }
        Ok(())
    }

    /// A slot for each socket that the shard was given and has not released or handed on.
    fn check_slots(&self, core: u16) -> Kept {
        let here = &self.cores[usize::from(core)];
        let sockets = here.slots.iter().flatten().count();
        let slots = here.shard.holdings().slots;
        if slots != sockets || sockets as u64 != here.shard.stats().connections {
            let gauge = here.shard.stats().connections;
            return broken(
                "every connection has one slot and is released once",
                format!("core {core}: {sockets} sockets, {slots} slots, a gauge of {gauge}"),
            );
        }
        Ok(())
    }

    /// Once a turn has ended, nothing has come to what a connection is owed past its bound while a send was out.
    pub(super) fn check_outboxes(&self, core: u16) -> Kept {
        let here = &self.cores[usize::from(core)];
        for client in here.slots.iter().flatten() {
            let socket = &self.sockets[*client as usize];
            let (Some(id), Some(in_flight)) = (socket.connection, &socket.in_flight) else { continue };
            let owed_bytes = here.shard.owed_bytes(id);
            if owed_bytes > self.setup.limits.outbox_bytes_max.max(in_flight.owed_bytes) {
                return broken("an outbox is bounded", format!("{client}: {owed_bytes} bytes"));
            }
        }
        Ok(())
    }

    /// Once faults have stopped: nothing is on its way, all have heard everything, all are where they think they are.
    pub(super) fn check_converged(&self) -> Kept {
        const RULE: &str = "when faults stop, all converge";
        self.check_quiet(RULE)?;
        for socket in self.sockets.iter().filter(|it| it.place == Place::Open && it.connection.is_some()) {
            let client = socket.client;
            if socket.hearing.is_closed || !socket.is_upgraded {
                return broken(RULE, format!("{client} is still there"));
            }
            if let Some(missing) = socket.hearing.missing() {
                return broken(RULE, format!("{client} never heard {missing}"));
            }
            if let Some(text) = socket.hearing.unheard() {
                return broken(RULE, format!("{client} was not listened to: {}", text.text));
            }
            if let Some(room_code) = &socket.hearing.room_code
                && self.judge.rooms.get(room_code).and_then(|room| room.model.room_of(client)).is_none()
            {
                return broken(RULE, format!("{client} believes to be in {room_code}"));
            }
        }
        for (room_code, room) in &self.judge.rooms {
            let ghost = room.model.members(room_code).into_iter().find(|client| {
                let socket = &self.sockets[*client as usize];
                socket.place != Place::Open || socket.hearing.room_code.as_ref() != Some(room_code)
            });
            if let Some(ghost) = ghost {
                return broken(RULE, format!("{ghost} is a ghost in {room_code}"));
            }
        }
        Ok(())
    }

    /// Nothing is on its way, up, down or between cores.
    pub(super) fn check_quiet(&self, rule: &'static str) -> Kept {
        if let Some(channel) = self.channels.iter().position(|channel| !channel.is_empty()) {
            return broken(rule, format!("channel {channel} is not empty"));
        }
        for (core, here) in self.cores.iter().enumerate() {
            let has_envelopes = (0..self.setup.cores).any(|peer| here.shard.has_envelopes(CoreId(peer)));
            if has_envelopes || here.shard.has_work() || !here.completions.is_empty() {
                return broken(rule, format!("core {core} has work left"));
            }
            for client in here.slots.iter().flatten() {
                let socket = &self.sockets[*client as usize];
                if socket.connection.is_some_and(|id| here.shard.owed_bytes(id) > 0) {
                    return broken(rule, format!("{client} is owed bytes"));
                }
                if !socket.sent.is_empty() || socket.in_flight.is_some() || !socket.read.is_empty() {
                    return broken(rule, format!("{client} has not read all"));
                }
                if !socket.pieces.is_empty() || !socket.arrived.is_empty() {
                    return broken(rule, format!("{client} was not read"));
                }
            }
        }
        Ok(())
    }

    /// After all have left there is no room, no connection, no memory of either, and nothing to wait for.
    pub(super) fn check_nothing_is_left(&mut self) -> Kept {
        const RULE: &str = "after all leave, nothing is left";
        self.check_quiet(RULE)?;
        if let Some(socket) = self.sockets.iter().find(|it| it.place != Place::Released) {
            return broken(RULE, format!("{} is {:?}", socket.client, socket.place));
        }
        for (core, here) in self.cores.iter_mut().enumerate() {
            let holdings = here.shard.holdings();
            if holdings != engine::Holdings::default() {
                return broken(RULE, format!("core {core}: {holdings:?}"));
            }
            let deadline_us = here.shard.next_deadline_us();
            if deadline_us.is_some() {
                return broken(RULE, format!("core {core} waits until {deadline_us:?}"));
            }
        }
        Ok(())
    }
}
