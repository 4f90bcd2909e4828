//! JSON that passes through: a client's own values, kept and given back as they were sent.
//!
//! [`Value`] is a borrowed view of a parsed message, [`Json`] an owned text of one value. Neither knows the
//! room protocol. Key order, nesting and numbers survive; white space and `1.0` against `1` do not.

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::value::{RawValue, to_raw_value};
use simd_json::{Node, StaticNode};

/// One value of a parsed message: its nodes on the parser's tape.
#[derive(Clone, Copy, Debug)]
pub struct Value<'t, 'b>(&'t [Node<'b>]);

/// One value, owned, as JSON text; without memory for `null`.
#[derive(Clone, Debug)]
pub struct Json(Option<Box<RawValue>>);

impl<'t, 'b> Value<'t, 'b> {
    /// The value whose nodes start at the front of `tape`, and the nodes after it.
    pub(crate) fn split(tape: &'t [Node<'b>]) -> (Value<'t, 'b>, &'t [Node<'b>]) {
        let nodes = match tape.first() {
            Some(Node::Object { count, .. } | Node::Array { count, .. }) => count + 1,
            Some(_) => 1,
            None => 0,
        };
        let (value, rest) = tape.split_at(nodes);
        (Value(value), rest)
    }

    /// The value as a string.
    pub fn as_str(&self) -> Option<&'b str> {
        match self.0.first() {
            Some(Node::String(text)) => Some(text),
            _ => None,
        }
    }

    /// The value as a number; JSON's are doubles, as in JavaScript.
    pub fn as_f64(&self) -> Option<f64> {
        match self.0.first()? {
            Node::Static(StaticNode::I64(number)) => Some(*number as f64),
            Node::Static(StaticNode::U64(number)) => Some(*number as f64),
            Node::Static(StaticNode::F64(number)) => Some(*number),
            _ => None,
        }
    }

    /// True for `true`.
    pub fn is_true(&self) -> bool {
        matches!(self.0.first(), Some(Node::Static(StaticNode::Bool(true))))
    }

    /// True for `null`.
    pub fn is_null(&self) -> bool {
        matches!(self.0.first(), Some(Node::Static(StaticNode::Null)))
    }

    /// True for an object.
    pub fn is_object(&self) -> bool {
        matches!(self.0.first(), Some(Node::Object { .. }))
    }

    /// A field of an object; the last of that name, as JavaScript has it.
    pub fn field(&self, name: &str) -> Option<Value<'t, 'b>> {
        self.fields().filter(|(key, _)| *key == name).last().map(|(_, value)| value)
    }

    /// The fields of an object in the order they were sent; none if it is no object.
    pub fn fields(&self) -> impl Iterator<Item = (&'b str, Value<'t, 'b>)> + use<'t, 'b> {
        let mut rest = if self.is_object() { &self.0[1..] } else { &[][..] };
        std::iter::from_fn(move || {
            let (Node::String(key), after) = rest.split_first()? else { return None };
            let (value, after) = Value::split(after);
            rest = after;
            Some((*key, value))
        })
    }

    /// The value as owned text.
    pub fn to_json(&self) -> Json {
        if self.is_null() {
            return Json::NULL;
        }
        // The parser bounds depth, and a tape holds no NaN and no key that is not a string.
        Json(Some(to_raw_value(self).expect("a parsed value can be written")))
    }
}

impl Json {
    /// `null`
    pub const NULL: Json = Json(None);

    /// The value's text.
    pub fn as_text(&self) -> &str {
        self.0.as_ref().map_or("null", |text| text.get())
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Json) -> bool {
        self.as_text() == other.as_text()
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl Serialize for Value<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.first() {
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
                let mut rest = &self.0[1..];
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

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // 2^53: above it a double's neighbours are further apart than 1.
        const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
        if self.0.fract() == 0.0 && self.0.abs() <= WHOLE_MAX {
            serializer.serialize_i64(self.0 as i64)
        } else {
            serializer.serialize_f64(self.0)
        }
    }
}
