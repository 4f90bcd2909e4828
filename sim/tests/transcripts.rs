//! The old server's recorded sessions, played to the model: what it says is what that server sent.
//!
//! The model knows neither; this is what shows that it tells the truth. The rules are those of the recordings: messages
//! in order of arrival, exactly the recorded fields, times and positions within 120 ms (and 2 % of the arrival time).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::{Value, json};
use sim::model::{Authz, Client, Clock, Expected, HOLE, Model};
use std::collections::BTreeMap;
use std::path::Path;

const TOLERANCE_MS: f64 = 120.0;
const ROOM: &str = "ROOM";
const MS: i64 = 1_000;
/// What the recorder needed for a connection and its upgrade, and gave to a close.
const CONNECT_US: i64 = 2 * MS;
const CLOSE_US: i64 = 60 * MS;

/// A frame and when it came.
struct Arrival {
    at_us: i64,
    frame: Value,
}

#[derive(Default)]
struct Recorded {
    client: Client,
    arrivals: Vec<Arrival>,
    /// Arrivals that `until` steps have used up.
    seen: usize,
}

struct Stage {
    model: Model,
    now_us: i64,
    clients: BTreeMap<String, Recorded>,
    /// Names of checks, in the order seen; a check's name is its hole without the mark.
    checks: Vec<String>,
}

#[test]
fn the_model_says_what_the_old_server_said() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/transcripts");
    let mut played = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let script: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let stage = Stage::play(&script);
        for (name, golden) in script["golden"].as_object().unwrap() {
            stage.compare(&path.display().to_string(), name, golden.as_array().unwrap());
        }
        played += 1;
    }
    assert_eq!(played, 17);
}

impl Stage {
    fn play(script: &Value) -> Stage {
        let mut stage = Stage {
            model: Model::new(Authz::Member),
            now_us: 0,
            clients: BTreeMap::new(),
            checks: Vec::new(),
        };
        for step in script["steps"].as_array().unwrap() {
            let (kind, value) = step.as_object().unwrap().iter().next().unwrap();
            stage.step(kind, value);
        }
        stage.wait(script["tail"].as_i64().unwrap_or(150) * MS);
        stage
    }

    fn step(&mut self, kind: &str, value: &Value) {
        let name = value.as_str().or_else(|| value[0].as_str()).unwrap_or_default();
        match kind {
            "connect" => {
                self.wait(CONNECT_US);
                let client = self.clients.len() as Client;
                self.model.connect(client);
                let recorded = Recorded { client, ..Recorded::default() };
                assert!(self.clients.insert(name.to_owned(), recorded).is_none(), "{name} connects once");
            }
            "send" | "raw" => {
                let text = value[1].as_str().map_or_else(|| value[1].to_string(), str::to_owned);
                let heard = self.clients[name].arrivals.iter();
                let newest =
                    heard.rev().find_map(|arrival| Some(arrival.frame["checkId"].as_str()?.to_owned()));
                let text = text.replace("$check", newest.as_deref().unwrap_or("none")).replace("$room", ROOM);
                let at = self.clock();
                let follows = self.model.message(self.clients[name].client, &text, at);
                self.deliver(follows);
            }
            "wait" => self.wait(value.as_i64().unwrap() * MS),
            "until" => self.wait_for(name, value[1].as_str().unwrap(), value[2].as_i64().unwrap() * MS),
            "close" => {
                let at = self.clock();
                let follows = self.model.leave(self.clients[name].client, at);
                self.deliver(follows);
                self.wait(CLOSE_US);
            }
            other => panic!("no such step: {other}"),
        }
    }

    fn clock(&self) -> Clock {
        Clock { master_us: self.now_us, unix_us: self.now_us + 1_750_000_000_000_000 }
    }

    fn wait(&mut self, us: i64) {
        let until_us = self.now_us + us;
        while self.fire_next(until_us) {}
        self.now_us = until_us;
    }

    fn wait_for(&mut self, name: &str, kind: &str, patience_us: i64) {
        let until_us = self.now_us + patience_us;
        loop {
            let recorded = self.clients.get_mut(name).unwrap();
            let fresh = &recorded.arrivals[recorded.seen..];
            if let Some(found) = fresh.iter().position(|arrival| arrival.frame["type"] == kind) {
                recorded.seen += found + 1;
                return;
            }
            assert!(self.fire_next(until_us), "{name} waits for {kind} in vain");
        }
    }

