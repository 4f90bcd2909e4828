//! The operations of `wire` and `engine`, by name. Each sets its scene and returns what is to be repeated.
//!
//! A room's `fan-out-N` differ by their members only, so that their difference is what a member costs.

use crate::scene::{Scene, join, masked, request, text};
use engine::{App, ConnectionId};
use std::hint::black_box;
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
    ("handshake-20", handshake),
    ("pause-and-resume", pause_and_resume),
    ("track-change-1", || in_room(1, &text(TRACK_CHANGE))),
    ("playback-state", || while_playing(PLAYBACK_STATE)),
    ("request-sync", || while_playing(REQUEST_SYNC)),
    ("sync-check", || while_playing(SYNC_CHECK)),
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
];

/// As the real clients send it.
pub(crate) const PING: &str = r#"{"type":"time_ping","id":"0.7364528374651","t0":1763000000123}"#;
const PING_WITH_ROOM: &str =
    r#"{"type":"time_ping","id":"0.7364528374651","t0":1763000000123,"roomCode":"R"}"#;
pub(crate) const SEEK: &str = r#"{"type":"SEEK","roomCode":"R","seekPositionMs":61500}"#;
const TRACK_CHANGE: &str = r#"{"type":"TRACK_CHANGE","roomCode":"R","trackData":{"id":"t7","title":"Néon","artist":"A","duration":200,"audioUrl":"https://cdn.example/a.mp3"}}"#;
const PLAYBACK_STATE: &str = r#"{"type":"get_playback_state","roomCode":"R"}"#;
const REQUEST_SYNC: &str = r#"{"type":"request_sync","roomCode":"R"}"#;
/// Off by more than is let pass, so that it is answered.
const SYNC_CHECK: &str = r#"{"type":"sync_check","roomCode":"R","clientPosition":86400000}"#;
const PAUSE: &str = r#"{"type":"PAUSE","roomCode":"R"}"#;
const RESUME: &str = r#"{"type":"RESUME","roomCode":"R"}"#;

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
    let plays = ["a", "b"].map(play_request);
    let mut next = 0;
    Box::new(move || {
        next = 1 - next;
        scene.hear(host, &plays[next]);
    })
}

fn play_request(track: &str) -> Vec<u8> {
    text(&format!(
        r#"{{"type":"PLAY","roomCode":"R","audioUrl":"https://cdn.example/{track}.mp3","duration":200}}"#
    ))
}

/// A host presses play and all 20 members say that they are ready: everyone starts.
fn handshake() -> Operation {
    let mut scene = Scene::new(App::Rooms, 1);
    let members = scene.room("R", 20);
    let plays = ["a", "b"].map(play_request);
    let mut next = 0;
    Box::new(move || {
        next = 1 - next;
        start(&mut scene, &members, &plays[next]);
    })
}

/// The handshake, from the host's click to everyone's start.
fn start(scene: &mut Scene, members: &[ConnectionId], play: &[u8]) {
    let answers = scene.hear_answers(members[0], play);
    let check_id = field(&answers, b"\"checkId\":\"");
    let ready = text(&format!(
        r#"{{"type":"device_health_check_response","roomCode":"R","checkId":"{check_id}","audioLoaded":true,"deviceReady":true,"rttMs":30}}"#
    ));
    let (last, others) = members.split_last().unwrap_or((&members[0], &[]));
    others.iter().for_each(|member| scene.hear(*member, &ready));
    let answers = scene.hear_answers(*last, &ready);
    assert_ne!(field(&answers, b"\"startDelayMs\":"), "", "the last answer starts the room");
}

/// The word that follows a key in frames; empty if it does not.
fn field(frames: &[u8], key: &[u8]) -> String {
    let at = frames.windows(key.len()).position(|window| window == key);
    let value = at.map_or(&[][..], |at| &frames[at + key.len()..]);
    value.iter().take_while(|byte| byte.is_ascii_alphanumeric()).map(|byte| char::from(*byte)).collect()
}

/// A member asks while its room plays.
fn while_playing(request: &str) -> Operation {
    let mut scene = Scene::new(App::Rooms, 1);
    let members = scene.room("R", 1);
    start(&mut scene, &members, &play_request("a"));
    let bytes = text(request);
    assert!(!scene.hear_answers(members[0], &bytes).is_empty(), "it is answered");
    Box::new(move || scene.hear(members[0], &bytes))
}

/// PAUSE, the state that follows it by 300 ms, and RESUME.
fn pause_and_resume() -> Operation {
    let mut scene = Scene::new(App::Rooms, 1);
    let members = scene.room("R", 1);
    start(&mut scene, &members, &play_request("a"));
    let [pause, resume] = [PAUSE, RESUME].map(text);
    Box::new(move || {
        scene.hear(members[0], &pause);
        scene.wait(301);
        scene.hear(members[0], &resume);
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
