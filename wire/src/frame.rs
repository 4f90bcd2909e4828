//! The frame header of RFC 6455 §5.2: read, checked and written.
//!
//! It knows one frame at a time; fragments and UTF-8 are the decoder's. A header is refused by its own
//! bytes alone, before anything is allocated for the payload it announces.

use crate::mask;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// What a frame carries. The reserved opcodes of RFC 6455 §5.2 do not exist here: they are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// A further fragment of the message before it.
    Continue,
    /// UTF-8 text.
    Text,
    /// Bytes.
    Binary,
    /// The closing handshake.
    Close,
    /// To be answered with a pong of the same payload.
    Ping,
    /// The answer to a ping.
    Pong,
}

impl Opcode {
    /// True for close, ping and pong, which may stand between fragments.
    pub fn is_control(self) -> bool {
        matches!(self, Opcode::Close | Opcode::Ping | Opcode::Pong)
    }

    fn from_bits(bits: u8) -> Option<Opcode> {
        match OpCode::from(bits) {
            OpCode::Data(Data::Continue) => Some(Opcode::Continue),
            OpCode::Data(Data::Text) => Some(Opcode::Text),
            OpCode::Data(Data::Binary) => Some(Opcode::Binary),
            OpCode::Control(Control::Close) => Some(Opcode::Close),
            OpCode::Control(Control::Ping) => Some(Opcode::Ping),
            OpCode::Control(Control::Pong) => Some(Opcode::Pong),
            OpCode::Data(Data::Reserved(_)) | OpCode::Control(Control::Reserved(_)) => None,
        }
    }

    fn bits(self) -> u8 {
        u8::from(match self {
            Opcode::Continue => OpCode::Data(Data::Continue),
            Opcode::Text => OpCode::Data(Data::Text),
            Opcode::Binary => OpCode::Data(Data::Binary),
            Opcode::Close => OpCode::Control(Control::Close),
            Opcode::Ping => OpCode::Control(Control::Ping),
            Opcode::Pong => OpCode::Control(Control::Pong),
        })
    }
}

/// A parsed frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The last frame of its message.
    pub fin: bool,
    /// What the frame carries.
    pub opcode: Opcode,
    /// The masking key, if the frame is masked.
    pub mask: Option<[u8; 4]>,
    /// Bytes of payload, up to 2^63 - 1.
    pub payload_bytes: u64,
    /// Bytes of the header itself, 2 to 14.
    pub header_bytes: usize,
}

/// A header that RFC 6455 forbids; the connection fails with 1002.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// A reserved bit is set although no extension was agreed on (§5.2).
    ReservedBit,
    /// An opcode that is not defined (§5.2).
    ReservedOpcode,
    /// A control frame in fragments (§5.5).
    FragmentedControl,
    /// A control frame of over 125 bytes (§5.5).
    LongControl,
    /// A length of over 2^63 - 1 (§5.2).
    LengthSignBit,
    /// A length that a shorter form could carry (§5.2: the minimal number of bytes must be used).
    LengthNotMinimal,
}

/// Control frames carry at most this many bytes (RFC 6455 §5.5).
pub const CONTROL_PAYLOAD_BYTES_MAX: usize = 125;

/// The longest header a server writes: no mask, 64-bit length.
pub const SERVER_HEADER_BYTES_MAX: usize = 10;

/// Reads the header at the front of `bytes`; `None` if more bytes are needed.
pub fn parse_header(bytes: &[u8]) -> Result<Option<Header>, HeaderError> {
    let [first, second, rest @ ..] = bytes else {
        // One byte is enough to refuse, so that a bad frame fails as soon as it can.
        return bytes.first().map_or(Ok(None), |&first| check_first(first).map(|_| None));
    };
    let (fin, opcode) = check_first(*first)?;
    let masked = second & 0x80 != 0;
    let short = second & 0x7f;
    if opcode.is_control() && short > 125 {
        return Err(HeaderError::LongControl);
    }
    let (payload_bytes, length_bytes) = match short {
        126 => match rest.first_chunk() {
            Some(long) => (u64::from(u16::from_be_bytes(*long)), 2),
            None => return Ok(None),
        },
        127 => match rest.first_chunk() {
            Some(long) => (u64::from_be_bytes(*long), 8),
            None => return Ok(None),
        },
        short => (u64::from(short), 0),
    };
    match length_bytes {
        2 if payload_bytes < 126 => return Err(HeaderError::LengthNotMinimal),
        8 if payload_bytes >> 63 != 0 => return Err(HeaderError::LengthSignBit),
        8 if payload_bytes <= 0xffff => return Err(HeaderError::LengthNotMinimal),
        _ => {}
    }
    let mask = if masked {
        match rest[length_bytes..].first_chunk() {
            Some(key) => Some(*key),
            None => return Ok(None),
        }
    } else {
        None
    };
    let header_bytes = 2 + length_bytes + if masked { 4 } else { 0 };
    Ok(Some(Header { fin, opcode, mask, payload_bytes, header_bytes }))
}

