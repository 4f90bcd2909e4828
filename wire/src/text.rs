//! JSON written by hand: the values of answers, and an object of them.
//!
//! Everything is written as JavaScript writes it. Fields' names are constants, put together with the quotes
//! around them when this is compiled; nothing here allocates if the buffer has room.

use crate::json::{Json, Number, Value};

/// A value of an answer's field.
pub(crate) trait Text {
    /// Appends the value.
    fn write(&self, out: &mut Vec<u8>);

    /// The field is left out.
    fn is_absent(&self) -> bool {
        false
    }
}

/// Writes an object whose first field is its type; absent fields are left out.
macro_rules! object {
    ($out:expr, $kind:literal, $($name:literal: $value:expr),* $(,)?) => {{
        let out: &mut Vec<u8> = $out;
        out.extend_from_slice(concat!("{\"type\":\"", $kind, "\"").as_bytes());
        $crate::text::fields!(out, $($name: $value),*);
        out.push(b'}');
    }};
}

/// Writes further fields of an object.
macro_rules! fields {
    ($out:expr, $($name:literal: $value:expr),* $(,)?) => {{
        let out: &mut Vec<u8> = $out;
        $(
            if !$crate::text::Text::is_absent(&$value) {
                out.extend_from_slice(concat!(",\"", $name, "\":").as_bytes());
                $crate::text::Text::write(&$value, out);
            }
        )*
    }};
}

pub(crate) use {fields, object};

/// A time or duration in microseconds, written as milliseconds with a fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ms(pub i64);

/// Unix time in microseconds, written as whole milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamp(pub i64);

/// A connection's id as clients see it: base 36, at least 7 characters of a-z and 0-9.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WsId(pub u64);

/// A value, or `null` for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nullable<T>(pub Option<T>);

impl WsId {
    /// The digits, without a leading zero beyond the seventh, in a buffer of the longest id's length.
    pub fn write(self, digits: &mut [u8; 13]) -> &str {
        let mut rest = self.0;
        let mut start = digits.len();
        while rest > 0 || start > digits.len() - 7 {
            start -= 1;
            digits[start] = b"0123456789abcdefghijklmnopqrstuvwxyz"[(rest % 36) as usize];
            rest /= 36;
        }
        std::str::from_utf8(&digits[start..]).expect("base 36 digits are ASCII")
    }
}

/// Appends a whole number and its thousandths, without zeros behind the last digit that counts.
fn push_decimal(out: &mut Vec<u8>, is_negative: bool, whole: u64, thousandths: u32) {
    /// A sign, the digits of a `u64`, a point and three places fit, and a copy of this size is a few moves.
    const WRITTEN_MAX: usize = 32;
    /// Where the whole part ends.
    const POINT: usize = 28;
    if whole < 10 && thousandths == 0 && !is_negative {
        return out.push(b'0' + whole as u8);
    }
    let mut text = [0; POINT + WRITTEN_MAX];
    let mut start = POINT;
    let mut rest = whole;
    while rest >= 10_000 {
        let four = (rest % 10_000) as usize;
        rest /= 10_000;
        start -= 4;
        let ([a, b], [c, d]) = (PAIRS[four / 100], PAIRS[four % 100]);
        text[start..start + 4].copy_from_slice(&[a, b, c, d]);
    }
    let rest = rest as usize;
    let ([a, b], [c, d]) = (PAIRS[rest / 100], PAIRS[rest % 100]);
    text[start - 4..start].copy_from_slice(&[a, b, c, d]);
    start -= 1 + usize::from(rest > 9) + usize::from(rest > 99) + usize::from(rest > 999);
    if is_negative {
        start -= 1;
        text[start] = b'-';
    }
    let mut end = POINT;
    if thousandths > 0 {
        let [tens, ones] = PAIRS[(thousandths % 100) as usize];
        text[POINT..POINT + 4].copy_from_slice(&[b'.', b'0' + (thousandths / 100) as u8, tens, ones]);
        end += if ones != b'0' { 4 } else { 2 + usize::from(tens != b'0') };
    }
    let length = out.len() + end - start;
    out.extend_from_slice(&text[start..start + WRITTEN_MAX]);
    out.truncate(length);
}

/// The digits of 0 to 99.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
};

impl Text for Ms {
    fn write(&self, out: &mut Vec<u8>) {
        // Below 2^42 ms doubles lie closer than a microsecond, so the decimal with three places that is the
        // time is the shortest that gives its double back, but for zeros at its end.
        const EXACT_US_MAX: u64 = (1 << 42) * 1000;
        let us = self.0.unsigned_abs();
        if us >= EXACT_US_MAX {
            return Number(self.0 as f64 / 1000.0).write(out);
        }
        push_decimal(out, self.0 < 0, us / 1000, (us % 1000) as u32);
    }
}