    /// Goes on to the next timer up to that time, if there is one.
    fn fire_next(&mut self, until_us: i64) -> bool {
        let Some(due_us) = self.model.next_deadline_us().filter(|due_us| *due_us <= until_us) else {
            return false;
        };
        self.now_us = due_us;
        let at = self.clock();
        let follows = self.model.advance(at);
        self.deliver(follows);
        true
    }

    fn deliver(&mut self, follows: Vec<Expected>) {
        for Expected { to, mut frame } in follows {
            if let Some(hole) = frame["checkId"].as_str().map(str::to_owned) {
                let name = hole.trim_start_matches(HOLE).to_owned();
                if !self.checks.contains(&name) {
                    self.checks.push(name.clone());
                    self.model.bind_check(&hole, &name);
                }
                frame["checkId"] = name.into();
            }
            let recorded = self.clients.values_mut().find(|recorded| recorded.client == to).unwrap();
            recorded.arrivals.push(Arrival { at_us: self.now_us, frame });
        }
    }

    fn compare(&self, path: &str, name: &str, golden: &[Value]) {
        let arrivals = &self.clients[name].arrivals;
        let types = |frames: &mut dyn Iterator<Item = &Value>| -> Vec<String> {
            frames.map(|frame| frame["type"].as_str().unwrap_or("closed").to_owned()).collect()
        };
        let expected = types(&mut golden.iter().map(|entry| &entry["m"]));
        let said = types(&mut arrivals.iter().map(|arrival| &arrival.frame));
        assert_eq!(expected, said, "{path}: {name}");
        for (entry, arrival) in golden.iter().zip(arrivals) {
            let (at_ms, said_ms) = (entry["at"].as_f64().unwrap(), arrival.at_us as f64 / 1000.0);
            assert!(
                (at_ms - said_ms).abs() <= TOLERANCE_MS + at_ms * 0.02,
                "{path}: {name}: {entry} at {said_ms}"
            );
            let (expected, said) = (entry["m"].as_object().unwrap(), arrival.frame.as_object().unwrap());
            let names = |fields: &serde_json::Map<String, Value>| {
                let mut names: Vec<String> = fields.keys().cloned().collect();
                names.sort();
                names
            };
            assert_eq!(names(expected), names(said), "{path}: {name}: {entry}");
            for (field, expected) in expected {
                let is_same = self.is_same(field, expected, &said[field], said_ms);
                assert!(is_same, "{path}: {name}: {field} is {} in {entry}", said[field]);
            }
        }
    }

    /// The recorded value, in the notation of the recordings, and the one that the model said at that time.
    fn is_same(&self, field: &str, expected: &Value, said: &Value, at_ms: f64) -> bool {
        let is_near = |expected: &Value, said: f64| (expected.as_f64().unwrap() - said).abs() <= TOLERANCE_MS;
        if let (Some(expected), Some(said)) = (expected.as_object(), said.as_f64()) {
            return match expected.iter().next().unwrap() {
                (kind, expected) if kind == "mono" => is_near(expected, said - at_ms),
                (kind, expected) if kind == "ms" => is_near(expected, said),
                (kind, _) if kind == "unix" => (said - (at_ms + 1_750_000_000_000.0)).abs() < 1.0,
                (kind, expected) => kind == "any" && expected == "number",
            };
        }
        match expected.as_str() {
            Some(text) if field == "wsId" => {
                let name = text.trim_matches(['<', '>']);
                *said == json!(format!("{HOLE}wsId:{}", self.clients[name].client))
            }
            Some(text) if field == "checkId" => {
                let number: usize =
                    text.trim_matches(['<', '>']).trim_start_matches("check").parse().unwrap();
                *said == json!(self.checks[number - 1])
            }
            Some(text) => *said == json!(text.replace("$room", ROOM)),
            None => match (expected.as_f64(), said.as_f64()) {
                (Some(expected), Some(said)) => expected == said,
                _ => expected == said,
            },
        }
    }
}
