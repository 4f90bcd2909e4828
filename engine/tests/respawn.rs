//! A shard that fails and begins anew: what its peers' clients notice of it, and what outlives it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod world;

use engine::{Authz, CoreId, Envelope, Holdings, Limits};
use expect_test::{Expect, expect};
use world::{Setup, World, run};

fn check(script: &str, expected: &Expect) {
    expected.assert_eq(&run(&two_cores(), script));
}

/// What a core that is stalled has not been brought.
fn posted(world: &mut World, from: usize, to: usize) -> Vec<Envelope> {
    world.shards[from].take_envelopes(CoreId(to as u16))
}

fn deliver(world: &mut World, from: usize, to: usize, envelopes: Vec<Envelope>) {
    let now = world.now;
    for envelope in envelopes {
        world.shards[to].handle_envelope(CoreId(from as u16), envelope, now);
    }
}

fn two_cores() -> Setup {
    Setup { cores: 2, ..Setup::default() }
}

const PLAYING: &str = r#"
    A connects on 0
    A joins H0 u-A u-A
    B connects on 1
    B joins H0 u-B u-A
    A {"type":"PLAY","roomCode":"H0","audioUrl":"x.mp3","duration":90}
    A ready H0
    B ready H0
"#;

#[test]
fn members_on_other_cores_stay_and_hear_where_their_room_is() {
    let mut world = World::new(&two_cores());
    PLAYING.lines().map(str::trim).filter(|line| !line.is_empty()).for_each(|line| world.step(line));
    world.step("wait 10000");
    world.step("keep 0");
    world.step("wait 2000");
    world.log.clear();
    world.step("respawn 0");
    world.step(r#"B {"type":"SEEK","roomCode":"H0","seekPositionMs":60000}"#);
    world.step("wait 300");
    world.step(r#"B {"type":"sync_check","roomCode":"H0","clientPosition":0}"#);
    expect![[r#"
        12000 B PLAY_SYNC audioUrl:x.mp3, duration:90, playbackPosition:11100, masterClockMs:12700, masterClockLatencyMs:0, isPlaying:true
        12000 B SEEK seekPositionMs:60000, masterClockMs:12300, seekDelayMs:300
        12300 B RESYNC correctPositionMs:60000, masterClockMs:12300
    "#]]
    .assert_eq(&world.log);
    assert_eq!(world.stats(0).rooms, 1);
}

#[test]
fn a_room_that_was_not_kept_is_made_anew_by_those_who_are_still_in_it() {
    check(
        &format!("{PLAYING}\n wait 3000\n respawn 0\n C connects on 0\n C joins H0 u-C u-C"),
        &expect![[r#"
            0 A 101 on core 0
            0 A joined roomCode:H0, wsId:<A>, hostUserId:u-A, isHost:true
            0 A playback_state currentTrack:null, isPlaying:false, playbackPosition:0, duration:null
            0 B 101 on core 1
            0 A user_joined userId:u-B, wsId:3jiwbnbtji5ca, totalClients:2
            0 B joined roomCode:H0, wsId:<B>, hostUserId:u-A, isHost:false
            0 B playback_state currentTrack:null, isPlaying:false, playbackPosition:0, duration:null
            0 A PREPARE_TRACK audioUrl:x.mp3, duration:90, checkId:<check1>
            0 A device_health_check checkId:<check1>
            0 B PREPARE_TRACK audioUrl:x.mp3, duration:90, checkId:<check1>
            0 B device_health_check checkId:<check1>
            0 B device_ready wsId:<A>
            0 A PLAY audioUrl:x.mp3, duration:90, masterClockMs:1600, masterClockLatencyMs:0, startDelayMs:1600
            0 A device_ready wsId:<B>
            0 B PLAY audioUrl:x.mp3, duration:90, masterClockMs:1600, masterClockLatencyMs:0, startDelayMs:1600
            0 B PLAY_SYNC audioUrl:x.mp3, duration:90, playbackPosition:-1600, masterClockMs:0, masterClockLatencyMs:0
            3000 B playback_state currentTrack:null, isPlaying:false, playbackPosition:0, duration:null
            3000 C 101 on core 0
            3000 C joined roomCode:H0, wsId:<C>, hostUserId:u-C, isHost:true
            3000 C playback_state currentTrack:null, isPlaying:false, playbackPosition:0, duration:null
            3000 B user_joined userId:u-C, wsId:<C>, totalClients:2
        "#]],
    );
}

#[test]
fn who_asked_to_join_meanwhile_is_let_in() {
    check(
        r#"
        B connects on 1
        stall 0
        B joins H0 u-B u-B
        respawn 0
        unstall 0
        B {"type":"get_playback_state","roomCode":"H0"}
        "#,
        &expect![[r#"
            0 B 101 on core 1
            0 B joined roomCode:H0, wsId:<B>, hostUserId:u-B, isHost:true
            0 B playback_state currentTrack:null, isPlaying:false, playbackPosition:0, duration:null
            0 B playback_state currentTrack:null, isPlaying:false, playbackPosition:0, duration:null
        "#]],
    );
}

#[test]
fn members_whose_sockets_are_gone_leave_their_rooms_elsewhere() {
    check(
        r#"
        A connects on 0
        A joins H1 u-A u-A
        B connects on 1
        B joins H1 u-B u-A
        respawn 0
        B {"type":"PAUSE","roomCode":"H1"}
        "#,
        &expect![[r#"
            0 A 101 on core 0
            0 A joined roomCode:H1, wsId:<A>, hostUserId:u-A, isHost:true
            0 A playback_state currentTrack:null, isPlaying:false, playbackPosition:0, duration:null
            0 B 101 on core 1
            0 B joined roomCode:H1, wsId:<B>, hostUserId:u-A, isHost:false
            0 B playback_state currentTrack:null, isPlaying:false, playbackPosition:0, duration:null
            0 A user_joined userId:u-B, wsId:<B>, totalClients:2
            0 B user_left userId:u-A, wsId:<A>, totalClients:1
            0 B PAUSE pausedAtMs:0, masterClockMs:0
        "#]],
    );
}

#[test]
fn both_may_fail_and_fail_again() {
    let mut world = World::new(&Setup { cores: 3, ..Setup::default() });
    for step in ["A connects on 2", "A joins H0 u-A u-A", "B connects on 2", "B joins H1 u-B u-B"] {
        world.step(step);
    }
    for step in
        ["stall 0", "stall 1", "respawn 0", "respawn 1", "respawn 0", "unstall 1", "respawn 1", "unstall 0"]
    {
        world.step(step);
    }
    world.log.clear();
    for (name, room) in [("A", "H0"), ("B", "H1")] {
        world.step(&format!(r#"{name} {{"type":"SEEK","roomCode":"{room}","seekPositionMs":1}}"#));
    }
    let seeks = world.log.lines().filter(|line| line.contains("SEEK")).count();
    assert_eq!(seeks, 2, "{}", world.log);
    for name in ["A", "B"] {
        world.step(&format!("{name} ends"));
    }
    for shard in &world.shards {
        assert_eq!(shard.holdings(), Holdings::default());
    }
}

#[test]
fn words_of_two_new_lives_that_cross_let_everyone_in_once() {
    let mut world = World::new(&two_cores());
    for step in ["stall 0", "stall 1", "respawn 0", "respawn 1", "C connects on 1", "C joins H0 u-C u-C"] {
        world.step(step);
    }
    for _ in 0..8 {
        let flights = [(0, 1), (1, 0)].map(|(from, to)| (from, to, posted(&mut world, from, to)));
        flights.into_iter().for_each(|(from, to, envelopes)| deliver(&mut world, from, to, envelopes));
        world.settle();
    }
    world.step("unstall 0");
    world.step("unstall 1");
    world.log.clear();
    world.step(r#"C {"type":"SEEK","roomCode":"H0","seekPositionMs":1}"#);
    world.step("D connects on 1");
    world.step("D joins H0 u-D u-D");
    expect![[r#"
        0 C SEEK seekPositionMs:1, masterClockMs:300, seekDelayMs:300
        0 D 101 on core 1
        0 D joined roomCode:H0, wsId:<D>, hostUserId:u-D, isHost:true
        0 D playback_state currentTrack:null, isPlaying:false, playbackPosition:0, duration:null
        0 C user_joined userId:u-D, wsId:<D>, totalClients:2
    "#]]
    .assert_eq(&world.log);
    world.step("C ends");
    world.step("D ends");
    for shard in &world.shards {
        assert_eq!(shard.holdings(), Holdings::default());
    }
}

#[test]
fn what_a_connection_missed_is_not_held_against_the_one_that_has_its_slot_in_the_next_life() {
    let limits = Limits { mesh_backlog_max: 1, ..Limits::default() };
    let mut world = World::new(&Setup { authz: Authz::Off, limits, ..two_cores() });
    for step in ["B connects on 1", "B joins H1 u-B u-B", "A connects on 0", "stall 0", "stall 1"] {
        world.step(step);
    }
    world.step(r#"A {"type":"get_playback_state","roomCode":"H1"}"#);
    let question = posted(&mut world, 0, 1);
    for step in ["respawn 0", "C connects on 0", "D connects on 1", "D joins H0 u-D u-D"] {
        world.step(step);
    }
    let respawned = posted(&mut world, 0, 1);
    world.log.clear();
    // The way back is full, so the answer is missed; before the turn ends, who has missed it is gone.
    deliver(&mut world, 0, 1, question);
    deliver(&mut world, 0, 1, respawned);
    world.step("unstall 0");
    world.step("unstall 1");
    expect![[r#"
        0 D joined roomCode:H0, wsId:<D>, hostUserId:u-D, isHost:true
        0 D playback_state currentTrack:null, isPlaying:false, playbackPosition:0, duration:null
    "#]]
    .assert_eq(&world.log);
}

#[test]
fn a_restored_room_that_nobody_joins_goes_after_two_minutes() {
    let mut world = World::new(&two_cores());
    PLAYING.lines().map(str::trim).filter(|line| !line.is_empty()).for_each(|line| world.step(line));
    for step in ["keep 0", "B ends", "respawn 0", "wait 119000"] {
        world.step(step);
    }
    assert_eq!(world.stats(0).rooms, 1);
    world.step("wait 1001");
    assert_eq!(world.stats(0).rooms, 0);
    assert_eq!(world.shards[0].holdings(), Holdings::default());
}

#[test]
fn a_restored_room_that_someone_joins_stays() {
    let mut world = World::new(&two_cores());
    PLAYING.lines().map(str::trim).filter(|line| !line.is_empty()).for_each(|line| world.step(line));
    for step in ["keep 0", "B ends", "respawn 0", "wait 100000", "C connects on 0", "C joins H0 u-C u-C"] {
        world.step(step);
    }
    world.step("wait 60000");
    assert_eq!(world.stats(0).rooms, 1);
    assert!(world.log.contains("C PLAY_SYNC"), "{}", world.log);
}

#[test]
fn no_handshake_has_the_id_of_one_in_the_life_before() {
    check(
        r#"
        B connects on 1
        B joins H0 u-B u-B
        B {"type":"PLAY","roomCode":"H0","audioUrl":"x.mp3"}
        respawn 0
        B {"type":"PLAY","roomCode":"H0","audioUrl":"y.mp3"}
        "#,
        &expect![[r#"
            0 B 101 on core 1
            0 B joined roomCode:H0, wsId:<B>, hostUserId:u-B, isHost:true
            0 B playback_state currentTrack:null, isPlaying:false, playbackPosition:0, duration:null
            0 B PREPARE_TRACK audioUrl:x.mp3, checkId:<check1>
            0 B device_health_check checkId:<check1>
            0 B playback_state currentTrack:null, isPlaying:false, playbackPosition:0, duration:null
            0 B PREPARE_TRACK audioUrl:y.mp3, checkId:<check2>
            0 B device_health_check checkId:<check2>
        "#]],
    );
}
