//! What of the rooms outlives a process or a shard, and the bytes it is kept in.
//!
//! A record is one room that has a track: its code, its host, what plays and where. A shard writes its records into a
//! [`Slice`], some rooms a turn; a [`File`](decode) is a header and the records of all slices. A handshake that is pending,
//! and who is a member, are not kept: clients come back by themselves and join anew.
//!
//! ```text
//! header   "DOWNBEAT", version u32, generation u64, unix_us i64, boot_us i64, master_us i64, boot id 16 bytes,
//!          count u64, bytes of all records u64, CRC-32 of what stands before it u32
//! record   length u32, CRC-32 of the length and the payload u32, payload
//! ```
//! All numbers are little-endian. The payload is a [`Record`] in postcard's format.

use crate::time::MS;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

const MAGIC: [u8; 8] = *b"DOWNBEAT";
/// Of the format; a file of another version is refused.
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 80;
const RECORD_HEAD_BYTES: usize = 8;
/// No position is further from 0 than this, whatever a file says: sums of it stay in range.
const POSITION_US_MAX: i64 = 1 << 60;

/// Rooms that nothing was heard of for longer are restored paused.
const DOWNTIME_US_MAX: i64 = 24 * 3_600_000 * MS;
/// Durations up to this are seconds, larger ones milliseconds: clients send both.
const DURATION_SECONDS_MAX: f64 = 36_000.0;
/// A track is over only when it has been so for this long.
const OVER_US: i64 = 5_000 * MS;

/// One room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record<'a> {
    /// Its code.
    #[serde(borrow)]
    pub code: Cow<'a, str>,
    /// The host's id, as JSON text.
    #[serde(borrow)]
    pub host: Option<Cow<'a, str>>,
    /// What plays, or is parked.
    #[serde(borrow)]
    pub audio_url: Cow<'a, str>,
    /// Its duration, as JSON text.
    #[serde(borrow)]
    pub duration: Option<Cow<'a, str>>,
    /// The master clock's time at which the position was 0, µs.
    pub started_us: Option<i64>,
    /// Where it is paused, µs; `None` while it plays.
    pub paused_us: Option<i64>,
}

/// The id of a boot that is not known: no two of them are the same.
pub const UNKNOWN_BOOT: [u8; 16] = [0; 16];

/// When something was, by every clock that may tell how long ago it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instant {
    /// Unix time, µs.
    pub unix_us: i64,
    /// Time since the machine's boot, its sleep included, µs.
    pub boot_us: i64,
    /// The master clock, µs.
    pub master_us: i64,
    /// The boot.
    pub boot_id: [u8; 16],
}

impl Instant {
    /// The time from `then` to this, µs: by the boot clock within one boot, else by the calendar; never negative.
    pub fn since(&self, then: &Instant) -> i64 {
        let is_one_boot = self.boot_id == then.boot_id && self.boot_id != UNKNOWN_BOOT;
        let us = if is_one_boot {
            self.boot_us.saturating_sub(then.boot_us)
        } else {
            self.unix_us.saturating_sub(then.unix_us)
        };
        us.max(0)
    }
}

/// What a file says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Counts the files.
    pub generation: u64,
    /// When it was written.
    pub written: Instant,
}

/// Why a file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Corrupt {
    /// It is no snapshot at all.
    NotASnapshot,
    /// It is one of a version that this program does not read.
    Version(u32),
    /// Its header is not as it was written.
    Header,
    /// It ends too early, or goes on after its end.
    Length,
    /// This record, counted from 0, is not as it was written.
    Record(u64),
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Corrupt::NotASnapshot => f.write_str("it is no snapshot"),
            Corrupt::Version(version) => {
                write!(f, "its format is version {version}, this program reads {VERSION}")
            }
            Corrupt::Header => f.write_str("its header is damaged"),
            Corrupt::Length => f.write_str("its length is not what its header says"),
            Corrupt::Record(number) => write!(f, "its record {number} is damaged"),
        }
    }
}

impl std::error::Error for Corrupt {}

/// The records of one shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slice {
    bytes: Vec<u8>,
    count: u64,
}

impl Slice {
    /// Adds a room.
    pub fn push(&mut self, record: &Record<'_>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; RECORD_HEAD_BYTES]);
        let bytes = std::mem::take(&mut self.bytes);
        self.bytes = postcard::to_extend(record, bytes).expect("a Vec takes everything");
        let length = (self.bytes.len() - start - RECORD_HEAD_BYTES) as u32;
        let (head, payload) = self.bytes[start..].split_at_mut(RECORD_HEAD_BYTES);
        head[..4].copy_from_slice(&length.to_le_bytes());
        head[4..].copy_from_slice(&record_checksum(length, payload).to_le_bytes());
        self.count += 1;
    }

    /// Rooms in it.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Its rooms.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        Records { bytes: &self.bytes, number: 0 }.map_while(Result::ok)
    }
}

