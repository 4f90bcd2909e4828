//! Compares a frame that came with the one that the model expects, and learns the names that the model left open.
//!
//! The fields must be the same, none missing, none added; their order does not count. Exact, but for times, which
//! may differ by the tolerance. A `wsId` has the form that the protocol promises, and two clients never share one.

use super::Client;
use super::frames::ws_id;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// What a hole begins with. Only `wsId` and `checkId` have them.
pub const HOLE: char = '\u{1}';

/// The fields that say a time or a position, ms.
const TIMES: [&str; 13] = [
    "masterClockMs",
    "masterClock",
    "serverTimeMonotonic",
    "startedAtServer",
    "timestamp",
    "serverNow",
    "serverTimeUnix",
    "timeOffset",
    "playbackPosition",
    "pausedPositionMs",
    "pausedAtMs",
    "playbackPositionMs",
    "correctPositionMs",
];
const WS_ID_CHARS_MIN: usize = 7;

/// What holes turned out to be, and how exact times must be.
#[derive(Clone, Debug)]
pub struct Matcher {
    time_tolerance_ms: f64,
    bound: Vec<(String, String)>,
    /// Holes whose names may be another's as well.
    gone: BTreeSet<String>,
    /// Bound since the last [`Matcher::take_bound_checks`].
    fresh_checks: Vec<(String, String)>,
}

impl Matcher {
    /// Nothing is bound. Times may differ by as many ms: 0 where both sides are told the same time.
    pub fn new(time_tolerance_ms: f64) -> Matcher {
        Matcher { time_tolerance_ms, bound: Vec::new(), gone: BTreeSet::new(), fresh_checks: Vec::new() }
    }

    /// Compares; the error says what differs.
    pub fn matches(&mut self, expected: &Value, actual: &str) -> Result<(), String> {
        let actual: Value = serde_json::from_str(actual).map_err(|error| format!("{error} in {actual}"))?;
        let (Some(expected), Some(actual)) = (expected.as_object(), actual.as_object()) else {
            return Err(format!("not an object: {actual}"));
        };
        self.compare(expected, actual).map_err(|why| {
            let text = |fields: &Map<String, Value>| Value::Object(fields.clone()).to_string();
            format!("{why}\n  expected {}\n  got      {}", text(expected), text(actual))
        })
    }

    /// Holes of checks that were bound since the last call, with their names: for [`super::Model::bind_check`].
    pub fn take_bound_checks(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.fresh_checks)
    }

    /// A client's shard has failed, and has forgotten whose its `wsId` was: the next may get it.
    pub fn let_go(&mut self, client: Client) {
        self.gone.extend(ws_id(client).as_str().map(str::to_owned));
    }

    fn compare(&mut self, expected: &Map<String, Value>, actual: &Map<String, Value>) -> Result<(), String> {
        if expected.get("type") != actual.get("type") {
            return Err("another type".to_owned());
        }
        if let Some(extra) = actual.keys().find(|name| !expected.contains_key(*name)) {
            return Err(format!("{extra} is not expected"));
        }
        for (name, expected) in expected {
            let actual = actual.get(name).ok_or_else(|| format!("{name} is missing"))?;
            let is_same = match expected.as_str().filter(|text| text.starts_with(HOLE)) {
                Some(hole) if name == "wsId" || name == "checkId" => self.bind(name, hole, actual)?,
                _ if is_time(name) => is_near(expected, actual, self.time_tolerance_ms),
                _ => is_equal(expected, actual),
            };
            if !is_same {
                return Err(format!("{name} differs"));
            }
        }
        Ok(())
    }

    /// True if the hole is, or can now be, this name.
    fn bind(&mut self, field: &str, hole: &str, actual: &Value) -> Result<bool, String> {
        let name = actual.as_str().ok_or_else(|| format!("{field} is no string"))?;
        let is_plain = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit();
        if field == "wsId" && (name.len() < WS_ID_CHARS_MIN || !name.chars().all(is_plain)) {
            return Err(format!("{name:?} is no wsId"));
        }
        if let Some((_, known)) = self.bound.iter().find(|(it, _)| it == hole) {
            return Ok(known == name);
        }
        let is_gone = |hole: &str| self.gone.contains(hole);
        if !is_gone(hole) && self.bound.iter().any(|(it, taken)| taken == name && !is_gone(it)) {
            return Err(format!("{field} {name:?} is another's"));
        }
        self.bound.push((hole.to_owned(), name.to_owned()));
        if field == "checkId" {
            self.fresh_checks.push((hole.to_owned(), name.to_owned()));
        }
        Ok(true)
    }
}

