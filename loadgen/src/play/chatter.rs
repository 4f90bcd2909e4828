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
use crate::schedule::{Due, Pace};
use position::Positions;
use roles::Roles;
use said::{Message, Said};
use std::io::Write;
use wire::frame::Opcode;

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
    first_speaker: u32,
    speakers: u32,
    /// Members that are still to join.
    absent: u32,
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
                first_speaker: speakers.len() as u32,
                speakers: cast.speakers as u32,
                absent: cast.members as u32,
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
                self.members += 1;
                self.rooms[listener.room as usize].absent -= 1;
            }
            Some(b"user_joined" | b"user_left" | b"playback_state" | b"PLAY_SYNC" | b"PAUSE_STATE") => {}
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

    fn ready(&self, _io: &Io) -> u64 {
        self.members
    }

    /// Not before the room is whole: what a large room's joins say to its first members would fill their sockets.
    fn may_stall(&self, connection: u32) -> bool {
        self.rooms[self.listeners[connection as usize].room as usize].absent == 0
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
            match pace.next(io.now_ns) {
                Due::Never => return u64::MAX,
                Due::At(due_ns) => return due_ns,
                Due::Now { connection: place, due_ns } => {
                    self.gauge.released(due_ns, io.now_ns);
                    let speaker = self.places[place as usize] as usize;
                    if io.is_open(self.speakers[speaker].connection) {
                        self.speak(io, speaker);
                    }
                }
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
        let silent = (0..io.connections()).filter(|it| io.is_stalled(*it));
        let (all, cut) = silent.fold((0, 0), |(all, cut), it| (all + 1, cut + u64::from(io.is_cut_off(it))));
        let connections = &mut self.gauge.outcome.connections;
        (connections.stalled, connections.cut_off) = (all, cut);
        let messages = &mut self.gauge.outcome.messages;
        (messages.duplicated, messages.reordered) = (self.ledger.duplicated, self.ledger.reordered);
        self.gauge.settle(self.gauge.in_flight, self.ledger.missing, is_silent);
    }

    fn gauge(&mut self) -> &mut Gauge {
        &mut self.gauge
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::Ring;

    /// Two rooms of two, of which only the first members speak.
    fn chatter() -> (Chatter, Io) {
        let roles = Roles { speakers: Some(1), silent_percent: 0.0 };
        let chatter = Chatter::new(4, Seats { room_size: 2, first: 0 }, roles, Some(1.0));
        let io = Io::new(Ring::new(2, 4096).unwrap(), 4, Vec::new(), &mut fastrand::Rng::with_seed(1));
        (chatter, io)
    }

    fn seek(position: u32) -> String {
        format!(
            r#"{{"type":"SEEK","seekPositionMs":{position},"masterClockMs":1.5,"seekDelayMs":300,"timestamp":1}}"#
        )
    }

    /// Lost, twice, out of order, corrupt, and owed less what was delivered, after a member has heard these.
    fn account(connection: u32, frames: &[&str]) -> [u64; 5] {
        let (mut chatter, mut io) = chatter();
        let positions = [0; 4].map(|_| chatter.say(1, 7));
        assert_eq!(positions, [0, 1, 2, 3], "one speaker needs no bits");
        for frame in frames {
            chatter.message(&mut io, connection, true, frame.as_bytes());
        }
        chatter.conclude(&io, true);
        let outcome = &chatter.gauge.outcome;
        let messages = &outcome.messages;
        let open = outcome.conservation.owed - outcome.conservation.delivered;
        [messages.lost, messages.duplicated, messages.reordered, messages.corrupt, open]
    }

    #[test]
    fn what_a_member_hears_is_counted_as_what_it_is() {
        let seeks = [0, 1, 2, 3, 4].map(seek);
        let [a, b, c, d, unsaid] = seeks.each_ref().map(String::as_str);
        // The other member's four are missing all along.
        assert_eq!(account(2, &[a, b, c, d]), [4, 0, 0, 0, 4]);
        assert_eq!(account(3, &[a, c, d]), [5, 0, 0, 0, 5], "one lost");
        assert_eq!(account(3, &[a, b, b, c, d]), [4, 1, 0, 0, 4], "one twice");
        assert_eq!(account(3, &[a, c, b, d]), [4, 0, 1, 0, 4], "two swapped");
        assert_eq!(account(3, &[a, b, c, d, unsaid]), [4, 0, 0, 1, 4], "one that was never said");
        assert_eq!(account(1, &[a]), [8, 0, 0, 1, 8], "one of another room");
        let joined = r#"{"type":"joined","roomCode":"LG1"}"#;
        let others = [joined, r#"{"type":"user_left","userId":"u"}"#, r#"{"type":"playback_state"}"#];
        assert_eq!(account(2, &others), [8, 0, 0, 0, 8]);
        assert_eq!(account(2, &[joined, joined, "{}", r#"{"type":"PLAY"}"#]), [8, 0, 0, 3, 8]);
    }

    #[test]
    fn places_go_from_room_to_room() {
        let roles = Roles { speakers: None, silent_percent: 0.0 };
        let chatter = Chatter::new(5, Seats { room_size: 2, first: 0 }, roles, Some(1.0));
        let spoken: Vec<u32> =
            chatter.places.iter().map(|it| chatter.speakers[*it as usize].connection).collect();
        assert_eq!(spoken, [0, 2, 4, 1, 3]);
        assert!(
            chatter.speakers.iter().enumerate().all(|(i, it)| chatter.places[it.place as usize] == i as u32)
        );
    }
}
