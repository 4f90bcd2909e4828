//! Writes a session, act by act, knowing only what it had its clients do.
//!
//! Answers to a PLAY are put down for later and happen while time passes. Waits are drawn so that they often end just
//! before, at, or just after a deadline that some earlier message began.

use super::dice::Dice;
use super::hostile;
use super::message::Message;
use super::{Departure, Kind, Pace, Step, room_mark};
use crate::model::Client;

const MS: i64 = 1_000;
/// Time after a PLAY, PAUSE or answer at which something may happen, ms.
const DEADLINES_MS: [i64; 12] =
    [250, 300, 400, 1_200, 1_500, 1_700, 2_200, 5_200, 5_500, 5_700, 8_700, 9_000];
/// Around it, µs.
const AROUND_US: [i64; 8] = [-50_000, -1_000, -1, 0, 0, 1, 1_000, 40_000];
const TRACKS: [&str; 3] = ["https://cdn.example/a.mp3", "https://cdn.example/b.mp3", "c"];

/// A client in the session.
struct Seat {
    client: Client,
    user: String,
    /// The room it joined last, by place.
    room: Option<usize>,
}

/// A room of the session.
struct Place {
    code: String,
    host: String,
    /// When messages began a deadline here.
    marks_us: Vec<i64>,
    /// Where position 0 is in time if the last SEEK did what it says, or the paused position.
    seeked: Option<Seeked>,
}

/// The last SEEK.
#[derive(Clone, Copy)]
struct Seeked {
    at_us: i64,
    position_ms: i64,
}

/// One who writes.
pub(super) struct Author {
    dice: Dice,
    kind: Kind,
    pace: Pace,
    steps: Vec<Step>,
    now_us: i64,
    end_us: i64,
    seats: Vec<Seat>,
    places: Vec<Place>,
    later: Vec<(i64, Step)>,
    clients: Client,
}

impl Author {
    pub(super) fn new(seed: u64, kind: Kind, pace: Pace, mut dice: Dice) -> Author {
        let rooms = 1 + dice.weighed(&[6, 3, 1]);
        let mark = room_mark(seed);
        let places = (0..rooms).map(|n| Place {
            code: format!("{mark}{n}"),
            host: "u-1".to_owned(),
            marks_us: Vec::new(),
            seeked: None,
        });
        Author {
            places: places.collect(),
            dice,
            kind,
            pace,
            steps: Vec::new(),
            now_us: 0,
            end_us: if pace == Pace::Real { 11_000 * MS } else { 60_000 * MS },
            seats: Vec::new(),
            later: Vec::new(),
            clients: 0,
        }
    }

    pub(super) fn write(mut self) -> Vec<Step> {
        let is_crowd = self.pace == Pace::World && self.dice.one_in(100);
        let newcomers = if is_crowd { self.dice.within(62..=70) } else { self.dice.within(1..=5) };
        for _ in 0..newcomers {
            self.newcomer(if is_crowd { Some(0) } else { None });
        }
        let acts = match self.pace {
            Pace::World => 15..=60,
            Pace::Brief => 5..=25,
            Pace::Real => 12..=30,
        };
        for _ in 0..self.dice.within(acts) {
            if self.now_us >= self.end_us {
                break;
            }
            self.act();
        }
        let rest_us = if self.dice.one_in(3) { 9_500 * MS } else { 400 * MS };
        self.wait(rest_us);
        self.steps
    }

    fn act(&mut self) {
        let act = self.dice.weighed(&[6, 2, 2, 3, 16, 9, 9, 8, 5, 8, 9, 6, 24]);
        if act == 0 || self.seats.is_empty() {
            return self.newcomer(None);
        }
        if act == 12 {
            let us = self.some_time();
            return self.wait(us);
        }
        let seat = self.dice.below(self.seats.len());
        let Some(room) = self.seats[seat].room else { return self.join(seat) };
        match act {
            1 => self.join(seat),
            2 => {
                self.seats[seat].room = Some(self.dice.below(self.places.len()));
                self.join(seat);
            }
            3 => self.leave(seat),
            4 => self.play(seat, room),
            5 => {
                let said = if self.dice.one_in(5) { 2 } else { 1 };
                (0..said).for_each(|_| self.command(seat, room, Message::new("PAUSE")));
            }
            6 => {
                let delay = self.delay();
                self.command(seat, room, Message::new("RESUME").with_some("startDelayMs", delay));
            }
            7 => self.seek(seat, room),
            8 => self.change_track(seat, room),
            9 => self.query(seat, room),
            10 => self.sync_check(seat, room),
            _ => self.pings(seat, room),
        }
    }

