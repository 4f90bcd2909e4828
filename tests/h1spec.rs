//! The 33 kinds of HTTP/1.1 requests of the public h1spec suite (github.com/uNetworking/h1spec), whole or cut short,
//! sound or malformed: what the suite expects and what Downbeat answers, from the parser and over a socket.
//!
//! The kinds are the suite's, the bytes are ours. It is made for servers of content: six kinds are sound requests for
//! some. Those get their own status here, and the four GETs among them open a WebSocket once they ask for one.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod server;

use downbeat::config::Config;
use engine::App;
use server::{Server, config};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::ops::RangeInclusive;
use wire::upgrade::{Head, HeadLimits, parse};

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Nothing yet: the request is not over.
    Waits,
    /// Answered with this status, then closed.
    Status(u16),
}
use Outcome::{Status, Waits};

struct Kind {
    name: &'static str,
    request: &'static str,
    /// Statuses that the suite allows; none if it wants the server to wait.
    wanted: &'static [RangeInclusive<u16>],
    ours: Outcome,
}

const fn cut(name: &'static str, request: &'static str) -> Kind {
    Kind { name, request, wanted: &[], ours: Waits }
}

const fn kind(
    name: &'static str,
    request: &'static str,
    wanted: &'static [RangeInclusive<u16>],
    ours: u16,
) -> Kind {
    Kind { name, request, wanted, ours: Status(ours) }
}

/// What requests that are cut short are the front of.
const WHOLE: &str = "GET /path HTTP/1.1\r\nHost: example.org\r\n\r\n";
const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

const BAD: &[RangeInclusive<u16>] = &[400..=499];
const BAD_OR_FAULT: &[RangeInclusive<u16>] = &[400..=599];
const FINE: &[RangeInclusive<u16>] = &[200..=299];

const KINDS: &[Kind] = &[
    cut("method cut", "G"),
    cut("target cut, before it", "GET "),
    cut("target cut, in it", "GET /path"),
    cut("target cut, behind it", "GET /path "),
    cut("version cut", "GET /path HTTP"),
    cut("request line cut", "GET /path HTTP/1.1"),
    cut("request line cut in its end", "GET /path HTTP/1.1\r"),
    cut("request line alone", "GET /path HTTP/1.1\r\n"),
    cut("field name cut", "GET /path HTTP/1.1\r\nHo"),
    cut("field value cut, before it", "GET /path HTTP/1.1\r\nHost:"),
    cut("field value cut, behind the space", "GET /path HTTP/1.1\r\nHost: "),
    cut("field value cut, in it", "GET /path HTTP/1.1\r\nHost: example.org"),
    cut("field value cut in its end", "GET /path HTTP/1.1\r\nHost: example.org\r"),
    cut("request without its empty line", "GET /path HTTP/1.1\r\nHost: example.org\r\n"),
    cut("request cut in its empty line", "GET /path HTTP/1.1\r\nHost: example.org\r\n\r"),
    kind("no version", "GET /path \r\n\r\n", BAD_OR_FAULT, 400),
    kind(
        "Expect",
        "GET /path HTTP/1.1\r\nHost: example.org\r\nExpect: 100-continue\r\n\r\n",
        &[100..=100, 200..=299],
        404,
    ),
    kind("sound GET", WHOLE, FINE, 404),
    kind(
        "sound GET, oddly written",
        "GET /path HTTP/1.1\r\nhOST:\texample.org\r\nnothing:\r\n\r\n",
        FINE,
        404,
    ),
    kind(
        "field name of forbidden characters",
        "GET /path HTTP/1.1\r\nHost: example.org\r\nX{}: a\r\n\r\n",
        BAD,
        400,
    ),
    kind("no Host", "GET /path HTTP/1.1\r\nContent-Length: 7\r\n\r\n", BAD, 400),
    kind("Host twice", "GET /path HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n\r\n", BAD, 400),
    kind(
        "Content-Length negative and past any integer",
        "GET /path HTTP/1.1\r\nHost: example.org\r\nContent-Length: -99999999999999999999999999\r\n\r\n",
        BAD,
        400,
    ),
    kind(
        "Content-Length negative",
        "GET /path HTTP/1.1\r\nHost: example.org\r\nContent-Length: -7\r\n\r\n",
        BAD,
        400,
    ),
    kind(
        "Content-Length of letters",
        "GET /path HTTP/1.1\r\nHost: example.org\r\nContent-Length: seven\r\n\r\n",
        BAD,
        400,
    ),
    kind(
        "field without a value",
        "GET /path HTTP/1.1\r\nHost: example.org\r\nX-Nothing: \r\n\r\n",
        FINE,
        404,
    ),
    kind("control character", "GET /path HTTP/1.1\r\nHost: example.org\r\nX: bell\x07\r\n\r\n", BAD, 400),
    kind("unknown version", "GET /path HTTP/7.3\r\nHost: example.org\r\n\r\n", BAD_OR_FAULT, 505),
    kind(
        "words before the method",
        "some wordsGET /path HTTP/1.1\r\nHost: example.org\r\n\r\n",
        BAD_OR_FAULT,
        400,
    ),
    kind("stray CR", "GET /path HTTP/1.1\r\nHost: example.org\r\n\rX: a\r\n\r\n", BAD, 400),
    kind(
        "POST with a body",
        "POST /path HTTP/1.1\r\nHost: example.org\r\nContent-Length: 4\r\n\r\nbody",
        &[200..=299, 404..=404],
        405,
    ),
    kind(
        "POST in chunks",
        "POST /path HTTP/1.1\r\nHost: example.org\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
        FINE,
        405,
    ),
    kind(
        "POST in chunks and with a length",
        "POST /path HTTP/1.1\r\nHost: example.org\r\nCONTENT-length: 4\r\ntransfer-ENCODING: chunked\r\n\r\n\
            4\r\nbody\r\n0\r\n\r\n",
        &[200..=299, 400..=499],
        400,
    ),
];

