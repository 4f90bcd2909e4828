//! A head that comes in pieces, and what of it has to be read again.
//!
//! [`super::parse`] begins at a head's start each time. A piece that only goes on with a word (the target, a field's
//! name or its value) can neither end the head nor break it, so it is looked at once and parsed with what ends the word.
//! A head that drips in is therefore read some three times for each of its lines, not once for each byte.

use super::HeadLimits;

/// The bytes of a head that is incomplete; by default none.
#[derive(Debug, Default)]
pub struct Partial {
    bytes: Vec<u8>,
    word: Word,
}

/// What the bytes so far end in.
#[derive(Clone, Copy, Debug, Default)]
enum Word {
    /// Nothing that could go on.
    #[default]
    None,
    /// The method or a field's name, or the start of a line.
    Token,
    /// The target.
    Target,
    /// A field's value.
    Value,
}

impl Partial {
    /// Bytes that [`super::parse`] found incomplete.
    pub fn new(bytes: Vec<u8>) -> Partial {
        let word = Word::at_end_of(&bytes);
        Partial { bytes, word }
    }

    /// Nothing has come yet.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes what came next. True if all of it is to be parsed now; otherwise the head is still incomplete. Linear
    /// in `piece`.
    #[must_use]
    pub fn push(&mut self, piece: &[u8], limits: &HeadLimits) -> bool {
        self.bytes.extend_from_slice(piece);
        self.bytes.len() >= limits.bytes_max || !piece.iter().all(|byte| self.word.goes_on_with(*byte))
    }

    /// All that came.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// All that came, for [`Partial::new`].
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl Word {
    /// Linear in the last line.
    fn at_end_of(bytes: &[u8]) -> Word {
        let bytes = bytes.strip_prefix(b"\r\n").unwrap_or(bytes);
        let line_end = bytes.iter().rposition(|&byte| byte == b'\n');
        let line = &bytes[line_end.map_or(0, |at| at + 1)..];
        let count = |wanted| line.iter().filter(|&&byte| byte == wanted).count();
        match (line_end, line.last()) {
            (_, None) => Word::Token,
            (_, Some(b'\r')) => Word::None,
            (None, _) => match count(b' ') {
                0 => Word::Token,
                1 => Word::Target,
                _ => Word::None,
            },
            (Some(_), _) if line.contains(&b':') => Word::Value,
            (Some(_), _) => Word::Token,
        }
    }

    /// True if this byte neither ends the word nor is forbidden in it. In doubt false: then it is parsed.
    fn goes_on_with(self, byte: u8) -> bool {
        match self {
            Word::None => false,
            Word::Token => byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_',
            Word::Target => byte.is_ascii_graphic(),
            Word::Value => matches!(byte, b'\t' | b' '..=b'~' | 0x80..),
        }
    }
}
