//! Each rule of RFC 6455 about frames as a row: what breaks it, and the reason that the connection fails with.
//!
//! A row's bytes are all that comes: whatever would follow is not needed to see the fault. All rows end alike whole and
//! byte by byte.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use wire::close::{self, Reason};
use wire::decoder::{Decoder, DecoderLimits, Event};
use wire::frame::{self, Opcode};

const SERVER: DecoderLimits = DecoderLimits { message_bytes_max: 100_000, fragments_max: 16, masked: true };
const CLIENT: DecoderLimits = DecoderLimits { masked: false, ..SERVER };
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

const OPCODES: [u8; 6] = [0x0, 0x1, 0x2, 0x8, 0x9, 0xa];
const CONTROL: [u8; 3] = [0x8, 0x9, 0xa];

/// What comes of bytes in these pieces: the events, and the reason of the failure if there was one.
fn decode<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    limits: &DecoderLimits,
) -> (Vec<String>, Option<Reason>) {
    let mut decoder = Decoder::default();
    let mut events = Vec::new();
    for piece in pieces {
        let mut bytes = piece.to_vec();
        let mut input = &mut bytes[..];
        loop {
            match decoder.next(&mut input, limits) {
                Ok(Some(Event::Close(payload))) => {
                    events.push(format!("Close {}", close::reply(payload).code()));
                }
                Ok(Some(event)) => events.push(format!("{event:?}")),
                Ok(None) => break,
                Err(reason) => return (events, Some(reason)),
            }
        }
    }
    (events, None)
}

fn check_fails(bytes: &[u8], reason: Reason) {
    let whole = decode([bytes], &SERVER);
    assert_eq!(whole.1, Some(reason), "{:02x?}", &bytes[..bytes.len().min(20)]);
    assert_eq!(decode(bytes.chunks(1), &SERVER), whole, "byte by byte");
}

fn check_passes(bytes: &[u8]) {
    let whole = decode([bytes], &SERVER);
    assert_eq!((whole.0.len(), whole.1), (1, None), "{:02x?}", &bytes[..bytes.len().min(20)]);
    assert_eq!(decode(bytes.chunks(1), &SERVER), whole, "byte by byte");
}

/// A frame as a client sends it, its first byte as given.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::push_masked_frame(&mut bytes, Opcode::Binary, payload, KEY);
    bytes[0] = first;
    bytes
}

/// How a length is written.
#[derive(Clone, Copy)]
enum Form {
    SevenBits,
    TwoBytes,
    EightBytes,
}

/// A masked header with a length in this form.
fn header(first: u8, length: u64, form: Form) -> Vec<u8> {
    let bytes = length.to_be_bytes();
    let (code, extended) = match form {
        Form::SevenBits => (bytes[7], &[][..]),
        Form::TwoBytes => (126, &bytes[6..]),
        Form::EightBytes => (127, &bytes[..]),
    };
    [&[first, 0x80 | code], extended, &KEY].concat()
}

/// The same and its payload.
fn with_length(first: u8, length: u64, form: Form) -> Vec<u8> {
    let mut bytes = header(first, length, form);
    bytes.resize(bytes.len() + length as usize, 0);
    bytes
}

/// §5.2: MUST fail if a reserved bit is set and no extension gives it a meaning. Its byte is enough.
#[test]
fn every_reserved_bit_on_every_opcode_is_1002() {
    for bits in 1..8_u8 {
        for opcode in OPCODES {
            for fin in [0, 0x80] {
                check_fails(&[fin | bits << 4 | opcode], Reason::Protocol);
                check_fails(&masked(fin | bits << 4 | opcode, b"payload"), Reason::Protocol);
            }
        }
    }
}

/// §5.2: MUST fail on an unknown opcode.
#[test]
fn every_reserved_opcode_is_1002() {
    for opcode in (0x3..=0x7).chain(0xb..=0xf) {
        for fin in [0, 0x80] {
            check_fails(&[fin | opcode], Reason::Protocol);
            // Also between the fragments of a message.
            check_fails(&[masked(0x01, b"a"), vec![fin | opcode]].concat(), Reason::Protocol);
        }
    }
}

