//! RFC 8259 read naively: what any text means, as JavaScript would have it.
//!
//! Numbers are doubles by std's parser; a lone surrogate is U+FFFD, as the room protocol wants it; of fields with
//! one name the last counts. Two limits: nesting, and numbers that no double holds.

use std::iter::Peekable;
use std::str::Chars;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tree {
    Null,
    Flag(bool),
    Number(f64),
    Text(String),
    List(Vec<Tree>),
    /// In order, doubles kept.
    Object(Vec<(String, Tree)>),
}

/// Why a text is no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Grammar,
    /// Deeper than was asked for.
    Depth,
    /// Over the largest double.
    Range,
}

impl Tree {
    pub(super) fn field(&self, name: &str) -> Option<&Tree> {
        let Tree::Object(fields) = self else { return None };
        fields.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    pub(super) fn text(&self) -> Option<&str> {
        if let Tree::Text(text) = self { Some(text) } else { None }
    }

    pub(super) fn number(&self) -> Option<f64> {
        if let Tree::Number(number) = self { Some(*number) } else { None }
    }

    /// What a list or an object holds.
    pub(super) fn children(&self) -> impl Iterator<Item = &Tree> {
        let (list, fields): (&[Tree], &[(String, Tree)]) = match self {
            Tree::List(list) => (list, &[]),
            Tree::Object(fields) => (&[], fields),
            _ => (&[], &[]),
        };
        list.iter().chain(fields.iter().map(|(_, value)| value))
    }
}

/// The value that `text` is, with lists and objects at most `depth_max` deep.
pub(super) fn parse(text: &[u8], depth_max: usize) -> Result<Tree, Fault> {
    let text = std::str::from_utf8(text).map_err(|_| Fault::Grammar)?;
    let mut reader = Reader { rest: text.chars().peekable(), depth_max };
    reader.blank();
    let tree = reader.value(0)?;
    reader.blank();
    if reader.rest.next().is_some() { Err(Fault::Grammar) } else { Ok(tree) }
}

struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
    depth_max: usize,
}

impl Reader<'_> {
    fn blank(&mut self) {
        while self.rest.next_if(|it| matches!(it, ' ' | '\t' | '\n' | '\r')).is_some() {}
    }

    fn expect(&mut self, wanted: &str) -> Result<(), Fault> {
        let is_there = wanted.chars().all(|it| self.rest.next() == Some(it));
        if is_there { Ok(()) } else { Err(Fault::Grammar) }
    }

    fn value(&mut self, depth: usize) -> Result<Tree, Fault> {
        match self.rest.peek().ok_or(Fault::Grammar)? {
            'n' => self.expect("null").map(|()| Tree::Null),
            't' => self.expect("true").map(|()| Tree::Flag(true)),
            'f' => self.expect("false").map(|()| Tree::Flag(false)),
            '"' => self.string().map(Tree::Text),
            '[' => self.list(depth + 1),
            '{' => self.object(depth + 1),
            _ => self.number(),
        }
    }

    /// True if another element follows, false at the closing bracket.
    fn goes_on(&mut self, close: char, is_first: bool) -> Result<bool, Fault> {
        self.blank();
        if self.rest.next_if_eq(&close).is_some() {
            return Ok(false);
        }
        if !is_first {
            self.expect(",")?;
            self.blank();
        }
        Ok(true)
    }

    fn list(&mut self, depth: usize) -> Result<Tree, Fault> {
        let mut list = Vec::new();
        self.expect("[")?;
        if depth > self.depth_max {
            return Err(Fault::Depth);
        }
        while self.goes_on(']', list.is_empty())? {
            list.push(self.value(depth)?);
        }
        Ok(Tree::List(list))
    }

    fn object(&mut self, depth: usize) -> Result<Tree, Fault> {
        let mut fields = Vec::new();
        self.expect("{")?;
        if depth > self.depth_max {
            return Err(Fault::Depth);
        }
        while self.goes_on('}', fields.is_empty())? {
            let name = self.string()?;
            self.blank();
            self.expect(":")?;
            self.blank();
            fields.push((name, self.value(depth)?));
        }
        Ok(Tree::Object(fields))
    }

    fn digits(&mut self, text: &mut String) -> Result<(), Fault> {
        let before = text.len();
        while let Some(digit) = self.rest.next_if(char::is_ascii_digit) {
            text.push(digit);
        }
        if text.len() > before { Ok(()) } else { Err(Fault::Grammar) }
    }

    fn number(&mut self) -> Result<Tree, Fault> {
        let mut text = String::new();
        text.extend(self.rest.next_if_eq(&'-'));
        if let Some(zero) = self.rest.next_if_eq(&'0') {
            text.push(zero);
        } else {
            self.digits(&mut text)?;
        }
        if let Some(point) = self.rest.next_if_eq(&'.') {
            text.push(point);
            self.digits(&mut text)?;
        }
        if let Some(exponent) = self.rest.next_if(|it| matches!(it, 'e' | 'E')) {
            text.push(exponent);
            text.extend(self.rest.next_if(|it| matches!(it, '+' | '-')));
            self.digits(&mut text)?;
        }
        let number: f64 = text.parse().map_err(|_| Fault::Grammar)?;
        if number.is_finite() { Ok(Tree::Number(number)) } else { Err(Fault::Range) }
    }

    fn string(&mut self) -> Result<String, Fault> {
        let mut units = Vec::new();
        self.expect("\"")?;
        loop {
            match self.rest.next().ok_or(Fault::Grammar)? {
                '"' => break,
                '\\' => units.push(self.escape()?),
                '\0'..='\x1f' => return Err(Fault::Grammar),
                plain => units.extend_from_slice(plain.encode_utf16(&mut [0; 2])),
            }
        }
        Ok(String::from_utf16_lossy(&units))
    }

    /// The UTF-16 unit of an escape whose backslash was read.
    fn escape(&mut self) -> Result<u16, Fault> {
        Ok(match self.rest.next().ok_or(Fault::Grammar)? {
            plain @ ('"' | '\\' | '/') => plain as u16,
            'b' => 8,
            'f' => 12,
            'n' => 10,
            'r' => 13,
            't' => 9,
            'u' => {
                let mut unit = 0;
                for _ in 0..4 {
                    let digit = self.rest.next().and_then(|it| it.to_digit(16)).ok_or(Fault::Grammar)?;
                    unit = unit << 4 | digit as u16;
                }
                unit
            }
            _ => return Err(Fault::Grammar),
        })
    }
}
