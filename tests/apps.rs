//! Echo, broadcast and plain HTTP over real sockets, with tungstenite as the judge.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod server;

use downbeat::config::Config;
use engine::App;
use server::{Server, config, say, tcp};
use std::io::{Read, Write};
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Bytes, Message};

fn echo(cores: usize) -> Server {
    Server::start(&Config { app: App::Echo, ..config(cores) })
}

#[test]
fn echo_gives_every_message_back_whatever_its_length_and_path() {
    let server = echo(2);
    for path in ["/", "/any/path?at=all"] {
        let mut client = server.connect(path);
        for length in [0, 1, 125, 126, 127, 2000, 2048, 4096, 65_535, 65_536] {
            let text = "é".repeat(length / 2);
            client.send(Message::text(&text)).unwrap();
            assert_eq!(client.read().unwrap(), Message::text(text));
            let bytes = vec![length as u8; length];
            client.send(Message::binary(bytes.clone())).unwrap();
            assert_eq!(client.read().unwrap(), Message::binary(bytes));
        }
        client.send(Message::Ping(Bytes::from_static(b"beat"))).unwrap();
        assert_eq!(client.read().unwrap(), Message::Pong(Bytes::from_static(b"beat")));
    }
}

#[test]
fn a_close_is_answered_and_the_descriptor_given_back() {
    let server = echo(1);
    let mut client = server.connect("/");
    server.await_all_armed(1);
    let farewell = CloseFrame { code: CloseCode::Normal, reason: "bye".into() };
    client.close(Some(farewell)).unwrap();
    let Message::Close(Some(answer)) = client.read().unwrap() else { panic!("no close frame") };
    assert_eq!(answer.code, CloseCode::Normal);
    assert!(matches!(client.read(), Err(tungstenite::Error::ConnectionClosed)));
    drop(client);
    server.await_total("sockets", |it| it.driver.sockets, |sockets| sockets == 0);
}

#[test]
fn a_message_over_the_limit_is_closed_with_1009() {
    let server = echo(1);
    let mut client = server.connect("/");
    client.send(Message::binary(vec![0; 65_537])).unwrap();
    let Message::Close(Some(answer)) = client.read().unwrap() else { panic!("no close frame") };
    assert_eq!(answer.code, CloseCode::Size);
}

#[test]
fn broadcast_reaches_every_connection_on_every_core() {
    let server = Server::start(&Config { app: App::Broadcast, port_per_core: true, ..config(2) });
    let ports = server.core_ports().to_vec();
    // The first port is all cores', the second core 1's alone.
    let mut clients: Vec<_> = (0..6).map(|i| server::connect(ports[i % 2], "/chat")).collect();
    server.await_all_armed(6);
    for speaker in 0..6 {
        say(&mut clients[speaker], &format!("from {speaker}"));
        for client in &mut clients {
            assert_eq!(client.read().unwrap(), Message::text(format!("from {speaker}")));
        }
    }
}

#[test]
fn without_an_upgrade_get_is_404_and_options_204_with_the_old_cors_headers() {
    let server = echo(1);
    let ask = |request: &str| {
        let mut stream = server.tcp();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let answer = ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"), "{answer}");
    assert!(answer.contains("\r\nAccess-Control-Allow-Origin: *\r\n"), "{answer}");
    assert!(answer.split("\r\n\r\n").nth(1).is_some_and(|body| !body.is_empty()), "{answer}");
    let answer = ask("OPTIONS /ws/sync HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 204 No Content\r\n"), "{answer}");
    assert!(answer.contains("\r\nAccess-Control-Allow-Origin: *\r\n"), "{answer}");
    let answer = ask("POST / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
}

#[test]
fn over_the_connection_limit_is_503_and_room_is_made_when_someone_leaves() {
    let server = Server::start(&Config { app: App::Echo, connections_max: Some(3), ..config(2) });
    let mut clients: Vec<_> = (0..3).map(|_| server.connect("/")).collect();
    server.await_all_armed(3);
    let mut refused = tcp(server.port());
    refused.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    let mut answer = String::new();
    let _ = refused.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("\r\nRetry-After: "), "{answer}");
    server.await_total("answered 503", |it| it.driver.accepts_over_limit, |refused| refused == 1);
    server.await_total("refused heads", |it| it.engine.refused_heads, |refused| refused == 1);
    drop(refused);
    drop(clients.pop());
    server.await_total("sockets", |it| it.driver.sockets, |sockets| sockets == 2);
    let mut client = server.connect("/");
    say(&mut client, "room again");
    assert_eq!(client.read().unwrap(), Message::text("room again"));
    server.await_all_armed(3);
    assert_eq!(server.total(|it| it.driver.accepts_over_limit), 1);
    assert_eq!(server.total(|it| it.driver.accepts_over_address_limit), 0);
}
