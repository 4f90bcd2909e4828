//! What is observed of devices and what can be asked about rooms: each figure against a script that brings it about.

mod world;

use engine::limits::{PLAYS_PENDING_MAX, REPORTED_MAX, ROOMS_WALKED_PER_TURN_MAX, RTTS_DUE_MAX};
use engine::observed::Observed;
use engine::room::RoomState;
use engine::shard::{RoomWalk, RoomsPage};
use engine::{Now, Shard};
use wire::json::Json;
use world::{Setup, World};

const PLAY: &str = r#"{"type":"PLAY","roomCode":"R","audioUrl":"https://a/b.mp3","duration":187.5}"#;

/// Clients in room R on core 0; the first is its host.
fn room(setup: &Setup, names: &[&str]) -> World {
    let mut world = World::new(setup);
    for name in names {
        world.step(&format!("{name} connects on 0"));
        world.step(&format!("{name} joins R {name} {}", names[0]));
    }
    world
}

/// The same, playing.
fn playing(names: &[&str]) -> World {
    let mut world = room(&Setup::default(), names);
    world.step(&format!("{} {PLAY}", names[0]));
    names.iter().for_each(|name| world.step(&format!("{name} ready R")));
    // The lead of a start that nobody held up.
    world.step("wait 1600");
    world
}

