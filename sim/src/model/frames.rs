//! Frames as JSON values, and numbers between µs and the wire's ms.

use super::{Client, Clock, HOLE};
use serde_json::{Map, Value};

/// µs in a millisecond.
pub(super) const MS: i64 = 1_000;
/// Delays and round trips that a client names lie in 0 to this.
pub(super) const DELAY_MS_MAX: f64 = 10_000.0;
/// And positions, a day.
pub(super) const POSITION_MS_MAX: f64 = 86_400_000.0;

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
    frame(
        "RESYNC",
        [
            ("correctPositionMs", Some(ms(position_us))),
            ("masterClockMs", Some(ms(at.master_us))),
            ("timestamp", Some(timestamp(at))),
        ],
    )
}

/// µs as the wire has them: ms with a fraction.
pub(super) fn ms(us: i64) -> Value {
    (us as f64 / 1000.0).into()
}

pub(super) fn us(ms: f64) -> i64 {
    (ms * 1000.0).round() as i64
}

pub(super) fn timestamp(at: Clock) -> Value {
    (at.unix_us / 1000).into()
}

pub(super) fn ws_id(client: Client) -> Value {
    format!("{HOLE}wsId:{client}").into()
}

/// A number that a client may name: `None` if it is something else, `Some(None)` if it is absent or null.
pub(super) fn wish(message: &Map<String, Value>, name: &str, max: f64) -> Option<Option<f64>> {
    match message.get(name) {
        None | Some(Value::Null) => Some(None),
        Some(Value::Number(number)) => Some(number.as_f64().map(|number| number.clamp(0.0, max))),
        Some(_) => None,
    }
}
