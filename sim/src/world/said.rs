//! What a client says, as bytes for the server and as a meaning for the judge.

use super::frames::{self, BINARY, CLOSE, CONTINUE, PING, PONG, TEXT};

/// What some bytes of a client mean once they are complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A request that is to be upgraded.
    Head,
    /// A request that is to be refused.
    BadHead,
    Text(Text),
    /// To be answered with this payload.
    Ping(Vec<u8>),
    Pong,
    /// The client's close, or a fault: nothing after it counts.
    Last,
}

/// A text message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) text: String,
    pub(super) kind: Kind,
    /// The room it names, as far as it names one.
    pub(super) room_code: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Join,
    /// A member's join that its core repeats, since the room's home has begun anew.
    Return,
    Ping,
    Other,
    /// Perhaps no message at all.
    Doubtful,
}

impl What {
    pub(super) fn is_text(&self) -> bool {
        matches!(self, What::Text(_))
    }
}

/// A fault of a frame and the code that it must be answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    ReservedBit,
    Unmasked,
    ReservedOpcode,
    StrayContinuation,
    LongControl,
    FragmentedControl,
    NotUtf8,
    TooBig,
    TooManyFragments,
    BadCloseCode,
    ShortClose,
}

impl Fault {
    pub(super) const ALL: [Fault; 11] = [
        Fault::ReservedBit,
        Fault::Unmasked,
        Fault::ReservedOpcode,
        Fault::StrayContinuation,
        Fault::LongControl,
        Fault::FragmentedControl,
        Fault::NotUtf8,
        Fault::TooBig,
        Fault::TooManyFragments,
        Fault::BadCloseCode,
        Fault::ShortClose,
    ];

    /// RFC 6455 §7.4.1.
    pub(super) fn code(self) -> u16 {
        match self {
            Fault::NotUtf8 => 1007,
            Fault::TooBig => 1009,
            Fault::TooManyFragments => 1008,
            _ => 1002,
        }
    }

    /// The bytes that commit it. `message_bytes_max` and `fragments_max` are the server's.
    pub(super) fn push(
        self,
        out: &mut Vec<u8>,
        key: [u8; 4],
        message_bytes_max: usize,
        fragments_max: usize,
    ) {
        let key = Some(key);
        match self {
            Fault::ReservedBit => frames::push_frame(out, 0xc0 | TEXT, b"{}", key),
            Fault::Unmasked => frames::push_frame(out, 0x80 | TEXT, b"{}", None),
            Fault::ReservedOpcode => frames::push_frame(out, 0x83, b"{}", key),
            Fault::StrayContinuation => frames::push_frame(out, 0x80 | CONTINUE, b"{}", key),
            Fault::LongControl => frames::push_frame(out, 0x80 | PING, &[b'x'; 126], key),
            Fault::FragmentedControl => frames::push_frame(out, PONG, b"", key),
            Fault::NotUtf8 => frames::push_frame(out, 0x80 | TEXT, b"{\"type\":\"\xc0\x80\"}", key),
            Fault::TooBig => {
                // The header alone says it.
                let mut frame = Vec::new();
                frames::push_frame(&mut frame, 0x80 | BINARY, &vec![0; message_bytes_max + 1], key);
                out.extend_from_slice(&frame[..frame.len() - message_bytes_max]);
            }
            Fault::TooManyFragments => {
                frames::push_frame(out, TEXT, b"", key);
                (0..fragments_max).for_each(|_| frames::push_frame(out, CONTINUE, b"", key));
            }
            Fault::BadCloseCode => frames::push_frame(out, 0x80 | CLOSE, &999_u16.to_be_bytes(), key),
            Fault::ShortClose => frames::push_frame(out, 0x80 | CLOSE, b"\x03", key),
        }
    }
}

/// The request's head that names this room in its path, or none.
pub(super) fn head(room_code: Option<&str>) -> String {
    let path = room_code.map_or("/ws/sync".to_owned(), |code| format!("/ws/sync?roomCode={code}&userId=u"));
    format!(
        "GET {path} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
}

/// Heads that must be refused.
pub(super) const BAD_HEADS: [(&str, u16); 6] = [
    ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", 404),
    ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", 405),
    ("GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", 400),
    ("nonsense\r\n\r\n", 400),
    ("GET / HTTP/1.0\r\nHost: h\r\n\r\n", 505),
    (
        "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 9\r\n\r\n",
        400,
    ),
];
