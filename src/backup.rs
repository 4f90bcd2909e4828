//! Rooms on disk: who may use the folder, what is read from it at the start, how a snapshot gets there whole.
//!
//! A snapshot is written to a file of its own, synced, renamed, and the folder synced; three generations are kept. So
//! there is a sound one at every moment. One that is not is set aside as `.corrupt` and the one before is used. The old
//! server's `state-backup.json` is read, too, if it is newer. What a snapshot says is the engine's.

mod import;

use crate::clock::{self, Clock};
use crate::config::BackupSettings;
use crate::start_error::StartError;
use engine::snapshot::{self, Header, Instant, Record, Slice};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Snapshots that are kept.
const GENERATIONS: usize = 3;
const PREFIX: &str = "rooms-";
const SUFFIX: &str = ".snapshot";
const TEMPORARY_SUFFIX: &str = ".tmp";
const CORRUPT_SUFFIX: &str = ".corrupt";
const LOCK: &str = "downbeat.lock";
/// Rooms are not for other users' eyes.
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;
/// No snapshot is larger: two million rooms have some 400 MB.
const FILE_BYTES_MAX: u64 = 16 << 30;

/// A folder of snapshots, this process's alone.
pub struct Store {
    folder: PathBuf,
    /// The old server's file.
    old_file: PathBuf,
    /// The newest generation that is there, or was tried.
    generation: u64,
    /// Held, and so locked, as long as the process lives.
    _lock: File,
}

/// What was found in a folder.
#[derive(Default)]
pub struct Found {
    /// The rooms, if there are any.
    pub restored: Option<Arc<Restored>>,
    /// What the operator should know of.
    pub remarks: Vec<String>,
}

/// The rooms of the process before.
pub struct Restored {
    file: Vec<u8>,
    written: Instant,
    now: Instant,
    /// Rooms in it.
    pub count: usize,
    /// Where they come from.
    pub path: PathBuf,
}

impl Restored {
    /// The rooms as they are at this process's start.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        let records = snapshot::decode(&self.file).map_or_else(|_| Vec::new(), |(_, records)| records);
        records.into_iter().map(|mut record| {
            record.resume(&self.written, &self.now);
            record
        })
    }

    /// How long nobody kept the rooms, µs.
    pub fn downtime_us(&self) -> i64 {
        self.now.since(&self.written)
    }
}

/// A snapshot that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its number.
    pub generation: u64,
    /// Its size.
    pub bytes: usize,
    /// Rooms in it.
    pub rooms: u64,
}

impl Store {
    /// Takes the folder, if snapshots are wanted; makes it if it is not there.
    pub fn open(settings: &BackupSettings) -> Result<Option<Store>, StartError> {
        let Some((folder, old_file)) = settings.paths() else { return Ok(None) };
        let lock = take(&folder)?;
        let files = files(&folder).map_err(|error| refused(&folder, "read", &error))?;
        let generation = files.last().map_or(0, |(generation, _)| *generation);
        remove_temporary(&folder);
        Ok(Some(Store { folder, old_file, generation, _lock: lock }))
    }

    /// The newest rooms that are sound.
    pub fn load(&self, clock: &Clock) -> Found {
        let now = instant(clock);
        let mut found = Found::default();
        for (_, path) in files(&self.folder).unwrap_or_default().into_iter().rev() {
            match read(&path, now) {
                Ok(restored) => {
                    found.restored = Some(Arc::new(restored));
                    break;
                }
                Err(why) => found.remarks.push(set_aside(&path, &why)),
            }
        }
        let newest_us = found.restored.as_ref().map_or(i64::MIN, |restored| restored.written.unix_us);
        match import::read(&self.old_file, now) {
            Ok(Some(imported)) if imported.written.unix_us > newest_us => {
                found.restored = Some(Arc::new(imported));
            }
            Ok(_) => {}
            Err(why) => found.remarks.push(format!("{} is not used: {why}", self.old_file.display())),
        }
        // Kills may have come before what is too old was removed. What cannot be removed does no harm, and the next
        // write says so.
        let _ = remove_older(&self.folder);
        found
    }

