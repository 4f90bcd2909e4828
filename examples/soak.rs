//! A crowd of clients as real ones behave, for hours or minutes, against a server on this machine.
//!
//! `cargo run --release --example soak -- --port 6001 --pid PID --clients 2000 --rooms 100 --seconds 600`
//! joins, pings in bursts, plays, pauses, seeks, changes tracks, drifts, leaves and comes back. It checks
//! that each ping is answered once with its own id, that all members of a room who were there hear the same
//! events in the same order, and that nobody is closed; and watches the server's memory and descriptors.
//! `--idle` only connects and joins. It ends with exit status 1 and the faults if there were any.

#![allow(clippy::print_stdout, reason = "it reports on the terminal")]

mod crowd;

use crowd::client::{Cast, Client};
use crowd::watch::Watch;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// What to do, from the command line.
struct Plan {
    port: u16,
    pid: u32,
    clients: usize,
    rooms: usize,
    seconds: u64,
    is_idle: bool,
}

fn main() -> ExitCode {
    let Some(plan) = plan() else {
        eprintln!("usage: soak --port N --pid PID [--clients N] [--rooms N] [--seconds N] [--idle]");
        return ExitCode::from(64);
    };
    let watch = Watch::new(plan.pid);
    let before = watch.read();
    println!("before: {before}");
    let mut cast = Cast::new(plan.port, plan.is_idle);
    let start = Instant::now();
    let mut clients: Vec<Client> = Vec::new();
    for i in 0..plan.clients {
        clients.push(Client::new(i, i % plan.rooms, &mut cast));
        if i % 50 == 49 {
            run_for(&mut clients, &mut cast, Duration::from_millis(10));
        }
    }
    let connected = start.elapsed();
    println!("connected {} in {connected:.1?}", plan.clients);
    let mut settled = None;
    while start.elapsed() < connected + Duration::from_secs(plan.seconds) {
        run_for(&mut clients, &mut cast, Duration::from_secs(10.min(plan.seconds)));
        let now = watch.read();
        println!("{:>5.0} s: {now}; {}", start.elapsed().as_secs_f64(), cast.line());
        if start.elapsed() > connected + Duration::from_secs(60) {
            settled.get_or_insert(now.rss_kib);
        }
    }
    let end = watch.read();
    let per_client = (end.rss_kib as f64 - before.rss_kib as f64) * 1024.0 / plan.clients as f64;
    println!("memory: {} KiB in all, {per_client:.0} B a connection above the start", end.rss_kib);
    if let Some(settled_kib) = settled {
        println!("growth after the first minute: {} KiB", end.rss_kib as i64 - settled_kib as i64);
    }
    clients.iter_mut().for_each(|client| client.leave(&mut cast));
    drop(clients);
    let left = watch.await_descriptors(before.descriptors, Duration::from_secs(20));
    println!("after all have left: {left}");
    cast.compare_rooms();
    if left.descriptors != before.descriptors {
        cast.fault(format!(
            "{} descriptors at the start, {} at the end",
            before.descriptors, left.descriptors
        ));
    }
    println!("{}", cast.summary());
    for fault in cast.faults.iter().take(20) {
        println!("FAULT {fault}");
    }
    println!("{} faults", cast.faults.len());
    ExitCode::from(u8::from(!cast.faults.is_empty()))
}

/// Lets the clients act and react for a while.
fn run_for(clients: &mut [Client], cast: &mut Cast, duration: Duration) {
    let until = Instant::now() + duration;
    while Instant::now() < until {
        let next = clients.iter().map(Client::next_due).min().unwrap_or(until).min(until);
        crowd::wait_readable(clients, next);
        for client in &mut *clients {
            client.turn(cast);
        }
    }
}

fn plan() -> Option<Plan> {
    let mut plan = Plan { port: 6001, pid: 0, clients: 2000, rooms: 100, seconds: 600, is_idle: false };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        if name == "--idle" {
            plan.is_idle = true;
            continue;
        }
        let value = arguments.next()?;
        match name.as_str() {
            "--port" => plan.port = value.parse().ok()?,
            "--pid" => plan.pid = value.parse().ok()?,
            "--clients" => plan.clients = value.parse().ok()?,
            "--rooms" => plan.rooms = value.parse().ok()?,
            "--seconds" => plan.seconds = value.parse().ok()?,
            _ => return None,
        }
    }
    (plan.pid > 0 && plan.clients > 0 && plan.rooms > 0).then_some(plan)
}
