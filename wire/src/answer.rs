//! What the server says: the room protocol's messages, written as whole text frames.
//!
//! Field names, order and units are the contract with clients that exist. Times come in as integers of
//! microseconds and leave as milliseconds with a fraction, as JavaScript would write them. Written by hand
//! rather than derived, since an answer to a ping is most of what the server ever writes: see [`crate::text`].

use crate::frame::{self, Opcode};
use crate::json::{Json, Number, Value};
use crate::text::{Ms, Nullable, Timestamp, WsId, fields, object};

/// A message of the room protocol to a client. An absent field is left out, as JSON.stringify does.
#[derive(Debug)]
#[allow(
    missing_docs,
    reason = "the fields' names are the contract; protocol.md and ARCHITECTURE.md say what they mean"
)]
pub enum Answer<'a> {
    Joined {
        room_code: &'a str,
        ws_id: WsId,
        host_user_id: Option<&'a Json>,
        is_host: bool,
        timestamp: Timestamp,
    },
    UserJoined {
        user_id: Option<&'a Json>,
        ws_id: WsId,
        total_clients: usize,
        timestamp: Timestamp,
    },
    UserLeft {
        user_id: Option<&'a Json>,
        ws_id: WsId,
        total_clients: usize,
    },
    TimePong {
        id: Option<Value<'a, 'a>>,
        t0: Option<Value<'a, 'a>>,
        clocks: &'a Clocks,
        /// Null if t0 is no number.
        time_offset: Nullable<Ms>,
        playback_position: Ms,
        is_playing: bool,
    },
    PrepareTrack {
        audio_url: &'a str,
        duration: Option<&'a Json>,
        check_id: WsId,
        timestamp: Timestamp,
    },
    DeviceHealthCheck {
        check_id: WsId,
        timestamp: Timestamp,
    },
    DeviceReady {
        ws_id: WsId,
        timestamp: Timestamp,
    },
    Play {
        audio_url: &'a str,
        duration: Option<&'a Json>,
        master_clock_ms: Ms,
        master_clock_latency_ms: Number,
        start_delay_ms: Number,
        timestamp: Timestamp,
    },
    PlaySync {
        audio_url: &'a str,
        duration: Option<&'a Json>,
        playback_position: Ms,
        master_clock_ms: Ms,
        master_clock_latency_ms: Number,
        is_playing: Option<bool>,
        timestamp: Option<Timestamp>,
    },
    Pause {
        paused_at_ms: Ms,
        master_clock_ms: Ms,
        timestamp: Timestamp,
    },
    PauseState {
        /// Null if the room has no track, and so is the duration.
        audio_url: Nullable<&'a str>,
        duration: Option<Nullable<&'a Json>>,
        paused_position_ms: Ms,
        is_playing: bool,
        master_clock_ms: Ms,
        /// Left out of the one that follows a PAUSE; null in a snapshot of a room that never played.
        started_at_server: Option<Nullable<Ms>>,
        timestamp: Timestamp,
    },
    PlaybackState {
        server_now: Timestamp,
        timestamp: Timestamp,
    },
    Resume {
        master_clock_ms: Ms,
        resume_delay_ms: Number,
        playback_position_ms: Ms,
        timestamp: Timestamp,
    },
    Seek {
        seek_position_ms: Number,
        master_clock_ms: Ms,
        seek_delay_ms: u32,
        timestamp: Timestamp,
    },
    TrackChange {
        track_data: Value<'a, 'a>,
        timestamp: Timestamp,
    },
    Resync {
        correct_position_ms: Ms,
        master_clock_ms: Ms,
        timestamp: Timestamp,
    },
}

/// The fields of a time_pong that say what time it is, written once for all that are answered at that time.
#[derive(Debug)]
pub struct Clocks {
    unix_us: i64,
    master_us: i64,
    unix_and_master: Vec<u8>,
    /// The end of a pong where nothing plays: [`AT_REST`] and the master clock.
    rest_and_master: Vec<u8>,
}

