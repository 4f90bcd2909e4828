//! A connection's life and its bounds: heads, closes, pings, outboxes, and how bytes are split.

mod world;

use engine::limits::{TURN_ANSWER_BYTES_MAX, TURN_ANSWERS_MAX};
use engine::{Action, App, ConnectionId, Limits};
use expect_test::{Expect, expect};
use wire::frame::Opcode;
use world::{Setup, World, masked_frame, play, run};

fn check(setup: &Setup, script: &str, expected: &Expect) {
    expected.assert_eq(&run(setup, script));
}

const REQUEST: &[u8] = b"GET /ws/sync?roomCode=R&userId=u HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

#[test]
fn every_split_of_a_session_in_two_and_byte_by_byte_ends_alike() {
    let mut session = REQUEST.to_vec();
    session
        .extend(masked_frame(Opcode::Text, br#"{"type":"join","roomCode":"R","userId":"u","hostId":"u"}"#));
    session.extend(masked_frame(Opcode::Ping, b"beat"));
    let mut fragment = masked_frame(Opcode::Text, br#"{"type":"SEEK","roomCode":"R","#);
    fragment[0] &= 0x7f;
    session.extend(fragment);
    session.extend(masked_frame(Opcode::Pong, b""));
    let mut fragment = masked_frame(Opcode::Text, br#""seekPositionMs":77,"title":""#);
    fragment[0] &= 0x70;
    session.extend(fragment);
    let mut fragment = masked_frame(Opcode::Text, "é✨\"}".as_bytes());
    fragment[0] &= 0xf0;
    session.extend(fragment);
    let long = format!(r#"{{"type":"PAUSE","roomCode":"R","pad":"{}"}}"#, "x".repeat(300));
    session.extend(masked_frame(Opcode::Text, long.as_bytes()));
    session.extend(masked_frame(Opcode::Close, &1000u16.to_be_bytes()));
    let play = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut world = World::new(&Setup::default());
        world.open("A", 0);
        for piece in pieces {
            world.deliver("A", &mut piece.to_vec());
            world.settle();
        }
        world.log
    };
    let whole = play(&mut std::iter::once(&session[..]));
    expect![[r#"
        0 A 101 on core 0
        0 A joined roomCode:R, wsId:<A>, hostUserId:u, isHost:true
        0 A playback_state currentTrack:null, isPlaying:false, playbackPosition:0, duration:null
        0 A pong [98, 101, 97, 116]
        0 A SEEK seekPositionMs:77, masterClockMs:300, seekDelayMs:300
        0 A PAUSE pausedAtMs:-223, masterClockMs:0
        0 A close 1000
        0 A fin
    "#]]
    .assert_eq(&whole);
    for cut in 1..session.len() {
        let (front, back) = session.split_at(cut);
        assert_eq!(play(&mut [front, back].into_iter()), whole, "cut at {cut}");
    }
    assert_eq!(play(&mut session.chunks(1)), whole, "byte by byte");
}

#[test]
fn what_is_wrong_with_a_connection_is_its_close_code() {
    let close_of = |bytes: &[u8]| {
        let mut world = World::new(&Setup { app: App::Echo, ..Setup::default() });
        world.connect("A", 0, "/");
        world.settle();
        world.log.clear();
        world.deliver("A", &mut bytes.to_vec());
        world.settle();
        assert!(world.log.ends_with("0 A fin\n"), "{}", world.log);
        world.log.lines().next().unwrap().to_owned()
    };
    let masked = |first: u8, payload: &[u8]| {
        let mut frame = masked_frame(Opcode::Text, payload);
        frame[0] = first;
        frame
    };
    assert_eq!(close_of(&[0x81, 0x01, b'x']), "0 A close 1002", "unmasked");
    assert_eq!(close_of(&masked(0xc1, b"")), "0 A close 1002", "reserved bit");
    assert_eq!(close_of(&masked(0x80, b"")), "0 A close 1002", "nothing to continue");
    assert_eq!(close_of(&masked(0x81, b"\xff")), "0 A close 1007", "not UTF-8");
    assert_eq!(
        close_of(&[0x81, 0xff, 0, 0, 0, 0, 0, 1, 0, 1, 1, 2, 3, 4]),
        "0 A close 1009",
        "65,537 by its header"
    );
    assert_eq!(
        close_of(&[0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4]),
        "0 A close 1009"
    );
    assert_eq!(
        close_of(&[masked(0x01, &[b'x'; 40_000]), masked(0x80, &[b'x'; 30_000])].concat()),
        "0 A close 1009"
    );
    let fragments: Vec<u8> =
        [masked(0x01, b"")].into_iter().chain(vec![masked(0x00, b""); 1024]).flatten().collect();
    assert_eq!(close_of(&fragments), "0 A close 1008", "1,025 empty fragments");
    assert_eq!(close_of(&masked(0x88, b"\x03")), "0 A close 1002", "a close code of one byte");
    assert_eq!(close_of(&masked(0x88, b"\x0b\xb8bye")), "0 A close 3000", "its own code comes back");
}

#[test]
fn a_message_of_just_the_limit_passes() {
    let mut world = World::new(&Setup { app: App::Echo, ..Setup::default() });
    world.connect("A", 0, "/anything?at=all");
    world.send("A", Opcode::Binary, &[7; 64 * 1024]);
    world.settle();
    assert!(world.log.contains(&format!("A binary [{}", "7, ".repeat(64 * 1024 - 1))));
}

#[test]
fn a_head_that_does_not_come_within_10_s_ends_the_connection() {
    let mut world = World::new(&Setup::default());
    world.open("A", 0);
    world.deliver("A", &mut REQUEST[..50].to_vec());
    world.step("wait 9900");
    assert_eq!(world.log, "");
    world.step("wait 200");
    assert_eq!(world.log, "10000 A reset\n");
    assert_eq!((world.stats(0).head_timeouts, world.stats(0).connections), (1, 0));
}

#[test]
fn a_head_over_8_kib_is_answered_431() {
    let mut world = World::new(&Setup::default());
    world.open("A", 0);
    world.deliver("A", &mut [b"GET /".to_vec(), vec![b'x'; 8200]].concat());
    world.settle();
    assert_eq!(world.log, "0 A 431 on core 0\n0 A fin\n");
    world.step("A ends");
    assert!(world.log.ends_with("A closed\n"));
    let stats = world.stats(0);
    assert_eq!((stats.refused_heads, stats.heads_too_large, stats.connections), (1, 1, 0));
}

#[test]
fn pings_come_each_25_s_and_silence_after_two_ends_the_connection() {
    let world = play(
        &Setup::default(),
        r#"
        A connects on 0
        A joins R u-A u-A
        B connects on 0
        B joins R u-B u-A
        wait 40000
        A pongs
        wait 40000
        "#,
    );
    expect![[r#"
        0 A 101 on core 0
        0 A joined roomCode:R, wsId:<A>, hostUserId:u-A, isHost:true
        0 A playback_state currentTrack:null, isPlaying:false, playbackPosition:0, duration:null
        0 B 101 on core 0
        0 B joined roomCode:R, wsId:<B>, hostUserId:u-A, isHost:false
        0 B playback_state currentTrack:null, isPlaying:false, playbackPosition:0, duration:null
        0 A user_joined userId:u-B, wsId:<B>, totalClients:2
        25000 A ping []
        25000 B ping []
        50000 A ping []
        50000 B ping []
        50000 A rests
        50000 B rests
        75000 A ping []
        75000 A user_left userId:u-B, wsId:<B>, totalClients:1
        75000 B reset
    "#]]
    .assert_eq(&world.log);
    assert_eq!((world.stats(0).pings_unanswered, world.stats(0).connections), (1, 1));
}

#[test]
fn a_peer_that_does_not_end_after_our_close_frame_is_reset_after_5_s() {
    let world = play(
        &Setup::default(),
        r#"
        A connects on 0
        A closes
        wait 6000
        "#,
    );
    expect![[r#"
        0 A 101 on core 0
        0 A close 1000
        0 A fin
        5000 A reset
    "#]]
    .assert_eq(&world.log);
    assert_eq!(world.stats(0).close_timeouts, 1);
}

#[test]
fn a_drain_closes_everyone_with_1001_and_tells_nobody_of_leavers() {
    check(
        &Setup::default(),
        r#"
        A connects on 0
        A joins R u-A u-A
        B connects on 0
        B joins R u-B u-A
        drain
        A ends
        "#,
        &expect![[r#"
            0 A 101 on core 0
            0 A joined roomCode:R, wsId:<A>, hostUserId:u-A, isHost:true
            0 A playback_state currentTrack:null, isPlaying:false, playbackPosition:0, duration:null
            0 B 101 on core 0
            0 B joined roomCode:R, wsId:<B>, hostUserId:u-A, isHost:false
            0 B playback_state currentTrack:null, isPlaying:false, playbackPosition:0, duration:null
            0 A user_joined userId:u-B, wsId:<B>, totalClients:2
            0 B close 1001
            0 A close 1001
            0 B fin
            0 A fin
            0 A closed
        "#]],
    );
}

#[test]
fn a_reader_that_stops_is_aborted_at_its_outbox_limit_and_its_room_goes_on() {
    let limits = Limits { outbox_bytes_max: 4096, is_metered: false, ..Limits::default() };
    let mut world = World::new(&Setup { limits, ..Setup::default() });
    for line in ["A connects on 0", "A joins R u-A u-A", "B connects on 0", "B joins R u-B u-A", "B stuck"] {
        world.step(line);
    }
    world.log.clear();
    for _ in 0..100 {
        world.step(r#"A {"type":"SEEK","roomCode":"R","seekPositionMs":1}"#);
    }
    assert_eq!(world.stats(0).outboxes_overflowed, 1);
    assert_eq!(world.log.matches("B reset").count(), 1);
    assert_eq!(world.log.matches("A SEEK").count(), 100);
    assert_eq!(world.log.matches("A user_left userId:u-B").count(), 1);
    // Its own requests' answers count as well, but not those that wait for their first send.
    world.step("C connects on 0");
    let mut bytes = masked_frame(Opcode::Text, br#"{"type":"time_ping","id":1}"#).repeat(100);
    world.step("C stuck");
    world.deliver("C", &mut bytes);
    world.settle();
    assert_eq!((world.stats(0).outboxes_overflowed, world.stats(0).connections), (1, 2));
    world.say("C", r#"{"type":"time_ping","id":1}"#);
    world.settle();
    assert_eq!(world.stats(0).outboxes_overflowed, 2);
    assert_eq!(world.stats(0).connections, 1);
}

#[test]
fn a_turn_is_to_end_before_what_it_gathers_cuts_off_a_peer_that_reads() {
    for app in [App::Echo, App::Broadcast] {
        let mut world = World::new(&Setup { app, ..Setup::default() });
        world.connect("A", 0, "/");
        world.settle();
        // 4 MB in all, sixteen times an outbox; the driver asks after each receive.
        for _ in 0..4096 {
            world.send("A", Opcode::Binary, &[7; 1024]);
            if world.shards[0].is_pressing() {
                world.log.clear();
                world.settle();
                assert!(!world.shards[0].is_pressing());
            }
        }
        world.settle();
        assert_eq!((world.stats(0).outboxes_overflowed, world.stats(0).connections), (0, 1), "{app:?}");
    }
}

#[test]
fn who_joins_later_in_a_turn_does_not_get_what_came_before() {
    let mut world = World::new(&Setup::default());
    for line in ["A connects on 0", "A joins R u-A u-A", "B connects on 0"] {
        world.step(line);
    }
    world.log.clear();
    // One turn: nothing is flushed in between.
    world.say("A", r#"{"type":"SEEK","roomCode":"R","seekPositionMs":1}"#);
    world.say("B", r#"{"type":"join","roomCode":"R","userId":"u-B","hostId":"u-A"}"#);
    world.say("A", r#"{"type":"SEEK","roomCode":"R","seekPositionMs":2}"#);
    world.say("B", r#"{"type":"time_ping","id":1,"t0":1750000000000}"#);
    world.say("A", r#"{"type":"SEEK","roomCode":"R","seekPositionMs":3}"#);
    world.settle();
    expect![[r#"
        0 A SEEK seekPositionMs:1, masterClockMs:300, seekDelayMs:300
        0 A user_joined userId:u-B, wsId:<B>, totalClients:2
        0 A SEEK seekPositionMs:2, masterClockMs:300, seekDelayMs:300
        0 A SEEK seekPositionMs:3, masterClockMs:300, seekDelayMs:300
        0 B joined roomCode:R, wsId:<B>, hostUserId:u-A, isHost:false
        0 B playback_state currentTrack:null, isPlaying:false, playbackPosition:0, duration:null
        0 B SEEK seekPositionMs:2, masterClockMs:300, seekDelayMs:300
        0 B time_pong id:1, t0:1750000000000, serverTimeUnix:1750000000000, serverTimeMonotonic:0, timeOffset:0, playbackPosition:0, isPlaying:false, masterClock:0
        0 B SEEK seekPositionMs:3, masterClockMs:300, seekDelayMs:300
    "#]]
    .assert_eq(&world.sorted_log());
}

#[test]
fn who_says_nothing_between_two_pings_rests_until_it_speaks() {
    check(
        &Setup { app: App::Echo, ..Setup::default() },
        r#"
        A connects on 0
        wait 30000
        A pongs
        wait 25000
        A pongs
        wait 25000
        A pongs
        A {"spoken":true}
        wait 25000
        A pongs
        wait 25000
        "#,
        &expect![[r#"
            0 A 101 on core 0
            25000 A ping []
            50000 A ping []
            50000 A rests
            75000 A ping []
            80000 A {spoken:true
            100000 A ping []
            125000 A ping []
            125000 A rests
        "#]],
    );
}

#[test]
fn a_turn_should_end_after_so_many_answers_or_so_many_bytes_of_them() {
    for (payload_bytes, answers) in [(1, TURN_ANSWERS_MAX), (16_000, TURN_ANSWER_BYTES_MAX / 16_000 + 1)] {
        let mut world = World::new(&Setup { app: App::Echo, ..Setup::default() });
        for client in 0..answers {
            world.step(&format!("c{client} connects on 0"));
        }
        for client in 0..answers {
            assert!(!world.shards[0].is_pressing(), "{client} of {answers}");
            world.send(&format!("c{client}"), Opcode::Binary, &vec![b'x'; payload_bytes]);
        }
        assert!(world.shards[0].is_pressing());
        world.settle();
        assert!(!world.shards[0].is_pressing());
    }
}

#[test]
fn large_audiences_are_served_in_slices_behind_small_ones() {
    let mut world = World::new(&Setup::default());
    for member in 0..600 {
        world.step(&format!("m{member} connects on 0"));
        world.step(&format!("m{member} joins BIG u h"));
    }
    world.step("A connects on 0");
    world.step("A joins SMALL u h");
    world.say("m0", r#"{"type":"PAUSE","roomCode":"BIG"}"#);
    world.say("A", r#"{"type":"PAUSE","roomCode":"SMALL"}"#);
    let mut turns = Vec::new();
    loop {
        world.shards[0].flush();
        let mut sends = Vec::new();
        while let Some((id, bytes)) = world.shards[0].poll_send().map(|(id, bytes)| (id, bytes.len())) {
            sends.push(id.index);
            assert_eq!(world.shards[0].handle_sent(id, bytes), None);
        }
        if sends.is_empty() {
            break;
        }
        turns.push(sends);
    }
    let sizes: Vec<usize> = turns.iter().map(Vec::len).collect();
    assert_eq!(sizes, [65, 64, 64, 64, 64, 64, 64, 64, 64, 24]);
    assert_eq!(turns[0][0], 600, "the small room first");
}

#[test]
fn thousands_who_end_at_once_leave_some_in_each_turn() {
    let mut world = World::new(&Setup::default());
    for client in 0..100 {
        world.step(&format!("c{client} connects on 0"));
        world.step(&format!("c{client} joins R{client} u h"));
    }
    let now = world.now;
    for index in 0..100 {
        let id = ConnectionId { index, generation: 0 };
        if index % 2 == 0 {
            world.shards[0].handle_end(id, now);
        } else {
            world.shards[0].handle_failure(id, now);
        }
    }
    // Sends to those in line fail, again and again: they stand there once.
    for _ in 0..3 {
        world.shards[0].handle_failure(ConnectionId { index: 98, generation: 0 }, now);
    }
    let shard = &mut world.shards[0];
    assert_eq!(shard.stats().ending, 100 - 32);
    let mut turns: Vec<Vec<u32>> = Vec::new();
    while shard.has_work() || turns.is_empty() {
        shard.flush();
        let mut ended = Vec::new();
        while let Some(action) = shard.poll_action() {
            let Action::Drop { connection, reset } = action else { panic!("only drops: {action:?}") };
            assert_eq!(reset, connection.index % 2 == 1);
            ended.push(connection.index);
            shard.handle_released(connection);
        }
        assert_eq!(shard.stats().connections, 100 - (turns.concat().len() + ended.len()) as u64);
        turns.push(ended);
    }
    assert_eq!(turns.iter().map(Vec::len).collect::<Vec<_>>(), [32, 32, 32, 4]);
    assert!(turns.concat().is_sorted(), "who ended first leaves first");
    assert_eq!((shard.stats().rooms, shard.stats().ending), (0, 0));
}

#[test]
fn who_stands_in_line_to_leave_is_sent_nothing() {
    let mut world = World::new(&Setup::default());
    for client in 0..40 {
        world.step(&format!("c{client} connects on 0"));
        world.step(&format!("c{client} joins R u h"));
    }
    let now = world.now;
    for index in 0..40 {
        world.shards[0].handle_end(ConnectionId { index, generation: 0 }, now);
    }
    let shard = &mut world.shards[0];
    assert_eq!(shard.stats().ending, 8, "they are still in the room that the others have left");
    shard.flush();
    assert_eq!(shard.poll_send(), None);
}

/// Rooms R0 to R9, of twenty members each, and who is about to join them: n0 R0, n10 R0 too.
fn ten_rooms(limits: Limits) -> World {
    let mut world = World::new(&Setup { limits, ..Setup::default() });
    for client in 0..200 {
        world.step(&format!("c{client} connects on 0"));
        world.step(&format!("c{client} joins R{} u h", client / 20));
    }
    (0..20).for_each(|newcomer| world.step(&format!("n{newcomer} connects on 0")));
    world
}

fn join(world: &mut World, newcomers: std::ops::Range<u32>) {
    for newcomer in newcomers {
        let room = newcomer % 10;
        let join = format!(r#"{{"type":"join","roomCode":"R{room}","userId":"n","hostId":"h"}}"#);
        world.say(&format!("n{newcomer}"), &join);
    }
}

/// One turn: what is sent to whom, by the types of the messages.
fn sends(world: &mut World) -> Vec<(u32, String)> {
    let shard = &mut world.shards[0];
    shard.flush();
    let mut sends = Vec::new();
    while let Some((id, bytes)) = shard.poll_send() {
        let (length, text) = (bytes.len(), String::from_utf8_lossy(bytes).into_owned());
        let types = text.split(r#"{"type":""#).skip(1).filter_map(|message| message.split('"').next());
        sends.push((id.index, types.collect::<Vec<_>>().join(" ")));
        assert_eq!(shard.handle_sent(id, length), None);
    }
    sends
}

/// How many of the old members are sent just this.
fn told(sends: &[(u32, String)], what: &str) -> usize {
    sends.iter().filter(|(index, types)| *index < 200 && types == what).count()
}

#[test]
fn news_of_many_wait_and_gather() {
    let mut world = ten_rooms(Limits::default());
    join(&mut world, 0..10);
    let first = sends(&mut world);
    let told_first = told(&first, "user_joined");
    let most = Limits::default().news_sends_max;
    assert!((most..most + 20).contains(&told_first), "{told_first}");
    let answered = first.iter().filter(|(_, types)| types == "joined playback_state").count();
    assert_eq!(answered, 10, "who joins is answered at once");
    join(&mut world, 10..20);
    let mut rest = Vec::new();
    while world.shards[0].has_work() {
        rest.extend(sends(&mut world));
    }
    // Members of rooms that had to wait are told of both in one send.
    assert_eq!(told(&rest, "user_joined user_joined"), 200 - told_first);
    assert_eq!(told(&rest, "user_joined"), told_first);
}

#[test]
fn a_room_whose_news_wait_stands_in_line_once() {
    let mut world = ten_rooms(Limits { news_sends_max: 1, ..Limits::default() });
    join(&mut world, 0..10);
    sends(&mut world);
    assert_eq!(world.stats(0).news_put_off, 9, "all but R0");
    world.say("c190", r#"{"type":"PAUSE","roomCode":"R9"}"#);
    sends(&mut world);
    assert_eq!(world.stats(0).news_put_off, 9 + 8, "R9 keeps its place, though its news have left");
    join(&mut world, 19..20);
    sends(&mut world);
    assert_eq!(world.stats(0).news_put_off, 9 + 8 + 7);
}

#[test]
fn a_command_leaves_at_once_and_takes_the_news_that_wait_along() {
    let mut world = ten_rooms(Limits::default());
    join(&mut world, 0..10);
    let first = sends(&mut world);
    let is_told = |member: u32| first.iter().any(|(index, _)| *index == member);
    assert!(is_told(0) && !is_told(180) && !is_told(199), "R9 is among those that wait");
    world.say("c190", r#"{"type":"PAUSE","roomCode":"R9"}"#);
    let second = sends(&mut world);
    assert_eq!(told(&second, "user_joined PAUSE"), 20);
}

#[test]
fn when_all_have_left_nothing_is_left() {
    let mut world = World::new(&Setup { cores: 2, ..Setup::default() });
    for client in 0..40 {
        world.step(&format!("c{client} connects on {}", client % 2));
        world.step(&format!("c{client} joins R{} u h", client % 5));
    }
    for client in 0..40 {
        world.step(&format!("c{client} {}", if client % 3 == 0 { "closes" } else { "ends" }));
    }
    world.step("wait 6000");
    for core in 0..2 {
        assert_eq!((world.stats(core).connections, world.stats(core).rooms), (0, 0));
        assert_eq!(world.shards[core].next_deadline_us(), None, "nothing wakes an empty shard");
    }
}

/// The sender of a device_ready, and whoever changes rooms, get what the room's batch has for them so far at once.
#[test]
fn a_reader_that_is_behind_is_aborted_whichever_way_it_gets_too_much() {
    let track = format!(
        r#"{{"type":"TRACK_CHANGE","roomCode":"R","trackData":{{"audioUrl":"a","title":"{}"}}}}"#,
        "x".repeat(500)
    );
    let ready = r#"{"type":"device_health_check_response","roomCode":"R","checkId":"c","audioLoaded":true,"deviceReady":true}"#;
    let other = r#"{"type":"join","roomCode":"S","userId":"u"}"#;
    for last in [ready, other] {
        let mut world = World::new(&Setup {
            limits: Limits { outbox_bytes_max: 1000, ..Limits::default() },
            ..Setup::default()
        });
        for step in
            ["A connects on 0", "A joins R u-A u-A", "B connects on 0", "B joins R u-B u-A", "A stuck"]
        {
            world.step(step);
        }
        world.step(&format!("B {track}"));
        world.say("B", &track);
        world.say("A", last);
        world.settle();
        assert_eq!(world.stats(0).outboxes_overflowed, 1, "{}", world.log);
        assert!(world.log.contains(" A reset\n") && !world.log.contains(" B reset\n"), "{}", world.log);
    }
}
