//! What is kept of the rooms: what each shard hands over, as its turns do it, and the files that the control core writes
//! of that, some of which fail or are damaged.
//!
//! Beside each slice stands what the models of its rooms were when it was whole, so that what is kept can be held
//! against it at any moment: each is one at which everything may end.

use super::{Event, Kept, World, broken, note};
use crate::model::KeptRoom;
use engine::snapshot::{self, Header, Instant, Record, Slice};
use std::collections::VecDeque;

const RULE: &str = "a loadable snapshot at every crash point";
/// Files that are kept, as the server does.
const GENERATIONS: usize = 3;
/// What a shard does not hand over in this time is not waited for.
const ANSWER_US: i64 = 500_000;

/// Rooms as they were handed over, or restored.
#[derive(Clone, Debug, Default)]
pub(super) struct Handed {
    pub(super) slice: Slice,
    /// What their models say, in order of their codes.
    pub(super) rooms: Vec<KeptRoom>,
}

/// A time that the machine is up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Boot {
    pub(super) id: [u8; 16],
    /// By the master clock, which does not begin with it.
    pub(super) began_us: i64,
}

impl Boot {
    pub(super) const FIRST: Boot = Boot { id: [1; 16], began_us: -7_000_000 };
}

/// One shard's part.
#[derive(Default)]
pub(super) struct Keeping {
    /// It was asked for its rooms, and has not heard of it yet.
    is_asked: bool,
    /// What had changed when it began to write what it is to hand over.
    writing: Option<u64>,
    /// The control core waits for it.
    is_awaited: bool,
    /// What had changed when it handed over last in this life.
    changes: Option<u64>,
    /// What it handed over last, in whichever life.
    pub(super) handed: Handed,
}

impl Keeping {
    /// What outlives a shard. Who waited for an answer that it was at work on waits no more.
    pub(super) fn next_life(&mut self) {
        self.is_awaited &= self.is_asked;
        (self.writing, self.changes) = (None, None);
    }
}

/// The control core's part.
#[derive(Default)]
pub(super) struct Keeper {
    /// What each shard's answer was, by core; nothing is written before all have given one.
    slices: Vec<Option<Handed>>,
    /// What is on the disk is not what there is.
    is_behind: bool,
    /// Counts the tries.
    generation: u64,
    /// The newest last.
    files: VecDeque<File>,
}

struct File {
    bytes: Vec<u8>,
    is_damaged: bool,
    header: Header,
    rooms: Vec<KeptRoom>,
}

/// What the next process finds.
pub(super) struct Loaded {
    pub(super) written: Instant,
    pub(super) file: Vec<u8>,
    pub(super) rooms: Vec<KeptRoom>,
}

impl Keeper {
    pub(super) fn new(cores: u16) -> Keeper {
        Keeper { slices: vec![None; usize::from(cores)], ..Keeper::default() }
    }

    fn take(&mut self, core: u16, handed: Handed) {
        self.slices[usize::from(core)] = Some(handed);
        self.is_behind = true;
    }

    /// What is to be written, if anything is.
    fn due(&self) -> Option<Vec<Handed>> {
        self.is_behind.then(|| self.slices.iter().cloned().collect())?
    }

    fn add(&mut self, file: File) {
        self.is_behind = false;
        self.files.push_back(file);
        if self.files.len() > GENERATIONS {
            self.files.pop_front();
        }
    }

    /// The next process has the files of this one.
    pub(super) fn next_process(&mut self) {
        self.slices.fill(None);
        self.is_behind = false;
    }

    /// What a process that begins now would find: damaged files are passed over whole.
    pub(super) fn load(&self) -> Result<Option<Loaded>, super::Broken> {
        for file in self.files.iter().rev() {
            let rooms = match snapshot::decode(&file.bytes) {
                Ok(_) if file.is_damaged => {
                    return broken("a damaged snapshot is refused", format!("{:?}", file.header))
                        .map(|()| None);
                }
                Err(_) if file.is_damaged => continue,
                Err(corrupt) => return broken(RULE, format!("{:?}: {corrupt}", file.header)).map(|()| None),
                Ok((header, _)) if header != file.header => {
                    return broken(RULE, format!("{header:?}, not {:?}", file.header)).map(|()| None);
                }
                Ok((_, records)) => rooms(records.into_iter()),
            };
            check_same(&rooms, &file.rooms, RULE)?;
            let (written, file) = (file.header.written, file.bytes.clone());
            return Ok(Some(Loaded { written, file, rooms }));
        }
        Ok(None)
    }
}

/// Records as the model has rooms, in order of their codes.
pub(super) fn rooms<'a>(records: impl Iterator<Item = Record<'a>>) -> Vec<KeptRoom> {
    let value = |text: &Option<std::borrow::Cow<'_, str>>| text.as_deref().and_then(KeptRoom::value);
    let mut rooms: Vec<KeptRoom> = records
        .map(|record| KeptRoom {
            code: record.code.clone().into_owned(),
            host: value(&record.host),
            audio_url: (*record.audio_url).into(),
            duration: value(&record.duration),
            start_us: record.started_us,
            paused_us: record.paused_us,
        })
        .collect();
    rooms.sort_by(|one, other| one.code.cmp(&other.code));
    rooms
}

pub(super) fn check_same(rooms: &[KeptRoom], expected: &[KeptRoom], rule: &'static str) -> Kept {
    if rooms != expected {
        return broken(rule, format!("{rooms:?}\n  expected {expected:?}"));
    }
    Ok(())
}

