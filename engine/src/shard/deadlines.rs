//! Time as data: which deadline is next, and what happens at it.
//!
//! Connections wait for one of five constant delays, so each kind is a queue in order of time, with no
//! timer per connection: a stale entry is dropped when it comes up. Rooms have a heap. The driver asks for
//! the next deadline only to know how long it may sleep.

use super::{Action, Shard};
use crate::connection::{Activity, Membership, Phase};
use crate::ids::{ConnectionId, RoomId};
use crate::limits::{Limits, WATCH_INTERVAL_MS};
use crate::time::{MS, Now};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use wire::close::Reason;
use wire::frame::{self, Opcode};

/// Connections' deadlines are rounded up to this, so that thousands of them wake a core a few times a
/// second and not one by one.
const GRANULE_US: i64 = 100 * MS;
/// A deadline that is seen so late was missed because the process did not run.
const STANDSTILL_US: i64 = 1_000 * MS;
/// In this time what has come meanwhile is read: some seconds' work for ten thousand clients who spoke for a minute.
const PATIENCE_US: i64 = 5_000 * MS;
/// A queue with room for no more than this keeps its memory.
const QUEUE_KEPT: usize = 64;

/// All deadlines of a shard.
pub(super) struct Deadlines {
    head: DelayQueue,
    ping: DelayQueue,
    join: DelayQueue,
    watch: DelayQueue,
    close: DelayQueue,
    rooms: BinaryHeap<Reverse<(i64, u32, u32)>>,
    /// When they were last fired, by the master clock.
    fired_us: i64,
    /// Before this time connections are held to none of theirs.
    patience_us: i64,
}

/// Deadlines that all lie the same delay after they were armed, and so come up in the order armed.
struct DelayQueue {
    delay_us: i64,
    /// Each with its time, in granules of the master clock, which fill 32 bits in the year 2038.
    queue: VecDeque<(u32, ConnectionId)>,
}

impl DelayQueue {
    fn new(delay_ms: u32) -> DelayQueue {
        DelayQueue { delay_us: i64::from(delay_ms) * MS, queue: VecDeque::new() }
    }

    fn arm(&mut self, connection: ConnectionId, now: Now) {
        let due = (now.master_us + self.delay_us + GRANULE_US - 1).div_euclid(GRANULE_US);
        self.queue.push_back((due as u32, connection));
    }

    fn next_us(&self) -> Option<i64> {
        self.queue.front().map(|(due, _)| i64::from(*due) * GRANULE_US)
    }

    fn due(&mut self, now: Now) -> Option<ConnectionId> {
        if self.next_us()? > now.master_us {
            return None;
        }
        self.pop()
    }

    fn pop(&mut self) -> Option<ConnectionId> {
        let (_, connection) = self.queue.pop_front()?;
        // A storm of ten thousand heads must not hold memory for good.
        if self.queue.len() < self.queue.capacity() / 4 && self.queue.capacity() > QUEUE_KEPT {
            self.queue.shrink_to(2 * self.queue.len());
        }
        Some(connection)
    }
}

impl Deadlines {
    pub(super) fn new(limits: &Limits) -> Deadlines {
        Deadlines {
            head: DelayQueue::new(limits.head_timeout_ms),
            ping: DelayQueue::new(limits.ping_interval_ms),
            join: DelayQueue::new(limits.join_timeout_ms),
            watch: DelayQueue::new(WATCH_INTERVAL_MS),
            close: DelayQueue::new(limits.close_timeout_ms),
            rooms: BinaryHeap::new(),
            fired_us: 0,
            patience_us: i64::MIN,
        }
    }

    /// When the first connection's is due.
    fn next_us(&self) -> Option<i64> {
        let Deadlines { head, ping, join, watch, close, .. } = self;
        [head, ping, join, watch, close].into_iter().filter_map(DelayQueue::next_us).min()
    }

    /// The shard has not been asked for a while. If it should have been, the process stood still: what connections have sent
    /// meanwhile, and what they have taken, is still to be seen, and nobody is late before that.
    #[cold]
    fn look_back(&mut self, now: Now) {
        let stood_still = |due_us: i64| due_us >= self.fired_us && now.master_us - due_us > STANDSTILL_US;
        if self.next_us().is_some_and(stood_still) {
            self.patience_us = now.master_us + PATIENCE_US;
        }
    }

    pub(super) fn arm_head(&mut self, connection: ConnectionId, now: Now) {
        self.head.arm(connection, now);
    }

    pub(super) fn arm_ping(&mut self, connection: ConnectionId, now: Now) {
        self.ping.arm(connection, now);
    }

    pub(super) fn arm_join(&mut self, connection: ConnectionId, now: Now) {
        self.join.arm(connection, now);
    }

    pub(super) fn arm_watch(&mut self, connection: ConnectionId, now: Now) {
        self.watch.arm(connection, now);
    }

    pub(super) fn arm_close(&mut self, connection: ConnectionId, now: Now) {
        self.close.arm(connection, now);
    }

    pub(super) fn arm_room(&mut self, due_us: i64, room: RoomId) {
        self.rooms.push(Reverse((due_us, room.index, room.generation)));
    }
}

