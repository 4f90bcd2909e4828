//! What happened, line by line: the last lines for whoever reads of a failure, a hash for whoever compares runs.

use std::collections::VecDeque;
use std::fmt::{Arguments, Write as _};

/// Lines kept.
const LINES_MAX: usize = 40;

/// A world's diary.
#[derive(Debug)]
pub struct Trace {
    lines: VecDeque<String>,
    hash: u64,
    count: u64,
    is_printed: bool,
}

impl Trace {
    /// An empty one, which prints every line on standard error as well if it `is_printed`.
    pub fn new(is_printed: bool) -> Trace {
        Trace { lines: VecDeque::new(), hash: 0xcbf2_9ce4_8422_2325, count: 0, is_printed }
    }

    /// Adds a line, of this time on the master clock.
    pub(super) fn line(&mut self, at_us: i64, text: Arguments<'_>) {
        let mut line = if self.lines.len() == LINES_MAX {
            self.lines.pop_front().unwrap_or_default()
        } else {
            String::new()
        };
        line.clear();
        let _ = write!(line, "{:>10.3} {text}", at_us as f64 / 1000.0);
        // FNV-1a over words: as good as over bytes for telling two runs apart, and eight times as fast.
        for word in line.as_bytes().chunks(8) {
            let mut bytes = [0; 8];
            bytes[..word.len()].copy_from_slice(word);
            self.hash = (self.hash ^ u64::from_le_bytes(bytes)).wrapping_mul(0x0100_0000_01b3);
        }
        self.count += 1;
        if self.is_printed {
            eprintln!("{line}");
        }
        self.lines.push_back(line);
    }

    /// The last lines, oldest first.
    pub fn last_lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }

    /// Of all lines so far.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Lines so far.
    pub fn count(&self) -> u64 {
        self.count
    }
}
