//! `start`: from exec to the first answered upgrade, each time a process of its own.

use crate::args::StartArgs;
use crate::clock;
use crate::exit::{Exit, Failure};
use crate::machine::Host;
use crate::report::text;
use crate::result::StartResult;
use crate::statistics;
use crate::target::{self, Target};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

const ANSWERS_IN: Duration = Duration::from_secs(15);
const REQUEST: &[u8] =
    b"GET /ws/sync?roomCode=R&userId=U HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

pub fn start(args: &StartArgs) -> Result<StartResult, Failure> {
    let target = Target::parse(&args.target, args.profile)?;
    let Target::Command { words, title, .. } = &target else {
        return Err(Failure::usage(
            "start: a peer or a command with {port}; a running server has started already",
        ));
    };
    if args.times == 0 {
        return Err(Failure::usage("--times: at least 1"));
    }
    let started_unix_s = (clock::unix_ms() / 1e3) as u64;
    let mut times_us = Vec::new();
    for _ in 0..args.times {
        let time = once(words, &args.server_cpus)
            .map_err(|line| Failure { exit: Exit::Refused, line: format!("{title}: {line}") })?;
        times_us.push(time.as_secs_f64() * 1e6);
    }
    Ok(StartResult {
        kind: "start".to_owned(),
        target: title.clone(),
        profile: args.profile.name().to_owned(),
        median_us: statistics::median(&times_us),
        times_us,
        host: Host::read(),
        args: std::env::args().skip(1).collect(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_unix_s,
    })
}

fn once(words: &[String], cpus: &[usize]) -> Result<Duration, String> {
    let port = target::free_port().map_err(|error| error.to_string())?;
    let start = Instant::now();
    let mut child = target::spawn(words, port, cpus).map_err(|error| error.to_string())?;
    let answered = loop {
        if let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
            break first_answer(stream).map(|()| start.elapsed());
        }
        if let Ok(Some(status)) = child.try_wait() {
            break Err(format!("ended before it listened ({status})"));
        }
        if start.elapsed() > ANSWERS_IN {
            break Err("did not listen within 15 s".to_owned());
        }
        // Short against what is measured, and leaves the CPU to the server.
        std::thread::sleep(Duration::from_micros(50));
    };
    let _ = child.kill();
    let _ = child.wait();
    answered
}

fn first_answer(mut stream: TcpStream) -> Result<(), String> {
    let mut answer = [0; 12];
    let asked = stream
        .set_read_timeout(Some(ANSWERS_IN))
        .and_then(|()| stream.write_all(REQUEST))
        .and_then(|()| stream.read_exact(&mut answer));
    asked.map_err(|error| format!("no answer to the upgrade: {error}"))?;
    if answer != *b"HTTP/1.1 101" {
        return Err(format!("answered {:?} to the upgrade", String::from_utf8_lossy(&answer)));
    }
    Ok(())
}

/// The answer for people.
pub fn render(result: &StartResult) -> String {
    let (low, high) =
        result.times_us.iter().fold((f64::MAX, 0.0_f64), |(low, high), it| (low.min(*it), high.max(*it)));
    format!(
        "{}: exec to the first 101: median {} of {} starts ({} to {})\n",
        result.target,
        text::time(result.median_us),
        result.times_us.len(),
        text::time(low),
        text::time(high)
    )
}
