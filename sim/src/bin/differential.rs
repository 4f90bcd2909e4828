//! `differential`: generated sessions through the model and a server, compared frame by frame.
//!
//! In this process by default, exact to the µs; with `--server` against a real one over sockets. Exit status: 0 without
//! a difference, 1 with one (its seed, what led to it, and the command that plays it again are said), 2 if it cannot
//! run.

use clap::{Parser, ValueEnum};
use sim::differential::sockets::Server;
use sim::differential::{Tally, shards, sockets};
use sim::generate::{self, Kind, Pace, Session};
use sim::model::Authz;
use std::fmt::Display;
use std::io::Write;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// Compares generated sessions, frame by frame, with a model of the room protocol.
#[derive(Parser)]
struct Arguments {
    /// How many sessions; their seeds follow each other
    #[arg(long, default_value_t = 1000)]
    sessions: u64,
    /// The first session's seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only sessions of one kind; otherwise an even seed is legal, an odd one hostile
    #[arg(long)]
    kind: Option<People>,
    /// Cores of the server; otherwise the seed decides between 1, 2 and, in this process, 4
    #[arg(long)]
    cores: Option<u16>,
    /// A server's binary, which is started on loopback ports
    #[arg(long)]
    server: Option<PathBuf>,
    /// With --server: sessions at the same time
    #[arg(long, default_value_t = 100)]
    at_once: usize,
    /// Write down all that happens
    #[arg(long)]
    trace: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum People {
    Legal,
    Hostile,
}

/// A session that differed.
struct Difference {
    seed: u64,
    why: String,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.server {
        None => Ok(in_process(&arguments)),
        Some(binary) => over_sockets(&arguments, binary),
    };
    match result {
        Ok((tally, None)) => {
            say(tally);
            ExitCode::SUCCESS
        }
        Ok((tally, Some(Difference { seed, why }))) => {
            say(why);
            say(format_args!("seed {seed} differs; before it: {tally}"));
            say(format_args!("again: {}", command(&arguments, seed)));
            ExitCode::from(1)
        }
        Err(why) => {
            say(why);
            ExitCode::from(2)
        }
    }
}

fn in_process(arguments: &Arguments) -> (Tally, Option<Difference>) {
    let workers = thread::available_parallelism().map_or(1, NonZero::get);
    each_session(arguments, workers, |seed, tally| {
        let session = session(arguments, seed, Pace::World);
        let cores = arguments.cores.unwrap_or([1, 2, 4][(seed / 2 % 3) as usize]);
        if arguments.trace {
            let (script, result) = shards::script(&session, cores, &mut |frame| frame.to_owned());
            if result.is_ok() {
                say(script);
                tally.sessions += 1;
            }
            return result;
        }
        shards::play(&session, cores, tally)
    })
}

fn over_sockets(arguments: &Arguments, binary: &Path) -> Result<(Tally, Option<Difference>), String> {
    let mut servers = Vec::new();
    for cores in arguments.cores.map_or(vec![1, 2], |cores| vec![cores]) {
        for authz in [Authz::Member, Authz::Host, Authz::Off] {
            servers.push((cores, authz, Server::start(binary, cores, authz)?));
        }
    }
    let found = each_session(arguments, arguments.at_once, |seed, tally| {
        let session = session(arguments, seed, Pace::Real);
        let cores = arguments.cores.unwrap_or([1, 2][(seed / 2 % 2) as usize]);
        let server = servers.iter().find(|(with, authz, _)| *with == cores && *authz == session.authz);
        let (_, _, server) = server.ok_or("no such server")?;
        let (script, result) = sockets::play(&session, server, tally);
        if arguments.trace && result.is_ok() {
            say(script);
        }
        result.map(|_| ())
    });
    for (_, _, server) in &mut servers {
        server.check_running()?;
    }
    Ok(found)
}

/// Plays all sessions on so many threads, up to the first difference; of several, the one with the lowest seed.
fn each_session(
    arguments: &Arguments,
    workers: usize,
    play: impl Fn(u64, &mut Tally) -> Result<(), String> + Sync,
) -> (Tally, Option<Difference>) {
    let next = AtomicU64::new(0);
    let work = || {
        let mut tally = Tally::default();
        loop {
            // Only counts sessions; nothing is read because of it.
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= arguments.sessions {
                return (tally, None);
            }
            let seed = arguments.seed.wrapping_add(number);
            if let Err(why) = play(seed, &mut tally) {
                next.store(arguments.sessions, Ordering::Relaxed);
                return (tally, Some(Difference { seed, why }));
            }
        }
    };
    let mut tally = Tally::default();
    let mut difference: Option<Difference> = None;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..workers.max(1)).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            let (its, found) = thread.join().expect("a worker's panic is a bug of this program");
            tally.add(&its);
            if found.as_ref().is_some_and(|it| difference.as_ref().is_none_or(|first| it.seed < first.seed)) {
                difference = found;
            }
        }
    });
    (tally, difference)
}

fn session(arguments: &Arguments, seed: u64, pace: Pace) -> Session {
    let kind = match arguments.kind {
        Some(People::Legal) => Kind::Legal,
        Some(People::Hostile) => Kind::Hostile,
        None if seed.is_multiple_of(2) => Kind::Legal,
        None => Kind::Hostile,
    };
    generate::session(seed, kind, pace)
}

/// What plays this seed again, as it was played.
fn command(arguments: &Arguments, seed: u64) -> String {
    let mut command = "cargo run --release -p sim --bin differential --".to_owned();
    if let Some(binary) = &arguments.server {
        command += &format!(" --server {}", binary.display());
    }
    if let Some(cores) = arguments.cores {
        command += &format!(" --cores {cores}");
    }
    match arguments.kind {
        Some(People::Legal) => command += " --kind legal",
        Some(People::Hostile) => command += " --kind hostile",
        None => {}
    }
    command + &format!(" --seed {seed} --sessions 1 --trace")
}

fn say(what: impl Display) {
    // Whoever reads it may have closed the pipe already.
    let _ = writeln!(std::io::stdout(), "{what}");
}
