//! The kernel's part of sockets: what has arrived, what of a send it takes, how a connection ends, and completions
//! that come late.

use super::socket::{End, Piece, Place, Side};
use super::{Completion, Event, Kept, World, broken, note};
use crate::model::Client;
use engine::{ConnectionId, Flow};

impl World<'_> {
    /// Pieces whose time has come are in the kernel.
    pub(super) fn arrive(&mut self, client: Client) {
        let now_us = self.now.master_us;
        let socket = self.socket(client);
        while let Some((_, piece)) = socket.pieces.pop_front_if(|(at_us, _)| *at_us <= now_us) {
            match piece {
                Piece::Bytes(bytes) => socket.arrived.extend_from_slice(&bytes),
                Piece::End(end) => socket.arrived_end = Some(end),
            }
        }
        if let Some((at_us, _)) = socket.pieces.front() {
            let at_us = *at_us;
            self.schedule(at_us, Event::Arrive(client));
        }
        if self.socket(client).arrived_end == Some(End::Reset) {
            // A reset throws away what was not received, and fails the send that is out.
            if self.dice.one_in(2) {
                self.forget_arrived(client);
            }
            if self.socket(client).in_flight.is_some() {
                self.schedule_in(0, 1_000, Event::Sent(client));
            }
        }
        self.line_up(client);
    }

    fn forget_arrived(&mut self, client: Client) {
        let socket = self.socket(client);
        socket.arrived.clear();
        socket.said.clear();
        socket.is_unheard = true;
    }

    /// A receive completes if there is anything to receive.
    pub(super) fn line_up(&mut self, client: Client) {
        let socket = &mut self.sockets[client as usize];
        let is_something =
            !socket.arrived.is_empty() || (socket.arrived_end.is_some() && !socket.is_end_told);
        if !is_something
            || socket.is_receive_due
            || socket.place != Place::Open
            || socket.connection.is_none()
        {
            return;
        }
        socket.is_receive_due = true;
        let core = socket.core;
        self.cores[usize::from(core)].completions.push_back(Completion::Receive(client));
        self.turn_soon(core);
    }

    /// Nothing is left to receive but the end.
    pub(super) fn tell_end(&mut self, core: u16, client: Client, id: ConnectionId) -> Kept {
        let socket = &mut self.sockets[client as usize];
        let Some(end) = socket.arrived_end.filter(|_| !socket.is_end_told) else { return Ok(()) };
        socket.is_end_told = true;
        socket.is_unheard = true;
        socket.excuse = Some("the client ended");
        let now = self.now;
        self.tally.steps += 1;
        let shard = &mut self.cores[usize::from(core)].shard;
        let waiting = shard.holdings().ends_waiting;
        match end {
            End::Fin => shard.handle_end(id, now),
            End::Reset => shard.handle_failure(id, now),
        }
        self.tally.ends_waiting += u64::from(shard.holdings().ends_waiting > waiting);
        note!(self, "core {core} hears the end of {client}: {end:?}");
        self.after(core)
    }

    /// The kernel is done with a send, or with a part of it.
    pub(super) fn complete_send(&mut self, client: Client) {
        let socket = &self.sockets[client as usize];
        if socket.in_flight.is_none() || socket.place != Place::Open {
            return;
        }
        let core = socket.core;
        self.cores[usize::from(core)].completions.push_back(Completion::Sent(client));
        self.turn_soon(core);
    }

    pub(super) fn handle_send(&mut self, core: u16, client: Client) -> Kept {
        let Some(id) = self.connection(core, client) else { return Ok(()) };
        let network = &self.setup.network;
        let fails = self.is_chaos && self.dice.one_in(network.fail_one_in);
        let again = self.dice.one_in(network.again_one_in);
        let is_short = self.dice.one_in(network.short_one_in);
        let window_bytes = network.window_bytes;
        let socket = &mut self.sockets[client as usize];
        let Some(in_flight) = &mut socket.in_flight else { return Ok(()) };
        in_flight.is_waiting = false;
        if fails || socket.arrived_end == Some(End::Reset) {
            return self.fail_send(core, client, id);
        }
        let room = window_bytes.saturating_sub(socket.sent.len());
        if room == 0 {
            in_flight.is_waiting = true;
            self.tally.sends_waiting += 1;
            return Ok(());
        }
        let shard = &mut self.cores[usize::from(core)].shard;
        self.tally.steps += 1;
        if again {
            self.tally.sends_again += 1;
            if shard.handle_unsent(id) != Some(&in_flight.bytes[..]) {
                return broken("a send that was refused is sent again", format!("{client}"));
            }
            self.schedule_in(1, self.setup.network.send_us_max, Event::Sent(client));
            return Ok(());
        }
        let most = room.min(in_flight.bytes.len());
        let taken = if is_short { 1 + self.dice.below(most) } else { most };
        socket.sent.extend(in_flight.bytes.drain(..taken));
        in_flight.address += taken;
        let rest = shard.handle_sent(id, taken);
        let is_same = match rest {
            Some(rest) => rest.as_ptr() as usize == in_flight.address && rest == in_flight.bytes,
            None => in_flight.bytes.is_empty(),
        };
        if !is_same {
            return broken("what is left of a send is sent next", format!("{client}"));
        }
        if rest.is_some() {
            self.tally.sends_short += 1;
            self.schedule_in(1, self.setup.network.send_us_max, Event::Sent(client));
        } else {
            socket.in_flight = None;
            if socket.is_state_due && shard.owed_bytes(id) == 0 {
                self.cores[usize::from(core)].states_due.push(client);
            }
        }
        self.read_soon(client);
        self.after(core)
    }

    /// As the driver does on any error that does not pass.
    fn fail_send(&mut self, core: u16, client: Client, id: ConnectionId) -> Kept {
        let now = self.now;
        let socket = self.socket(client);
        socket.in_flight = None;
        socket.excuse = Some("a send failed");
        socket.is_unheard = true;
        self.tally.sends_failed += 1;
        self.tally.steps += 1;
        note!(self, "core {core}: a send to {client} fails");
        let shard = &mut self.cores[usize::from(core)].shard;
        shard.handle_send_ended(id);
        shard.handle_failure(id, now);
        self.end_down(client, End::Reset);
        self.after(core)
    }

    /// The shard has let go of a connection: what is in flight is cancelled, then the descriptor is closed.
    pub(super) fn let_go(&mut self, core: u16, client: Client, reset: bool) -> Kept {
        let is_draining = self.cores[usize::from(core)].is_draining;
        let small = self.setup.is_outbox_small;
        let socket = &mut self.sockets[client as usize];
        if socket.place != Place::Open || socket.core != core {
            return broken("a connection is let go of once", format!("{client}"));
        }
        let is_excused = socket.excuse.is_some()
            || !socket.hearing.closes.is_empty()
            || !socket.is_upgraded
            || is_draining
            || (small && reset && socket.in_flight.is_some());
        if !is_excused {
            return broken("nobody is let go of without a cause", format!("{client}, reset: {reset}"));
        }
        socket.place = Place::Dropping;
        socket.is_unheard = true;
        socket.hearing.cut();
        self.tally.sends_cancelled += u64::from(socket.in_flight.is_some());
        self.end_down(client, if reset { End::Reset } else { End::Fin });
        let most_us = if self.dice.one_in(20) { 3_000_000 } else { 20_000 };
        self.schedule_in(0, most_us, Event::Release(client));
        Ok(())
    }

    pub(super) fn release(&mut self, client: Client) -> Kept {
        let socket = &mut self.sockets[client as usize];
        let core = socket.core;
        if socket.is_lost {
            return Ok(());
        }
        let Some(id) = socket.connection.filter(|_| socket.place == Place::Dropping) else {
            return broken("a connection is released once", format!("{client}"));
        };
        let shard = &mut self.cores[usize::from(core)].shard;
        self.tally.steps += 1;
        if socket.in_flight.take().is_some() {
            shard.handle_send_ended(id);
            self.schedule_in(0, 10_000, Event::Release(client));
            return self.after(core);
        }
        socket.place = Place::Released;
        socket.connection = None;
        shard.handle_released(id);
        self.cores[usize::from(core)].slots[id.index as usize] = None;
        note!(self, "core {core} releases {client}");
        if self.is_chaos && self.dice.one_in(2) {
            let life = self.life(core).number;
            let late = Event::Late { core, life, index: id.index, generation: id.generation };
            self.schedule_in(0, 2_000_000, late);
        }
        self.after(core)
    }

    /// Completions for a connection that is long gone: whoever has its slot now must not notice.
    pub(super) fn complete_late(&mut self, core: u16, id: ConnectionId) -> Kept {
        let is_reused = self.cores[usize::from(core)].slots[id.index as usize].is_some();
        self.tally.late_completions += 1;
        self.tally.late_completions_for_reused_slots += u64::from(is_reused);
        let now = self.now;
        let shard = &mut self.cores[usize::from(core)].shard;
        let before = (shard.stats().clone(), shard.holdings());
        let mut bytes = *b"\x88\x80\0\0\0\0";
        let flow = shard.handle_bytes(id, &mut bytes, now);
        let is_ignored = flow == Flow::Stream
            && shard.flow_of(id) == Flow::Stream
            && shard.handle_unsent(id).is_none()
            && shard.handle_sent(id, 1).is_none();
        shard.handle_send_ended(id);
        shard.handle_end(id, now);
        shard.handle_failure(id, now);
        shard.handle_released(id);
        if !is_ignored || before != (shard.stats().clone(), shard.holdings()) {
            return broken("a late completion does not reach a slot's next connection", format!("{id:?}"));
        }
        self.after(core)
    }

    /// The server's side has ended; the client sees it once it has read what came before.
    pub(super) fn end_down(&mut self, client: Client, end: End) {
        let socket = self.socket(client);
        if socket.sent_end != Some(End::Reset) {
            socket.sent_end = Some(end);
        }
        self.read_soon(client);
    }

    /// The client reads before long, if it reads at all.
    pub(super) fn read_soon(&mut self, client: Client) {
        let socket = &mut self.sockets[client as usize];
        if !socket.is_read_due && !socket.is_stalled && socket.side != Side::Gone {
            socket.is_read_due = true;
            self.schedule_in(20, self.setup.network.delay_us_max, Event::Read(client));
        }
    }
}
