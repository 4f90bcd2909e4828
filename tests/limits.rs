//! Limits that are the process's, over real sockets: connections of an address, what the kernel bounds, and what a fault may
//! cost.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod server;

use downbeat::config::{Config, TcpLimits};
use engine::{App, Limits};
use server::{Client, PATIENCE, Server, config, connect, hear_type, join, say};
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Instant;
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
    server.await_total("answered 503", |it| it.driver.accepts_over_limit, |refused| refused == 1);
    drop(clients);
    server.await_total("sockets", |it| it.driver.sockets, |sockets| sockets == 0);
    assert!(!is_refused(2, port), "who has gone counts no more");
}

/// Echo of messages of megabytes, which nobody is cut off for not reading.
fn patient(tcp: TcpLimits) -> Server {
    let limits = Limits {
        message_bytes_max: 8 << 20,
        outbox_bytes_max: 16 << 20,
        outbox_timeout_ms: 60_000,
        ..Limits::default()
    };
    Server::start(&Config { app: App::Echo, limits, tcp, ..config(1) })
}

/// A client that has asked for more than its socket and the server's hold, and does not read.
fn stalled(server: &Server) -> (Client, Message) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(64 << 10).unwrap();
    socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, server.port())).into()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("ws://127.0.0.1:{}/", server.port()).into_client_request().unwrap();
    let mut client = tungstenite::client(request, TcpStream::from(socket)).unwrap().0;
    let message = Message::binary(vec![7; 6 << 20]);
    client.send(message.clone()).unwrap();
    (client, message)
}

#[test]
fn whoever_acknowledges_nothing_in_time_is_ended_by_the_kernel_and_nobody_else_is() {
    let server = patient(TcpLimits { timeout_ms: 300, ..Config::default().tcp });
    // Nothing is sent to one, the other takes all it is sent.
    let mut idle = server.connect("/");
    let mut busy = server.connect("/");
    let (stalled, _) = stalled(&server);
    let message = Message::binary(vec![7; 64 << 10]);
    let start = Instant::now();
    while server.total(|it| it.driver.peers_timed_out) == 0 {
        busy.send(message.clone()).unwrap();
        assert_eq!(busy.read().unwrap(), message);
        assert!(start.elapsed() < PATIENCE, "nobody was ended");
    }
    server.await_total("sockets", |it| it.driver.sockets, |sockets| sockets == 2);
    idle.send(message.clone()).unwrap();
    assert_eq!(idle.read().unwrap(), message);
    assert_eq!(server.total(|it| it.driver.peers_timed_out), 1);
    drop(stalled);
}

#[test]
fn the_kernel_takes_little_that_it_cannot_send_and_whoever_reads_again_misses_nothing() {
    let server = patient(Config::default().tcp);
    let (mut stalled, message) = stalled(&server);
    // Without the limit the kernel would have taken 2.5 MiB and more.
    server.await_total("owed", |it| it.engine.outboxes_behind_bytes, |owed| owed > (6 << 20) - (1 << 20));
    let mut other = server.connect("/");
    say(&mut other, "beside");
    assert_eq!(other.read().unwrap(), Message::text("beside"));
    assert_eq!(stalled.read().unwrap(), message);
    server.await_total("owed", |it| it.engine.outboxes_behind_bytes, |owed| owed == 0);
}

/// Panics where its answer is written, with the parser and the clocks taken out; spelled so that it is no usual ping.
const PANIC: &str = r#"{"type": "time_ping", "id": "chaos_panic", "roomCode": "R"}"#;

fn close_code(client: &mut Client) -> CloseCode {
    loop {
        if let Message::Close(frame) = client.read().unwrap() {
            return frame.unwrap().code;
        }
    }
}

/// What needs the parser and the clocks is answered on both cores.
fn assert_all_is_answered(clients: &mut [Client]) {
    for client in clients {
        say(client, r#"{"type":"time_ping","id":"1","t0":5}"#);
        assert_eq!(hear_type(client, "time_pong")["t0"], 5);
        say(client, r#"{"type": "time_ping", "id":"1", "t0":6, "roomCode":"R"}"#);
        assert_eq!(hear_type(client, "time_pong")["t0"], 6);
        say(client, r#"{"type":"get_playback_state","roomCode":"R"}"#);
        hear_type(client, "playback_state");
    }
}

/// Three cores.
fn server() -> (Server, [u16; 2]) {
    let server = Server::start(&Config { port_per_core: true, ..config(3) });
    let ports = [server.core_ports()[1], server.core_ports()[2]];
    (server, ports)
}

/// Two members of R on each of two cores, at least one of which is not its home.
fn members(ports: [u16; 2]) -> Vec<Client> {
    let mut clients = Vec::new();
    for (i, port) in ports.repeat(2).into_iter().enumerate() {
        let mut client = connect(port, "/");
        join(&mut client, "R", &format!("u{i}"));
        hear_type(&mut client, "joined");
        clients.push(client);
    }
    clients
}

#[test]
fn a_panic_over_a_message_closes_its_connection_with_1011_and_no_other_on_any_core() {
    let (server, ports) = server();
    let mut clients = members(ports);
    for i in 0..2 {
        // Over the mesh at least once.
        let mut unlucky = clients.remove(0);
        say(&mut unlucky, PANIC);
        assert_eq!(close_code(&mut unlucky), CloseCode::Error);
        server.await_total("faults", |it| it.engine.faults, |faults| faults == i + 1);
        for client in &mut clients {
            assert_eq!(hear_type(client, "user_left")["userId"], format!("u{i}"));
        }
        assert_all_is_answered(&mut clients);
    }
    server.await_all_armed(2);
}

#[test]
fn a_panic_over_what_comes_behind_a_request_closes_its_connection_wherever_that_is_served() {
    let (server, ports) = server();
    let mut clients = members(ports);
    for port in ports {
        let mut stream = connect_from(1, port);
        let mut bytes =
            b"GET /?roomCode=R HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
                .to_vec();
        // Its mask is four zeros.
        bytes.extend([0x81, 0x80 | PANIC.len() as u8, 0, 0, 0, 0]);
        bytes.extend(PANIC.as_bytes());
        stream.write_all(&bytes).unwrap();
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).unwrap();
        assert!(heard.ends_with(&[0x88, 2, 0x03, 0xf3]), "{}", heard.escape_ascii());
    }
    server.await_total("faults", |it| it.engine.faults, |faults| faults == 2);
    server.await_total("handed in", |it| it.engine.handed_in, |handed_in| handed_in > 0);
    assert_all_is_answered(&mut clients);
    server.await_all_armed(4);
}