/// Sound requests for content, which Downbeat does not have.
const FOR_CONTENT: [&str; 6] = [
    "Expect",
    "sound GET",
    "sound GET, oddly written",
    "field without a value",
    "POST with a body",
    "POST in chunks",
];

#[test]
fn there_are_33_kinds_and_what_is_answered_is_what_the_suite_wants_but_where_it_wants_content() {
    assert_eq!(KINDS.len(), 33);
    let apart: Vec<&str> = KINDS
        .iter()
        .filter(|kind| match kind.ours {
            Waits => !kind.wanted.is_empty(),
            Status(status) => !kind.wanted.iter().any(|range| range.contains(&status)),
        })
        .map(|kind| kind.name)
        .collect();
    assert_eq!(apart, FOR_CONTENT);
}

#[test]
fn the_parser_ends_each_kind_as_told() {
    let limits = HeadLimits { bytes_max: 8192, headers_max: 100 };
    for kind in KINDS {
        let outcome = match parse(kind.request.as_bytes(), &limits) {
            Ok(Head::Incomplete) => Waits,
            Ok(Head::Complete(..)) => Status(101),
            Err(refusal) => Status(refusal.status()),
        };
        assert_eq!(outcome, kind.ours, "{}", kind.name);
    }
}

fn echo() -> Server {
    Server::start(&Config { app: App::Echo, ..config(1) })
}

/// All that comes until the server closes.
fn answer(stream: &mut TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn check_refusal(kind: &Kind, answer: &str, status: u16) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{}: {answer:?}", kind.name);
    assert!(answer.contains("\r\nConnection: close\r\n"), "{}: {answer:?}", kind.name);
    assert_eq!(
        answer.matches("\r\nConnection: close\r\n").count(),
        1,
        "one answer, then the end: {}: {answer:?}",
        kind.name
    );
}

#[test]
fn a_socket_ends_each_kind_as_told_and_closes_behind_every_answer() {
    let server = echo();
    for kind in KINDS {
        server.await_all_armed(0);
        let refused_before = server.total(|it| it.engine.refused_heads);
        let mut stream = server.tcp();
        server.await_all_armed(1);
        server.deliver(&mut stream, kind.request.as_bytes());
        match kind.ours {
            Status(status) => check_refusal(kind, &answer(&mut stream), status),
            Waits => {
                assert_eq!(server.total(|it| it.engine.refused_heads), refused_before, "{}", kind.name);
                stream.set_nonblocking(true).unwrap();
                let silence = stream.peek(&mut [0]).expect_err(kind.name);
                assert_eq!(silence.kind(), ErrorKind::WouldBlock, "{}", kind.name);
                stream.set_nonblocking(false).unwrap();
                // It was waiting for the rest, and goes on where it stopped.
                let rest = WHOLE.strip_prefix(kind.request).expect("it is the front of the whole");
                stream.write_all(rest.as_bytes()).unwrap();
                check_refusal(kind, &answer(&mut stream), 404);
            }
        }
    }
}

#[test]
fn the_sound_gets_open_a_websocket_once_they_ask_for_one() {
    let server = echo();
    let mut opened = 0;
    for kind in KINDS.iter().filter(|kind| FOR_CONTENT.contains(&kind.name)) {
        let Some(head) = kind.request.strip_suffix("\r\n\r\n").filter(|head| head.starts_with("GET")) else {
            continue;
        };
        let mut stream = server.tcp();
        stream.write_all(format!("{head}\r\n{UPGRADE}\r\n").as_bytes()).unwrap();
        // A close frame without a code, masked with zeroes: the answer then ends.
        stream.write_all(b"\x88\x80\0\0\0\0").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", kind.name);
        assert!(answer.ends_with(b"\r\n\r\n\x88\x02\x03\xe8"), "{}", kind.name);
        opened += 1;
    }
    assert_eq!(opened, 4);
}
