use super::*;

const THEN: Instant =
    Instant { unix_us: 5_000_000_000, boot_us: 900_000_000, master_us: 70_000_000, boot_id: [7; 16] };

fn record(code: &str) -> Record<'_> {
    Record {
        code: code.into(),
        host: Some(r#""u1""#.into()),
        audio_url: "https://cdn.example/1.mp3".into(),
        duration: Some("187.5".into()),
        started_us: Some(THEN.master_us - 30_000_000),
        paused_us: None,
    }
}

fn file(codes: &[&str]) -> Vec<u8> {
    let mut slices = [Slice::default(), Slice::default()];
    codes.iter().enumerate().for_each(|(place, code)| slices[place % 2].push(&record(code)));
    encode(&Header { generation: 17, written: THEN }, &[&slices[0], &slices[1]])
}

/// This instant after that time by all clocks.
fn later(us: i64) -> Instant {
    Instant { unix_us: THEN.unix_us + us, boot_us: THEN.boot_us + us, master_us: THEN.master_us + us, ..THEN }
}

#[test]
fn what_is_written_is_read() {
    for codes in [&[][..], &["A"], &["A", "B", "a longer one \u{1f3b5}"]] {
        let file = file(codes);
        let (header, records) = decode(&file).unwrap();
        assert_eq!(header, Header { generation: 17, written: THEN });
        let mut read: Vec<&str> = records.iter().map(|record| &*record.code).collect();
        let mut written = codes.to_vec();
        read.sort_unstable();
        written.sort_unstable();
        assert_eq!(read, written);
        assert!(records.iter().all(|it| *it == record(&it.code)));
    }
}

#[test]
fn a_slice_gives_its_rooms_back() {
    let mut slice = Slice::default();
    slice.push(&record("A"));
    slice.push(&Record { host: None, duration: None, started_us: None, paused_us: Some(7), ..record("B") });
    let codes: Vec<_> = slice.records().map(|record| record.code.into_owned()).collect();
    assert_eq!((slice.count(), codes), (2, vec!["A".to_owned(), "B".to_owned()]));
}

#[test]
fn every_flipped_bit_and_every_truncation_is_noticed() {
    let whole = file(&["A", "B", "C"]);
    for bytes in 0..whole.len() {
        assert!(decode(&whole[..bytes]).is_err(), "cut to {bytes} bytes");
    }
    for bit in 0..8 * whole.len() {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(decode(&damaged).is_err(), "bit {bit}");
    }
    let mut longer = whole;
    longer.push(0);
    assert_eq!(decode(&longer), Err(Corrupt::Length));
    assert_eq!(decode(b"{}"), Err(Corrupt::NotASnapshot));
}

#[test]
fn a_later_format_is_named_and_not_read() {
    let mut file = file(&["A"]);
    file[8..12].copy_from_slice(&2_u32.to_le_bytes());
    let checksum = crc32fast::hash(&file[..HEADER_BYTES - 4]).to_le_bytes();
    file[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&checksum);
    assert_eq!(decode(&file), Err(Corrupt::Version(2)));
}

#[test]
fn what_played_has_gone_on_by_the_downtime() {
    let mut room = record("A");
    let now = Instant { master_us: 1_000, ..later(12_000_000) };
    room.resume(&THEN, &now);
    assert_eq!(room.started_us.map(|started_us| now.master_us - started_us), Some(42_000_000));
    assert_eq!(room.paused_us, None);
}

#[test]
fn another_boot_is_told_by_the_calendar_and_no_downtime_is_negative() {
    let elsewhere = Instant { boot_id: [8; 16], boot_us: 3, ..later(12_000_000) };
    assert_eq!(elsewhere.since(&THEN), 12_000_000);
    let set_back = Instant { unix_us: THEN.unix_us - 60_000_000, ..elsewhere };
    assert_eq!(set_back.since(&THEN), 0);
    let stepped = Instant { unix_us: THEN.unix_us + 3_600_000_000, ..later(2_000_000) };
    assert_eq!(stepped.since(&THEN), 2_000_000, "within one boot a step of the calendar means nothing");
}

#[test]
fn after_a_day_a_room_is_paused_where_it_was() {
    let mut room = record("A");
    room.resume(&THEN, &later(DOWNTIME_US_MAX + 1));
    assert_eq!((room.started_us, room.paused_us), (None, Some(30_000_000)));
}

#[test]
fn a_paused_room_stays_where_it_is() {
    let mut room = Record { paused_us: Some(5_000), ..record("A") };
    room.resume(&THEN, &later(60_000_000));
    assert_eq!((room.started_us, room.paused_us), (None, Some(5_000)));
}

/// The old server took seconds for milliseconds, and brought a playing room back paused at 0.2 s.
#[test]
fn a_track_is_over_only_past_its_duration_in_seconds_or_in_milliseconds() {
    for duration in ["187.5", "187500"] {
        let mut room = Record { duration: Some(duration.into()), ..record("A") };
        room.resume(&THEN, &later(162_000_000));
        assert!(room.paused_us.is_none(), "192 s of 187.5 and the 5 s more that it has");
        let mut room = Record { duration: Some(duration.into()), ..record("A") };
        room.resume(&THEN, &later(163_000_000));
        assert_eq!((room.started_us, room.paused_us), (None, Some(187_500_000)));
    }
    assert_eq!(duration_us("36000"), Some(36_000_000_000));
    assert_eq!(duration_us("36001"), Some(36_001_000));
    for odd in ["null", "0", "-1", "\"187.5\"", "1e999", ""] {
        assert_eq!(duration_us(odd), None, "{odd}");
    }
}
