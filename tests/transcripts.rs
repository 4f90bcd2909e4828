//! Today's clients' sessions, recorded from the old server, on one core and on several.
//!
//! Against a server in this process; or, with DOWNBEAT_PORTS (comma-separated, on 127.0.0.1), against one
//! that runs already. TRANSCRIPTS names a folder of other transcripts of the same form.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod replay;
mod server;

use downbeat::config::Config;
use replay::{Endpoints, replay, replay_all, transcripts};
use server::{Server, config};

fn check(ports: &[u16], name_room_in_url: bool) {
    let endpoints = Endpoints { ports: ports.to_vec(), name_room_in_url };
    let results = replay_all(&endpoints);
    assert!(!results.is_empty(), "no transcripts");
    let failed: Vec<_> = results.into_iter().filter(|(_, bad)| !bad.is_empty()).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

/// Each client of a script connects to another core.
fn check_on(cores: usize, name_room_in_url: bool) {
    if std::env::var_os("DOWNBEAT_PORTS").is_some() {
        return;
    }
    let server = Server::start(&Config { port_per_core: true, ..config(cores) });
    check(server.core_ports(), name_room_in_url);
    if cores > 1 && !name_room_in_url {
        server.await_total("rooms across cores", |it| it.engine.envelopes_sent, |sent| sent > 0);
    }
}

#[test]
fn on_one_shard() {
    check_on(1, false);
}

#[test]
fn on_two_shards_with_each_rooms_clients_on_different_cores() {
    check_on(2, false);
}

#[test]
fn on_four_shards_with_each_rooms_clients_on_different_cores() {
    check_on(4, false);
}

#[test]
fn on_four_shards_with_rooms_named_in_the_url() {
    check_on(4, true);
}

#[test]
fn against_a_server_that_runs_already() {
    let Ok(ports) = std::env::var("DOWNBEAT_PORTS") else { return };
    let ports: Vec<u16> = ports.split(',').map(|port| port.trim().parse().unwrap()).collect();
    check(&ports, false);
    check(&ports, true);
}

/// A replay that could not fail would prove nothing: each of these changes to a recording is seen.
#[test]
fn a_recording_that_was_tampered_with_is_told_apart() {
    let server = Server::start(&config(1));
    let endpoints = Endpoints { ports: vec![server.port()], name_room_in_url: false };
    let path = transcripts().into_iter().find(|path| path.ends_with("track-change.json"));
    let Some(path) = path else { return };
    let recorded = std::fs::read_to_string(&path).unwrap();
    let threads: Vec<_> = [
        ("", ""),
        ("\"totalClients\": 3", "\"totalClients\": 4"),
        ("\"isHost\": false,", ""),
        ("\"isHost\": false,", "\"isHost\": false, \"extra\": 1,"),
        ("\"ms\": 0", "\"ms\": 500"),
        ("\"at\": 138", "\"at\": 538"),
        ("\"type\": \"PAUSE_STATE\"", "\"type\": \"PLAY_SYNC\""),
        ("\"x\": null", "\"x\": 0"),
    ]
    .into_iter()
    .enumerate()
    .map(|(i, (from, to))| {
        let golden = recorded.find("\"golden\"").unwrap();
        let (steps, golden) = recorded.split_at(golden);
        assert!(golden.contains(from), "{from}");
        let tampered = format!("{steps}{}", golden.replace(from, to));
        let copy = std::env::temp_dir().join(format!("downbeat-{}-{i}.json", std::process::id()));
        std::fs::write(&copy, tampered).unwrap();
        let endpoints = endpoints.clone();
        let from = from.to_owned();
        std::thread::spawn(move || {
            let bad = replay(&copy, &endpoints);
            std::fs::remove_file(&copy).unwrap();
            assert_eq!(bad.is_empty(), from.is_empty(), "{from}: {bad:?}");
        })
    })
    .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}
