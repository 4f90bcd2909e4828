//! Generated sessions against the engine in this process, and proof that a difference would be found.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::Value;
use sim::differential::{Tally, shards};
use sim::generate::{Kind, Pace, session};
use std::collections::{BTreeMap, BTreeSet};

const SESSIONS: u64 = 150;

fn play(kind: Kind, cores: u16) -> Tally {
    let mut tally = Tally::default();
    for seed in 0..SESSIONS {
        let session = session(seed, kind, Pace::World);
        if let Err(why) = shards::play(&session, cores, &mut tally) {
            panic!("{kind:?} seed {seed} on {cores} cores differs:\n{why}");
        }
    }
    tally
}

#[test]
fn legal_sessions_do_not_differ_and_meet_every_frame_that_there_is() {
    let tally = play(Kind::Legal, 1);
    assert_eq!(tally.sessions, SESSIONS);
    let heard: Vec<&str> = tally.heard.keys().map(String::as_str).collect();
    let all = [
        "PAUSE",
        "PAUSE_STATE",
        "PLAY",
        "PLAY_SYNC",
        "PREPARE_TRACK",
        "RESUME",
        "RESYNC",
        "SEEK",
        "TRACK_CHANGE",
        "device_health_check",
        "device_ready",
        "joined",
        "playback_state",
        "time_pong",
        "user_joined",
        "user_left",
    ];
    assert_eq!(heard, all);
}

#[test]
fn legal_sessions_do_not_differ_on_several_cores() {
    assert_eq!(play(Kind::Legal, 2).sessions + play(Kind::Legal, 4).sessions, 2 * SESSIONS);
}

#[test]
fn hostile_sessions_do_not_differ_and_both_succeed_and_fail() {
    let tally = play(Kind::Hostile, 1);
    let said: u64 = tally.said.values().sum();
    assert!(tally.unanswered > said / 8 && tally.unanswered < said * 3 / 4, "{tally}");
    assert!(tally.said["(no request)"] > said / 50, "{tally}");
    assert_eq!(
        tally.sessions + play(Kind::Hostile, 2).sessions + play(Kind::Hostile, 3).sessions,
        3 * SESSIONS
    );
}

#[test]
fn a_session_is_the_same_each_time() {
    let session = session(7, Kind::Hostile, Pace::World);
    let play = || shards::script(&session, 2, &mut |frame| frame.to_owned()).0;
    assert_eq!(play(), play());
}

/// Each field of each kind of frame, changed a little or left out, is noticed in the first frame that has it.
#[test]
fn each_changed_field_is_found() {
    let mut fields: BTreeMap<(String, String), u64> = BTreeMap::new();
    for seed in 0..40 {
        for_each_field(seed, &mut |kind, field| {
            fields.entry((kind.to_owned(), field.to_owned())).or_insert(seed);
        });
    }
    let kinds: BTreeSet<&String> = fields.keys().map(|(kind, _)| kind).collect();
    assert_eq!((kinds.len(), fields.len()), (16, 86));
    for ((kind, field), seed) in &fields {
        let session = session(*seed, Kind::Legal, Pace::World);
        for change in [changed, without] {
            let mut has_changed = false;
            let (_, result) = shards::script(&session, 2, &mut |text| {
                let mut frame: Value = serde_json::from_str(text).unwrap();
                if has_changed || frame["type"] != **kind || frame.get(field).is_none() {
                    return text.to_owned();
                }
                has_changed = true;
                change(&mut frame, field);
                frame.to_string()
            });
            assert!(has_changed && result.is_err(), "{field} of {kind} in seed {seed}");
        }
    }
}

/// A frame too many and a frame too few are noticed as well.
#[test]
fn a_frame_too_many_is_found() {
    let session = session(3, Kind::Legal, Pace::World);
    let mut before: Option<String> = None;
    let (_, result) =
        shards::script(&session, 1, &mut |text| before.replace(text.to_owned()).unwrap_or(text.to_owned()));
    assert!(result.is_err());
}

fn for_each_field(seed: u64, act: &mut dyn FnMut(&str, &str)) {
    let session = session(seed, Kind::Legal, Pace::World);
    shards::script(&session, 2, &mut |text| {
        let frame: Value = serde_json::from_str(text).unwrap();
        let kind = frame["type"].as_str().unwrap();
        frame.as_object().unwrap().keys().for_each(|field| act(kind, field));
        text.to_owned()
    })
    .1
    .unwrap();
}

fn changed(frame: &mut Value, field: &str) {
    frame[field] = match &frame[field] {
        Value::Number(number) => (number.as_f64().unwrap() + 0.002).into(),
        Value::String(text) => format!("{text}x").into(),
        Value::Bool(flag) => (!flag).into(),
        Value::Null => 0.into(),
        other => vec![other.clone()].into(),
    };
}

fn without(frame: &mut Value, field: &str) {
    frame.as_object_mut().unwrap().remove(field);
}
