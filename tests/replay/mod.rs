//! Replays a recorded session of the old server and says where a server differs from it.
//!
//! The rules of the recordings: messages in order of arrival, exactly the recorded fields, times and
//! positions within 120 ms (and 2 % of the arrival time). A script's waits are its content; nothing else
//! here sleeps without a condition.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

const TOLERANCE_MS: f64 = 120.0;
const MASTER_CLOCK: [&str; 4] = ["masterClockMs", "serverTimeMonotonic", "masterClock", "startedAtServer"];
const UNIX: [&str; 3] = ["timestamp", "serverNow", "serverTimeUnix"];
const POSITION: [&str; 5] =
    ["playbackPosition", "pausedPositionMs", "pausedAtMs", "playbackPositionMs", "correctPositionMs"];

/// Where a script's clients connect, in turn, and whether they name their room in the URL as real ones do.
#[derive(Clone)]
pub struct Endpoints {
    pub ports: Vec<u16>,
    pub name_room_in_url: bool,
}

/// A frame as it arrived.
struct Arrival {
    at: Instant,
    message: Value,
    is_binary: bool,
}

#[derive(Default)]
struct Inbox {
    arrivals: Vec<Arrival>,
    closed: Option<u16>,
}

struct Client {
    socket: TcpStream,
    inbox: Arc<(Mutex<Inbox>, Condvar)>,
    /// Arrivals that `until` steps have used up.
    seen: usize,
}

/// The transcripts of this repository, or of the folder that TRANSCRIPTS names.
pub fn transcripts() -> Vec<PathBuf> {
    let folder = std::env::var("TRANSCRIPTS")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/tests/transcripts").to_owned());
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{folder}: {error}"))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort();
    files
}

/// Replays all transcripts at once; what differed, by name.
pub fn replay_all(endpoints: &Endpoints) -> Vec<(String, Vec<String>)> {
    let threads: Vec<_> = transcripts()
        .into_iter()
        .map(|path| {
            let endpoints = endpoints.clone();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, thread::spawn(move || replay(&path, &endpoints)))
        })
        .collect();
    threads.into_iter().map(|(name, thread)| (name, thread.join().unwrap())).collect()
}

/// Replays one transcript; what differed.
pub fn replay(path: &Path, endpoints: &Endpoints) -> Vec<String> {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    let room = format!("R{}X{run}", std::process::id());
    let script: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let start = Instant::now();
    let clock = probe(endpoints.ports[0]);
    let mut clients: BTreeMap<String, Client> = BTreeMap::new();
    for step in script["steps"].as_array().unwrap() {
        take_step(step, &room, endpoints, &mut clients);
    }
    thread::sleep(Duration::from_millis(script["tail"].as_u64().unwrap_or(150)));
    let got = Got { start, clock, room, clients };
    got.differences(&script)
}

fn take_step(step: &Value, room: &str, endpoints: &Endpoints, clients: &mut BTreeMap<String, Client>) {
    let step = step.as_object().unwrap();
    let (kind, value) = step.iter().next().unwrap();
    match kind.as_str() {
        "connect" => {
            let name = value.as_str().unwrap();
            let port = endpoints.ports[clients.len() % endpoints.ports.len()];
            let path = if endpoints.name_room_in_url {
                format!("/ws/sync?roomCode={room}&userId=u-{name}")
            } else {
                "/".to_owned()
            };
            let client = Client::connect(port, &path);
            if let Some(replaced) = clients.insert(name.to_owned(), client) {
                // Its wsId and checkIds are still spoken of. A script names no client with a prime.
                clients.insert(format!("{name}'{}", clients.len()), replaced);
            }
        }
        "send" => {
            let client = &clients[value[0].as_str().unwrap()];
            let check = client.newest_check();
            let text = value[1].to_string().replace("\"$check\"", &Value::from(check).to_string());
            client.send(&text.replace("$room2", &format!("{room}B")).replace("$room", room));
        }
        "raw" => {
            let client = &clients[value[0].as_str().unwrap()];
            client.send(&value[1].as_str().unwrap().replace("$room", room));
        }
        "wait" => thread::sleep(Duration::from_millis(value.as_u64().unwrap())),
        "until" => {
            let client = clients.get_mut(value[0].as_str().unwrap()).unwrap();
            client.wait_for(value[1].as_str().unwrap(), Duration::from_millis(value[2].as_u64().unwrap()));
        }
        "close" => {
            clients[value.as_str().unwrap()].write(Message::Close(None));
            // The recorder gave a close this long.
            thread::sleep(Duration::from_millis(60));
        }
        other => panic!("no such step: {other}"),
    }
}

