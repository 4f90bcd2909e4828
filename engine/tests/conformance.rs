//! What the specifications ask of a connection, seen at the engine's edge: why it is refused, what it is closed with,
//! that FIN follows and in the end a reset, and that nothing in a message's JSON costs the connection.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod world;

use engine::{App, Limits, Origins};
use wire::frame::Opcode;
use world::{Setup, World, masked_frame};

/// An upgrade request with this field, or with none more.
fn request(field: &str) -> Vec<u8> {
    format!(
        "GET /?roomCode=R HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{field}\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    .into_bytes()
}

fn echo(limits: Limits) -> Setup {
    Setup { app: App::Echo, limits, ..Setup::default() }
}

/// A frame as a client sends it, its first byte as given.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = masked_frame(Opcode::Binary, payload);
    bytes[0] = first;
    bytes
}

/// Masked frame headers alone: the payload never comes.
fn header(first: u8, length: &[u8]) -> Vec<u8> {
    [&[first], length, &[1, 2, 3, 4]].concat()
}

/// What is wrong with a connection's bytes, and the code that it is closed with. The bytes are all that comes: the
/// fault is seen before the frame or the message ends.
fn faults() -> Vec<(String, Vec<u8>, u16)> {
    let mut faults = Vec::new();
    let mut add = |what: String, bytes: Vec<u8>, code: u16| faults.push((what, bytes, code));
    for bits in 1..8_u8 {
        add(format!("reserved bits {bits:03b}"), vec![0x81 | bits << 4], 1002);
    }
    for opcode in (0x3..=0x7_u8).chain(0xb..=0xf) {
        add(format!("opcode {opcode:x}"), vec![0x80 | opcode], 1002);
    }
    for opcode in 0x8..=0xa_u8 {
        add(format!("control {opcode:x} in fragments"), vec![opcode], 1002);
        add(format!("control {opcode:x} of 126 bytes"), vec![0x80 | opcode, 0xfe], 1002);
        add(format!("control {opcode:x} unmasked"), vec![0x80 | opcode, 0], 1002);
    }
    add("text unmasked".to_owned(), vec![0x81, 1, b'x'], 1002);
    add("length of 125 in two bytes".to_owned(), header(0x82, &[0xfe, 0, 125]), 1002);
    add("length of 125 in eight bytes".to_owned(), header(0x82, &[0xff, 0, 0, 0, 0, 0, 0, 0, 125]), 1002);
    add(
        "length of 65,535 in eight bytes".to_owned(),
        header(0x82, &[0xff, 0, 0, 0, 0, 0, 0, 255, 255]),
        1002,
    );
    add("length of 2^63".to_owned(), header(0x82, &[0xff, 128, 0, 0, 0, 0, 0, 0, 0]), 1002);
    add("length of 2^63 - 1".to_owned(), header(0x82, &[0xff, 127, 255, 255, 255, 255, 255, 255, 255]), 1009);
    add("length of 65,537".to_owned(), header(0x82, &[0xff, 0, 0, 0, 0, 0, 1, 0, 1]), 1009);
    let half = masked(0x02, &[0; 40_000]);
    add("fragments of 65,537 bytes".to_owned(), [half, header(0x00, &[0xfe, 0x63, 0xc1])].concat(), 1009);
    add("continuation of nothing".to_owned(), masked(0x80, b"x"), 1002);
    add("a message within another".to_owned(), [masked(0x01, b"x"), masked(0x81, b"y")].concat(), 1002);
    add(
        "1,025 empty fragments".to_owned(),
        [masked(0x02, b""), masked(0x00, b"").repeat(1024)].concat(),
        1008,
    );
    add("text that is not UTF-8".to_owned(), masked(0x81, b"ab\xff"), 1007);
    add("text that ends in a character".to_owned(), masked(0x81, b"ab\xe2\x9c"), 1007);
    let (sound, broken) =
        ([masked(0x01, "κ".as_bytes()), masked(0x00, b"\xed")].concat(), masked(0x00, b"\xa0"));
    add("text that breaks at a fragment's border".to_owned(), [sound, broken].concat(), 1007);
    add("a close code of one byte".to_owned(), masked(0x88, b"\x03"), 1002);
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535_u16] {
        add(format!("close code {code}"), masked(0x88, &code.to_be_bytes()), 1002);
    }
    add("a close reason that is not UTF-8".to_owned(), masked(0x88, b"\x03\xe8\xc0\xaf"), 1007);
    // No faults: the peer's own code comes back.
    add("a close without a code".to_owned(), masked(0x88, b""), 1000);
    for code in [1000, 1001, 1002, 1003, 1007, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999_u16] {
        add(format!("close code {code}"), masked(0x88, &[&code.to_be_bytes()[..], b"why"].concat()), code);
    }
    faults
}