    /// A socket, and a join at once, as a real client does it.
    fn newcomer(&mut self, room: Option<usize>) {
        self.clients += 1;
        let client = self.clients;
        let room = room.unwrap_or_else(|| self.dice.below(self.places.len()));
        let is_named = self.dice.one_in(2);
        let url_room = is_named.then(|| self.places[room].code.clone());
        self.steps.push(Step::Connect { client, url_room });
        // Some users have two connections.
        let user = format!("u-{}", if self.dice.one_in(8) { 1 } else { client });
        self.seats.push(Seat { client, user, room: Some(room) });
        let seat = self.seats.len() - 1;
        if self.dice.one_in(6) {
            self.pings(seat, room);
        }
        if !self.dice.one_in(12) {
            self.join(seat);
            if self.dice.one_in(3) {
                self.say(client, &self.to(room, "get_playback_state"));
            }
        }
    }

    fn join(&mut self, seat: usize) {
        let Seat { client, ref user, room } = self.seats[seat];
        let user = user.clone();
        let room = room.unwrap_or(0);
        self.seats[seat].room = Some(room);
        let host =
            if self.dice.one_in(6) { self.seats[seat].user.clone() } else { self.places[room].host.clone() };
        let join = Message::new("join").with("roomCode", self.places[room].code.as_str());
        let join = join.with("userId", user.as_str()).with("hostId", host.as_str());
        self.places[room].host = host;
        self.say(client, &join);
    }

    fn leave(&mut self, seat: usize) {
        let client = self.seats.remove(seat).client;
        self.later.retain(|(_, step)| !matches!(step, Step::Say { client: other, .. } if *other == client));
        let departure = *self.dice.pick(&[Departure::Close, Departure::End, Departure::Failure]);
        self.steps.push(Step::Leave { client, departure });
    }

    /// A message of this type that names the room.
    fn to(&self, room: usize, kind: &str) -> Message {
        Message::new(kind).with("roomCode", self.places[room].code.as_str())
    }

    fn command(&mut self, seat: usize, room: usize, message: Message) {
        let message = message.with("roomCode", self.places[room].code.as_str());
        self.places[room].marks_us.push(self.now_us);
        self.say(self.seats[seat].client, &message);
    }

    fn play(&mut self, seat: usize, room: usize) {
        let track = *self.dice.pick(&TRACKS);
        let duration = *self.dice.pick(&[Some(200.0), Some(187.5), Some(240_000.0), None]);
        let play = Message::new("PLAY").with("audioUrl", track).with_some("duration", duration);
        let delay = self.delay();
        let rtt = self.rtt();
        let play = play.with_some("startDelayMs", delay).with_some("rttMs", rtt);
        self.command(seat, room, play.clone());
        if self.dice.one_in(4) {
            let us = *self.dice.pick(&[0, 100 * MS, 1_499_999, 1_500 * MS, 1_500_001]);
            self.answers(room);
            self.wait(us);
            if let Some(seat) = self.in_room(room) {
                self.command(seat, room, play);
            }
        }
        self.answers(room);
    }

    /// What each device says to a PLAY, sooner or later.
    fn answers(&mut self, room: usize) {
        let spread_us = [900 * MS, 1_800 * MS, 6_500 * MS, 10_000 * MS][self.dice.weighed(&[6, 3, 2, 1])];
        for seat in 0..self.seats.len() {
            if self.seats[seat].room != Some(room) || self.dice.one_in(6) {
                continue;
            }
            let mut at_us = self.now_us + self.dice.within(0..=spread_us);
            if self.dice.one_in(4) {
                at_us = self.now_us + self.dice.pick(&DEADLINES_MS) * MS + self.dice.pick(&AROUND_US);
            }
            let client = self.seats[seat].client;
            let answer = |is_ready: bool| {
                Message::new("device_health_check_response")
                    .with("checkId", "$check")
                    .with("audioLoaded", is_ready)
                    .with("deviceReady", is_ready)
            };
            let code = self.places[room].code.clone();
            let mut put_down = |at_us, message: Message| {
                let text = message.text();
                self.later.push((at_us, Step::Say { client, text, is_binary: false }));
            };
            if self.dice.one_in(3) {
                put_down(self.now_us, answer(false).with("roomCode", code.as_str()));
            }
            if self.dice.one_in(4) {
                put_down(at_us, answer(true));
            }
            let rtt =
                [None, Some(30.0), Some(41.5), Some(-3.0), Some(1e6)][self.dice.weighed(&[6, 3, 2, 1, 1])];
            put_down(at_us, answer(true).with_some("rttMs", rtt).with("roomCode", code.as_str()));
            if self.dice.one_in(4) {
                put_down(at_us, Message::new("track_prepared").with("roomCode", code.as_str()));
            }
        }
    }

    fn seek(&mut self, seat: usize, room: usize) {
        let position_ms =
            *self.dice.pick(&[0, 1, 500, 30_000, 60_000, 3_600_000, 86_400_000, 90_000_000, -5]);
        self.places[room].seeked = Some(Seeked { at_us: self.now_us, position_ms });
        self.command(seat, room, Message::new("SEEK").with("seekPositionMs", position_ms));
    }

