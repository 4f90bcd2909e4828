//! `flood`: what do ordinary clients feel of an attack, and what becomes of it?
//!
//! A round is a server started anew and the same victims' load three times: alone, beside the attack, alone again.
//! Victims are measured as in any run, to the last message. Attackers share this machine, so what is compared are
//! the phases of one round, and the answer is the middle of several.

mod memory;
pub mod result;
mod standing;

use crate::args::{Flood, FloodArgs, Scenario, Tempo};
use crate::clock;
use crate::exit::{Exit, Failure};
use crate::machine::Host;
use crate::outcome::Outcome;
use crate::part::Load;
use crate::play::attackers::Attack;
use crate::result::{Percentiles, RunResult};
use crate::run::{self, Run};
use crate::socket::Endpoint;
use crate::target::Target;
use crate::verdict;
use crate::worker::Patience;
use memory::Memory;
use result::{FloodFigures, FloodResult, FloodRound};
use standing::{Ended, Standing};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// Rounds that do not count are played again, so many in all.
const RETRIES_MAX: usize = 3;
/// Rooms of attackers, far from the victims'.
const FIRST_ROOM: usize = 10_000_000;
const ROOM_SIZE: usize = 20;
/// Attackers on loopback come from as many addresses of their own, so that the ports of one do not run out.
const SOURCES: u8 = 8;
/// A server that is so far behind its victims' rate has not only kept them waiting.
const BEHIND_SHARE: f64 = 0.05;
/// Less of a CPU than this, in percent, cannot be told from the victims' own.
const TOLD_PERCENT: f64 = 2.0;
/// A herd drops after a second and is back 1.4 s later.
const HERD_TAKES: Duration = Duration::from_secs(3);

