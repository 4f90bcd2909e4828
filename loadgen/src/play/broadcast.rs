//! Broadcast: everyone speaks, everyone hears everything, the speaker too.
//!
//! Each pair of speaker and listener is a stream of its own, so the whole audience is one worker's. Closed
//! loop plays rounds: everyone sends one message, and the next round starts when all are delivered to all.

use super::Play;
use super::frames::Frames;
use super::ledger::{Arrival, Ledger};
use super::stamp::Stamp;
use crate::gauge::Gauge;
use crate::io::{End, Io};
use crate::schedule::Pace;

/// The square of it is kept as numbers of four bytes.
pub const CONNECTIONS_MAX: usize = 8_192;

pub struct Broadcast {
    gauge: Gauge,
    frames: Frames,
    ledger: Ledger,
    /// The next number by listener, then speaker.
    next_in: Vec<u32>,
    next_out: Vec<u32>,
    /// Deliveries by listener.
    heard: Vec<u64>,
    /// Connections from here on read and speak; those before it stall.
    first: u32,
    count: u32,
    listeners: u64,
    rate_per_s: Option<f64>,
    pace: Option<Pace>,
    /// Messages due and not sent, by speaker.
    waiting: Vec<u32>,
    is_over: bool,
    is_playing: bool,
}

impl Broadcast {
    /// The first `stalled` of `connections` never read.
    pub fn new(connections: usize, stalled: usize, rate_per_s: Option<f64>, frames: Frames) -> Broadcast {
        Broadcast {
            gauge: Gauge::default(),
            frames,
            ledger: Ledger::default(),
            next_in: vec![0; connections * connections],
            next_out: vec![0; connections],
            heard: vec![0; connections],
            first: stalled as u32,
            count: connections as u32,
            listeners: 0,
            rate_per_s,
            pace: None,
            waiting: vec![0; connections],
            is_over: false,
            is_playing: false,
        }
    }

    fn speak(&mut self, io: &mut Io, speaker: u32) {
        if !io.has_room(speaker) {
            self.waiting[speaker as usize] += 1;
            return;
        }
        let sequence = self.next_out[speaker as usize];
        let intended_ns = match &self.pace {
            Some(pace) => pace.schedule.due_of_ns(u64::from(speaker - self.first), u64::from(sequence)),
            None => io.now_ns,
        };
        self.next_out[speaker as usize] += 1;
        let stamp = Stamp {
            connection: speaker,
            sequence,
            intended_ns: intended_ns.saturating_sub(self.gauge.origin_ns),
            lag_ns: io.now_ns.saturating_sub(intended_ns),
        };
        io.append(speaker, |out, key| self.frames.push(stamp, out, key));
        self.gauge.in_flight += self.listeners;
        self.gauge.outcome.conservation.owed += self.listeners;
        self.gauge.sent(intended_ns, io.now_ns);
    }

    fn play_round(&mut self, io: &mut Io) {
        for speaker in self.first..self.count {
            if io.is_open(speaker) {
                self.speak(io, speaker);
            }
        }
    }
}

impl Play for Broadcast {
    fn opened(&mut self, io: &mut Io, connection: u32) {
        self.listeners += u64::from(!io.is_stalled(connection));
    }

    fn message(&mut self, io: &mut Io, connection: u32, _is_text: bool, payload: &[u8]) {
        self.gauge.heard(io.now_ns);
        let stamp = match self.frames.read(payload) {
            Some(stamp)
                if self
                    .next_out
                    .get(stamp.connection as usize)
                    .is_some_and(|sent| stamp.sequence < *sent) =>
            {
                stamp
            }
            _ => {
                self.gauge.outcome.messages.corrupt += 1;
                self.gauge
                    .outcome
                    .fault(|| format!("connection {connection}: a payload that was never sent"));
                return;
            }
        };
        let stream = u64::from(connection) * u64::from(self.count) + u64::from(stamp.connection);
        if self.ledger.arrive(stream, &mut self.next_in[stream as usize], stamp.sequence) == Arrival::Again {
            let Stamp { connection: speaker, sequence, .. } = stamp;
            self.gauge
                .outcome
                .fault(|| format!("connection {connection}: message {sequence} of {speaker} twice"));
            return;
        }
        self.heard[connection as usize] += 1;
        self.gauge.in_flight -= 1;
        self.gauge.answered(self.gauge.origin_ns + stamp.intended_ns, stamp.lag_ns, io.now_ns);
        if self.gauge.in_flight == 0 && self.rate_per_s.is_none() && self.is_playing && !self.is_over {
            self.play_round(io);
        }
    }

    fn drained(&mut self, io: &mut Io, connection: u32) {
        for _ in 0..std::mem::take(&mut self.waiting[connection as usize]) {
            self.speak(io, connection);
        }
    }

    fn ended(&mut self, io: &mut Io, connection: u32, end: &End) {
        if io.is_stalled(connection) || matches!(end, End::Failed(_)) {
            return;
        }
        self.listeners -= 1;
        let sent: u64 = self.next_out.iter().map(|sent| u64::from(*sent)).sum();
        let owed = sent.saturating_sub(self.heard[connection as usize]);
        self.gauge.in_flight = self.gauge.in_flight.saturating_sub(owed);
        self.gauge.outcome.messages.lost += owed;
    }

    fn begin(&mut self, io: &mut Io) {
        self.is_playing = true;
        match self.rate_per_s {
            Some(rate_per_s) => {
                let speakers = u64::from(self.count - self.first);
                self.pace = Some(self.gauge.pace(rate_per_s, speakers));
            }
            None => self.play_round(io),
        }
    }

    fn act(&mut self, io: &mut Io) -> u64 {
        loop {
            let Some(pace) = self.pace.as_mut().filter(|_| !self.is_over) else { return u64::MAX };
            match self.gauge.release(pace, io.now_ns) {
                Ok(connection) => {
                    let speaker = self.first + connection;
                    if io.is_open(speaker) {
                        self.speak(io, speaker);
                    }
                }
                Err(due_ns) => return due_ns,
            }
        }
    }

    fn stop(&mut self, _io: &mut Io) {
        self.is_over = true;
        self.waiting.fill(0);
    }

    fn owed(&self) -> u64 {
        self.gauge.in_flight
    }

    fn conclude(&mut self, io: &Io, is_silent: bool) {
        let connections = &mut self.gauge.outcome.connections;
        (connections.stalled, connections.cut_off) = io.count_stalled();
        let messages = &mut self.gauge.outcome.messages;
        (messages.duplicated, messages.reordered) = (self.ledger.duplicated, self.ledger.reordered);
        self.gauge.settle(self.gauge.in_flight, self.ledger.missing, is_silent);
    }

    fn gauge(&mut self) -> &mut Gauge {
        &mut self.gauge
    }
}
