//! Rooms over real sockets: placement, joins across cores, order, stop.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod server;

use downbeat::config::Config;
use engine::Limits;
use server::{Server, config, connect, hear, hear_type, join, say};
use std::time::{Duration, Instant};
use tungstenite::Message;
use tungstenite::protocol::frame::coding::CloseCode;

#[test]
fn clients_of_one_room_meet_whatever_core_they_land_on() {
    let server = Server::start(&Config { port_per_core: true, ..config(4) });
    let ports = server.core_ports().to_vec();
    let mut clients: Vec<_> = ports.iter().map(|port| connect(*port, "/")).collect();
    for (i, client) in clients.iter_mut().enumerate() {
        join(client, "R", &format!("u{i}"));
        hear_type(client, "joined");
    }
    for (i, client) in clients.iter_mut().enumerate() {
        for other in i + 1..ports.len() {
            let joined = hear_type(client, "user_joined");
            assert_eq!(
                (&joined["userId"], &joined["totalClients"]),
                (&format!("u{other}").into(), &(other + 1).into())
            );
        }
    }
    server.await_total("sitting on several cores", |it| it.engine.envelopes_sent, |sent| sent > 0);
}

/// Ids, the homes of rooms and every table of names hang on the key that a server draws when it starts.
#[test]
fn no_two_servers_have_one_key() {
    let first_id = || {
        let server = Server::start(&config(1));
        let mut client = connect(server.port(), "/");
        join(&mut client, "R", "u");
        hear_type(&mut client, "joined")["wsId"].clone()
    };
    assert_ne!(first_id(), first_id());
}

#[test]
fn a_room_in_the_url_brings_everyone_to_one_core() {
    let server = Server::start(&Config { port_per_core: true, ..config(4) });
    let ports = server.core_ports().to_vec();
    let mut clients: Vec<_> =
        (0..12).map(|i| connect(ports[i % 4], "/ws/sync?roomCode=R&userId=u")).collect();
    for client in &mut clients {
        join(client, "R", "u");
        hear_type(client, "joined");
    }
    server.await_all_armed(12);
    // The first port is every core's (the kernel picks one), the other three are a core's own, with three
    // clients each: at least two of those are not the room's home.
    server.await_total("handed to the home", |it| it.engine.handed_away, |handed| (6..=12).contains(&handed));
    server.await_total("cores with clients", |it| u64::from(it.driver.sockets > 0), |cores| cores == 1);
    assert_eq!(server.total(|it| it.engine.envelopes_sent), 0, "an ordinary room never crosses cores");
}

#[test]
fn order_within_a_room_is_the_same_for_members_on_every_core() {
    const ROUNDS: usize = 200;
    let limits = Limits { room_local_max: 2, is_metered: false, ..Limits::default() };
    let server = Server::start(&Config { port_per_core: true, limits, ..config(4) });
    let ports = server.core_ports().to_vec();
    let clients: Vec<_> = (0..8)
        .map(|i| {
            let mut client = connect(ports[i % 4], "/ws/sync?roomCode=R&userId=u");
            join(&mut client, "R", "u");
            hear_type(&mut client, "joined");
            client
        })
        .collect();
    server.await_total("cores of the room", |it| u64::from(it.driver.sockets > 0), |cores| cores == 4);
    let speakers = clients.len();
    let threads: Vec<_> = clients
        .into_iter()
        .enumerate()
        .map(|(speaker, mut client)| {
            std::thread::spawn(move || {
                for round in 0..ROUNDS {
                    let position = round * 10 + speaker;
                    say(
                        &mut client,
                        &format!(r#"{{"type":"SEEK","roomCode":"R","seekPositionMs":{position}}}"#),
                    );
                }
                (0..ROUNDS * speakers)
                    .map(|_| hear_type(&mut client, "SEEK")["seekPositionMs"].as_u64().unwrap())
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    let heard: Vec<Vec<u64>> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    for (member, order) in heard.iter().enumerate() {
        assert_eq!(order, &heard[0], "member {member}");
    }
}

#[test]
fn a_stop_closes_every_client_with_1001_and_is_quick() {
    let server = Server::start(&config(2));
    let mut clients: Vec<_> = (0..40).map(|i| server.connect(&format!("/?roomCode=R{}", i % 7))).collect();
    for (i, client) in clients.iter_mut().enumerate() {
        join(client, &format!("R{}", i % 7), "u");
        hear_type(client, "joined");
    }
    // One that never speaks and one that is half-way through its request do not hold it up.
    let silent = server.tcp();
    let start = Instant::now();
    let stopper = std::thread::spawn(move || server.stop());
    for client in &mut clients {
        loop {
            match client.read().unwrap() {
                Message::Close(Some(frame)) => {
                    assert_eq!(frame.code, CloseCode::Away);
                    break;
                }
                Message::Text(text) => assert!(!text.contains("user_left"), "{text}"),
                _ => {}
            }
        }
    }
    stopper.join().unwrap();
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    drop(silent);
}

#[test]
fn members_that_vanish_leave_and_nothing_of_them_stays() {
    let server = Server::start(&config(2));
    let mut stays = server.connect("/?roomCode=R");
    join(&mut stays, "R", "stays");
    hear_type(&mut stays, "playback_state");
    for round in 0..20 {
        let mut goes = server.connect(if round % 2 == 0 { "/?roomCode=R" } else { "/" });
        join(&mut goes, "R", "goes");
        hear_type(&mut goes, "joined");
        assert_eq!(hear(&mut stays)["type"], "user_joined");
        if round % 3 == 0 {
            // Unread bytes make the kernel send a reset.
            let socket = socket2::SockRef::from(goes.get_ref());
            socket.set_linger(Some(Duration::ZERO)).unwrap();
        }
        drop(goes);
        let left = hear(&mut stays);
        assert_eq!((&left["type"], &left["totalClients"]), (&"user_left".into(), &1.into()));
    }
    server.await_all_armed(1);
    drop(stays);
    server.await_total("rooms", |it| it.engine.rooms, |rooms| rooms == 0);
    server.await_total("sockets", |it| it.driver.sockets, |sockets| sockets == 0);
}
