//! Rooms whose members sit on several cores: placement, joins across the mesh, order, full links.

mod world;

use engine::{App, CoreId, Limits, Seed, placement};
use expect_test::{Expect, expect};
use wire::frame::Opcode;
use world::{Setup, World, run};

fn check(setup: &Setup, script: &str, expected: &Expect) {
    expected.assert_eq(&run(setup, script));
}

fn two_cores() -> Setup {
    Setup { cores: 2, ..Setup::default() }
}

/// The rooms of the scripts and their homes under the world's seed.
#[test]
fn the_rooms_of_these_tests_have_the_homes_that_the_scripts_assume() {
    assert_eq!(placement::home(Seed(4, 12), "H0", 2), CoreId(0));
    assert_eq!(placement::home(Seed(4, 12), "H1", 2), CoreId(1));
}

#[test]
fn a_room_in_the_url_takes_the_connection_to_its_home_before_the_101() {
    let mut world = World::new(&two_cores());
    world.step("A connects on 0 /ws/sync?roomCode=H1&userId=u-A");
    world.step("B connects on 1 /ws/sync?roomCode=H1&userId=u-B");
    world.step("C connects on 1 /ws/sync?userId=u-C");
    assert_eq!((world.core_of("A"), world.core_of("B"), world.core_of("C")), (1, 1, 1));
    world.step("A joins H1 u-A u-A");
    assert_eq!((world.stats(0).handed_away, world.stats(1).handed_in), (1, 1));
    assert_eq!((world.stats(0).connections, world.stats(1).connections), (0, 3));
    assert_eq!(world.stats(0).envelopes_sent + world.stats(1).envelopes_sent, 0, "no envelope for it");
}

