//! Every limit on behaviour: a test that crosses it, and one that a real client's worst case stays clear of it.

mod world;

use engine::{App, ConnectionId, Limits, Stats, placement};
use expect_test::expect;
use wire::frame::Opcode;
use world::{SEED, Setup, World, masked_frame, play};

const PING: &str = r#"{"type":"time_ping","id":"1","t0":1}"#;
/// The same, with what only the whole parser reads.
const SPACED_PING: &str = r#"{ "type": "time_ping", "id": "1", "t0": 1, "extra": [] }"#;
const SEEK: &str = r#"{"type":"SEEK","roomCode":"R","seekPositionMs":1000}"#;

fn with(limits: Limits) -> Setup {
    Setup { limits, ..Setup::default() }
}

/// Clients in room R, whose joins are off the log.
fn room(setup: &Setup, names: &[&str]) -> World {
    let mut world = World::new(setup);
    for name in names {
        world.step(&format!("{name} connects on 0"));
        world.step(&format!("{name} joins R {name} {}", names[0]));
    }
    world.log.clear();
    world
}

fn count(log: &str, word: &str) -> usize {
    log.lines().filter(|line| line.contains(word)).count()
}

/// The sum over all shards.
fn total(world: &World, figure: impl Fn(&Stats) -> u64) -> u64 {
    world.shards.iter().map(|shard| figure(shard.stats())).sum()
}

#[test]
fn past_its_rate_a_connections_pings_are_dropped_and_if_that_goes_on_it_is_closed() {
    let mut world = room(&Setup::default(), &["A", "B"]);
    world.step("wait 3000");
    world.log.clear();
    for _ in 0..60 {
        world.say("A", PING);
        world.say("A", SPACED_PING);
    }
    world.settle();
    assert_eq!(count(&world.log, "A time_pong"), 100, "the burst");
    assert_eq!((world.stats(0).messages_excess, world.stats(0).pings_dropped), (20, 20));
    world.say("A", SEEK);
    world.settle();
    assert_eq!(count(&world.log, "SEEK"), 2, "what is no ping is still carried out");
    (0..479).for_each(|_| world.say("A", PING));
    world.settle();
    assert_eq!(world.stats(0).messages_excess, u64::from(Limits::default().messages_excess_max));
    assert_eq!(count(&world.log, "close"), 0);
    world.say("A", PING);
    world.settle();
    assert_eq!(count(&world.log, "A close 1008"), 1);
    assert_eq!(count(&world.log, "B user_left"), 1);
    assert_eq!(world.stats(0).floods_closed, 1);
    assert_eq!(count(&world.log, "A time_pong"), 100);
}

/// The older client's pings of 50 s, in which it may say nothing: the network, or the server, stood still.
#[test]
fn what_a_standstill_has_kept_back_costs_no_connection_and_the_next_ping_is_answered() {
    let mut world = room(&Setup::default(), &["A"]);
    for _ in 0..3 {
        world.step("wait 49900");
        world.log.clear();
        (0..50 * 88 / 10).for_each(|_| world.say("A", PING));
        world.settle();
        assert_eq!(count(&world.log, "A time_pong"), 100, "the burst");
        world.step("wait 20");
        world.say("A", PING);
        world.settle();
        assert_eq!(count(&world.log, "A time_pong"), 101);
    }
    assert_eq!([world.stats(0).floods_closed, world.stats(0).connections], [0, 1]);
    assert_eq!(world.shards[0].holdings().excesses, 1);
    world.step("A ends");
    assert_eq!(world.shards[0].holdings().excesses, 0, "what it sent is forgotten with it");
}

/// Twice what the older client sends, and what it sends at its start, for ten minutes.
#[test]
fn a_real_clients_worst_case_is_clear_of_every_rate() {
    let mut world = room(&Setup::default(), &["A", "B"]);
    let state = r#"{"type":"get_playback_state","roomCode":"R"}"#;
    (0..7).for_each(|_| world.say("A", state));
    for round in 0..750 {
        (0..14).for_each(|_| world.say("A", PING));
        if round % 2 == 0 {
            world.say("A", SEEK);
        }
        world.send("A", Opcode::Pong, b"");
        world.send("B", Opcode::Pong, b"");
        world.step("wait 800");
    }
    let stats = world.stats(0);
    assert_eq!([stats.messages_excess, stats.commands_excess, stats.room_commands_excess], [0; 3]);
    assert_eq!([stats.controls_excess, stats.floods_closed, stats.connections], [0, 0, 2]);
    assert_eq!(count(&world.log, "A time_pong"), 750 * 14);
}

