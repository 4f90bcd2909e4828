//! Plays a session to the engine's own shards in this process: real bytes, and the time that the session says.
//!
//! Links between cores deliver at once. What chance adds, from the session's seed: where sockets are accepted, how bytes
//! are cut, messages in fragments, several messages in one turn, timers that come after a message of the same instant,
//! sends that the kernel takes in pieces, and a wall clock that is set. None of it may change a frame.

use super::{Comparison, Tally};
use crate::generate::dice::Dice;
use crate::generate::{Departure, Session, Step};
use crate::model::{Authz, Client, Clock};
use engine::{Action, App, ConnectionId, CoreId, Flow, Limits, Now, Seed, Settings, Shard};
use std::collections::BTreeMap;
use wire::frame::{self, Opcode};

/// 2026, in the master clock and in Unix time, at no whole ms.
const START: Clock = Clock { master_us: 59_000_000_123_456, unix_us: 1_794_689_600_123_789 };
/// Both sides are told the time. What is less than a µs is not said.
const TOLERANCE_MS: f64 = 0.000_9;
/// The first byte of a frame without its FIN, and of a fragment that goes on.
const NO_FIN: u8 = 0x7f;
const CONTINUES: u8 = 0xf0;

/// Changes what a client is sent, to see whether that is found.
pub type Tamper<'t> = &'t mut dyn FnMut(&str) -> String;

/// Plays a session on that many cores; the error says what differed and what led to it.
pub fn play(session: &Session, cores: u16, tally: &mut Tally) -> Result<(), String> {
    let mut honest = |frame: &str| frame.to_owned();
    let mut run = Run::new(session, cores, false, &mut honest);
    let result = run.play(session);
    if result.is_ok() {
        tally.add(run.comparison.tally());
        tally.sessions += 1;
        return Ok(());
    }
    // Once more, to have it written down: it ends alike.
    script(session, cores, &mut honest).1
}

/// Plays a session and writes down all that happens; the result, and the frames as `tamper` has them.
pub fn script(session: &Session, cores: u16, tamper: Tamper<'_>) -> (String, Result<(), String>) {
    let mut run = Run::new(session, cores, true, tamper);
    let result = run.play(session);
    let script = run.comparison.script().to_owned();
    let result = result.map_err(|why| format!("{script}{why}\n"));
    (script, result)
}

/// Limits that no session reaches, since what a flood meets is not the protocol's matter; and rooms that outgrow their
/// home core soon, and news that wait, which must not be noticed.
fn limits() -> Limits {
    // The model knows no rates and waits for no join.
    Limits {
        outbox_bytes_max: 64 << 20,
        room_local_max: 3,
        news_sends_max: 2,
        is_metered: false,
        join_timeout_ms: u32::MAX,
        ..Limits::default()
    }
}

/// A client's socket.
struct Socket {
    core: usize,
    connection: ConnectionId,
    received: Vec<u8>,
    is_upgraded: bool,
    is_leaving: bool,
}

struct Run<'t> {
    shards: Vec<Shard>,
    sockets: BTreeMap<Client, Socket>,
    comparison: Comparison,
    dice: Dice,
    now: Clock,
    tamper: Tamper<'t>,
}

