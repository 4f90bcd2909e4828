//! Life and death: what survives a kill, a fault, a drain, and who notices.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod process;
mod server;

use process::{Process, downbeat, start};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use server::{Client, PATIENCE, Server, config, connect, hear, hear_type, join, say};
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tungstenite::Message;

/// A folder of this test's alone, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("downbeat-life-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        Folder(folder)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    fn snapshots(&self) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(&self.0) else { return Vec::new() };
        let paths = entries.map(|entry| entry.unwrap().path());
        let mut paths: Vec<PathBuf> =
            paths.filter(|path| path.extension().is_some_and(|it| it == "snapshot")).collect();
        paths.sort_unstable();
        paths
    }

    /// Waits until a snapshot newer than `before` is there.
    fn await_snapshot_after(&self, before: Option<&Path>) -> PathBuf {
        await_some("a snapshot", || self.snapshots().pop().filter(|newest| Some(newest.as_path()) > before))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn await_some<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "{what} does not come");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn with_backup(folder: &Folder) -> Command {
    let mut command = downbeat();
    command
        .args(["--port", "0", "--host", "127.0.0.1", "--cores", "2", "--backup-interval-ms", "10"])
        .env("BACKUP_DIR", folder.path());
    command
}

/// Joins, plays, and waits for the start; the PLAY.
fn play(client: &mut Client, room: &str) -> Value {
    join(client, room, "host");
    hear_type(client, "playback_state");
    let play = r#""audioUrl":"https://cdn.example/1.mp3","duration":187.5,"startDelayMs":10"#;
    say(client, &format!(r#"{{"type":"PLAY","roomCode":"{room}",{play}}}"#));
    let check = hear_type(client, "device_health_check");
    let check_id = &check["checkId"];
    let ready = r#""audioLoaded":true,"deviceReady":true"#;
    say(
        client,
        &format!(
            r#"{{"type":"device_health_check_response","roomCode":"{room}","checkId":{check_id},{ready}}}"#
        ),
    );
    hear_type(client, "PLAY")
}

const ROOMS: usize = 20;

/// A host in each of some rooms, and all of them play.
fn play_rooms(port: u16) -> Vec<Client> {
    let rooms = (0..ROOMS).map(|i| {
        let mut host = connect(port, &format!("/ws/sync?roomCode=R{i}&userId=host"));
        play(&mut host, &format!("R{i}"));
        host
    });
    rooms.collect()
}

/// Whoever joins one of these rooms hears that it plays.
fn check_rooms_play(port: u16) {
    for i in 0..ROOMS {
        let mut host = connect(port, &format!("/ws/sync?roomCode=R{i}&userId=host"));
        join(&mut host, &format!("R{i}"), "host");
        hear_type(&mut host, "PLAY_SYNC");
    }
}

fn number(message: &Value, field: &str) -> f64 {
    message[field].as_f64().unwrap_or_else(|| panic!("no {field} in {message}"))
}

/// What a member is told of a playing room: where it was when the master clock was 0, ms.
fn origin(play_sync: &Value) -> f64 {
    number(play_sync, "playbackPosition") - number(play_sync, "masterClockMs")
}

#[test]
fn after_a_kill_a_playing_room_goes_on_by_the_downtime() {
    let folder = Folder::new("kill");
    let mut first = start(&mut with_backup(&folder));
    let mut host = connect(first.port, "/ws/sync?roomCode=KILL&userId=host");
    let started = number(&play(&mut host, "KILL"), "masterClockMs");
    await_some("the room in a snapshot", || {
        let newest = folder.snapshots().pop()?;
        let bytes = std::fs::read(newest).ok()?;
        bytes.windows(4).any(|window| window == b"KILL").then_some(())
    });
    first.signal(Signal::KILL);
    first.wait();
    let second = start(&mut with_backup(&folder));
    let mut host = connect(second.port, "/ws/sync?roomCode=KILL&userId=host");
    join(&mut host, "KILL", "host");
    hear_type(&mut host, "joined");
    let play_sync = hear(&mut host);
    assert_eq!(play_sync["type"], "PLAY_SYNC", "{play_sync}");
    assert_eq!(play_sync["audioUrl"], "https://cdn.example/1.mp3");
    // The master clock goes on by the calendar, positions by the boot clock: they differ by a step of the one.
    let off_ms = origin(&play_sync) + started;
    assert!(off_ms.abs() < 50.0, "{off_ms} ms off");
}

#[test]
fn a_stop_keeps_all_rooms_and_a_room_that_nobody_joins_again_is_kept_for_the_next() {
    let folder = Folder::new("stop");
    let mut first = start(&mut with_backup(&folder));
    let _hosts = play_rooms(first.port);
    first.signal(Signal::TERM);
    assert_eq!(first.wait().code(), Some(0));
    // Started and stopped before anyone comes back: nothing is lost.
    let mut second = start(&mut with_backup(&folder));
    second.signal(Signal::TERM);
    assert_eq!(second.wait().code(), Some(0));
    let third = start(&mut with_backup(&folder));
    check_rooms_play(third.port);
}

#[test]
fn a_second_signal_ends_it_at_once_and_keeps_the_rooms() {
    let folder = Folder::new("second");
    let mut first = start(with_backup(&folder).args(["--drain-rate", "1"]));
    let _hosts = play_rooms(first.port);
    let begun = Instant::now();
    first.signal(Signal::TERM);
    // At one a second the last would be told in 10 s. The first signal must have been heard before the second.
    let mut line = String::new();
    BufReader::new(first.child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("closing every connection"), "{line}");
    first.signal(Signal::TERM);
    assert_eq!(first.wait().code(), Some(143));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let second = start(&mut with_backup(&folder));
    check_rooms_play(second.port);
}

#[test]
fn a_drain_serves_on_for_its_grace_and_then_closes_at_its_rate() {
    let mut process = start(downbeat().args([
        "--port",
        "0",
        "--host",
        "127.0.0.1",
        "--cores",
        "1",
        "--drain-grace-ms",
        "300",
        "--drain-rate",
        "100",
    ]));
    let mut clients: Vec<Client> = (0..40).map(|_| connect(process.port, "/")).collect();
    let begun = Instant::now();
    process.signal(Signal::TERM);
    let mut late = connect(process.port, "/");
    say(&mut late, r#"{"type":"time_ping","id":"1","t0":1}"#);
    hear_type(&mut late, "time_pong");
    for client in &mut clients {
        assert!(matches!(client.read(), Ok(Message::Close(_))));
    }
    // The first goes at once, the others 10 ms apart.
    assert!(begun.elapsed() >= Duration::from_millis(300 + 390), "{:?}", begun.elapsed());
    assert_eq!(process.wait().code(), Some(0));
}

#[test]
fn a_folder_has_one_process() {
    let folder = Folder::new("lock");
    let _first = start(&mut with_backup(&folder));
    let output = with_backup(&folder).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    let line = String::from_utf8(output.stderr).unwrap();
    assert!(line.starts_with("downbeat: another process keeps its rooms in "), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
}

#[test]
fn a_disk_that_fails_costs_no_service_and_is_used_again() {
    let folder = Folder::new("disk");
    let process = start(&mut with_backup(&folder));
    let mut host = connect(process.port, "/ws/sync?roomCode=R&userId=host");
    play(&mut host, "R");
    std::fs::remove_dir_all(&folder.0).unwrap();
    for _ in 0..3 {
        say(&mut host, r#"{"type":"SEEK","roomCode":"R","seekPositionMs":1000}"#);
        hear_type(&mut host, "SEEK");
    }
    std::fs::create_dir(&folder.0).unwrap();
    folder.await_snapshot_after(None);
}

/// Kill -9 at random moments under load: there is always a sound snapshot. KILLS says how often (10).
#[test]
fn no_kill_leaves_a_snapshot_that_cannot_be_loaded() {
    let kills: u32 = std::env::var("KILLS").map_or(10, |kills| kills.parse().unwrap());
    let folder = Folder::new("kills");
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..kills {
        let mut process = start(with_backup(&folder).args(["--metered=false"]));
        let mut hosts: Vec<Client> =
            (0..8).map(|i| connect(process.port, &format!("/ws/sync?roomCode=R{i}&userId=host"))).collect();
        for (i, host) in hosts.iter_mut().enumerate() {
            join(host, &format!("R{i}"), "host");
            let state = loop {
                let message = hear(host);
                if message["type"] != "joined" {
                    break message;
                }
            };
            // From the second round on what was kept is there.
            assert_eq!(state["type"] == "playback_state", round == 0, "round {round}: {state}");
        }
        random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        let until = Instant::now() + Duration::from_micros(random >> 50);
        let newest = folder.snapshots().pop();
        let has_all = |snapshot: &PathBuf| {
            // It may be removed just now.
            let bytes = std::fs::read(snapshot).unwrap_or_default();
            (0..8).all(|i| bytes.windows(2).any(|window| window == format!("R{i}").as_bytes()))
        };
        let mut number = 0;
        // Something changes all the time, and at least one snapshot of all rooms is written in each round.
        while Instant::now() < until
            || !folder.snapshots().pop().is_some_and(|it| Some(&it) > newest.as_ref() && has_all(&it))
        {
            number += 1;
            for (i, host) in hosts.iter_mut().enumerate() {
                let track = format!(r#"{{"audioUrl":"https://cdn.example/{number}.mp3","duration":90}}"#);
                say(host, &format!(r#"{{"type":"TRACK_CHANGE","roomCode":"R{i}","trackData":{track}}}"#));
                hear_type(host, "TRACK_CHANGE");
            }
        }
        process.signal(Signal::KILL);
        process.wait();
    }
    let corrupt = std::fs::read_dir(&folder.0)
        .unwrap()
        .any(|it| it.unwrap().path().extension().is_some_and(|it| it == "corrupt"));
    assert!(!corrupt, "a snapshot was set aside");
    // The last kill may have come before the oldest was removed; what earlier ones left, a start has removed.
    let left = folder.snapshots().len();
    assert!((1..=4).contains(&left), "{left} snapshots");
}

#[test]
fn a_shards_fault_is_not_noticed_by_clients_of_others() {
    let server = Server::start(&downbeat::config::Config { port_per_core: true, ..config(3) });
    // All on the third core, in rooms that live on each of the three.
    let codes: Vec<String> = (0..24).map(|i| format!("ROOM{i}")).collect();
    let mut members: Vec<Client> = codes.iter().map(|_| connect(server.core_ports()[2], "/")).collect();
    for (member, code) in members.iter_mut().zip(&codes) {
        play(member, code);
    }
    let mut doomed = connect(server.core_ports()[1], "/");
    say(&mut doomed, r#"{"type":"chaos_shard"}"#);
    while doomed.read().is_ok() {}
    // It listens as before.
    let mut anew = connect(server.core_ports()[1], "/");
    say(&mut anew, r#"{"type":"time_ping","id":"1","t0":1}"#);
    hear_type(&mut anew, "time_pong");
    // Members of its rooms were connected all the while, are members again, and command.
    for (member, code) in members.iter_mut().zip(&codes) {
        say(member, &format!(r#"{{"type":"SEEK","roomCode":"{code}","seekPositionMs":60000}}"#));
        hear_type(member, "SEEK");
    }
}

#[test]
fn a_shard_that_fails_right_after_a_restart_has_the_rooms_that_were_kept() {
    let folder = Folder::new("early");
    let mut first = start(&mut with_backup(&folder));
    let mut host = connect(first.port, "/ws/sync?roomCode=R&userId=host");
    play(&mut host, "R");
    first.signal(Signal::TERM);
    assert_eq!(first.wait().code(), Some(0));
    // It hands nothing over before it fails.
    let second = start(with_backup(&folder).args(["--cores", "1", "--backup-interval-ms", "3600000"]));
    let mut doomed = connect(second.port, "/");
    say(&mut doomed, r#"{"type":"chaos_shard"}"#);
    while doomed.read().is_ok() {}
    let mut host = connect(second.port, "/ws/sync?roomCode=R&userId=host");
    join(&mut host, "R", "host");
    hear_type(&mut host, "PLAY_SYNC");
}

#[test]
fn too_many_faults_end_the_process_with_70() {
    let mut process = start(downbeat().args(["--port", "0", "--host", "127.0.0.1", "--cores", "1"]));
    for _ in 0..6 {
        let mut client = connect(process.port, "/");
        say(&mut client, r#"{"type":"chaos_shard"}"#);
        while client.read().is_ok() {}
    }
    assert_eq!(process.wait().code(), Some(70));
}

/// A server that stands still for a while (a stopped container, a machine that swaps) cuts nobody off when it goes on.
/// STOPPED_S says how long (1 s); past two intervals of pings it could take everyone for gone.
#[test]
fn a_server_that_stood_still_goes_on_with_everyone() {
    let stopped_s = std::env::var("STOPPED_S").map_or(1, |seconds| seconds.parse().unwrap());
    let process = start(downbeat().args(["--port", "0", "--host", "127.0.0.1", "--cores", "2"]));
    let mut members: Vec<Client> = (0..10).map(|_| connect(process.port, "/ws/sync?roomCode=R")).collect();
    play(&mut members[0], "R");
    for (i, member) in members.iter_mut().enumerate().skip(1) {
        join(member, "R", &i.to_string());
        hear_type(member, "PLAY_SYNC");
    }
    process.signal(Signal::STOP);
    // What was said meanwhile waits for it.
    say(&mut members[1], r#"{"type":"SEEK","roomCode":"R","seekPositionMs":60000}"#);
    std::thread::sleep(Duration::from_secs(stopped_s));
    process.signal(Signal::CONT);
    for member in &mut members {
        member.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
        hear_type(member, "SEEK");
    }
}

/// The server that a supervisor has started.
fn server_of(process: &Process) -> i32 {
    let pid = process.child.id();
    await_some("a server", || {
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
        children.split_whitespace().next()?.parse().ok()
    })
}

fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

#[test]
fn a_supervised_server_that_is_killed_loses_no_connect_and_is_back_with_its_rooms() {
    let folder = Folder::new("supervised");
    // The admin port is the server's own, and must be had again while the one before is still being torn down.
    let admin = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut process = start(with_backup(&folder).args(["--supervised", "--admin", &admin.to_string()]));
    let mut host = connect(process.port, "/ws/sync?roomCode=R&userId=host");
    play(&mut host, "R");
    await_some("the room in a snapshot", || {
        let bytes = std::fs::read(folder.snapshots().pop()?).ok()?;
        bytes.windows(19).any(|window| window == b"https://cdn.example").then_some(())
    });
    let server = server_of(&process);
    kill(server);
    // What connects while the kernel still ends it may be given to its ring, and ends with it.
    await_some("its end", || (!Path::new(&format!("/proc/{server}")).exists()).then_some(()));
    let begun = Instant::now();
    // While nobody serves, connects wait.
    let mut clients: Vec<Client> =
        (0..20).map(|_| connect(process.port, "/ws/sync?roomCode=R&userId=host")).collect();
    let taken = begun.elapsed();
    assert!(taken < Duration::from_secs(5), "{taken:?}");
    for client in &mut clients {
        join(client, "R", "host");
        hear_type(client, "PLAY_SYNC");
    }
    assert_ne!(server_of(&process), server);
    TcpStream::connect(admin).unwrap();
    process.signal(Signal::INT);
    for client in &mut clients {
        while !matches!(client.read().unwrap(), Message::Close(_)) {}
    }
    assert_eq!(process.wait().code(), Some(0));
}

#[test]
fn a_supervised_server_that_dies_too_often_is_given_up() {
    let mut process =
        start(downbeat().args(["--port", "0", "--host", "127.0.0.1", "--cores", "1", "--supervised"]));
    let mut killed = Vec::new();
    for _ in 0..6 {
        let server = await_some("another server", || {
            let server = server_of(&process);
            (!killed.contains(&server)).then_some(server)
        });
        kill(server);
        killed.push(server);
    }
    assert_eq!(process.wait().code(), Some(70));
}

#[test]
fn a_supervised_server_ends_with_its_parent() {
    let mut process =
        start(downbeat().args(["--port", "0", "--host", "127.0.0.1", "--cores", "1", "--supervised"]));
    let mut client = connect(process.port, "/");
    process.signal(Signal::KILL);
    process.wait();
    assert!(matches!(client.read(), Ok(Message::Close(_))));
}