#[test]
fn echo_and_broadcast_have_no_rate_of_messages() {
    for app in [App::Echo, App::Broadcast] {
        let mut world = World::new(&Setup { app, ..Setup::default() });
        world.step("A connects on 0");
        (0..1000).for_each(|_| world.send("A", Opcode::Binary, b"x"));
        world.settle();
        assert_eq!(count(&world.log, "A binary"), 1000);
    }
}

#[test]
fn a_rate_of_0_and_metering_turned_off_are_no_limit() {
    let unlimited =
        Limits { messages_per_s: 0, commands_per_s: 0, room_commands_per_s: 0, ..Limits::default() };
    for limits in [unlimited, Limits { is_metered: false, ..Limits::default() }] {
        let mut world = room(&with(limits), &["A"]);
        (0..1000).for_each(|_| world.say("A", SEEK));
        world.settle();
        assert_eq!(count(&world.log, "A SEEK"), 1000);
    }
}

#[test]
fn too_many_pings_and_pongs_end_a_connection() {
    for opcode in [Opcode::Ping, Opcode::Pong] {
        let mut world = World::new(&Setup { app: App::Echo, ..Setup::default() });
        world.step("A connects on 0");
        (0..50).for_each(|_| world.send("A", opcode, b"beat"));
        world.settle();
        assert_eq!(count(&world.log, "A close"), 0, "{opcode:?}: a burst of 50");
        world.send("A", opcode, b"beat");
        world.settle();
        assert_eq!(count(&world.log, "A close 1008"), 1, "{opcode:?}");
        assert_eq!(world.stats(0).controls_excess, 1);
    }
}

#[test]
fn ten_heartbeats_a_second_go_on_for_ever() {
    let mut world = World::new(&Setup { app: App::Echo, ..Setup::default() });
    world.step("A connects on 0");
    for _ in 0..1000 {
        world.send("A", Opcode::Ping, b"beat");
        world.step("wait 100");
    }
    assert_eq!(count(&world.log, "A pong"), 1000);
}

#[test]
fn of_more_pings_than_16_at_once_only_the_newest_is_answered() {
    let mut world = World::new(&Setup { app: App::Echo, ..Setup::default() });
    world.step("A connects on 0");
    world.log.clear();
    (0..40_u8).for_each(|n| world.send("A", Opcode::Ping, &[n]));
    world.settle();
    let answered: Vec<String> = (0..16).chain([39]).map(|n| format!("0 A pong [{n}]")).collect();
    assert_eq!(world.log.lines().collect::<Vec<_>>(), answered);
    assert_eq!(world.stats(0).pongs_skipped, 23);
    world.log.clear();
    world.send("A", Opcode::Ping, &[77]);
    world.settle();
    assert_eq!(world.log, "0 A pong [77]\n", "and then each again");
}

