//! What the world itself does: faults of cores, links and clocks; the calm after them; the end of everything.

use super::socket::{Place, Side};
use super::{Event, Kept, World, note};

/// From a drain to the reset of what is left, as the server has it.
const ABANDON_AFTER_US: i64 = 1_200_000;

impl World<'_> {
    /// Something stalls, or someone sets the clock.
    pub(super) fn strike(&mut self) {
        if !self.is_chaos {
            return;
        }
        let now_us = self.now.master_us;
        let core = self.dice.below(self.cores.len());
        match self.dice.below(8) {
            0 => {
                self.tally.clock_steps += 1;
                self.now.unix_us += self.dice.within(-3_600_000_000..=3_600_000_000);
                note!(self, "Unix time is set to {}", self.now.unix_us);
            }
            1 | 2 => {
                self.tally.cores_stalled += 1;
                let until_us = now_us + self.dice.within(1_000..=400_000);
                note!(self, "core {core} stalls until {until_us}");
                self.cores[core].stalled_until_us = until_us;
            }
            _ if self.setup.cores > 1 => {
                self.tally.links_stalled += 1;
                let until_us = now_us + self.dice.within(10_000..=600_000);
                let channel = self.dice.below(self.channels.len());
                note!(self, "channel {channel} stalls until {until_us}");
                self.channels[channel].stall(until_us);
            }
            _ => {}
        }
        let every_us = self.setup.network.fault_every_us;
        self.schedule_in(every_us / 2, every_us * 2, Event::Fault);
    }

    /// From here on nothing goes wrong, and nobody does anything but answer.
    pub(super) fn calm(&mut self) {
        note!(self, "calm");
        self.is_chaos = false;
        for socket in 0..self.sockets.len() {
            let client = self.sockets[socket].client;
            if self.sockets[socket].is_stalled {
                self.read_on(client);
            }
        }
    }

    /// Everyone leaves, or the server drains.
    pub(super) fn end(&mut self) {
        note!(self, "the end{}", if self.setup.drains { ", by a drain" } else { "" });
        let at_once = self.setup.leaves_at_once;
        if self.setup.drains {
            self.tally.drains += 1;
            for core in 0..self.setup.cores {
                self.schedule_in(0, 200_000, Event::Drain(core));
            }
            return;
        }
        for client in self.present() {
            if self.sockets[client as usize].side != Side::Open {
                continue;
            }
            if at_once {
                self.socket(client).excuse = Some("all leave at once");
                self.end_now(client);
            } else {
                self.go(client);
            }
        }
        if at_once {
            (0..self.setup.cores).for_each(|core| self.turn_at(core, self.now.master_us + 50_000));
        }
    }

    pub(super) fn drain(&mut self, core: u16) -> Kept {
        let now = self.now;
        note!(self, "core {core} drains");
        let here = &mut self.cores[usize::from(core)];
        here.is_draining = true;
        here.shard.begin_drain(now);
        here.shard.drain(usize::MAX, now);
        for socket in &mut self.sockets {
            if socket.core == core && socket.place == Place::Open {
                socket.is_unheard = true;
                socket.hearing.closes.push(1001);
                socket.hearing.cut();
            }
        }
        self.schedule(now.master_us + ABANDON_AFTER_US, Event::Abandon(core));
        self.turn_soon(core);
        self.after(core)
    }

    /// What a drain has left is reset.
    pub(super) fn abandon(&mut self, core: u16) -> Kept {
        let here = &mut self.cores[usize::from(core)];
        if here.slots.iter().any(Option::is_some) {
            self.tally.abandoned += 1;
            here.shard.abandon();
            self.turn_soon(core);
        }
        self.after(core)
    }

    /// The client's end arrives with everyone else's.
    fn end_now(&mut self, client: crate::model::Client) {
        let socket = self.socket(client);
        socket.side = Side::HalfClosed;
        socket.pieces.clear();
        socket.said.clear();
        socket.arrived.clear();
        socket.arrived_end.get_or_insert(super::socket::End::Fin);
        self.line_up(client);
    }
}
