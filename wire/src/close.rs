//! Close codes and the payload of a close frame, RFC 6455 §5.5.1 and §7.4.
//!
//! Which codes may stand on the wire is tungstenite's knowledge; which of them Downbeat sends is ours.

use crate::frame::{self, Opcode};
use tungstenite::protocol::frame::coding::CloseCode;

/// Given out by IANA since tungstenite's list was made.
const BAD_GATEWAY: u16 = 1014;

/// Why Downbeat closes a connection, as the code in the close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// 1000: the answer to a close frame without a code.
    Normal,
    /// 1001: the server is going away.
    GoingAway,
    /// 1002: the peer broke RFC 6455.
    Protocol,
    /// 1007: text that is not UTF-8.
    InvalidUtf8,
    /// 1008: a limit on behaviour was crossed.
    Policy,
    /// 1009: a message over the limit.
    TooBig,
    /// 1011: a fault of the server's own.
    Internal,
    /// 1013: try again later; the server could not keep what it owed this connection.
    TryAgainLater,
    /// The peer's own code, given back.
    Echo(u16),
}

impl Reason {
    /// The code on the wire.
    pub fn code(self) -> u16 {
        match self {
            Reason::Normal => 1000,
            Reason::GoingAway => 1001,
            Reason::Protocol => 1002,
            Reason::InvalidUtf8 => 1007,
            Reason::Policy => 1008,
            Reason::TooBig => 1009,
            Reason::Internal => 1011,
            Reason::TryAgainLater => 1013,
            Reason::Echo(code) => code,
        }
    }
}

/// Appends a close frame.
pub fn push_frame(out: &mut Vec<u8>, reason: Reason) {
    frame::push_frame(out, Opcode::Close, &reason.code().to_be_bytes());
}

/// What to answer to a close frame with this payload: its own code, 1000 if it had none, 1002 or 1007 if
/// the payload is not one that RFC 6455 §7.4 allows.
pub fn reply(payload: &[u8]) -> Reason {
    let Some((code, text)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() { Reason::Normal } else { Reason::Protocol };
    };
    let code = u16::from_be_bytes(*code);
    if code != BAD_GATEWAY && !CloseCode::from(code).is_allowed() {
        return Reason::Protocol;
    }
    if std::str::from_utf8(text).is_err() {
        return Reason::InvalidUtf8;
    }
    Reason::Echo(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_frame_is_answered_with_its_own_code_or_with_what_is_wrong_with_it() {
        for (payload, code) in [
            (&b""[..], 1000),
            (b"\x03", 1002),
            (b"\x03\xe8", 1000),
            (b"\x03\xe9bye", 1001),
            (b"\x03\xe8\xff", 1007),
            (b"\x03\xe7", 1002),
            (b"\x03\xed", 1002),
            (b"\x0b\xb8", 3000),
            (b"\x13\x88", 1002),
        ] {
            assert_eq!(reply(payload).code(), code, "{payload:02x?}");
        }
    }
}
