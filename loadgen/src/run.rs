//! One run: starts the workers, watches both sides while they work, and judges what came out.

use crate::args::{LoadArgs, Profile, Scenario};
use crate::clock;
use crate::exit::{Exit, Failure};
use crate::machine::{self, Host, MachineCpu};
use crate::outcome::{Measure, Outcome, Second};
use crate::part::{Crew, Load, Part, Share};
use crate::play::chatter::roles::Roles;
use crate::play::{broadcast, stamp};
use crate::progress::Progress;
use crate::result::{Cost, Generator, Machine, Percentiles, RunResult, SeriesPoint, Server, SloVerdict};
use crate::slo::Slo;
use crate::verdict;
use crate::worker::{Patience, Word};
use crossbeam_channel::{Receiver, RecvTimeoutError};
use std::collections::BTreeMap;
use std::time::Duration;

/// Descriptors of a process that are not connections: ring, files, pipes.
pub const DESCRIPTORS_RESERVED: usize = 64;
/// From "all are ready" to the load's begin: threads see it at once, processes are told.
const LEAD_NS: u64 = 6_000_000;
const LEAD_OF_PROCESSES_NS: u64 = 100_000_000;
const RATE_DEFAULT: f64 = 1_000.0;
const CHURN_RATE_DEFAULT: f64 = 100.0;
const SLOW_SHARE_DEFAULT: f64 = 10.0;

/// What happens beside a run's load, told when to get ready and when the load begins.
pub trait Beside {
    /// All of the run's connections stand.
    fn get_ready(&mut self) -> Result<(), Failure>;

    /// The load begins then, and the measured window lies there.
    fn begin(&mut self, go_ns: u64) -> Result<(), Failure>;
}

/// A load with all defaults decided.
pub struct Run {
    pub load: Load,
    pub threads: usize,
    pub cpus: Vec<usize>,
    pub slo: Vec<Slo>,
    /// What to call the target.
    pub target: String,
    pub server_pids: Vec<u32>,
    pub args: Vec<String>,
}

