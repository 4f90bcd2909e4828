//! The process is killed, at once and as a whole, and begins anew after a while with what is on the disk.
//!
//! The next process has another key, so that rooms have other homes; perhaps the machine was booted in between, and
//! then only the calendar tells for how long there was no server, which may have been set meanwhile.

use super::keeping::{self, Boot, Handed, Keeping, Loaded};
use super::lives::new_shard;
use super::{Channel, Completion, Core, Event, Kept, World, note};
use crate::model::{Client, KeptRoom};
use engine::snapshot::{self, Instant};
use engine::{Seed, Shard};

/// The next process begins within this.
const DOWNTIME_US_MAX: i64 = 3_000_000;
/// A calendar that is ahead by this: what played before does not play on.
const LONG_US: i64 = 25 * 3_600_000_000;

impl World<'_> {
    /// All shards are gone, and all sockets that any of them had accepted.
    pub(super) fn kill(&mut self) -> Kept {
        let Some(lives) = self.setup.lives.clone().filter(|_| self.is_chaos) else { return Ok(()) };
        self.check_kept()?;
        self.tally.restarts += 1;
        let begins_us = self.now.master_us + self.fate.within(50_000..=DOWNTIME_US_MAX);
        note!(self, "the process is killed; the next begins at {begins_us}");
        self.lose_all_sockets();
        self.setup.key = Seed(self.fate.number(), self.fate.number());
        self.judge.move_homes(self.setup.key);
        self.keeper.next_process();
        for core in 0..self.setup.cores {
            self.count_shard(core);
            let shard = new_shard(&self.setup, core);
            self.cores[usize::from(core)].next_process(shard, begins_us + 1);
            self.judge.begin_anew(core, &[], self.clock(), &mut self.sockets);
            self.turn_at(core, begins_us + 1);
        }
        let lives_known: Vec<u32> = self.cores.iter().map(|core| core.life).collect();
        self.cores.iter_mut().for_each(|core| core.lives_known.clone_from(&lives_known));
        self.schedule(begins_us, Event::Begin);
        if let Some(every_us) = lives.kill_every_us {
            let next_us = begins_us + self.fate.within(every_us / 2..=every_us * 2);
            self.schedule(next_us, Event::Kill);
        }
        (0..self.setup.cores).try_for_each(|core| self.after(core))
    }

    fn lose_all_sockets(&mut self) {
        let is_accepted = |completion: &Completion| match completion {
            Completion::Accept(client) => Some(*client),
            _ => None,
        };
        let accepted: Vec<Client> =
            self.cores.iter().flat_map(|core| core.completions.iter().filter_map(is_accepted)).collect();
        let moving: Vec<Client> = self.channels.iter_mut().flat_map(Channel::forget_all).collect();
        self.tally.sockets_lost += (accepted.len() + moving.len()) as u64;
        accepted.into_iter().chain(moving).for_each(|client| self.lose_socket(client));
        (0..self.setup.cores).for_each(|core| self.lose_sockets(core));
    }

    /// The next process begins, with what is on the disk.
    pub(super) fn begin(&mut self) -> Kept {
        if self.fate.one_in(3) {
            self.boot();
        }
        let Some(Loaded { written, file, rooms }) = self.keeper.load()? else { return Ok(()) };
        let now_us = self.now.master_us;
        let downtime_us = self.downtime_us(&written);
        let rooms: Vec<KeptRoom> =
            rooms.iter().map(|room| room.after(written.master_us, downtime_us, now_us)).collect();
        note!(self, "the process begins after {downtime_us} us with {} rooms", rooms.len());
        self.tally.rooms_resumed += rooms.len() as u64;
        for core in 0..self.setup.cores {
            self.judge.begin_anew(core, &rooms, self.clock(), &mut self.sockets);
            self.resume(core, &written, &file)?;
        }
        Ok(())
    }

    /// As each shard does with its part of the file.
    fn resume(&mut self, core: u16, written: &Instant, file: &[u8]) -> Kept {
        let now = self.instant();
        let (_, mut records) = snapshot::decode(file).expect("it was read before");
        records.iter_mut().for_each(|record| record.resume(written, &now));
        let here = &mut self.cores[usize::from(core)];
        here.shard.restore(records.into_iter(), self.now);
        // Should it fail before it has handed anything over, its next life has them.
        let handed = Handed { slice: here.shard.slice(), rooms: self.judge.kept(core) };
        keeping::check_same(
            &keeping::rooms(handed.slice.records()),
            &handed.rooms,
            "a room is back as it was, but for the time that has passed",
        )?;
        self.cores[usize::from(core)].keeping.handed = handed;
        self.after(core)
    }

    /// The machine is booted, and its calendar set, perhaps by a day.
    fn boot(&mut self) {
        let mut id = [0xb0; 16];
        id[..8].copy_from_slice(&self.fate.number().to_le_bytes());
        self.boot = Boot { id, began_us: self.now.master_us };
        if self.fate.one_in(4) {
            self.now.unix_us += LONG_US;
        }
        note!(self, "the machine was booted");
    }

    /// For how long there was no server, as far as anyone can tell.
    fn downtime_us(&self, written: &Instant) -> i64 {
        if written.boot_id == self.boot.id {
            self.now.master_us - written.master_us
        } else {
            (self.now.unix_us - written.unix_us).max(0)
        }
    }
}

impl Core {
    /// Nothing of a shard outlives its process.
    fn next_process(&mut self, shard: Shard, begins_us: i64) {
        self.next_life(shard);
        self.unheard.fill(false);
        self.completions.clear();
        self.keeping = Keeping::default();
        self.begins_us = begins_us;
    }
}
