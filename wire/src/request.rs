//! What clients say: one JSON object per frame, parsed in place into a [`Request`].
//!
//! Nearly all messages are plain enough for `flat`; what is not, simd-json parses in place. Both yield
//! fields of values, read by the same code. Types are checked here and numbers clamped, so that a room sees
//! only values it can act on; whether a sender may say it is the engine's. Anything else is [`Ignored`], with
//! its reason, and never an error: the connection stays open. No allocation per message once the buffers have
//! grown.

use crate::flat::{self, Fields};
use crate::json::Value;
use simd_json::{Buffers, Tape, fill_tape};

/// Delays and round trips a client names lie in 0 to this many ms.
pub const DELAY_MS_MAX: f64 = 10_000.0;
/// Positions a client names lie in 0 to this many ms, a day.
pub const POSITION_MS_MAX: f64 = 86_400_000.0;

/// A message and the room it names.
#[derive(Debug)]
pub struct Message<'t, 'b> {
    /// `roomCode`, if it is a string of 1 to `room_code_bytes_max` bytes. Only a time_ping comes without.
    pub room_code: Option<&'b str>,
    /// What the client wants.
    pub request: Request<'t, 'b>,
}

/// What a client wants.
#[derive(Debug)]
pub enum Request<'t, 'b> {
    /// `join`: become a member, and name the host.
    Join {
        /// The user's own id, as sent.
        user_id: Option<Value<'t, 'b>>,
        /// The id of the room's host, as sent.
        host_id: Option<Value<'t, 'b>>,
    },
    /// `time_ping`: what time is it?
    TimePing {
        /// Given back as sent.
        id: Option<Value<'t, 'b>>,
        /// The client's clock when it asked, Unix ms; given back as sent.
        t0: Option<Value<'t, 'b>>,
    },
    /// `PLAY`: make everyone ready, then start.
    Play {
        /// The track's address, which is its identity.
        audio_url: &'b str,
        /// A number or null, in the unit the client likes.
        duration: Option<Value<'t, 'b>>,
        /// The wished delay, 0 to [`DELAY_MS_MAX`] ms.
        start_delay_ms: Option<f64>,
        /// The sender's round trip, 0 to [`DELAY_MS_MAX`] ms.
        rtt_ms: Option<f64>,
    },
    /// `device_health_check_response` with both flags true: this device has the track loaded.
    Ready {
        /// The handshake that is answered.
        check_id: Option<&'b str>,
        /// The sender's round trip, 0 to [`DELAY_MS_MAX`] ms.
        rtt_ms: Option<f64>,
    },
    /// `PAUSE`
    Pause,
    /// `RESUME`
    Resume {
        /// The wished delay, 0 to [`DELAY_MS_MAX`] ms.
        start_delay_ms: Option<f64>,
    },
    /// `SEEK`
    Seek {
        /// 0 to [`POSITION_MS_MAX`] ms.
        position_ms: f64,
    },
    /// `TRACK_CHANGE`
    TrackChange {
        /// An object, to be passed on as sent.
        track: Value<'t, 'b>,
    },
    /// `get_playback_state`
    PlaybackState,
    /// `request_sync`
    Sync,
    /// `sync_check`
    SyncCheck {
        /// Where the client believes it is, ms.
        client_position_ms: f64,
    },
}

/// Why a message was ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// Not JSON, or nested too deeply, or a number that no double holds.
    NotJson,
    /// JSON, but not an object.
    NotObject,
    /// `type` is missing, unknown, or one that old clients send and nobody needs.
    UnknownType,
    /// A field that the request needs is missing or of the wrong type.
    WrongField,
    /// `roomCode` is not a string of 1 to `room_code_bytes_max` bytes.
    BadRoomCode,
    /// A device that says it is not ready yet.
    NotReady,
}

/// Bounds of a message's content.
#[derive(Clone, Copy, Debug)]
pub struct RequestLimits {
    /// Bytes of a room code.
    pub room_code_bytes_max: usize,
    /// Nesting of objects and arrays.
    pub depth_max: usize,
}

