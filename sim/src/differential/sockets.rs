//! Plays a session to a real server over sockets, with tungstenite as the client.
//!
//! Time is real, so the model is told the time that the server's own answer says, once that lies between the
//! message and its arrival. A message waits until it does not matter whether it is handled a little earlier or
//! later: what follows is the same from both ends of that little while. Each step is followed to its last frame
//! before the next begins. If the server takes longer than that while, the session ends as void. The pace stays
//! within what a server allows its clients.

mod outlook;
mod pace;
mod server;
mod socket;

pub use server::Server;

use super::{Comparison, Tally};
use crate::generate::{Departure, Session, Step, room_mark};
use crate::model::{Client, Clock, Model};
use outlook::{outlook, said_at};
use pace::Paces;
use serde_json::{Value, json};
use socket::{Socket, now, open, read};
use std::collections::BTreeMap;
use std::net::Shutdown;
use std::thread;
use std::time::Duration;
use tungstenite::Message;

/// Timestamps are whole ms, twice: when something began and when it is asked for.
const TOLERANCE_MS: f64 = 2.5;
/// Around the time that a message is sent, µs.
const MARGIN_US: i64 = 40_000;
/// What two readings of the clock by different processes may be apart, µs.
const SLACK_US: i64 = 2_500;
/// A core reads its clock before it takes what has come. If it loses its CPU in between, an answer says a time before that
/// of its question, µs.
const READING_AGE_US_MAX: i64 = 250_000;
/// Steps between two looks for frames that nobody is owed.
const STEPS_PER_LOOK: usize = 8;
/// Time for a room that nobody is in any more to end, which no frame tells of, µs.
const ROOM_ENDS_US: i64 = 30_000;

/// How a session went, if nothing differed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// To its end.
    Played,
    /// The server was too slow for what should follow to be certain.
    Void,
}

/// Plays a session; the error says what differed and what led to it. `has_script` writes all down in any case.
pub fn play(session: &Session, server: &Server, tally: &mut Tally) -> (String, Result<Outcome, String>) {
    let mut run = match Run::new(session, server) {
        Ok(run) => run,
        Err(why) => return (String::new(), Err(why)),
    };
    let result = run.play(session);
    let script = run.comparison.script().to_owned();
    let result = match result {
        Ok(outcome) => {
            tally.add(run.comparison.tally());
            tally.sessions += u64::from(outcome == Outcome::Played);
            tally.void += u64::from(outcome == Outcome::Void);
            Ok(outcome)
        }
        Err(why) => Err(format!("{script}{why}\n")),
    };
    (script, result)
}

struct Run {
    port: u16,
    mark: String,
    /// Unix time less the master clock, µs.
    epoch_us: i64,
    comparison: Comparison,
    sockets: BTreeMap<Client, Socket>,
    paces: Paces,
    looks: u64,
    /// Who has said something that nothing followed from, and the room it named: another core may hear of it later than
    /// of what others say next.
    unheard: Option<(Client, Option<String>)>,
}

/// What is said or done, before it is known when the server handles it.
type Event<'e> = &'e dyn Fn(&mut Model, Clock) -> Vec<crate::model::Expected>;

impl Run {
    fn new(session: &Session, server: &Server) -> Result<Run, String> {
        let mut probe = open(server.port(), "/")?;
        let ask = r#"{"type":"time_ping","id":"probe","t0":0}"#;
        probe.send(Message::text(ask)).map_err(|error| error.to_string())?;
        let pong: Value = serde_json::from_str(&read(&mut probe)?).map_err(|error| error.to_string())?;
        let us = |name: &str| pong[name].as_f64().map(|ms| (ms * 1000.0).round() as i64);
        let clocks = us("serverTimeUnix").zip(us("serverTimeMonotonic"));
        let (unix_us, master_us) = clocks.ok_or_else(|| format!("no clocks in {pong}"))?;
        let epoch_us = unix_us - master_us;
        Ok(Run {
            port: server.port(),
            mark: room_mark(session.seed),
            epoch_us,
            comparison: Comparison::new(session.authz, TOLERANCE_MS, true, now(epoch_us)),
            sockets: BTreeMap::new(),
            paces: Paces::default(),
            looks: 0,
            unheard: None,
        })
    }