impl Run {
    /// Checks arguments against each other, and decides what they leave open.
    pub fn new(scenario: Scenario, urls: &[String], args: &LoadArgs) -> Result<Run, Failure> {
        let profile = args.profile.unwrap_or(match scenario {
            Scenario::Rooms | Scenario::Chatter => Profile::Rooms,
            Scenario::Broadcast | Scenario::SlowReader => Profile::Broadcast,
            _ => Profile::Echo,
        });
        let is_rooms = profile == Profile::Rooms;
        let wrong = |condition: bool, line: &str| if condition { Err(Failure::usage(line)) } else { Ok(()) };
        wrong(args.conns == 0, "--conns: at least 1")?;
        wrong(args.conns >= stamp::CONNECTIONS_MAX, "--conns: at most 16,777,215, what a stamp can name")?;
        wrong(args.room_size == 0 || args.rooms == Some(0), "--room-size, --rooms: at least 1")?;
        wrong(args.threads == 0, "--threads: at least 1")?;
        wrong(args.depth == 0, "--depth: at least 1")?;
        wrong(args.payload < stamp::STAMP_BYTES, "--payload: at least 20, the bytes of a stamp")?;
        wrong(args.payload > 16 << 20, "--payload: at most 16 MiB")?;
        wrong(args.rate.is_some_and(|rate| !(rate > 0.0 && rate < 1e9)), "--rate: above 0 and below 1e9")?;
        wrong(args.connect_rate.is_some_and(|rate| !(rate > 0.0 && rate < 1e9)), "--connect-rate: above 0")?;
        wrong(args.duration.is_zero(), "--duration: above 0")?;
        wrong(args.click_every.is_zero(), "--click-every: above 0")?;
        let slow_share_default = if scenario == Scenario::Chatter { 0.0 } else { SLOW_SHARE_DEFAULT };
        let slow_share = args.slow_share.unwrap_or(slow_share_default);
        wrong(!(0.0..100.0).contains(&slow_share), "--slow-share: 0 to under 100 percent")?;
        wrong(!(0.0..=100_000.0).contains(&args.leavers), "--leavers: 0 or more percent")?;
        wrong(
            args.closed && !matches!(scenario, Scenario::Echo | Scenario::Broadcast | Scenario::Chatter),
            "--closed: for echo, broadcast and chatter only",
        )?;
        let has_rate =
            matches!(scenario, Scenario::Echo | Scenario::Broadcast | Scenario::Chatter | Scenario::Churn)
                || (scenario == Scenario::SlowReader && !is_rooms);
        wrong(
            args.rate.is_some() && !has_rate,
            "--rate: not here; rooms have their clients' cadence, storms --connect-rate",
        )?;
        let is_one_audience = matches!(scenario, Scenario::Broadcast | Scenario::SlowReader) && !is_rooms;
        wrong(
            is_one_audience && (args.threads > 1 || args.conns > broadcast::CONNECTIONS_MAX),
            "broadcast: one worker accounts for the whole audience: --threads 1 and at most 8192 connections",
        )?;
        wrong(
            is_rooms && matches!(scenario, Scenario::Echo | Scenario::Broadcast),
            "--profile rooms: not for echo and broadcast, whose messages are their own",
        )?;
        let room_size = args.rooms.map_or(args.room_size, |rooms| args.conns.div_ceil(rooms));
        let roles = Roles { speakers: args.speakers, silent_percent: slow_share };
        wrong(args.speakers == Some(0), "--speakers: at least 1")?;
        if scenario == Scenario::Chatter {
            wrong(!is_rooms, "--profile: chatter speaks the room protocol")?;
            wrong(urls.len() > 1, "chatter: one target, as the members of a room meet on one server")?;
            roles.refuse(room_size, args.conns).map_err(Failure::usage)?;
        } else {
            wrong(args.speakers.is_some(), "--speakers: for chatter only")?;
        }
        let stalled = match scenario {
            Scenario::SlowReader => {
                ((args.conns as f64 * slow_share / 100.0).ceil() as usize).min(args.conns - 1)
            }
            _ => 0,
        };
        let default_rate = if scenario == Scenario::Churn { CHURN_RATE_DEFAULT } else { RATE_DEFAULT };
        let load = Load {
            scenario,
            profile,
            urls: urls.to_vec(),
            connections: args.conns,
            room_size,
            first_room: args.first_room,
            rate_per_s: (!args.closed).then(|| args.rate.unwrap_or(default_rate)),
            depth: args.depth,
            payload_bytes: args.payload,
            connect_rate: args.connect_rate,
            stalled,
            roles,
            click_every_ns: args.click_every.as_nanos() as u64,
            leavers_per_minute: args.leavers / 100.0,
            // A storm is measured from its first connection on.
            warmup_ns: if scenario == Scenario::ConnectStorm { 0 } else { args.warmup.as_nanos() as u64 },
            duration_ns: args.duration.as_nanos() as u64,
            sources: args.source.clone(),
            seed: args.seed.unwrap_or_else(|| fastrand::u64(..1 << 32)),
            attack: None,
            patience: Patience::None,
        };
        for url in urls {
            crate::socket::Endpoint::parse(url, &load.sources, 0).map_err(Failure::usage)?;
        }
        Ok(Run {
            load,
            threads: args.threads,
            cpus: worker_cpus(args)?,
            slo: args.slo.clone(),
            target: urls.join(" "),
            server_pids: Vec::new(),
            args: std::env::args().skip(1).collect(),
        })
    }

    /// Cuts the load into processes and workers.
    pub fn parts(&self) -> Result<Vec<Part>, Failure> {
        let (_, descriptors) = machine::descriptors();
        let process_max = (descriptors as usize).saturating_sub(DESCRIPTORS_RESERVED).max(1);
        let processes = self.load.connections.div_ceil(process_max);
        let is_one_audience = matches!(self.load.scenario, Scenario::Broadcast | Scenario::SlowReader)
            && self.load.profile != Profile::Rooms;
        if processes > 1 && is_one_audience {
            return Err(Failure::usage(format!(
                "broadcast: one process accounts for the whole audience, and may hold {process_max} connections"
            )));
        }
        let shares = shares(&self.load, self.threads.max(processes), &self.cpus);
        // Workers go to processes so that none holds too many.
        let mut parts: Vec<Part> = Vec::new();
        let mut held = usize::MAX;
        for share in shares {
            if held.saturating_add(share.connections) > process_max {
                parts.push(Part { load: self.load.clone(), shares: Vec::new() });
                held = 0;
            }
            held += share.connections;
            if let Some(part) = parts.last_mut() {
                part.shares.push(share);
            }
        }
        Ok(parts)
    }