/// What a pong says of a room where nothing plays, or of none.
const AT_REST: &[u8] = b",\"playbackPosition\":0,\"isPlaying\":false";

impl Clocks {
    /// Readings of both clocks in µs: Unix time, and the master clock, which is the monotonic one.
    pub fn new(unix_us: i64, master_us: i64) -> Clocks {
        let mut clocks =
            Clocks { unix_us, master_us, unix_and_master: Vec::new(), rest_and_master: Vec::new() };
        clocks.write();
        clocks
    }

    /// Writes them anew if these are other readings.
    #[inline]
    pub fn set(&mut self, unix_us: i64, master_us: i64) {
        if (self.unix_us, self.master_us) != (unix_us, master_us) {
            (self.unix_us, self.master_us) = (unix_us, master_us);
            self.write();
        }
    }

    fn write(&mut self) {
        let (unix, master) = (Ms(self.unix_us), Ms(self.master_us));
        self.unix_and_master.clear();
        fields!(&mut self.unix_and_master, "serverTimeUnix": unix, "serverTimeMonotonic": master);
        self.rest_and_master.clear();
        self.rest_and_master.extend_from_slice(AT_REST);
        fields!(&mut self.rest_and_master, "masterClock": master);
        self.rest_and_master.push(b'}');
    }
}

