//! One room: its members, its track and clock, the commands that move it, the PAUSE_STATE that follows a PAUSE.
//!
//! Each method says in one place what the protocol's page says in one place. Time in µs; a wish of a client that
//! is no whole number of µs is rounded. Where the page leaves something open, a comment begins with "Open:" and says
//! which reading is taken.

use super::frames::{DELAY_MS_MAX, MS, POSITION_MS_MAX, frame, ms, timestamp, us, wish, ws_id};
use super::handshake::Handshake;
use super::{Client, Clock, Expected};
use serde_json::{Map, Value};

const PAUSE_STATE_AFTER_US: i64 = 300 * MS;
/// With the handshake's, a room has three timers.
const PAUSE_STATES_MAX: usize = 2;
const RESUME_DELAY_MS: f64 = 400.0;
const SEEK_DELAY_MS: f64 = 300.0;
const SNAPSHOT_LEAD_US: i64 = 700 * MS;

/// A connection in a room.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) client: Client,
    pub(super) user_id: Option<Value>,
}

/// What plays, or is parked.
#[derive(Clone, Debug)]
pub(super) struct Track {
    pub(super) audio_url: Value,
    pub(super) duration: Option<Value>,
}

/// A room. It exists while it has members, or for a while after it was restored.
#[derive(Clone, Debug)]
pub(super) struct Room {
    pub(super) code: String,
    pub(super) members: Vec<Member>,
    pub(super) host: Option<Value>,
    pub(super) track: Option<Track>,
    /// The master clock's time at position 0, once something started.
    pub(super) start_us: Option<i64>,
    pub(super) paused_us: Option<i64>,
    pub(super) handshake: Option<Handshake>,
    /// When each PAUSE_STATE is due.
    pub(super) pause_states: Vec<i64>,
    pub(super) told_ready_us: Option<i64>,
    /// When it goes if nobody joins; only of one that was restored and that nobody has joined.
    pub(super) vacant_until_us: Option<i64>,
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
            vacant_until_us: None,
        }
    }

    pub(super) fn has(&self, client: Client) -> bool {
        self.members.iter().any(|member| member.client == client)
    }

    pub(super) fn is_host(&self, client: Client) -> bool {
        self.members.iter().any(|member| member.client == client && member.user_id == self.host)
    }

    /// Open: what "a track is active" means. A transcript has a paused room answer request_sync with nothing, so it
    /// means that it plays; and without a track nothing does, whatever was resumed.
    pub(super) fn is_playing(&self) -> bool {
        self.track.is_some() && self.paused_us.is_none()
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
        let is_new = self.add(member.clone());
        let joined = frame(
            "joined",
            [
                ("roomCode", Some(self.code.clone().into())),
                ("wsId", Some(ws_id(client))),
                ("hostUserId", self.host.clone()),
                ("isHost", Some((member.user_id == self.host).into())),
                ("timestamp", Some(timestamp(at))),
            ],
        );
        let mut out =
            vec![Expected { to: client, frame: joined }, Expected { to: client, frame: self.snapshot(at) }];
        if is_new {
            let user_joined = frame(
                "user_joined",
                [
                    ("userId", member.user_id),
                    ("wsId", Some(ws_id(client))),
                    ("totalClients", Some(self.members.len().into())),
                    ("timestamp", Some(timestamp(at))),
                ],
            );
            out.extend(self.to_others(client, &user_joined));
        }
        out
    }

    /// A member whose place was lost with the room's home: nobody is told, it hears where the room is, and its word on
    /// the host is no news.
    pub(super) fn come_back(&mut self, member: Member, host: Option<Value>, at: Clock) -> Vec<Expected> {
        let client = member.client;
        self.host = self.host.take().or(host);
        self.add(member);
        vec![Expected { to: client, frame: self.snapshot(at) }]
    }

    /// True if it was no member before.
    fn add(&mut self, member: Member) -> bool {
        let is_new = !self.has(member.client);
        self.members.retain(|it| it.client != member.client);
        self.members.push(member);
        self.vacant_until_us = None;
        is_new
    }

    pub(super) fn leave(&mut self, client: Client) -> Vec<Expected> {
        let Some(gone) = self.members.iter().position(|member| member.client == client) else {
            return Vec::new();
        };
        let gone = self.members.remove(gone);
        if let Some(handshake) = &mut self.handshake {
            handshake.ready.retain(|ready| *ready != client);
        }
        let user_left = frame(
            "user_left",
            [
                ("userId", gone.user_id),
                ("wsId", Some(ws_id(client))),
                ("totalClients", Some(self.members.len().into())),
            ],
        );
        self.to_all(&user_left)
    }

    pub(super) fn snapshot(&self, at: Clock) -> Value {
        let Some(track) = &self.track else {
            return frame(
                "playback_state",
                [
                    ("currentTrack", Some(Value::Null)),
                    ("isPlaying", Some(false.into())),
                    ("playbackPosition", Some(0.into())),
                    ("duration", Some(Value::Null)),
                    ("serverNow", Some(timestamp(at))),
                    ("timestamp", Some(timestamp(at))),
                ],
            );
        };
        if self.is_playing() {
            frame(
                "PLAY_SYNC",
                [
                    ("audioUrl", Some(track.audio_url.clone())),
                    ("duration", track.duration.clone()),
                    ("playbackPosition", Some(ms(self.position_us(at) + SNAPSHOT_LEAD_US))),
                    ("masterClockMs", Some(ms(at.master_us + SNAPSHOT_LEAD_US))),
                    ("masterClockLatencyMs", Some(0.into())),
                    ("isPlaying", Some(true.into())),
                    ("timestamp", Some(timestamp(at))),
                ],
            )
        } else {
            frame(
                "PAUSE_STATE",
                [
                    ("audioUrl", Some(track.audio_url.clone())),
                    ("duration", track.duration.clone()),
                    ("pausedPositionMs", Some(ms(self.position_us(at)))),
                    ("isPlaying", Some(false.into())),
                    ("masterClockMs", Some(ms(at.master_us))),
                    ("startedAtServer", Some(self.start_us.map_or(Value::Null, ms))),
                    ("timestamp", Some(timestamp(at))),
                ],
            )
        }
    }

    pub(super) fn pause(&mut self, at: Clock) -> Vec<Expected> {
        let position_us = self.position_us(at);
        self.paused_us = Some(position_us);
        self.handshake = None;
        if self.pause_states.len() < PAUSE_STATES_MAX {
            self.pause_states.push(at.master_us + PAUSE_STATE_AFTER_US);
        }
        self.to_all(&frame(
            "PAUSE",
            [
                ("pausedAtMs", Some(ms(position_us))),
                ("masterClockMs", Some(ms(at.master_us))),
                ("timestamp", Some(timestamp(at))),
            ],
        ))
    }

    pub(super) fn resume(&mut self, message: &Map<String, Value>, at: Clock) -> Option<Vec<Expected>> {
        // Open: whether a delay of 0 is a delay. Here it is none.
        let delay_ms = wish(message, "startDelayMs", DELAY_MS_MAX)?.filter(|delay_ms| *delay_ms != 0.0);
        let delay_ms = delay_ms.unwrap_or(RESUME_DELAY_MS);
        let position_us = self.position_us(at);
        let resumes_us = at.master_us + us(delay_ms);
        self.start_us = Some(resumes_us - position_us);
        self.paused_us = None;
        self.pause_states.clear();
        Some(self.to_all(&frame(
            "RESUME",
            [
                ("masterClockMs", Some(ms(resumes_us))),
                ("resumeDelayMs", Some(delay_ms.into())),
                ("playbackPositionMs", Some(ms(position_us))),
                ("timestamp", Some(timestamp(at))),
            ],
        )))
    }

    pub(super) fn seek(&mut self, message: &Map<String, Value>, at: Clock) -> Option<Vec<Expected>> {
        let position_ms = wish(message, "seekPositionMs", POSITION_MS_MAX)?.unwrap_or(0.0);
        let moves_us = at.master_us + us(SEEK_DELAY_MS);
        // Open: whether a SEEK is a move that drops the PAUSE_STATE. Here it is.
        self.pause_states.clear();
        if self.paused_us.is_some() {
            self.paused_us = Some(us(position_ms));
        } else {
            self.start_us = Some(moves_us - us(position_ms));
        }
        Some(self.to_all(&frame(
            "SEEK",
            [
                ("seekPositionMs", Some(position_ms.into())),
                ("masterClockMs", Some(ms(moves_us))),
                ("seekDelayMs", Some(SEEK_DELAY_MS.into())),
                ("timestamp", Some(timestamp(at))),
            ],
        )))
    }

    pub(super) fn change_track(&mut self, message: &Map<String, Value>, at: Clock) -> Option<Vec<Expected>> {
        let track = message.get("trackData")?.as_object()?;
        self.handshake = None;
        self.pause_states.clear();
        // Open: what is parked if no address, or no duration, is among the data. Without an address, nothing new is;
        // what is no duration is null.
        if let Some(audio_url) =
            track.get("audioUrl").filter(|url| url.as_str().is_some_and(|url| !url.is_empty()))
        {
            let duration =
                track.get("duration").filter(|duration| duration.as_f64().is_some_and(|it| it != 0.0));
            let duration = Some(duration.cloned().unwrap_or_default());
            self.track = Some(Track { audio_url: audio_url.clone(), duration });
            self.start_us = None;
            self.paused_us = Some(0);
        }
        Some(self.to_all(&frame(
            "TRACK_CHANGE",
            [("trackData", Some(track.clone().into())), ("timestamp", Some(timestamp(at)))],
        )))
    }

    pub(super) fn next_deadline_us(&self) -> Option<i64> {
        let handshake = self.handshake.as_ref().map(Handshake::next_deadline_us);
        handshake.into_iter().chain(self.pause_states.iter().copied()).chain(self.vacant_until_us).min()
    }

    /// What is due at `due_us`, which is the room's next deadline, carried out at `at`.
    pub(super) fn fire(&mut self, due_us: i64, at: Clock) -> Vec<Expected> {
        if let Some(due) = self.pause_states.iter().position(|it| *it == due_us) {
            self.pause_states.remove(due);
            return self.to_all(&frame(
                "PAUSE_STATE",
                [
                    (
                        "audioUrl",
                        Some(self.track.as_ref().map_or(Value::Null, |track| track.audio_url.clone())),
                    ),
                    (
                        "duration",
                        self.track.as_ref().map_or(Some(Value::Null), |track| track.duration.clone()),
                    ),
                    ("pausedPositionMs", Some(ms(self.position_us(at)))),
                    ("isPlaying", Some(false.into())),
                    ("masterClockMs", Some(ms(at.master_us))),
                    ("timestamp", Some(timestamp(at))),
                ],
            ));
        }
        self.check_handshake(due_us, at)
    }

    pub(super) fn to_all(&self, frame: &Value) -> Vec<Expected> {
        self.members.iter().map(|member| Expected { to: member.client, frame: frame.clone() }).collect()
    }

    pub(super) fn to_others(&self, client: Client, frame: &Value) -> Vec<Expected> {
        self.to_all(frame).into_iter().filter(|expected| expected.to != client).collect()
    }
}
