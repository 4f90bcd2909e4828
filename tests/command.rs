//! The command as an operator sees it: what it says, which signals stop it, its exit status.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod process;
mod server;

use process::{downbeat, start};
use rustix::process::Signal;
use server::{connect, hear_type, join};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tungstenite::Message;
use tungstenite::protocol::frame::coding::CloseCode;

#[test]
fn the_banner_says_version_cores_port_backend_and_limit() {
    let process = start(downbeat().args(["--port", "0", "--cores", "3"]).env("NODE_ENV", "production"));
    for part in [
        &format!("Downbeat {}\n", env!("CARGO_PKG_VERSION")),
        "3 cores (cluster mode)",
        "(all addresses, IPv4 and IPv6)",
        "io_uring, Linux ",
        "environment production",
        "connections at most ",
        "origins     warning: every web page may connect; --allowed-origins",
        "/ws/sync?roomCode=ROOM&userId=USER",
    ] {
        assert!(process.banner.contains(part), "{part}: {}", process.banner);
    }
}

#[test]
fn the_banner_says_where_the_demo_is_unless_there_is_none() {
    let line = |command: &mut Command| {
        let process = start(command.args(["--port", "0", "--cores", "1"]));
        let port = process.port;
        let line = process.banner.lines().find_map(|line| line.strip_prefix("  demo "));
        line.map(|line| line.trim().replace(&port.to_string(), "PORT"))
    };
    assert_eq!(line(&mut downbeat()).as_deref(), Some("http://localhost:PORT/"));
    assert_eq!(line(downbeat().arg("--no-demo")), None);
    assert_eq!(line(downbeat().env("DOWNBEAT_DEMO", "false")), None);
    assert_eq!(line(downbeat().env("NODE_ENV", "production")), None);
}

#[test]
fn the_environment_of_the_old_server_is_understood() {
    let process = start(downbeat().env("PORT", "0").env("CLUSTER_WORKERS", "1").env("HOST", "127.0.0.1"));
    assert!(process.banner.contains("1 core (single process mode)"), "{}", process.banner);
    assert!(process.banner.contains("(127.0.0.1)"), "{}", process.banner);
}

#[test]
fn it_listens_on_ipv4_and_ipv6_alike() {
    let process = start(downbeat().args(["--port", "0"]));
    TcpStream::connect(("127.0.0.1", process.port)).unwrap();
    // A host without IPv6 has no ::1 to connect to.
    if std::net::TcpListener::bind("[::1]:0").is_ok() {
        TcpStream::connect(("::1", process.port)).unwrap();
    }
}

#[test]
fn sigterm_and_ctrl_c_close_every_client_with_1001_and_exit_0_within_2_s() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut process = start(downbeat().args(["--port", "0", "--host", "127.0.0.1", "--cores", "2"]));
        let mut clients: Vec<_> =
            (0..20).map(|i| connect(process.port, &format!("/?roomCode={i}"))).collect();
        for (i, client) in clients.iter_mut().enumerate() {
            join(client, &i.to_string(), "u");
            hear_type(client, "playback_state");
        }
        let start = Instant::now();
        process.signal(signal);
        for client in &mut clients {
            let Message::Close(Some(frame)) = client.read().unwrap() else { panic!("no close frame") };
            assert_eq!(frame.code, CloseCode::Away);
        }
        // Not even those hold it up who never end their side.
        let status = process.wait();
        assert_eq!(status.code(), Some(0));
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    }
}

#[test]
fn a_bad_value_is_one_line_and_exit_64() {
    for command in [
        downbeat().args(["--port", "seventy"]),
        downbeat().env("CLUSTER_WORKERS", "0"),
        downbeat().args(["--unknown"]),
        downbeat().args(["--config", "/nonexistent/downbeat.toml"]),
    ] {
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_taken_port_is_one_line_with_its_remedy_and_exit_78() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = downbeat().args(["--host", "127.0.0.1", "--port", &port]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.lines().count() == 1 && said.contains(&port) && said.contains("--port"), "{said}");
    drop(taken);
}

/// Less locked memory than any start has to have. Root is held to it, too.
#[test]
fn a_limit_of_64_kib_of_locked_memory_is_one_line_with_its_remedy_and_exit_78() {
    let run = |arguments: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -l 64 && exec \"$0\" {arguments} --port 0 --host 127.0.0.1")]);
        command.arg(env!("CARGO_BIN_EXE_downbeat")).env_clear().output().unwrap()
    };
    for arguments in ["--cores 1", "--cores 2 --supervised"] {
        let output = run(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{arguments}: {said}");
        assert!(
            said.lines().count() == 1 && said.starts_with("downbeat: RLIMIT_MEMLOCK (64 KiB) "),
            "{said}"
        );
        assert!(said.contains("LimitMEMLOCK=") && output.stdout.is_empty(), "{said}");
    }
    let looked = run("check");
    let found = String::from_utf8(looked.stdout).unwrap();
    assert!(found.contains("\nFAIL  locked memory  RLIMIT_MEMLOCK (64 KiB) "), "{found}");
    assert_eq!(looked.status.code(), Some(78));
}

