//! One process's part of a run: its workers, in threads here or in a process of their own.
//!
//! The parent sends a part as one line of JSON and later the start as another; the process answers with one
//! line for each word of a worker. Threads do the same through a channel.

use crate::args::{Profile, Scenario};
use crate::exit::Failure;
use crate::play::attackers::{Attack, Attackers};
use crate::play::broadcast::Broadcast;
use crate::play::chatter::Chatter;
use crate::play::chatter::roles::Roles;
use crate::play::echo::Echo;
use crate::play::frames::Frames;
use crate::play::rooms::{Liveliness, Rooms};
use crate::play::seats::Seats;
use crate::play::sessions::{Pattern, Sessions};
use crate::socket::Endpoint;
use crate::worker::{self, Orders, Patience, Plan, Word};
use crossbeam_channel::{Receiver, Sender};
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Write};
use std::net::IpAddr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

/// What is run, by all workers together.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Load {
    pub scenario: Scenario,
    pub profile: Profile,
    pub urls: Vec<String>,
    pub connections: usize,
    pub room_size: usize,
    pub first_room: usize,
    /// Open loop; `None` is closed.
    pub rate_per_s: Option<f64>,
    pub depth: u32,
    pub payload_bytes: usize,
    pub connect_rate: Option<f64>,
    pub stalled: usize,
    /// Chatter's.
    pub roles: Roles,
    pub click_every_ns: u64,
    pub leavers_per_minute: f64,
    pub warmup_ns: u64,
    pub duration_ns: u64,
    pub sources: Vec<IpAddr>,
    pub seed: u64,
    /// Instead of the scenario.
    pub attack: Option<Attack>,
    pub patience: Patience,
}

/// One worker's share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Share {
    pub worker: usize,
    pub first_connection: usize,
    pub connections: usize,
    pub cpu: Option<usize>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Part {
    pub load: Load,
    pub shares: Vec<Share>,
}

impl Part {
    fn start(
        self,
        orders: &Arc<Orders>,
        words: &Sender<(usize, Word)>,
    ) -> Result<Vec<JoinHandle<()>>, Failure> {
        let mut threads = Vec::new();
        for share in self.shares {
            let load = self.load.clone();
            let (orders, words) = (Arc::clone(orders), words.clone());
            let thread = std::thread::Builder::new()
                .name(format!("worker-{}", share.worker))
                .spawn(move || load.run(&share, &orders, &words))
                .map_err(Failure::fault)?;
            threads.push(thread);
        }
        Ok(threads)
    }
}

impl Load {
    /// Connections of a room stay on one worker; everything else is cut anywhere.
    pub fn grain(&self) -> usize {
        if self.profile == Profile::Rooms { self.room_size } else { 1 }
    }

    /// A worker's part of a number that belongs to all connections.
    fn part_of(&self, whole: f64, share: &Share) -> f64 {
        whole * share.connections as f64 / self.connections as f64
    }

    fn run(&self, share: &Share, orders: &Arc<Orders>, words: &Sender<(usize, Word)>) {
        let endpoints = self
            .urls
            .iter()
            .map(|url| Endpoint::parse(url, &self.sources, share.first_connection / self.urls.len()));
        let endpoints = match endpoints.collect::<Result<Vec<_>, _>>() {
            Ok(endpoints) => endpoints,
            Err(line) => {
                let _ = words.send((share.worker, Word::Failed { line, is_refusal: true }));
                return;
            }
        };
        let mut random = fastrand::Rng::with_seed(self.seed.wrapping_add(share.worker as u64));
        let connections = share.connections;
        let first = self.first_room * self.room_size + share.first_connection;
        let seats = Seats { room_size: self.room_size, first };
        let stalled = self.part_of(self.stalled as f64, share).round() as usize;
        // In rooms they are spread, so that each has some; in one audience they are the first.
        let spread = |nth: usize| match self.profile {
            Profile::Rooms => ((nth + 1) * share.connections / stalled - 1) as u32,
            _ => nth as u32,
        };
        let is_chatter = self.scenario == Scenario::Chatter;
        let plan = Plan {
            worker: share.worker,
            cpu: share.cpu,
            connections,
            stalled: if is_chatter {
                self.roles.silent(seats, connections)
            } else {
                (0..stalled).map(spread).collect()
            },
            patience: self.patience,
            endpoints,
            connect_rate: self.connect_rate.map(|rate| self.part_of(rate, share)),
            buffer_bytes: (self.payload_bytes * 2).next_power_of_two().clamp(16 * 1024, 256 * 1024),
            warmup_ns: self.warmup_ns,
            duration_ns: self.duration_ns,
            random: random.fork(),
        };
        let rate = self.rate_per_s.map(|rate| self.part_of(rate, share));
        if let Some(attack) = &self.attack {
            let play = Attackers::new(attack, connections, self.profile, seats, &mut random);
            return worker::run(plan, play, orders, words);
        }
        let mut frames = || Frames::new(self.payload_bytes, &mut random.fork());
        match (self.scenario, self.profile) {
            (Scenario::Echo, _) => {
                let play = Echo::new(connections, rate, self.depth, frames());
                worker::run(plan, play, orders, words);
            }
            (Scenario::Broadcast, _) | (Scenario::SlowReader, Profile::Broadcast | Profile::Echo) => {
                let play = Broadcast::new(connections, stalled, rate, frames());
                worker::run(plan, play, orders, words);
            }
            (Scenario::Chatter, _) => {
                let speakers = |connections| self.roles.speakers_of(self.room_size, connections) as f64;
                let rate = self.rate_per_s;
                let rate = rate.map(|rate| rate * speakers(connections) / speakers(self.connections));
                worker::run(plan, Chatter::new(connections, seats, self.roles, rate), orders, words);
            }
            (Scenario::Rooms, _) | (Scenario::SlowReader, Profile::Rooms) => {
                let liveliness = Liveliness {
                    click_every_ns: self.click_every_ns,
                    leavers_per_minute: self.leavers_per_minute,
                };
                let play = Rooms::new(connections, seats, liveliness, random.fork());
                worker::run(plan, play, orders, words);
            }
            (Scenario::Idle | Scenario::ConnectStorm | Scenario::Herd | Scenario::Churn, profile) => {
                let pattern = match self.scenario {
                    Scenario::ConnectStorm => Pattern::Storm(plan.connect_rate),
                    Scenario::Herd => Pattern::Herd,
                    Scenario::Churn => Pattern::Churn(rate.unwrap_or(1.0)),
                    _ => Pattern::Idle,
                };
                let seats = (profile == Profile::Rooms).then_some(seats);
                let play = Sessions::new(connections, pattern, seats, random.fork());
                worker::run(plan, play, orders, words);
            }
        }
    }
}

