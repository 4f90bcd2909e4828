//! How a connection ends over a real socket: the close frame says why, then FIN, and in the end a reset. What each
//! fault is closed with is a table in engine/tests/conformance.rs; these are the bytes that a peer sees.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod server;

use downbeat::config::Config;
use engine::{App, Limits};
use server::{PATIENCE, Server, config};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Instant;
use wire::frame::{self, Opcode};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

fn echo(limits: Limits) -> Server {
    Server::start(&Config { app: App::Echo, limits, ..config(1) })
}

/// A frame as a client sends it, its first byte as given.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::push_masked_frame(&mut bytes, Opcode::Text, payload, [2, 3, 5, 7]);
    bytes[0] = first;
    bytes
}

/// Upgraded, and the answer to that read.
fn upgraded(server: &Server) -> TcpStream {
    let mut stream = server.tcp();
    stream.write_all(REQUEST).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    stream
}

/// The code of the close frame that is all that comes until FIN.
fn close_code(stream: &mut TcpStream) -> u16 {
    let mut said = Vec::new();
    stream.read_to_end(&mut said).unwrap();
    let [0x88, 2, high, low] = said[..] else { panic!("no close frame alone: {said:02x?}") };
    u16::from_be_bytes([high, low])
}

#[test]
fn the_close_frame_says_why_and_fin_follows_it() {
    let server = echo(Limits { fragments_max: 4, message_bytes_max: 1000, ..Limits::default() });
    let too_many = [masked(0x01, b""), masked(0x00, b"").repeat(4)].concat();
    let faults: [(&str, Vec<u8>, u16); 9] = [
        ("unmasked", vec![0x81, 1, b'x'], 1002),
        ("reserved bit", vec![0xc1], 1002),
        ("reserved opcode", vec![0x83], 1002),
        ("length of 2^63 by its header alone", vec![0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0], 1002),
        (
            "length of 2^63 - 1 by its header alone",
            [&[0x82, 0xff, 0x7f][..], &[0xff; 7], &[0; 4]].concat(),
            1009,
        ),
        ("one byte over by its header alone", vec![0x82, 0xfe, 0x03, 0xe9, 0, 0, 0, 0], 1009),
        ("not UTF-8", masked(0x81, b"\xff"), 1007),
        ("not UTF-8 in the first of its fragments", masked(0x01, b"ab\xc0"), 1007),
        ("five fragments", too_many, 1008),
    ];
    for (fault, bytes, code) in &faults {
        let mut stream = upgraded(&server);
        stream.write_all(bytes).unwrap();
        assert_eq!(close_code(&mut stream), *code, "{fault}");
    }
    for code in [1000_u16, 1001, 1014, 3000, 4999] {
        let mut stream = upgraded(&server);
        stream.write_all(&masked(0x88, &[&code.to_be_bytes()[..], b"bye"].concat())).unwrap();
        assert_eq!(close_code(&mut stream), code, "its own code comes back");
    }
    server.await_all_armed(0);
    assert_eq!(server.total(|it| it.engine.close_timeouts), 0, "who ends its side is not reset");
}

#[test]
fn a_peer_that_does_not_end_its_side_is_reset_when_its_time_is_over() {
    let server = echo(Limits { close_timeout_ms: 100, ..Limits::default() });
    for farewell in [&masked(0x88, b"")[..], &[0xff]] {
        let resets_before = server.total(|it| it.engine.close_timeouts);
        let mut stream = upgraded(&server);
        stream.write_all(farewell).unwrap();
        close_code(&mut stream);
        server.await_total("resets", |it| it.engine.close_timeouts, |resets| resets == resets_before + 1);
        let start = Instant::now();
        let error = loop {
            if let Some(error) = stream.take_error().unwrap() {
                break error;
            }
            assert!(start.elapsed() < PATIENCE, "no reset came");
            std::thread::yield_now();
        };
        // A reset behind FIN is a broken pipe to the peer's kernel.
        assert!([ErrorKind::BrokenPipe, ErrorKind::ConnectionReset].contains(&error.kind()), "{error}");
    }
    server.await_all_armed(0);
}

#[test]
fn nothing_is_said_and_nothing_heard_behind_a_close_frame() {
    let server = echo(Limits::default());
    let mut stream = upgraded(&server);
    let behind =
        [masked(0x88, b"\x03\xe8"), masked(0x81, b"late"), masked(0x89, b"later"), vec![0xff; 50]].concat();
    stream.write_all(&behind).unwrap();
    assert_eq!(close_code(&mut stream), 1000);
    drop(stream);
    server.await_all_armed(0);
    assert_eq!(server.total(|it| it.engine.messages_received), 0);
    assert_eq!(server.total(|it| it.engine.protocol_errors), 0);
}