impl Text for Number {
    fn write(&self, out: &mut Vec<u8>) {
        match self.whole() {
            Some(whole) => push_decimal(out, whole < 0, whole.unsigned_abs(), 0),
            None if self.0.is_finite() => {
                let mut digits = zmij::Buffer::new();
                let digits = digits.format_finite(self.0);
                out.extend_from_slice(digits.strip_suffix(".0").unwrap_or(digits).as_bytes());
            }
            None => out.extend_from_slice(b"null"),
        }
    }
}

impl Text for Timestamp {
    fn write(&self, out: &mut Vec<u8>) {
        let ms = self.0.div_euclid(1000);
        push_decimal(out, ms < 0, ms.unsigned_abs(), 0);
    }
}

impl Text for WsId {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(b'"');
        out.extend_from_slice(WsId::write(*self, &mut [0; 13]).as_bytes());
        out.push(b'"');
    }
}

impl Text for u32 {
    fn write(&self, out: &mut Vec<u8>) {
        push_decimal(out, false, u64::from(*self), 0);
    }
}

impl Text for usize {
    fn write(&self, out: &mut Vec<u8>) {
        push_decimal(out, false, *self as u64, 0);
    }
}

impl Text for bool {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if *self { b"true" } else { b"false" });
    }
}

impl Text for str {
    fn write(&self, out: &mut Vec<u8>) {
        serde_json::to_writer(out, self).expect("a string can be written to memory");
    }
}

impl Text for Json {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_text().as_bytes());
    }
}

impl Text for Value<'_, '_> {
    fn write(&self, out: &mut Vec<u8>) {
        Value::write(self, out);
    }
}

impl<T: Text + ?Sized> Text for &T {
    fn write(&self, out: &mut Vec<u8>) {
        T::write(self, out);
    }

    fn is_absent(&self) -> bool {
        T::is_absent(self)
    }
}

impl<T: Text> Text for Option<T> {
    fn write(&self, out: &mut Vec<u8>) {
        if let Some(value) = self {
            value.write(out);
        }
    }

    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

impl<T: Text> Text for Nullable<T> {
    fn write(&self, out: &mut Vec<u8>) {
        match &self.0 {
            Some(value) => value.write(out),
            None => out.extend_from_slice(b"null"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use proptest::prelude::*;

    fn written(value: &impl Text) -> String {
        let mut out = Vec::new();
        value.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn times_are_written_as_javascript_would() {
        let times = [61_234_567_890_123, 1_000_000, -1_100_000, 1, 0, 10, 120, -5, 1_763_000_000_123_500];
        let text = times.map(|us| written(&Ms(us))).join(" ");
        expect!["61234567890.123 1000 -1100 0.001 0 0.01 0.12 -0.005 1763000000123.5"].assert_eq(&text);
        assert_eq!(written(&Timestamp(-1)), "-1");
    }

    #[test]
    fn integers_of_every_length_are_written() {
        for digits in 0..20 {
            for number in
                [10_u64.pow(digits), 10_u64.pow(digits) - 1, 12_345_678_901_234_567_890 / 10_u64.pow(digits)]
            {
                let mut out = b"before".to_vec();
                push_decimal(&mut out, digits % 2 == 0, number, 0);
                let sign = if digits % 2 == 0 { "-" } else { "" };
                assert_eq!(String::from_utf8(out).unwrap(), format!("before{sign}{number}"));
            }
        }
    }

    #[test]
    fn ids_have_at_least_seven_characters_of_base_36() {
        let text = [WsId(0), WsId(35), WsId(36), WsId(u64::MAX)].map(|id| written(&id)).join(" ");
        expect![[r#""0000000" "000000z" "0000010" "3w5e11264sgsf""#]].assert_eq(&text);
    }

    #[test]
    fn absent_fields_are_left_out_and_null_is_written() {
        let mut out = Vec::new();
        let (absent, null, text) = (None::<Ms>, Nullable::<Ms>(None), "a\"\n\u{1}\u{7f}é");
        object!(&mut out, "t", "absent": absent, "null": null, "text": text, "some": Some(true));
        let text = String::from_utf8(out).unwrap();
        expect![[r#"{"type":"t","null":null,"text":"a\"\n\u0001é","some":true}"#]].assert_eq(&text);
    }

    proptest! {
        /// serde_json writes doubles as JavaScript does, but for whole ones and the negative zero.
        #[test]
        fn times_equal_their_doubles(us in prop_oneof![any::<i64>(), -5_000_000_000_000_000..5_000_000_000_000_000_i64]) {
            let ms = us as f64 / 1000.0;
            let oracle = serde_json::to_string(&ms).unwrap();
            prop_assert_eq!(written(&Ms(us)), oracle.strip_suffix(".0").unwrap_or(&oracle));
        }

        #[test]
        fn numbers_equal_what_serde_writes(number in any::<f64>()) {
            let oracle = serde_json::to_string(&(number + 0.0)).unwrap();
            prop_assert_eq!(written(&Number(number)), oracle.strip_suffix(".0").unwrap_or(&oracle));
        }
    }
}
