//! One room: its members, its track and clock, the readiness handshake, the PAUSE_STATE that follows a PAUSE.
//!
//! Each method says in one place what the protocol's page says in one place. Time in µs; a wish of a client that
//! is no whole number of µs is rounded.

use super::{Client, Clock, Expected, HOLE};
use serde_json::{Map, Value};

const MS: i64 = 1_000;
const DELAY_MS_MAX: f64 = 10_000.0;
const POSITION_MS_MAX: f64 = 86_400_000.0;

/// When the handshake is looked at, from its PLAY on.
const CHECK_FIRST_US: i64 = 1_200 * MS;
const CHECK_EVERY_US: i64 = 500 * MS;
const SOFT_US: i64 = 5_500 * MS;
const HARD_US: i64 = 9_000 * MS;
/// The same track's PLAY is a double click for this long.
const SAME_PLAY_US: i64 = 1_500 * MS;
/// What is added to the wished delay, by how ready the room was.
const LEAD_ALL_MS: f64 = 800.0;
const LEAD_ENOUGH_MS: f64 = 600.0;
const LEAD_LATE_MS: f64 = 1_400.0;

const PAUSE_STATE_AFTER_US: i64 = 300 * MS;
const SEEK_DELAY_MS: f64 = 300.0;
const SNAPSHOT_LEAD_US: i64 = 700 * MS;
/// Rooms up to this size hear of every ready device, larger ones at most this often.
const READY_EACH_MEMBERS_MAX: usize = 64;
const READY_INTERVAL_US: i64 = 250 * MS;

/// A connection in a room.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) client: Client,
    pub(super) user_id: Option<Value>,
}

#[derive(Clone, Debug)]
struct Track {
    audio_url: Option<Value>,
    duration: Option<Value>,
}

#[derive(Clone, Debug)]
struct Handshake {
    check: String,
    track: Track,
    base_ms: f64,
    rtt_ms: f64,
    began_us: i64,
    next_check_us: i64,
    is_soft_over: bool,
    ready: Vec<Client>,
}

/// A room. It exists while it has members.
#[derive(Clone, Debug)]
pub(super) struct Room {
    pub(super) code: String,
    pub(super) members: Vec<Member>,
    host: Option<Value>,
    track: Option<Track>,
    /// The master clock's time at position 0, once something started.
    start_us: Option<i64>,
    paused_us: Option<i64>,
    handshake: Option<Handshake>,
    /// When each PAUSE_STATE is due.
    pause_states: Vec<i64>,
    told_ready_us: Option<i64>,
}

impl Room {
    pub(super) fn new(code: &str) -> Room {
        Room {
            code: code.to_owned(),
            members: Vec::new(),
            host: None,
            track: None,
            start_us: None,
            paused_us: None,
            handshake: None,
            pause_states: Vec::new(),
            told_ready_us: None,
        }
    }

    pub(super) fn has(&self, client: Client) -> bool {
        self.members.iter().any(|member| member.client == client)
    }

    pub(super) fn is_host(&self, client: Client) -> bool {
        self.members.iter().any(|member| member.client == client && is_same(&member.user_id, &self.host))
    }

    pub(super) fn has_track(&self) -> bool {
        self.track.is_some()
    }

    pub(super) fn is_playing(&self) -> bool {
        self.start_us.is_some() && self.paused_us.is_none()
    }

    pub(super) fn timers(&self) -> usize {
        usize::from(self.handshake.is_some()) + self.pause_states.len()
    }

    pub(super) fn position_us(&self, at: Clock) -> i64 {
        match (self.paused_us, self.start_us) {
            (Some(paused_us), _) => paused_us,
            (None, Some(start_us)) => at.master_us - start_us,
            (None, None) => 0,
        }
    }

    pub(super) fn join(&mut self, member: Member, host: Option<Value>, at: Clock) -> Vec<Expected> {
        let client = member.client;
        self.host = host;
        let is_new = !self.has(client);
        self.members.retain(|it| it.client != client);
        self.members.push(member.clone());
        let joined = frame("joined", [
            ("roomCode", Some(self.code.clone().into())),
            ("wsId", Some(ws_id(client))),
            ("hostUserId", self.host.clone()),
            ("isHost", Some(is_same(&member.user_id, &self.host).into())),
            ("timestamp", Some(timestamp(at))),
        ]);
        let mut out =
            vec![Expected { to: client, frame: joined }, Expected { to: client, frame: self.snapshot(at) }];
        if is_new {
            let user_joined = frame("user_joined", [
                ("userId", member.user_id),
                ("wsId", Some(ws_id(client))),
                ("totalClients", Some(self.members.len().into())),
                ("timestamp", Some(timestamp(at))),
            ]);
            out.extend(self.to_others(client, &user_joined));
        }
        out
    }

