//! Rooms: the real protocol at the real clients' cadence.
//!
//! Each client joins, asks for the state, and pings in bursts of seven over 500 ms every 1.5 s from a random
//! phase; hosts click; some members vanish and return. Response, service and lag are the pings'. Events of a
//! room (PLAY, PAUSE, ...) are accounted member by member, in order. Pings do not wait for each other.

mod device;
mod events;
mod heard;

use super::Play;
use super::ledger::{Arrival, Ledger};
use super::seats::Seats;
use crate::clock;
use crate::gauge::Gauge;
use crate::io::{End, Io, Phase};
use device::Device;
use events::{Events, UNKNOWN};
use heard::{Heard, PingId};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::Write;
use wire::frame::Opcode;

const MS: u64 = 1_000_000;
/// The real client's cadence.
const BURST_PINGS: u8 = 7;
const BURST_SPREAD_NS: u64 = 500 * MS;
const BURST_EVERY_NS: u64 = 1_500 * MS;
const ASK_AGAIN_AFTER_NS: u64 = 600 * MS;
const STATE_QUERIES_MAX: u8 = 7;
const SYNC_CHECK_EVERY_NS: u64 = 5_000 * MS;
const RETURNS_AFTER_NS: std::ops::Range<u64> = 1_000 * MS..1_400 * MS;
const LOADS_AFTER_NS: std::ops::Range<u64> = 50 * MS..450 * MS;
/// Between two settlings of old events.
const SETTLE_EVERY_NS: u64 = 500 * MS;

/// How lively rooms are.
#[derive(Clone, Copy, Debug)]
pub struct Liveliness {
    /// The mean time between two clicks of a room's host.
    pub click_every_ns: u64,
    /// The share of members that vanish and return within a minute.
    pub leavers_per_minute: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Deed {
    Ping,
    AskAgain,
    SyncCheck,
    Click,
    Vanish,
    Return,
    SayLoading,
    SayReady,
    SayHealthy,
}

struct Client {
    device: Device,
    burst_ns: u64,
    next_ping: u32,
    next_pong: u32,
    next_event: u32,
    /// Counts the times it came; timers of an earlier stay mean nothing.
    stay: u16,
    burst_pings: u8,
    state_queries: u8,
    is_playing: bool,
    is_member: bool,
}

/// Bytes of a client in this file, without its timers (two or three of 16 bytes).
pub const CLIENT_BYTES: usize = size_of::<Client>();

#[derive(Default)]
struct Room {
    events: Events,
    check_id: String,
    /// What its host last did.
    click: u8,
}

const PAUSE: u8 = 2;
const RESUME: u8 = 3;
const SEEK: u8 = 4;

pub struct Rooms {
    gauge: Gauge,
    clients: Vec<Client>,
    rooms: Vec<Room>,
    seats: Seats,
    liveliness: Liveliness,
    timers: BinaryHeap<Reverse<(u64, u32, u16, Deed)>>,
    pongs: Ledger,
    events: Ledger,
    random: fastrand::Rng,
    /// The server's master clock minus ours, by the shortest real round trip, ms.
    master_minus_true_ms: f64,
    best_round_trip_ns: u64,
    settle_ns: u64,
    text: Vec<u8>,
    has_begun: bool,
    is_over: bool,
}

impl Rooms {
    pub fn new(connections: usize, seats: Seats, liveliness: Liveliness, mut random: fastrand::Rng) -> Rooms {
        let clients = (0..connections).map(|_| Client {
            device: Device::draw(&mut random),
            burst_ns: 0,
            next_ping: 0,
            next_pong: 0,
            next_event: UNKNOWN,
            stay: 0,
            burst_pings: 0,
            state_queries: 0,
            is_playing: false,
            is_member: false,
        });
        Rooms {
            gauge: Gauge::default(),
            clients: clients.collect(),
            rooms: (0..connections.div_ceil(seats.room_size)).map(|_| Room::default()).collect(),
            seats,
            liveliness,
            timers: BinaryHeap::new(),
            pongs: Ledger::default(),
            events: Ledger::default(),
            random,
            master_minus_true_ms: 0.0,
            best_round_trip_ns: u64::MAX,
            settle_ns: 0,
            text: Vec::new(),
            has_begun: false,
            is_over: false,
        }
    }

    fn plan(&mut self, at_ns: u64, connection: u32, deed: Deed) {
        let stay = self.clients[connection as usize].stay;
        self.timers.push(Reverse((at_ns, connection, stay, deed)));
    }

