//! The readiness handshake: when does a room that was asked to play begin?
//!
//! It counts answers and time and says with which lead to start; it knows no member and no frame. One
//! handshake at a time belongs to a room, and nothing of an older one reaches a newer one: answers carry its
//! id, timers ask it anew.

use crate::time::{MS, us};
use wire::json::Json;
use wire::text::WsId;

/// The base delay of a PLAY that names none.
const BASE_DELAY_MS: f64 = 800.0;
/// What the answer that completes the room adds to the base delay.
const COMPLETED_LEAD_MS: f64 = 800.0;
/// What a check that finds enough members ready adds.
const ENOUGH_LEAD_MS: f64 = 600.0;
/// What a start adds that waits no longer.
const LATE_LEAD_MS: f64 = 1400.0;

const FIRST_CHECK_US: i64 = 1_200 * MS;
const CHECK_INTERVAL_US: i64 = 500 * MS;
const SOFT_TIMEOUT_US: i64 = 5_500 * MS;
const HARD_TIMEOUT_US: i64 = 9_000 * MS;
/// Age under which the same track's PLAY is a duplicate.
const DUPLICATE_US: i64 = 1_500 * MS;

/// Rooms up to this size wait for everyone, larger ones for [`ENOUGH_FRACTION`].
const ALL_MEMBERS_MAX: usize = 2;
const ENOUGH_FRACTION: f64 = 0.66;

/// A pending PLAY.
#[derive(Debug)]
pub struct Readiness {
    /// Names the handshake to the devices.
    pub check_id: WsId,
    /// What is to be played.
    pub audio_url: Box<str>,
    /// Its duration, as sent.
    pub duration: Option<Json>,
    /// Members whose answers counted.
    pub ready: usize,
    base_delay_ms: f64,
    completed_base_delay_ms: f64,
    rtt_ms: f64,
    since_us: i64,
    checked_us: i64,
}

/// A start: how long from now, and the latency it is announced with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Start {
    /// From now to the first beat.
    pub delay_ms: f64,
    /// Half a round trip.
    pub latency_ms: f64,
}

impl Readiness {
    /// A handshake that begins now.
    pub fn new(
        check_id: WsId,
        audio_url: &str,
        duration: Option<Json>,
        start_delay_ms: Option<f64>,
        rtt_ms: Option<f64>,
        now_us: i64,
    ) -> Readiness {
        let base_delay_ms = start_delay_ms.unwrap_or(BASE_DELAY_MS);
        Readiness {
            check_id,
            audio_url: audio_url.into(),
            duration,
            ready: 0,
            base_delay_ms,
            // The old server's completing answer took a base of 0 for none named; its timers did not.
            completed_base_delay_ms: if base_delay_ms == 0.0 { BASE_DELAY_MS } else { base_delay_ms },
            rtt_ms: rtt_ms.unwrap_or(0.0),
            since_us: now_us,
            checked_us: now_us,
        }
    }

    /// How long it has been going on, µs.
    pub fn age_us(&self, now_us: i64) -> i64 {
        now_us - self.since_us
    }

    /// A PLAY of the same track that came so soon is a second click.
    pub fn is_duplicate(&self, audio_url: &str, now_us: i64) -> bool {
        *self.audio_url == *audio_url && now_us - self.since_us < DUPLICATE_US
    }

    /// The start if the answer that was just counted completes a room of `members`.
    pub fn completed(&self, members: usize, rtt_ms: Option<f64>) -> Option<Start> {
        (self.ready == members).then(|| Start {
            delay_ms: self.completed_base_delay_ms + COMPLETED_LEAD_MS,
            latency_ms: rtt_ms.unwrap_or(0.0) / 2.0,
        })
    }

