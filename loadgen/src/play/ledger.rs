//! Conservation: every message of a stream arrives once and in order, or is counted as what went wrong.
//!
//! A stream is one sender's messages as one receiver gets them, numbered from 0. The common case, the next
//! number, is one comparison; what is missing is kept aside.

use std::collections::{BTreeSet, HashMap};

/// What a number turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The next one, or one past a gap.
    New,
    /// One from a gap: later ones came before it.
    Late,
    /// Seen before.
    Again,
}

/// The gaps of all streams of a worker.
#[derive(Debug, Default)]
pub struct Ledger {
    gaps: HashMap<u64, BTreeSet<u32>>,
    /// Numbers in gaps, all streams together.
    pub missing: u64,
    pub duplicated: u64,
    pub reordered: u64,
}

impl Ledger {
    /// Notes `sequence`; `next` is the stream's next number.
    pub fn arrive(&mut self, stream: u64, next: &mut u32, sequence: u32) -> Arrival {
        if sequence == *next {
            *next += 1;
            return Arrival::New;
        }
        if sequence > *next {
            self.gaps.entry(stream).or_default().extend(*next..sequence);
            self.missing += u64::from(sequence - *next);
            *next = sequence + 1;
            return Arrival::New;
        }
        if self.gaps.get_mut(&stream).is_some_and(|gap| gap.remove(&sequence)) {
            self.missing -= 1;
            self.reordered += 1;
            return Arrival::Late;
        }
        self.duplicated += 1;
        Arrival::Again
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn play(numbers: &[u32]) -> (u32, u64, u64, u64) {
        let (mut ledger, mut next) = (Ledger::default(), 0);
        for number in numbers {
            ledger.arrive(7, &mut next, *number);
        }
        (next, ledger.missing, ledger.duplicated, ledger.reordered)
    }

    #[test]
    fn every_fault_is_counted_as_what_it_is() {
        assert_eq!(play(&[0, 1, 2]), (3, 0, 0, 0));
        assert_eq!(play(&[0, 2, 3]), (4, 1, 0, 0), "dropped");
        assert_eq!(play(&[0, 1, 1, 2]), (3, 0, 1, 0), "twice");
        assert_eq!(play(&[0, 2, 1, 3]), (4, 0, 0, 1), "swapped");
        assert_eq!(play(&[3, 0, 0, 1]), (4, 1, 1, 2));
    }
}