/// The parser's memory, kept from message to message.
pub struct Parser {
    buffers: Buffers,
    tape: Tape<'static>,
    limits: RequestLimits,
}

impl Parser {
    /// A parser with these bounds.
    pub fn new(limits: RequestLimits) -> Parser {
        const USUAL_BYTES: usize = 512;
        let buffers = Buffers::with_max_depth(USUAL_BYTES, limits.depth_max);
        Parser { buffers, tape: Tape(Vec::with_capacity(64)), limits }
    }

    /// Parses `text` in place and hands the message to `act`. Linear in the text.
    pub fn parse<R>(
        &mut self,
        text: &mut [u8],
        act: impl FnOnce(Message<'_, '_>) -> R,
    ) -> Result<R, Ignored> {
        if let Some(fields) = flat::scan(text) {
            return read(&Object::Plain(&fields), &self.limits).map(act);
        }
        replace_lone_surrogates(text);
        let mut tape = std::mem::replace(&mut self.tape, Tape(Vec::new())).reset();
        let result = match fill_tape(text, &mut self.buffers, &mut tape) {
            Ok(()) => read(&Object::Parsed(Value::split(&tape.0).0), &self.limits).map(act),
            Err(_) => Err(Ignored::NotJson),
        };
        self.tape = tape.reset();
        result
    }
}

/// A message from either reader.
enum Object<'t, 'b> {
    Plain(&'t Fields<'b>),
    Parsed(Value<'t, 'b>),
}

impl<'t, 'b> Object<'t, 'b> {
    fn is_object(&self) -> bool {
        match self {
            Object::Plain(_) => true,
            Object::Parsed(value) => value.is_object(),
        }
    }

    /// The last of that name, as JavaScript has it.
    fn field(&self, name: &str) -> Option<Value<'t, 'b>> {
        match self {
            Object::Plain(fields) => {
                let mut fields = fields.as_slice().iter();
                fields.rfind(|(key, _)| *key == name.as_bytes()).map(|(_, value)| *value)
            }
            Object::Parsed(value) => value.field(name),
        }
    }
}

/// Reads a time_ping that names no room and is written as the real clients' `JSON.stringify` writes it: its id
/// and its t0. Nine messages of ten are one; what is not is for [`Parser::parse`], and left as it was.
pub fn usual_ping(text: &[u8]) -> Option<(Value<'_, '_>, Value<'_, '_>)> {
    flat::scan_ping(text)
}

fn read<'t, 'b>(message: &Object<'t, 'b>, limits: &RequestLimits) -> Result<Message<'t, 'b>, Ignored> {
    if !message.is_object() {
        return Err(Ignored::NotObject);
    }
    let kind = message.field("type").and_then(|kind| kind.as_str()).ok_or(Ignored::UnknownType)?;
    let room_code = message
        .field("roomCode")
        .and_then(|code| code.as_str())
        .filter(|code| (1..=limits.room_code_bytes_max).contains(&code.len()));
    let request = read_request(kind, message)?;
    if room_code.is_none() && !matches!(request, Request::TimePing { .. }) {
        return Err(Ignored::BadRoomCode);
    }
    Ok(Message { room_code, request })
}

