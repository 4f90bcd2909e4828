//! `mem`: bytes for each connection, as a slope over steps; the server's own and the kernel's apart.

use crate::args::{MemArgs, Scenario};
use crate::clock;
use crate::exit::Failure;
use crate::machine::{self, Host, KernelMemory};
use crate::report::text;
use crate::result::{MemResult, MemStep};
use crate::run::{self, Run};
use crate::statistics;
use crate::target::Target;
use clap::Parser;
use std::time::Duration;

/// Held idle before memory is read, so that the kernel's deferred frees are done.
const SETTLES_IN: Duration = Duration::from_secs(2);

pub fn mem(args: &MemArgs) -> Result<MemResult, Failure> {
    let steps = args.steps.split(',').map(parse_step).collect::<Result<Vec<_>, _>>()?;
    let target = Target::parse(&args.target, args.profile)?;
    let mut load = idle_load();
    load.profile = Some(args.profile);
    load.room_size = args.room_size;
    load.server_cpus.clone_from(&args.server_cpus);
    (load.duration, load.warmup) = (SETTLES_IN, Duration::ZERO);
    let started_unix_s = (clock::unix_ms() / 1e3) as u64;
    let started = target.start(&run::server_cpus(&load)?)?;
    let pids: Vec<u32> = args.server_pid.iter().copied().chain(started.pid()).collect();
    if pids.is_empty() {
        return Err(Failure::usage("--server-pid: needed to read a running server's memory"));
    }
    let mut taken = Vec::new();
    for connections in steps {
        load.conns = connections;
        let step = if connections == 0 {
            read_step(0, &pids)
        } else {
            let mut run = Run::new(Scenario::Idle, std::slice::from_ref(&started.url), &load)?;
            run.server_pids.clone_from(&pids);
            run.hold(|| read_step(connections, &pids))?
        };
        eprintln!("{:>9} connections: {} resident", connections, text::bytes(step.rss_bytes as f64));
        taken.push(step);
    }
    let slope_of = |bytes: fn(&MemStep) -> u64| {
        let points: Vec<(f64, f64)> =
            taken.iter().map(|it| (it.connections as f64, bytes(it) as f64)).collect();
        statistics::slope(&points)
    };
    Ok(MemResult {
        kind: "mem".to_owned(),
        target: target.title().to_owned(),
        profile: args.profile.name().to_owned(),
        user_bytes_per_connection: slope_of(|it| it.rss_bytes),
        kernel_bytes_per_connection: slope_of(|it| it.slab_bytes + it.tcp_buffer_bytes),
        steps: taken,
        host: Host::read(),
        args: std::env::args().skip(1).collect(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_unix_s,
    })
}

fn read_step(connections: usize, pids: &[u32]) -> MemStep {
    let kernel = KernelMemory::read();
    let family: Vec<u32> = pids.iter().flat_map(|pid| machine::family(*pid)).collect();
    MemStep {
        connections,
        rss_bytes: machine::rss_bytes(&family),
        slab_bytes: kernel.slab,
        tcp_buffer_bytes: kernel.tcp_buffers,
    }
}

/// The load's own defaults.
fn idle_load() -> crate::args::LoadArgs {
    #[derive(Parser)]
    struct Defaults {
        #[command(flatten)]
        load: crate::args::LoadArgs,
    }
    Defaults::parse_from(["loadgen"]).load
}

/// `2500`, `10k`, `1m`.
fn parse_step(text: &str) -> Result<usize, Failure> {
    let text = text.trim().to_ascii_lowercase();
    let (digits, factor) = match text.strip_suffix('k') {
        Some(digits) => (digits, 1_000),
        None => text.strip_suffix('m').map_or((text.as_str(), 1), |digits| (digits, 1_000_000)),
    };
    let number: Option<usize> = digits.parse().ok().and_then(|number: usize| number.checked_mul(factor));
    number.ok_or_else(|| {
        Failure::usage(format!("--steps: {text} is no number of connections such as 2500 or 10k"))
    })
}

/// The answer for people.
pub fn render(result: &MemResult) -> String {
    let mut out = format!(
        "{} ({})\n{:>12} {:>12} {:>12} {:>12}\n",
        result.target, result.profile, "connections", "resident", "slab", "tcp buffers"
    );
    for step in &result.steps {
        let [rss, slab, tcp] =
            [step.rss_bytes, step.slab_bytes, step.tcp_buffer_bytes].map(|it| text::bytes(it as f64));
        out += &format!("{:>12} {rss:>12} {slab:>12} {tcp:>12}\n", step.connections);
    }
    out + &format!(
        "a connection: {} of the server's own; {} of the kernel's, both ends and the generator's side included\n",
        text::bytes(result.user_bytes_per_connection),
        text::bytes(result.kernel_bytes_per_connection)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_numbers_with_k_or_m() {
        assert_eq!(
            ["0", "2500", "10k", "1M"].map(|it| parse_step(it).unwrap()),
            [0, 2_500, 10_000, 1_000_000]
        );
        assert!(parse_step("ten").is_err());
    }
}
