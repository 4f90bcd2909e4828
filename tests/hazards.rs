//! What the kernel may do to a shard, provoked over real sockets: no buffers, a full completion queue,
//! short sends, resets, lost wake-ups. After each, every open connection has its receive armed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod server;

use downbeat::config::{Config, RingSettings};
use engine::{App, Limits};
use server::{Client, PATIENCE, Server, config, connect, hear_type, join, say};
use std::time::{Duration, Instant};
use tungstenite::Message;

fn echo_with(ring: RingSettings) -> Server {
    let limits = Limits { message_bytes_max: 1 << 22, outbox_bytes_max: 1 << 26, ..Limits::default() };
    Server::start(&Config { app: App::Echo, ring, limits, ..config(1) })
}

fn ring() -> RingSettings {
    Config::default().ring
}

/// Every client sends before any reads, so that the server's turn has all of them at once.
fn all_speak(clients: &mut [Client], messages: usize, length: usize) {
    for round in 0..messages {
        for client in &mut *clients {
            client.send(Message::binary(vec![round as u8; length])).unwrap();
        }
    }
    for client in clients {
        for round in 0..messages {
            assert_eq!(next_message(client), Message::binary(vec![round as u8; length]));
        }
    }
}

fn next_message(client: &mut Client) -> Message {
    loop {
        let message = client.read().unwrap();
        if !message.is_ping() {
            return message;
        }
    }
}

#[test]
fn receives_that_find_no_buffer_are_armed_again() {
    for buffers_shared in [true, false] {
        let server = echo_with(RingSettings { buffers: 2, buffer_bytes: 256, buffers_shared, ..ring() });
        let mut clients: Vec<_> = (0..60).map(|_| server.connect("/")).collect();
        let start = Instant::now();
        while server.total(|it| it.driver.buffers_exhausted) == 0 {
            all_speak(&mut clients, 8, 600);
            assert!(start.elapsed() < PATIENCE, "two buffers were never too few");
        }
        server.await_all_armed(60);
    }
}

/// Every message's bytes are checked, of all lengths, so that most of them are cut by some buffer's end.
#[test]
fn messages_cut_by_buffers_ends_come_through_whole() {
    for buffers_shared in [true, false] {
        let server = echo_with(RingSettings { buffers: 4, buffer_bytes: 4096, buffers_shared, ..ring() });
        let mut clients: Vec<_> = (0..20).map(|_| server.connect("/")).collect();
        for length in (0..6_000).step_by(371) {
            all_speak(&mut clients, 3, length);
        }
        server.await_all_armed(20);
    }
}

#[test]
fn a_completion_queue_that_runs_over_loses_nothing() {
    let server = echo_with(RingSettings { sq_entries: 8, cq_entries: 16, ..ring() });
    let mut clients: Vec<_> = (0..200).map(|_| server.connect("/")).collect();
    let start = Instant::now();
    while server.total(|it| it.ring.overflows) == 0 {
        all_speak(&mut clients, 4, 100);
        assert!(start.elapsed() < PATIENCE, "16 entries were never too few");
    }
    server.await_all_armed(200);
}

#[test]
fn with_a_latency_budget_messages_gather_while_a_core_sleeps() {
    if !has_minimal_wait() {
        return;
    }
    let server = echo_with(RingSettings { batch_us: 50_000, ..ring() });
    let mut clients: Vec<_> = (0..100).map(|_| server.connect("/")).collect();
    let queued = |rounds: u64| {
        server.await_total("answers", |it| it.engine.frames_queued, |queued| queued == 100 + 100 * rounds);
        server.total(|it| it.turns)
    };
    let start = Instant::now();
    for round in 0.. {
        let turns_before = queued(round);
        all_speak(&mut clients, 1, 20);
        if queued(round + 1) - turns_before < 20 {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "a hundred messages never shared a few turns");
    }
    server.await_all_armed(100);
}

#[test]
fn connections_that_say_nothing_rest_and_wake() {
    let limits = Limits { ping_interval_ms: 100, pings_unanswered_max: 100, ..Limits::default() };
    let server = Server::start(&Config { app: App::Echo, limits, ..config(1) });
    let mut clients: Vec<_> = (0..50).map(|_| server.connect("/")).collect();
    server.await_total("resting", |it| it.driver.resting, |resting| resting == 50);
    all_speak(&mut clients[..20], 3, 20);
    server.await_all_armed(50);
    server.await_total("resting again", |it| it.driver.resting, |resting| resting == 50);
    drop(clients);
    server.await_all_armed(0);
}

