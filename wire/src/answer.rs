//! What the server says: the room protocol's messages, written as whole text frames.
//!
//! Field names, order and units are the contract with clients that exist. Times come in as integers of
//! microseconds and leave as milliseconds with a fraction, as JavaScript would write them.

use crate::frame::{self, Opcode};
use crate::json::{Json, Number, Value};
use serde::{Serialize, Serializer};

/// A time or duration in microseconds, written as milliseconds with a fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ms(pub i64);

impl Serialize for Ms {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Number(self.0 as f64 / 1000.0).serialize(serializer)
    }
}

/// Unix time in microseconds, written as whole milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamp(pub i64);

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.0.div_euclid(1000))
    }
}

/// A connection's id as clients see it: base 36, at least 7 characters of a-z and 0-9.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WsId(pub u64);

impl WsId {
    /// The digits, without a leading zero beyond the seventh, in a buffer of the longest id's length.
    pub fn write(self, digits: &mut [u8; 13]) -> &str {
        let mut rest = self.0;
        let mut start = digits.len();
        while rest > 0 || start > digits.len() - 7 {
            start -= 1;
            digits[start] = b"0123456789abcdefghijklmnopqrstuvwxyz"[(rest % 36) as usize];
            rest /= 36;
        }
        std::str::from_utf8(&digits[start..]).expect("base 36 digits are ASCII")
    }
}

impl Serialize for WsId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.write(&mut [0; 13]))
    }
}

/// A message of the room protocol to a client. An absent field is left out, as JSON.stringify does.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
#[allow(
    missing_docs,
    reason = "the fields' names are the contract; protocol.md and ARCHITECTURE.md say what they mean"
)]
pub enum Answer<'a> {
    #[serde(rename = "joined")]
    Joined {
        room_code: &'a str,
        ws_id: WsId,
        #[serde(skip_serializing_if = "Option::is_none")]
        host_user_id: Option<&'a Json>,
        is_host: bool,
        timestamp: Timestamp,
    },
    #[serde(rename = "user_joined")]
    UserJoined {
        #[serde(skip_serializing_if = "Option::is_none")]
        user_id: Option<&'a Json>,
        ws_id: WsId,
        total_clients: usize,
        timestamp: Timestamp,
    },
    #[serde(rename = "user_left")]
    UserLeft {
        #[serde(skip_serializing_if = "Option::is_none")]
        user_id: Option<&'a Json>,
        ws_id: WsId,
        total_clients: usize,
    },
    #[serde(rename = "time_pong")]
    TimePong {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<Value<'a, 'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        t0: Option<Value<'a, 'a>>,
        server_time_unix: Ms,
        server_time_monotonic: Ms,
        /// Null if t0 is no number.
        time_offset: Option<Number>,
        playback_position: Ms,
        is_playing: bool,
        master_clock: Ms,
    },
    #[serde(rename = "PREPARE_TRACK")]
    PrepareTrack {
        audio_url: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        duration: Option<&'a Json>,
        check_id: WsId,
        timestamp: Timestamp,
    },
    #[serde(rename = "device_health_check")]
    DeviceHealthCheck { check_id: WsId, timestamp: Timestamp },
    #[serde(rename = "device_ready")]
    DeviceReady { ws_id: WsId, timestamp: Timestamp },
    #[serde(rename = "PLAY")]
    Play {
        audio_url: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        duration: Option<&'a Json>,
        master_clock_ms: Ms,
        master_clock_latency_ms: Number,
        start_delay_ms: Number,
        timestamp: Timestamp,
    },
    #[serde(rename = "PLAY_SYNC")]
    PlaySync {
        audio_url: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        duration: Option<&'a Json>,
        playback_position: Ms,
        master_clock_ms: Ms,
        master_clock_latency_ms: Number,
        #[serde(skip_serializing_if = "Option::is_none")]
        is_playing: Option<bool>,
        #[serde(skip_serializing_if = "Option::is_none")]
        timestamp: Option<Timestamp>,
    },
    #[serde(rename = "PAUSE")]
    Pause { paused_at_ms: Ms, master_clock_ms: Ms, timestamp: Timestamp },
    #[serde(rename = "PAUSE_STATE")]
    PauseState {
        /// Null if the room has no track.
        audio_url: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        duration: Option<&'a Json>,
        paused_position_ms: Ms,
        is_playing: bool,
        master_clock_ms: Ms,
        /// Left out of the one that follows a PAUSE; null in a snapshot of a room that never played.
        #[serde(skip_serializing_if = "Option::is_none")]
        started_at_server: Option<Option<Ms>>,
        timestamp: Timestamp,
    },
    #[serde(rename = "playback_state")]
    PlaybackState {
        current_track: Option<()>,
        is_playing: bool,
        playback_position: u32,
        duration: Option<()>,
        server_now: Timestamp,
        timestamp: Timestamp,
    },
    #[serde(rename = "RESUME")]
    Resume { master_clock_ms: Ms, resume_delay_ms: Number, playback_position_ms: Ms, timestamp: Timestamp },
    #[serde(rename = "SEEK")]
    Seek { seek_position_ms: Number, master_clock_ms: Ms, seek_delay_ms: u32, timestamp: Timestamp },
    #[serde(rename = "TRACK_CHANGE")]
    TrackChange { track_data: Value<'a, 'a>, timestamp: Timestamp },
    #[serde(rename = "RESYNC")]
    Resync { correct_position_ms: Ms, master_clock_ms: Ms, timestamp: Timestamp },
}

