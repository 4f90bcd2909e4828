//! Who is at the other end: people that use rooms as the browser client does, and some that stall, vanish or lie.

use super::frames::{CLOSE, PING};
use super::said::{self, Fault, Kind, What};
use super::setup::Setup;
use super::socket::{End, Side};
use super::{Event, World, note};
use crate::generate::dice::Dice;
use crate::model::Client;
use serde_json::{Value, json};

/// What somebody is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nature {
    /// As the real client.
    Real,
    /// Stops reading now and then.
    Slow,
    /// Comes and goes.
    Fickle,
    /// Changes rooms.
    Rover,
    /// Sends what it must not.
    Liar,
    /// Never finishes its request.
    Mute,
}

/// A user, with one connection at a time.
#[derive(Debug)]
pub(super) struct Person {
    name: String,
    nature: Nature,
    /// The room it wants to be in.
    room: usize,
    client: Option<Client>,
    is_joined: bool,
    /// Names of checks that it heard, the newest last.
    checks: Vec<String>,
}

const TRACKS: [&str; 3] = ["https://a/1.mp3", "https://a/2.mp3", "https://b/\u{e9}\"3\".mp3"];

impl Person {
    pub(super) fn new(number: usize, setup: &Setup, dice: &mut Dice) -> Person {
        use Nature::{Fickle, Liar, Mute, Real, Rover, Slow};
        let natures = [Real, Real, Real, Real, Slow, Slow, Fickle, Fickle, Rover, Liar, Liar, Mute];
        Person {
            name: format!("u{number}"),
            nature: *dice.pick(&natures),
            room: dice.below(setup.rooms),
            client: None,
            is_joined: false,
            checks: Vec::new(),
        }
    }

    /// It does not do what RFC 6455 asks of a client.
    pub(super) fn is_rude(&self) -> bool {
        self.nature == Nature::Liar
    }
}

fn room_name(number: usize) -> String {
    format!("ROOM{number}")
}

