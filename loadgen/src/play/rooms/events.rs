//! A room's events as its members hear them: one order for all, each once, none missing.
//!
//! An event is a broadcast whose text is the same for every member; the first member to hear one numbers it.
//! For each member the numbers are a stream of the [`Ledger`]. Skew and start spread are of whole events.

use super::super::ledger::{Arrival, Ledger};
use std::collections::VecDeque;

/// An event older than this has reached everyone that it will reach, ns.
const SETTLED_AFTER_NS: u64 = 3_000_000_000;
/// A member that has not yet heard any event of its stay.
pub const UNKNOWN: u32 = u32::MAX;

struct Event {
    hash: u64,
    first_ns: u64,
    last_ns: u64,
    heard: u32,
    /// Of members' starts, true ms.
    starts_ms: (f64, f64),
}

/// What a settled event showed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settled {
    pub first_ns: u64,
    /// First to last delivery; nothing with one listener.
    pub skew_ns: Option<u64>,
    /// Earliest to latest start of its members; PLAY only.
    pub spread_ns: Option<u64>,
}

/// The events of one room.
#[derive(Default)]
pub struct Events {
    events: VecDeque<Event>,
    /// The number of the first that is kept.
    base: u32,
}

impl Events {
    /// The number after the newest.
    pub fn end(&self) -> u32 {
        self.base + self.events.len() as u32
    }

    /// A member heard `text`. `next` is the member's next number.
    pub fn hear(
        &mut self,
        text: &[u8],
        now_ns: u64,
        member: u64,
        next: &mut u32,
        ledger: &mut Ledger,
    ) -> Arrival {
        let hash = hash(text);
        // A member is at most a few events behind the first one.
        let found = self.events.iter().rposition(|event| event.hash == hash);
        let at = found.unwrap_or_else(|| {
            let starts_ms = (f64::INFINITY, f64::NEG_INFINITY);
            self.events.push_back(Event { hash, first_ns: now_ns, last_ns: now_ns, heard: 0, starts_ms });
            self.events.len() - 1
        });
        let number = self.base + at as u32;
        if *next == UNKNOWN {
            *next = number;
        }
        let arrival = ledger.arrive(member, next, number);
        if arrival != Arrival::Again {
            let event = &mut self.events[at];
            event.heard += 1;
            event.last_ns = now_ns;
        }
        arrival
    }

    /// When a member would start what the newest event announces.
    pub fn start(&mut self, starts_ms: f64, text: &[u8]) {
        let hash = hash(text);
        if let Some(event) = self.events.iter_mut().rev().find(|event| event.hash == hash) {
            event.starts_ms = (event.starts_ms.0.min(starts_ms), event.starts_ms.1.max(starts_ms));
        }
    }

    /// Takes the next event that is settled; at the end all are.
    pub fn settle(&mut self, now_ns: u64, is_end: bool) -> Option<Settled> {
        let event = self.events.front()?;
        if !is_end && event.last_ns + SETTLED_AFTER_NS > now_ns {
            return None;
        }
        let event = self.events.pop_front()?;
        self.base += 1;
        let (earliest, latest) = event.starts_ms;
        Some(Settled {
            first_ns: event.first_ns,
            skew_ns: (event.heard > 1).then(|| event.last_ns - event.first_ns),
            spread_ns: (latest > earliest).then_some(((latest - earliest) * 1e6) as u64),
        })
    }
}

fn hash(text: &[u8]) -> u64 {
    use std::hash::{DefaultHasher, Hasher};
    let mut hasher = DefaultHasher::new();
    hasher.write(text);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_hear_one_order_and_what_is_missing_twice_or_late_is_counted() {
        let (mut events, mut ledger) = (Events::default(), Ledger::default());
        let mut next = [0, 0, UNKNOWN];
        for (at, text) in [(10, b"a"), (20, b"b"), (30, b"c")] {
            events.hear(text, at, 0, &mut next[0], &mut ledger);
        }
        for (member, text, at, arrival, counts) in [
            (1, b"a", 15, Arrival::New, (0, 0, 0)),
            // b is missing.
            (1, b"c", 37, Arrival::New, (1, 0, 0)),
            // A late joiner starts anywhere.
            (2, b"b", 26, Arrival::New, (1, 0, 0)),
            (2, b"b", 27, Arrival::Again, (1, 1, 0)),
            (1, b"b", 38, Arrival::Late, (0, 1, 1)),
        ] {
            let heard = events.hear(text, at, member as u64, &mut next[member], &mut ledger);
            assert_eq!((heard, (ledger.missing, ledger.duplicated, ledger.reordered)), (arrival, counts));
        }
        assert_eq!(next, [3, 3, 2]);
        assert_eq!(events.settle(3_000_000_014, false), None);
        let settled = Settled { first_ns: 10, skew_ns: Some(5), spread_ns: None };
        assert_eq!(events.settle(3_000_000_015, false), Some(settled));
    }
}
