//! The operations that are counted, by name. Each sets its scene and returns what is to be repeated.
//!
//! A room's `fan-out-N` differ by their members only, so that their difference is what a member costs.

use crate::scene::{Scene, join, masked, request, text};
use engine::App;
use std::hint::black_box;
use wire::frame::{self, Opcode};
use wire::mask;

type Operation = Box<dyn FnMut()>;
/// Sets an operation's scene.
type Prepare = fn() -> Operation;

/// Every operation and how to prepare it.
pub const OPERATIONS: &[(&str, Prepare)] = &[
    ("ping", || in_room(1, &text(PING))),
    ("ping-with-room", || in_room(1, &text(PING_WITH_ROOM))),
    ("echo-20", || echo(20)),
    ("echo-1024", || echo(1024)),
    ("seek-1", || in_room(1, &text(SEEK))),
    ("fan-out-100", || in_room(100, &text(SEEK))),
    ("fan-out-400", || in_room(400, &text(SEEK))),
    ("play", play),
    ("join-and-leave", || join_and_leave(20)),
    ("connect-and-end", connect_and_end),
    ("upgrade", upgrade),
    ("mesh-envelope", mesh_envelope),
    ("parse-7", || parse(20)),
    ("parse-16", || parse(1024)),
    ("parse-64", || parse(70_000)),
    ("encode-7", || encode(20)),
    ("encode-16", || encode(1024)),
    ("encode-64", || encode(70_000)),
    ("unmask-20", || unmask(20)),
    ("unmask-1024", || unmask(1024)),
    ("unmask-16384", || unmask(16_384)),
    ("utf8-1024", utf8),
];

/// As the real clients send it.
const PING: &str = r#"{"type":"time_ping","id":"0.7364528374651","t0":1763000000123}"#;
const PING_WITH_ROOM: &str =
    r#"{"type":"time_ping","id":"0.7364528374651","t0":1763000000123,"roomCode":"R"}"#;
const SEEK: &str = r#"{"type":"SEEK","roomCode":"R","seekPositionMs":61500}"#;

/// One member says something, and everyone gets what follows.
fn in_room(members: usize, bytes: &[u8]) -> Operation {
    let mut scene = Scene::new(App::Rooms, 1);
    let speaker = scene.room("R", members)[0];
    let bytes = bytes.to_vec();
    Box::new(move || scene.hear(speaker, &bytes))
}

fn echo(length: usize) -> Operation {
    let mut scene = Scene::new(App::Echo, 1);
    let speaker = scene.connect();
    let bytes = masked(Opcode::Binary, &vec![b'x'; length]);
    Box::new(move || scene.hear(speaker, &bytes))
}

/// A host presses play in a room of 20: PREPARE_TRACK and the health check go out.
fn play() -> Operation {
    let mut scene = Scene::new(App::Rooms, 1);
    let host = scene.room("R", 20)[0];
    let plays = ["a", "b"].map(|track| {
        text(&format!(
            r#"{{"type":"PLAY","roomCode":"R","audioUrl":"https://cdn.example/{track}.mp3","duration":200}}"#
        ))
    });
    let mut next = 0;
    Box::new(move || {
        next = 1 - next;
        scene.hear(host, &plays[next]);
    })
}

/// A connection goes over from one room to another, each with so many members.
fn join_and_leave(members: usize) -> Operation {
    let mut scene = Scene::new(App::Rooms, 1);
    scene.room("R", members);
    scene.room("S", members);
    let id = scene.connect();
    let joins = [join("R"), join("S")];
    let mut next = 0;
    Box::new(move || {
        next = 1 - next;
        scene.hear(id, &joins[next]);
    })
}

fn connect_and_end() -> Operation {
    let mut scene = Scene::new(App::Rooms, 1);
    Box::new(move || {
        let id = scene.connect();
        let now = scene.now;
        scene.shard.handle_end(id, now);
        scene.turn();
    })
}

fn upgrade() -> Operation {
    let limits = wire::upgrade::HeadLimits { bytes_max: 8192, headers_max: 100 };
    let bytes = request();
    let mut out = Vec::with_capacity(512);
    Box::new(move || {
        out.clear();
        if let Ok(wire::upgrade::Head::Complete(request, _)) = wire::upgrade::parse(&bytes, &limits) {
            wire::upgrade::accept(&request, &mut out);
        }
        black_box(&out);
    })
}

/// A member whose room's home is the other core says something: it travels as an envelope.
fn mesh_envelope() -> Operation {
    let mut scene = Scene::new(App::Rooms, 2);
    let id = scene.connect();
    // Of many codes some have their home on the other core.
    let mut codes = (0..).map(|number| format!("R{number}"));
    let code = loop {
        let code = codes.next().unwrap_or_default();
        scene.hear(id, &join(&code));
        if !scene.envelopes(1).is_empty() {
            break code;
        }
    };
    let seek = text(&format!(r#"{{"type":"SEEK","roomCode":"{code}","seekPositionMs":61500}}"#));
    Box::new(move || {
        scene.hear(id, &seek);
        black_box(scene.envelopes(1));
    })
}

fn parse(length: usize) -> Operation {
    let bytes = masked(Opcode::Binary, &vec![b'x'; length]);
    Box::new(move || {
        let _ = black_box(frame::parse_header(black_box(&bytes[..14])));
    })
}

fn encode(length: usize) -> Operation {
    let mut out = Vec::with_capacity(16);
    Box::new(move || {
        out.clear();
        frame::push_header(&mut out, Opcode::Text, black_box(length));
        black_box(&out);
    })
}

fn unmask(length: usize) -> Operation {
    let mut bytes = vec![b'x'; length];
    Box::new(move || mask::apply(black_box(&mut bytes), [1, 2, 3, 4]))
}

fn utf8() -> Operation {
    let text = "Hello, wörld. ".repeat(74);
    Box::new(move || {
        let _ = black_box(std::str::from_utf8(black_box(&text.as_bytes()[..1024])));
    })
}
