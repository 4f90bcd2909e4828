//! What clients say: any bytes as a message.
//!
//! Whichever reader takes it (the usual ping's, the plain one, simd-json), a message means what `json` and
//! `expected`, which are naive, say it means; the naive reading itself is held to serde_json wherever that one
//! takes a side. What is echoed comes back as the same JSON values. Input: the text as it comes.

mod expected;
mod json;

use expected::{Asked, expected};
use json::{Fault, Tree};
use serde_json::Value as Serde;
use wire::answer::{Answer, Clocks};
use wire::json::Value;
use wire::request::{Ignored, Message, Parser, Request, RequestLimits, usual_ping};
use wire::text::{Ms, Nullable, Timestamp};

const LIMITS: RequestLimits = RequestLimits { room_code_bytes_max: 256, depth_max: 32 };
/// Deeper than this no reader is asked about: the naive one is recursive.
const DEPTH_MAX: usize = 100;

/// See the module.
pub fn messages(bytes: &[u8]) {
    let naive = json::parse(bytes, DEPTH_MAX);
    compare_with_serde(bytes, &naive);
    let asked = json::parse(bytes, LIMITS.depth_max).map_err(|_| Ignored::NotJson);
    let asked = asked.and_then(|tree| expected(&tree, LIMITS.room_code_bytes_max));
    assert_eq!(read(bytes), asked);
    // A field that nobody reads, with an escape in its name, is not for the plain reader.
    if let Some(harder) = with_field(bytes, r#""\u0061":0"#) {
        assert_eq!(read(&harder), asked, "by the reader that knows all of JSON");
    }
    if let Some((id, t0)) = usual_ping(bytes) {
        let echoed = vec![Some(echo(id)), Some(echo(t0))];
        let asked = asked.expect("a usual ping is a request");
        assert_eq!((asked.kind, asked.room_code, &asked.values), ("time_ping", None, &echoed));
        check_pong(Some(id), Some(t0), &echoed);
    }
}