/// The field says a time or a position, ms.
pub fn is_time(field: &str) -> bool {
    TIMES.contains(&field)
}

fn is_near(expected: &Value, actual: &Value, tolerance: f64) -> bool {
    match (expected.as_f64(), actual.as_f64()) {
        (Some(expected), Some(actual)) => {
            // A number so large that a double has no such digit is as near as doubles get.
            (expected - actual).abs() <= tolerance.max(expected.abs() * 2.0 * f64::EPSILON)
        }
        _ => expected == actual,
    }
}

/// Numbers are equal as JavaScript has them, so 1 is 1.0.
fn is_equal(expected: &Value, actual: &Value) -> bool {
    match (expected, actual) {
        (Value::Number(expected), Value::Number(actual)) => expected.as_f64() == actual.as_f64(),
        (Value::Array(expected), Value::Array(actual)) => {
            expected.len() == actual.len()
                && expected.iter().zip(actual).all(|(one, other)| is_equal(one, other))
        }
        (Value::Object(expected), Value::Object(actual)) => {
            expected.len() == actual.len()
                && expected
                    .iter()
                    .all(|(name, one)| actual.get(name).is_some_and(|other| is_equal(one, other)))
        }
        _ => expected == actual,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_hole_takes_the_first_name_and_keeps_it() {
        let mut matcher = Matcher::new(0.0);
        let expected = json!({"type": "device_ready", "wsId": "\u{1}wsId:1", "timestamp": 5});
        let said = |id: &str| json!({"type": "device_ready", "wsId": id, "timestamp": 5}).to_string();
        assert!(matcher.matches(&expected, &said("short")).is_err());
        assert_eq!(matcher.matches(&expected, &said("abcdefg")), Ok(()));
        assert_eq!(matcher.matches(&expected, &said("abcdefg")), Ok(()));
        assert!(matcher.matches(&expected, &said("abcdefh")).is_err());
        let other = json!({"type": "device_ready", "wsId": "\u{1}wsId:2", "timestamp": 5});
        assert!(matcher.matches(&other, &said("abcdefg")).is_err());
        assert_eq!(matcher.take_bound_checks(), []);
        let check = json!({"type": "device_health_check", "checkId": "\u{1}check:R#1"});
        assert_eq!(matcher.matches(&check, r#"{"type":"device_health_check","checkId":"c"}"#), Ok(()));
        assert_eq!(matcher.take_bound_checks(), [("\u{1}check:R#1".to_owned(), "c".to_owned())]);
        assert_eq!(matcher.take_bound_checks(), []);
    }

    #[test]
    fn fields_are_exactly_these_and_only_times_have_a_tolerance() {
        let expected =
            json!({"type": "RESUME", "masterClockMs": 100.0, "resumeDelayMs": 400, "x": {"a": [1]}});
        let mut matcher = Matcher::new(2.0);
        let mut check = |actual: Value| matcher.matches(&expected, &actual.to_string()).is_ok();
        assert!(check(
            json!({"x": {"a": [1.0]}, "type": "RESUME", "masterClockMs": 102, "resumeDelayMs": 400.0})
        ));
        assert!(!check(
            json!({"x": {"a": [1]}, "type": "RESUME", "masterClockMs": 103, "resumeDelayMs": 400})
        ));
        assert!(!check(
            json!({"x": {"a": [1]}, "type": "RESUME", "masterClockMs": 100, "resumeDelayMs": 401})
        ));
        assert!(!check(
            json!({"x": {"a": [2]}, "type": "RESUME", "masterClockMs": 100, "resumeDelayMs": 400})
        ));
        assert!(!check(json!({"type": "RESUME", "masterClockMs": 100, "resumeDelayMs": 400})));
        assert!(!check(
            json!({"x": {"a": [1]}, "y": 0, "type": "RESUME", "masterClockMs": 100, "resumeDelayMs": 400})
        ));
        assert!(!check(
            json!({"x": {"a": [1]}, "type": "PAUSE", "masterClockMs": 100, "resumeDelayMs": 400})
        ));
        assert!(matcher.matches(&expected, "{").is_err());
        assert!(matcher.matches(&expected, "[]").is_err());
    }
}
