//! UTF-8 as it comes: the stream says what std says of the whole, in any pieces, and fails at the byte at which
//! RFC 3629 leaves no continuation.
//!
//! Input: the bytes as they come.

use wire::utf8::Utf8Stream;

/// Bytes that are split in two at every place.
const SPLIT_BYTES_MAX: usize = 256;

/// See the module.
pub fn utf8(bytes: &[u8]) {
    let is_valid = std::str::from_utf8(bytes).is_ok();
    let failure = first_failure(bytes);
    assert_eq!(is_valid, failure == Failure::None, "the automaton is std's");
    let mut stream = Utf8Stream::default();
    for (at, byte) in bytes.iter().enumerate() {
        if stream.push(&[*byte]).is_err() {
            assert_eq!(failure, Failure::At(at), "it fails as early as can be, and no earlier");
            break;
        }
        assert_ne!(failure, Failure::At(at), "nothing could follow");
    }
    assert_eq!(check(&[bytes]), is_valid);
    for cut in 0..bytes.len().min(SPLIT_BYTES_MAX) {
        let (front, back) = bytes.split_at(cut);
        assert_eq!(check(&[front, back]), is_valid, "cut at {cut}");
        assert_eq!(check(&[front, b"", &back[..back.len() / 2], &back[back.len() / 2..]]), is_valid);
    }
    for length in 1..6 {
        assert_eq!(check(&bytes.chunks(length).collect::<Vec<_>>()), is_valid, "pieces of {length}");
    }
}

fn check(pieces: &[&[u8]]) -> bool {
    let mut stream = Utf8Stream::default();
    pieces.iter().all(|piece| stream.push(piece).is_ok()) && stream.finish().is_ok()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    None,
    /// The byte that nothing can follow.
    At(usize),
    /// The end comes inside a character.
    Unfinished,
}

/// RFC 3629 §4's grammar as an automaton: the ranges that the next bytes of a character must lie in.
fn first_failure(bytes: &[u8]) -> Failure {
    const TAIL: (u8, u8) = (0x80, 0xbf);
    let mut expected: &[(u8, u8)] = &[];
    for (at, byte) in bytes.iter().copied().enumerate() {
        if let Some(((low, high), rest)) = expected.split_first() {
            if byte < *low || byte > *high {
                return Failure::At(at);
            }
            expected = rest;
            continue;
        }
        expected = match byte {
            0x00..=0x7f => &[],
            0xc2..=0xdf => &[TAIL],
            0xe0 => &[(0xa0, 0xbf), TAIL],
            0xe1..=0xec | 0xee..=0xef => &[TAIL, TAIL],
            0xed => &[(0x80, 0x9f), TAIL],
            0xf0 => &[(0x90, 0xbf), TAIL, TAIL],
            0xf1..=0xf3 => &[TAIL, TAIL, TAIL],
            0xf4 => &[(0x80, 0x8f), TAIL, TAIL],
            _ => return Failure::At(at),
        };
    }
    if expected.is_empty() { Failure::None } else { Failure::Unfinished }
}
