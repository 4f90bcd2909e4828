//! The admin port over real sockets: each route, who may use it, its limits, slow readers, drain.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod server;

use downbeat::admin::{self, DEFAULT_ADDRESS, Facts, Port, Status};
use downbeat::config::{AdminAddress, AdminSettings, Config, Secret};
use glommio::{LocalExecutorBuilder, Placement};
use serde_json::Value;
use server::{PATIENCE, Server, config, connect, hear_type, join, say};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const PLAY: &str = r#"{"type":"PLAY","roomCode":"R","audioUrl":"https://a.example/b.mp3","duration":187.5}"#;
const TOKEN: &str = "a-token-that-is-long-enough";

/// A server and its admin port, both in this process.
struct Admin {
    server: Server,
    address: SocketAddr,
    is_drain_asked: Arc<AtomicBool>,
}

struct Response {
    status: u16,
    head: String,
    body: String,
}

impl Response {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

impl Admin {
    fn start(config: &Config, token: Option<&str>) -> Admin {
        let settings = AdminSettings {
            address: AdminAddress::At("127.0.0.1:0".parse().unwrap()),
            token: token.map(|token| Secret::parse(token).unwrap()),
            token_file: None,
        };
        let Port::On(listening) = admin::listen(&settings, Duration::ZERO).unwrap() else {
            panic!("it is off")
        };
        let address = listening.address();
        let server = Server::start(config);
        let shards = server.running().shards();
        let facts = Facts::new(config, server.port(), config.connections_max.unwrap_or(10_000));
        let is_drain_asked = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&is_drain_asked);
        // It serves until the process ends, as the control core does.
        std::thread::spawn(move || {
            let executor = LocalExecutorBuilder::new(Placement::Unbound).io_memory(64 * 1024).ring_depth(16);
            let status = Rc::new(RefCell::new(Status::default()));
            let drain = move || asked.store(true, Ordering::Relaxed);
            executor.make().unwrap().run(async move {
                let _serving = admin::serve(listening, facts, shards, status, drain);
                std::future::pending::<()>().await;
            });
        });
        Admin { server, address, is_drain_asked }
    }

    fn tcp(&self) -> TcpStream {
        server::tcp(self.address.port())
    }

    fn ask(&self, method: &str, path: &str, more: &str) -> Response {
        let mut stream = self.tcp();
        // Who has heard enough may close before it has read all.
        let _ = write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{more}\r\n",
            self.address
        );
        answer(stream)
    }

    fn get(&self, path: &str) -> Response {
        self.ask("GET", path, "")
    }

    fn json(&self, path: &str) -> Value {
        let response = self.get(path);
        assert_eq!(response.status, 200, "{path}: {}", response.body);
        response.json()
    }

    /// Asks until the answer is as it should be.
    fn await_json(&self, path: &str, is_right: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let value = self.json(path);
            if is_right(&value) {
                return value;
            }
            assert!(start.elapsed() < PATIENCE, "{path} stays {value:#}");
        }
    }

    /// A stream of events whose head has come.
    fn listen(&self) -> (u16, BufReader<TcpStream>) {
        let mut stream = self.tcp();
        write!(stream, "GET /api/events HTTP/1.1\r\nHost: {}\r\n\r\n", self.address).unwrap();
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let status = line.split(' ').nth(1).unwrap().parse().unwrap();
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).unwrap();
        }
        (status, reader)
    }
}

