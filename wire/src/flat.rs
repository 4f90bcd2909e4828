//! A quick reader of the plain messages that nearly all traffic is: flat objects of short strings and numbers.
//!
//! It reads what it is sure of and nothing else: no escapes, no nesting, no number that JavaScript might write
//! in another way than it came. Whatever is not like that is [`scan`]'s `None`, left as it was, for the parser
//! that knows all of JSON; what it does read means the same to both. No allocation, one pass.

use crate::json::Value;

/// Fields of an object that is still plain.
const FIELDS_MAX: usize = 8;
/// Digits that any double keeps apart, so that the text of a number is the number's own.
const DIGITS_MAX: usize = 15;
/// 10^0 to 10^15: exact as doubles, so that one division rounds once and correctly.
const POWERS_OF_TEN: [f64; DIGITS_MAX + 1] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// The fields of a plain object, in the order they came. Names are ASCII.
#[derive(Debug)]
pub(crate) struct Fields<'b> {
    fields: [(&'b [u8], Value<'b, 'b>); FIELDS_MAX],
    count: usize,
}

impl<'b> Fields<'b> {
    pub(crate) fn as_slice(&self) -> &[(&'b [u8], Value<'b, 'b>)] {
        &self.fields[..self.count]
    }
}

/// Reads a message if it is a plain object.
pub(crate) fn scan(text: &[u8]) -> Option<Fields<'_>> {
    let mut rest = Rest(text);
    let mut fields = Fields { fields: [(&[], Value::NULL); FIELDS_MAX], count: 0 };
    rest.expect(b'{')?;
    loop {
        rest.expect(b'"')?;
        let name = rest.rest_of_string()?;
        rest.expect(b':')?;
        let value = rest.value()?;
        *fields.fields.get_mut(fields.count)? = (name, value);
        fields.count += 1;
        match rest.token()? {
            b',' => {}
            b'}' => break,
            _ => return None,
        }
    }
    rest.token().is_none().then_some(fields)
}

/// See [`crate::request::usual_ping`].
pub(crate) fn scan_ping(text: &[u8]) -> Option<(Value<'_, '_>, Value<'_, '_>)> {
    let mut rest = Rest(text.strip_prefix(br#"{"type":"time_ping","id":"#)?);
    let id = rest.value()?;
    rest.0 = rest.0.strip_prefix(br#","t0":"#)?;
    let t0 = rest.value()?;
    (rest.0 == b"}").then_some((id, t0))
}

/// What is still to be read.
struct Rest<'b>(&'b [u8]);

impl<'b> Rest<'b> {
    /// The next byte that is no white space.
    #[inline]
    fn token(&mut self) -> Option<u8> {
        loop {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            if *byte > b' ' || !matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
                return Some(*byte);
            }
        }
    }

    #[inline]
    fn expect(&mut self, wanted: u8) -> Option<()> {
        (self.token()? == wanted).then_some(())
    }

    fn take(&mut self, length: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// Up to the closing quote; `None` if anything in it would have to be escaped or is not ASCII.
    fn rest_of_string(&mut self) -> Option<&'b [u8]> {
        let length = plain_length(self.0);
        let text = self.take(length)?;
        (self.take(1)? == b"\"").then_some(text)
    }

    fn value(&mut self) -> Option<Value<'b, 'b>> {
        let start = self.0;
        let first = self.token()?;
        let value = &start[start.len() - self.0.len() - 1..];
        match first {
            b'"' => {
                let quoted_bytes = self.rest_of_string()?.len() + 2;
                Some(Value::plain_text(&value[..quoted_bytes]))
            }
            b'0'..=b'9' => self.number(first, value),
            b't' => self.word(b"rue").map(|()| Value::flag(true)),
            b'f' => self.word(b"alse").map(|()| Value::flag(false)),
            b'n' => self.word(b"ull").map(|()| Value::NULL),
            _ => None,
        }
    }

    fn word(&mut self, rest: &[u8]) -> Option<()> {
        (self.take(rest.len())? == rest).then_some(())
    }

    /// A number of few enough digits, with no exponent, no sign and no zero that JavaScript would not write;
    /// its first digit has been read, and stands at the front of `text`.
    fn number(&mut self, first: u8, text: &'b [u8]) -> Option<Value<'b, 'b>> {
        let mut number = u64::from(first - b'0');
        let whole_digits = 1 + self.digits(&mut number);
        let is_small = first == b'0';
        if is_small && whole_digits > 1 {
            return None;
        }
        let mut places = 0;
        if let [b'.', rest @ ..] = self.0 {
            self.0 = rest;
            places = self.digits(&mut number);
            // A number below 0.1 may be written with an exponent.
            if places == 0 || number.is_multiple_of(10) || (is_small && rest[0] == b'0') {
                return None;
            }
        }
        if whole_digits + places > DIGITS_MAX || matches!(self.0, [b'e' | b'E', ..]) {
            return None;
        }
        let text = &text[..text.len() - self.0.len()];
        Some(Value::plain_number(text, number as f64 / POWERS_OF_TEN[places]))
    }

    /// Adds digits to a number; how many there were. Past 19 it is wrong, and refused for their count.
    #[inline]
    fn digits(&mut self, number: &mut u64) -> usize {
        let start = self.0.len();
        while let Some((eight, rest)) = self.0.split_first_chunk::<8>()
            && let Some(eight) = eight_digits(*eight)
        {
            *number = number.wrapping_mul(100_000_000).wrapping_add(eight);
            self.0 = rest;
        }
        while let [digit @ b'0'..=b'9', rest @ ..] = self.0 {
            *number = number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            self.0 = rest;
        }
        start - self.0.len()
    }
}

/// The number that eight digits are, if they are digits.
#[inline]
fn eight_digits(text: [u8; 8]) -> Option<u64> {
    const ZEROS: u64 = u64::from_ne_bytes([b'0'; 8]);
    const SIX: u64 = u64::from_ne_bytes([6; 8]);
    const HIGH_HALVES: u64 = u64::from_ne_bytes([0xf0; 8]);
    let word = u64::from_le_bytes(text);
    // 0x30 to 0x39 are the bytes whose high half is 3 and stays 3 when 6 is added.
    if (word & HIGH_HALVES) != ZEROS || (word.wrapping_add(SIX) & HIGH_HALVES) != ZEROS {
        return None;
    }
    // Neighbours are joined: digits to pairs, pairs to fours, fours to the eight.
    let digits = word - ZEROS;
    let pairs = (digits.wrapping_mul(10) + (digits >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(100) + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    Some((fours.wrapping_mul(10_000) + (fours >> 32)) & 0xffff_ffff)
}

/// Bytes up to the first that is a quote, a backslash, a control character or not ASCII. Eight at a time.
fn plain_length(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    let (words, _) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // A byte's high bit is set where subtracting made it less than zero; a borrow can only spoil bytes
        // behind the first that is set, and the first is all that counts.
        let below = |limit: u8, word: u64| word.wrapping_sub(ONES * u64::from(limit)) & !word;
        let is_zero = |word: u64| below(1, word);
        let quote = is_zero(word ^ (ONES * u64::from(b'"')));
        let backslash = is_zero(word ^ (ONES * u64::from(b'\\')));
        let stops = (quote | backslash | below(0x20, word) | word) & HIGH;
        if stops != 0 {
            return 8 * index + stops.trailing_zeros() as usize / 8;
        }
    }
    let tail = 8 * words.len();
    let is_stop = |byte: &u8| !matches!(byte, 0x20 | 0x21 | 0x23..=0x5b | 0x5d..=0x7f);
    bytes[tail..].iter().position(is_stop).map_or(bytes.len(), |at| tail + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        match scan(text.as_bytes()) {
            Some(fields) => fields
                .as_slice()
                .iter()
                .map(|(name, value)| {
                    format!("{}={}", String::from_utf8_lossy(name), value.to_json().as_text())
                })
                .collect::<Vec<_>>()
                .join(" "),
            None => "-".to_owned(),
        }
    }

    #[test]
    fn plain_objects_are_read() {
        assert_eq!(
            read(
                r#" { "type" : "time_ping","id":"0.73","t0":1763000000123.5,"a":true,"b":false,"c":null } "#
            ),
            r#"type="time_ping" id="0.73" t0=1763000000123.5 a=true b=false c=null"#
        );
        assert_eq!(read(r#"{"a":0,"b":0.5,"c":999999999999999}"#), "a=0 b=0.5 c=999999999999999");
        assert_eq!(read(r#"{"a":1,"a":2}"#), "a=1 a=2", "which of two counts is the reader's");
    }

    #[test]
    fn whatever_is_not_plain_is_left_to_the_parser() {
        for text in [
            "",
            "{",
            "{}",
            "null",
            "[]",
            r#"{"a":1"#,
            r#"{"a":1}x"#,
            r#"{"a":1,}"#,
            r#"{"a" 1}"#,
            r#"{a:1}"#,
            r#"{"a":[1]}"#,
            r#"{"a":{}}"#,
            r#"{"a":"\n"}"#,
            "{\"a\":\"\t\"}",
            r#"{"a":"é"}"#,
            r#"{"é":1}"#,
            r#"{"a":-1}"#,
            r#"{"a":-0}"#,
            r#"{"a":1.0}"#,
            r#"{"a":1.50}"#,
            r#"{"a":0.05}"#,
            r#"{"a":01}"#,
            r#"{"a":1e3}"#,
            r#"{"a":1E3}"#,
            r#"{"a":1.}"#,
            r#"{"a":.5}"#,
            r#"{"a":1234567890123456}"#,
            r#"{"a":1.23456789012345678}"#,
            r#"{"a":99999999999999999999999}"#,
            r#"{"a":tru}"#,
            r#"{"a":nul"#,
            r#"{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1}"#,
        ] {
            assert_eq!(read(text), "-", "{text}");
        }
        assert_eq!(scan(b"{\"a\":\"\xff\"}").map(|_| ()), None);
    }

    #[test]
    fn eight_digits_are_the_number_they_spell() {
        for number in [0, 1, 9, 10, 12_345_678, 98_765_432, 99_999_999, 10_000_000, 90_909_090] {
            let text: [u8; 8] = format!("{number:08}").into_bytes().try_into().unwrap();
            assert_eq!(eight_digits(text), Some(number));
            for at in 0..8 {
                for other in (0..b'0').chain(b':'..=0xff) {
                    let mut spoilt = text;
                    spoilt[at] = other;
                    assert_eq!(eight_digits(spoilt), None, "{spoilt:02x?}");
                }
            }
        }
    }

    #[test]
    fn a_string_ends_at_its_first_byte_that_is_not_plain_wherever_that_is() {
        for stop in 0..=u8::MAX {
            let is_plain = matches!(stop, 0x20..=0x7f) && !matches!(stop, b'"' | b'\\');
            for before in 0..20 {
                for behind in [&b""[..], b"0123456789", b"\"\"\"\"\"\"\"\"\"\"", &[0x80; 9], &[0; 9]] {
                    let bytes = [&vec![b'!'; before][..], &[stop], behind].concat();
                    let behind_plain = if behind == b"0123456789" { 10 } else { 0 };
                    let expected = if is_plain { before + 1 + behind_plain } else { before };
                    assert_eq!(plain_length(&bytes), expected, "{before} {stop:02x} {behind:02x?}");
                }
            }
        }
    }
}
