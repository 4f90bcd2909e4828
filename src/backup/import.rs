//! The old server's `state-backup.json`: `{generatedAt, rooms[]}`.
//!
//! It was written by JavaScript of several versions, so each field is looked for under every name that it has had, on
//! the wire or in the file, and a room that cannot be understood costs only itself.

use super::Restored;
use engine::snapshot::{self, Header, Instant, Record, Slice, UNKNOWN_BOOT};
use serde_json::Value;
use std::borrow::Cow;
use std::io;
use std::path::Path;

/// Unix time in ms below this was meant as seconds: 1973 in ms, 5138 in seconds.
const UNIX_MS_MIN: f64 = 1e11;

/// The rooms of the old server's file; nothing if there is none.
pub(super) fn read(path: &Path, now: Instant) -> Result<Option<Restored>, String> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let (written_unix_us, slice) = parse(&text)?;
    // Its clocks are another program's: only the calendar counts, and positions are as of then.
    let written = Instant { unix_us: written_unix_us, boot_us: 0, master_us: 0, boot_id: UNKNOWN_BOOT };
    let count = slice.count() as usize;
    let file = snapshot::encode(&Header { generation: 0, written }, &[&slice]);
    Ok(Some(Restored { file, written, now, count, path: path.to_owned() }))
}

fn parse(text: &str) -> Result<(i64, Slice), String> {
    let state: Value = serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?;
    let generated = field(&state, &["generatedAt", "timestamp", "savedAt"]);
    let unix_us = generated.and_then(unix_us).ok_or("it has no generatedAt")?;
    let rooms = match state.get("rooms") {
        Some(Value::Array(rooms)) => rooms.iter().map(|room| (None, room)).collect::<Vec<_>>(),
        Some(Value::Object(rooms)) => rooms.iter().map(|(code, room)| (Some(code.as_str()), room)).collect(),
        _ => return Err("it has no rooms".to_owned()),
    };
    let mut slice = Slice::default();
    for (code, room) in rooms {
        if let Some(record) = record(code, room) {
            slice.push(&record);
        }
    }
    Ok((unix_us, slice))
}

/// A room with a track; its start is where the master clock was 0 when the file was written.
fn record<'a>(code: Option<&'a str>, room: &'a Value) -> Option<Record<'a>> {
    let code = field(room, &["roomCode", "code", "roomId", "id"]).and_then(Value::as_str).or(code)?;
    let track = field(room, &["currentTrack", "track", "trackData"]);
    let in_track = |names| track.and_then(|track| field(track, names));
    let audio_url = in_track(&["audioUrl", "url"])
        .or_else(|| track.filter(|track| track.is_string()))
        .or_else(|| field(room, &["audioUrl", "currentTrackUrl"]))?
        .as_str()
        .filter(|url| !url.is_empty())?;
    let duration = field(room, &["duration", "durationMs"]).or_else(|| in_track(&["duration", "durationMs"]));
    let is_playing = field(room, &["isPlaying", "playing"]).and_then(Value::as_bool).unwrap_or(false);
    let paused = field(room, &["pausedPositionMs", "pausedAtMs", "pausedAt"]).and_then(Value::as_f64);
    let position = field(room, &["playbackPosition", "playbackPositionMs", "positionMs", "position"]);
    let position = position.and_then(Value::as_f64);
    let position_ms = if is_playing { position.or(paused) } else { paused.or(position) }.unwrap_or(0.0);
    // A cast saturates.
    let position_us = (position_ms * 1_000.0) as i64;
    let host = field(room, &["hostUserId", "hostId", "host"]).filter(|host| !host.is_null());
    Some(Record {
        code: Cow::Borrowed(code),
        host: host.map(|host| Cow::Owned(host.to_string())),
        audio_url: Cow::Borrowed(audio_url),
        duration: duration.filter(|it| it.is_number()).map(|it| Cow::Owned(it.to_string())),
        started_us: is_playing.then(|| position_us.saturating_neg()),
        paused_us: (!is_playing).then_some(position_us),
    })
}

fn field<'a>(value: &'a Value, names: &[&str]) -> Option<&'a Value> {
    names.iter().find_map(|name| value.get(name).filter(|value| !value.is_null()))
}

/// A time as JavaScript writes it: milliseconds, or what `Date` makes as JSON.
fn unix_us(value: &Value) -> Option<i64> {
    if let Some(number) = value.as_f64() {
        let ms = if number.abs() < UNIX_MS_MIN { number * 1_000.0 } else { number };
        return Some((ms * 1_000.0) as i64);
    }
    let time = humantime::parse_rfc3339_weak(value.as_str()?).ok()?;
    let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_micros()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (i64, Vec<Record<'static>>) {
        let (unix_us, slice) = parse(text).unwrap();
        let own = |record: Record<'_>| Record {
            code: record.code.into_owned().into(),
            host: record.host.map(|host| host.into_owned().into()),
            audio_url: record.audio_url.into_owned().into(),
            duration: record.duration.map(|duration| duration.into_owned().into()),
            ..record
        };
        (unix_us, slice.records().map(own).collect())
    }

    #[test]
    fn the_old_servers_rooms_are_read() {
        let (unix_us, rooms) = parsed(
            r#"{"generatedAt": 1764000000000, "rooms": [
                {"roomCode": "A", "hostUserId": "u1", "currentTrack": "https://cdn.example/1.mp3", "duration": 187.5,
                 "isPlaying": true, "playbackPosition": 30000, "startedAtServer": 123.4},
                {"roomCode": "B", "currentTrack": {"audioUrl": "https://cdn.example/2.mp3", "duration": 90},
                 "isPlaying": false, "pausedPositionMs": 5000.5},
                {"roomCode": "no track", "isPlaying": false}, null, 7, {"currentTrack": "https://cdn.example/3.mp3"}]}"#,
        );
        assert_eq!(unix_us, 1_764_000_000_000_000);
        assert_eq!(rooms.len(), 2);
        assert_eq!((&*rooms[0].code, rooms[0].host.as_deref()), ("A", Some("\"u1\"")));
        assert_eq!((rooms[0].started_us, rooms[0].paused_us), (Some(-30_000_000), None));
        assert_eq!(rooms[0].duration_us(), Some(187_500_000));
        assert_eq!(
            (&*rooms[1].audio_url, rooms[1].paused_us),
            ("https://cdn.example/2.mp3", Some(5_000_500))
        );
    }

    #[test]
    fn its_time_may_be_a_date_and_its_rooms_an_object() {
        let text = r#"{"generatedAt": "2025-11-24T16:00:00.250Z", "rooms": {"A": {"audioUrl": "https://cdn.example/1.mp3"}}}"#;
        let (unix_us, rooms) = parsed(text);
        assert_eq!((unix_us, &*rooms[0].code, rooms[0].paused_us), (1_764_000_000_250_000, "A", Some(0)));
    }

    #[test]
    fn what_is_no_backup_is_refused_with_its_reason() {
        for (text, reason) in [
            ("", "no JSON"),
            ("[]", "no generatedAt"),
            (r#"{"rooms": []}"#, "no generatedAt"),
            (r#"{"generatedAt": 1, "rooms": 3}"#, "no rooms"),
        ] {
            assert!(parse(text).unwrap_err().contains(reason), "{text}");
        }
    }
}
