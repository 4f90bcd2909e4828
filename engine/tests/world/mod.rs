//! A deterministic world of shards for scripts of text: clients, links between cores and time, no sockets.
//!
//! Bytes are real: requests, masked frames, answers. A script has one event a line and the world prints what
//! each client receives, with the time in ms since the script's start. Ids are printed as names. The
//! world's clock moves only by `wait`, from deadline to deadline.

#![allow(dead_code, reason = "each test crate uses its part of the world")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use engine::snapshot::Slice;
use engine::{Action, App, Authz, ConnectionId, CoreId, Flow, Limits, Now, Seed, Settings, Shard, Stats};
use std::collections::{BTreeMap, HashMap};
use wire::frame::{self, Opcode};

const UNIX_START_US: i64 = 1_750_000_000_000_000;
/// What homes of rooms are drawn with.
pub const SEED: Seed = Seed(4, 12);
const KEY: [u8; 4] = [1, 2, 3, 4];

/// Shards, links and clients.
pub struct World {
    pub shards: Vec<Shard>,
    pub now: Now,
    pub log: String,
    clients: BTreeMap<String, Client>,
    by_connection: HashMap<(u16, ConnectionId), String>,
    names: HashMap<String, String>,
    check_id: String,
    checks: usize,
    /// Links that deliver nothing for now, by the receiving core.
    pub stalled: Vec<bool>,
    setup: Setup,
    /// What each core has handed over of its rooms.
    kept: Vec<Slice>,
    lives: u32,
}

struct Client {
    core: u16,
    connection: ConnectionId,
    /// Bytes received and not yet a whole frame.
    received: Vec<u8>,
    /// The kernel takes no bytes of its sends.
    is_stuck: bool,
    is_upgraded: bool,
}

/// What a world is made of.
#[derive(Clone)]
pub struct Setup {
    pub cores: u16,
    pub app: App,
    pub authz: Authz,
    pub limits: Limits,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup { cores: 1, app: App::Rooms, authz: Authz::Member, limits: Limits::default() }
    }
}

/// Runs a script in a world and returns the log.
pub fn run(setup: &Setup, script: &str) -> String {
    play(setup, script).log
}

/// Runs a script in a world.
pub fn play(setup: &Setup, script: &str) -> World {
    let mut world = World::new(setup);
    script.lines().map(str::trim).filter(|line| !line.is_empty()).for_each(|line| world.step(line));
    world
}

/// As a shard of this world has them.
pub fn settings(setup: &Setup, core: u16) -> Settings {
    Settings {
        core: CoreId(core),
        cores: setup.cores,
        app: setup.app,
        authz: setup.authz,
        limits: setup.limits.clone(),
        seed: SEED,
        page: None,
    }
}

impl World {
    pub fn new(setup: &Setup) -> World {
        World {
            shards: (0..setup.cores).map(|core| Shard::new(settings(setup, core))).collect(),
            now: Now { master_us: 0, unix_us: UNIX_START_US },
            log: String::new(),
            clients: BTreeMap::new(),
            by_connection: HashMap::new(),
            names: HashMap::new(),
            check_id: "none".to_owned(),
            checks: 0,
            stalled: vec![false; usize::from(setup.cores)],
            setup: setup.clone(),
            kept: vec![Slice::default(); usize::from(setup.cores)],
            lives: 0,
        }
    }

    pub fn stats(&self, core: usize) -> &Stats {
        self.shards[core].stats()
    }

