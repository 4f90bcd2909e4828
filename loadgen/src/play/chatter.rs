//! Chatter: members of rooms speak the room protocol's SEEK, and everyone in the room hears it, the speaker too.
//!
//! Each pair of speaker and listener of a room is a stream of its own. Closed loop: every room plays rounds of
//! its own, in which all its speakers say one thing, and the next begins when all of that has been heard. What
//! is said can only be a number, so what there is to know of a message is kept here until all have heard it.
//! A delivery costs a comparison of the frame's head and the digits; other frames go another way.

mod position;
pub mod roles;
mod said;

use super::Play;
use super::ledger::{Arrival, Ledger};
use super::seats::Seats;
use crate::gauge::Gauge;
use crate::io::{End, Io};
use crate::schedule::Pace;
use position::Positions;
use roles::Roles;
use said::{Message, Said};
use std::io::Write;
use wire::frame::Opcode;

/// Nothing heard for so long: the server has said what it had to say.
const QUIET_NS: u64 = 100_000_000;

struct Listener {
    room: u32,
    /// Where its numbers begin, one for each of its room's speakers; `None`: it stops reading and is owed
    /// nothing.
    streams: Option<u32>,
    is_member: bool,
}

struct Speaker {
    connection: u32,
    /// Its place among all speakers of the worker, by which its messages are due.
    place: u32,
    /// Messages due and not sent.
    waiting: u32,
    said: Said,
}

struct Room {
    members: u32,
    first_speaker: u32,
    speakers: u32,
    /// Those that read and are there.
    listeners: u32,
    /// Deliveries.
    owed: u64,
}

pub struct Chatter {
    gauge: Gauge,
    seats: Seats,
    positions: Positions,
    ledger: Ledger,
    /// By connection.
    listeners: Vec<Listener>,
    /// By room, then member.
    speakers: Vec<Speaker>,
    rooms: Vec<Room>,
    /// The next number by listener, then speaker of its room.
    next_in: Vec<u32>,
    /// Speakers by their places: rooms take turns, so that what is due together goes to different rooms.
    places: Vec<u32>,
    members: u64,
    /// Joins that members have not heard of yet, by member and join. Below 0 while a join's own answer is the
    /// later one.
    unheard_joins: i64,
    rate_per_s: Option<f64>,
    pace: Option<Pace>,
    text: Vec<u8>,
    is_playing: bool,
    is_over: bool,
}

impl Chatter {
    pub fn new(connections: usize, seats: Seats, roles: Roles, rate_per_s: Option<f64>) -> Chatter {
        let (mut listeners, mut speakers, mut rooms) = (Vec::new(), Vec::new(), Vec::new());
        let mut streams = 0;
        for (room, cast) in roles.casts(seats.room_size, connections).enumerate() {
            rooms.push(Room {
                members: 0,
                first_speaker: speakers.len() as u32,
                speakers: cast.speakers as u32,
                listeners: cast.readers as u32,
                owed: 0,
            });
            for (member, connection) in seats.members(room, connections).enumerate() {
                let is_reader = member < cast.readers;
                let streams_from = is_reader.then_some(streams);
                listeners.push(Listener { room: room as u32, streams: streams_from, is_member: false });
                streams += if is_reader { cast.speakers as u32 } else { 0 };
                if member < cast.speakers {
                    speakers.push(Speaker { connection, place: 0, waiting: 0, said: Said::default() });
                }
            }
        }
        let mut places: Vec<u32> = (0..speakers.len() as u32).collect();
        places.sort_by_key(|speaker| {
            let connection = speakers[*speaker as usize].connection;
            connection - seats.host_of(connection)
        });
        for (place, speaker) in places.iter().enumerate() {
            speakers[*speaker as usize].place = place as u32;
        }
        Chatter {
            gauge: Gauge::default(),
            seats,
            positions: Positions::new(roles.of(seats.room_size).speakers),
            ledger: Ledger::default(),
            listeners,
            speakers,
            rooms,
            next_in: vec![0; streams as usize],
            places,
            members: 0,
            unheard_joins: 0,
            rate_per_s,
            pace: None,
            text: Vec::new(),
            is_playing: false,
            is_over: false,
        }
    }