    pub(super) fn leave(&mut self, client: Client) -> Vec<Expected> {
        let Some(gone) = self.members.iter().position(|member| member.client == client) else {
            return Vec::new();
        };
        let gone = self.members.remove(gone);
        if let Some(handshake) = &mut self.handshake {
            handshake.ready.retain(|ready| *ready != client);
        }
        let user_left = frame("user_left", [
            ("userId", gone.user_id),
            ("wsId", Some(ws_id(client))),
            ("totalClients", Some(self.members.len().into())),
        ]);
        self.to_all(&user_left)
    }

    pub(super) fn snapshot(&self, at: Clock) -> Value {
        let Some(track) = &self.track else {
            return frame("playback_state", [
                ("currentTrack", Some(Value::Null)),
                ("isPlaying", Some(false.into())),
                ("playbackPosition", Some(0.into())),
                ("duration", Some(Value::Null)),
                ("serverNow", Some(timestamp(at))),
                ("timestamp", Some(timestamp(at))),
            ]);
        };
        if self.is_playing() {
            frame("PLAY_SYNC", [
                ("audioUrl", track.audio_url.clone()),
                ("duration", track.duration.clone()),
                ("playbackPosition", Some(ms(self.position_us(at) + SNAPSHOT_LEAD_US))),
                ("masterClockMs", Some(ms(at.master_us + SNAPSHOT_LEAD_US))),
                ("masterClockLatencyMs", Some(0.into())),
                ("isPlaying", Some(true.into())),
                ("timestamp", Some(timestamp(at))),
            ])
        } else {
            frame("PAUSE_STATE", [
                ("audioUrl", track.audio_url.clone()),
                ("duration", track.duration.clone()),
                ("pausedPositionMs", Some(ms(self.position_us(at)))),
                ("isPlaying", Some(false.into())),
                ("masterClockMs", Some(ms(at.master_us))),
                ("startedAtServer", Some(self.start_us.map_or(Value::Null, ms))),
                ("timestamp", Some(timestamp(at))),
            ])
        }
    }

    /// `PLAY` of a client: asks who is ready.
    pub(super) fn play(
        &mut self,
        check: String,
        message: &Map<String, Value>,
        at: Clock,
    ) -> Option<Vec<Expected>> {
        let url = message.get("audioUrl").filter(|url| url.is_string())?;
        let duration = message.get("duration");
        if !duration.is_none_or(|duration| duration.is_number() || duration.is_null()) {
            return None;
        }
        let base_ms = wish(message, "startDelayMs", DELAY_MS_MAX)?.unwrap_or(800.0);
        let rtt_ms = wish(message, "rttMs", DELAY_MS_MAX)?.unwrap_or(0.0);
        let is_playing_it =
            self.is_playing() && self.track.as_ref().is_some_and(|track| track.audio_url.as_ref() == Some(url));
        let is_double_click = self.handshake.as_ref().is_some_and(|handshake| {
            handshake.track.audio_url.as_ref() == Some(url) && at.master_us - handshake.began_us < SAME_PLAY_US
        });
        if is_playing_it || is_double_click {
            return None;
        }
        let track = Track { audio_url: Some(url.clone()), duration: duration.cloned() };
        let prepare = frame("PREPARE_TRACK", [
            ("audioUrl", track.audio_url.clone()),
            ("duration", track.duration.clone()),
            ("checkId", Some(check.clone().into())),
            ("timestamp", Some(timestamp(at))),
        ]);
        let ask = frame("device_health_check", [
            ("checkId", Some(check.clone().into())),
            ("timestamp", Some(timestamp(at))),
        ]);
        self.handshake = Some(Handshake {
            check,
            track,
            base_ms,
            rtt_ms,
            began_us: at.master_us,
            next_check_us: at.master_us + CHECK_FIRST_US,
            is_soft_over: false,
            ready: Vec::new(),
        });
        let mut out = self.to_all(&prepare);
        out.extend(self.to_all(&ask));
        Some(out)
    }

