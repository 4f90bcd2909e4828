//! One client's ear: whatever a server may send to a connection, and nothing else.
//!
//! First an HTTP response. After a 101 whole, unmasked, unfragmented frames with lengths in their shortest form;
//! text is UTF-8 and, of the rooms app, a JSON object of a known type; word of a room only after `joined`. Nothing
//! after a close frame, nothing after the body of a refusal. The way in which the bytes come in pieces is of no
//! matter.

use crate::head::check_response;
use engine::App;
use serde_json::Value;

/// What a server says of a room, to its members only.
const OF_ROOMS: [&str; 13] = [
    "user_joined",
    "user_left",
    "PREPARE_TRACK",
    "device_health_check",
    "device_ready",
    "PLAY",
    "PLAY_SYNC",
    "PAUSE",
    "PAUSE_STATE",
    "RESUME",
    "SEEK",
    "TRACK_CHANGE",
    "RESYNC",
];

/// What one connection has heard.
pub(crate) struct Ear {
    app: App,
    /// Anyone may ask about a room, member or not.
    is_open_to_all: bool,
    phase: Phase,
    /// Bytes of an unfinished response or frame.
    rest: Vec<u8>,
    /// Its id, as the server calls it.
    pub(crate) ws_id: Option<String>,
    /// The newest handshake that it heard of.
    pub(crate) check_id: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Head,
    Open,
    /// A close frame, or a refusal, was the last word.
    Over,
}

impl Ear {
    pub(crate) fn new(app: App, is_open_to_all: bool) -> Ear {
        Ear {
            app,
            is_open_to_all,
            phase: Phase::Head,
            rest: Vec::new(),
            ws_id: None,
            check_id: String::new(),
        }
    }

    /// The next bytes that the client receives.
    pub(crate) fn hear(&mut self, bytes: &[u8]) {
        assert!(bytes.is_empty() || self.phase != Phase::Over, "something came after the last word");
        self.rest.extend_from_slice(bytes);
        if self.phase == Phase::Head {
            self.hear_response();
        }
        while self.phase == Phase::Open
            && let Some((opcode, payload)) = self.take_frame()
        {
            self.hear_frame(opcode, &payload);
        }
        if self.phase == Phase::Over {
            assert!(self.rest.is_empty(), "something came right after the last word");
        }
    }

    /// The last word was heard.
    pub(crate) fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    fn hear_response(&mut self) {
        let Some(end) = self.rest.windows(4).position(|four| four == b"\r\n\r\n") else { return };
        let head = String::from_utf8_lossy(&self.rest[..end]).into_owned();
        let status = head.get(9..12).and_then(|status| status.parse().ok()).expect("a status line");
        if status == 101 {
            check_response(&self.rest[..end + 4], status, None);
            self.rest.drain(..end + 4);
            self.phase = Phase::Open;
            return;
        }
        let length = head.split("Content-Length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
        let length: usize = length.map_or(0, |length| length.parse().expect("a length is a number"));
        let body_bytes = self.rest.len() - (end + 4);
        assert!(body_bytes <= length, "something came after the refusal");
        if body_bytes == length {
            check_response(&self.rest, status, Some(false));
            self.rest.clear();
            self.phase = Phase::Over;
        }
    }

    /// A frame as RFC 6455 §5.2 lets a server send it.
    fn take_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let (first, second) = (*self.rest.first()?, *self.rest.get(1)?);
        let opcode = first & 0x0f;
        assert!(first & 0xf0 == 0x80 && matches!(opcode, 1 | 2 | 8 | 9 | 10), "{first:02x} begins no frame");
        assert!(second < 0x80, "a server does not mask");
        assert!(opcode < 8 || second <= 125, "a control frame is short");
        let length_end = match second {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        let length =
            self.rest.get(2..length_end)?.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        let length = if second < 126 { usize::from(second) } else { length };
        assert!(second != 126 || (126..=65_535).contains(&length), "a length in its shortest form");
        assert!(second != 127 || length > 65_535, "a length in its shortest form");
        if self.rest.len() < length_end + length {
            return None;
        }
        let payload = self.rest[length_end..length_end + length].to_vec();
        self.rest.drain(..length_end + length);
        Some((opcode, payload))
    }

    fn hear_frame(&mut self, opcode: u8, payload: &[u8]) {
        match opcode {
            1 => {
                let text = std::str::from_utf8(payload).expect("text is UTF-8");
                if self.app == App::Rooms {
                    self.hear_message(text);
                }
            }
            2 => assert_ne!(self.app, App::Rooms, "rooms speak text"),
            8 => {
                let code = payload.try_into().map(u16::from_be_bytes).expect("a close frame has a code");
                assert!(matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999), "{code} is no code to send");
                self.phase = Phase::Over;
            }
            _ => {}
        }
    }

    fn hear_message(&mut self, text: &str) {
        let message: Value = serde_json::from_str(text).expect("a message is JSON");
        let kind = message["type"].as_str().expect("a message has a type");
        match kind {
            "joined" => {
                let ws_id = message["wsId"].as_str().expect("joined names the client");
                let is_sound = ws_id.len() >= 7
                    && ws_id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
                assert!(is_sound, "{ws_id}");
                assert_eq!(*self.ws_id.get_or_insert_with(|| ws_id.to_owned()), ws_id, "an id stays");
            }
            "time_pong" => {}
            "playback_state" => assert!(self.ws_id.is_some() || self.is_open_to_all),
            _ => {
                assert!(OF_ROOMS.contains(&kind), "{text}");
                assert!(self.ws_id.is_some() || self.is_open_to_all, "not a member yet: {text}");
            }
        }
        if kind == "device_health_check" {
            self.check_id = message["checkId"].as_str().expect("a check has an id").to_owned();
        }
    }
}