impl Shard {
    pub(super) fn next_deadline(&mut self) -> Option<i64> {
        // Stale entries at a front would wake the core for nothing.
        while self.deadlines.head.queue.front().is_some_and(|(_, id)| !self.is_in(*id, Phase::Head)) {
            self.deadlines.head.pop();
        }
        while self.deadlines.ping.queue.front().is_some_and(|(_, id)| !self.is_in(*id, Phase::Open)) {
            self.deadlines.ping.pop();
        }
        self.forget_joined();
        while self.deadlines.watch.queue.front().is_some_and(|(_, id)| !self.is_watched(*id)) {
            self.deadlines.watch.pop();
        }
        while self.deadlines.close.queue.front().is_some_and(|(_, id)| self.live(*id).is_none()) {
            self.deadlines.close.pop();
        }
        let patience_us = self.deadlines.patience_us;
        let connection_us = self.deadlines.next_us().map(|due_us| due_us.max(patience_us));
        let room_us = self.deadlines.rooms.peek().map(|Reverse((due_us, ..))| *due_us);
        connection_us.into_iter().chain(room_us).min()
    }

    fn is_in(&self, id: ConnectionId, phase: Phase) -> bool {
        self.live(id).is_some_and(|index| self.connections[index as usize].phase == phase)
    }

    /// Who has joined needs no deadline for it. As most join soon and in the order they came, hardly any stay.
    pub(super) fn forget_joined(&mut self) {
        while self.deadlines.join.queue.front().is_some_and(|(_, id)| !self.has_joined_nothing(*id)) {
            self.deadlines.join.pop();
        }
    }

    fn has_joined_nothing(&self, id: ConnectionId) -> bool {
        self.is_in(id, Phase::Open)
            && self.connections[id.index as usize].ticket == 0
            && matches!(self.connections[id.index as usize].membership, Membership::None)
    }

    fn is_watched(&self, id: ConnectionId) -> bool {
        self.live(id).is_some_and(|index| self.connections[index as usize].is_watched)
    }

    pub(super) fn fire(&mut self, now: Now) {
        if now.master_us - self.deadlines.fired_us > STANDSTILL_US {
            // Stale entries were not missed.
            self.next_deadline();
            self.deadlines.look_back(now);
        }
        self.deadlines.fired_us = now.master_us;
        if now.master_us >= self.deadlines.patience_us {
            self.fire_connections(now);
        }
        self.fire_rooms(now);
    }

    fn fire_connections(&mut self, now: Now) {
        while let Some(id) = self.deadlines.head.due(now) {
            if self.is_in(id, Phase::Head) {
                self.stats.head_timeouts += 1;
                self.drop_connection(id.index, true);
            }
        }
        while let Some(id) = self.deadlines.ping.due(now) {
            if self.is_in(id, Phase::Open) {
                self.ping(id, now);
            }
        }
        while let Some(id) = self.deadlines.join.due(now) {
            if self.has_joined_nothing(id) {
                self.stats.join_timeouts += 1;
                self.close(id.index, Reason::Policy);
            }
        }
        while let Some(id) = self.deadlines.watch.due(now) {
            self.look(id, now);
        }
        self.shed();
        while let Some(id) = self.deadlines.close.due(now) {
            if let Some(index) = self.live(id)
                && matches!(self.connections[index as usize].phase, Phase::Closing { .. })
            {
                self.stats.close_timeouts += 1;
                self.drop_connection(index, true);
            }
        }
    }

    fn ping(&mut self, id: ConnectionId, now: Now) {
        let connection = &mut self.connections[id.index as usize];
        if u32::from(connection.pings_unanswered) >= self.settings.limits.pings_unanswered_max {
            self.stats.pings_unanswered += 1;
            self.drop_connection(id.index, true);
            return;
        }
        connection.pings_unanswered += 1;
        match connection.activity {
            Activity::Lively => connection.activity = Activity::Quiet,
            Activity::Quiet => {
                connection.activity = Activity::Resting;
                self.actions.push_back(Action::Rest(id));
            }
            Activity::Resting => {}
        }
        self.push_own(id.index, |out| frame::push_frame(out, Opcode::Ping, b""));
        self.ask_rtt(id.index);
        self.deadlines.arm_ping(id, now);
    }

    fn fire_rooms(&mut self, now: Now) {
        while let Some(Reverse((due_us, index, generation))) = self.deadlines.rooms.peek().copied() {
            if due_us > now.master_us {
                break;
            }
            self.deadlines.rooms.pop();
            let Some(room) = self.rooms.get_mut(index as usize) else { continue };
            if room.id.generation != generation || room.timer_us != Some(due_us) {
                continue;
            }
            room.timer_us = None;
            if room.is_over(now) {
                self.remove_room(index);
                continue;
            }
            let mut frames = std::mem::take(&mut self.scratch);
            let before = room.out_of_sync;
            room.handle_deadline(now, &mut frames);
            self.count_out_of_sync(index, before);
            self.broadcast(index, &mut frames, None);
            self.scratch = frames;
            self.observe_start(index);
            self.arm_room(index);
        }
    }

    /// Tells the driver to let go of a connection, which leaves its room at once.
    pub(super) fn drop_connection(&mut self, index: u32, reset: bool) {
        self.leave(index);
        self.unwatch(index);
        let connection = &mut self.connections[index as usize];
        connection.phase = Phase::Gone;
        connection.outbox.clear();
        self.actions.push_back(Action::Drop { connection: connection.id(index), reset });
    }
}