    /// `device_health_check_response` of a client; `check` is the hole of the check that it names.
    pub(super) fn ready(
        &mut self,
        client: Client,
        check: Option<&str>,
        message: &Map<String, Value>,
        at: Clock,
    ) -> Option<Vec<Expected>> {
        let is_set = |flag: &str| message.get(flag) == Some(&Value::Bool(true));
        if !is_set("audioLoaded") || !is_set("deviceReady") || !self.has(client) {
            return None;
        }
        let rtt_ms = wish(message, "rttMs", DELAY_MS_MAX)?.unwrap_or(0.0);
        let mut out = Vec::new();
        if let Some(handshake) = &mut self.handshake
            && Some(handshake.check.as_str()) == check
        {
            if !handshake.ready.contains(&client) {
                handshake.ready.push(client);
            }
            if handshake.ready.len() == self.members.len() {
                out.extend(self.start(LEAD_ALL_MS, rtt_ms, at));
            }
        }
        out.extend(self.tell_ready(client, at));
        if self.handshake.is_none()
            && let Some(track) = &self.track
        {
            let catch_up = frame("PLAY_SYNC", [
                ("audioUrl", track.audio_url.clone()),
                ("duration", track.duration.clone()),
                ("playbackPosition", Some(ms(self.position_us(at)))),
                ("masterClockMs", Some(ms(at.master_us))),
                ("masterClockLatencyMs", Some(0.into())),
            ]);
            out.push(Expected { to: client, frame: catch_up });
        }
        Some(out)
    }

    fn tell_ready(&mut self, client: Client, at: Clock) -> Vec<Expected> {
        if self.members.len() > READY_EACH_MEMBERS_MAX {
            if self.told_ready_us.is_some_and(|told_us| at.master_us - told_us < READY_INTERVAL_US) {
                return Vec::new();
            }
            self.told_ready_us = Some(at.master_us);
        }
        let ready =
            frame("device_ready", [("wsId", Some(ws_id(client))), ("timestamp", Some(timestamp(at)))]);
        self.to_others(client, &ready)
    }

    /// The handshake is over: everyone plays.
    fn start(&mut self, lead_ms: f64, rtt_ms: f64, at: Clock) -> Vec<Expected> {
        let handshake = self.handshake.take().expect("only a handshake starts");
        let delay_ms = handshake.base_ms + lead_ms;
        let start_us = at.master_us + us(delay_ms);
        let play = frame("PLAY", [
            ("audioUrl", handshake.track.audio_url.clone()),
            ("duration", handshake.track.duration.clone()),
            ("masterClockMs", Some(ms(start_us))),
            ("masterClockLatencyMs", Some((rtt_ms / 2.0).into())),
            ("startDelayMs", Some(delay_ms.into())),
            ("timestamp", Some(timestamp(at))),
        ]);
        self.track = Some(handshake.track);
        self.start_us = Some(start_us);
        self.paused_us = None;
        self.pause_states.clear();
        self.to_all(&play)
    }

    pub(super) fn pause(&mut self, at: Clock) -> Vec<Expected> {
        let position_us = self.position_us(at);
        self.paused_us = Some(position_us);
        self.handshake = None;
        self.pause_states.push(at.master_us + PAUSE_STATE_AFTER_US);
        self.to_all(&frame("PAUSE", [
            ("pausedAtMs", Some(ms(position_us))),
            ("masterClockMs", Some(ms(at.master_us))),
            ("timestamp", Some(timestamp(at))),
        ]))
    }

    pub(super) fn resume(&mut self, message: &Map<String, Value>, at: Clock) -> Option<Vec<Expected>> {
        let delay_ms = wish(message, "startDelayMs", DELAY_MS_MAX)?.unwrap_or(400.0);
        let position_us = self.position_us(at);
        let resumes_us = at.master_us + us(delay_ms);
        self.start_us = Some(resumes_us - position_us);
        self.paused_us = None;
        self.pause_states.clear();
        Some(self.to_all(&frame("RESUME", [
            ("masterClockMs", Some(ms(resumes_us))),
            ("resumeDelayMs", Some(delay_ms.into())),
            ("playbackPositionMs", Some(ms(position_us))),
            ("timestamp", Some(timestamp(at))),
        ])))
    }

    pub(super) fn seek(&mut self, message: &Map<String, Value>, at: Clock) -> Option<Vec<Expected>> {
        let position_ms = wish(message, "seekPositionMs", POSITION_MS_MAX)?.unwrap_or(0.0);
        let moves_us = at.master_us + us(SEEK_DELAY_MS);
        if self.paused_us.is_some() {
            self.paused_us = Some(us(position_ms));
        } else {
            self.start_us = Some(moves_us - us(position_ms));
        }
        Some(self.to_all(&frame("SEEK", [
            ("seekPositionMs", Some(position_ms.into())),
            ("masterClockMs", Some(ms(moves_us))),
            ("seekDelayMs", Some(SEEK_DELAY_MS.into())),
            ("timestamp", Some(timestamp(at))),
        ])))
    }

    pub(super) fn change_track(&mut self, message: &Map<String, Value>, at: Clock) -> Option<Vec<Expected>> {
        let track = message.get("trackData")?.as_object()?;
        self.track =
            Some(Track { audio_url: track.get("audioUrl").cloned(), duration: track.get("duration").cloned() });
        self.start_us = None;
        self.paused_us = Some(0);
        self.handshake = None;
        self.pause_states.clear();
        Some(self.to_all(&frame("TRACK_CHANGE", [
            ("trackData", Some(track.clone().into())),
            ("timestamp", Some(timestamp(at))),
        ])))
    }

