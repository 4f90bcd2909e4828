//! What clients say, as a fuzzer chooses: upgrade requests, the room protocol's messages, frames of every kind,
//! and bytes that are none of these.

use crate::input::Input;
use wire::frame::{self, Opcode};

const ROOMS: [&str; 4] = ["A", "B", "C", "room%20D"];
const USERS: [&str; 3] = [r#""u1""#, r#""u2""#, "3"];
const TRACKS: [&str; 3] = ["a.mp3", "b.mp3", ""];
const KEYS: [[u8; 4]; 2] = [[0; 4], [0x37, 0xfa, 0x21, 0x3d]];
/// Opcodes and flags of frames that stand alone, legal and not.
const FIRST_BYTES: [u8; 12] = [0x81, 0x82, 0x01, 0x00, 0x80, 0x88, 0x89, 0x8a, 0x02, 0xc1, 0x83, 0x09];
/// A long message's unit.
const LONG_STEP_BYTES: usize = 64;

/// An upgrade request that names a room, or none, or something else that comes first on a socket.
pub(crate) fn request(input: &mut Input<'_>) -> Vec<u8> {
    let target = match input.below(8) {
        0 => "/".to_owned(),
        1 => return input.some().to_vec(),
        2 => return b"GET / HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(),
        3 => return b"POST / HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(),
        choice => format!("/ws/sync?roomCode={}&userId=u", ROOMS[choice % ROOMS.len()]),
    };
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    request.into_bytes()
}

/// Something that an open connection says. `check_id` is that of the newest handshake it heard of.
pub(crate) fn words(input: &mut Input<'_>, check_id: &str) -> Vec<u8> {
    match input.below(20) {
        choice @ 0..=12 => text(&message(choice, input, check_id)),
        13 => text(&String::from_utf8_lossy(input.some())),
        14 => masked(Opcode::Binary, input.some()),
        15 => masked(Opcode::Ping, input.some()),
        16 => fragments(&message(input.below(13), input, check_id), input),
        17 => {
            let mut frame = masked(Opcode::Text, input.some());
            frame[0] = input.pick(&FIRST_BYTES);
            frame
        }
        18 => input.some().to_vec(),
        _ => text(&"x".repeat(LONG_STEP_BYTES * usize::from(input.byte()))),
    }
}

/// A message of the room protocol.
fn message(choice: usize, input: &mut Input<'_>, check_id: &str) -> String {
    let room = input.pick(&ROOMS[..3]);
    match choice {
        0 | 1 => {
            let (user, host) = (input.pick(&USERS), input.pick(&USERS));
            format!(r#"{{"type":"join","roomCode":"{room}","userId":{user},"hostId":{host}}}"#)
        }
        2 => format!(r#"{{"type":"time_ping","id":"{}","t0":1750000000123.5}}"#, input.byte()),
        3 => format!(r#"{{"type":"time_ping","id":[null],"t0":{},"roomCode":"{room}"}}"#, input.short()),
        4 => {
            let (track, delay_ms) = (input.pick(&TRACKS), input.short());
            format!(
                r#"{{"type":"PLAY","roomCode":"{room}","audioUrl":"{track}","duration":200,"startDelayMs":{delay_ms}}}"#
            )
        }
        5 => format!(
            r#"{{"type":"device_health_check_response","roomCode":"{room}","checkId":"{check_id}","audioLoaded":true,"deviceReady":{}}}"#,
            !input.flag()
        ),
        6 => format!(r#"{{"type":"PAUSE","roomCode":"{room}"}}"#),
        7 => format!(r#"{{"type":"RESUME","roomCode":"{room}","startDelayMs":{}}}"#, input.short()),
        8 => {
            format!(
                r#"{{"type":"SEEK","roomCode":"{room}","seekPositionMs":{}e{}}}"#,
                input.byte(),
                input.below(9)
            )
        }
        9 => {
            let track = input.pick(&TRACKS);
            format!(
                r#"{{"type":"TRACK_CHANGE","roomCode":"{room}","trackData":{{"audioUrl":"{track}","duration":null}}}}"#
            )
        }
        10 => format!(r#"{{"type":"get_playback_state","roomCode":"{room}"}}"#),
        11 => format!(r#"{{"type":"request_sync","roomCode":"{room}"}}"#),
        _ => format!(r#"{{"type":"sync_check","roomCode":"{room}","clientPosition":{}}}"#, input.short()),
    }
}

fn masked(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame::push_masked_frame(&mut frame, opcode, payload, KEYS[payload.len() % KEYS.len()]);
    frame
}

fn text(text: &str) -> Vec<u8> {
    masked(Opcode::Text, text.as_bytes())
}

/// A message in three fragments, a ping between them.
fn fragments(text: &str, input: &mut Input<'_>) -> Vec<u8> {
    let (front, back) = text.split_at(input.below(text.len().min(256)));
    let mut bytes = Vec::new();
    for (first, payload) in [(0x01, front), (0x89, "beat"), (0x00, ""), (0x80, back)] {
        let mut frame = masked(Opcode::Text, payload.as_bytes());
        frame[0] = first;
        bytes.extend(frame);
    }
    bytes
}