    /// The start if a check is due and its time or the room of `members` is ripe.
    pub fn check(&mut self, members: usize, now_us: i64) -> Option<Start> {
        let due_us = self.next_check_us();
        if now_us < due_us {
            return None;
        }
        self.checked_us = now_us;
        // The rounds from 1.2 s on; those from 5.5 s on lie between them and only start late.
        let is_for_enough = (due_us - self.since_us - FIRST_CHECK_US) % CHECK_INTERVAL_US == 0;
        let age_us = now_us - self.since_us;
        let enough = if members <= ALL_MEMBERS_MAX {
            self.ready == members
        } else {
            self.ready as f64 / members as f64 >= ENOUGH_FRACTION
        };
        let enough = enough && is_for_enough;
        let late = age_us >= HARD_TIMEOUT_US || (age_us >= SOFT_TIMEOUT_US && self.ready > 0);
        if !enough && !late {
            return None;
        }
        let lead_ms = if enough { ENOUGH_LEAD_MS } else { LATE_LEAD_MS };
        Some(Start { delay_ms: self.base_delay_ms + lead_ms, latency_ms: self.rtt_ms / 2.0 })
    }

    /// When to check next: at 1.2 s and each 0.5 s after it, at 5.5 s and each 0.5 s after it, at 9 s.
    pub fn next_check_us(&self) -> i64 {
        let checked_us = self.checked_us - self.since_us;
        let after = |first_us: i64| {
            let rounds = (checked_us - first_us).div_euclid(CHECK_INTERVAL_US) + 1;
            first_us + rounds.max(0) * CHECK_INTERVAL_US
        };
        self.since_us + after(FIRST_CHECK_US).min(after(SOFT_TIMEOUT_US)).min(HARD_TIMEOUT_US)
    }
}

impl Start {
    /// The delay in µs.
    pub fn delay_us(&self) -> i64 {
        us(self.delay_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ready: usize, members: usize) -> Vec<(i64, f64)> {
        let mut readiness = Readiness::new(WsId(1), "a", None, None, Some(40.0), 7_000);
        readiness.ready = ready;
        let mut checks = vec![];
        loop {
            let due_us = readiness.next_check_us();
            let start = readiness.check(members, due_us);
            checks.push(((due_us - 7_000) / MS, start.map_or(0.0, |start| start.delay_ms)));
            if let Some(start) = start {
                assert_eq!(start.latency_ms, 20.0);
                return checks;
            }
        }
    }

    #[test]
    fn checks_come_at_1200_ms_then_each_500_and_at_both_timeouts() {
        let times: Vec<i64> = at(0, 2).iter().map(|(ms, _)| *ms).collect();
        let early = (1200..5500).step_by(500);
        let late = (5500..9000).step_by(500).chain((5700..9000).step_by(500)).chain([9000]);
        let mut expected: Vec<i64> = early.chain(late).collect();
        expected.sort_unstable();
        assert_eq!(times, expected);
    }

    /// Two thirds count at 1.2 s and each 0.5 s after it. At 5.5 s, between two of those, a start is a late one.
    #[test]
    fn a_start_at_5500_ms_has_the_late_lead_even_if_enough_are_ready_by_then() {
        let mut readiness = Readiness::new(WsId(1), "a", None, None, None, 0);
        while readiness.next_check_us() < SOFT_TIMEOUT_US {
            assert_eq!(readiness.check(3, readiness.next_check_us()), None);
        }
        readiness.ready = 2;
        let start = readiness.check(3, SOFT_TIMEOUT_US).map(|start| start.delay_ms);
        assert_eq!(start, Some(800.0 + 1400.0));
    }

    #[test]
    fn each_row_of_the_protocols_table() {
        assert_eq!(at(2, 2).last(), Some(&(1200, 1400.0)), "all ready in a room of two");
        assert_eq!(at(1, 2).last(), Some(&(5500, 2200.0)), "one of two waits for the soft timeout");
        assert_eq!(at(2, 3).last(), Some(&(1200, 1400.0)), "two thirds");
        assert_eq!(at(13, 20).last(), Some(&(5500, 2200.0)), "65 % is not enough");
        assert_eq!(at(0, 5).last(), Some(&(9000, 2200.0)), "nobody: the hard timeout");
        let mut readiness = Readiness::new(WsId(1), "a", None, Some(500.0), None, 0);
        readiness.ready = 2;
        let completed = readiness.completed(2, Some(50.0));
        assert_eq!(completed, Some(Start { delay_ms: 1300.0, latency_ms: 25.0 }));
        assert_eq!(readiness.completed(3, None), None);
    }
}