    fn change_track(&mut self, seat: usize, room: usize) {
        let mut track = serde_json::json!({
            "id": self.dice.within(0..=99), "title": "N\u{e9}on \u{2728} \"quoted\"", "artist": "Ana",
            "extra": {"nested": [1, 2, {"x": null}]},
        });
        if !self.dice.one_in(8) {
            track["audioUrl"] = (*self.dice.pick(&TRACKS)).into();
        }
        if !self.dice.one_in(4) {
            track["duration"] = 187.5.into();
        }
        self.command(seat, room, Message::new("TRACK_CHANGE").with("trackData", track));
    }

    fn query(&mut self, seat: usize, room: usize) {
        let kind =
            ["get_playback_state", "request_sync", "audio_loading_status"][self.dice.weighed(&[4, 4, 1])];
        let message = self.to(room, kind);
        self.say(self.seats[seat].client, &message);
    }

    /// Where the client believes it is: about where it should be, by 450 ms and a hair, or anywhere.
    fn sync_check(&mut self, seat: usize, room: usize) {
        let right_us = match self.places[room].seeked {
            None => 0,
            Some(seeked) if self.dice.one_in(2) => seeked.position_ms * MS,
            Some(seeked) => (seeked.position_ms - 300) * MS + self.now_us - seeked.at_us,
        };
        let off_us = *self
            .dice
            .pick(&[0, 100_000, 449_999, 450_000, 450_001, 451_000, -449_000, -450_000, -450_001, 9_000_000]);
        let position_ms = (right_us + off_us) as f64 / 1000.0;
        let check = self.to(room, "sync_check").with("clientPosition", position_ms);
        self.say(self.seats[seat].client, &check);
    }

    fn pings(&mut self, seat: usize, room: usize) {
        for n in 0..self.dice.within(1..=4) {
            let t0 = *self.dice.pick(&[1_750_000_000_000.0, 1_750_000_000_123.5, 0.0, 5.0]);
            let ping = Message::new("time_ping").with("id", format!("0.{}{n}", self.dice.within(0..=9999)));
            let code = self.dice.one_in(2).then(|| self.places[room].code.clone());
            self.say(self.seats[seat].client, &ping.with("t0", t0).with_some("roomCode", code));
        }
    }

    fn delay(&mut self) -> Option<f64> {
        [None, Some(0.0), Some(100.0), Some(333.25), Some(10_000.0), Some(20_000.0), Some(-1.0)]
            [self.dice.weighed(&[5, 2, 5, 2, 1, 1, 1])]
    }

    fn rtt(&mut self) -> Option<f64> {
        [None, Some(40.0), Some(77.7), Some(0.0)][self.dice.weighed(&[4, 3, 2, 1])]
    }

    /// Somebody who should be in the room.
    fn in_room(&mut self, room: usize) -> Option<usize> {
        let there: Vec<usize> =
            (0..self.seats.len()).filter(|seat| self.seats[*seat].room == Some(room)).collect();
        (!there.is_empty()).then(|| *self.dice.pick(&there))
    }

    /// A wait that ends near a deadline, or any.
    fn some_time(&mut self) -> i64 {
        let place = self.dice.below(self.places.len());
        let marks = &self.places[place].marks_us;
        if let Some(mark_us) = marks.last().filter(|_| !self.dice.one_in(3)) {
            let end_us = mark_us + self.dice.pick(&DEADLINES_MS) * MS + self.dice.pick(&AROUND_US);
            if end_us > self.now_us {
                return end_us - self.now_us;
            }
        }
        match self.dice.weighed(&[4, 3, 1]) {
            0 => self.dice.within(1..=60 * MS),
            1 => self.dice.within(MS..=1_000 * MS),
            _ => self.dice.within(MS..=4_000 * MS),
        }
    }

    /// Lets time pass, and what was put down happen on its way.
    fn wait(&mut self, us: i64) {
        let until_us = self.now_us + us;
        while let Some(next) = (0..self.later.len()).min_by_key(|n| self.later[*n].0)
            && self.later[next].0 <= until_us
        {
            let (at_us, step) = self.later.remove(next);
            self.pass(at_us);
            self.push(step);
        }
        self.pass(until_us);
    }

    fn pass(&mut self, until_us: i64) {
        if until_us > self.now_us {
            self.steps.push(Step::Wait { us: until_us - self.now_us });
            self.now_us = until_us;
        }
    }

    fn say(&mut self, client: Client, message: &Message) {
        if self.kind == Kind::Hostile && self.dice.one_in(2) {
            // Often the one who speaks, sometimes another, who may have no business here.
            let liar = if self.dice.one_in(3) && !self.seats.is_empty() {
                self.seats[self.dice.below(self.seats.len())].client
            } else {
                client
            };
            let codes: Vec<String> = self.places.iter().map(|place| place.code.clone()).collect();
            let may_be_long = self.pace == Pace::World && self.dice.one_in(10);
            let lie = hostile::twist(liar, message, &codes, may_be_long, &mut self.dice);
            self.push(lie);
            if self.dice.one_in(4) {
                return;
            }
        }
        let is_binary = self.dice.one_in(50);
        self.push(Step::Say { client, text: message.text(), is_binary });
    }

    fn push(&mut self, step: Step) {
        self.steps.push(step);
    }
}
