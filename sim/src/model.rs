//! A second reading of the room protocol: what every client must hear, as naive as it can be.
//!
//! Written from the protocol's tables and its twelve differences, over JSON values; it knows no bytes, cores,
//! queues or limits of traffic, and shares no code with `wire` or `engine`. Lists are searched from one end to the
//! other. What it cannot know (a `wsId`, a `checkId`) it leaves open as a hole: a string that begins with
//! [`HOLE`], which a [`Matcher`] binds to the first value it meets there.
//!
//! A check's name comes back in what clients send. So whoever carries frames tells the model each name that the
//! matcher has bound ([`Matcher::take_bound_checks`], then [`Model::bind_check`]) before it hands on a message
//! that may contain it. A check without a name is answered by nothing.

mod frames;
mod handshake;
mod json;
mod kept;
mod matcher;
mod room;

pub use kept::KeptRoom;
pub use matcher::{HOLE, Matcher, is_time};

use room::{Member, Room};
use serde_json::{Map, Value};

/// A connection. Another connection of the same user is another client.
pub type Client = u32;

/// One reading of the clocks, µs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// The master clock.
    pub master_us: i64,
    /// Unix time.
    pub unix_us: i64,
}

/// Who may command a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authz {
    /// Its members.
    Member,
    /// Of its members, those with the host's userId.
    Host,
    /// Anyone who names it.
    Off,
}

/// A frame that a client must get next.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    /// Who.
    pub to: Client,
    /// The frame, which may have holes in `wsId` and `checkId`.
    pub frame: Value,
}

/// All clients and rooms there are.
#[derive(Clone, Debug)]
pub struct Model {
    authz: Authz,
    clients: Vec<Client>,
    rooms: Vec<Room>,
    checks: u64,
    /// Holes of checks and the names they turned out to have.
    bound: Vec<(String, String)>,
}

/// Bytes of a room code.
const ROOM_CODE_BYTES_MAX: usize = 256;
/// How far a client may be off before it is told.
const DRIFT_MAX_MS: f64 = 450.0;

impl Model {
    /// A server with nobody on it.
    pub fn new(authz: Authz) -> Model {
        Model { authz, clients: Vec::new(), rooms: Vec::new(), checks: 0, bound: Vec::new() }
    }

    /// A connection has been made. It must not be there already.
    pub fn connect(&mut self, client: Client) {
        assert!(!self.clients.contains(&client), "client {client} connects twice");
        self.clients.push(client);
    }

    /// A check's hole has turned out to have this name.
    pub fn bind_check(&mut self, hole: &str, real: &str) {
        self.bound.push((hole.to_owned(), real.to_owned()));
    }

    /// A text message (or a binary one, which is read as text), handled at this time. The frames that follow, in
    /// order. Fires no timers.
    pub fn message(&mut self, client: Client, text: &str, at: Clock) -> Vec<Expected> {
        assert!(self.clients.contains(&client), "client {client} is not connected");
        let Ok(Value::Object(message)) = json::parse(text) else { return Vec::new() };
        match message.get("type").and_then(Value::as_str) {
            Some("join") => self.join(client, &message, at),
            Some("time_ping") => vec![self.pong(client, &message, at)],
            Some(kind) => self.ask(client, kind, &message, at).unwrap_or_default(),
            None => Vec::new(),
        }
    }

    /// The connection is gone.
    pub fn leave(&mut self, client: Client, _at: Clock) -> Vec<Expected> {
        self.clients.retain(|it| *it != client);
        self.leave_room(client)
    }

    /// When the next timer is due, on the master clock.
    pub fn next_deadline_us(&self) -> Option<i64> {
        self.rooms.iter().filter_map(Room::next_deadline_us).min()
    }

