//! The operations, by name. Each sets its scene and returns what is to be repeated.
//!
//! A room's `fan-out-N` differ by their members only, so that their difference is what a member costs. Those of a
//! whole core speak to it over loopback: `core-...`.

use crate::one_core::OneCore;
use crate::scene::{Scene, join, masked, request, text};
use engine::App;
use std::hint::black_box;
use std::io;
use wire::frame::{self, Opcode};
use wire::mask;

/// What is repeated.
pub type Operation = Box<dyn FnMut()>;
/// Sets an operation's scene.
pub type Prepare = fn() -> Operation;

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
    ("connect", connect),
    ("connect-and-join", connect_and_join),
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
    ("core-echo-20", || core_echo(20)),
    ("core-echo-1024", || core_echo(1024)),
    ("core-ping", || core_room(1, &text(PING))),
    ("core-fan-out-10", || core_room(10, &text(SEEK))),
    ("core-fan-out-110", || core_room(110, &text(SEEK))),
    ("core-connect", core_connect),
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

/// Connects and stays, so it costs a place in every table, too.
fn connect() -> Operation {
    let mut scene = Scene::new(App::Rooms, 1);
    Box::new(move || {
        scene.connect();
    })
}

/// The same, in rooms of 20.
fn connect_and_join() -> Operation {
    let mut scene = Scene::new(App::Rooms, 1);
    let mut connected = 0;
    Box::new(move || {
        let id = scene.connect();
        scene.hear(id, &join(&format!("R{}", connected / 20)));
        connected += 1;
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

fn core_echo(length: usize) -> Operation {
    let bytes = masked(Opcode::Binary, &vec![b'x'; length]);
    core(App::Echo, |core| core.connect(), move |core, speaker| core.exchange(speaker, &bytes))
}

/// One member says something, and everyone gets what follows.
fn core_room(members: usize, bytes: &[u8]) -> Operation {
    let bytes = bytes.to_vec();
    core(
        App::Rooms,
        |core| core.room("R", members),
        move |core, speaker| {
            core.exchange(speaker, &bytes)?;
            core.hear_all()
        },
    )
}

/// As [`connect`].
fn core_connect() -> Operation {
    core(App::Rooms, |_| Ok(0), |core, _| core.connect().map(|_| ()))
}

/// Something on a whole core. Whoever counts has no use for half a count: what fails ends the process.
fn core(
    app: App,
    prepare: impl FnOnce(&mut OneCore) -> io::Result<usize>,
    perform: impl Fn(&mut OneCore, usize) -> io::Result<()> + 'static,
) -> Operation {
    let mut core = OneCore::new(app).unwrap_or_else(|error| panic!("a core: {error}"));
    let speaker = prepare(&mut core).unwrap_or_else(|error| panic!("its scene: {error}"));
    Box::new(move || perform(&mut core, speaker).unwrap_or_else(|error| panic!("an operation: {error}")))
}
