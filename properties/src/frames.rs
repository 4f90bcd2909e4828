//! Frames and messages: any bytes, in any pieces.
//!
//! The decoder sees and ends as `reference` does, however its bytes are split; it never holds more memory than
//! the unfinished bytes that came; what is written is read back. Input: limits (one byte), the lengths of pieces
//! (three bytes), then the bytes as they come.

mod reference;

use crate::input::Input;
use reference::{End, Seen};
use wire::close;
use wire::decoder::{Decoder, DecoderLimits, Event};
use wire::frame::{self, Header, Opcode};

const CHOICES: [DecoderLimits; 4] = [
    DecoderLimits { message_bytes_max: 65_536, fragments_max: 1024, masked: true },
    DecoderLimits { message_bytes_max: 200, fragments_max: 3, masked: true },
    DecoderLimits { message_bytes_max: 16 << 20, fragments_max: 65_536, masked: false },
    DecoderLimits { message_bytes_max: 64, fragments_max: 2, masked: false },
];
/// The decoder's first reservation and the record of a fragmented message, which may outweigh few bytes.
const HELD_BYTES_LEAST: usize = 64 + 128;
/// Inputs that are split in two at every byte.
const SPLIT_BYTES_MAX: usize = 128;

/// See the module.
pub fn frames(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let limits = input.pick(&CHOICES);
    let lengths = [input.byte(), input.byte(), input.byte()].map(|length| usize::from(length) + 1);
    let bytes = input.rest();
    let expected = reference::decode(bytes, &limits);
    assert_eq!(decode(&[bytes], &limits), expected, "in one piece");
    assert_eq!(decode(&bytes.chunks(1).collect::<Vec<_>>(), &limits), expected, "byte by byte");
    assert_eq!(decode(&pieces(bytes, lengths), &limits), expected, "in pieces of {lengths:?}");
    for cut in 1..bytes.len().min(SPLIT_BYTES_MAX) {
        let (front, back) = bytes.split_at(cut);
        assert_eq!(decode(&[front, back], &limits), expected, "cut at {cut}");
    }
    round_trip(bytes);
}

fn pieces(bytes: &[u8], lengths: [usize; 3]) -> Vec<&[u8]> {
    let mut rest = bytes;
    let cut = lengths.iter().cycle().map_while(|length| {
        let (piece, behind) = rest.split_at(rest.len().min(*length));
        rest = behind;
        (!piece.is_empty()).then_some(piece)
    });
    cut.collect()
}

/// What the decoder makes of bytes that come in these pieces.
fn decode(pieces: &[&[u8]], limits: &DecoderLimits) -> (Vec<Seen>, End) {
    let mut decoder = Decoder::default();
    let mut seen = Vec::new();
    let mut unfinished_bytes = 0;
    for piece in pieces {
        let mut bytes = piece.to_vec();
        let mut input = &mut bytes[..];
        unfinished_bytes += piece.len();
        loop {
            match decoder.next(&mut input, limits) {
                Ok(Some(event)) => seen.push(owned(event)),
                Ok(None) => break,
                Err(reason) => return (seen, End::Failed(reason)),
            }
            // Bytes that were received may be held twice, as growing memory doubles.
            assert!(decoder.held_bytes() <= 2 * unfinished_bytes + HELD_BYTES_LEAST);
        }
        assert!(input.is_empty(), "all that came is taken");
        if !decoder.is_midway() {
            assert_eq!(decoder.held_bytes(), 0, "nothing is kept of what is over");
            unfinished_bytes = 0;
        }
        assert!(decoder.held_bytes() <= 2 * unfinished_bytes + HELD_BYTES_LEAST);
    }
    (seen, if decoder.is_midway() { End::Midway } else { End::Idle })
}

fn owned(event: Event<'_>) -> Seen {
    match event {
        Event::Text(payload) => Seen::Text(payload.to_vec()),
        Event::Binary(payload) => Seen::Binary(payload.to_vec()),
        Event::Ping(payload) => Seen::Ping(payload.to_vec()),
        Event::Pong => Seen::Pong,
        Event::Close(payload) => {
            let code = close::reply(payload).code();
            assert!(matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999), "{code} is never sent");
            Seen::Close(payload.to_vec())
        }
    }
}

/// A frame that is written, as a server or as a client, is read back.
fn round_trip(payload: &[u8]) {
    let key = [payload.len() as u8, 0x37, 0xfa, 0x21];
    for opcode in [Opcode::Binary, Opcode::Text, Opcode::Ping, Opcode::Pong, Opcode::Close] {
        let is_sendable = match opcode {
            Opcode::Text => std::str::from_utf8(payload).is_ok(),
            _ if opcode.is_control() => payload.len() <= frame::CONTROL_PAYLOAD_BYTES_MAX,
            _ => true,
        };
        if !is_sendable {
            continue;
        }
        let expected = match opcode {
            Opcode::Text => Seen::Text(payload.to_vec()),
            Opcode::Ping => Seen::Ping(payload.to_vec()),
            Opcode::Pong => Seen::Pong,
            Opcode::Close => Seen::Close(payload.to_vec()),
            Opcode::Binary | Opcode::Continue => Seen::Binary(payload.to_vec()),
        };
        for masked in [false, true] {
            let mut written = Vec::new();
            if masked {
                frame::push_masked_frame(&mut written, opcode, payload, key);
            } else {
                frame::push_frame(&mut written, opcode, payload);
            }
            let header_bytes = written.len() - payload.len();
            let mask = masked.then_some(key);
            let header =
                Header { fin: true, opcode, mask, payload_bytes: payload.len() as u64, header_bytes };
            assert_eq!(frame::parse_header(&written), Ok(Some(header)));
            let limits = DecoderLimits { message_bytes_max: payload.len(), fragments_max: 1, masked };
            assert_eq!(decode(&[&written], &limits), (vec![expected.clone()], End::Idle));
        }
    }
}