    fn say(&mut self, io: &mut Io, connection: u32, text: &str) {
        io.send(connection, Opcode::Text, text.as_bytes());
        self.gauge.outcome.messages.sent += 1;
        self.gauge.second.sent += 1;
    }

    fn ping(&mut self, io: &mut Io, connection: u32, due_ns: u64) {
        let client = &mut self.clients[connection as usize];
        // An estimate is believed once its whole burst has been answered or had the time for it.
        if client.burst_pings == 0 && client.burst_ns > 0 {
            let now_ms = io.now_ns as f64 / 1e6;
            let error_ms = client.device.end_burst(now_ms, self.master_minus_true_ms);
            if let Some(error_ms) = error_ms
                && self.gauge.is_measured(io.now_ns)
            {
                self.gauge.clock_error.record((error_ms * 1e6) as u64);
            }
        }
        if client.burst_pings == 0 {
            client.burst_ns = due_ns;
        }
        client.burst_pings = (client.burst_pings + 1) % BURST_PINGS;
        let next_ns = match client.burst_pings {
            0 => client.burst_ns + BURST_EVERY_NS,
            sent => client.burst_ns + BURST_SPREAD_NS * u64::from(sent) / u64::from(BURST_PINGS - 1),
        };
        let id = PingId {
            sequence: client.next_ping,
            intended_ns: due_ns.saturating_sub(self.gauge.origin_ns),
            lag_ns: io.now_ns.saturating_sub(due_ns),
        };
        client.next_ping += 1;
        self.text.clear();
        let t0 = clock::unix_ms() as u64;
        let written = write!(self.text, r#"{{"type":"time_ping","id":"{id}","t0":{t0}}}"#);
        debug_assert!(written.is_ok(), "a Vec takes everything");
        io.send(connection, Opcode::Text, &self.text);
        self.gauge.in_flight += 1;
        self.gauge.outcome.conservation.owed += 1;
        self.gauge.released(due_ns, io.now_ns);
        self.gauge.sent(due_ns, io.now_ns);
        self.plan(next_ns, connection, Deed::Ping);
    }

    fn hear_pong(&mut self, io: &Io, connection: u32, heard: &Heard<'_>) {
        if self.take_pong(io, connection, heard).is_none() {
            self.gauge.outcome.messages.corrupt += 1;
            self.gauge.outcome.fault(|| format!("connection {connection}: a pong nobody asked for"));
        }
    }

    /// `None` if it answers nothing that was asked.
    fn take_pong(&mut self, io: &Io, connection: u32, heard: &Heard<'_>) -> Option<()> {
        let id = PingId::parse(heard.id.as_deref()?)?;
        let client = &mut self.clients[connection as usize];
        if id.sequence >= client.next_ping || heard.t0?.get().parse::<u64>().is_err() {
            return None;
        }
        let arrival = self.pongs.arrive(u64::from(connection), &mut client.next_pong, id.sequence);
        if arrival == Arrival::Again {
            return Some(());
        }
        self.gauge.in_flight -= 1;
        let intended_ns = self.gauge.origin_ns + id.intended_ns;
        self.gauge.answered(intended_ns, id.lag_ns, io.now_ns);
        let sent_ns = intended_ns + id.lag_ns;
        let (sent_ms, now_ms) = (sent_ns as f64 / 1e6, io.now_ns as f64 / 1e6);
        let master_ms = heard.server_time_ms?;
        let round_trip_ns = io.now_ns.saturating_sub(sent_ns);
        if round_trip_ns <= self.best_round_trip_ns {
            self.best_round_trip_ns = round_trip_ns;
            self.master_minus_true_ms = master_ms - (sent_ms + now_ms) / 2.0;
        }
        client.device.hear_pong(sent_ms, now_ms, master_ms, &mut self.random);
        Some(())
    }

    fn hear_event(&mut self, io: &Io, connection: u32, text: &[u8]) {
        let room = self.seats.room_of(connection);
        let client = &mut self.clients[connection as usize];
        let events = &mut self.rooms[room].events;
        let arrival =
            events.hear(text, io.now_ns, u64::from(connection), &mut client.next_event, &mut self.events);
        match arrival {
            Arrival::New => {}
            Arrival::Late | Arrival::Again => {
                let text = String::from_utf8_lossy(text).into_owned();
                self.gauge.outcome.fault(|| format!("connection {connection}: {arrival:?}: {text}"));
            }
        }
        if arrival != Arrival::Again {
            self.gauge.outcome.conservation.delivered += 1;
            self.gauge.outcome.conservation.owed += 1;
            if self.gauge.is_measured(io.now_ns) {
                self.gauge.outcome.window.received += 1;
                self.gauge.outcome.window.event_deliveries += 1;
            }
        }
    }

    fn hear_play(&mut self, io: &Io, connection: u32, master_ms: f64, text: &[u8]) {
        let room = self.seats.room_of(connection);
        let client = &mut self.clients[connection as usize];
        let heard_ms = io.now_ns as f64 / 1e6 + client.device.delay_ms(&mut self.random);
        let conservation = &mut self.gauge.outcome.conservation;
        conservation.plays += 1;
        conservation.deadlines_missed += u64::from(heard_ms > master_ms - self.master_minus_true_ms);
        if let Some(starts_ms) = client.device.starts_ms(master_ms) {
            self.rooms[room].events.start(starts_ms, text);
        }
    }

    fn ask_state(&mut self, io: &mut Io, connection: u32) {
        let client = &mut self.clients[connection as usize];
        if client.state_queries < STATE_QUERIES_MAX {
            client.state_queries += 1;
            let room = self.seats.code(connection);
            self.say(io, connection, &format!(r#"{{"type":"get_playback_state","roomCode":"{room}"}}"#));
        }
    }

    /// A client's own cadence begins.
    fn take_up(&mut self, io: &mut Io, connection: u32) {
        let now_ns = io.now_ns;
        // The real client's first burst comes at once, but real clients do not all come at once.
        let phase_ns = self.random.u64(..BURST_EVERY_NS);
        self.plan(now_ns + phase_ns, connection, Deed::Ping);
        self.ask_state(io, connection);
        self.plan(now_ns + ASK_AGAIN_AFTER_NS, connection, Deed::AskAgain);
        let phase_ns = self.random.u64(..SYNC_CHECK_EVERY_NS);
        self.plan(now_ns + SYNC_CHECK_EVERY_NS + phase_ns, connection, Deed::SyncCheck);
    }

    fn act_on(&mut self, io: &mut Io, connection: u32, deed: Deed, due_ns: u64) {
        let room = self.seats.code(connection);
        match deed {
            Deed::Ping => self.ping(io, connection, due_ns),
            Deed::AskAgain => {
                if !self.clients[connection as usize].is_playing {
                    self.ask_state(io, connection);
                }
            }
            Deed::SyncCheck => {
                if self.clients[connection as usize].is_playing {
                    let text =
                        format!(r#"{{"type":"sync_check","roomCode":"{room}","clientPosition":1000}}"#);
                    self.say(io, connection, &text);
                }
                self.plan(due_ns + SYNC_CHECK_EVERY_NS, connection, Deed::SyncCheck);
            }
            Deed::Click => {
                let text = self.click(connection);
                self.say(io, connection, &text);
                let next_ns = due_ns + self.random.u64(1..2 * self.liveliness.click_every_ns);
                self.plan(next_ns, connection, Deed::Click);
            }
            Deed::Vanish => io.end(connection),
            Deed::Return => {
                if io.phase(connection) == Phase::Closed
                    && let Err(error) = io.connect(connection)
                {
                    *io.failed.entry(error.to_string()).or_default() += 1;
                }
            }
            Deed::SayLoading | Deed::SayReady => {
                let flag = deed == Deed::SayReady;
                let check = self.rooms[self.seats.room_of(connection)].check_id.clone();
                let text = format!(
                    r#"{{"type":"device_health_check_response","roomCode":"{room}","checkId":"{check}","audioLoaded":{flag},"deviceReady":{flag},"rttMs":30}}"#
                );
                self.say(io, connection, &text);
                if flag {
                    let text =
                        format!(r#"{{"type":"track_prepared","roomCode":"{room}","checkId":"{check}"}}"#);
                    self.say(io, connection, &text);
                }
            }
            Deed::SayHealthy => {
                let check = &self.rooms[self.seats.room_of(connection)].check_id;
                let text = format!(
                    r#"{{"type":"device_health_check_response","checkId":"{check}","audioLoaded":true,"deviceReady":true}}"#
                );
                self.say(io, connection, &text);
            }
        }
    }

    /// What a host does: mostly it plays another track. It does not pause or resume twice in a row: of two that a
    /// server handles at one instant the frames are the same, and would be taken for one event delivered twice.
    fn click(&mut self, connection: u32) -> String {
        let track = self.random.u32(..1_000_000);
        let head = format!(r#""roomCode":"{}""#, self.seats.code(connection));
        let room = &mut self.rooms[self.seats.room_of(connection)];
        let drawn = self.random.u8(..6);
        let is_repeated = matches!(drawn, PAUSE | RESUME) && drawn == room.click;
        room.click = if is_repeated { SEEK } else { drawn };
        match room.click {
            0 | 1 => format!(
                r#"{{"type":"PLAY",{head},"audioUrl":"https://cdn.example/{track}.mp3","duration":200,"rttMs":30}}"#
            ),
            PAUSE => format!(r#"{{"type":"PAUSE",{head}}}"#),
            RESUME => format!(r#"{{"type":"RESUME",{head}}}"#),
            SEEK => format!(r#"{{"type":"SEEK",{head},"seekPositionMs":{track}}}"#),
            _ => format!(
                r#"{{"type":"TRACK_CHANGE",{head},"trackData":{{"id":"{track}","title":"T","artist":"A","duration":187.5,"audioUrl":"https://cdn.example/{track}.mp3"}}}}"#
            ),
        }
    }

    fn settle(&mut self, now_ns: u64, is_end: bool) {
        for room in &mut self.rooms {
            while let Some(settled) = room.events.settle(now_ns, is_end) {
                self.gauge.outcome.conservation.events += 1;
                if !self.gauge.is_measured(settled.first_ns) {
                    continue;
                }
                if let Some(skew_ns) = settled.skew_ns {
                    self.gauge.skew.record(skew_ns);
                }
                if let Some(spread_ns) = settled.spread_ns {
                    self.gauge.start_spread.record(spread_ns);
                }
            }
        }
    }
}

impl Play for Rooms {
    fn path(&self, connection: u32) -> Option<String> {
        Some(self.seats.path(connection))
    }

    fn opened(&mut self, io: &mut Io, connection: u32) {
        let join = self.seats.join(connection, self.seats.host_of(connection));
        self.say(io, connection, &join);
        // Until the load begins there are members and no cadence: else a server that is still taking connections
        // in would be loaded by the first ones.
        if self.has_begun && !self.is_over && !io.is_stalled(connection) {
            self.take_up(io, connection);
        }
    }

    fn message(&mut self, io: &mut Io, connection: u32, is_text: bool, payload: &[u8]) {
        self.gauge.heard(io.now_ns);
        let heard = match serde_json::from_slice::<Heard<'_>>(payload) {
            Ok(heard) if is_text => heard,
            _ => {
                self.gauge.outcome.messages.corrupt += 1;
                let text = String::from_utf8_lossy(payload).into_owned();
                self.gauge.outcome.fault(|| format!("connection {connection}: not a message: {text}"));
                return;
            }
        };
        match &*heard.kind {
            "time_pong" => self.hear_pong(io, connection, &heard),
            "joined" => {
                let end = self.rooms[self.seats.room_of(connection)].events.end();
                let client = &mut self.clients[connection as usize];
                client.is_member = true;
                // Where events are under way, only the first one heard tells where this stay begins.
                client.next_event = if end == 0 { 0 } else { UNKNOWN };
            }
            "playback_state" if self.has_begun => self.ask_state(io, connection),
            "PLAY_SYNC" => self.clients[connection as usize].is_playing = true,
            "PREPARE_TRACK" => {
                self.hear_event(io, connection, payload);
                let room = self.seats.room_of(connection);
                self.rooms[room].check_id = heard.check_id.as_deref().unwrap_or_default().to_owned();
                let loaded_ns = io.now_ns + self.random.u64(LOADS_AFTER_NS);
                self.plan(io.now_ns + 5 * MS, connection, Deed::SayLoading);
                self.plan(loaded_ns, connection, Deed::SayReady);
            }
            "device_health_check" => {
                self.hear_event(io, connection, payload);
                self.plan(io.now_ns + 2 * MS, connection, Deed::SayHealthy);
            }
            "PLAY" => {
                self.clients[connection as usize].is_playing = true;
                self.hear_event(io, connection, payload);
                if let Some(master_ms) = heard.master_clock_ms {
                    self.hear_play(io, connection, master_ms, payload);
                }
            }
            "RESUME" | "SEEK" => {
                self.clients[connection as usize].is_playing |= *heard.kind == *"RESUME";
                self.hear_event(io, connection, payload);
            }
            "PAUSE" | "TRACK_CHANGE" => {
                self.clients[connection as usize].is_playing = false;
                self.hear_event(io, connection, payload);
            }
            // Told to some or one: user_joined, user_left, device_ready, PAUSE_STATE, RESYNC.
            _ => {}
        }
    }

    fn ended(&mut self, io: &mut Io, connection: u32, end: &End) {
        let client = &mut self.clients[connection as usize];
        let owed = u64::from(client.next_ping - client.next_pong);
        self.gauge.in_flight -= owed.min(self.gauge.in_flight);
        client.next_pong = client.next_ping;
        client.stay = client.stay.wrapping_add(1);
        (client.burst_pings, client.state_queries) = (0, 0);
        (client.is_playing, client.is_member, client.next_event) = (false, false, UNKNOWN);
        if *end == End::Ours {
            // Whoever leaves does not hear what is on its way to it.
            self.gauge.outcome.conservation.owed -= owed;
            if !self.is_over {
                let back_ns = io.now_ns + self.random.u64(RETURNS_AFTER_NS);
                self.plan(back_ns, connection, Deed::Return);
            }
        } else {
            self.gauge.outcome.messages.lost += owed;
        }
    }

    fn begin(&mut self, io: &mut Io) {
        let now_ns = io.now_ns;
        let clients = self.clients.len() as u32;
        self.has_begun = true;
        for connection in 0..clients {
            if io.is_stalled(connection) || !io.is_open(connection) {
                continue;
            }
            self.take_up(io, connection);
            if self.seats.host_of(connection) == connection {
                let first_ns = now_ns + self.random.u64(..self.liveliness.click_every_ns);
                self.plan(first_ns, connection, Deed::Click);
            } else if self.liveliness.leavers_per_minute > 0.0 {
                let minutes = self.random.f64() / self.liveliness.leavers_per_minute;
                self.plan(now_ns + (minutes * 60e9) as u64, connection, Deed::Vanish);
            }
        }
    }

    fn act(&mut self, io: &mut Io) -> u64 {
        if io.now_ns >= self.settle_ns {
            self.settle(io.now_ns, false);
            self.settle_ns = io.now_ns + SETTLE_EVERY_NS;
        }
        while let Some(Reverse((due_ns, connection, stay, deed))) = self.timers.peek().copied() {
            if due_ns > io.now_ns {
                return due_ns;
            }
            self.timers.pop();
            let is_of_this_stay = stay == self.clients[connection as usize].stay;
            let is_possible = io.is_open(connection) || deed == Deed::Return;
            if is_of_this_stay && is_possible && !self.is_over {
                self.act_on(io, connection, deed, due_ns);
            }
        }
        u64::MAX
    }

    fn stop(&mut self, _io: &mut Io) {
        self.is_over = true;
        self.timers.clear();
    }

    fn owed(&self) -> u64 {
        self.gauge.in_flight
    }

    fn conclude(&mut self, io: &Io, is_silent: bool) {
        let mut events_owed = self.events.missing;
        for (connection, client) in self.clients.iter().enumerate() {
            let end = self.rooms[self.seats.room_of(connection as u32)].events.end();
            if client.is_member && client.next_event != UNKNOWN && io.is_open(connection as u32) {
                events_owed += u64::from(end - client.next_event);
            }
        }
        self.settle(io.now_ns, true);
        let outcome = &mut self.gauge.outcome;
        outcome.conservation.owed += events_owed;
        outcome.messages.duplicated = self.pongs.duplicated + self.events.duplicated;
        outcome.messages.reordered = self.pongs.reordered + self.events.reordered;
        self.gauge.settle(self.gauge.in_flight + events_owed, self.pongs.missing, is_silent);
        let connections = &mut self.gauge.outcome.connections;
        (connections.stalled, connections.cut_off) = io.count_stalled();
    }

    fn gauge(&mut self) -> &mut Gauge {
        &mut self.gauge
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_clicks_in_a_row_can_have_the_same_frame() {
        let liveliness = Liveliness { click_every_ns: 1, leavers_per_minute: 0.0 };
        let seats = Seats { room_size: 20, first: 0 };
        let mut rooms = Rooms::new(20, seats, liveliness, fastrand::Rng::with_seed(7));
        let clicks: Vec<String> = (0..2_000).map(|_| rooms.click(0)).collect();
        assert!(clicks.windows(2).all(|pair| pair[0] != pair[1]));
        for kind in ["PLAY", "PAUSE", "RESUME", "SEEK", "TRACK_CHANGE"] {
            let count = clicks.iter().filter(|it| it.contains(&format!(r#""type":"{kind}""#))).count();
            assert!(count > 150, "{kind}: {count}");
        }
    }
}