/// The one response on a connection that ends with it.
fn answer(mut stream: TcpStream) -> Response {
    let mut bytes = Vec::new();
    // A server that closes over bytes it has not read resets, behind its answer.
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Response { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

/// The next event's name and data.
fn hear_event(reader: &mut BufReader<TcpStream>) -> (String, Value) {
    let mut name = String::new();
    loop {
        let mut line = String::new();
        assert!(reader.read_line(&mut line).unwrap() > 0, "the stream has ended");
        if let Some(event) = line.strip_prefix("event: ") {
            name = event.trim().to_owned();
        } else if let Some(data) = line.strip_prefix("data: ") {
            return (name, serde_json::from_str(data).unwrap());
        }
    }
}

#[test]
fn stats_say_what_the_process_is_and_does() {
    let admin = Admin::start(&Config { environment: "staging".to_owned(), ..config(2) }, None);
    let mut clients: Vec<_> = (0..6).map(|i| admin.server.connect(&format!("/?roomCode=R{i}"))).collect();
    for (i, client) in clients.iter_mut().enumerate() {
        join(client, &format!("R{i}"), "u");
        hear_type(client, "joined");
        say(client, r#"{"type":"PAUSE","roomCode":"another"}"#);
    }
    let is_right =
        |stats: &Value| stats["totals"]["connections"] == 6 && stats["refusals"] != serde_json::json!({});
    let stats = admin.await_json("/api/stats", is_right);
    let text = |key: &str| stats[key].as_str().unwrap();
    assert_eq!(
        (text("version"), text("app"), text("environment")),
        (env!("CARGO_PKG_VERSION"), "rooms", "staging")
    );
    assert_eq!(stats["pid"], std::process::id());
    assert_eq!((&stats["port"], &stats["connections_max"]), (&admin.server.port().into(), &10_000.into()));
    assert!(stats["drain"].is_null() && stats["snapshot"].is_null());
    assert!(stats["memory"]["resident_bytes"].as_u64() > Some(1_000_000));
    assert!(
        stats["uptime_s"].as_f64() > Some(0.0) && stats["now_unix_ms"].as_u64() > Some(1_700_000_000_000)
    );
    assert_eq!(stats["totals"]["rooms"], 6);
    assert_eq!(stats["refusals"], serde_json::json!({ "messages_unauthorised": 6 }));
    let cores = stats["cores"].as_array().unwrap();
    assert_eq!(cores.len(), 2);
    for (i, core) in cores.iter().enumerate() {
        assert_eq!(
            (&core["core"], &core["respawns"], &core["is_answering"]),
            (&i.into(), &0.into(), &true.into())
        );
        for number in [
            "cpu",
            "connections",
            "rooms",
            "load_percent",
            "messages_per_s",
            "deliveries_per_s",
            "received_bytes_per_s",
            "sent_bytes_per_s",
            "turns_per_s",
            "enters_per_s",
            "completions_per_enter",
            "mesh_batches_per_s",
            "outbox_bytes_behind",
        ] {
            assert!(core[number].is_number(), "{number}: {core:#}");
        }
        assert!(core["turn_us"]["p50"].as_u64() <= core["turn_us"]["p99"].as_u64());
        assert!(core["ring"]["armed"].as_u64().is_some() && core["ring"]["overflows"] == 0);
    }
    let armed: u64 = cores.iter().map(|core| core["ring"]["armed"].as_u64().unwrap()).sum();
    assert_eq!(armed, 6);
    for times in ["rtt_ms", "reported_rtt_ms", "ready_ms", "start_skew_ms", "drift_ms"] {
        assert!(stats["sync"].get(times).is_some(), "{times}");
    }
    let rtt = &stats["sync"]["rtt_ms"];
    assert!(rtt["count"] == 6 && rtt["p50"].as_f64() <= rtt["max"].as_f64(), "{rtt}");
    assert!(rtt["max"].as_f64() < Some(1_000.0), "loopback: {rtt}");
}

#[test]
fn what_devices_feel_is_in_the_stats() {
    let admin = Admin::start(&config(2), None);
    let mut clients: Vec<_> = (0..3).map(|_| admin.server.connect("/?roomCode=R")).collect();
    for (i, client) in clients.iter_mut().enumerate() {
        join(client, "R", &format!("u{i}"));
        hear_type(client, "joined");
    }
    say(&mut clients[0], PLAY);
    for client in &mut clients {
        let check = hear_type(client, "PREPARE_TRACK")["checkId"].as_str().unwrap().to_owned();
        say(
            client,
            &format!(
                r#"{{"type":"device_health_check_response","roomCode":"R","checkId":"{check}","audioLoaded":true,"deviceReady":true,"rttMs":12.5}}"#
            ),
        );
    }
    hear_type(&mut clients[2], "PLAY");
    say(&mut clients[1], r#"{"type":"sync_check","roomCode":"R","clientPosition":50000}"#);
    hear_type(&mut clients[1], "RESYNC");
    let stats = admin.await_json("/api/stats", |stats| stats["sync"]["drift_ms"]["count"] == 1);
    let sync = &stats["sync"];
    assert_eq!(sync["out_of_sync"], 1);
    assert_eq!((&sync["ready_ms"]["count"], &sync["reported_rtt_ms"]["count"]), (&3.into(), &3.into()));
    assert_eq!(sync["start_skew_ms"]["count"], 1, "{sync:#}");
    let reported = sync["reported_rtt_ms"]["p50"].as_f64().unwrap();
    assert!((12.4..12.7).contains(&reported), "{reported}");
    drop(clients.remove(1));
    admin.await_json("/api/stats", |stats| stats["sync"]["out_of_sync"] == 0);
}

#[test]
fn latencies_are_of_the_last_second() {
    let admin = Admin::start(&config(1), None);
    let mut client = admin.server.connect("/");
    let (_, mut events) = admin.listen();
    // Each answer is heard before the next is asked for, so in the end an interval has some of them.
    loop {
        say(&mut client, r#"{"type":"time_ping","id":"1","t0":1}"#);
        hear_type(&mut client, "time_pong");
        let (_, stats) = hear_event(&mut events);
        let dwell = &stats["latency_us"]["dwell"];
        if dwell.is_object() {
            assert!(dwell["count"].as_u64() > Some(0) && dwell["p99_9"].as_u64() <= dwell["max"].as_u64());
            assert!(stats["totals"]["messages_per_s"].as_f64() > Some(0.0), "{stats:#}");
            return;
        }
    }
}

#[test]
fn rooms_are_listed_by_size_and_searched() {
    let admin = Admin::start(&config(2), None);
    let mut clients = Vec::new();
    for (i, code) in ["Alpha", "beta", "alphabet", "beta", "alphabet", "beta"].into_iter().enumerate() {
        let mut client = admin.server.connect(if i % 2 == 0 { "/" } else { "/?roomCode=alphabet" });
        join(&mut client, code, "u");
        hear_type(&mut client, "joined");
        clients.push(client);
    }
    let codes = |page: &Value| -> Vec<String> {
        let rooms = page["rooms"].as_array().unwrap().iter();
        rooms.map(|room| format!("{} {}", room["code"].as_str().unwrap(), room["members"])).collect()
    };
    let all = admin.json("/api/rooms");
    assert_eq!(codes(&all), ["beta 3", "alphabet 2", "Alpha 1"]);
    assert_eq!((&all["total"], &all["truncated"]), (&3.into(), &false.into()));
    let room = &all["rooms"][0];
    assert_eq!((&room["state"], &room["out_of_sync"]), (&"empty".into(), &0.into()));
    assert!(room["duration_ms"].is_null() && room["audio_url"].is_null() && room["position_ms"] == 0.0);
    assert!(room["core"].is_number());
    let largest = admin.json("/api/rooms?limit=1");
    assert_eq!(
        (codes(&largest), &largest["total"], &largest["truncated"]),
        (vec!["beta 3".to_owned()], &3.into(), &true.into())
    );
    assert_eq!(codes(&admin.json("/api/rooms?search=ALPHA")), ["alphabet 2", "Alpha 1"]);
    assert_eq!(codes(&admin.json("/api/rooms?search=%C3%BC+")), Vec::<String>::new());
    for bad in ["limit=0", "limit=1001", "limit=x", &format!("search={}", "x".repeat(257))] {
        assert_eq!(admin.get(&format!("/api/rooms?{bad}")).status, 400, "{bad}");
    }
}

#[test]
fn a_room_says_who_holds_its_start_up() {
    let admin = Admin::start(&config(2), None);
    let code = "a/b c?ü";
    let path = "/api/rooms/a%2Fb%20c%3F%C3%BC";
    let mut clients: Vec<_> = (0..3).map(|_| admin.server.connect("/")).collect();
    for (i, client) in clients.iter_mut().enumerate() {
        say(client, &format!(r#"{{"type":"join","roomCode":"{code}","userId":"u{i}","hostId":"u1"}}"#));
        hear_type(client, "joined");
    }
    let play = PLAY.replace("\"R\"", &format!("\"{code}\""));
    say(&mut clients[0], &play);
    let check = hear_type(&mut clients[2], "PREPARE_TRACK")["checkId"].clone();
    let ready = |check: &Value| {
        format!(
            r#"{{"type":"device_health_check_response","roomCode":"{code}","checkId":{check},"audioLoaded":true,"deviceReady":true}}"#
        )
    };
    say(&mut clients[2], &ready(&check));
    let room = admin.await_json(path, |room| room["starting"]["ready"] == 1);
    assert_eq!(
        (&room["code"], &room["state"], &room["members"]),
        (&code.into(), &"starting".into(), &3.into())
    );
    assert_eq!((&room["host"], &room["members_truncated"]), (&"u1".into(), &false.into()));
    let starting = &room["starting"];
    assert_eq!((&starting["of"], &starting["check_id"]), (&3.into(), &check));
    assert!(starting["since_ms"].as_f64() > Some(0.0));
    let waiting: HashSet<_> =
        starting["waiting_for"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    assert_eq!(waiting, HashSet::from(["u0", "u1"]));
    for member in room["members_list"].as_array().unwrap() {
        let user = member["user"].as_str().unwrap();
        assert_eq!((&member["is_host"], &member["ready"]), (&(user == "u1").into(), &(user == "u2").into()));
        assert!(member["ws_id"].as_str().unwrap().len() >= 7 && member["drift_ms"].is_null());
        let is_home = member["core"] == room["core"];
        assert_eq!(member["owed_bytes"].is_number(), is_home);
        assert_eq!(member["rtt_ms"].is_number(), is_home, "{member}");
    }
    for client in &mut clients[..2] {
        say(client, &ready(&check));
    }
    let room = admin.await_json(path, |room| room["state"] == "playing");
    assert!(room["starting"].is_null() && room["duration_ms"] == 187_500.0);
    assert_eq!(room["audio_url"], "https://a.example/b.mp3");
    assert_eq!(admin.get("/api/rooms/none").json(), serde_json::json!({ "error": "no such room" }));
    assert_eq!(admin.get("/api/rooms/%FF").status, 404);
}

#[test]
fn methods_paths_heads_and_bodies_have_their_limits() {
    let admin = Admin::start(&config(1), None);
    assert_eq!(admin.get("/nothing").status, 404);
    let post = admin.ask("POST", "/api/stats", "Content-Length: 0\r\n");
    assert!(post.status == 405 && post.head.contains("allow: get, head"), "{}", post.head);
    assert_eq!(admin.get("/api/drain").status, 405);
    let head = admin.ask("HEAD", "/healthz", "");
    assert!(head.status == 200 && head.body.is_empty() && head.head.contains("content-length: 3"));
    let long = format!("X-Long: {}\r\n", "x".repeat(20_000));
    assert_eq!(admin.ask("GET", "/healthz", &long).status, 431);
    let many: String = (0..100).map(|i| format!("X-{i}: 1\r\n")).collect();
    assert_eq!(admin.ask("GET", "/healthz", &many).status, 431);
    let body = format!("Content-Length: 20000\r\n\r\n{}", "x".repeat(20_000));
    assert_eq!(admin.ask("POST", "/api/drain", &body).status, 413);
    assert_eq!(admin.ask("POST", "/api/drain", "Origin: https://evil.example\r\n").status, 403);
    let mut stream = admin.tcp();
    stream.write_all(b"GET /api/stats HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n").unwrap();
    assert_eq!(answer(stream).status, 403, "a name of another site's that leads here");
    assert!(!admin.is_drain_asked.load(Ordering::Relaxed));
    let mut stream = admin.tcp();
    stream.write_all(b"nonsense\r\n\r\n").unwrap();
    assert_eq!(answer(stream).status, 400);
}

#[test]
fn a_token_is_wanted_for_all_but_health_and_the_page() {
    let admin = Admin::start(&config(1), Some(TOKEN));
    for path in ["/metrics", "/api/stats", "/api/events", "/api/rooms", "/api/rooms/x", "/nothing"] {
        let response = admin.get(path);
        assert_eq!(response.status, 401, "{path}");
        assert!(response.head.contains("www-authenticate: bearer"), "{}", response.head);
        assert!(response.json()["error"].is_string());
    }
    assert_eq!(admin.ask("POST", "/api/drain", "Content-Length: 0\r\n").status, 401);
    for path in ["/", "/healthz", "/readyz"] {
        assert_eq!(admin.get(path).status, 200, "{path}");
    }
    let with =
        |token: &str| admin.ask("GET", "/api/stats", &format!("Authorization: Bearer {token}\r\n")).status;
    assert_eq!((with(TOKEN), with(&TOKEN[1..]), with("")), (200, 401, 401));
    assert!(!admin.is_drain_asked.load(Ordering::Relaxed));
}

#[test]
fn the_page_may_run_its_own_script_and_nothing_else() {
    let admin = Admin::start(&config(1), Some(TOKEN));
    let nonce = |response: &Response| {
        let policy =
            response.head.lines().find(|line| line.starts_with("content-security-policy: ")).unwrap();
        for rule in ["default-src 'none'", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"]
        {
            assert!(policy.contains(rule), "{policy}");
        }
        policy.split("script-src 'nonce-").nth(1).unwrap().split('\'').next().unwrap().to_owned()
    };
    let (first, second) = (admin.get("/"), admin.get("/"));
    assert!(first.head.contains("content-type: text/html") && !first.body.contains("{nonce}"));
    assert!(first.body.contains(&format!("nonce=\"{}\"", nonce(&first))), "{}", first.head);
    assert_ne!(nonce(&first), nonce(&second), "one for each response");
}

#[test]
fn there_are_so_many_connections_and_one_that_goes_makes_room() {
    let admin = Admin::start(&config(1), None);
    let mut crowd: Vec<_> = (0..64).map(|_| admin.tcp()).collect();
    let start = Instant::now();
    // Those before it are accepted in their order.
    let full = loop {
        let response = admin.get("/healthz");
        if response.status == 503 || start.elapsed() > PATIENCE {
            break response;
        }
    };
    assert!(full.status == 503 && full.head.contains("retry-after"), "{}", full.head);
    crowd.pop();
    while admin.get("/healthz").status != 200 {
        assert!(start.elapsed() < PATIENCE, "no room is made");
    }
}

#[test]
fn events_come_at_once_and_each_second_and_who_does_not_read_holds_up_nobody() {
    let admin = Admin::start(&config(2), None);
    let asleep: Vec<_> = (0..31).map(|_| admin.listen()).collect();
    assert!(asleep.iter().all(|(status, _)| *status == 200));
    let start = Instant::now();
    let (_, mut reader) = admin.listen();
    let heard: Vec<_> = (0..3).map(|_| hear_event(&mut reader)).collect();
    assert!(heard.iter().all(|(name, stats)| name == "stats" && stats["cores"][1]["is_answering"] == true));
    assert!(start.elapsed().as_secs() < 10);
    let times: Vec<_> = heard.iter().map(|(_, stats)| stats["now_unix_ms"].as_u64().unwrap()).collect();
    assert!(times[2] - times[1] >= 300, "{times:?}");
    assert_eq!(admin.listen().0, 503, "32 listen");
    assert_eq!(admin.get("/healthz").status, 200);
    drop(asleep);
    let is_room = |admin: &Admin| admin.listen().0 == 200;
    let start = Instant::now();
    while !is_room(&admin) {
        assert!(start.elapsed() < PATIENCE, "who went away still listens");
    }
}

#[test]
fn a_drain_is_asked_for_told_of_and_makes_the_process_unready() {
    let admin = Admin::start(&config(1), None);
    let _client = admin.server.connect("/");
    let (_, mut reader) = admin.listen();
    assert_eq!(hear_event(&mut reader).0, "stats");
    assert_eq!(admin.get("/readyz").body, "ready\n");
    let response = admin.ask("POST", "/api/drain", "Content-Length: 2\r\n\r\n{}");
    assert_eq!((response.status, response.json()), (202, serde_json::json!({ "draining": true })));
    let start = Instant::now();
    while !admin.is_drain_asked.load(Ordering::Relaxed) {
        assert!(start.elapsed() < PATIENCE, "nobody is asked");
        std::thread::yield_now();
    }
    let drain = loop {
        let (name, data) = hear_event(&mut reader);
        if name == "drain" {
            break data;
        }
    };
    assert!(drain["since_s"].is_number() && drain["of"] == 1 && drain["rate_per_s"].is_number(), "{drain}");
    assert_eq!(drain["left"], 1);
    let ready = admin.get("/readyz");
    assert_eq!((ready.status, &*ready.body), (503, "draining\n"));
    assert_eq!(admin.get("/healthz").status, 200);
    assert!(admin.json("/api/stats")["drain"].is_object());
}

#[test]
fn near_a_limit_the_process_is_not_ready_for_more() {
    let admin = Admin::start(&Config { connections_max: Some(4), ..config(1) }, None);
    let clients: Vec<_> = (0..4).map(|_| admin.server.connect("/")).collect();
    let start = Instant::now();
    loop {
        let ready = admin.get("/readyz");
        if ready.status == 503 {
            assert_eq!(ready.body, "connections near their limit (4 of 4)\n");
            break;
        }
        assert!(start.elapsed() < PATIENCE);
    }
    drop(clients);
    while admin.get("/readyz").status == 503 {
        assert!(start.elapsed() < PATIENCE, "they are gone");
    }
}

/// Each sample by name and labels. What is allowed is held by `scripts/metrics-check.sh`, with other people's parsers.
fn samples(text: &str) -> HashMap<String, f64> {
    let mut samples = HashMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with("downbeat_"), "{line}");
        assert!(samples.insert(name.to_owned(), value.parse().unwrap()).is_none(), "twice: {line}");
    }
    samples
}

#[test]
fn metrics_count_what_happened() {
    let admin = Admin::start(&config(2), None);
    let before = admin.get("/metrics");
    assert!(before.head.contains("content-type: text/plain; version=0.0.4"), "{}", before.head);
    let mut clients: Vec<_> = (0..4).map(|i| admin.server.connect(&format!("/?roomCode=R{i}"))).collect();
    for (i, client) in clients.iter_mut().enumerate() {
        join(client, &format!("R{i}"), "u");
        hear_type(client, "joined");
    }
    let sum = |samples: &HashMap<String, f64>, name: &str| -> f64 {
        let of_name = |key: &&String| key.split('{').next() == Some(name);
        samples.keys().filter(of_name).map(|key| samples[key]).sum()
    };
    let start = Instant::now();
    let samples = loop {
        let samples = samples(&admin.get("/metrics").body);
        if sum(&samples, "downbeat_rtt_seconds_count") == 4.0 {
            break samples;
        }
        assert!(start.elapsed() < PATIENCE);
    };
    for (name, expected) in [
        ("downbeat_connections", 4.0),
        ("downbeat_rooms", 4.0),
        ("downbeat_messages_total", 4.0),
        ("downbeat_upgraded_total", 4.0),
        ("downbeat_receives_armed", 4.0),
        ("downbeat_handshake_seconds_count", 4.0),
        ("downbeat_dwell_seconds_count", 4.0),
        ("downbeat_shard_answering", 2.0),
        ("downbeat_refusals_total", 0.0),
        ("downbeat_out_of_sync", 0.0),
        ("downbeat_draining", 0.0),
    ] {
        assert_eq!(sum(&samples, name), expected, "{name}");
    }
    for name in
        ["received_bytes_total", "sent_bytes_total", "enters_total", "turns_total", "cpu_seconds_total"]
    {
        assert!(sum(&samples, &format!("downbeat_{name}")) > 0.0, "{name}");
    }
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn downbeat(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_downbeat"));
    command.env_clear().args(["--port", "0", "--host", "127.0.0.1", "--cores", "2"]).args(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Starts it and reads its banner, whose last line is about the host.
fn start(command: &mut Command) -> (Process, HashMap<String, String>) {
    let mut child = command.spawn().unwrap();
    let mut rows = HashMap::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if let Some((name, value)) = line.trim().split_once(' ') {
            rows.entry(name.to_owned()).or_insert_with(|| value.trim().to_owned());
        }
        if line.starts_with("  host ") {
            break;
        }
    }
    (Process(child), rows)
}

#[test]
fn a_drain_over_http_ends_the_process_as_a_signal_does() {
    let (mut process, rows) = start(downbeat(&["--admin", "127.0.0.1:0"]).env("ADMIN_TOKEN", TOKEN));
    let admin =
        rows["admin"].strip_prefix("http://").unwrap().strip_suffix(" (with a token)").unwrap().to_owned();
    let port = rows["port"].split(' ').next().unwrap().parse().unwrap();
    let mut client = connect(port, "/?roomCode=R");
    join(&mut client, "R", "u");
    hear_type(&mut client, "playback_state");
    let mut events = TcpStream::connect(&admin).unwrap();
    write!(events, "GET /api/events HTTP/1.1\r\nHost: {admin}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n")
        .unwrap();
    let mut events = BufReader::new(events).lines().map_while(Result::ok);
    assert!(events.any(|line| line == "event: stats"));
    let mut stream = TcpStream::connect(&admin).unwrap();
    let head = format!("POST /api/drain HTTP/1.1\r\nHost: {admin}\r\nAuthorization: Bearer {TOKEN}\r\n");
    write!(stream, "{head}Content-Length: 0\r\n\r\n").unwrap();
    assert_eq!(answer(stream).status, 202);
    let tungstenite::Message::Close(Some(frame)) = client.read().unwrap() else { panic!("no close frame") };
    assert_eq!(u16::from(frame.code), 1001);
    drop(client);
    let start = Instant::now();
    while process.0.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < PATIENCE, "it does not end");
        std::thread::yield_now();
    }
    assert_eq!(process.0.wait().unwrap().code(), Some(0));
    // The last of its events, whose stream is cut off.
    let told = events.filter(|line| line.starts_with("data: ")).last();
    assert!(
        told.as_ref().is_some_and(|told| told.contains(r#""left":0,"of":1,"#)),
        "the end is told: {told:?}"
    );
}

#[test]
fn the_default_port_is_off_if_it_is_taken_and_a_chosen_one_is_an_error() {
    let start_time = Instant::now();
    // Other tests' servers may have it for a moment; whoever has it for long takes it from the server as well.
    let _ours = loop {
        match TcpListener::bind(DEFAULT_ADDRESS) {
            Err(_) if start_time.elapsed() < PATIENCE => std::thread::yield_now(),
            bound => break bound,
        }
    };
    let (_process, rows) = start(&mut downbeat(&[]));
    assert_eq!(rows["admin"], "off: 127.0.0.1:9600 is taken; --admin ADDRESS chooses another");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (address, part) in [(address.as_str(), "--admin off"), ("0.0.0.0:0", "ADMIN_TOKEN")] {
        let output = downbeat(&["--admin", address]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.lines().count() == 1 && said.contains(part), "{said}");
        assert!(output.stdout.is_empty());
    }
    let (_process, rows) = start(&mut downbeat(&["--admin", "off"]));
    assert_eq!(rows["admin"], "off: --admin ADDRESS turns it on");
}

#[test]
fn a_token_is_read_from_a_file_and_shown_nowhere() {
    let file = std::env::temp_dir().join(format!("downbeat-token-{}", std::process::id()));
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let path = file.to_str().unwrap();
    let (_process, rows) = start(&mut downbeat(&["--admin", "0", "--admin-token-file", path]));
    assert!(rows["admin"].ends_with("(with a token)"), "{}", rows["admin"]);
    std::fs::write(&file, "short\n").unwrap();
    let output = downbeat(&["--admin", "0", "--admin-token-file", path]).output().unwrap();
    std::fs::remove_file(&file).unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(78) && said.contains(path) && !said.contains("short\n"), "{said}");
    for arguments in [&["config"][..], &["--help"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_downbeat"))
            .args(arguments)
            .env("ADMIN_TOKEN", TOKEN)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains("admin") && !said.contains(TOKEN), "{said}");
    }
}
