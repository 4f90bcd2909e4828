//! Echo: every message comes back to its sender, unchanged, once and in order.
//!
//! Open loop: messages are due by the schedule; at most `depth` of a connection's are in flight, and one that
//! has to wait for its turn counts from when it was due. Closed loop: `depth` are always in flight.

use super::Play;
use super::frames::Frames;
use super::ledger::{Arrival, Ledger};
use super::stamp::Stamp;
use crate::gauge::Gauge;
use crate::io::{End, Io};
use crate::schedule::Pace;

#[derive(Clone, Copy, Default)]
struct Stream {
    /// Messages released by the schedule.
    due: u32,
    /// The next to send, and the next to come back.
    next_out: u32,
    next_in: u32,
}

pub const STREAM_BYTES: usize = size_of::<Stream>();

pub struct Echo {
    gauge: Gauge,
    frames: Frames,
    streams: Vec<Stream>,
    ledger: Ledger,
    /// `None` is the closed loop.
    rate_per_s: Option<f64>,
    pace: Option<Pace>,
    depth: u32,
    is_over: bool,
}

impl Echo {
    pub fn new(connections: usize, rate_per_s: Option<f64>, depth: u32, frames: Frames) -> Echo {
        Echo {
            gauge: Gauge::default(),
            frames,
            streams: vec![Stream::default(); connections],
            ledger: Ledger::default(),
            rate_per_s,
            pace: None,
            depth,
            is_over: false,
        }
    }

    /// Sends what is due and allowed.
    fn send_due(&mut self, io: &mut Io, connection: u32) {
        let stream = &mut self.streams[connection as usize];
        let now_ns = io.now_ns;
        while stream.next_out < stream.due
            && stream.next_out - stream.next_in < self.depth
            && io.has_room(connection)
        {
            let sequence = stream.next_out;
            let intended_ns = match &self.pace {
                Some(pace) => pace.schedule.due_of_ns(u64::from(connection), u64::from(sequence)),
                None => now_ns,
            };
            stream.next_out += 1;
            let stamp = Stamp {
                connection,
                sequence,
                intended_ns: intended_ns.saturating_sub(self.gauge.origin_ns),
                lag_ns: now_ns.saturating_sub(intended_ns),
            };
            io.append(connection, |out, key| self.frames.push(stamp, out, key));
            self.gauge.in_flight += 1;
            self.gauge.outcome.conservation.owed += 1;
            self.gauge.sent(intended_ns, now_ns);
        }
    }
}

impl Play for Echo {
    fn opened(&mut self, _io: &mut Io, _connection: u32) {}

    fn message(&mut self, io: &mut Io, connection: u32, _is_text: bool, payload: &[u8]) {
        self.gauge.heard(io.now_ns);
        let stream = &mut self.streams[connection as usize];
        let stamp = match self.frames.read(payload) {
            Some(stamp) if stamp.connection == connection && stamp.sequence < stream.next_out => stamp,
            _ => {
                self.gauge.outcome.messages.corrupt += 1;
                self.gauge
                    .outcome
                    .fault(|| format!("connection {connection}: a payload that was never sent"));
                return;
            }
        };
        let arrival = self.ledger.arrive(u64::from(connection), &mut stream.next_in, stamp.sequence);
        if arrival == Arrival::Again {
            self.gauge.outcome.fault(|| format!("connection {connection}: message {} twice", stamp.sequence));
            return;
        }
        if arrival == Arrival::Late {
            self.gauge.outcome.fault(|| format!("connection {connection}: message {} late", stamp.sequence));
        }
        self.gauge.in_flight -= 1;
        self.gauge.answered(self.gauge.origin_ns + stamp.intended_ns, stamp.lag_ns, io.now_ns);
        if self.rate_per_s.is_none() && !self.is_over {
            self.streams[connection as usize].due += 1;
        }
        self.send_due(io, connection);
    }

    fn drained(&mut self, io: &mut Io, connection: u32) {
        let stream = &self.streams[connection as usize];
        if stream.next_out < stream.due {
            self.send_due(io, connection);
        }
    }

    fn ended(&mut self, _io: &mut Io, connection: u32, _end: &End) {
        let stream = &mut self.streams[connection as usize];
        let owed = u64::from(stream.next_out - stream.next_in);
        self.gauge.in_flight -= owed;
        self.gauge.outcome.messages.lost += owed;
        stream.next_in = stream.next_out;
    }

    fn begin(&mut self, io: &mut Io) {
        let connections = self.streams.len() as u64;
        match self.rate_per_s {
            Some(rate_per_s) => self.pace = Some(self.gauge.pace(rate_per_s, connections)),
            None => {
                for connection in 0..connections as u32 {
                    self.streams[connection as usize].due = self.depth;
                    self.send_due(io, connection);
                }
            }
        }
    }

    fn act(&mut self, io: &mut Io) -> u64 {
        loop {
            let Some(pace) = self.pace.as_mut().filter(|_| !self.is_over) else { return u64::MAX };
            match self.gauge.release(pace, io.now_ns) {
                Ok(connection) => {
                    self.streams[connection as usize].due += 1;
                    self.send_due(io, connection);
                }
                Err(due_ns) => return due_ns,
            }
        }
    }

    fn stop(&mut self, _io: &mut Io) {
        self.is_over = true;
        // What was due and could not be sent stays unsent: the achieved rate says so.
        for stream in &mut self.streams {
            stream.due = stream.next_out;
        }
    }

    fn owed(&self) -> u64 {
        self.gauge.in_flight
    }

    fn conclude(&mut self, _io: &Io, is_silent: bool) {
        let messages = &mut self.gauge.outcome.messages;
        (messages.duplicated, messages.reordered) = (self.ledger.duplicated, self.ledger.reordered);
        self.gauge.settle(self.gauge.in_flight, self.ledger.missing, is_silent);
    }

    fn gauge(&mut self) -> &mut Gauge {
        &mut self.gauge
    }
}
