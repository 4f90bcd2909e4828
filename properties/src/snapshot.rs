//! Snapshots: whatever a file holds, it is read whole or refused; what is read is put on by a shard without harm; what is
//! written is read, and no bit of it can be changed unnoticed.
//!
//! Input: a choice of what the bytes behind it are: a file; a record, to be put into a file whose checksums are right; or
//! rooms, then which bit to flip and where to cut.

use crate::input::Input;
use engine::snapshot::{self, Corrupt, Header, Instant, Record, Slice};
use engine::time::MS;
use engine::{App, Authz, CoreId, Limits, Now, Seed, Settings, Shard};

const ROOMS_MAX: usize = 8;
const HEADER_BYTES: usize = 80;
const HEADER: Header = Header {
    generation: 3,
    written: Instant { unix_us: 1_000_000, boot_us: 2_000_000, master_us: 3_000_000, boot_id: [4; 16] },
};

/// See the module.
pub fn snapshot(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    match input.below(3) {
        0 => read(input.rest()),
        1 => read(&sealed(input.rest())),
        _ => written(&mut input),
    }
}

fn read(file: &[u8]) {
    let Ok((header, records)) = snapshot::decode(file) else { return };
    let mut slice = Slice::default();
    records.iter().for_each(|record| slice.push(record));
    let again = snapshot::encode(&header, &[&slice]);
    assert_eq!(snapshot::decode(&again), Ok((header, records.clone())), "what is read can be written");
    for downtime_us in [0, 60_000 * MS, i64::MAX / 4] {
        let now = Instant {
            boot_us: header.written.boot_us.saturating_add(downtime_us),
            master_us: 5_000_000,
            ..header.written
        };
        put_on(&header, &records, &now);
    }
}

/// A shard takes the rooms, and goes on with them until nobody has come.
fn put_on(header: &Header, records: &[Record<'_>], now: &Instant) {
    let mut shard = shard();
    let clock = Now { master_us: now.master_us, unix_us: 0 };
    let resumed = records.iter().cloned().map(|mut record| {
        record.resume(&header.written, now);
        record
    });
    shard.restore(resumed, clock);
    for room in shard.rooms() {
        let position_us = room.position_us(clock);
        assert!(room.is_playing() || position_us >= 0, "{position_us}");
    }
    // Rooms without a usable code, and doubles of one, are left out; the others are all kept again.
    assert_eq!(shard.slice().count(), shard.stats().rooms);
    shard.handle_deadlines(Now { master_us: clock.master_us + 120_000 * MS, unix_us: 0 });
    shard.flush();
    assert_eq!(shard.holdings(), engine::Holdings::default());
}

fn written(input: &mut Input<'_>) {
    let count = input.below(ROOMS_MAX + 1);
    let mut slices = [Slice::default(), Slice::default()];
    let rooms: Vec<[String; 2]> = (0..count)
        .map(|_| [input.some(), input.some()].map(|it| String::from_utf8_lossy(it).into_owned()))
        .collect();
    let records: Vec<Record<'_>> = rooms
        .iter()
        .map(|[code, url]| Record {
            code: code.into(),
            host: input.flag().then(|| "\"u\"".into()),
            audio_url: url.into(),
            duration: input.flag().then(|| input.short().to_string().into()),
            started_us: input.flag().then(|| i64::from(input.short()) << 24),
            paused_us: input.flag().then(|| i64::from(input.short()) << 24),
        })
        .collect();
    let half = records.len() / 2;
    records[..half].iter().for_each(|record| slices[0].push(record));
    records[half..].iter().for_each(|record| slices[1].push(record));
    let mut file = snapshot::encode(&HEADER, &[&slices[0], &slices[1]]);
    assert_eq!(snapshot::decode(&file), Ok((HEADER, records)));
    let cut = usize::from(input.short()) % file.len();
    assert!(snapshot::decode(&file[..cut]).is_err(), "cut to {cut}");
    let bit = usize::from(input.short()) % (8 * file.len());
    file[bit / 8] ^= 1 << (bit % 8);
    assert!(snapshot::decode(&file).is_err(), "bit {bit}");
}

/// A file of one record with these bytes in it, by the format as it is documented.
fn sealed(payload: &[u8]) -> Vec<u8> {
    let empty = snapshot::encode(&HEADER, &[]);
    let length = (payload.len() as u32).to_le_bytes();
    let mut file = empty[..HEADER_BYTES - 20].to_vec();
    file.extend_from_slice(&1_u64.to_le_bytes());
    file.extend_from_slice(&(payload.len() as u64 + 8).to_le_bytes());
    file.extend_from_slice(&crc32fast::hash(&file).to_le_bytes());
    file.extend_from_slice(&length);
    file.extend_from_slice(&crc32fast::hash(&[&length, payload].concat()).to_le_bytes());
    file.extend_from_slice(payload);
    let read = snapshot::decode(&file);
    assert!(read.is_ok() || read == Err(Corrupt::Record(0)), "its frame is sound: {read:?}");
    file
}

fn shard() -> Shard {
    Shard::new(Settings {
        core: CoreId(0),
        cores: 1,
        app: App::Rooms,
        authz: Authz::Member,
        limits: Limits::default(),
        seed: Seed(4, 12),
        page: None,
    })
}
