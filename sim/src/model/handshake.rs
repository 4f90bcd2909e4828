//! The readiness handshake: a PLAY asks every device, and the room starts when enough of them are ready, or late.
//!
//! The rows of the page's table are the three leads here.

use super::frames::{DELAY_MS_MAX, MS, frame, ms, timestamp, us, wish, ws_id};
use super::room::{Room, Track};
use super::{Client, Clock, Expected};
use serde_json::{Map, Value};

/// When the handshake is looked at, from its PLAY on.
const CHECK_FIRST_US: i64 = 1_200 * MS;
const CHECK_EVERY_US: i64 = 500 * MS;
const SOFT_US: i64 = 5_500 * MS;
const HARD_US: i64 = 9_000 * MS;
/// All of these are multiples of this.
const STEP_US: i64 = 100 * MS;
/// The same track's PLAY is a double click for this long.
const SAME_PLAY_US: i64 = 1_500 * MS;
/// The delay of a PLAY that names none.
const BASE_MS: f64 = 800.0;
/// What is added to the wished delay, by how ready the room was.
const LEAD_ALL_MS: f64 = 800.0;
const LEAD_ENOUGH_MS: f64 = 600.0;
const LEAD_LATE_MS: f64 = 1_400.0;
/// Rooms up to this size hear of every ready device, larger ones at most this often.
const READY_EACH_MEMBERS_MAX: usize = 64;
const READY_INTERVAL_US: i64 = 250 * MS;

/// A PLAY that waits for its devices.
#[derive(Clone, Debug)]
pub(super) struct Handshake {
    check: String,
    track: Track,
    base_ms: f64,
    rtt_ms: f64,
    began_us: i64,
    checked_us: i64,
    pub(super) ready: Vec<Client>,
}

impl Room {
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
        let base_ms = wish(message, "startDelayMs", DELAY_MS_MAX)?.unwrap_or(BASE_MS);
        let rtt_ms = wish(message, "rttMs", DELAY_MS_MAX)?.unwrap_or(0.0);
        let is_playing_it =
            self.is_playing() && self.track.as_ref().is_some_and(|track| track.audio_url == *url);
        let is_double_click = self.handshake.as_ref().is_some_and(|handshake| {
            handshake.track.audio_url == *url && at.master_us - handshake.began_us < SAME_PLAY_US
        });
        if is_playing_it || is_double_click {
            return None;
        }
        let track = Track { audio_url: url.clone(), duration: duration.cloned() };
        let prepare = frame(
            "PREPARE_TRACK",
            [
                ("audioUrl", Some(track.audio_url.clone())),
                ("duration", track.duration.clone()),
                ("checkId", Some(check.clone().into())),
                ("timestamp", Some(timestamp(at))),
            ],
        );
        let ask = frame(
            "device_health_check",
            [("checkId", Some(check.clone().into())), ("timestamp", Some(timestamp(at)))],
        );
        self.handshake = Some(Handshake {
            check,
            track,
            base_ms,
            rtt_ms,
            began_us: at.master_us,
            checked_us: at.master_us,
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
                // Open: whether a base of 0 is a base. Here it is none, for the timers it is one.
                if handshake.base_ms == 0.0 {
                    handshake.base_ms = BASE_MS;
                }
                out.extend(self.start(LEAD_ALL_MS, rtt_ms, at));
            }
        }
        out.extend(self.tell_ready(client, at));
        if self.handshake.is_none()
            && self.is_playing()
            && let Some(track) = &self.track
        {
            let catch_up = frame(
                "PLAY_SYNC",
                [
                    ("audioUrl", Some(track.audio_url.clone())),
                    ("duration", track.duration.clone()),
                    ("playbackPosition", Some(ms(self.position_us(at)))),
                    ("masterClockMs", Some(ms(at.master_us))),
                    ("masterClockLatencyMs", Some(0.into())),
                ],
            );
            out.push(Expected { to: client, frame: catch_up });
        }
        Some(out)
    }

    fn tell_ready(&mut self, client: Client, at: Clock) -> Vec<Expected> {
        let is_soon = self.told_ready_us.is_some_and(|told_us| at.master_us - told_us < READY_INTERVAL_US);
        if is_soon && self.members.len() > READY_EACH_MEMBERS_MAX {
            return Vec::new();
        }
        self.told_ready_us = Some(at.master_us);
        let ready =
            frame("device_ready", [("wsId", Some(ws_id(client))), ("timestamp", Some(timestamp(at)))]);
        self.to_others(client, &ready)
    }

    /// The handshake is over: everyone plays.
    fn start(&mut self, lead_ms: f64, rtt_ms: f64, at: Clock) -> Vec<Expected> {
        let handshake = self.handshake.take().expect("only a handshake starts");
        let delay_ms = handshake.base_ms + lead_ms;
        let start_us = at.master_us + us(delay_ms);
        let play = frame(
            "PLAY",
            [
                ("audioUrl", Some(handshake.track.audio_url.clone())),
                ("duration", handshake.track.duration.clone()),
                ("masterClockMs", Some(ms(start_us))),
                ("masterClockLatencyMs", Some((rtt_ms / 2.0).into())),
                ("startDelayMs", Some(delay_ms.into())),
                ("timestamp", Some(timestamp(at))),
            ],
        );
        self.track = Some(handshake.track);
        self.start_us = Some(start_us);
        self.paused_us = None;
        self.pause_states.clear();
        self.to_all(&play)
    }

    /// Looks who is ready at `due_us`, when that was due.
    pub(super) fn check_handshake(&mut self, due_us: i64, at: Clock) -> Vec<Expected> {
        let members = self.members.len();
        let Some(handshake) = &mut self.handshake else { return Vec::new() };
        handshake.checked_us = due_us;
        let ready = handshake.ready.len();
        let rtt_ms = handshake.rtt_ms;
        let age_us = due_us - handshake.began_us;
        let is_enough = if members <= 2 { ready == members } else { ready * 100 >= members * 66 };
        if is_enough && is_round(age_us, CHECK_FIRST_US) {
            self.start(LEAD_ENOUGH_MS, rtt_ms, at)
        } else if age_us >= HARD_US || age_us >= SOFT_US && ready > 0 {
            self.start(LEAD_LATE_MS, rtt_ms, at)
        } else {
            Vec::new()
        }
    }
}

impl Handshake {
    /// Open: how soon a device is noticed that is the first to be ready after 5.5 s. Here it is looked for at 5.5 s, then
    /// every 0.5 s, and at the checks from 1.2 s on.
    pub(super) fn next_deadline_us(&self) -> i64 {
        let is_due = |age_us: &i64| {
            is_round(*age_us, CHECK_FIRST_US) || is_round(*age_us, SOFT_US) || *age_us == HARD_US
        };
        let ages_us = (0..=HARD_US).step_by(STEP_US as usize);
        let next_us = ages_us.filter(is_due).find(|age_us| self.began_us + age_us > self.checked_us);
        self.began_us + next_us.unwrap_or(HARD_US)
    }
}

/// It is `first_us` after the PLAY, or a number of rounds later.
fn is_round(age_us: i64, first_us: i64) -> bool {
    age_us >= first_us && (age_us - first_us) % CHECK_EVERY_US == 0
}