/// Where workers run.
pub enum Crew {
    Threads { orders: Arc<Orders>, threads: Vec<JoinHandle<()>> },
    Processes(Vec<(Child, ChildStdin)>),
}

impl Crew {
    /// Starts all parts: one in this process, several each in its own.
    pub fn start(mut parts: Vec<Part>) -> Result<(Crew, Receiver<(usize, Word)>), Failure> {
        if parts.len() > 1 {
            return Crew::start_apart(parts);
        }
        let (words, heard) = crossbeam_channel::unbounded();
        let orders = Arc::new(Orders::default());
        let threads = parts.remove(0).start(&orders, &words)?;
        Ok((Crew::Threads { orders, threads }, heard))
    }

    /// Starts each part in a process of its own.
    pub fn start_apart(parts: Vec<Part>) -> Result<(Crew, Receiver<(usize, Word)>), Failure> {
        let (words, heard) = crossbeam_channel::unbounded();
        let program = std::env::current_exe().map_err(Failure::fault)?;
        let mut processes = Vec::new();
        for part in parts {
            let mut child = Command::new(&program)
                .arg("part")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .map_err(Failure::fault)?;
            let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
                return Err(Failure::fault("a worker process without pipes"));
            };
            let line = serde_json::to_string(&part).map_err(Failure::fault)?;
            writeln!(stdin, "{line}").map_err(Failure::fault)?;
            let words = words.clone();
            let mut working = part.shares.len();
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    match serde_json::from_str::<(usize, Word)>(&line) {
                        Ok(word) => {
                            working -= usize::from(matches!(word.1, Word::Done(_)));
                            drop(words.send(word));
                        }
                        Err(error) => {
                            let line = format!("a worker process said what is no word: {error}");
                            drop(words.send((usize::MAX, Word::Failed { line, is_refusal: false })));
                        }
                    }
                }
                if working > 0 {
                    let line = "a worker process ended early".to_owned();
                    let _ = words.send((usize::MAX, Word::Failed { line, is_refusal: false }));
                }
            });
            processes.push((child, stdin));
        }
        Ok((Crew::Processes(processes), heard))
    }

    /// All begin at `go_ns`.
    pub fn go(&mut self, go_ns: u64) -> Result<(), Failure> {
        match self {
            Crew::Threads { orders, .. } => orders.go_ns.store(go_ns, Ordering::Relaxed),
            Crew::Processes(processes) => {
                for (_, stdin) in processes {
                    writeln!(stdin, "{go_ns}").map_err(Failure::fault)?;
                }
            }
        }
        Ok(())
    }

    /// The processes that are the generator.
    pub fn pids(&self) -> Vec<u32> {
        let own = std::process::id();
        match self {
            Crew::Threads { .. } => vec![own],
            Crew::Processes(processes) => {
                processes.iter().map(|(child, _)| child.id()).chain([own]).collect()
            }
        }
    }

    /// Ends all before their time.
    pub fn abort(mut self) {
        // Threads see that there is nothing to begin with; processes may have begun.
        let _ = self.go(u64::MAX);
        if let Crew::Processes(processes) = &mut self {
            processes.iter_mut().for_each(|(child, _)| drop(child.kill()));
        }
        self.join();
    }

    /// Waits for all, after their last word.
    pub fn join(self) {
        match self {
            Crew::Threads { threads, .. } => threads.into_iter().for_each(|thread| drop(thread.join())),
            Crew::Processes(processes) => {
                for (mut child, stdin) in processes {
                    drop(stdin);
                    let _ = child.wait();
                }
            }
        }
    }
}

/// A worker process's life.
pub fn serve() -> Result<(), Failure> {
    crate::machine::raise_descriptors();
    let mut lines = std::io::stdin().lines();
    let mut line = || lines.next().and_then(Result::ok).ok_or_else(|| Failure::fault("the parent is gone"));
    let part: Part = serde_json::from_str(&line()?).map_err(Failure::fault)?;
    let (words, heard) = crossbeam_channel::unbounded();
    let orders = Arc::new(Orders::default());
    let threads = part.start(&orders, &words)?;
    drop(words);
    let printer = std::thread::spawn(move || {
        for word in heard {
            let Ok(line) = serde_json::to_string(&word) else { return };
            let mut out = std::io::stdout().lock();
            if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
                return;
            }
        }
    });
    let go_ns = line().ok().and_then(|line| line.trim().parse().ok()).unwrap_or(u64::MAX);
    orders.go_ns.store(go_ns, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| drop(thread.join()));
    drop(printer.join());
    Ok(())
}