impl World<'_> {
    /// A person opens a connection and writes its request.
    pub(super) fn connect(&mut self, person: usize) {
        if self.people[person].client.is_some() || !self.is_chaos {
            return;
        }
        let client = self.open(person);
        self.people[person].client = Some(client);
        self.people[person].is_joined = false;
        let nature = self.people[person].nature;
        let room = room_name(self.people[person].room);
        note!(self, "{client} is {nature:?} {}", self.people[person].name);
        if nature == Nature::Mute || self.dice.one_in(60) {
            self.tally.heads_unfinished += 1;
            let head = said::head(Some(&room));
            let count = self.dice.below(head.len());
            self.write(client, &head.as_bytes()[..count], What::BadHead);
            self.socket(client).said.clear();
            self.socket(client).excuse = Some("its head never comes whole");
            return;
        }
        if nature == Nature::Liar && self.dice.one_in(4) {
            let (head, status) = *self.dice.pick(&said::BAD_HEADS);
            self.socket(client).hearing.statuses = vec![status];
            self.write(client, head.as_bytes(), What::BadHead);
            return;
        }
        let names_room = !self.dice.one_in(3);
        let head = said::head(names_room.then_some(&*room));
        self.socket(client).hearing.statuses = vec![101];
        self.write(client, head.as_bytes(), What::Head);
        // Some do not wait for the answer.
        if self.dice.one_in(4) {
            self.join(person);
        }
    }

    /// The request was answered.
    pub(super) fn greet(&mut self, client: Client) {
        let person = self.sockets[client as usize].person;
        if !self.sockets[client as usize].is_answered {
            return;
        }
        if !self.people[person].is_joined {
            self.join(person);
        }
        self.ping(person);
        self.say_of_room(person, "get_playback_state", json!({}));
        self.act_later(person);
    }

    /// The connection is no more; the person comes back before long.
    pub(super) fn part(&mut self, client: Client) {
        let person = self.sockets[client as usize].person;
        if self.people[person].client == Some(client) {
            self.people[person].client = None;
            self.schedule_in(1_000_000, 1_400_000, Event::Connect(person));
        }
    }

    fn act_later(&mut self, person: usize) {
        let (least_us, most_us) =
            if self.setup.people > 20 { (800_000, 2_000_000) } else { (210_000, 900_000) };
        self.schedule_in(least_us, most_us, Event::Act(person));
    }

    fn client_of(&self, person: usize) -> Option<Client> {
        self.people[person].client.filter(|client| self.sockets[*client as usize].is_writable())
    }

    /// A person does one thing.
    pub(super) fn act(&mut self, person: usize) {
        let Some(client) = self.client_of(person).filter(|_| self.is_chaos) else { return };
        match self.people[person].nature {
            Nature::Slow if self.dice.one_in(6) => self.stall_reader(client),
            Nature::Fickle if self.dice.one_in(6) => return self.go(client),
            Nature::Liar if self.dice.one_in(3) => return self.lie(person, client),
            // As the real client does with its pings, most things are said several at a time.
            _ => (0..1 + self.dice.below(3)).for_each(|_| self.use_room(person)),
        }
        if self.people[person].nature == Nature::Rover && self.dice.one_in(3) {
            self.people[person].room = self.dice.below(self.setup.rooms);
            self.join(person);
        }
        self.act_later(person);
    }

    fn stall_reader(&mut self, client: Client) {
        self.tally.readers_stalled += 1;
        note!(self, "{client} stops reading");
        let socket = self.socket(client);
        (socket.is_stalled, socket.is_slow) = (true, true);
        socket.excuse = Some("it stopped reading");
        let most_us = if self.dice.one_in(4) { 12_000_000 } else { 2_500_000 };
        self.schedule_in(100_000, most_us, Event::ReadOn(client));
    }

    /// One of the ways in which connections end.
    pub(super) fn go(&mut self, client: Client) {
        match self.dice.below(4) {
            0 if self.sockets[client as usize].is_writable() => {
                self.tally.closed_by_clients += 1;
                self.socket(client).hearing.closes.push(1000);
                self.control(client, CLOSE, &1000_u16.to_be_bytes(), What::Last);
            }
            0 | 1 => {
                self.tally.half_closes += 1;
                self.end_up(client, End::Fin);
            }
            2 => {
                self.tally.resets += 1;
                self.end_up(client, End::Reset);
                self.part(client);
            }
            _ => {
                self.tally.vanished += 1;
                note!(self, "{client} vanishes");
                let socket = self.socket(client);
                socket.side = Side::Gone;
                socket.excuse = Some("it vanished");
                self.part(client);
            }
        }
    }

    fn join(&mut self, person: usize) {
        let Some(client) = self.people[person].client else { return };
        let room = room_name(self.people[person].room);
        let user = self.people[person].name.clone();
        let host = if self.dice.one_in(3) { user.clone() } else { "u0".to_owned() };
        self.people[person].is_joined = true;
        let text = json!({"type": "join", "roomCode": room, "userId": user, "hostId": host}).to_string();
        self.say(client, text, Kind::Join, Some(&room));
    }

    /// A time_ping, which names a room only now and then, and that not always its own.
    fn ping(&mut self, person: usize) {
        let Some(client) = self.client_of(person) else { return };
        self.pings_made += 1;
        let (id, t0) = (format!("p{}", self.pings_made), self.now.unix_us / 1_000 - 7);
        if self.dice.one_in(2) {
            let text = format!("{{\"type\":\"time_ping\",\"id\":\"{id}\",\"t0\":{t0}}}");
            return self.say(client, text, Kind::Ping, None);
        }
        let room = self.some_room(person);
        let text = json!({"type": "time_ping", "id": id, "t0": t0, "roomCode": room}).to_string();
        self.say(client, text, Kind::Ping, Some(&room));
    }

    /// The person's own room, most of the time.
    fn some_room(&mut self, person: usize) -> String {
        let other = self.dice.below(self.setup.rooms);
        room_name(if self.dice.one_in(10) { other } else { self.people[person].room })
    }

    fn say_of_room(&mut self, person: usize, kind: &str, fields: Value) {
        let Some(client) = self.client_of(person) else { return };
        let room = self.some_room(person);
        let mut text = fields;
        text["type"] = kind.into();
        text["roomCode"] = room.clone().into();
        // What nobody needs is dropped where it arrives.
        let is_needed = kind != "track_prepared" && text["deviceReady"] != false;
        let kind = if is_needed { Kind::Other } else { Kind::Doubtful };
        self.say(client, text.to_string(), kind, Some(&room));
    }

    fn use_room(&mut self, person: usize) {
        let position = self.dice.within(0..=40_000);
        let track = *self.dice.pick(&TRACKS);
        match self.dice.below(16) {
            0..3 => self.ping(person),
            3 => self.join(person),
            4 => self.say_of_room(person, "get_playback_state", json!({})),
            5 => self.say_of_room(person, "request_sync", json!({})),
            6 => self.say_of_room(person, "sync_check", json!({"clientPosition": position})),
            7 | 8 => {
                let mut play = json!({"audioUrl": track, "duration": 180.5});
                if self.dice.one_in(2) {
                    play["startDelayMs"] = self.dice.within(1..=3_000).into();
                }
                if self.dice.one_in(2) {
                    play["rttMs"] = self.dice.within(0..=400).into();
                }
                self.say_of_room(person, "PLAY", play);
            }
            9 => self.say_of_room(person, "PAUSE", json!({})),
            10 => self.say_of_room(person, "RESUME", json!({"startDelayMs": 1 + position / 10})),
            11 => self.say_of_room(person, "SEEK", json!({"seekPositionMs": position})),
            12 => {
                let track = json!({"id": position, "title": "t", "duration": 200, "audioUrl": track});
                self.say_of_room(person, "TRACK_CHANGE", json!({"trackData": track}));
            }
            13 => self.answer_check(person),
            14 => {
                let Some(client) = self.client_of(person) else { return };
                let payload = self.dice.number().to_be_bytes();
                self.control(client, PING, &payload, What::Ping(payload.to_vec()));
            }
            _ => self.say_of_room(person, "track_prepared", json!({})),
        }
    }

    /// What a client does about what it hears.
    pub(super) fn react(&mut self, client: Client, frame: &Value) {
        let person = self.sockets[client as usize].person;
        if frame["type"] == "PREPARE_TRACK"
            && let Some(check) = frame["checkId"].as_str()
        {
            self.people[person].checks.push(check.to_owned());
            let most_us = if self.dice.one_in(4) { 7_000_000 } else { 1_500_000 };
            self.schedule_in(20_000, most_us, Event::Answer(person));
        }
    }

    /// A device says whether it is ready, for the newest check or one that it takes for the newest.
    pub(super) fn answer_check(&mut self, person: usize) {
        let mut check = self.people[person].checks.last().cloned().unwrap_or_default();
        if self.dice.one_in(10) && !check.is_empty() {
            check = self.dice.pick(&self.people[person].checks).clone();
        }
        if self.people[person].is_rude() && self.dice.one_in(2) {
            self.tally.forged_checks += 1;
            check = format!("forged{}", self.dice.below(1000));
        }
        let is_ready = !self.dice.one_in(6);
        let mut answer = json!({"checkId": check, "audioLoaded": true, "deviceReady": is_ready});
        if self.dice.one_in(2) {
            answer["rttMs"] = self.dice.within(1..=300).into();
        }
        self.say_of_room(person, "device_health_check_response", answer);
    }

    /// A liar's turn.
    fn lie(&mut self, person: usize, client: Client) {
        const TEXTS: [&str; 12] = [
            "null",
            "5",
            "\"PLAY\"",
            "[]",
            "{",
            "{\"type\":\"PLAY\",\"roomCode\":\"ROOM0\",\"audioUrl\":5}",
            "{\"type\":\"PLAY\",\"roomCode\":\"ROOM0\"}",
            "{\"type\":\"SEEK\",\"roomCode\":\"ROOM0\",\"seekPositionMs\":\"x\"}",
            "{\"type\":\"sync_check\",\"roomCode\":\"ROOM0\"}",
            "{\"type\":\"PAUSE\",\"roomCode\":7}",
            "{\"type\":\"join\",\"roomCode\":\"\"}",
            "{\"type\":\"nonsense\",\"roomCode\":\"ROOM0\"}",
        ];
        if !self.dice.one_in(6) {
            self.tally.malformed += 1;
            let text = *self.dice.pick(&TEXTS);
            let room_code = text.contains("\"ROOM0\"").then_some("ROOM0");
            self.say(client, text.to_owned(), Kind::Doubtful, room_code);
            return self.act_later(person);
        }
        self.tally.bad_frames += 1;
        let fault = *self.dice.pick(&Fault::ALL);
        note!(self, "{client} commits {fault:?}");
        let limits = self.setup.limits.clone();
        let mut bytes = Vec::new();
        fault.push(&mut bytes, self.mask(), limits.message_bytes_max, limits.fragments_max);
        self.socket(client).hearing.closes.push(fault.code());
        self.write(client, &bytes, What::Last);
    }

    /// A person who is still there says something about its room, whichever it is by now.
    pub(super) fn say_at_last(&mut self, person: usize, mut text: Value) {
        let Some(client) = self.client_of(person) else { return };
        let Some(room) = self.sockets[client as usize].hearing.room_code.clone() else { return };
        text["roomCode"] = room.clone().into();
        self.say(client, text.to_string(), Kind::Other, Some(&room));
    }

    /// The connections of people who are there.
    pub(super) fn present(&self) -> Vec<Client> {
        self.people.iter().filter_map(|person| person.client).collect()
    }
}