fn open(port: u16, path: &str) -> WebSocket<TcpStream> {
    let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_nodelay(true).unwrap();
    let request = format!("ws://127.0.0.1:{port}{path}").into_client_request().unwrap();
    tungstenite::client(request, socket).unwrap().0
}

/// An instant and the master clock at it, ms.
fn probe(port: u16) -> (Instant, f64) {
    let mut probe = open(port, "/");
    probe.send(Message::text(r#"{"type":"time_ping","id":"probe","t0":0}"#)).unwrap();
    let answer = probe.read().unwrap();
    let at = Instant::now();
    let pong: Value = serde_json::from_str(answer.to_text().unwrap()).unwrap();
    (at, pong["serverTimeMonotonic"].as_f64().unwrap())
}

impl Client {
    fn connect(port: u16, path: &str) -> Client {
        let mut reader = open(port, path);
        let socket = reader.get_ref().try_clone().unwrap();
        let inbox = Arc::new((Mutex::new(Inbox::default()), Condvar::new()));
        let ours = Arc::clone(&inbox);
        thread::spawn(move || {
            let (inbox, arrived) = &*inbox;
            let mut code = 1006;
            while let Ok(message) = reader.read() {
                let at = Instant::now();
                let mut inbox = inbox.lock().unwrap();
                match message {
                    Message::Text(_) | Message::Binary(_) => {
                        let is_binary = message.is_binary();
                        let text = message.to_text().unwrap();
                        let message = serde_json::from_str(text).unwrap_or(json!({"unparsable": text}));
                        inbox.arrivals.push(Arrival { at, message, is_binary });
                    }
                    Message::Close(frame) => code = frame.map_or(1005, |it| it.code.into()),
                    _ => {}
                }
                arrived.notify_all();
            }
            // The script's half of the socket would keep the stream half open, and a server may count the
            // client as present until both halves ended.
            let _ = reader.get_ref().shutdown(Shutdown::Both);
            inbox.lock().unwrap().closed = Some(code);
        });
        Client { socket, inbox: ours, seen: 0 }
    }

    fn send(&self, text: &str) {
        self.write(Message::text(text));
    }

    /// A frame from the writing half; the reading half has a tungstenite of its own.
    fn write(&self, message: Message) {
        let role = tungstenite::protocol::Role::Client;
        let mut writer = WebSocket::from_raw_socket(self.socket.try_clone().unwrap(), role, None);
        // The server may have closed the connection; that is a difference, which the reader records.
        let _ = writer.send(message);
    }

    fn newest_check(&self) -> String {
        let inbox = self.inbox.0.lock().unwrap();
        let mut checks = inbox.arrivals.iter().filter_map(|arrival| arrival.message["checkId"].as_str());
        checks.next_back().unwrap_or("none").to_owned()
    }

    fn wait_for(&mut self, kind: &str, patience: Duration) {
        let (inbox, arrived) = &*self.inbox;
        let seen = self.seen;
        let find = |inbox: &Inbox| {
            let mut fresh = inbox.arrivals.iter().enumerate().skip(seen);
            fresh.find(|(_, arrival)| arrival.message["type"] == kind).map(|(i, _)| i)
        };
        let guard = inbox.lock().unwrap();
        let (guard, _) = arrived.wait_timeout_while(guard, patience, |inbox| find(inbox).is_none()).unwrap();
        if let Some(found) = find(&guard) {
            self.seen = found + 1;
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // The reader holds the socket open otherwise, and stays in the room until the process ends.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

/// What the clients of a script received.
struct Got {
    start: Instant,
    clock: (Instant, f64),
    room: String,
    clients: BTreeMap<String, Client>,
}

impl Got {
    fn differences(&self, script: &Value) -> Vec<String> {
        let closed_by_script =
            |name: &str| script["steps"].as_array().unwrap().iter().any(|step| step["close"] == name);
        let (names, checks) = self.ids();
        let mut bad = Vec::new();
        for (name, golden) in script["golden"].as_object().unwrap() {
            let golden = golden.as_array().unwrap();
            let inbox = self.clients[name].inbox.0.lock().unwrap();
            let mut got: Vec<Value> = inbox
                .arrivals
                .iter()
                .map(|arrival| {
                    let at = arrival.at.duration_since(self.start).as_millis() as u64;
                    let message = self.normalised(arrival, &names, &checks);
                    json!({"at": at, "m": message, "binary": arrival.is_binary})
                })
                .collect();
            if let Some(code) = inbox.closed.filter(|_| !closed_by_script(name)) {
                got.push(json!({"closed": code}));
            }
            let sequence = |entries: &[Value]| -> Vec<String> {
                let key = |entry: &Value| match entry["m"]["type"].as_str() {
                    Some(kind) => kind.to_owned(),
                    None => format!("closed {}", entry["closed"]),
                };
                entries.iter().map(key).collect()
            };
            if sequence(golden) != sequence(&got) {
                bad.push(format!("{name}: expected {:?}, got {:?}", sequence(golden), sequence(&got)));
                continue;
            }
            for (i, (expected, got)) in golden.iter().zip(&got).enumerate() {
                if expected.get("m").is_some() {
                    compare(&format!("{name}[{i}] {}", expected["m"]["type"]), expected, got, &mut bad);
                }
            }
        }
        bad
    }

    /// Clients by wsId, and checkIds in the order seen.
    fn ids(&self) -> (BTreeMap<String, String>, Vec<String>) {
        let mut names = BTreeMap::new();
        let mut checks: Vec<(Instant, String)> = Vec::new();
        for (name, client) in &self.clients {
            for Arrival { at, message, .. } in &client.inbox.0.lock().unwrap().arrivals {
                if message["type"] == "joined" {
                    let name = name.split('\'').next().unwrap();
                    names.insert(message["wsId"].as_str().unwrap().to_owned(), format!("<{name}>"));
                }
                if let Some(check) = message["checkId"].as_str() {
                    checks.push((*at, check.to_owned()));
                }
            }
        }
        checks.sort();
        let mut order: Vec<String> = Vec::new();
        for (_, check) in checks {
            if !order.contains(&check) {
                order.push(check);
            }
        }
        (names, order)
    }

    fn normalised(
        &self,
        arrival: &Arrival,
        names: &BTreeMap<String, String>,
        checks: &[String],
    ) -> Map<String, Value> {
        let (at, clock) = self.clock;
        let master_now = clock + (arrival.at.duration_since(at).as_secs_f64()) * 1000.0;
        let unix_now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64() * 1000.0;
        let normal = |key: &str, value: &Value| match value.as_f64() {
            Some(number) if MASTER_CLOCK.contains(&key) => json!({"mono": number - master_now}),
            Some(number) if UNIX.contains(&key) => json!({"unix": ((number - unix_now) / 60_000.0).round()}),
            Some(number) if POSITION.contains(&key) => json!({"ms": number}),
            Some(_) if key == "timeOffset" => json!({"any": "number"}),
            _ => match value.as_str() {
                Some(id) if key == "wsId" => json!(names.get(id).map_or("<unknown>", String::as_str)),
                Some(id) if key == "checkId" => {
                    json!(format!("<check{}>", checks.iter().position(|it| it == id).map_or(0, |i| i + 1)))
                }
                Some(text) => {
                    json!(text.replace(&format!("{}B", self.room), "$room2").replace(&self.room, "$room"))
                }
                None => value.clone(),
            },
        };
        let message = arrival.message.as_object().cloned().unwrap_or_default();
        message.iter().map(|(key, value)| (key.clone(), normal(key, value))).collect()
    }
}

fn compare(what: &str, expected: &Value, got: &Value, bad: &mut Vec<String>) {
    let at = |entry: &Value| entry["at"].as_f64().unwrap();
    if (at(expected) - at(got)).abs() > TOLERANCE_MS + at(expected) * 0.02 {
        bad.push(format!("{what}: arrived at {} ms, expected about {}", at(got), at(expected)));
    }
    if expected["binary"].as_bool().unwrap_or(false) != got["binary"].as_bool().unwrap_or(false) {
        bad.push(format!("{what}: text or binary"));
    }
    let (expected, got) = (expected["m"].as_object().unwrap(), got["m"].as_object().unwrap());
    for key in got.keys().filter(|key| !expected.contains_key(*key)) {
        bad.push(format!("{what}.{key}: extra"));
    }
    for (key, value) in expected {
        match got.get(key) {
            None => bad.push(format!("{what}.{key}: missing")),
            Some(other) if !is_same(value, other) => {
                bad.push(format!("{what}.{key}: expected {value}, got {other}"));
            }
            Some(_) => {}
        }
    }
}

fn is_same(expected: &Value, got: &Value) -> bool {
    for key in ["mono", "ms"] {
        if let (Some(expected), Some(got)) = (expected[key].as_f64(), got[key].as_f64()) {
            return (expected - got).abs() <= TOLERANCE_MS;
        }
    }
    match (expected, got) {
        (Value::Number(expected), Value::Number(got)) => expected.as_f64() == got.as_f64(),
        (Value::Array(expected), Value::Array(got)) => {
            expected.len() == got.len()
                && expected.iter().zip(got).all(|(expected, got)| is_same(expected, got))
        }
        (Value::Object(expected), Value::Object(got)) => {
            expected.len() == got.len()
                && expected.iter().all(|(key, value)| got.get(key).is_some_and(|got| is_same(value, got)))
        }
        _ => expected == got,
    }
}