impl<'t> Run<'t> {
    fn new(session: &Session, cores: u16, has_script: bool, tamper: Tamper<'t>) -> Run<'t> {
        let authz = match session.authz {
            Authz::Member => engine::Authz::Member,
            Authz::Host => engine::Authz::Host,
            Authz::Off => engine::Authz::Off,
        };
        let settings = |core| Settings {
            core: CoreId(core),
            cores,
            app: App::Rooms,
            authz,
            limits: limits(),
            seed: Seed(session.seed, 12),
            page: None,
        };
        Run {
            shards: (0..cores).map(|core| Shard::new(settings(core))).collect(),
            sockets: BTreeMap::new(),
            comparison: Comparison::new(session.authz, TOLERANCE_MS, has_script, START),
            dice: Dice::new(session.seed ^ 0x5eed),
            now: START,
            tamper,
        }
    }

    fn play(&mut self, session: &Session) -> Result<(), String> {
        for (place, step) in session.steps.iter().enumerate() {
            if self.dice.one_in(200) {
                self.now.unix_us += self.dice.within(-3_600_000_000..=3_600_000_000);
            }
            match step {
                Step::Connect { client, url_room } => self.connect(*client, url_room.as_deref()),
                Step::Say { client, text, is_binary } => {
                    let text = self.comparison.fill(*client, text);
                    let opcode = if *is_binary { Opcode::Binary } else { Opcode::Text };
                    self.say(*client, opcode, text.as_bytes());
                }
                Step::Bytes { client, bytes } => self.say(*client, Opcode::Binary, bytes),
                Step::Leave { client, departure } => self.leave(*client, *departure),
                Step::Wait { us } => self.wait(*us)?,
            }
            // On several cores only a turn's end decides whose message came first.
            let may_go_on = self.shards.len() == 1 && matches!(step, Step::Say { .. } | Step::Bytes { .. });
            let goes_on = matches!(session.steps.get(place + 1), Some(Step::Say { .. } | Step::Bytes { .. }));
            if !(may_go_on && goes_on && self.dice.one_in(3)) {
                self.end_turn()?;
            }
        }
        self.end()
    }

    /// Everybody leaves, and nothing is left.
    fn end(&mut self) -> Result<(), String> {
        let clients: Vec<Client> = self.sockets.keys().copied().collect();
        for client in clients {
            self.leave(client, Departure::Close);
            self.end_turn()?;
        }
        let rooms: u64 = self.shards.iter().map(|shard| shard.stats().rooms).sum();
        let connections: u64 = self.shards.iter().map(|shard| shard.stats().connections).sum();
        if (rooms, connections) != (0, 0) {
            return Err(format!("{rooms} rooms and {connections} connections are left of nobody"));
        }
        Ok(())
    }

    fn now(&self) -> Now {
        Now { master_us: self.now.master_us, unix_us: self.now.unix_us }
    }

    fn connect(&mut self, client: Client, url_room: Option<&str>) {
        self.comparison.connect(client, self.now);
        let core = self.dice.below(self.shards.len());
        let now = self.now();
        let connection = self.shards[core].handle_accept(false, now);
        let socket = Socket { core, connection, received: Vec::new(), is_upgraded: false, is_leaving: false };
        self.sockets.insert(client, socket);
        let query = url_room.map(|room| format!("?roomCode={room}&userId=u")).unwrap_or_default();
        let request = format!(
            "GET /ws/sync{query} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        self.deliver(client, request.into_bytes());
    }

    fn say(&mut self, client: Client, opcode: Opcode, payload: &[u8]) {
        self.comparison.say(client, payload, self.now);
        let mut bytes = Vec::new();
        if self.dice.one_in(12) {
            let cut = self.dice.below(payload.len() + 1);
            let first = self.masked(opcode, &payload[..cut], NO_FIN);
            bytes.extend(first);
            if self.dice.one_in(2) {
                let ping = self.masked(Opcode::Pong, b"", 0xff);
                bytes.extend(ping);
            }
            let rest = self.masked(opcode, &payload[cut..], CONTINUES);
            bytes.extend(rest);
        } else {
            bytes = self.masked(opcode, payload, 0xff);
        }
        self.deliver(client, bytes);
    }

    /// A frame as a client sends it, with those bits of its first byte.
    fn masked(&mut self, opcode: Opcode, payload: &[u8], kept: u8) -> Vec<u8> {
        let mut bytes = Vec::new();
        let key = (self.dice.number() as u32).to_le_bytes();
        frame::push_masked_frame(&mut bytes, opcode, payload, key);
        bytes[0] &= kept;
        bytes
    }

    fn leave(&mut self, client: Client, departure: Departure) {
        self.comparison.leave(client, self.now);
        if let Some(socket) = self.sockets.get_mut(&client) {
            socket.is_leaving = true;
        }
        match departure {
            Departure::Close => {
                let close = self.masked(Opcode::Close, &1000u16.to_be_bytes(), 0xff);
                self.deliver(client, close);
            }
            Departure::End => self.end_socket(client, false),
            Departure::Failure => self.end_socket(client, true),
        }
    }

    fn end_socket(&mut self, client: Client, is_failure: bool) {
        let Some(Socket { core, connection, .. }) = self.sockets.get(&client) else { return };
        let now = self.now();
        if is_failure {
            self.shards[*core].handle_failure(*connection, now);
        } else {
            self.shards[*core].handle_end(*connection, now);
        }
    }

    /// From deadline to deadline, the engine's and the model's; sometimes what is due at the end comes a message later.
    fn wait(&mut self, us: i64) -> Result<(), String> {
        let until_us = self.now.master_us + us;
        let fires_at_end = !self.dice.one_in(4);
        self.fire()?;
        loop {
            let theirs = self.shards.iter_mut().filter_map(Shard::next_deadline_us).min();
            let next_us = theirs.into_iter().chain(self.comparison.model().next_deadline_us()).min();
            let at_us = next_us.unwrap_or(until_us).clamp(self.now.master_us, until_us);
            self.now.unix_us += at_us - self.now.master_us;
            self.now.master_us = at_us;
            if at_us < until_us || fires_at_end {
                self.fire()?;
            }
            if at_us == until_us {
                return Ok(());
            }
        }
    }

    fn fire(&mut self) -> Result<(), String> {
        self.comparison.advance(self.now);
        let now = self.now();
        self.shards.iter_mut().for_each(|shard| shard.handle_deadlines(now));
        self.end_turn()
    }

    /// Bytes of a client, in one receive or in some.
    fn deliver(&mut self, client: Client, mut bytes: Vec<u8>) {
        while self.dice.one_in(4) && bytes.len() > 1 {
            let rest = bytes.split_off(1 + self.dice.below(bytes.len() - 1));
            self.receive(client, bytes);
            bytes = rest;
        }
        self.receive(client, bytes);
    }

    fn receive(&mut self, client: Client, mut bytes: Vec<u8>) {
        let now = self.now();
        let Some(socket) = self.sockets.get_mut(&client) else { return };
        let mut flow = self.shards[socket.core].handle_bytes(socket.connection, &mut bytes, now);
        while let Flow::Moved(moved) = flow {
            socket.core = usize::from(moved.to.0);
            let shard = &mut self.shards[socket.core];
            socket.connection = shard.open_moved(&moved, now);
            flow = shard.handle_moved(socket.connection, moved, now);
        }
    }

    /// Turns all shards until nothing happens any more; everyone has heard what the model says.
    fn end_turn(&mut self) -> Result<(), String> {
        loop {
            let mut is_quiet = true;
            for core in 0..self.shards.len() {
                self.shards[core].flush();
                while let Some((connection, bytes)) = self.shards[core].poll_send() {
                    let bytes = bytes.to_vec();
                    is_quiet = false;
                    self.send(core, connection, &bytes)?;
                }
                is_quiet &= !self.act(core)? && !self.exchange(core);
            }
            if is_quiet {
                return self.comparison.check_settled();
            }
        }
    }

    /// The kernel takes the bytes, now and then in pieces.
    fn send(&mut self, core: usize, connection: ConnectionId, bytes: &[u8]) -> Result<(), String> {
        let mut taken = 0;
        while taken < bytes.len() {
            let left = bytes.len() - taken;
            let piece = if self.dice.one_in(16) { 1 + self.dice.below(left) } else { left };
            let rest = self.shards[core].handle_sent(connection, piece);
            taken += piece;
            if rest.unwrap_or_default() != &bytes[taken..] {
                return Err("what is left of a send is not the rest of it".to_owned());
            }
        }
        match self.owner(core, connection) {
            Some(client) => self.hear(client, bytes),
            None => Err("bytes for nobody".to_owned()),
        }
    }

    fn owner(&self, core: usize, connection: ConnectionId) -> Option<Client> {
        let is_its = |socket: &Socket| socket.core == core && socket.connection == connection;
        self.sockets.iter().find(|(_, socket)| is_its(socket)).map(|(client, _)| *client)
    }

    fn act(&mut self, core: usize) -> Result<bool, String> {
        let mut has_acted = false;
        let now = self.now();
        while let Some(action) = self.shards[core].poll_action() {
            has_acted = true;
            let (Action::Shutdown(id) | Action::Drop { connection: id, .. } | Action::Rest(id)) = action;
            let Some(client) = self.owner(core, id) else { return Err(format!("{action:?} for nobody")) };
            match action {
                Action::Rest(_) => {}
                Action::Shutdown(_) | Action::Drop { .. } if !self.sockets[&client].is_leaving => {
                    return Err(format!("client {client} is shut out: {action:?}"));
                }
                Action::Shutdown(id) => self.shards[core].handle_end(id, now),
                Action::Drop { connection, .. } => {
                    self.shards[core].handle_released(connection);
                    self.sockets.remove(&client);
                }
            }
        }
        Ok(has_acted)
    }

    fn exchange(&mut self, from: usize) -> bool {
        let mut has_moved = false;
        let now = self.now();
        for to in (0..self.shards.len()).filter(|to| *to != from) {
            for envelope in self.shards[from].take_envelopes(CoreId(to as u16)) {
                has_moved = true;
                self.shards[to].handle_envelope(CoreId(from as u16), envelope, now);
            }
        }
        has_moved
    }

    /// Whole frames go to the comparison; a ping is answered, as every WebSocket client does.
    fn hear(&mut self, client: Client, bytes: &[u8]) -> Result<(), String> {
        let Some(socket) = self.sockets.get_mut(&client) else { return Ok(()) };
        socket.received.extend_from_slice(bytes);
        if !socket.is_upgraded {
            let Some(end) = socket.received.windows(4).position(|window| window == b"\r\n\r\n") else {
                return Ok(());
            };
            let head: Vec<u8> = socket.received.drain(..end + 4).collect();
            if !head.starts_with(b"HTTP/1.1 101 ") {
                return Err(format!("client {client} is refused: {}", String::from_utf8_lossy(&head)));
            }
            socket.is_upgraded = true;
        }
        let received = std::mem::take(&mut socket.received);
        let mut rest = &received[..];
        while let Some(header) = frame::parse_header(rest).map_err(|error| format!("{error:?}"))? {
            let end = header.header_bytes + header.payload_bytes as usize;
            if rest.len() < end {
                break;
            }
            self.hear_frame(client, header.opcode, &rest[header.header_bytes..end])?;
            rest = &rest[end..];
        }
        if let Some(socket) = self.sockets.get_mut(&client) {
            socket.received = rest.to_vec();
        }
        Ok(())
    }

    fn hear_frame(&mut self, client: Client, opcode: Opcode, payload: &[u8]) -> Result<(), String> {
        match opcode {
            Opcode::Text => {
                let frame = std::str::from_utf8(payload).map_err(|error| error.to_string())?;
                let frame = (self.tamper)(frame);
                self.comparison.hear(client, &frame, self.now)
            }
            Opcode::Ping => {
                let pong = self.masked(Opcode::Pong, payload, 0xff);
                self.deliver(client, pong);
                Ok(())
            }
            Opcode::Close if self.sockets[&client].is_leaving => Ok(()),
            other => Err(format!("client {client} gets {other:?} {payload:?}")),
        }
    }
}
