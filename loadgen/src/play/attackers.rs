//! Attackers: connections that do what a server has to bear.
//!
//! One play for all kinds; what those of a kind send is a file of its own here, which knows no socket. Why the
//! server ended an attacker is counted as for every connection. Whom it ended comes back a moment later, so that
//! an attack lasts as long as it is measured; how often in all has a bound.

mod codes;
mod drip;
mod empty_fragments;
mod half_open;
mod huge_header;
mod messages;
mod mute;
mod pings;
mod stalled;

use super::Play;
use super::seats::Seats;
use crate::args::{Flood, Profile, Tempo};
use crate::gauge::Gauge;
use crate::io::{End, Io, Phase};
use crate::schedule::Pace;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use wire::frame::{self, Opcode};

/// Attackers mask their frames with this.
const KEY: [u8; 4] = [0x11, 0x22, 0x33, 0x44];
/// What one that says much says at a time.
const BATCH_BYTES: usize = 16 * 1024;
const RETURNS_AFTER_NS: u64 = 100_000_000;
/// Returns of all attackers together.
const RETURNS_MAX: u64 = 100_000;

/// What attackers are told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Attack {
    pub flood: Flood,
    /// Of all attackers, where they are paced.
    pub rate_per_s: Option<f64>,
}

/// What the attackers of one kind send. Each answer appends to `out` and says how much of it there is: bytes,
/// messages, frames or joins.
trait Kind {
    /// Path and query of the upgrade; `None`: the URL's own.
    fn path(&self, _connection: u32) -> Option<String> {
        None
    }

    /// Bytes of the request for the upgrade that are sent at once. With fewer than all of them the attacker is in
    /// position, and what follows is its own matter.
    fn head_bytes(&mut self, _connection: u32, request: &[u8]) -> usize {
        request.len()
    }

    /// The upgrade is through.
    fn open(&mut self, _connection: u32, _out: &mut Vec<u8>) -> u64 {
        0
    }

    /// It is its turn.
    fn speak(&mut self, _connection: u32, _out: &mut Vec<u8>) -> u64 {
        0
    }

    /// It is gone; should it come back, it begins anew.
    fn ended(&mut self, _connection: u32) {}

    /// Those that take turns, of so many attackers: each `stride`th.
    fn stride(&self) -> u32 {
        1
    }

    /// Turns before the ring is entered. A byte each must not wait for its like, and a long call into the kernel
    /// would keep the victims' generator from its CPU.
    fn turns_at_once(&self) -> usize {
        32
    }
}

/// An attacker takes its seat; each is its own host.
fn join(seats: Seats, connection: u32, out: &mut Vec<u8>) {
    let join = seats.join(connection, connection);
    frame::push_masked_frame(out, Opcode::Text, join.as_bytes(), KEY);
}

pub struct Attackers {
    gauge: Gauge,
    kind: Box<dyn Kind>,
    rate_per_s: Option<f64>,
    is_tireless: bool,
    answers_pings: bool,
    pace: Option<Pace>,
    out: Vec<u8>,
    /// Where the attack wants it: upgraded, or half on its way; or it was ended before.
    is_in_position: Vec<bool>,
    in_position: u64,
    returns: BinaryHeap<Reverse<(u64, u32)>>,
    returned: u64,
    has_begun: bool,
    is_over: bool,
}

impl Attackers {
    pub fn new(
        attack: &Attack,
        connections: usize,
        profile: Profile,
        seats: Seats,
        random: &mut fastrand::Rng,
    ) -> Attackers {
        let kind: Box<dyn Kind> = match attack.flood {
            Flood::Stalled => Box::new(stalled::Stalled::new(profile, seats)),
            Flood::Drip => Box::new(drip::Drip::new(connections)),
            Flood::HalfOpen => Box::new(half_open::HalfOpen),
            Flood::EmptyFragments => Box::new(empty_fragments::EmptyFragments::new(connections)),
            Flood::HugeHeader => Box::new(huge_header::HugeHeader::default()),
            Flood::Pings => Box::new(pings::Pings),
            Flood::Messages => Box::new(messages::Messages::new(profile, seats)),
            Flood::Codes => Box::new(codes::Codes::colliding()),
            Flood::RandomCodes => Box::new(codes::Codes::random(random)),
            Flood::Herd | Flood::Silent => Box::new(mute::Mute),
        };
        Attackers {
            gauge: Gauge::default(),
            kind,
            rate_per_s: attack.rate_per_s,
            is_tireless: attack.flood.tempo() == Tempo::Tireless,
            answers_pings: attack.flood != Flood::Silent,
            pace: None,
            out: Vec::new(),
            is_in_position: vec![false; connections],
            in_position: 0,
            returns: BinaryHeap::new(),
            returned: 0,
            has_begun: false,
            is_over: false,
        }
    }

    fn take_position(&mut self, connection: u32) {
        let is_in_position = &mut self.is_in_position[connection as usize];
        self.in_position += u64::from(!*is_in_position);
        *is_in_position = true;
    }

