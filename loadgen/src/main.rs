//! The load generator's command.
//!
//! A run's way: [`args`] → [`mod@run`] (cut into parts, started, watched) → [`part`] (threads or processes) →
//! [`worker`] (the loop) → [`io`] (connections over [`ring`]) ↔ [`play`] (what clients say) → [`gauge`] →
//! [`outcome`] → [`verdict`] → [`result`] → [`mod@report`]. Shares nothing with the server but the frames.

#![allow(clippy::print_stdout, reason = "a command's results go to standard output")]

mod args;
mod bench;
mod check;
mod clock;
mod compare;
mod curve;
mod doctor;
mod exit;
mod flood;
mod gate;
mod gauge;
mod history;
mod io;
mod latency;
mod machine;
mod mem;
mod outcome;
mod part;
mod peers;
mod play;
mod progress;
mod report;
mod result;
mod ring;
mod run;
mod schedule;
mod search;
mod selftest;
mod slo;
mod socket;
mod start;
mod statistics;
mod target;
mod trend;
mod trial;
mod verdict;
mod worker;

use args::{Cli, Command, PeersCommand, ReportArgs, RunArgs};
use clap::Parser;
use exit::{Exit, Failure};
use report::Named;
use run::Run;
use serde::Serialize;
use std::path::{Path, PathBuf};
use target::Target;

fn main() {
    let cli = Cli::try_parse().unwrap_or_else(|error| {
        let is_asked_for = !error.use_stderr();
        // Nothing is left to do if the terminal is gone.
        let _ = error.print();
        std::process::exit(if is_asked_for { Exit::Fine } else { Exit::Usage } as i32);
    });
    let exit = obey(cli.command).unwrap_or_else(|failure| {
        eprintln!("loadgen: {}", failure.line);
        failure.exit
    });
    std::process::exit(exit as i32);
}

fn obey(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Run(args) => run(&args),
        Command::Part => part::serve().map(|()| Exit::Fine),
        Command::Peers { command: PeersCommand::List } => peers::list().map(|()| Exit::Fine),
        Command::Peers { command: PeersCommand::Start { name, profile, port } } => {
            peers::start(&name, profile, port).map(|()| Exit::Fine)
        }
        Command::Compare(args) => {
            let result = compare::compare(&args)?;
            print!("{}", compare::render(&args, &result));
            write_json_if(args.json.as_deref(), &result)?;
            Ok(compare::exit(result.verdict))
        }
        Command::Bench(args) => {
            let result = bench::bench(&args)?;
            print!("{}", bench::render(&result));
            write_json_if(args.json.as_deref(), &result)?;
            Ok(Exit::Fine)
        }
        Command::Search(args) => {
            let result = search::search(&args)?;
            print!("{}", search::render(&result));
            write_json_if(args.json.as_deref(), &result)?;
            Ok(if result.highest_per_s.is_some() { Exit::Fine } else { Exit::No })
        }
        Command::Mem(args) => {
            let result = mem::mem(&args)?;
            print!("{}", mem::render(&result));
            write_json_if(args.json.as_deref(), &result)?;
            Ok(Exit::Fine)
        }
        Command::Start(args) => {
            let result = start::start(&args)?;
            print!("{}", start::render(&result));
            write_json_if(args.json.as_deref(), &result)?;
            let is_late = args.max.is_some_and(|max| result.median_us > max.as_secs_f64() * 1e6);
            Ok(if is_late { Exit::No } else { Exit::Fine })
        }
        Command::Flood(args) => {
            let result = flood::flood(&args)?;
            print!("{}", report::floods::screen(&result));
            write_json_if(args.json.as_deref(), &result)?;
            Ok(flood::exit(&result))
        }
        Command::Check(args) => check::check(&args),
        Command::Doctor { plan } => {
            print!("{}", doctor::render(&plan));
            Ok(Exit::Fine)
        }
        Command::Gate(args) => {
            let (table, passes) = gate::gate(&args)?;
            print!("{table}");
            Ok(if passes { Exit::Fine } else { Exit::No })
        }
        Command::Curve(args) => {
            let result = curve::curve(&args)?;
            print!("{}", curve::render(&result));
            write_json_if(args.json.as_deref(), &result)?;
            Ok(Exit::Fine)
        }
        Command::Record(args) => {
            print!("{}", history::record(&args)?);
            Ok(Exit::Fine)
        }
        Command::Trend(args) => {
            let (text, exit) = trend::trend(&args)?;
            print!("{text}");
            Ok(exit)
        }
        Command::Selftest(args) => selftest::selftest(&args),
        Command::Decoy(args) => selftest::decoy::serve(&args).map(|()| Exit::Fine),
        Command::Report(args) => report(&args).map(|()| Exit::Fine),
    }
}

