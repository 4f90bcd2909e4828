//! UTF-8 checked as it comes, for text messages in fragments (RFC 6455 §8.1, RFC 3629).
//!
//! Fails at the first byte after which no continuation could be valid, so an endless message that broke
//! already ends early. What is valid is std's knowledge; here is only the sequence that a fragment cut.
//! Invariant: `unfinished[..unfinished_bytes]` is a proper prefix of some character's encoding.

/// The check of one message, fragment by fragment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Utf8Stream {
    unfinished: [u8; 4],
    unfinished_bytes: u8,
}

/// Bytes that no text message may contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidUtf8;

impl Utf8Stream {
    /// Takes the next bytes of the message. An error as soon as nothing could follow that makes it valid;
    /// the stream is of no use after it. Linear in `bytes`.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), InvalidUtf8> {
        let rest = self.complete(bytes)?;
        if let Err(error) = std::str::from_utf8(rest) {
            if error.error_len().is_some() {
                return Err(InvalidUtf8);
            }
            let tail = &rest[error.valid_up_to()..];
            self.unfinished[..tail.len()].copy_from_slice(tail);
            // std reports a tail of at most 3 bytes as unfinished.
            self.unfinished_bytes = tail.len() as u8;
        }
        Ok(())
    }

    /// The message is over: an error if it ended inside a character.
    pub fn finish(&self) -> Result<(), InvalidUtf8> {
        if self.unfinished_bytes == 0 { Ok(()) } else { Err(InvalidUtf8) }
    }

    /// Moves bytes to the unfinished character until it is whole, and returns those behind it.
    fn complete<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], InvalidUtf8> {
        let mut rest = bytes;
        while self.unfinished_bytes > 0
            && let Some((byte, behind)) = rest.split_first()
        {
            rest = behind;
            let end = usize::from(self.unfinished_bytes);
            self.unfinished[end] = *byte;
            match std::str::from_utf8(&self.unfinished[..=end]) {
                Ok(_) => self.unfinished_bytes = 0,
                Err(error) if error.error_len().is_none() => self.unfinished_bytes += 1,
                Err(_) => return Err(InvalidUtf8),
            }
        }
        Ok(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn check(parts: &[&[u8]]) -> Result<(), InvalidUtf8> {
        let mut stream = Utf8Stream::default();
        for part in parts {
            stream.push(part)?;
        }
        stream.finish()
    }

    /// What std says of the whole.
    fn judged(bytes: &[u8]) -> Result<(), InvalidUtf8> {
        std::str::from_utf8(bytes).map(|_| ()).map_err(|_| InvalidUtf8)
    }

    const SAMPLES: [&[u8]; 14] = [
        b"",
        b"plain",
        "Hello-µ@ßöäüàá-UTF-8!!".as_bytes(),
        "κόσμε €𐍈 \u{10ffff} \u{d7ff}\u{e000}\u{fffd}\u{0}".as_bytes(),
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
        b"\xf4\x90\x80\x80",
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xf0\x80\x80\xaf",
        b"a\x80",
        b"\xe2\x82",
        b"\xf0\x9d\x84",
        b"\xc3",
        b"\xff",
    ];

    #[test]
    fn every_split_in_three_ends_like_the_whole() {
        for sample in SAMPLES {
            for second in 0..=sample.len() {
                for first in 0..=second {
                    let parts = [&sample[..first], &sample[first..second], &sample[second..]];
                    assert_eq!(check(&parts), judged(sample), "{parts:02x?}");
                }
            }
        }
    }

    #[test]
    fn byte_by_byte_ends_like_the_whole() {
        for sample in SAMPLES {
            let bytes: Vec<&[u8]> = sample.chunks(1).collect();
            assert_eq!(check(&bytes), judged(sample), "{sample:02x?}");
        }
    }

    #[test]
    fn fails_at_the_first_impossible_byte() {
        for (sound, bad) in [
            (&b""[..], 0x80),
            (b"", 0xc0),
            (b"", 0xc1),
            (b"", 0xf5),
            (b"\xe0", 0x9f),
            (b"\xed", 0xa0),
            (b"\xf0", 0x8f),
            (b"\xf4", 0x90),
            (b"\xc3", b'a'),
            (b"\xf0\x9d\x84", b'a'),
        ] {
            let mut stream = Utf8Stream::default();
            assert_eq!(stream.push(sound), Ok(()), "{sound:02x?}");
            assert_eq!(stream.push(&[bad]), Err(InvalidUtf8), "{sound:02x?} {bad:02x}");
        }
    }

    #[test]
    fn an_empty_fragment_changes_nothing() {
        assert_eq!(check(&[b"\xe2", b"", b"\x82", b"", b"\xac", b""]), Ok(()));
        assert_eq!(check(&[b"", b"\xe2\x82", b""]), Err(InvalidUtf8));
    }

    /// Every prefix of every character, and each of the 256 bytes behind it.
    #[test]
    fn goes_on_exactly_while_some_character_could_follow() {
        let mut unfinished = BTreeSet::from([Vec::new()]);
        for character in '\u{0}'..=char::MAX {
            let mut buffer = [0; 4];
            let encoded = character.encode_utf8(&mut buffer).as_bytes();
            // Only the first of 64 characters has a prefix that those before it had not.
            if encoded.len() > 1 && encoded[encoded.len() - 1] == 0x80 {
                unfinished.extend((1..encoded.len()).map(|end| encoded[..end].to_vec()));
            }
        }
        for prefix in &unfinished {
            let mut before = Utf8Stream::default();
            assert_eq!(before.push(prefix), Ok(()), "{prefix:02x?}");
            assert_eq!(before.finish().is_ok(), prefix.is_empty(), "{prefix:02x?}");
            let mut longer = [prefix, &[0][..]].concat();
            for byte in 0..=u8::MAX {
                longer[prefix.len()] = byte;
                let whole = std::str::from_utf8(&longer).is_ok();
                let mut stream = before;
                assert_eq!(
                    stream.push(&[byte]).is_ok(),
                    whole || unfinished.contains(&longer),
                    "{longer:02x?}"
                );
                assert!(!whole || stream.finish().is_ok(), "{longer:02x?}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_parts_end_like_the_whole(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..4), 0..6),
        ) {
            let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(check(&slices), judged(&parts.concat()));
        }

        #[test]
        fn any_text_cut_anywhere_passes(text in any::<String>(), cut in any::<prop::sample::Index>()) {
            let (first, second) = text.as_bytes().split_at(cut.index(text.len() + 1));
            prop_assert_eq!(check(&[first, second]), Ok(()));
        }
    }
}
