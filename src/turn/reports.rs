//! What a shard is asked by the control core, and what it observes of its own turns.
//!
//! A question never holds a turn up: what takes long is done in slices, one a turn. Whoever asked may have given up
//! meanwhile; nobody is waited for. Two questions at most are there at a time, by whoever asks.

use crate::driver::Driver;
use engine::shard::{RoomReport, RoomWalk, RoomsPage};
use engine::{Now, Observed};
use futures_channel::oneshot;

/// Something that the control core wants to know.
#[derive(Debug)]
pub enum Question {
    /// What was observed since this was last asked.
    Measure {
        /// An empty set, which takes its place.
        empty: Box<Observed>,
        /// Where the answer goes.
        reply: oneshot::Sender<Measured>,
    },
    /// The largest rooms.
    Rooms {
        /// The walk that finds them.
        walk: RoomWalk,
        /// Where the answer goes.
        reply: oneshot::Sender<Answer>,
    },
    /// One room.
    Room {
        /// Its code.
        room_code: String,
        /// Where the answer goes.
        reply: oneshot::Sender<Answer>,
    },
}

/// What a shard was like since it was last measured.
#[derive(Debug)]
pub struct Measured {
    /// Its times.
    pub observed: Box<Observed>,
    /// CPU time of its thread since the thread began, µs.
    pub cpu_us: u64,
}

/// An answer about rooms.
#[derive(Debug)]
pub enum Answer {
    /// The largest.
    Rooms(RoomsPage),
    /// One, if its home is that shard.
    Room(Option<Box<RoomReport>>),
}

/// A walk, and who waits for it.
type Walk = (RoomWalk, oneshot::Sender<Answer>);

/// Questions that take more than a turn, and what was counted by the end of the turn before.
#[derive(Default)]
pub(super) struct Reports {
    walk: Option<Box<Walk>>,
    messages_before: u64,
}

impl Reports {
    /// Answers, or begins to.
    pub(super) fn answer(&mut self, question: Question, driver: &mut Driver, now: Now) {
        // Who does not wait any more has no use for an answer.
        match question {
            Question::Measure { empty, reply } => {
                let observed = driver.shard().take_observed(empty);
                let _ = reply.send(Measured { observed, cpu_us: cpu_us() });
            }
            Question::Rooms { walk, reply } => self.walk = Some(Box::new((walk, reply))),
            Question::Room { room_code, reply } => {
                let report = driver.shard().report_room(&room_code, now);
                let _ = reply.send(Answer::Room(report.map(Box::new)));
            }
        }
    }

    /// A walk goes on: do not park.
    pub(super) fn has_work(&self) -> bool {
        self.walk.is_some()
    }

    /// One more slice of a walk.
    #[inline]
    pub(super) fn go_on(&mut self, driver: &mut Driver, now: Now) {
        if let Some(walk) = self.walk.take() {
            self.walk = walk_on(walk, driver, now);
        }
    }

    /// A turn is over but for the call that hands over what it led to.
    #[inline]
    pub(super) fn observe_turn(&mut self, driver: &mut Driver, began: Now, now: Now) {
        let shard = driver.shard();
        let messages = shard.stats().messages_received;
        let came = messages - std::mem::replace(&mut self.messages_before, messages);
        let turn_us = (now.master_us - began.master_us) as u64;
        let observed = shard.observed_mut();
        observed.turn.saturating_record(turn_us);
        if came > 0 {
            observed.dwell.saturating_record_n(turn_us, came);
        }
        shard.handle_submitted(now);
    }
}

/// What is left of a walk after a slice.
#[cold]
fn walk_on(mut walk: Box<Walk>, driver: &mut Driver, now: Now) -> Option<Box<Walk>> {
    let (rooms, reply) = &mut *walk;
    if reply.is_canceled() {
        return None;
    }
    let Some(page) = driver.shard().walk_rooms(rooms, now) else { return Some(walk) };
    // Who does not wait any more has no use for an answer.
    let _ = walk.1.send(Answer::Rooms(page));
    None
}

/// CPU time of the calling thread, µs.
fn cpu_us() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a local that outlives the call, which cannot fail for this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1_000
}