impl World<'_> {
    /// The control core asks all shards for their rooms. Not all of them hear of it.
    pub(super) fn ask_for_rooms(&mut self) {
        let Some(lives) = self.setup.lives.clone().filter(|_| self.is_chaos) else { return };
        for core in 0..self.setup.cores {
            if !self.fate.one_in(8) {
                let keeping = &mut self.cores[usize::from(core)].keeping;
                (keeping.is_asked, keeping.is_awaited) = (true, true);
                self.turn_soon(core);
            }
        }
        let now_us = self.now.master_us;
        let write_us = now_us + self.fate.within(0..=ANSWER_US);
        self.schedule(write_us, Event::Write);
        let wait_us = self.fate.within(lives.keep_every_us / 2..=lives.keep_every_us * 2);
        self.schedule(write_us + wait_us, Event::Keep);
    }

    /// A shard hears that it is to hand over its rooms; if they are as they were, it need not.
    pub(super) fn begin_keeping(&mut self, core: u16) -> Kept {
        let here = &mut self.cores[usize::from(core)];
        if !std::mem::take(&mut here.keeping.is_asked) {
            return Ok(());
        }
        let changes = here.shard.changes();
        if here.keeping.changes != Some(changes) {
            here.keeping.writing = Some(changes);
            return Ok(());
        }
        here.keeping.is_awaited = false;
        self.tally.keeps_unchanged += 1;
        let handed = &self.cores[usize::from(core)].keeping.handed;
        check_same(&self.judge.kept(core), &handed.rooms, "what has changed is handed over")
    }

    /// A shard writes some of its rooms. One step takes all that a world has.
    pub(super) fn go_on_keeping(&mut self, core: u16) -> Kept {
        let here = &mut self.cores[usize::from(core)];
        let Some(changes) = here.keeping.writing.take() else { return Ok(()) };
        let mut slice = Slice::default();
        if here.shard.write_slice(0, &mut slice).is_some() {
            return broken("a few rooms are one step", format!("core {core}"));
        }
        let handed = Handed { slice, rooms: self.judge.kept(core) };
        check_same(&rooms(handed.slice.records()), &handed.rooms, "a room is kept as it is")?;
        note!(self, "core {core} hands over {} rooms", handed.rooms.len());
        let is_lost = self.fate.one_in(8);
        let keeping = &mut self.cores[usize::from(core)].keeping;
        let is_taken = std::mem::take(&mut keeping.is_awaited) && !is_lost;
        // What nobody has taken is handed over again.
        keeping.changes = is_taken.then_some(changes);
        keeping.handed = handed.clone();
        if is_taken {
            self.tally.keeps += 1;
            self.keeper.take(core, handed);
        } else {
            self.tally.keeps_lost += 1;
        }
        Ok(())
    }

    /// The control core has waited long enough, and writes what it has, if anything is new. The disk may fail.
    pub(super) fn write_file(&mut self) {
        self.cores.iter_mut().for_each(|core| core.keeping.is_awaited = false);
        let Some(handed) = self.keeper.due() else { return };
        self.keeper.generation += 1;
        if self.fate.one_in(5) {
            self.tally.snapshots_failed += 1;
            return note!(self, "generation {} cannot be written", self.keeper.generation);
        }
        let header = Header { generation: self.keeper.generation, written: self.instant() };
        let slices: Vec<&Slice> = handed.iter().map(|handed| &handed.slice).collect();
        let mut bytes = snapshot::encode(&header, &slices);
        // Two in a row might leave none that is sound, and no server makes up for that.
        let is_damaged = self.fate.one_in(4) && self.keeper.files.back().is_some_and(|file| !file.is_damaged);
        if is_damaged {
            self.tally.snapshots_damaged += 1;
            self.damage(&mut bytes);
        }
        self.tally.snapshots += 1;
        let rooms = all(handed.iter());
        note!(self, "{header:?}: {} rooms, damaged: {is_damaged}", rooms.len());
        self.keeper.add(File { bytes, is_damaged, header, rooms });
    }

    /// A disk that lies: a bit is another, or the end is missing.
    fn damage(&mut self, bytes: &mut Vec<u8>) {
        let place = self.fate.below(bytes.len());
        if self.fate.one_in(2) {
            bytes.truncate(place);
        } else {
            bytes[place] ^= 1 << self.fate.below(8);
        }
    }

    /// Now, by the clocks that tell how long there was no server.
    pub(super) fn instant(&self) -> Instant {
        Instant {
            unix_us: self.now.unix_us,
            boot_us: self.now.master_us - self.boot.began_us,
            master_us: self.now.master_us,
            boot_id: self.boot.id,
        }
    }

    /// If everything ended now: what is on the disk, and what would be if what was handed over were written, are sound
    /// and say what the rooms were.
    pub(super) fn check_kept(&self) -> Kept {
        if self.setup.lives.is_none() {
            return Ok(());
        }
        self.keeper.load()?;
        let header = Header { generation: u64::MAX, written: self.instant() };
        let handed = self.cores.iter().map(|core| &core.keeping.handed);
        let slices: Vec<&Slice> = handed.clone().map(|handed| &handed.slice).collect();
        let file = snapshot::encode(&header, &slices);
        match snapshot::decode(&file) {
            Ok((read, records)) if read == header => {
                check_same(&rooms(records.into_iter()), &all(handed), RULE)
            }
            other => broken(RULE, format!("{:?}", other.map(|(header, _)| header))),
        }
    }
}

/// The rooms of several shards, in order of their codes.
fn all<'a>(handed: impl Iterator<Item = &'a Handed>) -> Vec<KeptRoom> {
    let mut rooms: Vec<KeptRoom> = handed.flat_map(|handed| handed.rooms.iter().cloned()).collect();
    rooms.sort_by(|one, other| one.code.cmp(&other.code));
    rooms
}
