//! Connections that are midway in a message or behind in what they are owed, looked at until they are neither.
//!
//! Nearly none are at a time, so what is known of them lies in a table of its own. Here ends a message that does not
//! come to its end, an outbox that nobody empties, and, once all of them together are owed too much, whoever is owed
//! most. Bytes that members share are counted for each: what is held is less, never more.

use super::Shard;
use crate::connection::Phase;
use crate::ids::ConnectionId;
use crate::limits::{LATE_MS, SHED_FRACTION};
use crate::stats::Stats;
use crate::time::{MS, Now};
use wire::close::Reason;

/// What is known of a connection that is watched.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watched {
    id: ConnectionId,
    /// When it was last seen to owe nothing, or to have been sent something.
    progress_us: i64,
    /// Its part of the bytes that are owed to all who are behind.
    behind_bytes: usize,
}

impl Watched {
    /// Its part is so much now, and the gauge of all follows.
    fn set_behind(&mut self, bytes: usize, stats: &mut Stats) {
        stats.outboxes_behind_bytes += bytes as u64;
        stats.outboxes_behind_bytes -= std::mem::replace(&mut self.behind_bytes, bytes) as u64;
    }
}

impl Shard {
    /// Looks at a connection from now on.
    pub(super) fn watch(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        if connection.is_watched {
            return;
        }
        connection.is_watched = true;
        let id = connection.id(index);
        connection.outbox.take_progress();
        self.watched.insert(index, Watched { id, progress_us: self.now.master_us, behind_bytes: 0 });
        self.deadlines.arm_watch(id, self.now);
    }

    /// Looks at it no more.
    pub(super) fn unwatch(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        if std::mem::take(&mut connection.is_watched)
            && let Some(watched) = self.watched.remove(&index)
        {
            self.stats.outboxes_behind_bytes -= watched.behind_bytes as u64;
        }
    }

    /// One look at a connection, whose time has come.
    pub(super) fn look(&mut self, id: ConnectionId, now: Now) {
        let Some(index) = self.live(id).filter(|index| self.connections[*index as usize].is_watched) else {
            return;
        };
        let connection = &mut self.connections[index as usize];
        let is_behind = connection.outbox.is_in_flight();
        let has_progress = connection.outbox.take_progress();
        let behind_bytes = connection.outbox.behind_bytes();
        let since_us = connection.unfinished.as_ref().map(|unfinished| unfinished.since_us);
        let Some(watched) = self.watched.get_mut(&index) else { return };
        if has_progress || !is_behind {
            watched.progress_us = now.master_us;
        }
        let stalled_us = now.master_us - watched.progress_us;
        watched.set_behind(behind_bytes, &mut self.stats);
        if stalled_us >= i64::from(self.settings.limits.outbox_timeout_ms) * MS {
            self.stats.outboxes_stalled += 1;
            self.drop_connection(index, true);
            return;
        }
        let midway_us = since_us.map_or(0, |since_us| now.master_us - since_us);
        if midway_us >= i64::from(self.settings.limits.message_timeout_ms) * MS {
            self.stats.message_timeouts += 1;
            self.close(index, Reason::Policy);
        }
        if is_behind || since_us.is_some() {
            self.deadlines.arm_watch(id, now);
        } else {
            self.unwatch(index);
        }
    }

    /// It is owed bytes and has taken none of them for a while.
    #[inline]
    pub(super) fn is_late(&self, index: u32) -> bool {
        self.connections[index as usize].is_watched && self.has_no_progress(index)
    }

    #[cold]
    fn has_no_progress(&self, index: u32) -> bool {
        let is_old = |watched: &Watched| self.now.master_us - watched.progress_us > LATE_MS * MS;
        self.connections[index as usize].outbox.is_in_flight() && self.watched.get(&index).is_some_and(is_old)
    }

    /// Lets go of those that are owed most, if all together are owed too much.
    pub(super) fn shed(&mut self) {
        let behind_max = self.settings.limits.outboxes_bytes_max as u64;
        if self.stats.outboxes_behind_bytes <= behind_max {
            return;
        }
        // They were looked at up to half a second ago, and who has caught up since is spared.
        for (index, watched) in &mut self.watched {
            let behind_bytes = self.connections[*index as usize].outbox.behind_bytes();
            watched.set_behind(behind_bytes, &mut self.stats);
        }
        let mut behind: Vec<Watched> = self.watched.values().copied().collect();
        // The slot breaks ties, so that the same shard does the same again.
        behind.sort_unstable_by_key(|watched| (std::cmp::Reverse(watched.behind_bytes), watched.id.index));
        for Watched { id, .. } in behind {
            if self.stats.outboxes_behind_bytes <= behind_max - behind_max / SHED_FRACTION as u64 {
                return;
            }
            if self.connections[id.index as usize].phase != Phase::Gone {
                self.stats.outboxes_shed += 1;
                self.drop_connection(id.index, true);
            }
        }
    }

    /// Sends the newest state to those who asked for one while they were late, and have caught up.
    pub(super) fn send_states_due(&mut self) {
        while let Some(id) = self.states_due.pop() {
            let Some(index) = self.live(id) else { continue };
            self.connections[index as usize].is_state_due = false;
            let member = self.member_id(index);
            if let Some((room, _)) = self.standing(member) {
                let mut frames = std::mem::take(&mut self.scratch);
                self.rooms[room as usize].write_snapshot(self.now, &mut frames);
                self.push_own(index, |out| out.extend_from_slice(&frames));
                frames.clear();
                self.scratch = frames;
            }
        }
    }
}
