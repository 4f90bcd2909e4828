//! The process in one JSON object: what it is, what it does a second, how long things take, what devices feel.

use super::metrics::REFUSALS;
use super::samples::{CoreReading, Readings, Sampler, Summary};
use super::status::{DrainJson, SnapshotJson, Status};
use crate::config::Config;
use crate::published::Figures;
use engine::App;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Of what a limit allows; past it the process is not ready for more.
const NEAR_LIMIT: f64 = 0.95;

/// What does not change while the process lives.
#[derive(Clone, Debug)]
pub struct Facts {
    started: Instant,
    environment: String,
    app: &'static str,
    port: u16,
    cores: usize,
    /// The limit that is in force.
    pub connections_max: usize,
    rooms_max: usize,
    outboxes_bytes_max: usize,
}

impl Facts {
    /// Of a process that has just started on `port` and takes so many connections.
    pub fn new(config: &Config, port: u16, connections_max: usize) -> Facts {
        Facts {
            started: Instant::now(),
            environment: config.environment.clone(),
            app: match config.app {
                App::Rooms => "rooms",
                App::Echo => "echo",
                App::Broadcast => "broadcast",
            },
            port,
            cores: config.cores,
            connections_max,
            rooms_max: config.limits.rooms_max,
            outboxes_bytes_max: config.limits.outboxes_bytes_max,
        }
    }

    /// Since the start.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }
}

#[derive(Serialize)]
pub struct Stats {
    version: &'static str,
    now_unix_ms: u64,
    uptime_s: f64,
    environment: String,
    app: &'static str,
    port: u16,
    pid: u32,
    connections_max: usize,
    memory: Memory,
    drain: Option<DrainJson>,
    snapshot: Option<SnapshotJson>,
    totals: Totals,
    cores: Vec<Core>,
    refusals: BTreeMap<&'static str, u64>,
    latency_us: Latency,
    sync: Sync,
}

#[derive(Serialize)]
struct Memory {
    resident_bytes: u64,
}

#[derive(Default, Serialize)]
struct Totals {
    connections: u64,
    rooms: u64,
    messages_per_s: f64,
    deliveries_per_s: f64,
    received_bytes_per_s: f64,
    sent_bytes_per_s: f64,
}

#[derive(Serialize)]
struct Core {
    core: usize,
    cpu: usize,
    respawns: u64,
    is_answering: bool,
    connections: u64,
    rooms: u64,
    load_percent: Option<f64>,
    messages_per_s: f64,
    deliveries_per_s: f64,
    received_bytes_per_s: f64,
    sent_bytes_per_s: f64,
    turns_per_s: f64,
    enters_per_s: f64,
    completions_per_enter: Option<f64>,
    mesh_batches_per_s: f64,
    turn_us: Option<Turn>,
    outbox_bytes_behind: u64,
    ring: Ring,
}

#[derive(Serialize)]
struct Turn {
    p50: u64,
    p99: u64,
    max: u64,
}

#[derive(Serialize)]
struct Ring {
    armed: u64,
    resting: u64,
    buffers_exhausted: u64,
    overflows: u64,
}

#[derive(Serialize)]
struct Latency {
    dwell: Option<LatencyTimes>,
    handshake: Option<LatencyTimes>,
}

#[derive(Serialize)]
struct LatencyTimes {
    count: u64,
    p50: u64,
    p90: u64,
    p99: u64,
    p99_9: u64,
    max: u64,
}

#[derive(Serialize)]
struct Sync {
    /// What the times below are of.
    window_s: f64,
    rtt_ms: Option<SyncTimes>,
    reported_rtt_ms: Option<SyncTimes>,
    ready_ms: Option<SyncTimes>,
    start_skew_ms: Option<SyncTimes>,
    drift_ms: Option<SyncTimes>,
    out_of_sync: u64,
}