fn check_first(first: u8) -> Result<(bool, Opcode), HeaderError> {
    if first & 0x70 != 0 {
        return Err(HeaderError::ReservedBit);
    }
    let opcode = Opcode::from_bits(first & 0x0f).ok_or(HeaderError::ReservedOpcode)?;
    let fin = first & 0x80 != 0;
    if opcode.is_control() && !fin {
        return Err(HeaderError::FragmentedControl);
    }
    Ok((fin, opcode))
}

/// The header of an unfragmented, unmasked frame, as a server sends it, and how many of its bytes count.
pub fn server_header(opcode: Opcode, payload_bytes: usize) -> ([u8; SERVER_HEADER_BYTES_MAX], usize) {
    let mut header = [0; SERVER_HEADER_BYTES_MAX];
    header[0] = 0x80 | opcode.bits();
    if payload_bytes < 126 {
        header[1] = payload_bytes as u8;
        (header, 2)
    } else if let Ok(long) = u16::try_from(payload_bytes) {
        header[1] = 126;
        header[2..4].copy_from_slice(&long.to_be_bytes());
        (header, 4)
    } else {
        header[1] = 127;
        header[2..].copy_from_slice(&(payload_bytes as u64).to_be_bytes());
        (header, 10)
    }
}

/// Appends the header of an unfragmented, unmasked frame.
pub fn push_header(out: &mut Vec<u8>, opcode: Opcode, payload_bytes: usize) {
    let (header, header_bytes) = server_header(opcode, payload_bytes);
    out.extend_from_slice(&header[..header_bytes]);
}

/// Appends an unfragmented, unmasked frame.
pub fn push_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    push_header(out, opcode, payload.len());
    out.extend_from_slice(payload);
}

/// Appends an unfragmented frame as a client sends it, masked with `key` (RFC 6455 §5.2). For clients: the load
/// generator, tests, benches.
pub fn push_masked_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], key: [u8; 4]) {
    const MASK_BIT: u8 = 0x80;
    let (mut header, header_bytes) = server_header(opcode, payload.len());
    header[1] |= MASK_BIT;
    out.extend_from_slice(&header[..header_bytes]);
    out.extend_from_slice(&key);
    let start = out.len();
    out.extend_from_slice(payload);
    mask::apply(&mut out[start..], key);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_written_are_read_back_at_all_three_lengths() {
        for payload_bytes in [0, 1, 125, 126, 127, 65_535, 65_536, 1 << 20] {
            let mut bytes = Vec::new();
            push_header(&mut bytes, Opcode::Text, payload_bytes);
            for cut in 0..bytes.len() {
                assert_eq!(parse_header(&bytes[..cut]), Ok(None), "{payload_bytes} cut at {cut}");
            }
            let header = parse_header(&bytes).unwrap().unwrap();
            assert_eq!(header.payload_bytes, payload_bytes as u64);
            assert_eq!(header.header_bytes, bytes.len());
            assert!(bytes.len() <= SERVER_HEADER_BYTES_MAX);
        }
    }

    #[test]
    fn headers_that_the_rfc_forbids_are_refused() {
        for (bytes, error) in [
            (&[0xc1][..], HeaderError::ReservedBit),
            (&[0x83], HeaderError::ReservedOpcode),
            (&[0x8b], HeaderError::ReservedOpcode),
            (&[0x09], HeaderError::FragmentedControl),
            (&[0x89, 126], HeaderError::LongControl),
            (&[0x81, 126, 0, 125], HeaderError::LengthNotMinimal),
            (&[0x81, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff], HeaderError::LengthNotMinimal),
            (&[0x81, 127, 0x80, 0, 0, 0, 0, 0, 0, 0], HeaderError::LengthSignBit),
        ] {
            assert_eq!(parse_header(bytes), Err(error), "{bytes:02x?}");
        }
    }
}