pub fn flood(args: &FloodArgs) -> Result<FloodResult, Failure> {
    let victims = Run::new(args.victims, &[], &args.load)?;
    check(args)?;
    let target = Target::parse(&args.target, victims.load.profile)?;
    let started_unix_s = (clock::unix_ms() / 1e3) as u64;
    let mut rounds: Vec<FloodRound> = Vec::new();
    let counting = |rounds: &[FloodRound]| rounds.iter().filter(|it| it.void_reasons.is_empty()).count();
    while counting(&rounds) < args.rounds && rounds.len() < args.rounds + RETRIES_MAX {
        let round = play(args, &target)?;
        eprintln!("{}", tell(args.flood, rounds.len() + 1, &round));
        rounds.push(round);
    }
    let counted: Vec<&FloodFigures> =
        rounds.iter().filter(|it| it.void_reasons.is_empty()).map(|it| &it.figures).collect();
    let medians = FloodFigures::medians(&counted);
    let mut ended = BTreeMap::new();
    rounds.iter().for_each(|round| add(&mut ended, &round.ended));
    let failures = failures(args, &rounds, &medians, &ended);
    Ok(FloodResult {
        kind: "flood".to_owned(),
        flood: args.flood.name().to_owned(),
        target: target.title().to_owned(),
        victims: args.victims.name().to_owned(),
        connections: args.load.conns,
        attackers: attackers(args),
        attack_rate_per_s: attack_rate(args),
        duration_s: args.load.duration.as_secs_f64(),
        rounds,
        medians,
        ended,
        failures,
        host: Host::read(),
        args: std::env::args().skip(1).collect(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_unix_s,
    })
}

/// Fine, no, or void.
pub fn exit(result: &FloodResult) -> Exit {
    if !result.failures.is_empty() {
        Exit::No
    } else if result.rounds.iter().all(|round| !round.void_reasons.is_empty()) {
        Exit::Void
    } else {
        Exit::Fine
    }
}

fn check(args: &FloodArgs) -> Result<(), Failure> {
    let wrong = |condition: bool, line: &str| if condition { Err(Failure::usage(line)) } else { Ok(()) };
    wrong(!matches!(args.victims, Scenario::Rooms | Scenario::Echo), "--victims: rooms or echo")?;
    wrong(args.rounds == 0, "--rounds: at least 1")?;
    wrong(args.load.closed, "--closed: not here; a closed loop waits with the server")?;
    wrong(attackers(args) == 0, "--attackers: at least 1")?;
    wrong(attackers(args) > 1_000_000, "--attackers: at most 1,000,000")?;
    let is_paced = matches!(args.flood.tempo(), Tempo::Paced(_));
    wrong(args.attack_rate.is_some() && !is_paced, "--attack-rate: not here; this attack has no pace")?;
    wrong(
        args.attack_rate.is_some_and(|rate| !(rate > 0.0 && rate < 1e9)),
        "--attack-rate: above 0 and below 1e9",
    )?;
    let is_no_bound = |max: Option<f64>| max.is_some_and(|max| max.is_nan() || max <= 0.0);
    wrong(is_no_bound(args.ratio_max), "--ratio-max: above 0")?;
    wrong(is_no_bound(args.memory_max), "--memory-max: above 0")?;
    wrong(is_no_bound(args.buffers_max), "--buffers-max: above 0")?;
    let is_codes = matches!(args.flood, Flood::Codes | Flood::RandomCodes);
    wrong(is_codes && args.victims != Scenario::Rooms, "codes, random-codes: only rooms have codes")?;
    wrong(
        args.flood == Flood::Herd && args.load.duration < HERD_TAKES,
        "--duration: 3 s at least, in which a herd drops and is back",
    )
}

fn attackers(args: &FloodArgs) -> usize {
    args.attackers.unwrap_or_else(|| args.flood.attackers_default())
}

fn attack_rate(args: &FloodArgs) -> Option<f64> {
    match args.flood.tempo() {
        Tempo::Paced(each) => Some(args.attack_rate.unwrap_or(each * speakers(args) as f64)),
        Tempo::Tireless | Tempo::Mute => None,
    }
}

/// Attackers that take turns: of stalled rooms the first of each.
fn speakers(args: &FloodArgs) -> usize {
    let is_one_a_room = args.flood == Flood::Stalled && args.victims == Scenario::Rooms;
    attackers(args).div_ceil(if is_one_a_room { ROOM_SIZE } else { 1 })
}

/// One round.
fn play(args: &FloodArgs, target: &Target) -> Result<FloodRound, Failure> {
    let started = target.start(&run::server_cpus(&args.load)?)?;
    let mut victims = Run::new(args.victims, std::slice::from_ref(&started.url), &args.load)?;
    target.title().clone_into(&mut victims.target);
    victims.server_pids = args.server_pid.iter().copied().chain(started.pid()).collect();
    let attack = attack(args, &victims)?;
    let (alone, _) = victims.play(true)?;
    let mut standing = Standing::new(&attack);
    let (beside, _) = victims.play_beside(true, Some(&mut standing))?;
    let Ended { outcome, memory: [before, peak], settled_ms } = standing.finish()?;
    let memory = [before, peak, Memory::read(&victims.server_pids)];
    let (after, _) = victims.play(true)?;
    let phases = [("alone", &alone), ("beside the attack", &beside), ("after it", &after)];
    let said = |reasons: &dyn Fn(&RunResult) -> Vec<String>| -> Vec<String> {
        let said = phases.iter().flat_map(|(phase, result)| {
            reasons(result).into_iter().map(move |reason| format!("{phase}: {reason}"))
        });
        said.collect()
    };
    let void_reasons = said(&|result| verdict::disturbed(&victims.load, &victims.slo, result));
    let mut harms = said(&|result| verdict::harms(&victims.load, result));
    // A generator that was itself too late could not have done better.
    if void_reasons.is_empty() && beside.achieved_per_s < (1.0 - BEHIND_SHARE) * beside.offered_per_s {
        let (achieved, offered) = (beside.achieved_per_s, beside.offered_per_s);
        harms.push(format!("the server fell behind: {achieved:.0}/s of the {offered:.0}/s offered"));
    }
    if args.flood == Flood::Herd && outcome.connections.open < attackers(args) as u64 {
        harms.push(format!("{} of {} of the herd came back", outcome.connections.open, attackers(args)));
    }
    let mut figures = figures([&alone, &beside, &after], memory, &outcome);
    figures.settled_ms = settled_ms;
    if settled_ms.is_none() && !victims.server_pids.is_empty() {
        harms.push("half a minute after the attack the server was not at rest".to_owned());
    }
    Ok(FloodRound { void_reasons, harms, ended: ends(&outcome), figures })
}

/// The attack as a run of its own, as long as the victims'.
fn attack(args: &FloodArgs, victims: &Run) -> Result<Run, Failure> {
    let url = &victims.load.urls[0];
    let is_loopback = Endpoint::parse(url, &[], 0).map_err(Failure::usage)?.is_loopback();
    let own = (1..=SOURCES).map(|it| IpAddr::V4(Ipv4Addr::new(127, 0, 1, it)));
    let sources =
        if is_loopback && args.load.source.is_empty() { own.collect() } else { args.load.source.clone() };
    let is_herd = args.flood == Flood::Herd;
    let rate_per_s = attack_rate(args);
    let load = Load {
        scenario: if is_herd { Scenario::Herd } else { victims.load.scenario },
        connections: attackers(args),
        room_size: ROOM_SIZE,
        first_room: FIRST_ROOM,
        rate_per_s: None,
        connect_rate: None,
        stalled: if args.flood == Flood::Stalled { attackers(args) } else { 0 },
        sources,
        seed: victims.load.seed.wrapping_add(1),
        attack: (!is_herd).then_some(Attack { flood: args.flood, rate_per_s }),
        patience: if args.eager { Patience::Some } else { Patience::All },
        ..victims.load.clone()
    };
    // Where there are more than two CPUs, one that is neither the server's nor the victims'.
    let all: Vec<usize> = core_affinity::get_core_ids().unwrap_or_default().iter().map(|it| it.id).collect();
    let server = run::server_cpus(&args.load)?;
    let own = all.iter().rev().find(|cpu| !server.contains(cpu) && !victims.cpus.contains(cpu));
    Ok(Run {
        load,
        threads: 1,
        cpus: own.map_or_else(|| victims.cpus.clone(), |cpu| vec![*cpu]),
        slo: Vec::new(),
        target: victims.target.clone(),
        server_pids: victims.server_pids.clone(),
        args: victims.args.clone(),
    })
}

/// How the server ended attackers.
fn ends(outcome: &Outcome) -> BTreeMap<String, u64> {
    let mut ended = outcome.connections.failed.clone();
    add(&mut ended, &outcome.connections.lost);
    if outcome.connections.cut_off > 0 {
        *ended.entry("cut off, unread".to_owned()).or_default() += outcome.connections.cut_off;
    }
    ended
}

fn add(all: &mut BTreeMap<String, u64>, some: &BTreeMap<String, u64>) {
    for (end, count) in some {
        *all.entry(end.clone()).or_default() += count;
    }
}

fn figures(phases: [&RunResult; 3], memory: [Memory; 3], attack: &Outcome) -> FloodFigures {
    let [alone, beside, after] = phases;
    let of = |result: &RunResult, number: fn(&Percentiles) -> f64| result.response().map(number);
    let p99 = |result: &RunResult| of(result, |it| it.p99).filter(|it| *it > 0.0);
    let ratio = |result: &RunResult| Some(p99(result)? / p99(alone)?);
    let cpu = |result: &RunResult| result.server.map(|it| it.cpu_percent);
    let [rss_before, rss_peak, rss_after] = memory.map(|it| alone.server.is_some().then_some(it.rss as f64));
    let [buffers_before, buffers_peak, buffers_after] = memory.map(|it| Some(it.tcp_buffers as f64));
    let [slab_before, slab_peak, slab_after] = memory.map(|it| Some(it.slab as f64));
    let seconds = beside.duration_s;
    let sent = attack.window.sent as f64;
    let lives = &attack.connections;
    let made = lives.open + lives.ended + lives.failed.values().chain(lives.lost.values()).sum::<u64>();
    let more_percent = cpu(beside).zip(cpu(alone)).map(|(beside, alone)| beside - alone);
    FloodFigures {
        alone_p50_us: of(alone, |it| it.p50),
        alone_p99_us: of(alone, |it| it.p99),
        alone_p99_9_us: of(alone, |it| it.p99_9),
        alone_max_us: of(alone, |it| it.max),
        beside_p50_us: of(beside, |it| it.p50),
        beside_p99_us: of(beside, |it| it.p99),
        beside_p99_9_us: of(beside, |it| it.p99_9),
        beside_max_us: of(beside, |it| it.max),
        after_p50_us: of(after, |it| it.p50),
        after_p99_us: of(after, |it| it.p99),
        after_p99_9_us: of(after, |it| it.p99_9),
        after_max_us: of(after, |it| it.max),
        beside_ratio: ratio(beside),
        after_ratio: ratio(after),
        alone_server_cpu_percent: cpu(alone),
        beside_server_cpu_percent: cpu(beside),
        after_server_cpu_percent: cpu(after),
        rss_before_bytes: rss_before,
        rss_peak_bytes: rss_peak,
        rss_after_bytes: rss_after,
        buffers_before_bytes: buffers_before,
        buffers_peak_bytes: buffers_peak,
        buffers_after_bytes: buffers_after,
        slab_before_bytes: slab_before,
        slab_peak_bytes: slab_peak,
        slab_after_bytes: slab_after,
        attackers_made: Some(made as f64),
        attackers_left: Some(lives.open as f64),
        attack_per_s: (sent > 0.0).then_some(sent / seconds),
        attack_heard: Some(attack.messages.received as f64),
        attack_cpu_percent: Some(attack.window.worker_cpu_ns as f64 / seconds / 1e7),
        server_ns_per_attack: more_percent
            .filter(|more| sent > 0.0 && *more > TOLD_PERCENT)
            .map(|percent| percent / 100.0 * seconds * 1e9 / sent),
        settled_ms: None,
    }
}

/// What is not as it must be. Harm is harm in a round that does not count, too.
fn failures(
    args: &FloodArgs,
    rounds: &[FloodRound],
    medians: &FloodFigures,
    ended: &BTreeMap<String, u64>,
) -> Vec<String> {
    let mut failures = Vec::new();
    for (number, round) in rounds.iter().enumerate() {
        failures.extend(round.harms.iter().map(|harm| format!("round {}: {harm}", number + 1)));
    }
    if !args.promise.is_empty() {
        let other = ended.iter().filter(|(end, _)| !args.promise.contains(end));
        failures.extend(
            other.map(|(end, count)| format!("{count} attackers ended otherwise than promised: {end}")),
        );
        if ended.is_empty() {
            failures.push(format!("no attacker was ended, promised was: {}", args.promise.join(", ")));
        }
    }
    let past = |value: Option<f64>, max: Option<f64>| value.zip(max).filter(|(value, max)| value > max);
    if let Some((ratio, max)) = past(medians.beside_ratio, args.ratio_max) {
        failures.push(format!("the victims' p99 was {ratio:.2} times that alone, allowed are {max}"));
    }
    let p99_ms = medians.beside_p99_us.map(|us| us / 1e3);
    if let Some((p99, max)) = past(p99_ms, args.p99_max.map(|max| max.as_secs_f64() * 1e3)) {
        failures.push(format!("the victims' p99 was {p99:.1} ms, allowed are {max}"));
    }
    let grown = |before: Option<f64>, peak: Option<f64>| Some((peak? - before?) / f64::from(1 << 20));
    if let Some((mib, max)) = past(grown(medians.rss_before_bytes, medians.rss_peak_bytes), args.memory_max) {
        failures.push(format!("the server's memory grew by {mib:.1} MiB, allowed are {max}"));
    }
    let buffers = grown(medians.buffers_before_bytes, medians.buffers_peak_bytes);
    if let Some((mib, max)) = past(buffers, args.buffers_max) {
        failures.push(format!("socket buffers grew by {mib:.1} MiB, allowed are {max}"));
    }
    failures
}

/// A round in a line.
fn tell(flood: Flood, number: usize, round: &FloodRound) -> String {
    let verdict = match (&round.void_reasons[..], &round.harms[..]) {
        ([first, ..], _) => format!("void: {first}"),
        ([], [first, ..]) => format!("harm: {first}"),
        ([], []) => "counts".to_owned(),
    };
    let ratio = round.figures.beside_ratio.map_or_else(|| "-".to_owned(), |it| format!("{it:.2}"));
    format!("{}: round {number}: p99 beside over alone {ratio}; {verdict}", flood.name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};
    use clap::Parser;

    fn args(words: &[&str]) -> FloodArgs {
        let all = ["loadgen", "flood"].iter().chain(words);
        match Cli::try_parse_from(all).unwrap().command {
            Command::Flood(args) => args,
            _ => panic!("not a flood"),
        }
    }

    fn round(void: &[&str], harms: &[&str]) -> FloodRound {
        let owned = |texts: &[&str]| texts.iter().map(|it| (*it).to_owned()).collect();
        FloodRound {
            void_reasons: owned(void),
            harms: owned(harms),
            ended: BTreeMap::new(),
            figures: FloodFigures::default(),
        }
    }

    #[test]
    fn an_attacks_pace_is_its_kinds_unless_told() {
        let rate = |words: &[&str]| attack_rate(&args(words));
        assert_eq!(rate(&["drip", "x"]), Some(1_000_000.0));
        assert_eq!(rate(&["drip", "x", "--attackers", "50"]), Some(5_000.0));
        assert_eq!(rate(&["messages", "x", "--attack-rate", "7"]), Some(7.0));
        assert_eq!(
            rate(&["stalled", "x", "--attackers", "100"]),
            Some(25.0),
            "the first of each room speaks"
        );
        assert_eq!(rate(&["stalled", "x", "--victims", "echo", "--attackers", "100"]), Some(500.0));
        assert_eq!([rate(&["pings", "x"]), rate(&["half-open", "x"])], [None, None]);
    }

    #[test]
    fn attackers_have_rooms_addresses_and_times_of_their_own() {
        let args = args(&["stalled", "x", "-d", "2s", "--warmup", "1s", "--seed", "5"]);
        let victims = Run::new(Scenario::Rooms, &["ws://127.0.0.1:9".to_owned()], &args.load).unwrap();
        let attack = attack(&args, &victims).unwrap();
        assert_eq!((attack.load.connections, attack.load.stalled), (500, 500));
        assert_eq!((attack.load.warmup_ns, attack.load.duration_ns), (1_000_000_000, 2_000_000_000));
        assert_eq!(attack.load.sources[0], IpAddr::V4(Ipv4Addr::new(127, 0, 1, 1)));
        assert!(attack.load.first_room > victims.load.connections);
        assert_eq!((attack.load.patience, victims.load.patience), (Patience::All, Patience::None));
    }

    #[test]
    fn a_promise_is_of_every_end_and_of_one_at_least() {
        let args = args(&["pings", "x", "--promise", "close 1008"]);
        let told = |ended: &[(&str, u64)]| {
            let ended = ended.iter().map(|(end, count)| ((*end).to_owned(), *count)).collect();
            failures(&args, &[], &FloodFigures::default(), &ended)
        };
        assert_eq!(told(&[("close 1008", 5)]), Vec::<String>::new());
        assert_eq!(told(&[("close 1008", 5), ("close 1011", 1)]).len(), 1);
        assert_eq!(told(&[]), ["no attacker was ended, promised was: close 1008"]);
    }

    #[test]
    fn losses_count_in_every_round_and_the_ratio_over_those_that_count() {
        let args = args(&["pings", "x", "--ratio-max", "1.5"]);
        let lost = "beside the attack: 3 messages were lost";
        let medians = FloodFigures { beside_ratio: Some(2.0), ..FloodFigures::default() };
        let rounds = [round(&["late"], &[lost]), round(&[], &[])];
        let failures = failures(&args, &rounds, &medians, &BTreeMap::new());
        assert_eq!(failures.len(), 2, "{failures:?}");
        assert!(failures[0].contains("round 1") && failures[1].contains("2.00 times"), "{failures:?}");
    }

    #[test]
    fn time_and_memory_have_bounds() {
        let args = args(&["stalled", "x", "--p99-max", "5ms", "--memory-max", "2", "--buffers-max", "30"]);
        let mib = |mib: f64| Some(mib * f64::from(1 << 20));
        let of = |p99_us: f64, grown: f64, buffers: f64| FloodFigures {
            beside_p99_us: Some(p99_us),
            rss_before_bytes: mib(7.0),
            rss_peak_bytes: mib(7.0 + grown),
            buffers_before_bytes: mib(1.0),
            buffers_peak_bytes: mib(1.0 + buffers),
            ..FloodFigures::default()
        };
        let told = |figures: FloodFigures| failures(&args, &[], &figures, &BTreeMap::new());
        assert_eq!(told(of(5_000.0, 2.0, 30.0)), Vec::<String>::new());
        assert_eq!(told(of(5_100.0, 2.0, 30.0)), ["the victims' p99 was 5.1 ms, allowed are 5"]);
        assert_eq!(told(of(5_000.0, 2.5, 30.0)), ["the server's memory grew by 2.5 MiB, allowed are 2"]);
        assert_eq!(told(of(5_000.0, 2.0, 31.0)), ["socket buffers grew by 31.0 MiB, allowed are 30"]);
    }
}