    /// Runs it.
    pub fn play(&self, is_quiet: bool) -> Result<(RunResult, Outcome), Failure> {
        self.play_beside(is_quiet, None)
    }

    /// Runs it beside something else.
    pub fn play_beside(
        &self,
        is_quiet: bool,
        beside: Option<&mut dyn Beside>,
    ) -> Result<(RunResult, Outcome), Failure> {
        let started_unix_s = (clock::unix_ms() / 1e3) as u64;
        machine::raise_descriptors();
        let parts = self.parts()?;
        let processes = parts.len();
        let workers = parts.iter().map(|part| part.shares.len()).sum();
        let mut progress = Progress::new(self, is_quiet);
        let (mut crew, heard) = Crew::start(parts)?;
        let played = self.watch(&mut crew, &heard, workers, &mut progress, beside);
        if played.is_err() {
            // Those that are left must not wait for ever.
            let _ = crew.go(u64::MAX);
        }
        crew.join();
        progress.finish();
        let Watched { outcome, seconds, from, to } = played?;
        let measured = Measured { run: self, from, to, workers, processes, started_unix_s, seconds };
        Ok(measured.judge(outcome))
    }

    /// Connects everyone, looks once while they are idle, and lets them go.
    pub fn hold<T>(&self, look: impl FnOnce() -> T) -> Result<T, Failure> {
        machine::raise_descriptors();
        let parts = self.parts()?;
        let workers: usize = parts.iter().map(|part| part.shares.len()).sum();
        let (mut crew, heard) = Crew::start(parts)?;
        let mut progress = Progress::new(self, true);
        let ready = self.await_ready(&heard, workers, &mut progress);
        let looked = ready.map(|()| {
            std::thread::sleep(Duration::from_nanos(self.load.duration_ns));
            look()
        });
        let _ = crew.go(u64::MAX);
        crew.join();
        looked
    }

    fn await_ready(
        &self,
        heard: &Receiver<(usize, Word)>,
        workers: usize,
        progress: &mut Progress,
    ) -> Result<(), Failure> {
        let mut connected: BTreeMap<usize, u64> = BTreeMap::new();
        let mut ready = 0;
        while ready < workers {
            match heard.recv().map_err(Failure::fault)? {
                (worker, Word::Connecting(count)) => {
                    connected.insert(worker, count);
                    progress.connecting(connected.values().sum());
                }
                (_, Word::Ready) => ready += 1,
                (_, word) => self.fail(word)?,
            }
        }
        Ok(())
    }

    fn watch(
        &self,
        crew: &mut Crew,
        heard: &Receiver<(usize, Word)>,
        workers: usize,
        progress: &mut Progress,
        mut beside: Option<&mut dyn Beside>,
    ) -> Result<Watched, Failure> {
        self.await_ready(heard, workers, progress)?;
        if let Some(beside) = &mut beside {
            beside.get_ready()?;
        }
        // Without a warm-up both sides are still until the window begins. Reading takes a while, in which they
        // would have begun.
        let is_still = self.load.warmup_ns == 0;
        let before = is_still.then(|| Reading::take(&self.server_pids, &crew.pids())).transpose()?;
        let is_near = matches!(crew, Crew::Threads { .. }) && beside.is_none();
        let go_ns = clock::now_ns() + if is_near { LEAD_NS } else { LEAD_OF_PROCESSES_NS };
        let (from_ns, to_ns) =
            (go_ns + self.load.warmup_ns, go_ns + self.load.warmup_ns + self.load.duration_ns);
        crew.go(go_ns)?;
        if let Some(beside) = beside {
            beside.begin(go_ns)?;
        }
        let mut watched = Watched {
            outcome: Outcome::default(),
            seconds: BTreeMap::new(),
            from: before.map(|it| Reading { at_ns: from_ns, ..it }).unwrap_or_default(),
            to: Reading::default(),
        };
        let mut heard_of: BTreeMap<u64, usize> = BTreeMap::new();
        let mut done = 0;
        while done < workers {
            let now_ns = clock::now_ns();
            if watched.from.at_ns == 0 && now_ns >= from_ns {
                watched.from = Reading::take(&self.server_pids, &crew.pids())?;
            }
            if watched.to.at_ns == 0 && now_ns >= to_ns {
                watched.to = Reading::take(&self.server_pids, &crew.pids())?;
            }
            let next_ns = match (watched.from.at_ns, watched.to.at_ns) {
                (0, _) => from_ns,
                (_, 0) => to_ns,
                _ => u64::MAX,
            };
            let wait = Duration::from_nanos(next_ns.saturating_sub(now_ns).min(1_000_000_000));
            match heard.recv_timeout(wait) {
                Ok((_, Word::Second(mut second))) => {
                    let index = second.index;
                    let count = heard_of.entry(index).or_default();
                    *count += 1;
                    let whole = watched.seconds.entry(index).or_default();
                    whole.index = index;
                    whole.connections += second.connections;
                    whole.sent += second.sent;
                    whole.received += second.received;
                    whole.response.add(&mut second.response);
                    if *count == workers {
                        whole.rss_bytes = machine::rss_bytes(&self.server_pids);
                        progress.second(whole);
                    }
                }
                Ok((_, Word::Done(mut outcome))) => {
                    watched.outcome.add(&mut outcome);
                    done += 1;
                }
                Ok((_, word)) => self.fail(word)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(error) => return Err(Failure::fault(error)),
            }
        }
        // The last words may overtake the clock.
        if watched.to.at_ns == 0 {
            watched.to = Reading::take(&self.server_pids, &crew.pids())?;
        }
        Ok(watched)
    }