impl Answer<'_> {
    /// Appends the message as one text frame.
    pub fn push_frame(&self, out: &mut Vec<u8>) {
        /// Most answers are of 126 to 65,535 bytes, whose header is of 4.
        const USUAL_HEADER_BYTES: usize = 4;
        let start = out.len();
        out.extend_from_slice(&[0; USUAL_HEADER_BYTES]);
        self.write(out);
        let payload_bytes = out.len() - start - USUAL_HEADER_BYTES;
        let (header, header_bytes) = frame::server_header(Opcode::Text, payload_bytes);
        let header = &header[..header_bytes];
        if header_bytes == USUAL_HEADER_BYTES {
            out[start..start + USUAL_HEADER_BYTES].copy_from_slice(header);
        } else {
            out.splice(start..start + USUAL_HEADER_BYTES, header.iter().copied());
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Answer::Joined { room_code, ws_id, host_user_id, is_host, timestamp } => {
                object!(out, "joined", "roomCode": room_code, "wsId": ws_id, "hostUserId": host_user_id, "isHost": is_host, "timestamp": timestamp);
            }
            Answer::UserJoined { user_id, ws_id, total_clients, timestamp } => {
                object!(out, "user_joined", "userId": user_id, "wsId": ws_id, "totalClients": total_clients, "timestamp": timestamp);
            }
            Answer::UserLeft { user_id, ws_id, total_clients } => {
                object!(out, "user_left", "userId": user_id, "wsId": ws_id, "totalClients": total_clients);
            }
            Answer::TimePong { id, t0, clocks, time_offset, playback_position, is_playing } => {
                out.extend_from_slice(b"{\"type\":\"time_pong\"");
                fields!(out, "id": id, "t0": t0);
                out.extend_from_slice(&clocks.unix_and_master);
                fields!(out, "timeOffset": time_offset);
                if *playback_position == Ms(0) && !is_playing {
                    out.extend_from_slice(&clocks.rest_and_master);
                } else {
                    fields!(out, "playbackPosition": playback_position, "isPlaying": is_playing);
                    out.extend_from_slice(&clocks.rest_and_master[AT_REST.len()..]);
                }
            }
            Answer::PrepareTrack { audio_url, duration, check_id, timestamp } => {
                object!(out, "PREPARE_TRACK", "audioUrl": audio_url, "duration": duration, "checkId": check_id, "timestamp": timestamp);
            }
            Answer::DeviceHealthCheck { check_id, timestamp } => {
                object!(out, "device_health_check", "checkId": check_id, "timestamp": timestamp);
            }
            Answer::DeviceReady { ws_id, timestamp } => {
                object!(out, "device_ready", "wsId": ws_id, "timestamp": timestamp);
            }
            Answer::Play {
                audio_url,
                duration,
                master_clock_ms,
                master_clock_latency_ms,
                start_delay_ms,
                timestamp,
            } => {
                object!(out, "PLAY", "audioUrl": audio_url, "duration": duration, "masterClockMs": master_clock_ms, "masterClockLatencyMs": master_clock_latency_ms, "startDelayMs": start_delay_ms, "timestamp": timestamp);
            }
            Answer::PlaySync {
                audio_url,
                duration,
                playback_position,
                master_clock_ms,
                master_clock_latency_ms,
                is_playing,
                timestamp,
            } => {
                object!(out, "PLAY_SYNC", "audioUrl": audio_url, "duration": duration, "playbackPosition": playback_position, "masterClockMs": master_clock_ms, "masterClockLatencyMs": master_clock_latency_ms, "isPlaying": is_playing, "timestamp": timestamp);
            }
            Answer::Pause { paused_at_ms, master_clock_ms, timestamp } => {
                object!(out, "PAUSE", "pausedAtMs": paused_at_ms, "masterClockMs": master_clock_ms, "timestamp": timestamp);
            }
            Answer::PauseState {
                audio_url,
                duration,
                paused_position_ms,
                is_playing,
                master_clock_ms,
                started_at_server,
                timestamp,
            } => {
                object!(out, "PAUSE_STATE", "audioUrl": audio_url, "duration": duration, "pausedPositionMs": paused_position_ms, "isPlaying": is_playing, "masterClockMs": master_clock_ms, "startedAtServer": started_at_server, "timestamp": timestamp);
            }
            Answer::PlaybackState { server_now, timestamp } => {
                let (no_track, no_duration) = (Nullable::<&str>(None), Nullable::<Number>(None));
                object!(out, "playback_state", "currentTrack": no_track, "isPlaying": false,
                    "playbackPosition": 0_u32, "duration": no_duration, "serverNow": server_now,
                    "timestamp": timestamp);
            }
            Answer::Resume { master_clock_ms, resume_delay_ms, playback_position_ms, timestamp } => {
                object!(out, "RESUME", "masterClockMs": master_clock_ms, "resumeDelayMs": resume_delay_ms, "playbackPositionMs": playback_position_ms, "timestamp": timestamp);
            }
            Answer::Seek { seek_position_ms, master_clock_ms, seek_delay_ms, timestamp } => {
                object!(out, "SEEK", "seekPositionMs": seek_position_ms, "masterClockMs": master_clock_ms, "seekDelayMs": seek_delay_ms, "timestamp": timestamp);
            }
            Answer::TrackChange { track_data, timestamp } => {
                object!(out, "TRACK_CHANGE", "trackData": track_data, "timestamp": timestamp);
            }
            Answer::Resync { correct_position_ms, master_clock_ms, timestamp } => {
                object!(out, "RESYNC", "correctPositionMs": correct_position_ms, "masterClockMs": master_clock_ms, "timestamp": timestamp);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_and_a_long_answer_get_their_headers() {
        let mut out = b"before".to_vec();
        Answer::DeviceReady { ws_id: WsId(5), timestamp: Timestamp(1_000) }.push_frame(&mut out);
        assert_eq!(out[..8], *b"before\x81\x36");
        assert_eq!(out[8..], *br#"{"type":"device_ready","wsId":"0000005","timestamp":1}"#.as_slice());
        let url = "u".repeat(70_000);
        let mut out = Vec::new();
        let play = Answer::PauseState {
            audio_url: Nullable(Some(&url)),
            duration: None,
            paused_position_ms: Ms(0),
            is_playing: false,
            master_clock_ms: Ms(0),
            started_at_server: Some(Nullable(None)),
            timestamp: Timestamp(0),
        };
        play.push_frame(&mut out);
        let header = frame::parse_header(&out).unwrap().unwrap();
        assert_eq!(header.payload_bytes as usize + header.header_bytes, out.len());
        assert!(out.ends_with(br#""startedAtServer":null,"timestamp":0}"#));
    }
}
