//! Limits that are the process's, over real sockets: connections of an address, and what a fault may cost.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod server;

use downbeat::config::Config;
use server::{PATIENCE, Server, config, hear_type, join, say};
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use tungstenite::Message;
use tungstenite::client::IntoClientRequest;
use tungstenite::protocol::frame::coding::CloseCode;

/// A connection whose address is the given one of the loopback's.
fn connect_from(host: u8, port: u16) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, host), 0)).into()).unwrap();
    socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.into()
}

fn is_refused(host: u8, port: u16) -> bool {
    let mut stream = connect_from(host, port);
    stream.write_all(b"GET /any HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 ") || answer.starts_with("HTTP/1.1 404 "), "{answer}");
    answer.starts_with("HTTP/1.1 503 ") && answer.contains("Retry-After: ")
}

#[test]
fn an_address_has_so_many_connections_on_all_cores_together() {
    let server = Server::start(&Config { address_connections_max: Some(3), ..config(3) });
    let port = server.port();
    let request = || format!("ws://127.0.0.1:{port}/ws/sync?roomCode=R").into_client_request().unwrap();
    // They are handed to their room's core, where they still count.
    let clients: Vec<_> =
        (0..3).map(|_| tungstenite::client(request(), connect_from(2, port)).unwrap().0).collect();
    assert!(is_refused(2, port));
    assert!(!is_refused(3, port), "another address has its own");
    server.await_total("refused", |it| it.driver.accepts_over_address_limit, |refused| refused == 1);
    drop(clients);
    server.await_total("sockets", |it| it.driver.sockets, |sockets| sockets == 0);
    assert!(!is_refused(2, port), "who has gone counts no more");
}

#[test]
fn a_panic_over_a_message_closes_its_connection_with_1011_and_no_other() {
    let server = Server::start(&config(1));
    let mut clients: Vec<_> = (0..3).map(|_| server.connect("/")).collect();
    for (i, client) in clients.iter_mut().enumerate() {
        join(client, "R", &format!("u{i}"));
        hear_type(client, "joined");
    }
    let mut unlucky = clients.remove(0);
    say(&mut unlucky, r#"{"type":"chaos_panic"}"#);
    let close = loop {
        if let Message::Close(frame) = unlucky.read().unwrap() {
            break frame.unwrap();
        }
    };
    assert_eq!(close.code, CloseCode::Error);
    server.await_total("faults", |it| it.engine.faults, |faults| faults == 1);
    for client in &mut clients {
        assert_eq!(hear_type(client, "user_left")["userId"], "u0");
        // The whole parser and the clocks are there again, too.
        say(client, r#"{"type":"time_ping","id":"1","t0":5}"#);
        assert_eq!(hear_type(client, "time_pong")["t0"], 5);
        say(client, r#"{"type":"get_playback_state","roomCode":"R"}"#);
        hear_type(client, "playback_state");
    }
    server.await_all_armed(2);
}
