//! JSON that passes through: a client's own values, kept and given back as they were sent.
//!
//! [`Value`] is a borrowed view of one value of a message, from whichever of the two readers of [`crate::request`]
//! read it; [`Json`] is an owned text of one value. Neither knows the room protocol. Key order, nesting and
//! numbers survive; white space and `1.0` against `1` do not.

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::value::{RawValue, to_raw_value};
use simd_json::{Node, StaticNode};

/// One value of a message.
#[derive(Clone, Copy, Debug)]
pub struct Value<'t, 'b>(Source<'t, 'b>);

#[derive(Clone, Copy, Debug)]
enum Source<'t, 'b> {
    /// Its nodes on the parser's tape.
    Tape(&'t [Node<'b>]),
    /// A string of ASCII in which nothing needs escaping, in its quotes.
    PlainText(&'b [u8]),
    /// A number and its text, which is how JavaScript writes it.
    PlainNumber(&'b [u8], f64),
    Flag(bool),
    Null,
}

/// One value, owned, as JSON text.
#[derive(Clone, Debug)]
pub struct Json(Box<RawValue>);

impl<'t, 'b> Value<'t, 'b> {
    pub(crate) const NULL: Value<'static, 'static> = Value(Source::Null);

    pub(crate) fn plain_text(quoted: &'b [u8]) -> Value<'t, 'b> {
        Value(Source::PlainText(quoted))
    }

    pub(crate) fn plain_number(text: &'b [u8], number: f64) -> Value<'t, 'b> {
        Value(Source::PlainNumber(text, number))
    }

    pub(crate) fn flag(flag: bool) -> Value<'t, 'b> {
        Value(Source::Flag(flag))
    }

    /// The value whose nodes start at the front of `tape`, and the nodes after it.
    pub(crate) fn split(tape: &'t [Node<'b>]) -> (Value<'t, 'b>, &'t [Node<'b>]) {
        let nodes = match tape.first() {
            Some(Node::Object { count, .. } | Node::Array { count, .. }) => count + 1,
            Some(_) => 1,
            None => 0,
        };
        let (value, rest) = tape.split_at(nodes);
        (Value(Source::Tape(value)), rest)
    }

    /// The value as a string.
    pub fn as_str(&self) -> Option<&'b str> {
        match self.0 {
            Source::Tape([Node::String(text), ..]) => Some(text),
            Source::PlainText([b'"', text @ .., b'"']) => std::str::from_utf8(text).ok(),
            _ => None,
        }
    }

    /// The value as a number; JSON's are doubles, as in JavaScript.
    pub fn as_f64(&self) -> Option<f64> {
        match self.0 {
            Source::Tape([Node::Static(StaticNode::I64(number)), ..]) => Some(*number as f64),
            Source::Tape([Node::Static(StaticNode::U64(number)), ..]) => Some(*number as f64),
            Source::Tape([Node::Static(StaticNode::F64(number)), ..]) => Some(*number),
            Source::PlainNumber(_, number) => Some(number),
            _ => None,
        }
    }

    /// True for `true`.
    pub fn is_true(&self) -> bool {
        matches!(self.0, Source::Tape([Node::Static(StaticNode::Bool(true)), ..]) | Source::Flag(true))
    }

    /// True for `null`.
    pub fn is_null(&self) -> bool {
        matches!(self.0, Source::Tape([Node::Static(StaticNode::Null), ..]) | Source::Null)
    }

    /// True for an object.
    pub fn is_object(&self) -> bool {
        matches!(self.0, Source::Tape([Node::Object { .. }, ..]))
    }

    /// A field of an object; the last of that name, as JavaScript has it.
    pub fn field(&self, name: &str) -> Option<Value<'t, 'b>> {
        self.fields().filter(|(key, _)| *key == name).last().map(|(_, value)| value)
    }

    /// The fields of an object in the order they were sent; none if it is no object.
    pub fn fields(&self) -> impl Iterator<Item = (&'b str, Value<'t, 'b>)> + use<'t, 'b> {
        let mut rest = match self.0 {
            Source::Tape([Node::Object { .. }, inner @ ..]) => inner,
            _ => &[],
        };
        std::iter::from_fn(move || {
            let (Node::String(key), after) = rest.split_first()? else { return None };
            let (value, after) = Value::split(after);
            rest = after;
            Some((*key, value))
        })
    }

    /// Appends the value's JSON.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self.0 {
            Source::PlainText(text) | Source::PlainNumber(text, _) => out.extend_from_slice(text),
            _ => serde_json::to_writer(out, self).expect("a value can be written to memory"),
        }
    }

    /// The value as owned text.
    pub fn to_json(&self) -> Json {
        // The parser bounds depth, and a tape holds no NaN and no key that is not a string.
        Json(to_raw_value(self).expect("a parsed value can be written"))
    }
}

impl Json {
    /// `null`
    pub fn null() -> Json {
        Json(RawValue::NULL.to_owned())
    }

    /// A value from its text, if it is one.
    pub fn parse(text: &str) -> Option<Json> {
        RawValue::from_string(text.to_owned()).ok().map(Json)
    }

    /// A string.
    pub fn text(text: &str) -> Json {
        Json(to_raw_value(text).expect("a string can be written"))
    }

    /// The value's text.
    pub fn as_text(&self) -> &str {
        self.0.get()
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Json) -> bool {
        self.as_text() == other.as_text()
    }
}

impl Serialize for Value<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let tape = match self.0 {
            Source::Tape(tape) => tape,
            Source::PlainText(_) => return serializer.serialize_str(self.as_str().unwrap_or_default()),
            Source::PlainNumber(_, number) => return Number(number).serialize(serializer),
            Source::Flag(flag) => return serializer.serialize_bool(flag),
            Source::Null => return serializer.serialize_unit(),
        };
        match tape.first() {
            Some(Node::String(text)) => serializer.serialize_str(text),
            Some(Node::Static(StaticNode::I64(number))) => serializer.serialize_i64(*number),
            Some(Node::Static(StaticNode::U64(number))) => serializer.serialize_u64(*number),
            Some(Node::Static(StaticNode::F64(number))) => Number(*number).serialize(serializer),
            Some(Node::Static(StaticNode::Bool(flag))) => serializer.serialize_bool(*flag),
            Some(Node::Static(StaticNode::Null)) | None => serializer.serialize_unit(),
            Some(Node::Object { len, .. }) => {
                let mut map = serializer.serialize_map(Some(*len))?;
                for (key, value) in self.fields() {
                    map.serialize_entry(key, &value)?;
                }
                map.end()
            }
            Some(Node::Array { len, .. }) => {
                let mut list = serializer.serialize_seq(Some(*len))?;
                let mut rest = &tape[1..];
                while !rest.is_empty() {
                    let (value, after) = Value::split(rest);
                    list.serialize_element(&value)?;
                    rest = after;
                }
                list.end()
            }
        }
    }
}

/// A number as JavaScript writes it: no `.0` behind a whole one, `null` for one that is not finite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Number(pub f64);

impl Number {
    /// The number as an integer, if it is one that a double keeps apart from its neighbours.
    pub(crate) fn whole(self) -> Option<i64> {
        // 2^53: above it a double's neighbours are further apart than 1.
        const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
        (self.0.abs() <= WHOLE_MAX).then_some(self.0 as i64).filter(|whole| *whole as f64 == self.0)
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.whole() {
            Some(whole) => serializer.serialize_i64(whole),
            None => serializer.serialize_f64(self.0),
        }
    }
}