/// The log of a connection that says these pieces, and its world.
fn said<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> World {
    let mut world = World::new(&echo(Limits::default()));
    world.connect("A", 0, "/");
    world.settle();
    world.log.clear();
    for piece in pieces {
        world.deliver("A", &mut piece.to_vec());
        world.settle();
    }
    world
}

#[test]
fn each_fault_has_its_close_code_then_fin_and_a_reset_after_5_s() {
    for (what, bytes, code) in faults() {
        let mut world = said([&bytes[..]]);
        assert_eq!(world.log, format!("0 A close {code}\n0 A fin\n"), "{what}");
        world.step("wait 4900");
        assert_eq!(world.stats(0).close_timeouts, 0, "{what}: it has 5 s to end its side");
        world.step("wait 200");
        assert_eq!(world.log, format!("0 A close {code}\n0 A fin\n5000 A reset\n"), "{what}");
        let stats = world.stats(0);
        assert_eq!((stats.close_timeouts, stats.connections), (1, 0), "{what}");
        // A close frame that is wrong is the peer's error, too; one that is right is none.
        let is_fault = !what.starts_with("a close without") && !what.ends_with(&code.to_string());
        assert_eq!(stats.protocol_errors + stats.messages_too_big, u64::from(is_fault), "{what}");
    }
}

#[test]
fn each_fault_ends_alike_byte_by_byte_and_a_peer_that_ends_its_side_is_let_go() {
    for (what, bytes, code) in faults() {
        // Long ones are cut at every 97th byte, which is no divisor of anything here.
        let piece = if bytes.len() < 1000 { 1 } else { 97 };
        let mut world = said(bytes.chunks(piece));
        world.step("A ends");
        assert_eq!(world.log, format!("0 A close {code}\n0 A fin\n0 A closed\n"), "{what}");
    }
}