/// §5.5: control frames MUST NOT be fragmented, and carry 125 bytes at most.
#[test]
fn control_frames_in_fragments_or_over_125_bytes_are_1002() {
    for opcode in CONTROL {
        check_fails(&[opcode], Reason::Protocol);
        for code in [126, 127] {
            check_fails(&[0x80 | opcode, 0x80 | code], Reason::Protocol);
        }
        check_fails(&masked(0x80 | opcode, &[0; 126]), Reason::Protocol);
        check_fails(&masked(0x80 | opcode, &[0; 65_536]), Reason::Protocol);
        let mut farewell = [b'x'; 125];
        farewell[..2].copy_from_slice(&[0x03, 0xe8]);
        check_passes(&masked(0x80 | opcode, &farewell));
        check_passes(&masked(0x80 | opcode, b""));
    }
}

/// §5.1: a server MUST close on an unmasked frame, a client on a masked one.
#[test]
fn frames_of_the_wrong_side_are_1002() {
    for opcode in OPCODES.into_iter().filter(|opcode| *opcode != 0) {
        for payload in [&b""[..], b"x", &[0; 126], &[0; 65_536]] {
            if CONTROL.contains(&opcode) && payload.len() > frame::CONTROL_PAYLOAD_BYTES_MAX {
                continue;
            }
            let mut unmasked = Vec::new();
            frame::push_header(&mut unmasked, Opcode::Binary, payload.len());
            unmasked[0] = 0x80 | opcode;
            check_fails(&unmasked, Reason::Protocol);
            unmasked.extend_from_slice(payload);
            check_fails(&unmasked, Reason::Protocol);
            assert_eq!(decode([&unmasked[..]], &CLIENT).1, None);
            assert_eq!(decode([&masked(0x80 | opcode, payload)[..]], &CLIENT).1, Some(Reason::Protocol));
        }
    }
}

/// §5.2: the minimal number of bytes MUST be used to encode the length, and its most significant bit MUST be 0.
#[test]
fn lengths_in_a_longer_form_than_needed_or_negative_are_1002() {
    for length in 0..126 {
        check_fails(&header(0x82, length, Form::TwoBytes), Reason::Protocol);
        check_fails(&header(0x82, length, Form::EightBytes), Reason::Protocol);
        check_passes(&with_length(0x82, length, Form::SevenBits));
    }
    for length in [126, 127, 255, 256, 65_534, 65_535] {
        check_fails(&header(0x82, length, Form::EightBytes), Reason::Protocol);
        check_passes(&with_length(0x82, length, Form::TwoBytes));
    }
    check_passes(&with_length(0x82, 65_536, Form::EightBytes));
    for length in [1 << 63, (1 << 63) + 1, u64::MAX] {
        check_fails(&header(0x82, length, Form::EightBytes), Reason::Protocol);
    }
}

#[test]
fn a_length_over_the_limit_is_1009_by_its_header_alone() {
    for length in [100_001, 1 << 32, (1 << 63) - 1] {
        check_fails(&header(0x81, length, Form::EightBytes), Reason::TooBig);
    }
    check_passes(&with_length(0x82, 100_000, Form::EightBytes));
    // Together with the fragments before it.
    let first = masked(0x02, &[0; 60_000]);
    check_fails(&[first.clone(), header(0x80, 40_001, Form::TwoBytes)].concat(), Reason::TooBig);
    check_passes(&[first, masked(0x80, &[0; 40_000])].concat());
}

/// §5.4: fragments of one message MUST NOT be interleaved with another's; a continuation needs a start.
#[test]
fn fragments_out_of_order_are_1002() {
    let (ping, pong) = (masked(0x89, b"p"), masked(0x8a, b"p"));
    let starts = [masked(0x01, b"a"), masked(0x02, b"a"), [masked(0x01, b"a"), masked(0x00, b"b")].concat()];
    for fin in [0, 0x80] {
        check_fails(&masked(fin, b"a"), Reason::Protocol);
        check_fails(&[masked(0x81, b"a"), masked(fin, b"b")].concat(), Reason::Protocol);
        check_fails(&[masked(0x01, b"a"), masked(0x80, b"b"), masked(fin, b"c")].concat(), Reason::Protocol);
        check_fails(&[ping.clone(), masked(fin, b"a")].concat(), Reason::Protocol);
        for start in &starts {
            for opcode in [0x1, 0x2] {
                let second = masked(fin | opcode, b"b");
                check_fails(&[&start[..], &second].concat(), Reason::Protocol);
                check_fails(&[&start[..], &ping, &pong, &second].concat(), Reason::Protocol);
            }
        }
    }
}