fn run(args: &RunArgs) -> Result<Exit, Failure> {
    let profile = Run::new(args.scenario, &[], &args.load)?.load.profile;
    let targets = args.targets.iter().map(|it| Target::parse(it, profile)).collect::<Result<Vec<_>, _>>()?;
    let server_cpus = run::server_cpus(&args.load)?;
    let started = targets.iter().map(|it| it.start(&server_cpus)).collect::<Result<Vec<_>, _>>()?;
    let urls: Vec<String> = started.iter().map(|it| it.url.clone()).collect();
    let mut run = Run::new(args.scenario, &urls, &args.load)?;
    run.target = targets.iter().map(Target::title).collect::<Vec<_>>().join(" ");
    run.server_pids.clone_from(&args.server_pid);
    run.server_pids.extend(started.iter().filter_map(target::Started::pid));
    let (result, mut outcome) = run.play(args.quiet)?;
    let mut files = Vec::new();
    if let Some(path) = &args.json {
        write_json(path, &result)?;
        files.push(path.clone());
    }
    if let Some(stem) = &args.hdr {
        let written = report::hdr::write(stem, &mut outcome, result.started_unix_s, result.duration_s);
        files.extend(written.map_err(|error| Failure::usage(format!("{}: {error}", stem.display())))?);
    }
    let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    print!("{}", report::screen::render(&result, &files));
    if !result.valid {
        return Ok(Exit::Void);
    }
    Ok(if result.slo.iter().all(|slo| slo.holds) { Exit::Fine } else { Exit::No })
}

fn report(args: &ReportArgs) -> Result<(), Failure> {
    let read = |path: &PathBuf| {
        let wrong = |error: &dyn std::fmt::Display| Failure::usage(format!("{}: {error}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
        let json: serde_json::Value = serde_json::from_str(&text).map_err(|error| wrong(&error))?;
        if !report::KINDS.iter().any(|kind| json["kind"] == *kind) {
            return Err(wrong(&"not a result of loadgen"));
        }
        Ok(Named { name: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), json })
    };
    let results = args.results.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let page = match args.output.extension().and_then(|extension| extension.to_str()) {
        Some("md") => {
            let tables = report::markdown::render(&results).map_err(Failure::usage)?;
            report::markdown::place(std::fs::read_to_string(&args.output).ok().as_deref(), &tables)
        }
        Some("svg") => report::picture::render(&results).map_err(Failure::usage)?,
        _ => report::html::render(&results).map_err(Failure::usage)?,
    };
    std::fs::write(&args.output, page)
        .map_err(|error| Failure::usage(format!("{}: {error}", args.output.display())))?;
    println!("{}", args.output.display());
    Ok(())
}

fn write_json_if(path: Option<&Path>, result: &impl Serialize) -> Result<(), Failure> {
    path.map_or(Ok(()), |path| write_json(path, result))
}

fn write_json(path: &Path, result: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(result).map_err(Failure::fault)?;
    std::fs::write(path, text + "\n").map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}
