//! A session, played to a server and to the model at once, and each frame of the one held against the other's.
//!
//! [`Comparison`] is the same for both ways of playing: [`shards`] plays to the engine in this process, with bytes and
//! times of its own, so that all is exact; [`sockets`] plays to a real server. What a client is owed comes in the
//! model's order, and nothing else comes.

pub mod shards;
#[cfg(feature = "programs")]
pub mod sockets;

use crate::generate::fill_checks;
use crate::model::{Authz, Client, Clock, Expected, Matcher, Model};
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::{self, Display};

/// Messages that the tally names; all others are together.
const KINDS: [&str; 13] = [
    "join",
    "time_ping",
    "PLAY",
    "device_health_check_response",
    "PAUSE",
    "RESUME",
    "SEEK",
    "TRACK_CHANGE",
    "get_playback_state",
    "request_sync",
    "sync_check",
    "track_prepared",
    "audio_loading_status",
];
/// Bytes of a message that a script shows.
const SHOWN_BYTES_MAX: usize = 400;

/// What was compared.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Sessions without a difference.
    pub sessions: u64,
    /// Sessions that ended early because a server was too slow for what should follow to be certain.
    pub void: u64,
    /// Messages said, by type.
    pub said: BTreeMap<String, u64>,
    /// Messages that nothing followed from.
    pub unanswered: u64,
    /// Frames compared, by type.
    pub heard: BTreeMap<String, u64>,
}

/// A model, what it says is owed to whom, and what came.
#[derive(Clone, Debug)]
pub struct Comparison {
    model: Model,
    matcher: Matcher,
    owed: BTreeMap<Client, VecDeque<Value>>,
    /// The checks that each client has heard of, oldest first.
    checks: BTreeMap<Client, Vec<String>>,
    began_us: i64,
    script: Option<String>,
    tally: Tally,
}

impl Comparison {
    /// Nobody is there. Times may differ by as many ms. With a script, all that happens is written down.
    pub fn new(authz: Authz, time_tolerance_ms: f64, has_script: bool, at: Clock) -> Comparison {
        Comparison {
            model: Model::new(authz),
            matcher: Matcher::new(time_tolerance_ms),
            owed: BTreeMap::new(),
            checks: BTreeMap::new(),
            began_us: at.master_us,
            script: has_script.then(String::new),
            tally: Tally::default(),
        }
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// What was compared so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// All that happened, if it is written down.
    pub fn script(&self) -> &str {
        self.script.as_deref().unwrap_or_default()
    }

    /// A client has connected.
    pub fn connect(&mut self, client: Client, at: Clock) {
        self.note(at, format_args!("{client} connects"));
        self.model.connect(client);
    }

    /// The message with checks as this client knows them.
    pub fn fill(&self, client: Client, text: &str) -> String {
        fill_checks(text, self.checks.get(&client).map_or(&[], Vec::as_slice))
    }

    /// A client has said this, in a frame of text or in one of bytes.
    pub fn say(&mut self, client: Client, payload: &[u8], at: Clock) {
        self.note(at, format_args!("{client} says {}", Shown(&String::from_utf8_lossy(payload))));
        // Bytes that are no text are no JSON.
        let text = std::str::from_utf8(payload).unwrap_or_default();
        let follows = self.model.message(client, text, at);
        *self.tally.said.entry(kind_of(text)).or_default() += 1;
        self.tally.unanswered += u64::from(follows.is_empty());
        self.owe(follows);
    }

    /// A client has gone.
    pub fn leave(&mut self, client: Client, at: Clock) {
        self.note(at, format_args!("{client} leaves"));
        let follows = self.model.leave(client, at);
        self.owed.remove(&client);
        self.owe(follows);
    }

    /// It is as late as this.
    pub fn advance(&mut self, at: Clock) {
        let follows = self.model.advance(at);
        self.owe(follows);
    }

    /// A frame has come.
    pub fn hear(&mut self, client: Client, frame: &str, at: Clock) -> Result<(), String> {
        self.note(at, format_args!("{client} hears {}", Shown(frame)));
        let Some(expected) = self.owed.get_mut(&client).and_then(VecDeque::pop_front) else {
            return Err(format!("client {client} hears what it is not owed:\n  got      {}", Shown(frame)));
        };
        self.matcher.matches(&expected, frame).map_err(|why| format!("client {client}: {why}"))?;
        for (hole, name) in self.matcher.take_bound_checks() {
            self.model.bind_check(&hole, &name);
        }
        let frame: Value = serde_json::from_str(frame).map_err(|error| error.to_string())?;
        if let Some(check) = frame["checkId"].as_str() {
            let heard = self.checks.entry(client).or_default();
            if heard.last().is_none_or(|last| last != check) {
                heard.push(check.to_owned());
            }
        }
        *self.tally.heard.entry(frame["type"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
        Ok(())
    }

    /// Whoever is owed a frame, and the first that is.
    pub fn first_owed(&self) -> Option<(Client, &Value)> {
        self.owed.iter().find_map(|(client, frames)| Some((*client, frames.front()?)))
    }

    /// An error if anyone is owed anything.
    pub fn check_settled(&self) -> Result<(), String> {
        match self.first_owed() {
            None => Ok(()),
            Some((client, frame)) => {
                Err(format!("client {client} did not hear this:\n  expected {}", Shown(&frame.to_string())))
            }
        }
    }

    fn owe(&mut self, follows: Vec<Expected>) {
        for Expected { to, frame } in follows {
            self.owed.entry(to).or_default().push_back(frame);
        }
    }

    fn note(&mut self, at: Clock, what: fmt::Arguments<'_>) {
        let since_us = at.master_us - self.began_us;
        if let Some(script) = &mut self.script {
            script.push_str(&format!("{:>13.3} ms  {what}\n", since_us as f64 / 1000.0));
        }
    }
}

impl Tally {
    /// Adds another's figures.
    pub fn add(&mut self, other: &Tally) {
        self.sessions += other.sessions;
        self.void += other.void;
        self.unanswered += other.unanswered;
        for (kind, count) in &other.said {
            *self.said.entry(kind.clone()).or_default() += count;
        }
        for (kind, count) in &other.heard {
            *self.heard.entry(kind.clone()).or_default() += count;
        }
    }
}

impl Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = |counts: &BTreeMap<String, u64>| counts.values().sum::<u64>();
        let list = |counts: &BTreeMap<String, u64>| {
            let counts: Vec<String> = counts.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
            counts.join(", ")
        };
        writeln!(
            out,
            "{} sessions without a difference, {} void, {} messages ({} unanswered), {} frames compared",
            self.sessions,
            self.void,
            sum(&self.said),
            self.unanswered,
            sum(&self.heard)
        )?;
        writeln!(out, "  said:  {}", list(&self.said))?;
        writeln!(out, "  heard: {}", list(&self.heard))
    }
}

/// The type of a message, as far as it is one that there is.
fn kind_of(text: &str) -> String {
    let message: Value = serde_json::from_str(text).unwrap_or_default();
    let kind = message["type"].as_str().filter(|kind| KINDS.contains(kind));
    kind.unwrap_or("(no request)").to_owned()
}

/// A frame as scripts have it: without what makes it long, and on one line.
struct Shown<'f>(&'f str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut end = self.0.len().min(SHOWN_BYTES_MAX);
        while !self.0.is_char_boundary(end) {
            end -= 1;
        }
        f.write_str(&self.0[..end].escape_debug().to_string().replace("\\\"", "\""))?;
        if end < self.0.len() {
            write!(f, " ... {} bytes", self.0.len())?;
        }
        Ok(())
    }
}