/// The text with one field more at the front of its object.
fn with_field(bytes: &[u8], field: &str) -> Option<Vec<u8>> {
    let brace = bytes.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r'))?;
    let rest = bytes[brace..].strip_prefix(b"{")?;
    let next = rest.iter().find(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r'))?;
    let comma: &[u8] = if *next == b'}' { b"" } else { b"," };
    Some([&bytes[..=brace], field.as_bytes(), comma, rest].concat())
}

/// What the server makes of it, and, in passing, that it says the same again.
fn read(bytes: &[u8]) -> Result<Asked, Ignored> {
    let mut parser = Parser::new(LIMITS);
    let first = parser.parse(&mut bytes.to_vec(), |message| asked(&message));
    let second = parser.parse(&mut bytes.to_vec(), |message| asked(&message));
    assert_eq!(first, second, "a parser that was used is as good as new");
    first
}

fn asked(message: &Message<'_, '_>) -> Asked {
    let texts = |texts: &[Option<&str>]| texts.iter().map(|text| text.map(str::to_owned)).collect();
    let values = |values: &[Option<Value<'_, '_>>]| values.iter().map(|value| value.map(echo)).collect();
    let room_code = message.room_code.map(str::to_owned);
    let plain = |kind| Asked { kind, room_code, texts: vec![], numbers: vec![], values: vec![] };
    match &message.request {
        Request::Join { user_id, host_id } => {
            Asked { values: values(&[*user_id, *host_id]), ..plain("join") }
        }
        Request::TimePing { id, t0 } => {
            let echoed = values(&[*id, *t0]);
            check_pong(*id, *t0, &echoed);
            Asked { values: echoed, ..plain("time_ping") }
        }
        Request::Play { audio_url, duration, start_delay_ms, rtt_ms } => Asked {
            texts: texts(&[Some(audio_url)]),
            numbers: vec![*start_delay_ms, *rtt_ms],
            values: values(&[*duration]),
            ..plain("PLAY")
        },
        Request::Ready { check_id, rtt_ms } => {
            Asked { texts: texts(&[*check_id]), numbers: vec![*rtt_ms], ..plain("ready") }
        }
        Request::Pause => plain("PAUSE"),
        Request::Resume { start_delay_ms } => Asked { numbers: vec![*start_delay_ms], ..plain("RESUME") },
        Request::Seek { position_ms } => Asked { numbers: vec![Some(*position_ms)], ..plain("SEEK") },
        Request::TrackChange { track } => {
            check_track(*track);
            Asked { values: values(&[Some(*track)]), ..plain("TRACK_CHANGE") }
        }
        Request::PlaybackState => plain("get_playback_state"),
        Request::Sync => plain("request_sync"),
        Request::SyncCheck { client_position_ms } => {
            Asked { numbers: vec![Some(*client_position_ms)], ..plain("sync_check") }
        }
    }
}

/// A value as it is given back.
fn echo(value: Value<'_, '_>) -> Tree {
    json::parse(value.to_json().as_text().as_bytes(), DEPTH_MAX).expect("what is given back is JSON")
}

/// The answer gives back both values, and is JSON itself.
fn check_pong(id: Option<Value<'_, '_>>, t0: Option<Value<'_, '_>>, echoed: &[Option<Tree>]) {
    let pong = Answer::TimePong {
        id,
        t0,
        clocks: &Clocks::new(1_750_000_000_123_456, 14_310_400_123_456),
        time_offset: Nullable(None),
        playback_position: Ms(0),
        is_playing: false,
    };
    let pong = payload(&pong);
    assert_eq!([pong.field("id").cloned(), pong.field("t0").cloned()], *echoed);
}

/// A track is passed on as it came.
fn check_track(track: Value<'_, '_>) {
    let change = payload(&Answer::TrackChange { track_data: track, timestamp: Timestamp(0) });
    assert_eq!(change.field("trackData"), Some(&echo(track)));
}

/// The JSON of an answer, which is one unmasked text frame.
fn payload(answer: &Answer<'_>) -> Tree {
    let mut frame = Vec::new();
    answer.push_frame(&mut frame);
    let header = wire::frame::parse_header(&frame).ok().flatten().expect("an answer is a frame");
    assert_eq!(header.header_bytes as u64 + header.payload_bytes, frame.len() as u64);
    json::parse(&frame[header.header_bytes..], DEPTH_MAX).expect("an answer is JSON")
}

/// serde_json takes no side where it refuses what JavaScript accepts (lone surrogates), in the last bits of a
/// number, by which the largest is in its range or not, and in an object that has a name which means something to itself.
fn compare_with_serde(bytes: &[u8], naive: &Result<Tree, Fault>) {
    match (serde_json::from_slice::<Serde>(bytes), naive) {
        (_, Ok(tree)) if has_private_name(tree) => {}
        (Ok(value), Ok(tree)) => assert!(is_same(tree, &value), "{tree:?} is not {value:?}"),
        (Ok(_), Err(fault)) => assert!(matches!(fault, Fault::Depth | Fault::Range), "{fault:?}"),
        (Err(_), Ok(tree)) => {
            assert!(has_surrogate_escape(bytes) || has_largest_number(tree), "serde_json refuses it");
        }
        (Err(_), Err(_)) => {}
    }
}

fn has_private_name(tree: &Tree) -> bool {
    let is_private = |name: &str| name.starts_with("$serde_json::private::");
    matches!(tree, Tree::Object(fields) if fields.iter().any(|(name, _)| is_private(name)))
        || tree.children().any(has_private_name)
}

fn has_largest_number(tree: &Tree) -> bool {
    const LARGEST: f64 = f64::MAX * (1.0 - 8.0 * f64::EPSILON);
    matches!(tree, Tree::Number(number) if number.abs() >= LARGEST) || tree.children().any(has_largest_number)
}

fn has_surrogate_escape(bytes: &[u8]) -> bool {
    bytes
        .windows(4)
        .any(|four| matches!(four, [b'\\', b'u', b'd' | b'D', b'8'..=b'9' | b'a'..=b'f' | b'A'..=b'F']))
}

fn is_same(tree: &Tree, value: &Serde) -> bool {
    match (tree, value) {
        (Tree::Null, Serde::Null) => true,
        (Tree::Flag(a), Serde::Bool(b)) => a == b,
        (Tree::Number(a), Serde::Number(b)) => b
            .as_f64()
            .is_some_and(|b| (a - b).abs() <= a.abs() * 4.0 * f64::EPSILON + 4.0 * f64::from_bits(1)),
        (Tree::Text(a), Serde::String(b)) => a == b,
        (Tree::List(a), Serde::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b)),
        (Tree::Object(fields), Serde::Object(b)) => {
            fields.iter().all(|(name, _)| b.contains_key(name))
                && b.iter().all(|(name, b)| tree.field(name).is_some_and(|a| is_same(a, b)))
        }
        _ => false,
    }
}
