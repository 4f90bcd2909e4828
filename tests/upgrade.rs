//! The upgrade request over real sockets: each rule's answer, the end behind a refusal, what comes right behind the
//! request, and that no split of the bytes changes anything.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod server;

use downbeat::config::Config;
use engine::{App, Limits, Origins};
use server::{Server, config, hear_type, tcp};
use std::io::{Read, Write};
use std::net::TcpStream;
use tungstenite::protocol::{Role, WebSocket};
use wire::frame::{self, Opcode};

/// What a browser sends.
const REQUEST: &str = "GET /ws/sync?roomCode=R&userId=u HTTP/1.1\r\nHost: example.org\r\n\
    Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nOrigin: https://app.example\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

fn echo() -> Server {
    Server::start(&Config { app: App::Echo, ..config(1) })
}

/// The request with one of its lines replaced by others, or by none.
fn with(name: &str, lines: &str) -> String {
    let at = REQUEST.find(name).unwrap();
    let end = at + REQUEST[at..].find("\r\n").unwrap() + 2;
    format!("{}{lines}{}", &REQUEST[..at], &REQUEST[end..])
}

fn masked(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::push_masked_frame(&mut bytes, opcode, payload, [7, 11, 13, 17]);
    bytes
}

/// All that the server says to these pieces, each in a receive of its own, until it closes. One connection at a time.
fn said_to<'a>(server: &Server, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    server.await_all_armed(0);
    let mut stream = server.tcp();
    server.await_all_armed(1);
    for piece in pieces {
        server.deliver(&mut stream, piece);
    }
    let mut said = Vec::new();
    stream.read_to_end(&mut said).unwrap();
    said
}

