//! From exec to the first connection that is accepted and upgraded, measured from outside.
//!
//! `cargo run --release --example startup -- target/release/downbeat [cores] [runs]` starts the server anew
//! for each run, connects as fast as it can and prints minimum, median and maximum in ms.

#![allow(clippy::print_stdout, reason = "it reports on the terminal")]

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const PATIENCE: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(program) = arguments.first() else {
        eprintln!("usage: startup PROGRAM [CORES] [RUNS]");
        return ExitCode::from(64);
    };
    let cores = arguments.get(1).map_or("2", String::as_str);
    let runs = arguments.get(2).and_then(|runs| runs.parse().ok()).unwrap_or(21);
    let mut times_ms = Vec::new();
    for _ in 0..runs {
        match run(program, cores) {
            Ok(time) => times_ms.push(time.as_secs_f64() * 1000.0),
            Err(error) => {
                eprintln!("{program}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    times_ms.sort_by(f64::total_cmp);
    println!(
        "exec to first 101, {cores} cores, {runs} runs: min {:.2} ms, median {:.2} ms, max {:.2} ms",
        times_ms[0],
        times_ms[times_ms.len() / 2],
        times_ms[times_ms.len() - 1]
    );
    ExitCode::SUCCESS
}

fn run(program: &str, cores: &str) -> io::Result<Duration> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let start = Instant::now();
    let mut server = Command::new(program)
        .args(["--host", "127.0.0.1", "--cores", cores, "--port", &port.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let result = first_upgrade(port, start);
    let time = start.elapsed();
    stop(&mut server)?;
    result.map(|()| time)
}

fn first_upgrade(port: u16, start: Instant) -> io::Result<()> {
    loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(mut stream) => {
                stream.write_all(REQUEST)?;
                let mut status = [0; 12];
                stream.read_exact(&mut status)?;
                return if status.ends_with(b"101") {
                    Ok(())
                } else {
                    Err(io::ErrorKind::InvalidData.into())
                };
            }
            Err(error) if start.elapsed() > PATIENCE => return Err(error),
            Err(_) => std::thread::yield_now(),
        }
    }
}

fn stop(server: &mut Child) -> io::Result<()> {
    // SAFETY: no memory is involved; the child has not been waited for, so the id is its own.
    unsafe { libc::kill(server.id() as libc::pid_t, libc::SIGTERM) };
    server.wait().map(drop)
}
