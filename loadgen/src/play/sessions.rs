//! Connections as the load: held idle, opened in a storm, dropped and returning as a herd, churning.
//!
//! With the rooms profile each connection joins its room, and it counts as made when `joined` has come.

use super::Play;
use super::seats::Seats;
use crate::gauge::Gauge;
use crate::io::{End, Io, Phase};
use crate::schedule::{Due, Pace};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use wire::frame::Opcode;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pattern {
    Idle,
    /// All connections, at this rate a second or all at once.
    Storm(Option<f64>),
    /// All drop after a second and come back after 1.0 to 1.4 s, as the real clients do.
    Herd,
    /// So many connections a second end and are made again.
    Churn(f64),
}

const HERD_DROPS_AFTER_NS: u64 = 1_000_000_000;
const HERD_RETURNS_AFTER_NS: std::ops::Range<u64> = 1_000_000_000..1_400_000_000;

pub struct Sessions {
    gauge: Gauge,
    pattern: Pattern,
    random: fastrand::Rng,
    /// When each connection was meant to be made; 0 once it is.
    meant_ns: Vec<u64>,
    returns: BinaryHeap<Reverse<(u64, u32)>>,
    pace: Option<Pace>,
    drops_at_ns: u64,
    /// If rooms are joined.
    seats: Option<Seats>,
    waiting: u64,
    is_over: bool,
}

impl Sessions {
    /// With `seats` all join their rooms.
    pub fn new(
        connections: usize,
        pattern: Pattern,
        seats: Option<Seats>,
        random: fastrand::Rng,
    ) -> Sessions {
        Sessions {
            gauge: Gauge::default(),
            pattern,
            random,
            meant_ns: vec![0; connections],
            returns: BinaryHeap::new(),
            pace: None,
            drops_at_ns: u64::MAX,
            seats,
            waiting: 0,
            is_over: false,
        }
    }

    fn connect(&mut self, io: &mut Io, connection: u32, meant_ns: u64) {
        self.meant_ns[connection as usize] = meant_ns;
        self.waiting += 1;
        self.gauge.lag.record(io.now_ns.saturating_sub(meant_ns));
        self.gauge.pacing.record(io.now_ns.saturating_sub(meant_ns));
        if let Err(error) = io.connect(connection) {
            *io.failed.entry(error.to_string()).or_default() += 1;
            self.waiting -= 1;
        }
    }

    fn made(&mut self, io: &Io, connection: u32) {
        let meant_ns = std::mem::take(&mut self.meant_ns[connection as usize]);
        if meant_ns > 0 {
            self.waiting -= 1;
            self.gauge.connect.record(io.now_ns.saturating_sub(meant_ns));
            self.gauge.second.response.record(io.now_ns.saturating_sub(meant_ns));
            if self.gauge.is_measured(io.now_ns) {
                self.gauge.outcome.window.made += 1;
            }
        }
    }

    fn drop_all(&mut self, io: &mut Io) {
        for connection in 0..io.connections() {
            io.end(connection);
            let back_ns = io.now_ns + self.random.u64(HERD_RETURNS_AFTER_NS);
            self.returns.push(Reverse((back_ns, connection)));
        }
    }
}

impl Play for Sessions {
    fn path(&self, connection: u32) -> Option<String> {
        self.seats.map(|seats| seats.path(connection))
    }

    fn wants_connections(&self) -> bool {
        !matches!(self.pattern, Pattern::Storm(_))
    }

    fn opened(&mut self, io: &mut Io, connection: u32) {
        match self.seats {
            Some(seats) => {
                let join = seats.join(connection, connection);
                io.send(connection, Opcode::Text, join.as_bytes());
                self.gauge.outcome.messages.sent += 1;
                self.gauge.second.sent += 1;
            }
            None => self.made(io, connection),
        }
    }

    fn message(&mut self, io: &mut Io, connection: u32, _is_text: bool, payload: &[u8]) {
        self.gauge.heard(io.now_ns);
        if payload.starts_with(br#"{"type":"joined""#) {
            self.made(io, connection);
        }
    }

    fn ended(&mut self, io: &mut Io, connection: u32, end: &End) {
        if self.meant_ns[connection as usize] > 0 && *end != End::Ours {
            self.meant_ns[connection as usize] = 0;
            self.waiting -= 1;
        }
        if *end == End::Ours && matches!(self.pattern, Pattern::Churn(_)) && !self.is_over {
            self.connect(io, connection, io.now_ns);
        }
    }

    fn begin(&mut self, io: &mut Io) {
        let connections = self.meant_ns.len() as u64;
        match self.pattern {
            Pattern::Idle => {}
            Pattern::Herd => self.drops_at_ns = self.gauge.from_ns + HERD_DROPS_AFTER_NS,
            Pattern::Storm(Some(rate_per_s)) | Pattern::Churn(rate_per_s) => {
                self.pace = Some(self.gauge.pace(rate_per_s, connections));
            }
            Pattern::Storm(None) => {
                for connection in 0..connections as u32 {
                    self.connect(io, connection, io.now_ns);
                }
            }
        }
    }

    fn act(&mut self, io: &mut Io) -> u64 {
        if io.now_ns >= self.drops_at_ns {
            self.drops_at_ns = u64::MAX;
            self.drop_all(io);
        }
        let mut next_ns = self.drops_at_ns;
        while let Some(Reverse((back_ns, connection))) = self.returns.peek().copied() {
            if back_ns > io.now_ns {
                next_ns = next_ns.min(back_ns);
                break;
            }
            self.returns.pop();
            if io.phase(connection) == Phase::Closed {
                self.connect(io, connection, back_ns);
            } else {
                // The server has not ended its side yet; look again in a millisecond.
                self.returns.push(Reverse((io.now_ns + 1_000_000, connection)));
            }
        }
        loop {
            let is_over = self.is_over;
            let Some(pace) = self.pace.as_mut().filter(|_| !is_over) else { return next_ns };
            let is_storm = matches!(self.pattern, Pattern::Storm(_));
            if is_storm && pace.released >= pace.schedule.connections {
                return next_ns;
            }
            match pace.next(io.now_ns) {
                Due::Never => return next_ns,
                Due::At(due_ns) => return next_ns.min(due_ns),
                Due::Now { connection, due_ns } if is_storm => self.connect(io, connection, due_ns),
                Due::Now { connection, .. } => io.end(connection),
            }
        }
    }

    fn stop(&mut self, _io: &mut Io) {
        self.is_over = true;
    }

    fn owed(&self) -> u64 {
        self.waiting
    }

    fn conclude(&mut self, _io: &Io, _is_silent: bool) {}

    fn gauge(&mut self) -> &mut Gauge {
        &mut self.gauge
    }
}