#[derive(Serialize)]
struct SyncTimes {
    count: u64,
    p50: f64,
    p90: f64,
    p99: f64,
    max: f64,
}

impl Stats {
    /// As of the newest reading.
    pub fn new(facts: &Facts, status: &Status, sampler: &Sampler) -> Stats {
        let readings = sampler.readings();
        let no_cores = Vec::new();
        let newest = readings.newest.as_ref().map_or(&no_cores, |newest| &newest.cores);
        let cores: Vec<Core> = newest
            .iter()
            .enumerate()
            .map(|(core, it)| Core::new(core, it, status, sampler, &readings))
            .collect();
        let mut totals = Totals::default();
        for core in &cores {
            totals.connections += core.connections;
            totals.rooms += core.rooms;
            totals.messages_per_s += core.messages_per_s;
            totals.deliveries_per_s += core.deliveries_per_s;
            totals.received_bytes_per_s += core.received_bytes_per_s;
            totals.sent_bytes_per_s += core.sent_bytes_per_s;
        }
        let sum = |figure: fn(&Figures) -> u64| newest.iter().map(|it| figure(&it.figures)).sum::<u64>();
        let refusals = REFUSALS.iter().map(|(reason, _, count)| (*reason, sum(*count))).filter(|it| it.1 > 0);
        Stats {
            version: env!("CARGO_PKG_VERSION"),
            now_unix_ms: unix_ms(),
            uptime_s: facts.uptime().as_secs_f64(),
            environment: facts.environment.clone(),
            app: facts.app,
            port: facts.port,
            pid: std::process::id(),
            connections_max: facts.connections_max,
            memory: Memory { resident_bytes: resident_bytes() },
            drain: status.drain_json(totals.connections),
            snapshot: status.snapshot_json(),
            totals,
            refusals: refusals.collect(),
            latency_us: Latency {
                dwell: Summary::of(&readings.last.dwell).map(LatencyTimes::from),
                handshake: Summary::of(&readings.last.handshake).map(LatencyTimes::from),
            },
            sync: Sync::new(&readings, sum(|it| it.engine.out_of_sync)),
            cores,
        }
    }
}

impl Stats {
    /// The drain, if there is one.
    pub fn drain(&self) -> &Option<DrainJson> {
        &self.drain
    }

    /// Of all cores.
    pub fn connections(&self) -> u64 {
        self.totals.connections
    }
}

impl Core {
    fn new(
        core: usize,
        newest: &CoreReading,
        status: &Status,
        sampler: &Sampler,
        readings: &Readings,
    ) -> Core {
        let Figures { engine, driver, ring, mesh, turns } = &newest.figures;
        let interval = readings.interval().map(|interval| interval.as_secs_f64()).filter(|s| *s > 0.0);
        let before = readings.before.as_ref().map(|before| &before.cores[core]);
        let was = before.map(|before| before.figures.clone()).unwrap_or_default();
        // A shard that has begun anew counts from 0 again.
        let rate = |now: u64, was: u64| interval.map_or(0.0, |s| tenths(now.saturating_sub(was) as f64 / s));
        let enters = ring.enters.saturating_sub(was.ring.enters);
        let completions = ring.completions.saturating_sub(was.ring.completions);
        let cpu_us = newest.cpu_us.zip(before.and_then(|before| before.cpu_us));
        let load =
            cpu_us.zip(interval).map(|((now, was), s)| now.saturating_sub(was) as f64 / (s * 1e6) * 100.0);
        let batches = |mesh: &crate::mesh::MeshStats| mesh.batches_sent + mesh.batches_received;
        Core {
            core,
            cpu: sampler.shards.cpu(core),
            respawns: status.respawns(core),
            is_answering: newest.is_answering,
            connections: engine.connections,
            rooms: engine.rooms,
            load_percent: load.map(tenths),
            messages_per_s: rate(engine.messages_received, was.engine.messages_received),
            deliveries_per_s: rate(engine.deliveries, was.engine.deliveries),
            received_bytes_per_s: rate(driver.received_bytes, was.driver.received_bytes),
            sent_bytes_per_s: rate(driver.sent_bytes, was.driver.sent_bytes),
            turns_per_s: rate(*turns, was.turns),
            enters_per_s: rate(ring.enters, was.ring.enters),
            completions_per_enter: (enters > 0).then(|| tenths(completions as f64 / enters as f64)),
            mesh_batches_per_s: rate(batches(mesh), batches(&was.mesh)),
            turn_us: newest.turn.map(|turn| Turn { p50: turn.p50, p99: turn.p99, max: turn.max }),
            outbox_bytes_behind: engine.outboxes_behind_bytes,
            ring: Ring {
                armed: driver.armed,
                resting: driver.resting,
                buffers_exhausted: driver.buffers_exhausted,
                overflows: ring.overflows,
            },
        }
    }
}