/// A whole file.
pub fn encode(header: &Header, slices: &[&Slice]) -> Vec<u8> {
    let records_bytes: usize = slices.iter().map(|slice| slice.bytes.len()).sum();
    let count: u64 = slices.iter().map(|slice| slice.count).sum();
    let Header { generation, written } = header;
    let mut file = Vec::with_capacity(HEADER_BYTES + records_bytes);
    file.extend_from_slice(&MAGIC);
    file.extend_from_slice(&VERSION.to_le_bytes());
    file.extend_from_slice(&generation.to_le_bytes());
    file.extend_from_slice(&written.unix_us.to_le_bytes());
    file.extend_from_slice(&written.boot_us.to_le_bytes());
    file.extend_from_slice(&written.master_us.to_le_bytes());
    file.extend_from_slice(&written.boot_id);
    file.extend_from_slice(&count.to_le_bytes());
    file.extend_from_slice(&(records_bytes as u64).to_le_bytes());
    file.extend_from_slice(&crc32fast::hash(&file).to_le_bytes());
    debug_assert_eq!(file.len(), HEADER_BYTES);
    slices.iter().for_each(|slice| file.extend_from_slice(&slice.bytes));
    file
}

/// A file's header and rooms. All of it is sound, or none of it is used.
pub fn decode(file: &[u8]) -> Result<(Header, Vec<Record<'_>>), Corrupt> {
    if file.len() < MAGIC.len() || file[..MAGIC.len()] != MAGIC {
        return Err(Corrupt::NotASnapshot);
    }
    let (head, records) = file.split_at_checked(HEADER_BYTES).ok_or(Corrupt::Length)?;
    let (sealed, seal) = head.split_at(HEADER_BYTES - 4);
    let mut fields = Fields(&sealed[MAGIC.len()..]);
    let version = u32::from_le_bytes(fields.take());
    if crc32fast::hash(sealed).to_le_bytes() != seal {
        return Err(Corrupt::Header);
    }
    if version != VERSION {
        return Err(Corrupt::Version(version));
    }
    let generation = u64::from_le_bytes(fields.take());
    let unix_us = i64::from_le_bytes(fields.take());
    let boot_us = i64::from_le_bytes(fields.take());
    let master_us = i64::from_le_bytes(fields.take());
    let boot_id = fields.take();
    let count = u64::from_le_bytes(fields.take());
    if u64::from_le_bytes(fields.take()) != records.len() as u64 {
        return Err(Corrupt::Length);
    }
    let records = Records { bytes: records, number: 0 }.collect::<Result<Vec<_>, _>>()?;
    if records.len() as u64 != count {
        return Err(Corrupt::Length);
    }
    Ok((Header { generation, written: Instant { unix_us, boot_us, master_us, boot_id } }, records))
}

/// Numbers one after the other.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    /// The header is as long as all that is taken.
    fn take<const BYTES: usize>(&mut self) -> [u8; BYTES] {
        let mut field = [0; BYTES];
        let (taken, rest) = self.0.split_at(BYTES);
        field.copy_from_slice(taken);
        self.0 = rest;
        field
    }
}

/// Records one after the other, up to the first that is damaged.
struct Records<'a> {
    bytes: &'a [u8],
    number: u64,
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, Corrupt>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        let record = self.split();
        let damaged = Corrupt::Record(self.number);
        self.number += 1;
        if record.is_none() {
            self.bytes = &[];
        }
        Some(record.ok_or(damaged))
    }
}

impl<'a> Records<'a> {
    fn split(&mut self) -> Option<Record<'a>> {
        let (head, rest) = self.bytes.split_at_checked(RECORD_HEAD_BYTES)?;
        let mut fields = Fields(head);
        let length = u32::from_le_bytes(fields.take());
        let checksum = u32::from_le_bytes(fields.take());
        let (payload, rest) = rest.split_at_checked(length as usize)?;
        if record_checksum(length, payload) != checksum {
            return None;
        }
        self.bytes = rest;
        postcard::from_bytes(payload).ok()
    }
}

fn record_checksum(length: u32, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

impl Record<'_> {
    /// The room as it is `now`, if it was so `then`: what played has gone on in between, and is paused if that is long
    /// ago or if its track is over.
    pub fn resume(&mut self, then: &Instant, now: &Instant) {
        let downtime_us = now.since(then);
        let Some(started_us) = self.started_us.filter(|_| self.paused_us.is_none()) else {
            // A start of another run of the master clock says nothing.
            self.started_us = None;
            self.paused_us = Some(self.paused_us.unwrap_or(0).clamp(0, POSITION_US_MAX));
            return;
        };
        let position_us = then.master_us.saturating_sub(started_us).clamp(-POSITION_US_MAX, POSITION_US_MAX);
        if downtime_us > DOWNTIME_US_MAX {
            (self.started_us, self.paused_us) = (None, Some(position_us.max(0)));
            return;
        }
        let position_us = position_us + downtime_us;
        match self.duration_us() {
            Some(duration_us) if position_us - OVER_US > duration_us => {
                (self.started_us, self.paused_us) = (None, Some(duration_us));
            }
            _ => self.started_us = Some(now.master_us.saturating_sub(position_us)),
        }
    }

    /// The track's duration, µs, if it has one.
    pub fn duration_us(&self) -> Option<i64> {
        duration_us(self.duration.as_deref()?)
    }
}

/// A duration as clients send it, in seconds or in milliseconds, as µs; nothing if it is no positive number.
pub fn duration_us(json: &str) -> Option<i64> {
    let number: f64 = json.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0)?;
    let ms = if number <= DURATION_SECONDS_MAX { number * 1_000.0 } else { number };
    Some(((ms * MS as f64) as i64).min(POSITION_US_MAX))
}

#[cfg(test)]
mod tests;