#[test]
fn a_drain_says_1001_and_a_link_that_is_full_1013_then_fin_and_a_reset_after_5_s() {
    let mut world = said([]);
    world.step("drain");
    world.step("wait 5100");
    assert_eq!(world.log, "0 A close 1001\n0 A fin\n5000 A reset\n");

    let limits = Limits { mesh_backlog_max: 3, ..Limits::default() };
    let mut world = World::new(&Setup { cores: 2, limits, ..Setup::default() });
    // H0's home is core 0 under the world's seed.
    for line in ["A connects on 0", "A joins H0 u u", "B connects on 1", "B joins H0 u u", "stall 0"] {
        world.step(line);
    }
    for _ in 0..3 {
        world.step(r#"B {"type":"PAUSE","roomCode":"H0"}"#);
    }
    world.log.clear();
    world.step(r#"B {"type":"PAUSE","roomCode":"H0"}"#);
    world.step("wait 5100");
    let heard: Vec<&str> = world.log.lines().filter(|line| line.contains(" B ")).collect();
    assert_eq!(heard, ["0 B close 1013", "0 B fin", "5000 B reset"]);
}

/// Everything that browsers and the proxies before a server add, the longest room code escaped, and 4 KiB of cookies.
fn largest_request() -> Vec<u8> {
    let proxied: String =
        (0..16).map(|i| format!("X-Forwarded-Something-{i}: 203.0.113.7, 198.51.100.4\r\n")).collect();
    format!(
        "GET /ws/sync?roomCode={}&userId={} HTTP/1.1\r\nHost: beat.example.org\r\nConnection: Upgrade\r\n\
         Pragma: no-cache\r\nCache-Control: no-cache\r\nUser-Agent: {}\r\nUpgrade: websocket\r\n\
         Origin: https://beat.example.org\r\nSec-WebSocket-Version: 13\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
         Accept-Language: en-GB,en-US;q=0.9,en;q=0.8,de;q=0.7\r\nCookie: {}\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n{proxied}\r\n",
        "%C3%A9".repeat(128),
        "x".repeat(36),
        "Mozilla/5.0 (Linux; Android 10; K) ".repeat(6),
        "x".repeat(4096),
    )
    .into_bytes()
}

#[test]
fn a_browsers_largest_request_in_pieces_over_nine_seconds_stays_clear_of_the_heads_limits() {
    let request = largest_request();
    assert!(request.len() > 6 * 1024 && request.len() < 7 * 1024, "{}", request.len());
    let mut world = World::new(&Setup::default());
    world.open("A", 0);
    for piece in request.chunks(request.len().div_ceil(10)) {
        world.step("wait 900");
        world.deliver("A", &mut piece.to_vec());
    }
    world.settle();
    assert_eq!(world.log, "9000 A 101 on core 0\n");
}

#[test]
fn a_head_past_its_bytes_or_fields_is_431_and_counted() {
    let field = "X-Field: y\r\n";
    // Of the request's own there are five.
    let fields = |count: usize| request(&field.repeat(count - 5));
    let long = |bytes: usize| {
        let unpadded = request("X: \r\n").len();
        request(&format!("X: {}\r\n", "y".repeat(bytes - unpadded)))
    };
    for (bytes, status) in [(fields(100), 101), (fields(101), 431), (long(8192), 101), (long(8193), 431)] {
        for piece in [bytes.len(), 1000, 1] {
            let mut world = World::new(&Setup::default());
            world.open("A", 0);
            for piece in bytes.chunks(piece) {
                world.deliver("A", &mut piece.to_vec());
                world.settle();
            }
            assert!(
                world.log.starts_with(&format!("0 A {status} on core 0\n")),
                "{}: {}",
                bytes.len(),
                world.log
            );
            assert_eq!(world.stats(0).heads_too_large, u64::from(status == 431));
        }
    }
}

#[test]
fn a_page_of_another_origin_is_answered_403_before_it_is_sent_to_its_rooms_core() {
    let origins = Origins::parse("https://app.example,http://localhost:3000").unwrap();
    let limits = Limits { origins, ..Limits::default() };
    for core in 0..2 {
        let mut world = World::new(&Setup { cores: 2, limits: limits.clone(), ..Setup::default() });
        for (number, (field, status)) in [
            ("Origin: https://app.example\r\n", 101),
            ("Origin: HTTPS://App.Example\r\n", 101),
            ("Origin: http://localhost:3000\r\n", 101),
            ("", 101),
            ("Origin: https://evil.example\r\n", 403),
            ("Origin: http://app.example\r\n", 403),
            ("Origin: https://app.example:8443\r\n", 403),
            ("Origin: null\r\n", 403),
            ("Origin:\r\n", 403),
            // What version 13 does not call it is no Origin.
            ("Sec-WebSocket-Origin: https://evil.example\r\n", 101),
        ]
        .into_iter()
        .enumerate()
        {
            let name = format!("c{number}");
            world.log.clear();
            world.open(&name, core);
            world.deliver(&name, &mut request(field));
            world.settle();
            assert!(world.log.starts_with(&format!("0 {name} {status} on core ")), "{field}: {}", world.log);
            assert_eq!(
                world.log.ends_with(&format!("0 {name} fin\n")),
                status == 403,
                "{field}: {}",
                world.log
            );
        }
        let count = |figure: fn(&engine::Stats) -> u64| figure(world.stats(0)) + figure(world.stats(1));
        assert_eq!(count(|it| it.origins_refused), 5);
        assert_eq!((count(|it| it.refused_heads), count(|it| it.upgraded)), (5, 5));
        assert_eq!(world.stats(usize::from(core)).origins_refused, 5, "where it came, not where its room is");
    }
}

#[test]
fn without_a_list_every_page_may_connect() {
    let mut world = World::new(&Setup::default());
    for (name, field) in [("A", "Origin: https://anyone.example\r\n"), ("B", "Origin: null\r\n"), ("C", "")] {
        world.open(name, 0);
        world.deliver(name, &mut request(field));
        world.settle();
    }
    assert_eq!(world.log, "0 A 101 on core 0\n0 B 101 on core 0\n0 C 101 on core 0\n");
}

/// Difference 1 of the room protocol, and what JSON allows that programs trip over.
#[test]
fn nothing_in_a_messages_json_costs_the_connection() {
    let deep = |depth: usize| {
        let (open, close) = ("[".repeat(depth - 2), "]".repeat(depth - 2));
        format!(r#"{{"type":"TRACK_CHANGE","roomCode":"R","trackData":{{"a":{open}{close}}}}}"#)
    };
    let number = |kind: &str, name: &str, number: &str| {
        format!(r#"{{"type":"{kind}","roomCode":"R","{name}":{number}}}"#)
    };
    let mut messages = vec![deep(32), deep(33), "[".repeat(60_000), r#"{"a":"#.repeat(12_000)];
    for value in
        ["1e400", "-1e400", "1.7976931348623157e308", "-1.7976931348623157e308", "5e-324", "-0", "-0.0"]
    {
        for (kind, name) in [
            ("SEEK", "seekPositionMs"),
            ("RESUME", "startDelayMs"),
            ("sync_check", "clientPosition"),
            ("time_ping", "t0"),
            ("time_ping", "id"),
            ("join", "userId"),
        ] {
            messages.push(number(kind, name, value));
        }
        messages.push(format!(
            r#"{{"type":"PLAY","roomCode":"R","audioUrl":"a","duration":{value},"startDelayMs":{value},"rttMs":{value}}}"#
        ));
    }
    for text in [
        r#"{"type":"PAUSE","type":"SEEK","roomCode":"other","roomCode":"R","seekPositionMs":1,"seekPositionMs":2}"#,
        r#"{"type":"join","roomCode":"R","userId":"\ud800","hostId":"\udc00"}"#,
        r#"{"type":"TRACK_CHANGE","roomCode":"R","trackData":{"\ud800":"\udfff","\ud800":"twice"}}"#,
        r#"{"type":"PLAY","roomCode":"R","audioUrl":"\ud800"}"#,
        r#"{"type":"\ud800","roomCode":"R"}"#,
        "null",
        "",
    ] {
        messages.push(text.to_owned());
    }
    for cores in [1, 2] {
        let limits = Limits { is_metered: false, ..Limits::default() };
        let mut world = World::new(&Setup { cores, limits, ..Setup::default() });
        world.step("A connects on 0");
        world.step("A joins R u-A u-A");
        for message in &messages {
            world.say("A", message);
            world.settle();
            world.log.clear();
            world.step(r#"A {"type":"time_ping","id":1,"t0":2,"roomCode":"R"}"#);
            let shown = &message[..message.len().min(100)];
            assert!(world.log.contains("A time_pong id:1, t0:2"), "{shown}: {}", world.log);
        }
        world.step("wait 20000");
        assert_eq!(world.stats(0).protocol_errors, 0);
        assert!(world.stats(0).messages_ignored > 10, "{}", world.stats(0).messages_ignored);
    }
}