    fn play(&mut self, session: &Session) -> Result<Outcome, String> {
        for (place, step) in session.steps.iter().enumerate() {
            let outcome = match step {
                Step::Connect { client, url_room } => self.connect(*client, url_room.as_deref())?,
                Step::Say { client, text, is_binary } => {
                    let text = self.comparison.fill(*client, text);
                    let message =
                        if *is_binary { Message::binary(text.into_bytes()) } else { Message::text(text) };
                    self.say(*client, message)?
                }
                Step::Bytes { client, bytes } => self.say(*client, Message::binary(bytes.clone()))?,
                Step::Leave { client, departure } => self.leave(*client, *departure)?,
                Step::Wait { us } => self.wait_until(self.now().master_us + us)?,
            };
            if outcome == Outcome::Void {
                return Ok(outcome);
            }
            if place % STEPS_PER_LOOK == STEPS_PER_LOOK - 1 && self.look()? == Outcome::Void {
                return Ok(Outcome::Void);
            }
        }
        self.look()
    }

    fn now(&self) -> Clock {
        now(self.epoch_us)
    }

    fn connect(&mut self, client: Client, url_room: Option<&str>) -> Result<Outcome, String> {
        let query = url_room.map(|room| format!("?roomCode={room}&userId=u")).unwrap_or_default();
        let socket = open(self.port, &format!("/ws/sync{query}"))?;
        self.sockets.insert(client, socket);
        self.comparison.connect(client, self.now());
        Ok(Outcome::Played)
    }

    fn say(&mut self, client: Client, message: Message) -> Result<Outcome, String> {
        let payload = message.clone().into_data();
        let text = std::str::from_utf8(&payload).unwrap_or_default().to_owned();
        let event = |model: &mut Model, at: Clock| model.message(client, &text, at);
        let mut ahead = self.comparison.model().clone();
        event(&mut ahead, self.now());
        let is_others = ahead.room_of(client).is_some_and(|room| !room.contains(&self.mark));
        let wait_us = self.paces.next_us(client, &text, self.comparison.model(), self.now().master_us);
        let Some(wait_us) = wait_us.filter(|_| !is_others) else { return Ok(Outcome::Played) };
        if self.settle_unheard(client)? == Outcome::Void {
            return Ok(Outcome::Void);
        }
        if self.wait_until(wait_us)? == Outcome::Void || self.become_certain(&event)? == Outcome::Void {
            return Ok(Outcome::Void);
        }
        self.say_now(client, message)
    }

    fn say_now(&mut self, client: Client, message: Message) -> Result<Outcome, String> {
        let payload = message.clone().into_data();
        let text = std::str::from_utf8(&payload).unwrap_or_default().to_owned();
        let event = |model: &mut Model, at: Clock| model.message(client, &text, at);
        let sent = self.now();
        self.send(client, message)?;
        let first = self.first_answer(&event, sent)?;
        let (at, late_us) = match &first {
            Some((_, _, at)) => (*at, at.master_us + SLACK_US),
            None => (sent, sent.master_us + MARGIN_US / 2),
        };
        if !self.is_certain(&event, sent.master_us.min(at.master_us) - SLACK_US, late_us) {
            return Ok(Outcome::Void);
        }
        self.comparison.say(client, &payload, at);
        if self.comparison.check_settled().is_ok() {
            let message: Value = serde_json::from_str(&text).unwrap_or_default();
            self.unheard = Some((client, message["roomCode"].as_str().map(str::to_owned)));
        }
        self.hear_all(first)?;
        Ok(Outcome::Played)
    }