/// The one answer of a refused request, however much more is asked behind it.
fn refusal(port: u16, request: &str) -> String {
    let mut stream = tcp(port);
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The rules of the request, each broken in one way, and the status that it costs.
fn refused() -> Vec<(&'static str, String, u16)> {
    vec![
        ("POST", REQUEST.replacen("GET", "POST", 1), 405),
        ("PUT", REQUEST.replacen("GET", "PUT", 1), 405),
        ("HEAD with an upgrade", REQUEST.replacen("GET", "HEAD", 1), 405),
        ("no upgrade", with("Upgrade:", ""), 404),
        ("another upgrade", with("Upgrade:", "Upgrade: h2c\r\n"), 400),
        ("Connection without upgrade", with("Connection", "Connection: keep-alive\r\n"), 400),
        ("no key", with("Sec-WebSocket-Key", ""), 400),
        (
            "key of 21 characters",
            with("Sec-WebSocket-Key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZ==\r\n"),
            400,
        ),
        (
            "key of 23 characters",
            with("Sec-WebSocket-Key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQQ==\r\n"),
            400,
        ),
        ("key with one =", with("Sec-WebSocket-Key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQA=\r\n"), 400),
        (
            "key not in base64",
            with("Sec-WebSocket-Key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZ?==\r\n"),
            400,
        ),
        ("key twice", with("Origin", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"), 400),
        ("no version", with("Sec-WebSocket-Version", ""), 400),
        ("version 7", with("Sec-WebSocket-Version", "Sec-WebSocket-Version: 7\r\n"), 400),
        ("version 14", with("Sec-WebSocket-Version", "Sec-WebSocket-Version: 14\r\n"), 400),
        ("bare LF", REQUEST.replacen("\r\n", "\n", 1), 400),
        ("bare LF in the middle", with("Origin", "Origin: a\n"), 400),
        ("bare LFs only", REQUEST.replace("\r\n", "\n"), 400),
        ("folded field", with("Origin", "Origin: a\r\n b\r\n"), 400),
        ("field folded by a tab", with("Origin", "Origin: a\r\n\tb\r\n"), 400),
        ("space before the colon", with("Origin", "Origin : a\r\n"), 400),
        ("NUL in a value", with("Origin", "X: a\0b\r\n"), 400),
        ("escape in a value", with("Origin", "X: \x1b[2J\r\n"), 400),
        ("DEL in a value", with("Origin", "X: \x7f\r\n"), 400),
        ("CR in a value", with("Origin", "X: a\rb\r\n"), 400),
        ("tab in the target", with("GET", "GET /a\tb HTTP/1.1\r\n"), 400),
        ("no Host", with("Host", ""), 400),
        ("empty Host", with("Host", "Host:\r\n"), 400),
        ("blank Host", with("Host", "Host: \t\r\n"), 400),
        ("double Host", with("Host", "Host: a\r\nHost: a\r\n"), 400),
        ("Host of two", with("Host", "Host: a, b\r\n"), 400),
        ("Content-Length: 0", with("Origin", "Content-Length: 0\r\n"), 400),
        ("Content-Length: 5", with("Origin", "Content-Length: 5\r\n"), 400),
        ("Content-Length that is none", with("Origin", "Content-Length: x\r\n"), 400),
        ("Transfer-Encoding: chunked", with("Origin", "Transfer-Encoding: chunked\r\n"), 400),
        ("Transfer-Encoding: identity", with("Origin", "Transfer-Encoding: identity\r\n"), 400),
        ("HTTP/1.0", REQUEST.replacen("HTTP/1.1", "HTTP/1.0", 1), 505),
        ("HTTP/2.0", REQUEST.replacen("HTTP/1.1", "HTTP/2.0", 1), 505),
        ("101 fields", with("Origin", &"X: y\r\n".repeat(101 - 5)), 431),
        ("over 8 KiB", with("Origin", &format!("X: {}\r\n", "y".repeat(8192))), 431),
    ]
}

#[test]
fn each_broken_rule_is_answered_and_nothing_behind_it_is() {
    let server = echo();
    let rules = refused();
    for (rule, request, status) in &rules {
        // A second, perfect request and a frame behind the refused one: there is no keep-alive.
        let answer = refusal(server.port(), &format!("{request}{REQUEST}\u{1}"));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{rule}: {answer}");
        assert!(answer.contains("\r\nConnection: close\r\n"), "{rule}: {answer}");
        assert_eq!(answer.matches("\r\nConnection: close\r\n").count(), 1, "{rule}: {answer}");
        assert!(!answer.contains("Switching Protocols"), "{rule}: {answer}");
        let both = answer.contains("\r\nSec-WebSocket-Version: 13, 8\r\n");
        assert_eq!(both, rule.ends_with("version") || rule.starts_with("version"), "{rule}: {answer}");
    }
    server.await_total("refused", |it| it.engine.refused_heads, |refused| refused == rules.len() as u64);
    server.await_all_armed(0);
    assert_eq!(server.total(|it| it.engine.upgraded), 0);
}

#[test]
fn whoever_goes_on_after_a_refusal_is_not_heard_and_reset_in_the_end() {
    let limits = Limits { close_timeout_ms: 100, ..Limits::default() };
    let server = Server::start(&Config { app: App::Echo, limits, ..config(1) });
    let mut stream = server.tcp();
    stream.write_all(REQUEST.replacen("GET", "POST", 1).as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    // Until the reset arrives, writing succeeds.
    while stream.write_all(REQUEST.as_bytes()).is_ok() {
        std::thread::yield_now();
    }
    server.await_total("reset", |it| it.engine.close_timeouts, |resets| resets == 1);
    assert_eq!(server.total(|it| it.engine.upgraded), 0);
}

#[test]
fn both_versions_any_path_and_the_first_protocol_are_accepted() {
    let server = echo();
    let accepted = |request: &str| {
        let close = masked(Opcode::Close, b"");
        let said = said_to(&server, [&[request.as_bytes(), &close[..]].concat()[..]]);
        let head = String::from_utf8_lossy(&said).split("\r\n\r\n").next().unwrap().to_owned();
        assert!(head.starts_with("HTTP/1.1 101 ") && said.ends_with(b"\x88\x02\x03\xe8"), "{head}");
        head
    };
    let head = accepted(REQUEST);
    assert!(head.ends_with("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    accepted(&with("Sec-WebSocket-Version", "Sec-WebSocket-Version: 8\r\n"));
    for target in ["/", "/any", "//", "/a?b=c#d", "/%00", "ws://example.org/x", "/?roomCode=R"] {
        accepted(&with("GET", &format!("GET {target} HTTP/1.1\r\n")));
    }
    let head = accepted(&with("Origin", "Sec-WebSocket-Protocol: second.v1, first\r\n"));
    assert!(head.ends_with("\r\nSec-WebSocket-Protocol: second.v1"), "{head}");
    // Compression is declined by saying nothing of it.
    let head = accepted(&with("Origin", "Sec-WebSocket-Extensions: permessage-deflate\r\n"));
    assert!(!head.contains("Extensions"), "{head}");
}

/// A request, and behind it what every kind of frame and a message in fragments look like, to the close.
fn session() -> Vec<u8> {
    let mut session = REQUEST.as_bytes().to_vec();
    session.extend(masked(Opcode::Ping, b"beat"));
    session.extend(masked(Opcode::Text, "né".as_bytes()));
    let mut fragment = masked(Opcode::Text, b"\xe2\x9c");
    fragment[0] &= 0x7f;
    session.extend(fragment);
    session.extend(masked(Opcode::Pong, b""));
    let mut fragment = masked(Opcode::Text, b"\xa8!");
    fragment[0] &= 0xf0;
    session.extend(fragment);
    session.extend(masked(Opcode::Binary, &[0xff; 126]));
    session.extend(masked(Opcode::Close, b"\x0f\xa0bye"));
    session
}

#[test]
fn frames_right_behind_the_request_are_heard() {
    let server = echo();
    let said = said_to(&server, [&session()[..]]);
    let head_bytes = said.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let mut expected = Vec::new();
    frame::push_frame(&mut expected, Opcode::Pong, b"beat");
    frame::push_frame(&mut expected, Opcode::Text, "né".as_bytes());
    frame::push_frame(&mut expected, Opcode::Text, "✨!".as_bytes());
    frame::push_frame(&mut expected, Opcode::Binary, &[0xff; 126]);
    frame::push_frame(&mut expected, Opcode::Close, b"\x0f\xa0");
    assert_eq!(&said[head_bytes..], expected);
}

#[test]
fn every_split_in_two_and_byte_by_byte_ends_alike() {
    let server = echo();
    let long_lines = with("Origin", &format!("X: {}\r\nY : z\r\n", "y".repeat(300)));
    for bytes in [session(), long_lines.into_bytes()] {
        let whole = said_to(&server, [&bytes[..]]);
        for cut in 1..bytes.len() {
            let (front, back) = bytes.split_at(cut);
            assert_eq!(said_to(&server, [front, back]), whole, "cut at {cut}");
        }
        assert_eq!(said_to(&server, bytes.chunks(1)), whole, "byte by byte");
    }
}

#[test]
fn a_join_right_behind_the_request_goes_along_to_the_rooms_core() {
    let server = Server::start(&Config { port_per_core: true, ..config(4) });
    let join = br#"{"type":"join","roomCode":"R","userId":"u","hostId":"u"}"#;
    let bytes = [REQUEST.as_bytes(), &masked(Opcode::Text, join)].concat();
    let ports = server.core_ports().to_vec();
    let mut members: Vec<WebSocket<TcpStream>> = Vec::new();
    for (before, port) in ports.iter().enumerate() {
        let mut stream = tcp(*port);
        stream.write_all(&bytes).unwrap();
        let behind = read_head(&mut stream);
        let mut member = WebSocket::from_partially_read(stream, behind, Role::Client, None);
        assert_eq!(hear_type(&mut member, "joined")["isHost"], true);
        for earlier in &mut members {
            assert_eq!(hear_type(earlier, "user_joined")["totalClients"], before + 1);
        }
        members.push(member);
    }
    // The first port is every core's; of the others two at least are not the room's home.
    server.await_total("handed to the home", |it| it.engine.handed_away, |handed| handed >= 2);
}

/// Reads a 101; the bytes behind it.
fn read_head(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).unwrap();
        assert!(count > 0, "it ended in {:?}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&piece[..count]);
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            assert!(bytes.starts_with(b"HTTP/1.1 101 "));
            return bytes.split_off(at + 4);
        }
    }
}

#[test]
fn pages_of_other_origins_are_answered_403_and_counted() {
    let origins = Origins::parse("https://app.example,http://localhost:3000").unwrap();
    let limits = Limits { origins, ..Limits::default() };
    let server = Server::start(&Config { limits, port_per_core: true, ..config(2) });
    let from = |line: &str| with("Origin", line);
    // On whichever core the room lives.
    for port in server.core_ports() {
        for foreign in ["https://evil.example", "https://app.example.evil", "http://app.example", "null", ""]
        {
            let answer = refusal(*port, &from(&format!("Origin: {foreign}\r\n")));
            assert!(
                answer.starts_with("HTTP/1.1 403 Forbidden\r\nConnection: close\r\n"),
                "{foreign}: {answer}"
            );
            assert_eq!(answer.matches("\r\nConnection: close\r\n").count(), 1, "{answer}");
        }
        for allowed in ["Origin: https://app.example\r\n", "Origin: HTTP://LocalHost:3000\r\n", ""] {
            let mut stream = tcp(*port);
            stream.write_all(from(allowed).as_bytes()).unwrap();
            assert_eq!(read_head(&mut stream), b"", "{allowed}");
        }
    }
    server.await_total("refused", |it| it.engine.origins_refused, |refused| refused == 10);
    server.await_total("let in", |it| it.engine.upgraded, |upgraded| upgraded == 6);
}
