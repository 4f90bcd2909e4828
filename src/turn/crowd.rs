//! Whether a turn should wait for more events before it fans out those it has.
//!
//! Where all members of a room speak at once, a turn that fans out as soon as nothing is ready does so two or
//! three times for what could have been one. So after a turn with events of many members, the next waits a
//! little for the rest of them. Where members speak now and then, nobody waits. It decides; it never sleeps.

use engine::FanOut;
use std::time::Duration;

/// A turn that owes fewer sends to rooms does not wait.
const SENDS_MIN: usize = 16;
/// Nor does one after turns in which a smaller share of the listeners than one in so many spoke.
const SHARE: usize = 8;
/// How long one wait may be, for each send owed.
const WAIT_US_PER_SEND: u64 = 1;
const WAIT_US_MAX: u64 = 250;
const WANTED_MAX: usize = 1024;
/// How long a turn's waits may be together, for each send owed: about what the send costs, so that waiting for a
/// crowd that never comes costs no more than fanning out twice.
const WAITS_US_PER_SEND: u64 = 3;
/// What each event that came buys. Events more frequent than this are a crowd, which is waited for to its end;
/// less frequent ones are a load that each member is to hear of at once.
const WAITS_US_PER_EVENT: u64 = 12;

/// What the latest turns were like.
#[derive(Debug, Default)]
pub struct Crowd {
    /// Events of a turn: the most there were, halved with each turn for rooms that has fewer.
    events: usize,
}

/// The waits of a turn so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Waited {
    pub time: Duration,
    /// Events that came meanwhile.
    pub events: usize,
}

/// A wait for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// As many completions end it.
    pub wanted: usize,
    /// So does this time.
    pub time: Duration,
}

impl Crowd {
    /// The next wait that a turn with this fan-out should make; `None` to get on with it.
    pub fn wait(&self, fan_out: FanOut, waited: Waited) -> Option<Wait> {
        let FanOut { events, sends } = fan_out;
        if sends < SENDS_MIN || self.events < sends / SHARE || events >= sends {
            return None;
        }
        let all_us = sends as u64 * WAITS_US_PER_SEND + waited.events as u64 * WAITS_US_PER_EVENT;
        let left = Duration::from_micros(all_us).checked_sub(waited.time).filter(|left| !left.is_zero())?;
        let one = Duration::from_micros((sends as u64 * WAIT_US_PER_SEND).min(WAIT_US_MAX));
        Some(Wait { wanted: (sends - events).min(WANTED_MAX), time: one.min(left) })
    }

    /// A turn is over that had this fan-out.
    pub fn observe(&mut self, fan_out: FanOut) {
        if fan_out.events > 0 {
            self.events = fan_out.events.max(self.events / 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(turns: &[usize]) -> Crowd {
        let mut crowd = Crowd::default();
        turns.iter().for_each(|events| crowd.observe(FanOut { events: *events, sends: 100 }));
        crowd
    }

    fn wait_us(crowd: &Crowd, events: usize, sends: usize) -> Option<u128> {
        crowd.wait(FanOut { events, sends }, Waited::default()).map(|wait| wait.time.as_micros())
    }

    /// How many events a turn of 100 sends gathers where one comes in each `interval_us`, and how long it waits.
    fn gathered(interval_us: u64) -> (usize, u64) {
        let crowd = after(&[100]);
        let mut waited = Waited::default();
        let mut elapsed_us = 0;
        while let Some(wait) = crowd.wait(FanOut { events: 1 + waited.events, sends: 100 }, waited) {
            elapsed_us += wait.time.as_micros() as u64;
            waited = Waited {
                time: Duration::from_micros(elapsed_us),
                events: ((elapsed_us / interval_us) as usize).min(99),
            };
        }
        (1 + waited.events, elapsed_us)
    }

    #[test]
    fn nobody_waits_where_members_speak_now_and_then() {
        assert_eq!(wait_us(&after(&[]), 1, 100), None);
        assert_eq!(wait_us(&after(&[1, 2, 1, 3, 1]), 1, 100), None);
        assert_eq!(
            wait_us(&after(&[100]), 1, 10_000),
            None,
            "a crowd in a small room is none in a large one"
        );
        assert_eq!(wait_us(&after(&[10]), 1, 10), None, "so few sends are not worth a wait");
    }

    #[test]
    fn where_many_spoke_at_once_the_rest_of_them_are_waited_for() {
        let crowd = after(&[40]);
        let wait = crowd.wait(FanOut { events: 30, sends: 100 }, Waited::default());
        assert_eq!(wait, Some(Wait { wanted: 70, time: Duration::from_micros(100) }));
        assert_eq!(wait_us(&crowd, 99, 100), Some(100));
        assert_eq!(wait_us(&crowd, 100, 100), None, "all have spoken");
        assert_eq!(wait_us(&after(&[5_000]), 1, 10_000), Some(250), "no wait is long");
    }

    #[test]
    fn a_crowd_is_waited_for_to_its_end_and_a_trickle_is_not() {
        let (crowd, _) = gathered(7);
        assert_eq!(crowd, 100, "all of them");
        let (trickle, waited_us) = gathered(78);
        assert!((4..8).contains(&trickle) && waited_us < 400, "{trickle} events in {waited_us} µs");
        assert_eq!(gathered(1_000_000), (1, 300), "nobody came");
    }

    #[test]
    fn a_crowd_that_has_gone_is_soon_forgotten() {
        assert!(wait_us(&after(&[100, 1, 1]), 1, 100).is_some());
        assert_eq!(wait_us(&after(&[100, 1, 1, 1, 1]), 1, 100), None);
        assert!(wait_us(&after(&[100, 0, 0, 0, 0]), 1, 100).is_some(), "turns without events say nothing");
    }
}