    fn send(&mut self, client: Client, message: Message) -> Result<(), String> {
        let socket = self.sockets.get_mut(&client).ok_or_else(|| format!("client {client} has no socket"))?;
        socket.send(message).map_err(|error| format!("client {client} cannot send: {error}"))
    }

    fn leave(&mut self, client: Client, departure: Departure) -> Result<Outcome, String> {
        let event = |model: &mut Model, at: Clock| model.leave(client, at);
        if self.settle_unheard(client)? == Outcome::Void {
            return Ok(Outcome::Void);
        }
        if self.become_certain(&event)? == Outcome::Void {
            return Ok(Outcome::Void);
        }
        let Some(mut socket) = self.sockets.remove(&client) else { return Ok(Outcome::Played) };
        match departure {
            Departure::Close => {
                socket.close(None).map_err(|error| error.to_string())?;
                while socket.read().is_ok() {}
            }
            Departure::End => {
                socket.get_ref().shutdown(Shutdown::Write).map_err(|error| error.to_string())?;
                while socket.read().is_ok() {}
            }
            Departure::Failure => drop(socket),
        }
        let rooms = self.comparison.model().rooms();
        self.comparison.leave(client, self.now());
        self.hear_all(None)?;
        if self.comparison.model().rooms() < rooms {
            return self.wait_until(self.now().master_us + ROOM_ENDS_US);
        }
        Ok(Outcome::Played)
    }

    /// Everyone asks for the time, so that what nobody was owed comes to light before the answer.
    fn look(&mut self) -> Result<Outcome, String> {
        for client in self.clients() {
            let room = self.comparison.model().room_of(client).map(str::to_owned);
            let ping = self.ping(room);
            if self.say(client, ping)? == Outcome::Void {
                return Ok(Outcome::Void);
            }
        }
        Ok(Outcome::Played)
    }

    /// Nothing tells that the server has seen to a timer from which nothing follows, but that it answers a question asked
    /// later, since a turn of a core sees to its timers before it sends its answers.
    fn confirm(&mut self, due_us: i64) -> Result<Outcome, String> {
        let model = self.comparison.model();
        let is_due = |room: &str| model.next_deadline_of(room) == Some(due_us);
        let asker = self.clients().into_iter().find(|client| model.room_of(*client).is_some_and(is_due));
        let Some(asker) = asker else { return Ok(Outcome::Played) };
        let now = self.now();
        let soon = Clock { master_us: now.master_us + MARGIN_US, unix_us: now.unix_us + MARGIN_US };
        if model.clone().advance(soon).iter().any(|expected| expected.to == asker) {
            // What follows from the room's next timer tells of this one as well.
            return Ok(Outcome::Played);
        }
        let room = model.room_of(asker).map(str::to_owned);
        let ping = self.ping(room);
        self.say_now(asker, ping)
    }

    /// Before another client speaks, the one whose words nothing followed from asks a question behind them.
    fn settle_unheard(&mut self, next: Client) -> Result<Outcome, String> {
        let unheard = self.unheard.take_if(|(client, _)| *client != next);
        let Some((client, room)) = unheard.filter(|(client, _)| self.sockets.contains_key(client)) else {
            return Ok(Outcome::Played);
        };
        let ping = self.ping(room);
        self.say(client, ping)
    }

    fn clients(&self) -> Vec<Client> {
        self.sockets.keys().copied().collect()
    }

    /// A question for the time, which is answered where the room is decided on.
    fn ping(&mut self, room: Option<String>) -> Message {
        self.looks += 1;
        let mut ping = json!({"type": "time_ping", "id": format!("look {}", self.looks), "t0": 0});
        if let Some(room) = room {
            ping["roomCode"] = room.into();
        }
        Message::text(ping.to_string())
    }

    /// Waits until the event has the same consequences a little earlier and a little later.
    fn become_certain(&mut self, event: Event<'_>) -> Result<Outcome, String> {
        loop {
            let now_us = self.now().master_us;
            if self.wait_until(now_us)? == Outcome::Void {
                return Ok(Outcome::Void);
            }
            if self.is_certain(event, now_us - MARGIN_US, now_us + MARGIN_US) {
                return Ok(Outcome::Played);
            }
            self.wait_until(now_us + MARGIN_US / 4)?;
        }
    }