    fn fail(&self, word: Word) -> Result<(), Failure> {
        let Word::Failed { line, is_refusal } = word else { return Ok(()) };
        let exit = match (is_refusal, line.starts_with("the target died")) {
            (true, _) => Exit::Refused,
            (false, true) => Exit::Died,
            _ => Exit::Fault,
        };
        Err(Failure { exit, line: format!("{}: {line}", self.target) })
    }
}

/// The last CPUs unless told: the first is the server's.
fn worker_cpus(args: &LoadArgs) -> Result<Vec<usize>, Failure> {
    let all: Vec<usize> =
        core_affinity::get_core_ids().unwrap_or_default().iter().map(|core| core.id).collect();
    if let Some(cpu) = args.cpus.iter().find(|cpu| !all.contains(cpu)) {
        return Err(Failure::usage(format!("--cpus: {cpu} is not one of the CPUs of this process, {all:?}")));
    }
    if !args.cpus.is_empty() {
        return Ok(args.cpus.clone());
    }
    let first = all.len().saturating_sub(args.threads);
    Ok(all.get(first..).unwrap_or_default().to_vec())
}

/// The first CPU unless told: the last ones are the workers'.
pub fn server_cpus(args: &LoadArgs) -> Result<Vec<usize>, Failure> {
    let all: Vec<usize> =
        core_affinity::get_core_ids().unwrap_or_default().iter().map(|core| core.id).collect();
    if let Some(cpu) = args.server_cpus.iter().find(|cpu| !all.contains(cpu)) {
        return Err(Failure::usage(format!("--server-cpus: {cpu} is not one of {all:?}")));
    }
    Ok(if args.server_cpus.is_empty() {
        all.first().copied().into_iter().collect()
    } else {
        args.server_cpus.clone()
    })
}

/// Even shares of whole rooms.
fn shares(load: &Load, workers: usize, cpus: &[usize]) -> Vec<Share> {
    let grains = load.connections.div_ceil(load.grain());
    let workers = workers.min(grains);
    let mut shares = Vec::new();
    let mut first_connection = 0;
    for worker in 0..workers {
        let upto = (grains * (worker + 1) / workers * load.grain()).min(load.connections);
        let cpu = (!cpus.is_empty()).then(|| cpus[worker % cpus.len()]);
        shares.push(Share { worker, first_connection, connections: upto - first_connection, cpu });
        first_connection = upto;
    }
    shares
}

struct Watched {
    outcome: Outcome,
    seconds: BTreeMap<u64, Second>,
    from: Reading,
    to: Reading,
}

/// Both sides' accounts at one instant.
#[derive(Default)]
struct Reading {
    at_ns: u64,
    threads_ns: BTreeMap<(u32, u32), u64>,
    switches: u64,
    rss_bytes: u64,
    machine: MachineCpu,
    machine_ns: BTreeMap<(u32, u32), u64>,
}