    pub(super) fn next_deadline_us(&self) -> Option<i64> {
        let handshake = self.handshake.as_ref().map(Handshake::next_deadline_us);
        handshake.into_iter().chain(self.pause_states.iter().copied()).min()
    }

    /// What is due at `due_us`, which is the room's next deadline, carried out at `at`.
    pub(super) fn fire(&mut self, due_us: i64, at: Clock) -> Vec<Expected> {
        if let Some(due) = self.pause_states.iter().position(|it| *it == due_us) {
            self.pause_states.remove(due);
            return self.to_all(&frame("PAUSE_STATE", [
                ("audioUrl", self.track.as_ref().map_or(Some(Value::Null), |track| track.audio_url.clone())),
                ("duration", self.track.as_ref().map_or(Some(Value::Null), |track| track.duration.clone())),
                ("pausedPositionMs", Some(ms(self.position_us(at)))),
                ("isPlaying", Some(false.into())),
                ("masterClockMs", Some(ms(at.master_us))),
                ("timestamp", Some(timestamp(at))),
            ]));
        }
        let members = self.members.len();
        let Some(handshake) = &mut self.handshake else { return Vec::new() };
        let ready = handshake.ready.len();
        let rtt_ms = handshake.rtt_ms;
        let is_late = due_us >= handshake.began_us + SOFT_US;
        let is_over = due_us >= handshake.began_us + HARD_US;
        let is_check = due_us == handshake.next_check_us;
        if is_check {
            handshake.next_check_us += CHECK_EVERY_US;
        }
        if is_late {
            handshake.is_soft_over = true;
        }
        let is_enough = if members <= 2 { ready == members } else { ready * 100 >= members * 66 };
        if is_check && is_enough {
            self.start(LEAD_ENOUGH_MS, rtt_ms, at)
        } else if is_over || is_late && ready > 0 {
            self.start(LEAD_LATE_MS, rtt_ms, at)
        } else {
            Vec::new()
        }
    }

    fn to_all(&self, frame: &Value) -> Vec<Expected> {
        self.members.iter().map(|member| Expected { to: member.client, frame: frame.clone() }).collect()
    }

    fn to_others(&self, client: Client, frame: &Value) -> Vec<Expected> {
        self.to_all(frame).into_iter().filter(|expected| expected.to != client).collect()
    }
}

impl Handshake {
    fn next_deadline_us(&self) -> i64 {
        let hard_us = self.began_us + HARD_US;
        let soft_us = if self.is_soft_over { hard_us } else { self.began_us + SOFT_US };
        self.next_check_us.min(soft_us).min(hard_us)
    }
}

/// A frame: its type and those fields that there are.
pub(super) fn frame<const N: usize>(kind: &str, fields: [(&str, Option<Value>); N]) -> Value {
    let mut frame = Map::new();
    frame.insert("type".to_owned(), kind.into());
    for (name, value) in fields {
        if let Some(value) = value {
            frame.insert(name.to_owned(), value);
        }
    }
    Value::Object(frame)
}

pub(super) fn resync(position_us: i64, at: Clock) -> Value {
    frame("RESYNC", [
        ("correctPositionMs", Some(ms(position_us))),
        ("masterClockMs", Some(ms(at.master_us))),
        ("timestamp", Some(timestamp(at))),
    ])
}

/// µs as the wire has them: ms with a fraction.
pub(super) fn ms(us: i64) -> Value {
    (us as f64 / 1000.0).into()
}

fn us(ms: f64) -> i64 {
    (ms * 1000.0).round() as i64
}

fn timestamp(at: Clock) -> Value {
    (at.unix_us / 1000).into()
}

fn ws_id(client: Client) -> Value {
    format!("{HOLE}wsId:{client}").into()
}

/// A number that a client may name: `None` if it is something else, `Some(None)` if it is absent or null.
fn wish(message: &Map<String, Value>, name: &str, max: f64) -> Option<Option<f64>> {
    match message.get(name) {
        None | Some(Value::Null) => Some(None),
        Some(Value::Number(number)) => Some(number.as_f64().map(|number| number.clamp(0.0, max))),
        Some(_) => None,
    }
}

/// JavaScript's `===` of two values that were parsed apart.
fn is_same(one: &Option<Value>, other: &Option<Value>) -> bool {
    match (one, other) {
        (Some(Value::Number(one)), Some(Value::Number(other))) => one.as_f64() == other.as_f64(),
        (Some(Value::Array(_) | Value::Object(_)), _) => false,
        _ => one == other,
    }
}