    fn send(&mut self, io: &mut Io, connection: u32, said: u64) {
        if !self.out.is_empty() {
            io.append(connection, |out, _| out.extend_from_slice(&self.out));
        }
        self.gauge.outcome.messages.sent += said;
        if self.gauge.is_measured(io.now_ns) {
            self.gauge.outcome.window.sent += said;
        }
    }

    fn speak(&mut self, io: &mut Io, connection: u32) {
        if io.takes_bytes(connection) {
            self.out.clear();
            let said = self.kind.speak(connection, &mut self.out);
            self.send(io, connection, said);
        }
    }

    /// Connects those whose time to come back has come; when the next one's has, ns.
    fn return_due(&mut self, io: &mut Io) -> u64 {
        while let Some(Reverse((at_ns, connection))) = self.returns.peek().copied() {
            if at_ns > io.now_ns {
                return at_ns;
            }
            self.returns.pop();
            if io.phase(connection) == Phase::Closed
                && let Err(error) = io.connect(connection)
            {
                *io.failed.entry(error.to_string()).or_default() += 1;
            }
        }
        u64::MAX
    }
}

impl Play for Attackers {
    fn path(&self, connection: u32) -> Option<String> {
        self.kind.path(connection)
    }

    fn head_bytes(&mut self, connection: u32, request: &[u8]) -> usize {
        let bytes = self.kind.head_bytes(connection, request);
        if bytes < request.len() {
            self.take_position(connection);
        }
        bytes
    }

    fn bears_losses(&self) -> bool {
        true
    }

    fn answers_pings(&self) -> bool {
        self.answers_pings
    }

    /// Those on their half way, too.
    fn standing(&self, io: &Io) -> u64 {
        io.open + io.pending
    }

    fn ready(&self, _io: &Io) -> u64 {
        self.in_position
    }

    fn opened(&mut self, io: &mut Io, connection: u32) {
        self.take_position(connection);
        self.out.clear();
        let said = self.kind.open(connection, &mut self.out);
        self.send(io, connection, said);
        if self.is_tireless && self.has_begun {
            self.speak(io, connection);
        }
    }

    fn message(&mut self, io: &mut Io, _connection: u32, _is_text: bool, _payload: &[u8]) {
        self.gauge.heard(io.now_ns);
    }

    fn drained(&mut self, io: &mut Io, connection: u32) {
        if self.is_tireless && self.has_begun && !self.is_over {
            self.speak(io, connection);
        }
    }

    fn ended(&mut self, io: &mut Io, connection: u32, _end: &End) {
        self.kind.ended(connection);
        self.take_position(connection);
        if !self.is_over && self.returned < RETURNS_MAX {
            self.returned += 1;
            self.returns.push(Reverse((io.now_ns + RETURNS_AFTER_NS, connection)));
        }
    }

    fn begin(&mut self, io: &mut Io) {
        self.has_begun = true;
        let speakers = io.connections().div_ceil(self.kind.stride());
        self.pace = self.rate_per_s.map(|rate_per_s| self.gauge.pace(rate_per_s, u64::from(speakers)));
        if self.is_tireless {
            (0..io.connections()).for_each(|connection| self.speak(io, connection));
        }
    }

    fn act(&mut self, io: &mut Io) -> u64 {
        // Before the attack begins nobody comes back: it would be an attack.
        let next_ns = if self.has_begun && !self.is_over { self.return_due(io) } else { u64::MAX };
        for _ in 0..self.kind.turns_at_once() {
            let Some(pace) = self.pace.as_mut().filter(|_| !self.is_over) else { return next_ns };
            match self.gauge.release(pace, io.now_ns) {
                Ok(speaker) => self.speak(io, speaker * self.kind.stride()),
                Err(due_ns) => return next_ns.min(due_ns),
            }
        }
        io.now_ns
    }

    fn stop(&mut self, _io: &mut Io) {
        self.is_over = true;
    }

    fn owed(&self) -> u64 {
        0
    }

    fn conclude(&mut self, io: &Io, _is_silent: bool) {
        let connections = &mut self.gauge.outcome.connections;
        (connections.stalled, connections.cut_off) = io.count_stalled();
    }

    fn gauge(&mut self) -> &mut Gauge {
        &mut self.gauge
    }
}

#[cfg(test)]
mod tests {
    use wire::close::Reason;
    use wire::decoder::{Decoder, DecoderLimits};

    /// The server's limits.
    const LIMITS: DecoderLimits =
        DecoderLimits { message_bytes_max: 65_536, fragments_max: 1_024, masked: true };

    /// What a server makes of an attacker's bytes: its events in words, and why it closes if it does.
    pub(super) fn read(mut bytes: Vec<u8>) -> (Vec<String>, Option<Reason>) {
        let mut events = Vec::new();
        let (mut input, mut decoder) = (&mut bytes[..], Decoder::default());
        loop {
            match decoder.next(&mut input, &LIMITS) {
                Ok(Some(event)) => events.push(format!("{event:?}")),
                Ok(None) => return (events, None),
                Err(reason) => return (events, Some(reason)),
            }
        }
    }
}