impl Reading {
    /// `but`: the generator's own processes, which the machine's account leaves out.
    fn take(pids: &[u32], but: &[u32]) -> Result<Reading, Failure> {
        let mut reading =
            Reading { at_ns: clock::now_ns(), machine: MachineCpu::read(), ..Reading::default() };
        reading.machine_ns = machine::all_threads_cpu_ns(but);
        let family: Vec<u32> = pids.iter().flat_map(|pid| machine::family(*pid)).collect();
        for pid in pids {
            if machine::threads_cpu_ns(*pid).is_none() {
                let line = format!("the target died: process {pid} is gone");
                return Err(Failure { exit: Exit::Died, line });
            }
        }
        for pid in &family {
            for (thread, cpu_ns) in machine::threads_cpu_ns(*pid).unwrap_or_default() {
                reading.threads_ns.insert((*pid, thread), cpu_ns);
            }
            reading.switches += machine::voluntary_switches(*pid);
        }
        reading.rss_bytes = machine::rss_bytes(&family);
        Ok(reading)
    }
}

/// All that a verdict is made of.
pub struct Measured<'a> {
    run: &'a Run,
    from: Reading,
    to: Reading,
    workers: usize,
    processes: usize,
    started_unix_s: u64,
    seconds: BTreeMap<u64, Second>,
}

impl Measured<'_> {
    fn judge(mut self, mut outcome: Outcome) -> (RunResult, Outcome) {
        let load = &self.run.load;
        let seconds = load.duration_ns as f64 / 1e9;
        let span_ns = self.to.at_ns.saturating_sub(self.from.at_ns).max(1) as f64;
        let server = self.server(span_ns);
        let machine_cpu = self.to.machine.since(&self.from.machine);
        let share = |part: u64| 100.0 * part as f64 / machine_cpu.total_ns.max(1) as f64;
        let window = outcome.window.clone();
        // What is paid for: deliveries, or connections where they are the load.
        let units = if load.scenario.is_connecting() { window.made } else { window.received };
        let per_unit = |ns: f64| (units > 0).then(|| ns / units as f64);
        let machine_ns = machine::used_ns(&self.from.machine_ns, &self.to.machine_ns);
        // Both sides read their clocks on their own, so CPU is taken as a share of time.
        let window_ns = load.duration_ns as f64;
        let cost = Cost {
            server_ns_per_message: server.and_then(|it| per_unit(it.cpu_percent / 100.0 * window_ns)),
            generator_ns_per_message: per_unit(window.worker_cpu_ns as f64),
            machine_ns_per_message: per_unit(machine_ns as f64 * window_ns / span_ns),
            server_switches_per_message: server
                .and_then(|_| per_unit(self.to.switches.saturating_sub(self.from.switches) as f64)),
            generator_enters_per_message: per_unit(window.enters as f64),
        };
        let latency_us = latencies(&mut outcome);
        let slo = self.run.slo.iter().map(|slo| {
            let measured_us = outcome
                .latency
                .get_mut(&slo.measure)
                .map_or(0.0, |latency| latency.quantile_us(slo.quantile));
            SloVerdict { slo: slo.text.clone(), measured_us, holds: measured_us < slo.limit_us }
        });
        let slo = slo.collect();
        let conservation = &outcome.conservation;
        let misses = (conservation.plays > 0)
            .then(|| conservation.deadlines_missed as f64 * 1e6 / conservation.plays as f64);
        let offered = verdict::offered(load, &mut outcome);
        let mut result = RunResult {
            kind: "run".to_owned(),
            scenario: load.scenario.name().to_owned(),
            target: self.run.target.clone(),
            closed_loop: load.rate_per_s.is_none(),
            connections_asked: load.connections,
            payload_bytes: load.payload_bytes,
            duration_s: seconds,
            valid: true,
            void_reasons: Vec::new(),
            bound: verdict::bound(server, window.worker_busy_max),
            offered_per_s: offered / seconds,
            achieved_per_s: units as f64 / seconds,
            messages: outcome.messages.clone(),
            conservation: outcome.conservation.clone(),
            connections: outcome.connections.clone(),
            latency_us,
            deadline_miss_ppm: misses,
            cost,
            server,
            generator: Generator {
                cpu_percent: 100.0 * window.worker_cpu_ns as f64 / span_ns,
                busiest_worker_percent: 100.0 * window.worker_busy_max,
                workers: self.workers,
                processes: self.processes,
            },
            machine: Machine {
                busy_percent: share(machine_cpu.busy_ns),
                steal_percent: share(machine_cpu.stolen_ns),
            },
            slo,
            series: self.series(),
            response_by_quantile: by_quantile(&mut outcome),
            faults: outcome.faults.clone(),
            host: Host::read(),
            args: self.run.args.clone(),
            seed: load.seed,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_unix_s: self.started_unix_s,
        };
        result.void_reasons = verdict::void_reasons(load, &self.run.slo, &result, &outcome);
        result.valid = result.void_reasons.is_empty();
        (result, outcome)
    }

    fn server(&self, span_ns: f64) -> Option<Server> {
        if self.run.server_pids.is_empty() {
            return None;
        }
        let used = self.to.threads_ns.iter().map(|(thread, cpu_ns)| {
            cpu_ns.saturating_sub(self.from.threads_ns.get(thread).copied().unwrap_or(0))
        });
        let (all, busiest) = used.fold((0, 0), |(all, busiest), ns| (all + ns, busiest.max(ns)));
        Some(Server {
            cpu_percent: 100.0 * all as f64 / span_ns,
            busiest_thread_percent: 100.0 * busiest as f64 / span_ns,
            rss_bytes: self.to.rss_bytes,
        })
    }

    fn series(&mut self) -> Vec<SeriesPoint> {
        let points = self.seconds.values_mut().map(|second| SeriesPoint {
            second: second.index,
            connections: second.connections,
            sent: second.sent,
            received: second.received,
            p50_us: second.response.quantile_us(0.5),
            p99_us: second.response.quantile_us(0.99),
            max_us: second.response.quantile_us(1.0),
            rss_bytes: second.rss_bytes,
        });
        points.collect()
    }
}