/// Linux 6.12 and newer.
fn has_minimal_wait() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(12))
}

#[test]
fn a_send_that_the_kernel_takes_in_parts_goes_on_where_it_stopped() {
    let server = echo_with(ring());
    let mut client = server.connect("/");
    let payload: Vec<u8> = (0..4_000_000_u32).map(|i| (i % 251) as u8).collect();
    let start = Instant::now();
    while server.total(|it| it.driver.sends_short) == 0 {
        for _ in 0..3 {
            // Nothing is read meanwhile: the socket's buffers fill up.
            client.send(Message::binary(payload.clone())).unwrap();
        }
        for _ in 0..3 {
            assert_eq!(client.read().unwrap(), Message::binary(payload.clone()));
        }
        assert!(start.elapsed() < PATIENCE, "no send was short");
    }
    server.await_all_armed(1);
}

#[test]
fn a_reader_that_stops_is_cut_off_and_its_room_goes_on() {
    let server = Server::start(&Config {
        limits: Limits { outbox_bytes_max: 16 * 1024, is_metered: false, ..Limits::default() },
        ..config(1)
    });
    let mut speaker = server.connect("/?roomCode=R");
    join(&mut speaker, "R", "speaker");
    hear_type(&mut speaker, "playback_state");
    let mut stalled = server.connect("/?roomCode=R");
    join(&mut stalled, "R", "stalled");
    hear_type(&mut speaker, "user_joined");
    let track =
        format!(r#"{{"type":"TRACK_CHANGE","roomCode":"R","trackData":{{"pad":"{}"}}}}"#, "x".repeat(10_000));
    let start = Instant::now();
    loop {
        say(&mut speaker, &track);
        let heard = server::hear(&mut speaker);
        if heard["type"] == "user_left" {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "it was never cut off");
    }
    server.await_total("outboxes overflowed", |it| it.engine.outboxes_overflowed, |cut| cut == 1);
    drop(stalled);
    server.await_all_armed(1);
}

#[test]
fn resets_in_the_middle_of_everything_leave_nothing_behind() {
    let server = echo_with(ring());
    for round in 0..200_usize {
        let mut client = server.connect("/");
        client.send(Message::binary(vec![1; round * 37])).unwrap();
        if round % 2 == 0 {
            client.read().unwrap();
        }
        socket2::SockRef::from(client.get_ref()).set_linger(Some(Duration::ZERO)).unwrap();
    }
    server.await_total("sockets", |it| it.driver.sockets, |sockets| sockets == 0);
    server.await_total("connections", |it| it.engine.connections, |connections| connections == 0);
}

/// Two members on different cores take turns, so each message meets a parked core; one lost wake-up and the
/// game stands still.
#[test]
fn no_wake_up_is_lost_between_cores() {
    const TURNS: usize = 3_000;
    let limits = Limits { is_metered: false, ..Limits::default() };
    let server = Server::start(&Config { port_per_core: true, limits, ..config(4) });
    let ports = server.core_ports().to_vec();
    let mut players: Vec<_> = ports.iter().map(|port| connect(*port, "/")).collect();
    for player in &mut players {
        join(player, "R", "u");
        hear_type(player, "joined");
    }
    for turn in 0..TURNS {
        let count = players.len();
        say(
            &mut players[turn % count],
            &format!(r#"{{"type":"SEEK","roomCode":"R","seekPositionMs":{turn}}}"#),
        );
        for player in &mut players {
            assert_eq!(hear_type(player, "SEEK")["seekPositionMs"], turn);
        }
    }
    server.await_total("envelopes", |it| it.engine.envelopes_sent, |sent| sent as usize >= TURNS);
}

#[test]
fn an_idle_server_does_not_turn() {
    let server = Server::start(&config(2));
    let _client = server.connect("/");
    server.await_all_armed(1);
    let turns = || server.total(|it| it.turns);
    let before = turns();
    // The one condition that has no event to await: that nothing happens.
    std::thread::sleep(Duration::from_millis(300));
    // A few may have been under way; a loop that does not park would turn hundreds of thousands of times.
    assert!(turns() - before <= 8, "{} turns", turns() - before);
}
