//! JSON as the protocol takes it: what JavaScript reads, but no deeper than 32 and no number beyond a double.
//!
//! Character by character, into [`Value`]s. The last of two equal keys wins; a lone surrogate is U+FFFD.

use serde_json::{Map, Number, Value};
use std::iter::Peekable;
use std::str::Chars;

/// Objects and arrays in one another, the outermost counted.
const DEPTH_MAX: usize = 32;

/// Why a text was no message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotJson;

/// Reads one value and nothing after it.
pub(super) fn parse(text: &str) -> Result<Value, NotJson> {
    let mut reader = Reader { rest: text.chars().peekable(), depth: 0 };
    let value = reader.value()?;
    reader.skip_space();
    match reader.rest.next() {
        None => Ok(value),
        Some(_) => Err(NotJson),
    }
}

struct Reader<'t> {
    rest: Peekable<Chars<'t>>,
    depth: usize,
}

impl Reader<'_> {
    fn value(&mut self) -> Result<Value, NotJson> {
        self.skip_space();
        match self.rest.peek() {
            Some('{') => self.nested(Reader::object),
            Some('[') => self.nested(Reader::array),
            Some('"') => self.string().map(Value::String),
            Some('-' | '0'..='9') => self.number(),
            Some('t') => self.word("true", Value::Bool(true)),
            Some('f') => self.word("false", Value::Bool(false)),
            Some('n') => self.word("null", Value::Null),
            _ => Err(NotJson),
        }
    }

    fn nested(&mut self, read: impl FnOnce(&mut Self) -> Result<Value, NotJson>) -> Result<Value, NotJson> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(NotJson);
        }
        self.rest.next();
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn object(&mut self) -> Result<Value, NotJson> {
        let mut fields = Map::new();
        self.skip_space();
        if self.rest.next_if_eq(&'}').is_some() {
            return Ok(Value::Object(fields));
        }
        loop {
            self.skip_space();
            let name = self.string()?;
            self.skip_space();
            self.rest.next_if_eq(&':').ok_or(NotJson)?;
            let value = self.value()?;
            fields.insert(name, value);
            self.skip_space();
            match self.rest.next() {
                Some(',') => {}
                Some('}') => return Ok(Value::Object(fields)),
                _ => return Err(NotJson),
            }
        }
    }

    fn array(&mut self) -> Result<Value, NotJson> {
        let mut items = Vec::new();
        self.skip_space();
        if self.rest.next_if_eq(&']').is_some() {
            return Ok(Value::Array(items));
        }
        loop {
            items.push(self.value()?);
            self.skip_space();
            match self.rest.next() {
                Some(',') => {}
                Some(']') => return Ok(Value::Array(items)),
                _ => return Err(NotJson),
            }
        }
    }

    fn string(&mut self) -> Result<String, NotJson> {
        self.rest.next_if_eq(&'"').ok_or(NotJson)?;
        // As JavaScript keeps it, so that surrogates find each other however they were written.
        let mut units: Vec<u16> = Vec::new();
        loop {
            match self.rest.next() {
                Some('"') => return Ok(String::from_utf16_lossy(&units)),
                Some('\\') => units.push(self.escaped()?),
                Some(char) if char >= ' ' => units.extend_from_slice(char.encode_utf16(&mut [0; 2])),
                _ => return Err(NotJson),
            }
        }
    }

    fn escaped(&mut self) -> Result<u16, NotJson> {
        Ok(match self.rest.next() {
            Some('b') => 0x08,
            Some('f') => 0x0c,
            Some('n') => 0x0a,
            Some('r') => 0x0d,
            Some('t') => 0x09,
            Some(char @ ('"' | '\\' | '/')) => char as u16,
            Some('u') => {
                let mut unit = 0;
                for _ in 0..4 {
                    let digit = self.rest.next().and_then(|char| char.to_digit(16)).ok_or(NotJson)?;
                    unit = unit << 4 | digit as u16;
                }
                unit
            }
            _ => return Err(NotJson),
        })
    }

    fn number(&mut self) -> Result<Value, NotJson> {
        let mut text = String::new();
        text.extend(self.rest.next_if_eq(&'-'));
        let digits = self.digits(&mut text)?;
        if digits.starts_with('0') && digits.len() > 1 {
            return Err(NotJson);
        }
        let mut is_whole = true;
        if let Some(point) = self.rest.next_if_eq(&'.') {
            is_whole = false;
            text.push(point);
            self.digits(&mut text)?;
        }
        if let Some(e) = self.rest.next_if(|char| matches!(char, 'e' | 'E')) {
            is_whole = false;
            text.push(e);
            text.extend(self.rest.next_if(|char| matches!(char, '+' | '-')));
            self.digits(&mut text)?;
        }
        if is_whole && let Ok(number) = text.parse::<i64>() {
            return Ok(number.into());
        }
        let number: f64 = text.parse().map_err(|_| NotJson)?;
        Number::from_f64(number).map(Value::Number).ok_or(NotJson)
    }

    /// At least one digit, added to `text`.
    fn digits(&mut self, text: &mut String) -> Result<String, NotJson> {
        let mut digits = String::new();
        while let Some(digit) = self.rest.next_if(char::is_ascii_digit) {
            digits.push(digit);
        }
        text.push_str(&digits);
        if digits.is_empty() { Err(NotJson) } else { Ok(digits) }
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, NotJson> {
        for char in word.chars() {
            self.rest.next_if_eq(&char).ok_or(NotJson)?;
        }
        Ok(value)
    }

    fn skip_space(&mut self) {
        while self.rest.next_if(|char| matches!(char, ' ' | '\t' | '\n' | '\r')).is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_json_is_is_read_as_an_independent_reader_reads_it() {
        for text in [
            r#"{"a":[1,-2.5,1e3,true,false,null,{}],"b":"x\n\u00e9\"\/","c":{"d":[]}}"#,
            " [ 1 , 2 ]\t\r\n",
            "0",
            "-0.5E-3",
            r#""🎵\ud83c\udfb5""#,
            "9007199254740993",
            "1e308",
        ] {
            assert_eq!(parse(text), Ok(serde_json::from_str(text).unwrap()), "{text}");
        }
    }

    #[test]
    fn what_it_is_not_is_refused() {
        for text in [
            "",
            " ",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "{a:1}",
            "01",
            "-",
            "1.",
            ".5",
            "1e",
            "+1",
            "1e400",
            "-1e999",
            "nul",
            "truex",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"a\nb\"",
            "\"a",
            "1 2",
            "{\"a\" 1}",
            "\u{feff}{}",
            "NaN",
        ] {
            assert_eq!(parse(text), Err(NotJson), "{text}");
        }
    }

    #[test]
    fn the_last_of_two_keys_wins_and_lone_surrogates_are_replaced() {
        assert_eq!(parse(r#"{"a":1,"b":2,"a":3}"#), Ok(json!({"a": 3, "b": 2})));
        assert_eq!(parse(r#""\ud800\ud83c\udfb5\udc00""#), Ok(json!("\u{fffd}🎵\u{fffd}")));
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(&nested(DEPTH_MAX)).is_ok());
        assert_eq!(parse(&nested(DEPTH_MAX + 1)), Err(NotJson));
    }
}
