//! The twelve differences of the room protocol from the old server, each with the test that holds it.
//!
//! 1, 2, 8 and 12 are also tested where requests are parsed, 11 where the clock is defined.

mod world;

use engine::Authz;
use expect_test::{Expect, expect};
use world::{Setup, World, play, run};

fn check(script: &str, expected: &Expect) {
    expected.assert_eq(&run(&Setup::default(), script));
}

const PLAYING: &str = r#"
    A connects on 0
    A joins R u-A u-A
    A {"type":"PLAY","roomCode":"R","audioUrl":"a.mp3","duration":200,"startDelayMs":200}
    A ready R
    wait 3000
"#;

/// The lines of a log after the last that contains `mark`.
fn after(log: &str, mark: &str) -> String {
    let start = log.rfind(mark).map_or(0, |at| at + log[at..].find('\n').unwrap_or(0) + 1);
    log[start..].to_owned()
}

#[test]
fn difference_1_frames_that_crashed_the_old_server_are_ignored() {
    let mut world = World::new(&Setup::default());
    for line in [
        "A connects on 0",
        "A joins R u-A u-A",
        r#"A {"type":"sync_check","roomCode":"R"}"#,
        r#"A {"type":"sync_check","roomCode":"R","clientPosition":null}"#,
        r#"A {"type":"PLAY","roomCode":"R"}"#,
        r#"A {"type":"PLAY","roomCode":"R","audioUrl":{}}"#,
    ] {
        world.step(line);
    }
    for text in ["null", "5", "\"x\"", "[]", "", "{"] {
        world.say("A", text);
        world.settle();
    }
    world.step(r#"A {"type":"get_playback_state","roomCode":"R"}"#);
    expect![[r#"
        0 A 101 on core 0
        0 A joined roomCode:R, wsId:<A>, hostUserId:u-A, isHost:true
        0 A playback_state currentTrack:null, isPlaying:false, playbackPosition:0, duration:null
        0 A playback_state currentTrack:null, isPlaying:false, playbackPosition:0, duration:null
    "#]]
    .assert_eq(&world.log);
    assert_eq!(world.stats(0).messages_ignored, 10);
}

#[test]
fn difference_2_a_room_code_is_a_string_of_1_to_256_bytes() {
    let mut world = World::new(&Setup::default());
    world.step("A connects on 0");
    let longest = "x".repeat(256);
    for code in [String::from("5"), "null".into(), "\"\"".into(), format!("\"{longest}x\"")] {
        world.say("A", &format!(r#"{{"type":"join","roomCode":{code},"userId":"u"}}"#));
    }
    world.say("A", r#"{"type":"join","userId":"u"}"#);
    assert_eq!(world.stats(0).rooms, 0);
    world.say("A", &format!(r#"{{"type":"join","roomCode":"{longest}","userId":"u"}}"#));
    assert_eq!(world.stats(0).rooms, 1);
    // A ping whose code is none is a ping without one: it cannot reach a room named `undefined`.
    world.say("A", r#"{"type":"join","roomCode":"undefined","userId":"u"}"#);
    world.say("A", r#"{"type":"TRACK_CHANGE","roomCode":"undefined","trackData":{"audioUrl":"a"}}"#);
    world.say("A", r#"{"type":"RESUME","roomCode":"undefined"}"#);
    world.settle();
    world.log.clear();
    world.step(r#"A {"type":"time_ping","id":1,"t0":1750000000000}"#);
    expect![[r#"
        0 A time_pong id:1, t0:1750000000000, serverTimeUnix:1750000000000, serverTimeMonotonic:0, timeOffset:0, playbackPosition:0, isPlaying:false, masterClock:0
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn difference_3_only_members_command_and_ask_unless_set_otherwise() {
    let script = r#"
        A connects on 0
        A joins R host host
        B connects on 0
        B joins R guest host
        S connects on 0
        S {"type":"PAUSE","roomCode":"R"}
        S {"type":"get_playback_state","roomCode":"R"}
        S {"type":"time_ping","id":"s","t0":1750000000000,"roomCode":"R"}
        wait 1000
        B {"type":"SEEK","roomCode":"R","seekPositionMs":5000}
        B {"type":"get_playback_state","roomCode":"R"}
        A {"type":"SEEK","roomCode":"R","seekPositionMs":6000}
    "#;
    let log = |authz| after(&run(&Setup { authz, ..Setup::default() }, script), "S 101");
    expect![[r#"
        0 S time_pong id:s, t0:1750000000000, serverTimeUnix:1750000000000, serverTimeMonotonic:0, timeOffset:0, playbackPosition:0, isPlaying:false, masterClock:0
        1000 A SEEK seekPositionMs:5000, masterClockMs:1300, seekDelayMs:300
        1000 B SEEK seekPositionMs:5000, masterClockMs:1300, seekDelayMs:300
        1000 B playback_state currentTrack:null, isPlaying:false, playbackPosition:0, duration:null
        1000 A SEEK seekPositionMs:6000, masterClockMs:1300, seekDelayMs:300
        1000 B SEEK seekPositionMs:6000, masterClockMs:1300, seekDelayMs:300
    "#]]
    .assert_eq(&log(Authz::Member));
    expect![[r#"
        0 S time_pong id:s, t0:1750000000000, serverTimeUnix:1750000000000, serverTimeMonotonic:0, timeOffset:0, playbackPosition:0, isPlaying:false, masterClock:0
        1000 B playback_state currentTrack:null, isPlaying:false, playbackPosition:0, duration:null
        1000 A SEEK seekPositionMs:6000, masterClockMs:1300, seekDelayMs:300
        1000 B SEEK seekPositionMs:6000, masterClockMs:1300, seekDelayMs:300
    "#]]
    .assert_eq(&log(Authz::Host));
    expect![[r#"
        0 A PAUSE pausedAtMs:0, masterClockMs:0
        0 B PAUSE pausedAtMs:0, masterClockMs:0
        0 S playback_state currentTrack:null, isPlaying:false, playbackPosition:0, duration:null
        0 S time_pong id:s, t0:1750000000000, serverTimeUnix:1750000000000, serverTimeMonotonic:0, timeOffset:0, playbackPosition:0, isPlaying:false, masterClock:0
        300 A PAUSE_STATE audioUrl:null, duration:null, pausedPositionMs:0, isPlaying:false, masterClockMs:300
        300 B PAUSE_STATE audioUrl:null, duration:null, pausedPositionMs:0, isPlaying:false, masterClockMs:300
        1000 A SEEK seekPositionMs:5000, masterClockMs:1300, seekDelayMs:300
        1000 B SEEK seekPositionMs:5000, masterClockMs:1300, seekDelayMs:300
        1000 B playback_state currentTrack:null, isPlaying:false, playbackPosition:0, duration:null
        1000 A SEEK seekPositionMs:6000, masterClockMs:1300, seekDelayMs:300
        1000 B SEEK seekPositionMs:6000, masterClockMs:1300, seekDelayMs:300
    "#]]
    .assert_eq(&log(Authz::Off));
}

#[test]
fn difference_4_a_second_room_leaves_the_first_and_joining_again_is_no_new_member() {
    check(
        r#"
        A connects on 0
        A joins R u-A u-A
        B connects on 0
        B joins R u-B u-A
        B joins R u-B u-B
        A {"type":"get_playback_state","roomCode":"R"}
        B joins S u-B u-B
        A closes
        C connects on 0
        C joins R u-C u-C
        "#,
        &expect![[r#"
            0 A 101 on core 0
            0 A joined roomCode:R, wsId:<A>, hostUserId:u-A, isHost:true
            0 A playback_state currentTrack:null, isPlaying:false, playbackPosition:0, duration:null
            0 B 101 on core 0
            0 B joined roomCode:R, wsId:<B>, hostUserId:u-A, isHost:false
            0 B playback_state currentTrack:null, isPlaying:false, playbackPosition:0, duration:null
            0 A user_joined userId:u-B, wsId:<B>, totalClients:2
            0 B joined roomCode:R, wsId:<B>, hostUserId:u-B, isHost:true
            0 B playback_state currentTrack:null, isPlaying:false, playbackPosition:0, duration:null
            0 A playback_state currentTrack:null, isPlaying:false, playbackPosition:0, duration:null
            0 B joined roomCode:S, wsId:<B>, hostUserId:u-B, isHost:true
            0 B playback_state currentTrack:null, isPlaying:false, playbackPosition:0, duration:null
            0 A user_left userId:u-B, wsId:<B>, totalClients:1
            0 A close 1000
            0 A fin
            0 C 101 on core 0
            0 C joined roomCode:R, wsId:<C>, hostUserId:u-C, isHost:true
            0 C playback_state currentTrack:null, isPlaying:false, playbackPosition:0, duration:null
        "#]],
    );
}

#[test]
fn difference_5_readiness_belongs_to_one_handshake_and_to_present_members() {
    // A leaver's answer no longer counts: after B has left, C alone is not two thirds of A and C.
    let world = play(
        &Setup::default(),
        r#"
        A connects on 0
        A joins R u-A u-A
        B connects on 0
        B joins R u-B u-A
        C connects on 0
        C joins R u-C u-A
        A {"type":"PLAY","roomCode":"R","audioUrl":"a.mp3","duration":200}
        B ready R
        B closes
        wait 3000
        A {"type":"PLAY","roomCode":"R","audioUrl":"b.mp3","duration":200}
        wait 100
        C {"type":"device_health_check_response","roomCode":"R","checkId":"older","audioLoaded":true,"deviceReady":true}
        A ready R
        wait 2600
        "#,
    );
    assert_eq!(world.stats(0).stale_readiness, 1, "C's answer to an older one");
    let log = world.log;
    assert!(!after(&log, "PREPARE_TRACK audioUrl:b.mp3").contains("PLAY audioUrl"), "{log}");
    assert!(!log.contains("A PLAY audioUrl:a.mp3"), "{log}");
    // The first handshake's timers (5.5 s, 9 s) do not start the second; its own 5.5 s does.
    let log = run(
        &Setup::default(),
        r#"
        A connects on 0
        A joins R u-A u-A
        B connects on 0
        B joins R u-B u-A
        A {"type":"PLAY","roomCode":"R","audioUrl":"a.mp3"}
        wait 4000
        A {"type":"PLAY","roomCode":"R","audioUrl":"b.mp3"}
        A ready R
        wait 20000
        "#,
    );
    let plays: Vec<&str> = log.lines().filter(|line| line.contains("A PLAY audioUrl")).collect();
    assert_eq!(plays.len(), 1, "{log}");
    assert!(plays[0].starts_with("9500 A PLAY audioUrl:b.mp3"), "{log}");
    // PAUSE and TRACK_CHANGE cancel.
    for cancel in
        [r#"{"type":"PAUSE","roomCode":"R"}"#, r#"{"type":"TRACK_CHANGE","roomCode":"R","trackData":{}}"#]
    {
        let log = run(
            &Setup::default(),
            &format!(
                r#"
                A connects on 0
                A joins R u-A u-A
                A {{"type":"PLAY","roomCode":"R","audioUrl":"a.mp3"}}
                A {cancel}
                A ready R
                wait 12000
                "#
            ),
        );
        assert!(!log.contains("A PLAY audioUrl"), "{log}");
    }
}

#[test]
fn difference_6_the_pause_state_is_dropped_if_the_room_moved_on() {
    let log = run(
        &Setup::default(),
        &format!(
            r#"{PLAYING}
            A {{"type":"PAUSE","roomCode":"R"}}
            wait 100
            A {{"type":"RESUME","roomCode":"R"}}
            wait 1000
            A {{"type":"PAUSE","roomCode":"R"}}
            wait 1000
            "#
        ),
    );
    expect![[r#"
        3000 A PAUSE pausedAtMs:2000, masterClockMs:3000
        3100 A RESUME masterClockMs:3500, resumeDelayMs:400, playbackPositionMs:2000
        4100 A PAUSE pausedAtMs:2600, masterClockMs:4100
        4400 A PAUSE_STATE audioUrl:a.mp3, duration:200, pausedPositionMs:2600, isPlaying:false, masterClockMs:4400
    "#]]
    .assert_eq(&after(&log, "PLAY_SYNC"));
}

#[test]
fn difference_7_seek_while_paused_and_resume_while_playing_keep_the_position() {
    let log = run(
        &Setup::default(),
        &format!(
            r#"{PLAYING}
            A {{"type":"PAUSE","roomCode":"R"}}
            wait 500
            A {{"type":"SEEK","roomCode":"R","seekPositionMs":60000}}
            A {{"type":"get_playback_state","roomCode":"R"}}
            A {{"type":"RESUME","roomCode":"R"}}
            wait 1400
            A {{"type":"RESUME","roomCode":"R"}}
            wait 1400
            A {{"type":"time_ping","id":1,"roomCode":"R"}}
            "#
        ),
    );
    expect![[r#"
        3500 A SEEK seekPositionMs:60000, masterClockMs:3800, seekDelayMs:300
        3500 A PAUSE_STATE audioUrl:a.mp3, duration:200, pausedPositionMs:60000, isPlaying:false, masterClockMs:3500, startedAtServer:1000
        3500 A RESUME masterClockMs:3900, resumeDelayMs:400, playbackPositionMs:60000
        4900 A RESUME masterClockMs:5300, resumeDelayMs:400, playbackPositionMs:61000
        6300 A time_pong id:1, serverTimeUnix:1750000006300, serverTimeMonotonic:6300, timeOffset:null, playbackPosition:62000, isPlaying:true, masterClock:6300
    "#]]
    .assert_eq(&after(&log, "3300 A PAUSE_STATE"));
}

#[test]
fn difference_8_numbers_are_clamped_and_wrong_types_ignored() {
    check(
        r#"
        A connects on 0
        A joins R u-A u-A
        A {"type":"SEEK","roomCode":"R","seekPositionMs":-5}
        A {"type":"SEEK","roomCode":"R","seekPositionMs":1e300}
        A {"type":"SEEK","roomCode":"R","seekPositionMs":"5"}
        A {"type":"RESUME","roomCode":"R","startDelayMs":1e9}
        A {"type":"RESUME","roomCode":"R","startDelayMs":true}
        A {"type":"PLAY","roomCode":"R","audioUrl":"a","startDelayMs":99999}
        A ready R
        "#,
        &expect![[r#"
            0 A 101 on core 0
            0 A joined roomCode:R, wsId:<A>, hostUserId:u-A, isHost:true
            0 A playback_state currentTrack:null, isPlaying:false, playbackPosition:0, duration:null
            0 A SEEK seekPositionMs:0, masterClockMs:300, seekDelayMs:300
            0 A SEEK seekPositionMs:86400000, masterClockMs:300, seekDelayMs:300
            0 A RESUME masterClockMs:10000, resumeDelayMs:10000, playbackPositionMs:86399700
            0 A PREPARE_TRACK audioUrl:a, checkId:<check1>
            0 A device_health_check checkId:<check1>
            0 A PLAY audioUrl:a, masterClockMs:10800, masterClockLatencyMs:0, startDelayMs:10800
            0 A PLAY_SYNC audioUrl:a, playbackPosition:-10800, masterClockMs:0, masterClockLatencyMs:0
        "#]],
    );
}

/// A duration is a number or null in whatever frame it stands, although the track's data pass through as sent.
#[test]
fn difference_8_a_parked_track_has_no_duration_that_is_no_number() {
    for (sent, parked) in
        [("187.5", "187.5"), ("0", "null"), ("{}", "null"), (r#""200""#, "null"), ("true", "null")]
    {
        let change = format!(
            r#"A {{"type":"TRACK_CHANGE","roomCode":"R","trackData":{{"audioUrl":"a","duration":{sent}}}}}"#
        );
        let log = run(
            &Setup::default(),
            &format!(
                "A connects on 0\nA joins R u h\n{change}\nA {}",
                r#"{"type":"get_playback_state","roomCode":"R"}"#
            ),
        );
        let log = after(&log, "TRACK_CHANGE");
        assert!(log.contains(&format!("PAUSE_STATE audioUrl:a, duration:{parked},")), "{sent}: {log}");
    }
}

#[test]
fn difference_9_device_ready_is_coalesced_in_large_rooms_only() {
    let ready_seen = |members: usize| {
        let mut world = World::new(&Setup::default());
        for member in 0..members {
            world.step(&format!("m{member} connects on 0"));
            world.step(&format!("m{member} joins R u h"));
        }
        world.step(r#"m0 {"type":"PLAY","roomCode":"R","audioUrl":"a"}"#);
        world.log.clear();
        // All but one, so that the room is not complete; 10 ms apart.
        for member in 1..members {
            world.step("wait 10");
            world.step(&format!("m{member} ready R"));
        }
        let seen = world.log.lines().filter(|line| line.contains(" m0 device_ready")).count();
        (seen, world.stats(0).device_ready_coalesced)
    };
    assert_eq!(ready_seen(64), (63, 0));
    assert_eq!(ready_seen(65), (64_usize.div_ceil(25), 61));
}

#[test]
fn difference_10_ids_are_unique_and_long_enough() {
    let mut world = World::new(&Setup { cores: 4, ..Setup::default() });
    for client in 0..400 {
        world.step(&format!("c{client} connects on {}", client % 4));
        world.say(&format!("c{client}"), &format!(r#"{{"type":"join","roomCode":"{client}"}}"#));
    }
    world.settle();
    assert_eq!(world.log.matches(" joined ").count(), 400);
    let mut ids: Vec<String> = world.ws_ids().collect();
    assert!(
        ids.iter()
            .all(|id| id.len() >= 7 && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()))
    );
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 400);
}

/// The clock itself is tested in `engine::time`; here, that it is what clients are told, on every core.
#[test]
fn difference_11_the_master_clock_is_the_same_on_every_core_and_not_unix_time() {
    let log = run(
        &Setup { cores: 2, ..Setup::default() },
        r#"
        A connects on 0
        B connects on 1
        wait 77
        A {"type":"time_ping","id":1,"t0":5}
        B {"type":"time_ping","id":1,"t0":5}
        "#,
    );
    let clocks: Vec<&str> =
        log.lines().filter_map(|line| line.split_once("masterClock:")).map(|(_, clock)| clock).collect();
    assert_eq!(clocks, ["77", "77"]);
    assert!(log.contains("serverTimeUnix:1750000000077, serverTimeMonotonic:77"));
}

#[test]
fn difference_12_a_lone_surrogate_comes_back_as_the_replacement_character() {
    check(
        r#"
        A connects on 0
        A joins R a\ud800b u\udc00
        A {"type":"TRACK_CHANGE","roomCode":"R","trackData":{"title":"\ud83c\udfb5 \udfb5"}}
        "#,
        &expect![[r#"
            0 A 101 on core 0
            0 A joined roomCode:R, wsId:<A>, hostUserId:u�, isHost:false
            0 A playback_state currentTrack:null, isPlaying:false, playbackPosition:0, duration:null
            0 A TRACK_CHANGE trackData:{title:🎵 �}
        "#]],
    );
}