#[test]
fn config_prints_a_file_that_config_takes_back() {
    let output = downbeat().args(["config", "--port", "7001"]).env("NODE_ENV", "staging").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let file = std::env::temp_dir().join(format!("downbeat-config-{}.toml", std::process::id()));
    std::fs::write(&file, &output.stdout).unwrap();
    let again = downbeat().arg("config").arg("--config").arg(&file).output().unwrap();
    std::fs::remove_file(&file).unwrap();
    let text = String::from_utf8(again.stdout).unwrap();
    assert!(
        text.contains("port = 7001 # file\n") && text.contains("environment = \"staging\" # file\n"),
        "{text}"
    );
}

#[test]
fn help_and_version_go_to_standard_output() {
    for argument in ["--help", "--version"] {
        let mut child = downbeat().arg(argument).spawn().unwrap();
        let mut text = String::new();
        child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0));
        assert!(text.len() > 10, "{text}");
    }
}

/// Asks for the metrics on a connection that is kept, and so needs no descriptor more.
fn accepts_failed(admin: &mut BufReader<TcpStream>) -> u64 {
    admin.get_mut().write_all(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").unwrap();
    let mut body_bytes = 0;
    loop {
        let mut line = String::new();
        assert!(admin.read_line(&mut line).unwrap() > 0, "it was closed");
        if let Some(bytes) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            body_bytes = bytes.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; body_bytes];
    admin.read_exact(&mut body).unwrap();
    let body = String::from_utf8(body).unwrap();
    let failed =
        body.lines().find_map(|line| line.strip_prefix("downbeat_accepts_failed_total{core=\"0\"} "));
    failed.unwrap_or_else(|| panic!("{body}")).parse().unwrap()
}

#[test]
fn without_descriptors_accepts_wait_one_line_says_so_and_it_recovers_by_itself() {
    let mut command = Command::new("sh");
    let arguments = "--port 0 --host 127.0.0.1 --cores 1 --admin 127.0.0.1:0";
    command.args(["-c", &format!("ulimit -n 200 && exec \"$0\" {arguments}")]);
    command.arg(env!("CARGO_BIN_EXE_downbeat")).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = start(&mut command);
    let admin = process.banner.lines().find_map(|line| line.trim().strip_prefix("admin "));
    let admin = admin.unwrap().trim().strip_prefix("http://").unwrap().split(' ').next().unwrap();
    let mut admin = BufReader::new(TcpStream::connect(admin).unwrap());
    assert_eq!(accepts_failed(&mut admin), 0);
    let mut errors = BufReader::new(process.child.stderr.take().unwrap()).lines().map(Result::unwrap);
    // More than it may have: the last are answered 503, and hold a descriptor until they end.
    let began = Instant::now();
    let crowd: Vec<_> = (0..250).map(|_| server::tcp(process.port)).collect();
    let line = errors.next().unwrap();
    assert!(line.contains("no descriptors") && line.contains("LimitNOFILE="), "{line}");
    // All that are armed may fail at once, and of those that try again each fails alone and is told of.
    while accepts_failed(&mut admin) < 8 + 3 {
        assert!(began.elapsed() < server::PATIENCE, "it tries no more");
        std::thread::yield_now();
    }
    drop(crowd);
    let mut client = connect(process.port, "/");
    let took = began.elapsed();
    join(&mut client, "R", "u");
    hear_type(&mut client, "joined");
    process.signal(Signal::TERM);
    assert!(process.wait().success());
    let again: Vec<String> = errors.filter(|line| line.contains("no descriptors")).collect();
    assert!(again.len() as u64 <= took.as_secs() / 10, "{took:?}: {again:#?}");
}