    fn speaker_of(&self, connection: u32) -> Option<usize> {
        let room = &self.rooms[self.listeners[connection as usize].room as usize];
        let member = connection - self.seats.host_of(connection);
        (member < room.speakers).then_some((room.first_speaker + member) as usize)
    }

    fn speak(&mut self, io: &mut Io, speaker: usize) {
        let it = &mut self.speakers[speaker];
        let connection = it.connection;
        if !io.has_room(connection) {
            it.waiting += 1;
            return;
        }
        let position = self.say(speaker, io.now_ns);
        let code = self.seats.code(connection);
        self.text.clear();
        let written =
            write!(self.text, r#"{{"type":"SEEK","roomCode":"{code}","seekPositionMs":{position}}}"#);
        debug_assert!(written.is_ok(), "a Vec takes everything");
        io.send(connection, Opcode::Text, &self.text);
    }

    /// Accounts for a speaker's next message and tells its position.
    fn say(&mut self, speaker: usize, now_ns: u64) -> u32 {
        let it = &mut self.speakers[speaker];
        let sequence = it.said.next();
        let intended_ns = match &self.pace {
            Some(pace) => pace.schedule.due_of_ns(u64::from(it.place), u64::from(sequence)),
            None => now_ns,
        };
        let room = &mut self.rooms[self.listeners[it.connection as usize].room as usize];
        it.said.say(Message { intended_ns, sent_ns: now_ns, first_ns: 0, owed: room.listeners });
        let owed = u64::from(room.listeners);
        room.owed += owed;
        self.gauge.in_flight += owed;
        self.gauge.outcome.conservation.owed += owed;
        self.gauge.outcome.conservation.events += 1;
        self.gauge.sent(intended_ns, now_ns);
        self.positions.write(speaker as u32 - room.first_speaker, sequence)
    }

    fn play_round(&mut self, io: &mut Io, room: usize) {
        let room = &self.rooms[room];
        for speaker in room.first_speaker..room.first_speaker + room.speakers {
            if io.is_open(self.speakers[speaker as usize].connection) {
                self.speak(io, speaker as usize);
            }
        }
    }

    fn hear(&mut self, io: &mut Io, connection: u32, position: u32) {
        let listener = &self.listeners[connection as usize];
        let Some(streams) = listener.streams else { return };
        let room_number = listener.room as usize;
        let room = &mut self.rooms[room_number];
        let member = self.positions.speaker(position);
        if member >= room.speakers {
            return self.corrupt(connection, || format!("position {position} is nobody's"));
        }
        let speaker = &mut self.speakers[(room.first_speaker + member) as usize];
        let stream = streams + member;
        let next = &mut self.next_in[stream as usize];
        let sequence = self.positions.sequence(position, *next);
        if sequence >= speaker.said.next() {
            return self.corrupt(connection, || format!("position {position} of {member} was never sent"));
        }
        let arrival = self.ledger.arrive(u64::from(stream), next, sequence);
        if arrival != Arrival::New {
            let fault = || format!("connection {connection}: {arrival:?}: message {sequence} of {member}");
            self.gauge.outcome.fault(fault);
        }
        // What comes again is nobody's delivery.
        if arrival == Arrival::Again {
            return;
        }
        let Some(message) = speaker.said.hear(sequence, io.now_ns) else { return };
        room.owed -= 1;
        self.gauge.in_flight -= 1;
        let lag_ns = message.sent_ns.saturating_sub(message.intended_ns);
        self.gauge.answered(message.intended_ns, lag_ns, io.now_ns);
        if message.owed == 0 && room.listeners > 1 && self.gauge.is_measured(message.intended_ns) {
            self.gauge.skew.record(io.now_ns - message.first_ns);
        }
        if room.owed == 0 && self.rate_per_s.is_none() && self.is_playing && !self.is_over {
            self.play_round(io, room_number);
        }
    }

    /// What else a server may say to a member.
    fn hear_other(&mut self, connection: u32, is_text: bool, payload: &[u8]) {
        let listener = &mut self.listeners[connection as usize];
        match kind(payload).filter(|_| is_text) {
            Some(b"joined") if !listener.is_member => {
                listener.is_member = true;
                let room = &mut self.rooms[listener.room as usize];
                self.unheard_joins += i64::from(room.members);
                room.members += 1;
                self.members += 1;
            }
            Some(b"user_joined") => self.unheard_joins -= 1,
            Some(b"user_left" | b"playback_state" | b"PLAY_SYNC" | b"PAUSE_STATE") => {}
            _ => self.corrupt(connection, || String::from_utf8_lossy(payload).into_owned()),
        }
    }

    fn corrupt(&mut self, connection: u32, what: impl FnOnce() -> String) {
        self.gauge.outcome.messages.corrupt += 1;
        self.gauge.outcome.fault(|| format!("connection {connection}: {}", what()));
    }
}

/// The type of a message, which all servers write first.
fn kind(payload: &[u8]) -> Option<&[u8]> {
    payload.strip_prefix(br#"{"type":""#)?.split(|it| *it == b'"').next()
}

impl Play for Chatter {
    fn path(&self, connection: u32) -> Option<String> {
        Some(self.seats.path(connection))
    }

    /// Members are ready when the others have heard of it, unless the server tells them nothing more. In a large
    /// room that is the square of its size: it would be the server's load and the silent members' backlog.
    fn ready(&self, io: &Io) -> u64 {
        let is_quiet = io.now_ns >= self.gauge.heard_ns + QUIET_NS;
        let unheard = if is_quiet { 0 } else { self.unheard_joins.max(0) as u64 };
        self.members.saturating_sub(unheard.div_ceil(self.seats.room_size as u64))
    }

    fn may_stall(&self, _connection: u32) -> bool {
        self.is_playing
    }

    fn opened(&mut self, io: &mut Io, connection: u32) {
        let join = self.seats.join(connection, self.seats.host_of(connection));
        io.send(connection, Opcode::Text, join.as_bytes());
        self.gauge.outcome.messages.sent += 1;
        self.gauge.second.sent += 1;
    }

    fn message(&mut self, io: &mut Io, connection: u32, is_text: bool, payload: &[u8]) {
        self.gauge.heard(io.now_ns);
        match position::read(payload) {
            Some(position) if is_text => self.hear(io, connection, position),
            _ => self.hear_other(connection, is_text, payload),
        }
    }

    fn drained(&mut self, io: &mut Io, connection: u32) {
        let Some(speaker) = self.speaker_of(connection) else { return };
        for _ in 0..std::mem::take(&mut self.speakers[speaker].waiting) {
            self.speak(io, speaker);
        }
    }

    fn ended(&mut self, _io: &mut Io, connection: u32, end: &End) {
        let listener = &self.listeners[connection as usize];
        let Some(streams) = listener.streams.filter(|_| !matches!(end, End::Failed(_))) else { return };
        let room = &mut self.rooms[listener.room as usize];
        let speakers = &mut self.speakers[room.first_speaker as usize..][..room.speakers as usize];
        let nexts = &mut self.next_in[streams as usize..][..speakers.len()];
        let lost = speakers.iter_mut().zip(nexts).map(|(speaker, next)| u64::from(speaker.said.forgo(*next)));
        let lost: u64 = lost.sum();
        room.listeners -= 1;
        room.owed -= lost;
        self.gauge.in_flight -= lost;
        self.gauge.outcome.messages.lost += lost;
    }

    fn begin(&mut self, io: &mut Io) {
        self.is_playing = true;
        match self.rate_per_s {
            Some(rate_per_s) => self.pace = Some(self.gauge.pace(rate_per_s, self.places.len() as u64)),
            None => (0..self.rooms.len()).for_each(|room| self.play_round(io, room)),
        }
    }

    fn act(&mut self, io: &mut Io) -> u64 {
        loop {
            let Some(pace) = self.pace.as_mut().filter(|_| !self.is_over) else { return u64::MAX };
            match self.gauge.release(pace, io.now_ns) {
                Ok(place) => {
                    let speaker = self.places[place as usize] as usize;
                    if io.is_open(self.speakers[speaker].connection) {
                        self.speak(io, speaker);
                    }
                }
                Err(due_ns) => return due_ns,
            }
        }
    }

    fn stop(&mut self, _io: &mut Io) {
        self.is_over = true;
        self.speakers.iter_mut().for_each(|it| it.waiting = 0);
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

#[cfg(test)]
mod tests;
