//! Messages as a list of fields with the JSON text of each, so that a hostile one can be anything that can be typed.

use super::dice::Dice;
use serde_json::Value;

/// A message that is being written.
#[derive(Clone, Debug)]
pub struct Message {
    /// Names as they stand between the quotes, and values as JSON text.
    pub fields: Vec<(String, String)>,
}

impl Message {
    /// One of this type.
    pub fn new(kind: &str) -> Message {
        Message { fields: Vec::new() }.with("type", kind)
    }

    /// With one field more.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Message {
        self.fields.push((name.to_owned(), value.into().to_string()));
        self
    }

    /// With one field more, if there is a value.
    pub fn with_some(self, name: &str, value: Option<impl Into<Value>>) -> Message {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Its text, as `JSON.stringify` writes it.
    pub fn text(&self) -> String {
        let fields: Vec<String> =
            self.fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", fields.join(","))
    }
}

/// Values of the wrong type, at the edge of what there is, or past it.
const ODD_VALUES: [&str; 52] = [
    "null",
    "true",
    "false",
    "0",
    "-0",
    "-0.0",
    "-1",
    "1",
    "0.1",
    "1.0",
    "1E3",
    "1e-7",
    "250.0005",
    "9999.9999",
    "10000",
    "10000.5",
    "86400000",
    "86400001",
    "1e308",
    "-1e308",
    "1e400",
    "-1e400",
    "1e-400",
    "5e-324",
    "9007199254740993",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775808",
    "-9223372036854775809",
    "123456789012345678901234567890",
    "0.30000000000000004",
    "00",
    "1.",
    ".5",
    "+1",
    "NaN",
    "Infinity",
    "undefined",
    "'x'",
    "\"\"",
    "\"5\"",
    "\"u-1\"",
    "\"undefined\"",
    "\"\\ud800\"",
    "\"a\\udc00b\\ud83c\\udfb5\"",
    "\"\\u0000\\u001f\\u007f\\u2028\\\"\\\\\\/\"",
    "\"\u{7f}é🎵\u{2028}\"",
    "\"\\x\"",
    "[]",
    "{}",
    "[1,{\"a\":null},\"x\"]",
    "{\"a\":{\"b\":[1.50,-0]},\"a\":2}",
];

/// A value that the field was not made for.
pub fn odd_value(dice: &mut Dice) -> String {
    match dice.below(20) {
        0 => nested(dice.within(28..=36) as usize),
        1 => format!("\"{}\"", "\u{1f3b5}x".repeat(dice.within(1..=60) as usize)),
        _ => (*dice.pick(&ODD_VALUES)).to_owned(),
    }
}

/// Arrays and objects in one another.
pub fn nested(depth: usize) -> String {
    let mut text = "1".to_owned();
    for level in 0..depth {
        text = if level % 2 == 0 { format!("[{text}]") } else { format!("{{\"a\":{text}}}") };
    }
    text
}

/// The same text with a letter of its names or values escaped, which changes nothing.
pub fn with_an_escape(text: &str, dice: &mut Dice) -> String {
    let letters: Vec<usize> = text
        .char_indices()
        .filter(|(_, char)| char.is_ascii_alphabetic() && *char != 'u')
        .map(|(at, _)| at)
        .collect();
    if letters.is_empty() {
        return text.to_owned();
    }
    let at = *dice.pick(&letters);
    format!("{}\\u{:04x}{}", &text[..at], text.as_bytes()[at], &text[at + 1..])
}

/// The same text with space between its tokens, as far as commas and colons show them.
pub fn with_space(text: &str, dice: &mut Dice) -> String {
    let mut spaced = String::from(*dice.pick(&["", " ", "\t"]));
    for char in text.chars() {
        spaced.push(char);
        if matches!(char, ',' | ':') && dice.one_in(2) {
            spaced.push_str(dice.pick::<&str>(&[" ", "\n", "\r\n\t"]));
        }
    }
    spaced + *dice.pick(&["", "\n", "  "])
}