fn read_request<'t, 'b>(kind: &str, message: &Object<'t, 'b>) -> Result<Request<'t, 'b>, Ignored> {
    Ok(match kind {
        "time_ping" => Request::TimePing { id: message.field("id"), t0: message.field("t0") },
        "sync_check" => Request::SyncCheck {
            client_position_ms: message
                .field("clientPosition")
                .and_then(|position| position.as_f64())
                .ok_or(Ignored::WrongField)?,
        },
        "join" => Request::Join { user_id: message.field("userId"), host_id: message.field("hostId") },
        "get_playback_state" => Request::PlaybackState,
        "request_sync" => Request::Sync,
        "device_health_check_response" => {
            let flag = |name| message.field(name).is_some_and(|flag| flag.is_true());
            if !(flag("audioLoaded") && flag("deviceReady")) {
                return Err(Ignored::NotReady);
            }
            Request::Ready {
                check_id: message.field("checkId").and_then(|check| check.as_str()),
                rtt_ms: number(message, "rttMs", DELAY_MS_MAX)?,
            }
        }
        "PLAY" => {
            let duration = message.field("duration");
            if duration.is_some_and(|duration| duration.as_f64().is_none() && !duration.is_null()) {
                return Err(Ignored::WrongField);
            }
            Request::Play {
                audio_url: message
                    .field("audioUrl")
                    .and_then(|url| url.as_str())
                    .ok_or(Ignored::WrongField)?,
                duration,
                start_delay_ms: number(message, "startDelayMs", DELAY_MS_MAX)?,
                rtt_ms: number(message, "rttMs", DELAY_MS_MAX)?,
            }
        }
        "PAUSE" => Request::Pause,
        "RESUME" => Request::Resume { start_delay_ms: number(message, "startDelayMs", DELAY_MS_MAX)? },
        // Without a position it means the beginning, as it always did.
        "SEEK" => {
            Request::Seek { position_ms: number(message, "seekPositionMs", POSITION_MS_MAX)?.unwrap_or(0.0) }
        }
        "TRACK_CHANGE" => Request::TrackChange {
            track: message.field("trackData").filter(Value::is_object).ok_or(Ignored::WrongField)?,
        },
        _ => return Err(Ignored::UnknownType),
    })
}

/// A number clamped to 0..=max; absent and null, which is how JSON.stringify writes NaN, are no number.
fn number(message: &Object<'_, '_>, name: &str, max: f64) -> Result<Option<f64>, Ignored> {
    match message.field(name) {
        None => Ok(None),
        Some(value) if value.is_null() => Ok(None),
        Some(value) => match value.as_f64() {
            Some(number) => Ok(Some(number.clamp(0.0, max))),
            None => Err(Ignored::WrongField),
        },
    }
}

/// Turns each escaped lone surrogate into an escaped U+FFFD, in place: JavaScript accepts them, strict
/// parsers do not. Costs one scan for a backslash where there is none.
fn replace_lone_surrogates(text: &mut [u8]) {
    let Some(first) = text.iter().position(|byte| *byte == b'\\') else { return };
    let mut at = first;
    while at < text.len() {
        if text[at] != b'\\' {
            at += 1;
            continue;
        }
        at += match escaped_unit(&text[at..]) {
            None => 2,
            Some(0xd800..0xdc00) if matches!(escaped_unit(&text[at + 6..]), Some(0xdc00..0xe000)) => 12,
            Some(0xd800..0xe000) => {
                text[at + 2..at + 6].copy_from_slice(b"FFFD");
                6
            }
            Some(_) => 6,
        };
    }
}