#[test]
fn control_frames_between_fragments_change_nothing() {
    let bytes = [
        masked(0x01, b"H"),
        masked(0x89, b"1"),
        masked(0x00, b""),
        masked(0x8a, b""),
        masked(0x80, b"i"),
        masked(0x88, b"\x03\xe8"),
    ]
    .concat();
    let events = ["Ping([49])", "Pong", "Text([72, 105])", "Close 1000"].map(str::to_owned).to_vec();
    let expected = (events, None);
    assert_eq!(decode([&bytes[..]], &SERVER), expected);
    assert_eq!(decode(bytes.chunks(1), &SERVER), expected);
}

#[test]
fn more_fragments_than_allowed_are_1008_empty_ones_counted() {
    check_passes(&[masked(0x02, b""), masked(0x00, b"").repeat(14), masked(0x80, b"")].concat());
    check_fails(&[masked(0x02, b""), masked(0x00, b"").repeat(16)].concat(), Reason::Policy);
}

/// §7.4.2 and IANA's registry of close codes: 1000 to 1014 but for 1004, 1005 and 1006, and 3000 to 4999.
#[test]
fn every_close_code_of_0_to_5000_comes_back_or_is_1002() {
    let is_given = |code| matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
    for code in (0..=5000).chain([5001, 9999, 32_768, u16::MAX]) {
        let expected = if is_given(code) { code } else { 1002 };
        let payload = code.to_be_bytes();
        assert_eq!(close::reply(&payload).code(), expected, "{code}");
        assert_eq!(decode([&masked(0x88, &payload)[..]], &SERVER), (vec![format!("Close {expected}")], None));
    }
}

/// §5.5.1, §8.1.
#[test]
fn a_close_frames_payload_is_nothing_or_a_code_and_utf_8() {
    for byte in 0..=u8::MAX {
        assert_eq!(close::reply(&[byte]).code(), 1002, "a code of one byte");
    }
    assert_eq!(close::reply(b"").code(), 1000);
    let with = |reason: &[u8]| close::reply(&[b"\x03\xe9", reason].concat()).code();
    assert_eq!(with("é✨𐍈".as_bytes()), 1001);
    assert_eq!(with(&[b'x'; 123]), 1001);
    for invalid in
        [&b"\x80"[..], b"a\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"cut \xe2\x9c"]
    {
        assert_eq!(with(invalid), 1007, "{invalid:02x?}");
    }
    assert_eq!(close::reply(b"\x03\xed\xff").code(), 1002, "a bad code is said before a bad reason");
}

/// Text that no continuation could save, and how many of its bytes one could.
const BROKEN: [(&[u8], usize); 6] = [
    (b"\x80", 0),
    (b"ab\xc0\xaf", 2),
    (b"\xce\xba\xed\xa0\x80edited", 3),
    (b"\xce\xba\xf4\x90\x80\x80edited", 3),
    (b"\xe2\x9c\x41", 2),
    (b"\xff", 0),
];

/// §8.1. Each byte in a fragment of its own, and each cut in two: the fragment that breaks the text is the last that
/// is needed, though the message goes on.
#[test]
fn text_that_breaks_in_a_fragment_is_1007_before_the_message_ends() {
    for (text, sound_bytes) in BROKEN {
        let fragments: Vec<Vec<u8>> = text
            .chunks(1)
            .enumerate()
            .map(|(at, byte)| masked(if at == 0 { 0x01 } else { 0x00 }, byte))
            .collect();
        check_fails(&fragments[..=sound_bytes].concat(), Reason::InvalidUtf8);
        assert_eq!(decode([&fragments[..sound_bytes].concat()[..]], &SERVER), (vec![], None), "{text:02x?}");
        for cut in 0..=text.len() {
            let (front, back) = (masked(0x01, &text[..cut]), masked(0x00, &text[cut..]));
            let needed = if cut > sound_bytes { front } else { [front, back].concat() };
            check_fails(&needed, Reason::InvalidUtf8);
        }
        check_fails(&masked(0x81, text), Reason::InvalidUtf8);
        check_passes(&masked(0x82, text));
    }
}

#[test]
fn text_that_ends_inside_a_character_is_1007_and_cut_anywhere_else_is_fine() {
    let text = "é✨𐍈".as_bytes();
    for end in 0..=text.len() {
        let is_whole = std::str::from_utf8(&text[..end]).is_ok();
        for cut in 0..=end {
            let bytes = [masked(0x01, &text[..cut]), masked(0x80, &text[cut..end])].concat();
            if is_whole {
                check_passes(&bytes);
            } else {
                check_fails(&bytes, Reason::InvalidUtf8);
            }
        }
    }
}