impl Sync {
    fn new(readings: &Readings, out_of_sync: u64) -> Sync {
        let (minute, window) = readings.minute();
        let times = |times| Summary::of(times).map(SyncTimes::from);
        Sync {
            window_s: tenths(window.as_secs_f64()),
            rtt_ms: times(&minute.rtt),
            reported_rtt_ms: times(&minute.reported_rtt),
            ready_ms: times(&minute.ready),
            start_skew_ms: times(&minute.start_skew),
            drift_ms: times(&minute.drift),
            out_of_sync,
        }
    }
}

impl From<Summary> for LatencyTimes {
    fn from(summary: Summary) -> LatencyTimes {
        let Summary { count, p50, p90, p99, p99_9, max } = summary;
        LatencyTimes { count, p50, p90, p99, p99_9, max }
    }
}

impl From<Summary> for SyncTimes {
    fn from(summary: Summary) -> SyncTimes {
        let Summary { count, p50, p90, p99, max, .. } = summary;
        let ms = |us: u64| us as f64 / 1000.0;
        SyncTimes { count, p50: ms(p50), p90: ms(p90), p99: ms(p99), max: ms(max) }
    }
}

/// Why the process should get no more clients, a line each; none if it may.
pub fn unready(facts: &Facts, status: &Status, readings: &Readings) -> Vec<String> {
    let mut reasons = Vec::new();
    if status.drain.is_some() {
        reasons.push("draining".to_owned());
    }
    let cores = readings.newest.as_ref().map_or(&[][..], |newest| &newest.cores);
    for (core, _) in cores.iter().enumerate().filter(|(_, reading)| !reading.is_answering) {
        reasons.push(format!("shard {core} does not answer"));
    }
    let is_near = |count: u64, max: usize| count as f64 >= max as f64 * NEAR_LIMIT;
    let sum = |figure: fn(&Figures) -> u64| cores.iter().map(|it| figure(&it.figures)).sum::<u64>();
    let (connections, rooms) = (sum(|it| it.engine.connections), sum(|it| it.engine.rooms));
    if is_near(connections, facts.connections_max) {
        reasons.push(format!("connections near their limit ({connections} of {})", facts.connections_max));
    }
    // A core takes no more than its share of rooms.
    let rooms_max = facts.rooms_max.div_ceil(facts.cores);
    if cores.iter().any(|it| is_near(it.figures.engine.rooms, rooms_max)) {
        reasons.push(format!("rooms near their limit ({rooms} of {})", facts.rooms_max));
    }
    for (core, reading) in cores.iter().enumerate() {
        let behind = reading.figures.engine.outboxes_behind_bytes;
        if is_near(behind, facts.outboxes_bytes_max) {
            let max = facts.outboxes_bytes_max;
            reasons.push(format!("outboxes of shard {core} near their limit ({behind} of {max} bytes)"));
        }
    }
    reasons
}

fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// What the kernel says of this process; 0 where there is no /proc.
pub fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
    kib.unwrap_or(0_u64) * 1024
}