impl Answer<'_> {
    /// Appends the message as one text frame.
    pub fn push_frame(&self, out: &mut Vec<u8>) {
        /// Most answers are of 126 to 65,535 bytes, whose header is of 4.
        const USUAL_HEADER_BYTES: usize = 4;
        let start = out.len();
        out.extend_from_slice(&[0; USUAL_HEADER_BYTES]);
        serde_json::to_writer(&mut *out, self).expect("an answer can be written to memory");
        let payload_bytes = out.len() - start - USUAL_HEADER_BYTES;
        let (header, header_bytes) = frame::server_header(Opcode::Text, payload_bytes);
        let header = &header[..header_bytes];
        if header_bytes == USUAL_HEADER_BYTES {
            out[start..start + USUAL_HEADER_BYTES].copy_from_slice(header);
        } else {
            out.splice(start..start + USUAL_HEADER_BYTES, header.iter().copied());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn times_are_written_as_javascript_would() {
        let text = serde_json::to_string(&[
            Ms(61_234_567_890_123),
            Ms(1_000_000),
            Ms(-1_100_000),
            Ms(1),
            Ms(0),
            Ms(1_763_000_000_123_500),
        ])
        .unwrap();
        expect!["[61234567890.123,1000,-1100,0.001,0,1763000000123.5]"].assert_eq(&text);
    }

    #[test]
    fn ids_have_at_least_seven_characters_of_base_36() {
        let text = serde_json::to_string(&[WsId(0), WsId(35), WsId(36), WsId(u64::MAX)]).unwrap();
        expect![[r#"["0000000","000000z","0000010","3w5e11264sgsf"]"#]].assert_eq(&text);
    }

    #[test]
    fn a_short_and_a_long_answer_get_their_headers() {
        let mut out = b"before".to_vec();
        Answer::DeviceReady { ws_id: WsId(5), timestamp: Timestamp(1_000) }.push_frame(&mut out);
        assert_eq!(out[..8], *b"before\x81\x36");
        assert_eq!(out[8..], *br#"{"type":"device_ready","wsId":"0000005","timestamp":1}"#.as_slice());
        let url = "u".repeat(70_000);
        let mut out = Vec::new();
        let play = Answer::PauseState {
            audio_url: Some(&url),
            duration: None,
            paused_position_ms: Ms(0),
            is_playing: false,
            master_clock_ms: Ms(0),
            started_at_server: Some(None),
            timestamp: Timestamp(0),
        };
        play.push_frame(&mut out);
        let header = frame::parse_header(&out).unwrap().unwrap();
        assert_eq!(header.payload_bytes as usize + header.header_bytes, out.len());
        assert!(out.ends_with(br#""startedAtServer":null,"timestamp":0}"#));
    }
}
