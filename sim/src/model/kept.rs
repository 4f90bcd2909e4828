//! What is kept of a room for the time after a fault, and the room that is made of it again.
//!
//! Members, a pending handshake and pending PAUSE_STATEs are not kept, nor is a room without a track.

use super::frames::MS;
use super::json;
use super::room::{Room, Track};
use serde_json::Value;

/// A room that was made again and that nobody joins goes after this.
const VACANT_US: i64 = 120_000 * MS;
/// A room that nothing was heard of for longer is paused.
const DOWNTIME_US_MAX: i64 = 24 * 3_600_000 * MS;
/// Durations up to this are seconds, larger ones ms.
const DURATION_SECONDS_MAX: f64 = 36_000.0;
/// A track is over once it has been so for this long.
const OVER_US: i64 = 5_000 * MS;

/// One room, as it was.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptRoom {
    /// Its code.
    pub code: String,
    /// Whose word counts where only the host's does.
    pub host: Option<Value>,
    /// What plays, or is parked.
    pub audio_url: Value,
    /// As it was sent.
    pub duration: Option<Value>,
    /// The master clock's time at position 0, µs, if something started.
    pub start_us: Option<i64>,
    /// Where it is paused, µs.
    pub paused_us: Option<i64>,
}

impl KeptRoom {
    /// A value that was written as JSON text, as the model has values.
    pub fn value(text: &str) -> Option<Value> {
        json::parse(text).ok()
    }

    /// The room after a time in which there was no server, if it was `self` at `then_us` on the master clock of the
    /// process before and it is now `now_us` on that of the next.
    pub fn after(&self, then_us: i64, downtime_us: i64, now_us: i64) -> KeptRoom {
        let paused_at =
            |position_us| KeptRoom { start_us: None, paused_us: Some(position_us), ..self.clone() };
        let (None, Some(start_us)) = (self.paused_us, self.start_us) else {
            return paused_at(self.paused_us.unwrap_or(0).max(0));
        };
        let position_us = then_us - start_us;
        let duration = self.duration.as_ref().and_then(Value::as_f64).filter(|duration| *duration > 0.0);
        let ms = duration.map(|it| if it <= DURATION_SECONDS_MAX { it * 1_000.0 } else { it });
        let end_us = ms.map(|ms| (ms * MS as f64) as i64);
        match end_us {
            _ if downtime_us > DOWNTIME_US_MAX => paused_at(position_us.max(0)),
            Some(end_us) if position_us + downtime_us > end_us + OVER_US => paused_at(end_us),
            _ => KeptRoom { start_us: Some(now_us - position_us - downtime_us), ..self.clone() },
        }
    }
}

impl Room {
    /// What would be kept of it now.
    pub(super) fn kept(&self) -> Option<KeptRoom> {
        let track = self.track.as_ref()?;
        Some(KeptRoom {
            code: self.code.clone(),
            host: self.host.clone(),
            audio_url: track.audio_url.clone(),
            duration: track.duration.clone(),
            start_us: self.start_us,
            paused_us: self.paused_us,
        })
    }

    /// The room again, without members.
    pub(super) fn restored(kept: &KeptRoom, now_us: i64) -> Room {
        let track = Track { audio_url: kept.audio_url.clone(), duration: kept.duration.clone() };
        Room {
            host: kept.host.clone(),
            track: Some(track),
            start_us: kept.start_us,
            paused_us: kept.paused_us,
            vacant_until_us: Some(now_us + VACANT_US),
            ..Room::new(&kept.code)
        }
    }
}