    /// Fires every timer due by `at`, in order of time. All that follows is said to be of `at`.
    pub fn advance(&mut self, at: Clock) -> Vec<Expected> {
        let mut out = Vec::new();
        // Nobody would hear what else is due in a room that nobody has joined in time.
        self.rooms.retain(|room| room.vacant_until_us.is_none_or(|until_us| until_us > at.master_us));
        while let Some(due_us) = self.next_deadline_us().filter(|due_us| *due_us <= at.master_us) {
            for room in &mut self.rooms {
                if room.next_deadline_us() == Some(due_us) {
                    out.extend(room.fire(due_us, at));
                }
            }
        }
        out
    }

    /// A client whose place in a room was lost with the room's home is a member again; `text` is the join that it sent
    /// last. It must not be a member.
    pub fn come_back(&mut self, client: Client, text: &str, at: Clock) -> Vec<Expected> {
        let Ok(Value::Object(join)) = json::parse(text) else { return Vec::new() };
        let Some(code) = room_code(&join) else { return Vec::new() };
        let member = Member { client, user_id: join.get("userId").cloned() };
        self.room_or_new(code).come_back(member, join.get("hostId").cloned(), at)
    }

    /// What would be kept of each room now.
    pub fn kept(&self) -> Vec<KeptRoom> {
        self.rooms.iter().filter_map(Room::kept).collect()
    }

    /// Nobody is connected any more, and there are these rooms.
    pub fn restore(&mut self, kept: &[KeptRoom], at: Clock) {
        self.clients.clear();
        self.rooms = kept.iter().map(|kept| Room::restored(kept, at.master_us)).collect();
    }

    /// Who is in a room, in any order; nobody if it does not exist.
    pub fn members(&self, room: &str) -> Vec<Client> {
        self.room(room)
            .map(|room| room.members.iter().map(|member| member.client).collect())
            .unwrap_or_default()
    }

    /// How many rooms there are.
    pub fn rooms(&self) -> usize {
        self.rooms.len()
    }

    /// The room that a client is in.
    pub fn room_of(&self, client: Client) -> Option<&str> {
        self.rooms.iter().find(|room| room.has(client)).map(|room| room.code.as_str())
    }

    /// The room has no members, and waits for some.
    pub fn is_vacant(&self, room: &str) -> bool {
        self.room(room).is_some_and(|room| room.vacant_until_us.is_some())
    }

    /// A pending handshake and pending PAUSE_STATEs.
    pub fn timers_of(&self, room: &str) -> usize {
        self.room(room).map_or(0, Room::timers)
    }

    /// A room's position, if it exists.
    pub fn position_us(&self, room: &str, at: Clock) -> Option<i64> {
        self.room(room).map(|room| room.position_us(at))
    }

    /// The room exists and plays.
    pub fn is_playing(&self, room: &str) -> bool {
        self.room(room).is_some_and(Room::is_playing)
    }

    /// When the next timer of this room is due, on the master clock.
    pub fn next_deadline_of(&self, room: &str) -> Option<i64> {
        self.room(room)?.next_deadline_us()
    }

    fn room(&self, code: &str) -> Option<&Room> {
        self.rooms.iter().find(|room| room.code == code)
    }

    fn join(&mut self, client: Client, message: &Map<String, Value>, at: Clock) -> Vec<Expected> {
        let Some(code) = room_code(message) else { return Vec::new() };
        let mut out = Vec::new();
        if self.room_of(client).is_some_and(|present| present != code) {
            out.extend(self.leave_room(client));
        }
        let member = Member { client, user_id: message.get("userId").cloned() };
        out.extend(self.room_or_new(code).join(member, message.get("hostId").cloned(), at));
        out
    }

    fn room_or_new(&mut self, code: &str) -> &mut Room {
        if self.room(code).is_none() {
            self.rooms.push(Room::new(code));
        }
        self.rooms.iter_mut().find(|room| room.code == code).expect("made if it was not there")
    }