/// The UTF-16 unit of a `\uXXXX` at the front of `text`.
fn escaped_unit(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)? as u16))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    fn check(lines: &str, expected: &Expect) {
        let mut parser = Parser::new(RequestLimits { room_code_bytes_max: 256, depth_max: 32 });
        let mut seen = String::new();
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let mut text = line.as_bytes().to_vec();
            let said = parser.parse(&mut text, |message| describe(&message));
            seen += &said.unwrap_or_else(|ignored| format!("ignored: {ignored:?}"));
            seen.push('\n');
        }
        expected.assert_eq(&seen);
    }

    fn describe(message: &Message<'_, '_>) -> String {
        let raw = |value: &Option<Value<'_, '_>>| {
            value.map_or_else(|| "-".to_owned(), |value| value.to_json().as_text().to_owned())
        };
        let request = match &message.request {
            Request::Join { user_id, host_id } => format!("join {} {}", raw(user_id), raw(host_id)),
            Request::TimePing { id, t0 } => format!("time_ping {} {}", raw(id), raw(t0)),
            Request::Play { audio_url, duration, start_delay_ms, rtt_ms } => {
                format!("play {audio_url} {} {start_delay_ms:?} {rtt_ms:?}", raw(duration))
            }
            Request::TrackChange { track } => format!("track {}", raw(&Some(*track))),
            other => format!("{other:?}"),
        };
        format!("{} {request}", message.room_code.unwrap_or("(no room)"))
    }

    #[test]
    fn every_request_is_read() {
        check(
            r#"
            {"type":"join","roomCode":"R","userId":"u","hostId":7}
            {"type":"time_ping","id":"0.1","t0":1700000000123.5}
            {"type":"time_ping","id":[1,{"a":null}],"t0":"x","roomCode":"R"}
            {"type":"PLAY","roomCode":"R","audioUrl":"a.mp3","duration":200,"startDelayMs":99999,"rttMs":-4}
            {"type":"PLAY","roomCode":"R","audioUrl":"a.mp3","startDelayMs":null}
            {"type":"device_health_check_response","roomCode":"R","checkId":"c","audioLoaded":true,"deviceReady":true,"rttMs":30}
            {"type":"PAUSE","roomCode":"R"}
            {"type":"RESUME","roomCode":"R","startDelayMs":900}
            {"type":"SEEK","roomCode":"R","seekPositionMs":1e12}
            {"type":"SEEK","roomCode":"R"}
            {"type":"TRACK_CHANGE","roomCode":"R","trackData":{"z":1.0,"a":"N\u00e9on \u2728 \"q\"","e":{"n":[1,-2.5,true]}}}
            {"type":"get_playback_state","roomCode":"R"}
            {"type":"request_sync","roomCode":"R"}
            {"type":"sync_check","roomCode":"R","clientPosition":12.5}
            {"type":"PAUSE","roomCode":"first","roomCode":"last"}
            "#,
            &expect![[r#"
                R join "u" 7
                (no room) time_ping "0.1" 1700000000123.5
                R time_ping [1,{"a":null}] "x"
                R play a.mp3 200 Some(10000.0) Some(0.0)
                R play a.mp3 - None None
                R Ready { check_id: Some("c"), rtt_ms: Some(30.0) }
                R Pause
                R Resume { start_delay_ms: Some(900.0) }
                R Seek { position_ms: 86400000.0 }
                R Seek { position_ms: 0.0 }
                R track {"z":1,"a":"Néon ✨ \"q\"","e":{"n":[1,-2.5,true]}}
                R PlaybackState
                R Sync
                R SyncCheck { client_position_ms: 12.5 }
                last Pause
            "#]],
        );
    }

    /// Differences 1, 2 and 8 of the room protocol: what crashed or misled the old server is ignored.
    #[test]
    fn what_is_not_a_request_is_ignored_with_its_reason() {
        check(
            r#"
            null
            5
            "text"
            [1]
            {not json
            {"roomCode":"R"}
            {"type":5,"roomCode":"R"}
            {"type":"nonsense","roomCode":"R"}
            {"type":"track_prepared","roomCode":"R"}
            {"type":"sync_check","roomCode":"R"}
            {"type":"sync_check","roomCode":"R","clientPosition":"5"}
            {"type":"PLAY","roomCode":"R"}
            {"type":"PLAY","roomCode":"R","audioUrl":5}
            {"type":"PLAY","roomCode":"R","audioUrl":"a","startDelayMs":"5"}
            {"type":"PLAY","roomCode":"R","audioUrl":"a","duration":"long"}
            {"type":"SEEK","roomCode":"R","seekPositionMs":[]}
            {"type":"SEEK","roomCode":"R","seekPositionMs":1e400}
            {"type":"TRACK_CHANGE","roomCode":"R","trackData":"x"}
            {"type":"join"}
            {"type":"join","roomCode":""}
            {"type":"join","roomCode":7}
            {"type":"PAUSE","roomCode":null}
            {"type":"device_health_check_response","roomCode":"R","audioLoaded":true,"deviceReady":false}
            {"type":"PAUSE","roomCode":"R","x":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}
            "#,
            &expect![[r#"
                ignored: NotObject
                ignored: NotObject
                ignored: NotObject
                ignored: NotObject
                ignored: NotJson
                ignored: UnknownType
                ignored: UnknownType
                ignored: UnknownType
                ignored: UnknownType
                ignored: WrongField
                ignored: WrongField
                ignored: WrongField
                ignored: WrongField
                ignored: WrongField
                ignored: WrongField
                ignored: WrongField
                ignored: NotJson
                ignored: WrongField
                ignored: BadRoomCode
                ignored: BadRoomCode
                ignored: BadRoomCode
                ignored: BadRoomCode
                ignored: NotReady
                ignored: NotJson
            "#]],
        );
    }

    /// As in JavaScript, which has no others. Only what no double holds is refused.
    #[test]
    fn integers_beyond_64_bits_are_doubles() {
        check(
            r#"
            {"type":"time_ping","id":123456789012345678901234567890,"t0":-9223372036854775809,"x":" "}
            {"type":"SEEK","roomCode":"R","seekPositionMs":18446744073709551616}
            {"type":"join","roomCode":"R","userId":18446744073709551615,"x":[184467440737095516150]}
            "#,
            &expect![[r#"
                (no room) time_ping 1.2345678901234568e+29 -9.223372036854776e+18
                R Seek { position_ms: 86400000.0 }
                R join 18446744073709551615 -
            "#]],
        );
    }

    proptest! {
        /// A message that is plain and one that is not, for a space's sake, mean the same and are given back
        /// in the same bytes.
        #[test]
        fn both_readers_read_the_same(
            kind in prop::sample::select(vec!["time_ping", "SEEK", "join", "sync_check", "PAUSE", "x"]),
            names in prop::collection::vec(prop::sample::select(vec![
                "id", "t0", "roomCode", "seekPositionMs", "userId", "clientPosition", "other",
            ]), 0..6),
            values in prop::collection::vec(prop_oneof![
                "[0-9]{1,17}", "[0-9]{1,9}\\.[0-9]{1,9}", "\"[ -~&&[^\"\\\\]]{0,20}\"", "true|false|null", "-[0-9]{1,5}", "[0-9]{1,3}e[0-9]{1,2}",
            ], 6),
        ) {
            let fields: String =
                names.iter().zip(&values).map(|(name, value)| format!(",\"{name}\":{value}")).collect();
            let plain = format!("{{\"type\":\"{kind}\"{fields}}}");
            // An escape in a field that nobody reads is all it takes.
            let escaped = format!("{{\"\\u0061\":0,\"type\":\"{kind}\"{fields}}}");
            let mut parser = Parser::new(RequestLimits { room_code_bytes_max: 256, depth_max: 32 });
            let mut read = |text: &str| {
                prop_assert_eq!(flat::scan(escaped.as_bytes()).is_some(), false);
                Ok(parser.parse(&mut text.as_bytes().to_vec(), |message| {
                    let mut echoed = Vec::new();
                    if let Request::TimePing { id, t0 } = &message.request {
                        [id, t0].into_iter().flatten().for_each(|value| value.write(&mut echoed));
                    }
                    format!("{} {}", describe(&message), String::from_utf8_lossy(&echoed))
                }))
            };
            prop_assert_eq!(read(&plain)?, read(&escaped)?);
        }
    }

    /// Difference 12 of the room protocol.
    #[test]
    fn a_lone_surrogate_is_accepted_and_comes_back_as_the_replacement_character() {
        check(
            r#"
            {"type":"join","roomCode":"R","userId":"\ud83c\udfb5","hostId":"a\ud800b"}
            {"type":"join","roomCode":"R","userId":"\udc00\ud800","hostId":"\\ud800"}
            {"type":"join","roomCode":"R","userId":"\ud800\ud83c\udfb5\ud8","hostId":1}
            "#,
            &expect![[r#"
                R join "🎵" "a�b"
                R join "��" "\\ud800"
                ignored: NotJson
            "#]],
        );
    }
}