fn latencies(outcome: &mut Outcome) -> BTreeMap<String, Percentiles> {
    let mut latencies = BTreeMap::new();
    for measure in Measure::ALL {
        let latency = outcome.latency.entry(measure).or_default();
        let is_always = matches!(measure, Measure::Response | Measure::Service | Measure::Lag);
        if !is_always && latency.count() == 0 {
            continue;
        }
        let percentiles = Percentiles {
            count: latency.count(),
            mean: latency.mean_ns() / 1e3,
            p50: latency.quantile_us(0.5),
            p90: latency.quantile_us(0.9),
            p99: latency.quantile_us(0.99),
            p99_9: latency.quantile_us(0.999),
            max: latency.quantile_us(1.0),
        };
        latencies.insert(measure.name().to_owned(), percentiles);
    }
    latencies
}

/// The response at quantiles that lie evenly on the plot's logarithmic axis.
fn by_quantile(outcome: &mut Outcome) -> Vec<(f64, f64)> {
    let measure = if outcome.latency.get_mut(&Measure::Response).is_some_and(|it| it.count() > 0) {
        Measure::Response
    } else {
        Measure::Connect
    };
    let Some(latency) = outcome.latency.get_mut(&measure) else { return Vec::new() };
    let count = latency.count();
    let points = (0..).map(|step| 1.0 - 10_f64.powf(-f64::from(step) / 8.0));
    let points = points.take_while(|quantile| (1.0 - quantile) * count as f64 >= 1.0);
    points.map(|quantile| (quantile, latency.quantile_us(quantile))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_whole_rooms_and_add_up() {
        let args =
            <crate::args::Cli as clap::Parser>::parse_from(["loadgen", "run", "rooms", "x", "-c", "1010"]);
        let crate::args::Command::Run(args) = args.command else { panic!("not a run") };
        let run = Run::new(Scenario::Rooms, &["ws://127.0.0.1:1".to_owned()], &args.load).unwrap();
        for workers in [1, 2, 3, 7, 1000] {
            let shares = shares(&run.load, workers, &[4, 5]);
            assert_eq!(shares.iter().map(|share| share.connections).sum::<usize>(), 1010);
            let mut next = 0;
            for share in shares {
                assert_eq!((share.first_connection, share.first_connection % 20), (next, 0));
                next += share.connections;
            }
        }
    }
}