    fn leave_room(&mut self, client: Client) -> Vec<Expected> {
        let out = self.rooms.iter_mut().flat_map(|room| room.leave(client)).collect();
        self.rooms.retain(|room| !room.members.is_empty() || room.vacant_until_us.is_some());
        out
    }

    /// Whoever may not see the room gets the answer of those who name none.
    fn pong(&self, client: Client, message: &Map<String, Value>, at: Clock) -> Expected {
        let named = room_code(message).and_then(|code| self.room(code));
        let room = named.filter(|room| self.authz == Authz::Off || room.has(client));
        let unix_ms = at.unix_us as f64 / 1000.0;
        // serverTimeUnix - (t0 + serverTimeUnix) / 2. Open: how exact it is. Here to the µs, of which t0 has no more than
        // 64 bits hold.
        let t0_us = message.get("t0").and_then(Value::as_f64).map(|t0_ms| (t0_ms * 1000.0).round() as i64);
        let offset = t0_us.map(|t0_us| at.unix_us.saturating_sub(t0_us) as f64 / 2000.0);
        let frame = frames::frame(
            "time_pong",
            [
                ("id", message.get("id").cloned()),
                ("t0", message.get("t0").cloned()),
                ("serverTimeUnix", Some(unix_ms.into())),
                ("serverTimeMonotonic", Some(frames::ms(at.master_us))),
                ("timeOffset", Some(offset.into())),
                ("playbackPosition", Some(frames::ms(room.map_or(0, |room| room.position_us(at))))),
                ("isPlaying", Some(room.is_some_and(Room::is_playing).into())),
                ("masterClock", Some(frames::ms(at.master_us))),
            ],
        );
        Expected { to: client, frame }
    }

    /// What only counts in a room that exists and from one who may; `None` where it does not count.
    fn ask(
        &mut self,
        client: Client,
        kind: &str,
        message: &Map<String, Value>,
        at: Clock,
    ) -> Option<Vec<Expected>> {
        let code = room_code(message)?;
        let room = self.rooms.iter_mut().find(|room| room.code == code)?;
        let is_command = matches!(kind, "PLAY" | "PAUSE" | "RESUME" | "SEEK" | "TRACK_CHANGE");
        let may = match self.authz {
            Authz::Member => room.has(client),
            Authz::Host if is_command => room.has(client) && room.is_host(client),
            Authz::Host => room.has(client),
            Authz::Off => true,
        };
        if !may {
            return None;
        }
        match kind {
            "PLAY" => {
                self.checks += 1;
                let check = format!("{HOLE}check:{code}#{}", self.checks);
                room.play(check, message, at)
            }
            "device_health_check_response" => {
                let said = message.get("checkId").and_then(Value::as_str);
                let bound = self.bound.iter().rev().find(|(_, real)| Some(real.as_str()) == said);
                room.ready(client, bound.map(|(hole, _)| hole.as_str()), message, at)
            }
            "PAUSE" => Some(room.pause(at)),
            "RESUME" => room.resume(message, at),
            "SEEK" => room.seek(message, at),
            "TRACK_CHANGE" => room.change_track(message, at),
            "get_playback_state" => Some(vec![Expected { to: client, frame: room.snapshot(at) }]),
            "request_sync" => {
                room.is_playing().then(|| vec![Expected { to: client, frame: room.snapshot(at) }])
            }
            "sync_check" => {
                let position_us = room.position_us(at);
                let said_ms = message.get("clientPosition")?.as_f64()?;
                let is_off = (said_ms - position_us as f64 / 1000.0).abs() > DRIFT_MAX_MS;
                is_off.then(|| vec![Expected { to: client, frame: frames::resync(position_us, at) }])
            }
            _ => None,
        }
    }
}

/// The room that a message names, if its code is a string of 1 to 256 bytes.
fn room_code(message: &Map<String, Value>) -> Option<&str> {
    let code = message.get("roomCode")?.as_str()?;
    (1..=ROOM_CODE_BYTES_MAX).contains(&code.len()).then_some(code)
}