    /// The number of the next snapshot. One that fails is not used again.
    pub fn next_generation(&mut self) -> u64 {
        self.generation += 1;
        self.generation
    }

    /// Where a snapshot is written.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Makes the folder if need be, and locks it for this process.
fn take(folder: &Path) -> Result<File, StartError> {
    let made = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder);
    made.map_err(|error| refused(folder, "make the folder", &error))?;
    let mut options = OpenOptions::new();
    let lock = options.create(true).truncate(false).write(true).mode(FILE_MODE).open(folder.join(LOCK));
    let lock = lock.map_err(|error| refused(folder, "write to", &error))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(fs::TryLockError::WouldBlock) => Err(StartError::new(format!(
            "another process keeps its rooms in {}; stop it or set another BACKUP_DIR",
            folder.display()
        ))),
        Err(fs::TryLockError::Error(error)) => Err(refused(folder, "lock", &error)),
    }
}

fn refused(folder: &Path, what: &str, error: &io::Error) -> StartError {
    StartError::new(format!(
        "cannot {what} {}: {error}; BACKUP_DIR must be a folder that this user may write to",
        folder.display()
    ))
}

/// What a process that was killed has left.
fn remove_temporary(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(PREFIX) && name.ends_with(TEMPORARY_SUFFIX) {
            // If it cannot be removed it stays, and does no harm.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Writes one snapshot, whole or not at all. Blocks until it is on the disk.
pub fn write(folder: &Path, generation: u64, clock: &Clock, slices: &[Arc<Slice>]) -> io::Result<Written> {
    let slices: Vec<&Slice> = slices.iter().map(|slice| &**slice).collect();
    let header = Header { generation, written: instant(clock) };
    let bytes = snapshot::encode(&header, &slices);
    let path = folder.join(format!("{PREFIX}{generation:020}{SUFFIX}"));
    let temporary = folder.join(format!("{PREFIX}{generation:020}{TEMPORARY_SUFFIX}"));
    let result = write_synced(&temporary, &bytes).and_then(|()| fs::rename(&temporary, &path));
    if let Err(error) = result {
        // After a failed fsync nobody knows what the file holds: the next try has a new one.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    File::open(folder)?.sync_all()?;
    remove_older(folder)?;
    Ok(Written { generation, bytes: bytes.len(), rooms: slices.iter().map(|slice| slice.count()).sum() })
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Leaves the newest generations only.
fn remove_older(folder: &Path) -> io::Result<()> {
    for (_, path) in files(folder)?.iter().rev().skip(GENERATIONS) {
        fs::remove_file(path)?;
    }
    Ok(())
}

/// Snapshots by generation, the oldest first.
fn files(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let number = name.and_then(|name| name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX));
        if let Some(generation) = number.and_then(|number| number.parse().ok()) {
            files.push((generation, path));
        }
    }
    files.sort_unstable();
    Ok(files)
}

fn read(path: &Path, now: Instant) -> Result<Restored, String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    let (header, records) = snapshot::decode(&bytes).map_err(|corrupt| corrupt.to_string())?;
    let count = records.len();
    drop(records);
    Ok(Restored { file: bytes, written: header.written, now, count, path: path.to_owned() })
}

/// Renames a file that is not sound, so that it is seen, and not read again.
fn set_aside(path: &Path, why: &str) -> String {
    let mut corrupt = path.as_os_str().to_owned();
    corrupt.push(CORRUPT_SUFFIX);
    match fs::rename(path, &corrupt) {
        Ok(()) => {
            format!("{} is damaged ({why}); it is now {}", path.display(), Path::new(&corrupt).display())
        }
        Err(error) => format!("{} is damaged ({why}), and cannot be renamed: {error}", path.display()),
    }
}

fn instant(clock: &Clock) -> Instant {
    let now = clock.now();
    Instant {
        unix_us: now.unix_us,
        boot_us: clock::boot_us(),
        master_us: now.master_us,
        boot_id: clock::boot_id(),
    }
}

#[cfg(test)]
mod tests;
