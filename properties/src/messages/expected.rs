//! What a message asks for, by the tables of the room protocol, from its naive reading.

use super::json::Tree;
use wire::request::{DELAY_MS_MAX, Ignored, POSITION_MS_MAX};

/// A request with its values, in a form that both sides can be put into.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Asked {
    pub(super) kind: &'static str,
    pub(super) room_code: Option<String>,
    /// Texts that the server reads.
    pub(super) texts: Vec<Option<String>>,
    /// Numbers that the server reads, clamped.
    pub(super) numbers: Vec<Option<f64>>,
    /// Values that are given back, or passed on, as they came.
    pub(super) values: Vec<Option<Tree>>,
}

pub(super) fn expected(message: &Tree, room_code_bytes_max: usize) -> Result<Asked, Ignored> {
    let Tree::Object(_) = message else { return Err(Ignored::NotObject) };
    let kind = message.field("type").and_then(Tree::text).ok_or(Ignored::UnknownType)?;
    let room_code = message.field("roomCode").and_then(Tree::text);
    let room_code = room_code.filter(|code| !code.is_empty() && code.len() <= room_code_bytes_max);
    let asked = asked(kind, message)?;
    if room_code.is_none() && kind != "time_ping" {
        return Err(Ignored::BadRoomCode);
    }
    Ok(Asked { room_code: room_code.map(str::to_owned), ..asked })
}

fn asked(kind: &str, message: &Tree) -> Result<Asked, Ignored> {
    let value = |name| message.field(name).cloned();
    let delay = |name| clamped(message, name, DELAY_MS_MAX);
    let plain = |kind| Asked { kind, room_code: None, texts: vec![], numbers: vec![], values: vec![] };
    Ok(match kind {
        "join" => Asked { values: vec![value("userId"), value("hostId")], ..plain("join") },
        "time_ping" => Asked { values: vec![value("id"), value("t0")], ..plain("time_ping") },
        "PLAY" => {
            let duration = value("duration");
            if !matches!(duration, None | Some(Tree::Null | Tree::Number(_))) {
                return Err(Ignored::WrongField);
            }
            let url = message.field("audioUrl").and_then(Tree::text).ok_or(Ignored::WrongField)?;
            let numbers = vec![delay("startDelayMs")?, delay("rttMs")?];
            Asked { texts: vec![Some(url.to_owned())], numbers, values: vec![duration], ..plain("PLAY") }
        }
        "device_health_check_response" => {
            let is_set = |name| message.field(name) == Some(&Tree::Flag(true));
            if !is_set("audioLoaded") || !is_set("deviceReady") {
                return Err(Ignored::NotReady);
            }
            let check_id = message.field("checkId").and_then(Tree::text).map(str::to_owned);
            Asked { texts: vec![check_id], numbers: vec![delay("rttMs")?], ..plain("ready") }
        }
        "PAUSE" => plain("PAUSE"),
        "RESUME" => Asked { numbers: vec![delay("startDelayMs")?], ..plain("RESUME") },
        "SEEK" => {
            let position = clamped(message, "seekPositionMs", POSITION_MS_MAX)?.unwrap_or(0.0);
            Asked { numbers: vec![Some(position)], ..plain("SEEK") }
        }
        "TRACK_CHANGE" => {
            let track = value("trackData").filter(|track| matches!(track, Tree::Object(_)));
            Asked { values: vec![Some(track.ok_or(Ignored::WrongField)?)], ..plain("TRACK_CHANGE") }
        }
        "get_playback_state" => plain("get_playback_state"),
        "request_sync" => plain("request_sync"),
        "sync_check" => {
            let position = message.field("clientPosition").and_then(Tree::number);
            Asked { numbers: vec![Some(position.ok_or(Ignored::WrongField)?)], ..plain("sync_check") }
        }
        _ => return Err(Ignored::UnknownType),
    })
}

/// Absent and null are no number; anything else that is none spoils the request.
fn clamped(message: &Tree, name: &str, max: f64) -> Result<Option<f64>, Ignored> {
    match message.field(name) {
        None | Some(Tree::Null) => Ok(None),
        Some(Tree::Number(number)) => Ok(Some(number.clamp(0.0, max))),
        Some(_) => Err(Ignored::WrongField),
    }
}