fn check(world: &mut World, name: &str, position_ms: f64) {
    world.say(name, &format!(r#"{{"type":"sync_check","roomCode":"R","clientPosition":{position_ms}}}"#));
    world.settle();
}

fn out_of_sync(world: &World) -> u64 {
    let rooms: u64 = world.shards[0].rooms().map(|room| u64::from(room.out_of_sync)).sum();
    assert_eq!(world.stats(0).out_of_sync, rooms, "the shard's gauge is the sum of its rooms'");
    rooms
}

fn take(shard: &mut Shard) -> Box<Observed> {
    shard.take_observed(Box::default())
}

#[test]
fn a_device_is_out_of_sync_while_its_newest_check_is_off_by_more_than_450_ms() {
    let mut world = playing(&["a", "b", "c"]);
    for (position_ms, expected) in [(450.0_f64, 0), (450.001, 1), (-450.0, 1), (-450.5, 2), (1e9, 2)] {
        check(&mut world, if position_ms.abs() > 450.0 { "a" } else { "b" }, position_ms);
        if position_ms == -450.5 {
            check(&mut world, "c", position_ms);
        }
        assert_eq!(out_of_sync(&world), expected, "{position_ms}");
    }
    check(&mut world, "a", 10.0);
    assert_eq!(out_of_sync(&world), 1, "it has caught up");
    let drift = take(&mut world.shards[0]).drift;
    assert_eq!((drift.len(), drift.min() / 1000, drift.max() / 1_000_000), (7, 9, 60));
    let report = world.shards[0].report_room("R", world.now).unwrap();
    let drifts: Vec<_> = report.members.iter().map(|member| member.drift_ms).collect();
    assert_eq!(drifts, [Some(10), Some(-450), Some(-451)]);
    assert_eq!(report.line.out_of_sync, 1);
}

#[test]
fn who_leaves_and_what_moves_the_rooms_time_takes_the_gauge_down() {
    let mut world = playing(&["a", "b", "c"]);
    let commands = [
        r#"{"type":"SEEK","roomCode":"R","seekPositionMs":1000}"#,
        r#"{"type":"PAUSE","roomCode":"R"}"#,
        r#"{"type":"RESUME","roomCode":"R"}"#,
        r#"{"type":"TRACK_CHANGE","roomCode":"R","trackData":{"audioUrl":"c"}}"#,
    ];
    for command in commands {
        check(&mut world, "a", 80_000_000.0);
        check(&mut world, "b", 80_000_000.0);
        assert_eq!(out_of_sync(&world), 2);
        world.step(&format!("c {command}"));
        assert_eq!(out_of_sync(&world), 0, "{command}");
    }
    for name in ["a", "b", "c"] {
        check(&mut world, name, 80_000_000.0);
    }
    world.step("b joins Q b b");
    assert_eq!(out_of_sync(&world), 2);
    world.step("a ends");
    assert_eq!(out_of_sync(&world), 1);
    world.step("c ends");
    assert_eq!((out_of_sync(&world), world.stats(0).rooms), (0, 1));
}

#[test]
fn a_start_by_the_clock_takes_the_gauge_down_too() {
    let mut world = playing(&["a", "b"]);
    check(&mut world, "a", 80_000_000.0);
    world.step(&format!("b {}", PLAY.replace("b.mp3", "c.mp3")));
    assert_eq!(out_of_sync(&world), 1, "it plays on while the next one is made ready");
    world.step("wait 9000");
    assert_eq!(out_of_sync(&world), 0);
}

#[test]
fn a_handshake_is_from_accept_to_101_also_of_who_is_handed_over() {
    let mut world = World::new(&Setup { cores: 2, ..Setup::default() });
    for (i, code) in (0..8).map(|i| (i, format!("/?roomCode=room{i}"))) {
        world.open(&format!("c{i}"), 0);
        world.step("wait 20");
        let request = format!(
            "GET {code} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        world.deliver(&format!("c{i}"), &mut request.into_bytes());
        world.settle();
    }
    let observed: Vec<_> = world.shards.iter_mut().map(take).collect();
    assert!(world.stats(1).handed_in > 0 && !observed[0].handshake.is_empty());
    assert_eq!(observed.iter().map(|it| it.handshake.len()).sum::<u64>(), 8);
    for handshake in observed.iter().map(|it| &it.handshake) {
        assert_eq!((handshake.min() / 1000, handshake.max() / 1000), (19, 20));
    }
}

#[test]
fn ready_time_is_from_prepare_track_to_each_devices_first_answer() {
    let mut world = room(&Setup::default(), &["a", "b", "c"]);
    world.step(&format!("a {PLAY}"));
    world.step("wait 200");
    let ready = r#"{"type":"device_health_check_response","roomCode":"R","checkId":"$check","audioLoaded":true,"deviceReady":true,"rttMs":40}"#;
    world.step(&format!("a {ready}"));
    world.step(&format!("a {ready}"));
    world.step(&format!("b {}", ready.replace("$check", "another")));
    world.step("wait 300");
    world.step("b ready R");
    let report = world.shards[0].report_room("R", world.now).unwrap();
    let starting = report.starting.unwrap();
    assert_eq!((starting.ready, starting.since_us, report.line.state), (2, 500_000, RoomState::Starting));
    assert_eq!(starting.waiting_for.iter().map(Json::as_text).collect::<Vec<_>>(), [r#""c""#]);
    let observed = take(&mut world.shards[0]);
    assert_eq!((observed.ready.len(), observed.reported_rtt.len()), (2, 1));
    assert!((199_000..202_000).contains(&observed.ready.min()), "{}", observed.ready.min());
    assert!((499_000..505_000).contains(&observed.ready.max()), "{}", observed.ready.max());
    assert!((40_000..40_500).contains(&observed.reported_rtt.max()));
}

#[test]
fn a_starts_skew_is_the_spread_of_half_round_trips_and_the_time_to_hand_it_over() {
    let mut world = room(&Setup::default(), &["a", "b", "c"]);
    for (name, rtt_us) in [("a", 20_000), ("b", 60_000)] {
        let id = world.connection_of(name);
        world.shards[0].handle_rtt(id, rtt_us);
    }
    world.step(&format!("a {PLAY}"));
    ["a", "b", "c"].iter().for_each(|name| world.step(&format!("{name} ready R")));
    let submitted = Now { master_us: world.now.master_us + 1_500, ..world.now };
    world.shards[0].handle_submitted(submitted);
    world.shards[0].handle_submitted(submitted);
    let observed = take(&mut world.shards[0]);
    assert_eq!((observed.start_skew.len(), observed.rtt.len()), (1, 2));
    assert!((21_500..21_700).contains(&observed.start_skew.max()), "{}", observed.start_skew.max());
    let report = world.shards[0].report_room("R", world.now).unwrap();
    let rtts: Vec<_> = report.members.iter().map(|member| member.rtt_us).collect();
    assert_eq!(rtts, [Some(20_000), Some(60_000), None], "whoever is ready keeps its round trip");
}

#[test]
fn a_round_trip_is_asked_for_at_the_join_and_with_each_ping() {
    let mut world = room(&Setup { cores: 2, ..Setup::default() }, &["a"]);
    world.step("b connects on 1");
    let home = usize::from(world.shards[1].rooms().next().is_some());
    let asked = |world: &mut World| {
        let due = world.shards.iter_mut().map(|shard| std::iter::from_fn(|| shard.poll_rtt_due()).count());
        due.sum::<usize>()
    };
    assert_eq!(asked(&mut world), 1, "who has joined nothing is not asked about");
    world.step("b joins R b a");
    assert_eq!(asked(&mut world), 1, "wherever the room's home is ({home})");
    world.step("wait 25100");
    assert_eq!(asked(&mut world), 2);
    let b = world.connection_of("b");
    world.step("b ends");
    world.shards[1].handle_rtt(b, 1_000);
    assert_eq!(take(&mut world.shards[1]).rtt.len(), 0, "it is gone");
}

#[test]
fn what_nobody_takes_stays_bounded() {
    let mut world = World::new(&Setup::default());
    for i in 0..2_000 {
        world.step(&format!("c{i} connects on 0"));
        world.step(&format!("c{i} joins R{i} u u"));
    }
    assert_eq!(std::iter::from_fn(|| world.shards[0].poll_rtt_due()).count(), RTTS_DUE_MAX);
    for i in 0..2 * PLAYS_PENDING_MAX {
        world.step(&format!("c{i} {}", PLAY.replace("\"R\"", &format!("\"R{i}\""))));
        world.step(&format!("c{i} ready R{i}"));
    }
    let now = world.now;
    world.shards[0].handle_submitted(now);
    assert_eq!(take(&mut world.shards[0]).start_skew.len(), PLAYS_PENDING_MAX as u64);
}

fn page(shard: &Shard, search: &str, limit: usize, now: Now) -> (RoomsPage, usize) {
    let mut walk = RoomWalk::new(search, limit);
    let mut turns = 1;
    loop {
        if let Some(page) = shard.walk_rooms(&mut walk, now) {
            return (page, turns);
        }
        turns += 1;
    }
}

#[test]
fn a_page_has_the_largest_rooms_and_is_found_in_slices() {
    let mut world = World::new(&Setup::default());
    let rooms = 2 * ROOMS_WALKED_PER_TURN_MAX + 500;
    for i in 0..rooms {
        world.step(&format!("c{i} connects on 0"));
        world.step(&format!("c{i} joins Code{i} u u"));
    }
    for i in 0..20 {
        world.step(&format!("d{i} connects on 0"));
        world.step(&format!("d{i} joins Code{} u u", 7 + i % 4));
    }
    let now = world.now;
    let shard = &world.shards[0];
    let (all, turns) = page(shard, "", 3, now);
    assert!(turns >= 3, "{turns}");
    assert_eq!(all.total, rooms);
    assert_eq!(all.rooms.iter().map(|room| room.members).collect::<Vec<_>>(), [6, 6, 6]);
    assert_eq!(all.rooms[0].state, RoomState::Empty);
    assert_eq!(page(shard, "", usize::MAX, now).0.rooms.len(), REPORTED_MAX);
    let (found, _) = page(shard, "cODE240", 100, now);
    assert_eq!(found.total, 11, "2400 to 2409, and 240");
    assert_eq!(
        (page(shard, "no such", 1, now).0, page(shard, "", 0, now).0.rooms.len()),
        (RoomsPage::default(), 0)
    );
}

#[test]
fn a_rooms_report_says_what_plays_who_is_in_it_and_what_they_are_owed() {
    let mut world = playing(&["a", "b"]);
    world.step("b stuck");
    check(&mut world, "a", 0.0);
    world.step(r#"a {"type":"SEEK","roomCode":"R","seekPositionMs":61000}"#);
    let report = world.shards[0].report_room("R", world.now).unwrap();
    assert_eq!(report.host.as_ref().map(Json::as_text), Some(r#""a""#));
    assert_eq!((report.line.state, report.line.members, &report.starting), (RoomState::Playing, 2, &None));
    assert_eq!((report.line.position_us, report.line.duration_ms), (61_000_000 - 300_000, Some(187_500.0)));
    assert_eq!(report.line.audio_url.as_deref(), Some("https://a/b.mp3"));
    let [a, b] = &report.members[..] else { panic!("{report:?}") };
    assert!(a.is_host && !b.is_host && a.is_ready && a.ws_id.len() >= 7 && a.ws_id != b.ws_id);
    assert!(a.owed_bytes == Some(0) && b.owed_bytes > Some(0));
    assert_eq!(world.shards[0].report_room("r", world.now), None);
}

#[test]
fn a_home_knows_of_members_elsewhere_who_they_are_but_not_what_their_core_knows() {
    let mut world = World::new(&Setup { cores: 2, ..Setup::default() });
    for (name, core) in [("a", 0), ("b", 1)] {
        world.step(&format!("{name} connects on {core}"));
        world.step(&format!("{name} joins R {name} a"));
    }
    let now = world.now;
    let reports: Vec<_> = world.shards.iter().filter_map(|shard| shard.report_room("R", now)).collect();
    let [report] = &reports[..] else { panic!("a room has one home") };
    let known = report.members.iter().filter(|member| member.owed_bytes.is_some());
    assert_eq!((report.members.len(), known.count()), (2, 1));
}