    /// The log with each client's lines together: within a turn only they have an order.
    pub fn sorted_log(&self) -> String {
        let mut lines: Vec<&str> = self.log.lines().collect();
        lines.sort_by_key(|line| line.split(' ').nth(1));
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// The ids that clients were told when they joined.
    pub fn ws_ids(&self) -> impl Iterator<Item = String> {
        self.names.iter().filter(|(_, name)| !name.starts_with("<check")).map(|(id, _)| id.clone())
    }

    pub fn connection_of(&self, name: &str) -> ConnectionId {
        self.clients[name].connection
    }

    /// The kernel takes a client's bytes again, those of the send that is out first.
    pub fn free(&mut self, name: &str, id: ConnectionId) {
        let client = self.clients.get_mut(name).unwrap();
        client.is_stuck = false;
        let core = usize::from(client.core);
        let bytes = self.shards[core].handle_unsent(id).unwrap().to_vec();
        assert_eq!(self.shards[core].handle_sent(id, bytes.len()), None);
        self.receive(name, &bytes);
    }

    pub fn core_of(&self, name: &str) -> u16 {
        self.clients[name].core
    }

    /// One line of a script.
    pub fn step(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["wait", ms] => self.wait(ms.parse().unwrap()),
            ["drain"] => {
                let now = self.now;
                for shard in &mut self.shards {
                    shard.begin_drain(now);
                    assert!(!shard.drain(usize::MAX, now), "all are told");
                }
            }
            ["keep", core] => {
                let core = core.parse::<usize>().unwrap();
                self.kept[core] = self.shards[core].slice();
            }
            ["respawn", core] => self.respawn(core.parse().unwrap()),
            ["stall", core] => self.stalled[core.parse::<usize>().unwrap()] = true,
            ["unstall", core] => self.stalled[core.parse::<usize>().unwrap()] = false,
            [name, "connects", "on", core] => self.connect(name, core.parse().unwrap(), "/"),
            [name, "connects", "on", core, path] => self.connect(name, core.parse().unwrap(), path),
            [name, "joins", room, user, host] => {
                let join =
                    format!(r#"{{"type":"join","roomCode":"{room}","userId":"{user}","hostId":"{host}"}}"#);
                self.say(name, &join);
            }
            [name, "ready", room] => {
                let ready = format!(
                    r#"{{"type":"device_health_check_response","roomCode":"{room}","checkId":"$check","audioLoaded":true,"deviceReady":true}}"#
                );
                self.say(name, &ready);
            }
            [name, "stuck"] => self.clients.get_mut(name).unwrap().is_stuck = true,
            [name, "closes"] => self.send(name, Opcode::Close, &1000u16.to_be_bytes()),
            [name, "ends"] => {
                let (core, id) = self.whereabouts(name);
                let now = self.now;
                self.shards[core].handle_end(id, now);
            }
            [name, "pongs"] => self.send(name, Opcode::Pong, b""),
            [name, ..] if line[name.len()..].trim_start().starts_with('{') => {
                self.say(name, line[name.len()..].trim());
            }
            _ => panic!("no such step: {line}"),
        }
        self.settle();
    }

    /// A shard fails and begins anew with what it has handed over. Its sockets are gone.
    fn respawn(&mut self, core: u16) {
        let place = usize::from(core);
        self.lives += 1;
        let mut shard = Shard::new(settings(&self.setup, core));
        shard.begin_life(self.lives, self.now);
        shard.restore(self.kept[place].records(), self.now);
        self.shards[place] = shard;
        self.by_connection.retain(|(of, _), _| *of != core);
        self.clients.retain(|_, client| client.core != core);
    }

    /// A client's socket, on the core that the kernel is said to have picked.
    pub fn open(&mut self, name: &str, core: u16) {
        let now = self.now;
        let connection = self.shards[usize::from(core)].handle_accept(false, now);
        let client = Client { core, connection, received: Vec::new(), is_stuck: false, is_upgraded: false };
        self.clients.insert(name.to_owned(), client);
        self.by_connection.insert((core, connection), name.to_owned());
    }

    /// A client's socket and its upgrade.
    pub fn connect(&mut self, name: &str, core: u16, path: &str) {
        self.open(name, core);
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        self.deliver(name, &mut request.into_bytes());
    }

    fn whereabouts(&self, name: &str) -> (usize, ConnectionId) {
        let client = self.clients.get(name).unwrap_or_else(|| panic!("no client {name}"));
        (usize::from(client.core), client.connection)
    }

    /// Bytes from a client, as one receive.
    pub fn deliver(&mut self, name: &str, bytes: &mut [u8]) {
        let (core, id) = self.whereabouts(name);
        let now = self.now;
        let mut flow = self.shards[core].handle_bytes(id, bytes, now);
        let mut core = core;
        while let Flow::Moved(moved) = flow {
            self.by_connection.remove(&(core as u16, self.clients[name].connection));
            core = usize::from(moved.to.0);
            let id = self.shards[core].open_moved(&moved, now);
            let next = self.shards[core].handle_moved(id, moved, now);
            let client = self.clients.get_mut(name).unwrap();
            (client.core, client.connection) = (core as u16, id);
            self.by_connection.insert((core as u16, id), name.to_owned());
            flow = next;
        }
    }

    /// A text message of a client; `$check` stands for the newest checkId.
    pub fn say(&mut self, name: &str, text: &str) {
        let text = text.replace("$check", &self.check_id);
        self.send(name, Opcode::Text, text.as_bytes());
    }

    pub fn send(&mut self, name: &str, opcode: Opcode, payload: &[u8]) {
        let mut bytes = masked_frame(opcode, payload);
        self.deliver(name, &mut bytes);
    }

    fn wait(&mut self, ms: i64) {
        let until_us = self.now.master_us + ms * 1000;
        loop {
            let next_us = self.shards.iter_mut().filter_map(Shard::next_deadline_us).min();
            let at_us = next_us.unwrap_or(until_us).clamp(self.now.master_us, until_us);
            self.now.unix_us += at_us - self.now.master_us;
            self.now.master_us = at_us;
            let now = self.now;
            self.shards.iter_mut().for_each(|shard| shard.handle_deadlines(now));
            self.settle();
            if at_us == until_us {
                return;
            }
        }
    }

    /// Turns all shards until nothing happens any more.
    pub fn settle(&mut self) {
        loop {
            let mut is_quiet = true;
            for core in 0..self.shards.len() {
                self.shards[core].flush();
                while let Some((id, bytes)) = self.shards[core].poll_send() {
                    let bytes = bytes.to_vec();
                    is_quiet = false;
                    let name = self.by_connection[&(core as u16, id)].clone();
                    if self.clients[&name].is_stuck {
                        continue;
                    }
                    assert_eq!(self.shards[core].handle_sent(id, bytes.len()), None);
                    self.receive(&name, &bytes);
                }
                is_quiet &= !self.act(core) && !self.exchange(core);
            }
            if is_quiet {
                return;
            }
        }
    }

    fn act(&mut self, core: usize) -> bool {
        let mut acted = false;
        while let Some(action) = self.shards[core].poll_action() {
            acted = true;
            let (id, word) = match action {
                Action::Shutdown(id) => (id, "fin"),
                Action::Drop { connection, reset: false } => (connection, "closed"),
                Action::Drop { connection, reset: true } => (connection, "reset"),
                Action::Rest(id) => (id, "rests"),
            };
            let name = self.by_connection[&(core as u16, id)].clone();
            self.line(&name, word);
            if let Action::Drop { .. } = action {
                self.shards[core].handle_released(id);
                self.by_connection.remove(&(core as u16, id));
            }
        }
        acted
    }

    fn exchange(&mut self, from: usize) -> bool {
        let mut moved = false;
        for to in (0..self.shards.len()).filter(|to| *to != from && !self.stalled[*to]).collect::<Vec<_>>() {
            for envelope in self.shards[from].take_envelopes(CoreId(to as u16)) {
                moved = true;
                let now = self.now;
                self.shards[to].handle_envelope(CoreId(from as u16), envelope, now);
            }
        }
        moved
    }

    fn receive(&mut self, name: &str, bytes: &[u8]) {
        let client = self.clients.get_mut(name).unwrap();
        client.received.extend_from_slice(bytes);
        if !client.is_upgraded {
            let Some(end) = client.received.windows(4).position(|window| window == b"\r\n\r\n") else {
                return;
            };
            let head: Vec<u8> = client.received.drain(..end + 4).collect();
            let status = String::from_utf8_lossy(&head[9..12]).into_owned();
            client.is_upgraded = status == "101";
            let core = client.core;
            self.line(name, &format!("{status} on core {core}"));
            if status != "101" {
                return;
            }
        }
        loop {
            let received = &mut self.clients.get_mut(name).unwrap().received;
            let Some(header) = frame::parse_header(received).unwrap() else { return };
            let frame_bytes = header.header_bytes + header.payload_bytes as usize;
            if received.len() < frame_bytes {
                return;
            }
            let frame: Vec<u8> = received.drain(..frame_bytes).collect();
            self.print(name, header.opcode, &frame[header.header_bytes..]);
        }
    }

    fn print(&mut self, name: &str, opcode: Opcode, payload: &[u8]) {
        let text = match opcode {
            Opcode::Text => self.named(name, std::str::from_utf8(payload).unwrap()),
            Opcode::Close => format!("close {}", u16::from_be_bytes([payload[0], payload[1]])),
            other => format!("{other:?} {payload:?}").to_lowercase(),
        };
        self.line(name, &text);
    }

    /// The message with names for ids, its type first and without its braces and timestamps.
    fn named(&mut self, name: &str, text: &str) -> String {
        let field = |key: &str| {
            let start = text.find(&format!("\"{key}\":\""))? + key.len() + 4;
            Some(text[start..].split('"').next()?.to_owned())
        };
        if text.starts_with(r#"{"type":"joined""#)
            && let Some(ws_id) = field("wsId")
        {
            self.names.insert(ws_id, format!("<{name}>"));
        }
        if let Some(check_id) = field("checkId")
            && check_id != self.check_id
        {
            self.checks += 1;
            self.names.insert(check_id.clone(), format!("<check{}>", self.checks));
            self.check_id = check_id;
        }
        let ids = ["wsId", "checkId"].into_iter().filter_map(field);
        let mut text = ids.fold(text.to_owned(), |text, id| match self.names.get(&id) {
            Some(name) => text.replace(&id, name),
            None => text,
        });
        let unix = format!("{}", self.now.unix_us / 1000);
        for key in ["timestamp", "serverNow"] {
            text = text.replace(&format!(",\"{key}\":{unix}"), "");
        }
        let text = text.trim_start_matches(r#"{"type":"#);
        let text = text.strip_suffix('}').unwrap_or(text).replace('"', "");
        text.replacen(',', " ", 1).replace(',', ", ")
    }

    fn line(&mut self, name: &str, text: &str) {
        self.log += &format!("{} {name} {text}\n", self.now.master_us / 1000);
    }
}

/// A frame as a client sends it.
pub fn masked_frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::push_masked_frame(&mut bytes, opcode, payload, KEY);
    bytes
}