#[test]
fn a_connections_commands_past_its_rate_are_ignored_and_queries_are_not() {
    let mut world = room(&Setup::default(), &["A", "B"]);
    (0..15).for_each(|_| world.say("A", SEEK));
    world.say("A", r#"{"type":"get_playback_state","roomCode":"R"}"#);
    world.settle();
    assert_eq!(count(&world.log, "B SEEK"), 10);
    assert_eq!(count(&world.log, "A playback_state"), 1);
    assert_eq!(world.stats(0).commands_excess, 5);
    world.step("wait 1000");
    (0..15).for_each(|_| world.say("A", SEEK));
    world.settle();
    assert_eq!(count(&world.log, "B SEEK"), 15, "five a second come back");
}

#[test]
fn a_rooms_commands_past_its_rate_are_ignored_whoever_sends_them() {
    let names: Vec<String> = (0..6).map(|n| format!("M{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut world = room(&Setup::default(), &names);
    for name in &names {
        (0..10).for_each(|_| world.say(name, SEEK));
    }
    world.settle();
    assert_eq!(count(&world.log, "M5 SEEK"), 40);
    assert_eq!((world.stats(0).commands_excess, world.stats(0).room_commands_excess), (0, 20));
}

#[test]
fn commands_of_members_on_other_cores_have_the_same_rates() {
    let mut world = World::new(&Setup { cores: 3, ..Setup::default() });
    for (core, name) in ["A", "B", "C"].into_iter().enumerate() {
        world.step(&format!("{name} connects on {core}"));
        world.step(&format!("{name} joins R {name} A"));
    }
    for name in ["A", "B", "C"] {
        (0..15).for_each(|_| world.say(name, SEEK));
    }
    world.settle();
    assert_eq!([count(&world.log, "A SEEK"), count(&world.log, "C SEEK")], [30, 30]);
    assert_eq!(total(&world, |stats| stats.commands_excess), 15);
}

#[test]
fn whoever_joins_nothing_within_30_s_is_closed() {
    let world = play(
        &Setup::default(),
        "A connects on 0
         B connects on 0
         wait 29900
         B joins R b b
         wait 500
         wait 60000",
    );
    expect![[r#"
        0 A 101 on core 0
        0 B 101 on core 0
        25000 A ping []
        25000 B ping []
        29900 B joined roomCode:R, wsId:<B>, hostUserId:b, isHost:true
        29900 B playback_state currentTrack:null, isPlaying:false, playbackPosition:0, duration:null
        30000 A close 1008
        30000 A fin
        35000 A reset
        50000 B ping []
        75000 B ping []
        75000 B rests
    "#]]
    .assert_eq(&world.log);
    assert_eq!((world.stats(0).join_timeouts, world.stats(0).close_timeouts), (1, 1));
}

#[test]
fn echo_waits_for_no_join() {
    let mut world = World::new(&Setup { app: App::Echo, ..Setup::default() });
    world.step("A connects on 0");
    world.step("wait 40000");
    assert_eq!(count(&world.log, "close"), 0);
}

#[test]
fn a_message_that_takes_over_30_s_to_come_ends_the_connection() {
    let mut world = room(&Setup::default(), &["A", "B"]);
    let frame = masked_frame(Opcode::Text, SEEK.as_bytes());
    let mut fragment = frame.clone();
    fragment[0] &= 0x7f;
    world.deliver("A", &mut fragment);
    world.deliver("B", &mut frame[..10].to_vec());
    world.step("wait 29000");
    // A heartbeat in between is no end of the message.
    world.send("A", Opcode::Ping, b"");
    world.step("wait 900");
    assert_eq!(count(&world.log, "close"), 0);
    world.step("wait 700");
    assert_eq!([count(&world.log, "A close 1008"), count(&world.log, "B close 1008")], [1, 1]);
    assert_eq!(world.stats(0).message_timeouts, 2);
}

#[test]
fn messages_that_come_in_pieces_for_ever_are_each_in_time() {
    let mut world = room(&Setup::default(), &["A"]);
    let frame = masked_frame(Opcode::Text, PING.as_bytes());
    for _ in 0..10 {
        world.deliver("A", &mut frame[..20].to_vec());
        world.step("wait 20000");
        // The end of one and the beginning of the next in one receive.
        let mut bytes = [&frame[20..], &frame[..5]].concat();
        world.deliver("A", &mut bytes);
        world.step("wait 5000");
        world.deliver("A", &mut frame[5..].to_vec());
    }
    world.settle();
    assert_eq!(count(&world.log, "A time_pong"), 20);
    assert_eq!(count(&world.log, "close"), 0);
}

#[test]
fn whoever_takes_nothing_for_10_s_of_what_it_is_owed_is_let_go_of() {
    let mut world = room(&Setup::default(), &["A", "B"]);
    world.step("B stuck");
    world.say("A", SEEK);
    world.settle();
    world.say("A", SEEK);
    world.settle();
    world.step("wait 9900");
    assert_eq!(count(&world.log, "B reset"), 0);
    world.step("wait 1100");
    assert_eq!(count(&world.log, "B reset"), 1);
    assert_eq!(count(&world.log, "A user_left"), 1);
    assert_eq!(world.stats(0).outboxes_stalled, 1);
    assert_eq!(world.stats(0).outboxes_behind_bytes, 0);
}

/// A member's send is stuck; the rest of the room is not. Its shard, its connection, and a world that goes on.
fn stuck_member(limits: Limits) -> (World, ConnectionId) {
    let mut world = room(&with(limits), &["A", "B"]);
    world.step("B stuck");
    world.say("A", SEEK);
    world.settle();
    let id = world.connection_of("B");
    (world, id)
}

#[test]
fn a_slow_reader_that_takes_a_little_stays() {
    let (mut world, id) = stuck_member(Limits::default());
    for _ in 0..20 {
        world.say("A", SEEK);
        world.send("B", Opcode::Pong, b"");
        world.step("wait 4000");
        world.shards[0].handle_sent(id, 1);
    }
    assert_eq!(count(&world.log, "B reset"), 0);
    assert!(world.stats(0).outboxes_behind_bytes > 500);
}

#[test]
fn a_pong_for_whoever_is_late_is_dropped_and_of_the_states_it_asked_for_the_newest_comes() {
    let (mut world, id) = stuck_member(Limits::default());
    world.say("A", r#"{"type":"get_playback_state","roomCode":"R"}"#);
    world.say("B", PING);
    world.step("wait 3000");
    assert_eq!(world.stats(0).pongs_late, 0, "it was not late yet");
    for _ in 0..3 {
        world.say("B", PING);
        world.say("B", r#"{"type":"get_playback_state","roomCode":"R"}"#);
    }
    world.say("A", r#"{"type":"TRACK_CHANGE","roomCode":"R","trackData":{"audioUrl":"new","duration":1}}"#);
    world.settle();
    assert_eq!((world.stats(0).pongs_late, world.stats(0).states_late), (3, 3));
    world.log.clear();
    world.free("B", id);
    world.settle();
    let heard: Vec<&str> = world.log.lines().filter_map(|line| line.split(' ').nth(2)).collect();
    assert_eq!(heard, ["SEEK", "time_pong", "TRACK_CHANGE", "PAUSE_STATE"]);
    assert_eq!(count(&world.log, "audioUrl:new"), 2);
}

#[test]
fn once_all_are_owed_too_much_together_those_that_are_owed_most_are_let_go_of() {
    let limits = Limits { outboxes_bytes_max: 40_000, is_metered: false, ..Limits::default() };
    let names: Vec<String> = (0..9).map(|n| format!("M{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut world = room(&with(limits), &names);
    // One after the other stops reading, so the first are owed most.
    for name in &names[1..] {
        world.step(&format!("{name} stuck"));
        (0..20).for_each(|_| world.say("M0", SEEK));
        world.settle();
    }
    world.step("wait 600");
    let stats = world.stats(0);
    assert!(stats.outboxes_shed > 0 && stats.outboxes_behind_bytes <= 35_000, "{stats:?}");
    assert_eq!(count(&world.log, "M1 reset"), 1, "it is owed most");
    assert_eq!(count(&world.log, "M8 reset"), 0, "it is owed least");
    assert_eq!(count(&world.log, "reset") as u64, stats.outboxes_shed);
}

#[test]
fn a_connection_makes_so_many_rooms_and_no_more() {
    for cores in [1, 3] {
        let mut world = World::new(&Setup { cores, ..Setup::default() });
        world.step("A connects on 0");
        (0..20).for_each(|n| world.step(&format!("A joins R{n} a a")));
        assert_eq!((count(&world.log, "A joined"), count(&world.log, "A close")), (20, 0));
        world.step("wait 3000");
        world.step("A joins S a a");
        assert_eq!((count(&world.log, "A joined"), count(&world.log, "A close")), (21, 0), "one more in 3 s");
        world.step("A joins T a a");
        assert_eq!(count(&world.log, "A close 1008"), 1, "on {cores} cores");
        assert_eq!(total(&world, |stats| stats.rooms), 0, "nothing is left of them");
        assert_eq!(total(&world, |stats| stats.rooms_refused), 1);
    }
}

#[test]
fn going_to_and_fro_between_rooms_of_others_makes_none() {
    let mut world = room(&Setup::default(), &["A", "B", "C"]);
    world.step("B joins S b b");
    for _ in 0..20 {
        world.step("C joins S c c");
        world.step("C joins R c c");
    }
    assert_eq!(count(&world.log, "close"), 0);
}

/// Each core admits its part, a fraction rounded up, of the rooms whose home it is; a core that is full closes who would
/// make one more, also while others have places left.
#[test]
fn there_are_so_many_rooms_and_no_more() {
    let limits = Limits { rooms_max: 4, ..Limits::default() };
    for (cores, part) in [(1, 4), (2, 2), (3, 2)] {
        let mut world = World::new(&Setup { cores, limits: limits.clone(), ..Setup::default() });
        let home = |room: &str| usize::from(placement::home(SEED, room, cores).0);
        let (mut made, mut refused) = (vec![Vec::new(); usize::from(cores)], vec![0; usize::from(cores)]);
        for n in 0..24 {
            let room = format!("R{n}");
            world.step(&format!("M{n} connects on 0"));
            world.step(&format!("M{n} joins {room} u u"));
            let home = home(&room);
            let is_admitted = made[home].len() < part;
            if is_admitted {
                made[home].push(n);
            } else {
                refused[home] += 1;
            }
            let (joined, closed) = (
                count(&world.log, &format!(" M{n} joined")),
                count(&world.log, &format!(" M{n} close 1013")),
            );
            assert_eq!((joined, closed), (usize::from(is_admitted), usize::from(!is_admitted)), "{room}");
        }
        for core in 0..usize::from(cores) {
            assert!(made[core].len() == part && refused[core] > 0, "core {core} of {cores} gets full");
            let stats = world.stats(core);
            assert_eq!((stats.rooms, stats.rooms_refused), (part as u64, refused[core]), "core {core}");
        }
        world.step("N connects on 0");
        world.step(&format!("N joins R{} u u", made[0][0]));
        assert_eq!(count(&world.log, "N joined"), 1, "a room that is there may be joined");
        // One that ends makes place for one more of the same core.
        world.step(&format!("M{} ends", made[0][1]));
        let next: Vec<usize> = (24..).filter(|n| home(&format!("R{n}")) == 0).take(2).collect();
        for n in &next {
            world.step(&format!("M{n} connects on 0"));
            world.step(&format!("M{n} joins R{n} u u"));
        }
        assert_eq!(count(&world.log, &format!(" M{} joined", next[0])), 1);
        assert_eq!(count(&world.log, &format!(" M{} close 1013", next[1])), 1);
    }
}

#[test]
fn of_three_pauses_at_once_two_have_a_pause_state() {
    const PAUSE: &str = r#"{"type":"PAUSE","roomCode":"R"}"#;
    let mut world = room(&Setup::default(), &["A"]);
    for pauses in [2, 3] {
        world.log.clear();
        (0..pauses).for_each(|_| world.say("A", PAUSE));
        world.step("wait 1000");
        assert_eq!(count(&world.log, "PAUSE pausedAtMs"), pauses);
        assert_eq!(count(&world.log, "PAUSE_STATE"), 2);
        assert_eq!(world.stats(0).pause_states_excess, pauses as u64 - 2);
    }
}

#[test]
fn a_room_has_one_handshake_pending() {
    const PLAY_A: &str = r#"{"type":"PLAY","roomCode":"R","audioUrl":"a.mp3"}"#;
    const PLAY_B: &str = r#"{"type":"PLAY","roomCode":"R","audioUrl":"b.mp3"}"#;
    let mut world = room(&Setup::default(), &["A"]);
    world.say("A", PLAY_A);
    world.say("A", PLAY_A);
    world.settle();
    assert_eq!(count(&world.log, "PREPARE_TRACK"), 1);
    assert_eq!(world.stats(0).messages_ignored, 1);
    world.say("A", PLAY_B);
    world.settle();
    assert_eq!(count(&world.log, "PREPARE_TRACK"), 2);
    world.step("wait 10000");
    assert_eq!(count(&world.log, "PLAY audioUrl:b.mp3"), 1);
    assert_eq!(count(&world.log, "PLAY audioUrl:a.mp3"), 0);
}

/// The process did not run for so long: no turn, no deadline.
fn stand_still(world: &mut World, ms: i64) {
    world.now.master_us += ms * 1000;
    world.now.unix_us += ms * 1000;
    let now = world.now;
    world.shards.iter_mut().for_each(|shard| shard.handle_deadlines(now));
}

#[test]
fn after_a_standstill_nobody_is_late_before_what_came_meanwhile_was_read() {
    let mut world = room(&Setup::default(), &["A", "B"]);
    // One whose join is on its way, one whose head is, one midway in a message, one who takes what it is owed meanwhile.
    world.step("newcomer connects on 0");
    world.open("half", 0);
    world.deliver("half", &mut b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n".to_vec());
    let mut message = masked_frame(Opcode::Text, PING.as_bytes());
    let mut rest = message.split_off(10);
    world.deliver("B", &mut message);
    world.step("A stuck");
    world.say("A", PING);
    world.settle();
    stand_still(&mut world, 60_000);
    world.settle();
    assert_eq!(world.stats(0).connections, 4, "{}", world.log);
    world.step("newcomer joins R newcomer A");
    let mut head = b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".to_vec();
    world.deliver("half", &mut head);
    world.deliver("B", &mut rest);
    let id = world.connection_of("A");
    world.free("A", id);
    world.settle();
    world.step("wait 10000");
    assert_eq!((world.stats(0).connections, world.stats(0).upgraded), (4, 4), "{}", world.log);
}

#[test]
fn who_is_late_after_a_standstill_is_closed_some_seconds_after_it() {
    let mut world = World::new(&Setup::default());
    world.step("A connects on 0");
    stand_still(&mut world, 60_000);
    world.step("wait 4900");
    assert_eq!(world.stats(0).join_timeouts, 0);
    world.step("wait 200");
    assert_eq!(world.stats(0).join_timeouts, 1);
}
