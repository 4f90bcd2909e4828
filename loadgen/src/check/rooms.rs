//! The room protocol, as its clients rely on it.

use super::{Check, Checked, Client, Server, hear, say};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tungstenite::Message;

pub const ROOMS: [Check; 10] = [
    Check { name: "join: joined with all its fields, then the state", run: join },
    Check { name: "join and leave: the others hear of it, with the count", run: others_hear },
    Check { name: "time_ping: id and t0 come back, the clocks agree", run: time_ping },
    Check { name: "garbage is ignored and the connection stays", run: garbage },
    Check { name: "PLAY: handshake, then one start ahead for all", run: play },
    Check { name: "a late joiner is told what plays", run: late_joiner },
    Check { name: "PAUSE: to all, and 300 ms later the state", run: pause },
    Check { name: "SEEK: to all with its lead", run: seek },
    Check { name: "RESUME: to all with its delay", run: resume },
    Check { name: "TRACK_CHANGE: to all as it was sent", run: track_change },
];

/// A room of the check's own and its members.
struct Room<'a> {
    server: &'a Server,
    code: String,
    members: Vec<Client>,
}

impl<'a> Room<'a> {
    fn open(server: &'a Server, members: usize) -> Result<Room<'a>, String> {
        static ROOMS: AtomicU32 = AtomicU32::new(0);
        let number = ROOMS.fetch_add(1, Ordering::Relaxed);
        let code = format!("CHECK{}X{number}", std::process::id());
        let mut room = Room { server, code, members: Vec::new() };
        for _ in 0..members {
            let client = room.enter()?;
            room.members.push(client);
        }
        // What joining led to is read, so that what follows is the check's.
        for i in 0..members {
            let later = members - 1 - i;
            await_type(&mut room.members[i], "playback_state")?;
            for _ in 0..later {
                await_type(&mut room.members[i], "user_joined")?;
            }
        }
        Ok(room)
    }

    fn enter(&self) -> Result<Client, String> {
        let user = self.members.len();
        let mut client =
            self.server.connect_at(&format!("/ws/sync?roomCode={}&userId=u{user}", self.code))?;
        let join =
            json!({ "type": "join", "roomCode": self.code, "userId": format!("u{user}"), "hostId": "u0" });
        say(&mut client, Message::text(join.to_string()))?;
        let joined = await_type(&mut client, "joined")?;
        expect(
            &joined,
            &[("roomCode", json!(self.code)), ("hostUserId", json!("u0")), ("isHost", json!(user == 0))],
        )?;
        if joined["wsId"].as_str().is_none_or(str::is_empty) || !joined["timestamp"].is_u64() {
            return Err(format!("wsId or timestamp is missing: {joined}"));
        }
        Ok(client)
    }

    fn command(&mut self, mut command: Value) -> Checked {
        command["roomCode"] = json!(self.code);
        say(&mut self.members[0], Message::text(command.to_string()))
    }

    /// All members hear a message of this type, with the same text.
    fn all_hear(&mut self, kind: &str) -> Result<Value, String> {
        let heard = self.members.iter_mut().map(|it| await_type(it, kind)).collect::<Result<Vec<_>, _>>()?;
        match heard.iter().find(|it| **it != heard[0]) {
            Some(other) => Err(format!("members hear different things: {} and {other}", heard[0])),
            None => Ok(heard[0].clone()),
        }
    }

    /// The whole handshake.
    fn play(&mut self) -> Result<Value, String> {
        self.command(
            json!({ "type": "PLAY", "audioUrl": "https://cdn.example/a.mp3", "duration": 180, "rttMs": 40 }),
        )?;
        let prepare = self.all_hear("PREPARE_TRACK")?;
        expect(&prepare, &[("audioUrl", json!("https://cdn.example/a.mp3")), ("duration", json!(180))])?;
        self.all_hear("device_health_check")?;
        let answer = json!({ "type": "device_health_check_response", "roomCode": self.code,
            "checkId": prepare["checkId"], "audioLoaded": true, "deviceReady": true, "rttMs": 20 });
        for client in &mut self.members {
            say(client, Message::text(answer.to_string()))?;
        }
        self.all_hear("PLAY")
    }
}

/// The next message of a type; others are skipped.
fn await_type(client: &mut Client, kind: &str) -> Result<Value, String> {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(8) {
        let message = hear(client).map_err(|error| format!("no {kind}: {error}"))?;
        let Message::Text(text) = message else { return Err(format!("{message:?} instead of {kind}")) };
        let value: Value = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
        if value["type"] == kind {
            return Ok(value);
        }
    }
    Err(format!("no {kind} within 8 s"))
}

fn expect(message: &Value, fields: &[(&str, Value)]) -> Checked {
    for (name, expected) in fields {
        // 180 and 180.0 are one number to a client.
        let is_same = match (message[name].as_f64(), expected.as_f64()) {
            (Some(found), Some(expected)) => (found - expected).abs() < 1e-6,
            _ => message[name] == *expected,
        };
        if !is_same {
            return Err(format!("{name} is {}, not {expected}, in {message}", message[name]));
        }
    }
    Ok(())
}

fn number(message: &Value, name: &str) -> Result<f64, String> {
    message[name].as_f64().ok_or_else(|| format!("{name} is no number in {message}"))
}

fn join(server: &Server) -> Checked {
    let room = Room::open(server, 0)?;
    let mut client = room.enter()?;
    let state = await_type(&mut client, "playback_state")?;
    expect(
        &state,
        &[("currentTrack", Value::Null), ("isPlaying", json!(false)), ("playbackPosition", json!(0))],
    )
}

fn others_hear(server: &Server) -> Checked {
    let mut room = Room::open(server, 1)?;
    let mut visitor = room.enter()?;
    let joined = await_type(&mut room.members[0], "user_joined")?;
    expect(&joined, &[("userId", json!("u1")), ("totalClients", json!(2))])?;
    visitor.close(None).map_err(|it| it.to_string())?;
    // A server may wait for our side's end before it calls the connection closed.
    drop(visitor);
    let left = await_type(&mut room.members[0], "user_left")?;
    expect(&left, &[("userId", json!("u1")), ("totalClients", json!(1)), ("wsId", joined["wsId"].clone())])
}

fn time_ping(server: &Server) -> Checked {
    let mut client = server.connect_at("/ws/sync?roomCode=X&userId=u")?;
    let mut clocks = Vec::new();
    for i in 0..5 {
        let (id, t0) = (format!("ping-{i}"), crate::clock::unix_ms() as u64);
        let ping = json!({ "type": "time_ping", "id": id, "t0": t0 });
        say(&mut client, Message::text(ping.to_string()))?;
        let pong = await_type(&mut client, "time_pong")?;
        let t1 = crate::clock::unix_ms();
        expect(
            &pong,
            &[
                ("id", json!(id)),
                ("t0", json!(t0)),
                ("isPlaying", json!(false)),
                ("playbackPosition", json!(0)),
            ],
        )?;
        let (unix, monotonic) = (number(&pong, "serverTimeUnix")?, number(&pong, "serverTimeMonotonic")?);
        if unix < t0 as f64 - 1_000.0 || unix > t1 + 1_000.0 {
            return Err(format!("serverTimeUnix is over 1 s off: {pong}"));
        }
        number(&pong, "timeOffset")?;
        number(&pong, "masterClock")?;
        clocks.push(unix - monotonic);
    }
    let (low, high) =
        clocks.iter().fold((f64::MAX, f64::MIN), |(low, high), it| (low.min(*it), high.max(*it)));
    if high - low > 5.0 {
        return Err(format!("the two clocks drift by {:.1} ms within five pings", high - low));
    }
    Ok(())
}

fn garbage(server: &Server) -> Checked {
    let mut client = server.connect_at("/ws/sync?roomCode=X&userId=u")?;
    for text in [
        "null",
        "17",
        "\"x\"",
        "[]",
        "{}",
        "{",
        "",
        r#"{"type":"nothing"}"#,
        r#"{"type":"PAUSE","roomCode":"none"}"#,
    ] {
        say(&mut client, Message::text(text))?;
    }
    say(&mut client, Message::text(r#"{"type":"time_ping","id":"after","t0":1}"#))?;
    let answer = await_type(&mut client, "time_pong")?;
    expect(&answer, &[("id", json!("after"))])
}

fn play(server: &Server) -> Checked {
    let mut room = Room::open(server, 3)?;
    let play = room.play()?;
    expect(
        &play,
        &[
            ("audioUrl", json!("https://cdn.example/a.mp3")),
            ("startDelayMs", json!(1_600)),
            ("masterClockLatencyMs", json!(10)),
        ],
    )?;
    say(&mut room.members[0], Message::text(r#"{"type":"time_ping","id":"now","t0":1}"#))?;
    let pong = await_type(&mut room.members[0], "time_pong")?;
    let lead = number(&play, "masterClockMs")? - number(&pong, "masterClock")?;
    if !(600.0..=1_600.0).contains(&lead) {
        return Err(format!("the start is {lead:.0} ms ahead, not up to 1600"));
    }
    Ok(())
}

fn late_joiner(server: &Server) -> Checked {
    let mut room = Room::open(server, 1)?;
    room.play()?;
    let mut late = room.enter()?;
    let state = await_type(&mut late, "PLAY_SYNC")?;
    expect(&state, &[("audioUrl", json!("https://cdn.example/a.mp3")), ("isPlaying", json!(true))])
}

fn pause(server: &Server) -> Checked {
    let mut room = Room::open(server, 2)?;
    room.play()?;
    room.command(json!({ "type": "PAUSE" }))?;
    let paused = room.all_hear("PAUSE")?;
    let start = Instant::now();
    let state = room.all_hear("PAUSE_STATE")?;
    if start.elapsed() < Duration::from_millis(150) {
        return Err("PAUSE_STATE came at once".to_owned());
    }
    expect(&state, &[("isPlaying", json!(false)), ("pausedPositionMs", paused["pausedAtMs"].clone())])
}

fn seek(server: &Server) -> Checked {
    let mut room = Room::open(server, 2)?;
    room.play()?;
    room.command(json!({ "type": "SEEK", "seekPositionMs": 42_000 }))?;
    let seek = room.all_hear("SEEK")?;
    number(&seek, "masterClockMs")?;
    expect(&seek, &[("seekPositionMs", json!(42_000)), ("seekDelayMs", json!(300))])
}

fn resume(server: &Server) -> Checked {
    let mut room = Room::open(server, 2)?;
    room.play()?;
    room.command(json!({ "type": "PAUSE" }))?;
    let paused = room.all_hear("PAUSE")?;
    room.command(json!({ "type": "RESUME" }))?;
    let resumed = room.all_hear("RESUME")?;
    expect(&resumed, &[("resumeDelayMs", json!(400)), ("playbackPositionMs", paused["pausedAtMs"].clone())])
}

fn track_change(server: &Server) -> Checked {
    let mut room = Room::open(server, 2)?;
    let track = json!({ "id": "7", "title": "T", "artist": "A", "duration": 187.5, "audioUrl": "https://cdn.example/b.mp3" });
    room.command(json!({ "type": "TRACK_CHANGE", "trackData": track }))?;
    let changed = room.all_hear("TRACK_CHANGE")?;
    expect(&changed, &[("trackData", track)])
}
