//! What will follow from an event, as far as it does not depend on the very moment.

use super::Event;
use crate::model::{Client, Clock, Model, is_time};
use serde_json::Value;

/// How far ahead consequences are looked at, µs: past every timer of the protocol.
const AHEAD_US: i64 = 12_000_000;

/// What follows: to whom, without its times, and when.
pub(super) struct Outlook(Vec<(Client, Value, i64)>);

/// What follows from this event at that time, if nothing else happens.
pub(super) fn outlook(model: &Model, event: Event<'_>, at: Clock) -> Outlook {
    let mut model = model.clone();
    let mut all = Vec::new();
    let mut add = |follows: Vec<crate::model::Expected>, at_us| {
        all.extend(follows.into_iter().map(|expected| (expected.to, timeless(expected.frame), at_us)));
    };
    add(model.advance(at), at.master_us);
    add(event(&mut model, at), at.master_us);
    while let Some(due_us) = model.next_deadline_us().filter(|due_us| *due_us < at.master_us + AHEAD_US) {
        let due = Clock { master_us: due_us, unix_us: at.unix_us + due_us - at.master_us };
        add(model.advance(due), due_us);
    }
    Outlook(all)
}

impl Outlook {
    /// The same consequences, at times no further apart than this.
    pub(super) fn is_like(&self, other: &Outlook, apart_us: i64) -> bool {
        let is_like = |one: &(Client, Value, i64), other: &(Client, Value, i64)| {
            one.0 == other.0 && one.1 == other.1 && (one.2 - other.2).abs() <= apart_us
        };
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(|(one, other)| is_like(one, other))
    }
}

fn timeless(mut frame: Value) -> Value {
    if let Some(fields) = frame.as_object_mut() {
        fields.retain(|name, _| !is_time(name));
    }
    frame
}

/// When a frame says that it was made, if it does. `epoch_us` is Unix time less the master clock.
pub(super) fn said_at(frame: &Value, epoch_us: i64) -> Option<Clock> {
    let us = |name: &str| frame[name].as_f64().map(|ms| (ms * 1000.0).round() as i64);
    let is_of_now = match frame["type"].as_str()? {
        "PAUSE" | "PAUSE_STATE" | "RESYNC" => true,
        // The one that catches a device up; a snapshot's lies ahead.
        "PLAY_SYNC" => frame.get("timestamp").is_none(),
        _ => false,
    };
    let master_us = match frame["type"].as_str()? {
        "time_pong" => us("serverTimeMonotonic")?,
        _ if is_of_now => us("masterClockMs")?,
        // A whole number of ms: the middle of it.
        _ => us("timestamp")? + 500 - epoch_us,
    };
    Some(Clock { master_us, unix_us: master_us + epoch_us })
}
