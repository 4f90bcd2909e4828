//! Rooms as JSON: a page of them, and one with its members.

use super::ask::Replies;
use engine::room::RoomState;
use engine::shard::{MemberLine, RoomLine, RoomReport, RoomsPage, Starting};
use serde::Serialize;
use serde_json::value::RawValue;
use wire::json::Json;

/// A page of rooms of all cores.
#[derive(Serialize)]
pub struct PageJson {
    rooms: Vec<LineJson>,
    total: usize,
    truncated: bool,
    /// Cores whose rooms are not among them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cores_silent: Vec<usize>,
}

#[derive(Serialize)]
struct LineJson {
    code: String,
    core: usize,
    members: usize,
    state: &'static str,
    position_ms: f64,
    duration_ms: Option<f64>,
    audio_url: Option<String>,
    out_of_sync: u32,
}

/// One room.
#[derive(Serialize)]
pub struct RoomJson {
    #[serde(flatten)]
    line: LineJson,
    host: Option<Box<RawValue>>,
    starting: Option<StartingJson>,
    members_list: Vec<MemberJson>,
    members_truncated: bool,
}

#[derive(Serialize)]
struct StartingJson {
    since_ms: f64,
    ready: usize,
    of: usize,
    check_id: String,
    waiting_for: Vec<Box<RawValue>>,
}

#[derive(Serialize)]
struct MemberJson {
    ws_id: String,
    user: Option<Box<RawValue>>,
    core: u16,
    ready: bool,
    is_host: bool,
    rtt_ms: Option<f64>,
    drift_ms: Option<i16>,
    owed_bytes: Option<usize>,
}

impl PageJson {
    /// The largest of all cores' pages.
    pub fn new(replies: Replies<RoomsPage>, limit: usize) -> PageJson {
        let total = replies.answers.iter().map(|(_, page)| page.total).sum();
        let lines = replies.answers.into_iter();
        let mut rooms: Vec<LineJson> =
            lines.flat_map(|(core, page)| page.rooms.into_iter().map(move |room| line(core, room))).collect();
        rooms.sort_by(|a, b| b.members.cmp(&a.members).then_with(|| a.code.cmp(&b.code)));
        rooms.truncate(limit);
        let truncated = rooms.len() < total || !replies.silent.is_empty();
        PageJson { rooms, total, truncated, cores_silent: replies.silent }
    }
}

impl RoomJson {
    pub fn new(core: usize, report: RoomReport) -> RoomJson {
        let RoomReport { line: told, host, starting, members } = report;
        let starting = starting.map(|starting| {
            let Starting { since_us, ready, check_id, waiting_for } = starting;
            let waiting_for = waiting_for.iter().map(raw).collect();
            StartingJson { since_ms: ms(since_us), ready, of: told.members, check_id, waiting_for }
        });
        RoomJson {
            members_truncated: members.len() < told.members,
            line: line(core, told),
            host: host.as_ref().map(raw),
            starting,
            members_list: members.into_iter().map(member).collect(),
        }
    }
}

fn line(core: usize, line: RoomLine) -> LineJson {
    let RoomLine { code, members, state, position_us, duration_ms, audio_url, out_of_sync } = line;
    let state = match state {
        RoomState::Empty => "empty",
        RoomState::Starting => "starting",
        RoomState::Playing => "playing",
        RoomState::Paused => "paused",
    };
    let position_ms = ms(position_us);
    LineJson { code, core, members, state, position_ms, duration_ms, audio_url, out_of_sync }
}

fn member(member: MemberLine) -> MemberJson {
    let MemberLine { ws_id, user, core, is_ready, is_host, rtt_us, drift_ms, owed_bytes } = member;
    MemberJson {
        ws_id,
        user: user.as_ref().map(raw),
        core,
        ready: is_ready,
        is_host,
        rtt_ms: rtt_us.map(|us| ms(i64::from(us))),
        drift_ms,
        owed_bytes,
    }
}

/// A client's own value, as it sent it.
fn raw(json: &Json) -> Box<RawValue> {
    RawValue::from_string(json.as_text().to_owned()).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

fn ms(us: i64) -> f64 {
    us as f64 / 1000.0
}
