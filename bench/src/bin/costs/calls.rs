//! System calls of the release binary for each message it is sent, at a fixed and low rate, under strace.
//!
//! At that rate a message comes alone: one `io_uring_enter` takes it and another sends its answer; where two come at
//! once, as the clients of rooms have it, they share those. The boot is in both of two runs, and so in neither's
//! difference.

use crate::{Asked, Metrics, tool};
use serde_json::Value;
use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What is asked of the server, and how.
const LOADS: [(&str, &[&str]); 2] = [
    ("echo", &["-c", "20", "--rate", "200"]),
    ("rooms", &["-c", "40", "--room-size", "20", "--click-every", "2s", "--leavers", "0"]),
];
const SHORT: &str = "1s";
const LONG: &str = "5s";
/// A server that has not come up or gone down after this has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// Counts of one run.
struct Run {
    calls: u64,
    enters: u64,
    messages: u64,
}

/// Calls and enters a message, for each load.
pub fn measure(asked: &Asked) -> Result<Metrics, String> {
    let mut metrics = Metrics::new();
    for (app, flags) in LOADS {
        let [calls, enters] = ["all", "enters"].map(|what| format!("calls.{what}.{app}"));
        if asked.wants(&calls) || asked.wants(&enters) {
            let (short, long) = (run(asked, app, flags, SHORT)?, run(asked, app, flags, LONG)?);
            let messages = long.messages.saturating_sub(short.messages) as f64;
            metrics.insert(calls, long.calls.saturating_sub(short.calls) as f64 / messages);
            metrics.insert(enters, long.enters.saturating_sub(short.enters) as f64 / messages);
        }
    }
    Ok(metrics)
}

fn run(asked: &Asked, app: &str, flags: &[&str], duration: &str) -> Result<Run, String> {
    let folder = Folder::new()?;
    let [counts, result] = ["counts", "result.json"].map(|name| folder.0.join(name));
    let port = free_port()?;
    let mut strace = Command::new("strace");
    strace
        .args(["--follow-forks", "--summary-only", "--summary-columns=calls,name", "--output"])
        .arg(&counts);
    strace.arg(&asked.server).args(["--host", "127.0.0.1", "--port", &port.to_string()]);
    strace.args(["--cores", "1", "--app", app]).stdout(Stdio::null()).stderr(Stdio::null());
    let server = strace.spawn().map_err(|error| format!("strace: {error}; is it installed?"))?;
    let mut server = Traced(server);
    server.await_port(port)?;
    let mut loadgen = Command::new(tool::sibling("loadgen")?);
    loadgen.args([
        "run",
        app,
        &format!("ws://127.0.0.1:{port}"),
        "-d",
        duration,
        "--warmup",
        "0s",
        "--seed",
        "7",
    ]);
    // A run that is void is late, as it may be under strace; its messages are counted all the same.
    tool::run(loadgen.args(flags).arg("--quiet").arg("--json").arg(&result), |code| {
        [0, 1, 3].contains(&code)
    })?;
    server.end()?;
    let result: Value =
        read(&result).and_then(|text| serde_json::from_str(&text).map_err(|it| it.to_string()))?;
    let messages = result["messages"]["sent"].as_u64().unwrap_or(0);
    let counts = read(&counts)?;
    let calls_of = |wanted: &str| {
        let columns = counts.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let line = columns.filter(|it| it.len() == 2).find(|it| it[1] == wanted);
        line.and_then(|it| it[0].parse().ok()).unwrap_or(0)
    };
    let run = Run { calls: calls_of("total"), enters: calls_of("io_uring_enter"), messages };
    if run.calls == 0 || run.enters == 0 || run.messages == 0 {
        return Err(format!("strace counted nothing of {app}: {counts}"));
    }
    Ok(run)
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| error.to_string())?;
    Ok(listener.local_addr().map_err(|error| error.to_string())?.port())
}

/// strace with the server as its child.
struct Traced(Child);

impl Traced {
    fn await_port(&mut self, port: u16) -> Result<(), String> {
        let start = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if self.0.try_wait().is_ok_and(|it| it.is_some()) || start.elapsed() > PATIENCE {
                return Err("the server did not come up under strace".to_owned());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// The server drains; strace ends after it and writes its counts.
    fn end(mut self) -> Result<(), String> {
        self.signal_server("-TERM");
        let start = Instant::now();
        while self.0.try_wait().is_ok_and(|it| it.is_none()) {
            if start.elapsed() > PATIENCE {
                return Err("the server did not end under strace".to_owned());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn signal_server(&self, signal: &str) {
        let pid = self.0.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        for child in children.split_whitespace() {
            let _ = Command::new("kill").args([signal, child]).status();
        }
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        self.signal_server("-KILL");
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A folder of its own, gone with this.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Folder, String> {
        let path = std::env::temp_dir().join(format!("downbeat-costs-{}", std::process::id()));
        fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