#[test]
fn bytes_right_behind_the_request_travel_with_the_connection() {
    let mut world = World::new(&two_cores());
    world.connect("A", 0, "/");
    let mut bytes = b"GET /?roomCode=H1 HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        .to_vec();
    bytes.extend(world::masked_frame(Opcode::Text, br#"{"type":"join","roomCode":"H1","userId":"u"}"#));
    world.open("B", 0);
    world.deliver("B", &mut bytes);
    world.settle();
    assert_eq!(world.core_of("B"), 1);
    assert!(world.log.contains("B joined roomCode:H1"), "{}", world.log);
}

#[test]
fn a_join_from_another_core_works_like_one_at_home() {
    check(
        &two_cores(),
        r#"
        A connects on 0
        A joins H0 u-A u-A
        B connects on 1
        B joins H0 u-B u-A
        B {"type":"time_ping","id":1,"t0":1750000000000,"roomCode":"H0"}
        A {"type":"PLAY","roomCode":"H0","audioUrl":"a.mp3","duration":200,"startDelayMs":200}
        A ready H0
        B ready H0
        wait 1400
        B {"type":"sync_check","roomCode":"H0","clientPosition":9000}
        B {"type":"PAUSE","roomCode":"H0"}
        B {"type":"get_playback_state","roomCode":"H0"}
        B closes
        "#,
        &expect![[r#"
            0 A 101 on core 0
            0 A joined roomCode:H0, wsId:<A>, hostUserId:u-A, isHost:true
            0 A playback_state currentTrack:null, isPlaying:false, playbackPosition:0, duration:null
            0 B 101 on core 1
            0 A user_joined userId:u-B, wsId:3jiwbnbtji5ca, totalClients:2
            0 B joined roomCode:H0, wsId:<B>, hostUserId:u-A, isHost:false
            0 B playback_state currentTrack:null, isPlaying:false, playbackPosition:0, duration:null
            0 B time_pong id:1, t0:1750000000000, serverTimeUnix:1750000000000, serverTimeMonotonic:0, timeOffset:0, playbackPosition:0, isPlaying:false, masterClock:0
            0 A PREPARE_TRACK audioUrl:a.mp3, duration:200, checkId:<check1>
            0 A device_health_check checkId:<check1>
            0 B PREPARE_TRACK audioUrl:a.mp3, duration:200, checkId:<check1>
            0 B device_health_check checkId:<check1>
            0 B device_ready wsId:<A>
            0 A PLAY audioUrl:a.mp3, duration:200, masterClockMs:1000, masterClockLatencyMs:0, startDelayMs:1000
            0 A device_ready wsId:<B>
            0 B PLAY audioUrl:a.mp3, duration:200, masterClockMs:1000, masterClockLatencyMs:0, startDelayMs:1000
            0 B PLAY_SYNC audioUrl:a.mp3, duration:200, playbackPosition:-1000, masterClockMs:0, masterClockLatencyMs:0
            1400 B RESYNC correctPositionMs:400, masterClockMs:1400
            1400 A PAUSE pausedAtMs:400, masterClockMs:1400
            1400 B PAUSE pausedAtMs:400, masterClockMs:1400
            1400 B PAUSE_STATE audioUrl:a.mp3, duration:200, pausedPositionMs:400, isPlaying:false, masterClockMs:1400, startedAtServer:1000
            1400 B close 1000
            1400 B fin
            1400 A user_left userId:u-B, wsId:<B>, totalClients:1
        "#]],
    );
}

/// Frames do not name their room, so a client would take the old room's state for the new one's.
#[test]
fn an_answer_that_comes_after_its_asker_has_changed_rooms_is_dropped() {
    check(
        &two_cores(),
        r#"
        A connects on 0
        A joins H1 u-A u-A
        A {"type":"TRACK_CHANGE","roomCode":"H1","trackData":{"audioUrl":"old.mp3"}}
        stall 0
        A {"type":"get_playback_state","roomCode":"H1"}
        A joins H0 u-A u-A
        unstall 0
        A {"type":"get_playback_state","roomCode":"H0"}
        "#,
        &expect![[r#"
            0 A 101 on core 0
            0 A joined roomCode:H1, wsId:<A>, hostUserId:u-A, isHost:true
            0 A playback_state currentTrack:null, isPlaying:false, playbackPosition:0, duration:null
            0 A TRACK_CHANGE trackData:{audioUrl:old.mp3}
            0 A joined roomCode:H0, wsId:<A>, hostUserId:u-A, isHost:true
            0 A playback_state currentTrack:null, isPlaying:false, playbackPosition:0, duration:null
            0 A playback_state currentTrack:null, isPlaying:false, playbackPosition:0, duration:null
        "#]],
    );
}

#[test]
fn every_member_on_every_core_sees_a_room_in_one_order() {
    let limits = Limits { is_metered: false, ..Limits::default() };
    let mut world = World::new(&Setup { cores: 3, limits, ..Setup::default() });
    for member in 0..9 {
        world.step(&format!("m{member} connects on {}", member % 3));
        world.step(&format!("m{member} joins R u{member} h"));
    }
    world.log.clear();
    // Three cores speak in the same turn, several times, before anything is exchanged.
    for round in 0..20 {
        for member in [0, 1, 2, 4, 8, 3] {
            world.say(
                &format!("m{member}"),
                &format!(r#"{{"type":"SEEK","roomCode":"R","seekPositionMs":{}}}"#, round * 10 + member),
            );
        }
        if round % 3 == 0 {
            world.settle();
        }
    }
    world.settle();
    let heard = |member: usize| -> Vec<String> {
        let mark = format!(" m{member} SEEK ");
        world.log.lines().filter(|line| line.contains(&mark)).map(|line| line.replace(&mark, " ")).collect()
    };
    let first = heard(0);
    assert_eq!(first.len(), 120);
    for member in 1..9 {
        assert_eq!(heard(member), first, "member {member}");
    }
}

#[test]
fn a_room_past_room_local_max_spans_cores_on_purpose() {
    let limits = Limits { room_local_max: 4, ..Limits::default() };
    let mut world = World::new(&Setup { limits, ..two_cores() });
    for member in 0..12 {
        world.step(&format!("m{member} connects on 0 /?roomCode=H1"));
        world.step(&format!("m{member} joins H1 u h"));
    }
    let cores: Vec<u16> = (0..12).map(|member| world.core_of(&format!("m{member}"))).collect();
    assert_eq!(cores, [1, 1, 1, 1, 0, 0, 0, 0, 0, 1, 0, 1], "home up to the limit, then the emptiest");
    world.log.clear();
    let counts = |world: &World| {
        let [away, home] = [world.stats(0), world.stats(1)];
        [home.envelopes_sent, away.envelopes_received, home.deliveries, away.deliveries]
    };
    let before = counts(&world);
    world.step(r#"m11 {"type":"PAUSE","roomCode":"H1"}"#);
    assert_eq!(world.log.matches(" PAUSE ").count(), 12);
    let after = counts(&world);
    let more: Vec<u64> = after.iter().zip(before).map(|(after, before)| after - before).collect();
    assert_eq!(more, [1, 1, 6, 6], "one envelope for a core, whatever its members");
}

#[test]
fn a_connection_that_closes_or_moves_on_while_its_join_travels_leaves_no_ghost() {
    let mut world = World::new(&two_cores());
    for line in ["A connects on 0", "A joins H0 u-A u-A", "B connects on 1", "stall 0"] {
        world.step(line);
    }
    for line in
        ["B joins H0 u-B u-A", "B closes", "C connects on 1", "C joins H0 u-C u-A", "C joins H1 u-C u-C"]
    {
        world.step(line);
    }
    world.log.clear();
    world.step("unstall 0");
    world.step("wait 1");
    assert_eq!((world.stats(0).rooms, world.stats(1).rooms), (1, 1));
    assert_eq!(
        world.log.matches("A user_joined").count(),
        world.log.matches("A user_left").count(),
        "{}",
        world.log
    );
    assert!(!world.log.contains(" C joined roomCode:H0"), "{}", world.log);
    world.step("A closes");
    assert_eq!(world.stats(0).rooms, 0, "a ghost would hold the room");
}

#[test]
fn a_full_link_costs_pings_first_and_then_the_members_beyond_it() {
    let limits = Limits { mesh_backlog_max: 8, ..Limits::default() };
    let mut world = World::new(&Setup { limits, ..two_cores() });
    for line in [
        "A connects on 0",
        "A joins H0 u-A u-A",
        "B connects on 1",
        "B joins H0 u-B u-A",
        "C connects on 1",
        "C joins H0 u-C u-A",
        "stall 1",
    ] {
        world.step(line);
    }
    for _ in 0..8 {
        world.step(r#"A {"type":"PAUSE","roomCode":"H0"}"#);
    }
    world.step(r#"B {"type":"time_ping","id":1,"roomCode":"H0"}"#);
    assert_eq!(world.stats(0).mesh_pings_dropped, 1);
    assert_eq!(world.stats(0).mesh_evicted, 0);
    world.log.clear();
    world.step(r#"A {"type":"RESUME","roomCode":"H0"}"#);
    assert_eq!(world.stats(0).mesh_evicted, 2);
    assert_eq!(world.log.matches("A user_left").count(), 2, "{}", world.log);
    world.log.clear();
    world.step("unstall 1");
    world.step("wait 1");
    for member in ["B", "C"] {
        let lines: Vec<&str> = world
            .log
            .lines()
            .filter_map(|line| line.split_once(&format!(" {member} ")))
            .map(|it| it.1)
            .collect();
        let pauses = lines.iter().filter(|line| line.starts_with("PAUSE ")).count();
        assert_eq!((pauses, &lines[8..]), (8, &["close 1013", "fin"][..]), "{}", world.log);
    }
    world.log.clear();
    // Whoever comes back is where the others are.
    world.step("D connects on 1");
    world.step("D joins H0 u-B u-A");
    assert!(world.log.contains("D joined roomCode:H0"), "{}", world.log);
    assert!(world.log.contains("totalClients:2"), "nobody else is left in it: {}", world.log);
}

#[test]
fn a_full_link_to_the_home_closes_who_commands_and_spares_who_pings() {
    let limits = Limits { mesh_backlog_max: 3, ..Limits::default() };
    let mut world = World::new(&Setup { limits, ..two_cores() });
    for line in ["A connects on 0", "A joins H0 u u", "B connects on 1", "B joins H0 u u", "stall 0"] {
        world.step(line);
    }
    for _ in 0..3 {
        world.step(r#"B {"type":"PAUSE","roomCode":"H0"}"#);
    }
    world.step(r#"B {"type":"time_ping","id":1,"roomCode":"H0"}"#);
    assert_eq!(world.stats(1).mesh_pings_dropped, 1);
    world.log.clear();
    world.step(r#"B {"type":"PAUSE","roomCode":"H0"}"#);
    assert_eq!(world.log, "0 B close 1013\n0 B fin\n");
    assert_eq!(world.stats(1).mesh_evicted, 1);
    world.step("unstall 0");
    world.step("wait 1");
    assert_eq!(world.log.matches("A PAUSE ").count(), 3, "what was taken is carried out");
    assert!(world.log.contains("A user_left"), "{}", world.log);
}

#[test]
fn the_broadcast_app_reaches_every_connection_on_every_core() {
    let mut world = World::new(&Setup { app: App::Broadcast, ..two_cores() });
    for line in ["A connects on 0", "B connects on 1", "C connects on 1"] {
        world.step(line);
    }
    world.log.clear();
    world.send("B", Opcode::Text, b"{\"type\":\"hello\"}");
    world.settle();
    expect![[r#"
        0 B hello
        0 C hello
        0 A hello
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn a_full_link_costs_those_beyond_it_the_broadcasts_that_do_not_fit() {
    let limits = Limits { mesh_backlog_max: 3, ..Limits::default() };
    let mut world = World::new(&Setup { app: App::Broadcast, limits, ..two_cores() });
    for line in ["A connects on 0", "B connects on 1", "stall 1"] {
        world.step(line);
    }
    world.log.clear();
    for n in 0..5 {
        world.send("A", Opcode::Binary, &[n]);
        world.settle();
    }
    assert_eq!(world.stats(0).mesh_broadcasts_dropped, 2);
    world.step("unstall 1");
    world.send("A", Opcode::Binary, &[5]);
    world.settle();
    let heard = |name: &str| -> Vec<&str> {
        world.log.lines().filter_map(|line| line.strip_prefix(&format!("0 {name} binary "))).collect()
    };
    assert_eq!(heard("A"), ["[0]", "[1]", "[2]", "[3]", "[4]", "[5]"]);
    assert_eq!(heard("B"), ["[0]", "[1]", "[2]", "[5]"], "neither closed nor out of order");
    assert_eq!(world.stats(0).mesh_broadcasts_dropped, 2);
}
