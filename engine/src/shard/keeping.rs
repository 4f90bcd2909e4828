//! What is kept of a shard's rooms: written some rooms at a time, read back when a process or a shard begins anew.

use super::Shard;
use crate::placement;
use crate::snapshot::{Record, Slice};
use crate::time::Now;

/// Slots of rooms that one step of [`Shard::write_slice`] looks at: some 100 µs, so that nobody waits for it.
const ROOMS_PER_STEP: usize = 256;

impl Shard {
    /// Counts whatever may have changed what is kept.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Adds the rooms from a slot on to a slice; the slot to go on from, until all are in it. A room that changes
    /// meanwhile is kept as it was or as it is.
    pub fn write_slice(&self, from: usize, slice: &mut Slice) -> Option<usize> {
        let slots = self.rooms.capacity();
        let end = (from + ROOMS_PER_STEP).min(slots);
        let rooms = (from..end).filter_map(|slot| self.rooms.get(slot));
        rooms.filter_map(|room| room.record()).for_each(|record| slice.push(&record));
        (end < slots).then_some(end)
    }

    /// All of its rooms at once, for when nobody waits any more.
    pub fn slice(&self) -> Slice {
        let mut slice = Slice::default();
        let mut next = Some(0);
        while let Some(from) = next {
            next = self.write_slice(from, &mut slice);
        }
        slice
    }

    /// Makes the rooms anew whose home is this shard. They wait a while for someone to join.
    pub fn restore<'a>(&mut self, records: impl Iterator<Item = Record<'a>>, now: Now) {
        self.now = now;
        let rooms_max = self.rooms_max();
        for record in records {
            let is_code = (1..=self.settings.limits.room_code_bytes_max).contains(&record.code.len());
            let home = placement::home(self.settings.seed, &record.code, self.settings.cores);
            let is_new = !self.rooms_by_code.contains_key(&*record.code);
            if is_code && is_new && home == self.settings.core && self.rooms.len() < rooms_max {
                let index = self.room_of_code((*record.code).into());
                self.rooms[index as usize].restore(&record, now);
                self.arm_room(index);
            }
        }
    }
}
