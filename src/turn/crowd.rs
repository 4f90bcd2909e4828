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
/// How long each wait may be for each send owed: a quarter of what the send costs.
const WAIT_US_PER_SEND: u64 = 1;
const WAIT_US_MAX: u64 = 250;
const WANTED_MAX: usize = 1024;

/// What the latest turns were like.
#[derive(Debug, Default)]
pub struct Crowd {
    /// Events of a turn: the most there were, halved with each turn for rooms that has fewer.
    events: usize,
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
    /// The wait that a turn with this fan-out should make; `None` to get on with it.
    pub fn wait(&self, fan_out: FanOut) -> Option<Wait> {
        let FanOut { events, sends } = fan_out;
        if sends < SENDS_MIN || self.events < sends / SHARE || events >= sends {
            return None;
        }
        let time_us = (sends as u64 * WAIT_US_PER_SEND).min(WAIT_US_MAX);
        Some(Wait { wanted: (sends - events).min(WANTED_MAX), time: Duration::from_micros(time_us) })
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
        crowd.wait(FanOut { events, sends }).map(|wait| wait.time.as_micros())
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
        let wait = crowd.wait(FanOut { events: 30, sends: 100 });
        assert_eq!(wait, Some(Wait { wanted: 70, time: Duration::from_micros(100) }));
        assert_eq!(wait_us(&crowd, 99, 100), Some(100));
        assert_eq!(wait_us(&crowd, 100, 100), None, "all have spoken");
        assert_eq!(wait_us(&after(&[5_000]), 1, 10_000), Some(250), "no wait is long");
    }

    #[test]
    fn a_crowd_that_has_gone_is_soon_forgotten() {
        assert!(wait_us(&after(&[100, 1, 1]), 1, 100).is_some());
        assert_eq!(wait_us(&after(&[100, 1, 1, 1, 1]), 1, 100), None);
        assert!(wait_us(&after(&[100, 0, 0, 0, 0]), 1, 100).is_some(), "turns without events say nothing");
    }
}