    fn is_certain(&self, event: Event<'_>, from_us: i64, to_us: i64) -> bool {
        let at = |master_us| Clock { master_us, unix_us: master_us + self.epoch_us };
        let model = self.comparison.model();
        let early = outlook(model, event, at(from_us));
        let late = outlook(model, event, at(to_us));
        early.is_like(&late, to_us - from_us + MARGIN_US)
    }

    /// The first frame that follows from the event and says when it was handled: whose, the frame, the time.
    fn first_answer(
        &mut self,
        event: Event<'_>,
        sent: Clock,
    ) -> Result<Option<(Client, String, Clock)>, String> {
        let follows = event(&mut self.comparison.model().clone(), sent);
        let mut seen: Vec<Client> = Vec::new();
        for expected in follows {
            let is_first = !seen.contains(&expected.to);
            seen.push(expected.to);
            if !is_first || said_at(&expected.frame, self.epoch_us).is_none() {
                continue;
            }
            let frame = self.read(expected.to)?;
            let value: Value = serde_json::from_str(&frame).unwrap_or_default();
            let said = said_at(&value, self.epoch_us).unwrap_or(sent);
            let arrived = self.now();
            let is_plausible = sent.master_us - READING_AGE_US_MAX <= said.master_us
                && said.master_us <= arrived.master_us + SLACK_US;
            if !is_plausible {
                return Err(format!(
                    "{frame} says it is of {} ms, but what it answers was sent at {} ms and it came at {} ms",
                    said.master_us / 1000,
                    sent.master_us / 1000,
                    arrived.master_us / 1000
                ));
            }
            return Ok(Some((expected.to, frame, said)));
        }
        Ok(None)
    }

    /// The frames that are owed, after the one that was read already.
    fn hear_all(&mut self, first: Option<(Client, String, Clock)>) -> Result<(), String> {
        if let Some((client, frame, at)) = first {
            self.comparison.hear(client, &frame, at)?;
        }
        while let Some((client, _)) = self.comparison.first_owed() {
            let frame = self.read(client).map_err(|why| match self.comparison.check_settled() {
                Err(owed) => format!("{why}: {owed}"),
                Ok(()) => why,
            })?;
            self.comparison.hear(client, &frame, self.now())?;
        }
        Ok(())
    }

    fn read(&mut self, client: Client) -> Result<String, String> {
        let socket = self.sockets.get_mut(&client).ok_or_else(|| format!("client {client} has no socket"))?;
        read(socket).map_err(|why| format!("client {client} hears nothing: {why}"))
    }

    /// Lets time pass, and hears what comes on its way. A timer that is late by more than a client could miss is an
    /// error by itself: nothing comes for as long as patience lasts.
    fn wait_until(&mut self, until_us: i64) -> Result<Outcome, String> {
        loop {
            let due_us = self.comparison.model().next_deadline_us().filter(|due_us| *due_us <= until_us);
            let pause_us = due_us.unwrap_or(until_us) - self.now().master_us;
            if pause_us > 0 {
                thread::sleep(Duration::from_micros(pause_us as u64));
            }
            let Some(due_us) = due_us else { return Ok(Outcome::Played) };
            let due = Clock { master_us: due_us, unix_us: due_us + self.epoch_us };
            let fire = |model: &mut Model, at: Clock| model.advance(at);
            if fire(&mut self.comparison.model().clone(), due).is_empty()
                && self.confirm(due_us)? == Outcome::Void
            {
                return Ok(Outcome::Void);
            }
            let first = self.first_answer(&fire, due)?;
            let at = first.as_ref().map_or(due, |(_, _, at)| *at);
            let at = if at.master_us < due_us { due } else { at };
            self.comparison.advance(at);
            self.hear_all(first)?;
        }
    }
}
