//! The figures in Prometheus' text format: each core's own, and a few of the process.
//!
//! Every metric stands once, in a table with its help. docs/metrics.md says more of each; a test holds it against
//! [`documented`].

use super::samples::{BUCKETS_S, CoreReading, Readings, TIMES, Total};
use super::stats::{Facts, resident_bytes};
use super::status::Status;
use crate::log;
use crate::published::Figures;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::prometheus_text;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use std::fmt;

pub use prometheus_text::CONTENT_TYPE;

/// Before every name.
const PREFIX: &str = "downbeat_";

type Count = fn(&Figures) -> u64;

/// Why something was refused, dropped or ended: the reason, what it was, the count.
pub const REFUSALS: [(&str, &str, Count); 33] = [
    ("heads", "upgrade requests not answered with 101", |it| it.engine.refused_heads),
    ("heads_too_large", "of those, with 431", |it| it.engine.heads_too_large),
    ("origins", "of those, with 403: a page of an origin that is not allowed", |it| {
        it.engine.origins_refused
    }),
    ("head_timeouts", "connections whose request did not come in time", |it| it.engine.head_timeouts),
    ("connections", "accepts answered 503", |it| it.driver.accepts_over_limit),
    ("address_connections", "of those, for one address", |it| it.driver.accepts_over_address_limit),
    ("join_timeouts", "connections that joined nothing in time (1008)", |it| it.engine.join_timeouts),
    ("messages_ignored", "messages that were no request", |it| it.engine.messages_ignored),
    ("messages_unauthorised", "requests of who may not make them", |it| it.engine.messages_unauthorised),
    ("messages_excess", "messages past their sender's rate", |it| it.engine.messages_excess),
    ("pings_dropped", "time_pings among them", |it| it.engine.pings_dropped),
    ("floods", "connections for going on past their rate (1008)", |it| it.engine.floods_closed),
    ("controls", "connections for too many pings and pongs (1008)", |it| it.engine.controls_excess),
    ("pongs_skipped", "pings not answered because a newer one was", |it| it.engine.pongs_skipped),
    ("commands", "commands past their sender's rate", |it| it.engine.commands_excess),
    ("room_commands", "commands past their room's rate", |it| it.engine.room_commands_excess),
    ("pause_states", "PAUSE_STATEs when as many were due already", |it| it.engine.pause_states_excess),
    ("rooms", "connections for one room too many (1008, 1013)", |it| it.engine.rooms_refused),
    ("message_timeouts", "connections whose message did not come in time (1008)", |it| {
        it.engine.message_timeouts
    }),
    ("protocol_errors", "connections that broke RFC 6455 (1002, 1007, 1008)", |it| it.engine.protocol_errors),
    ("messages_too_big", "connections with a message past the limit (1009)", |it| it.engine.messages_too_big),
    ("outboxes_overflowed", "connections that did not read", |it| it.engine.outboxes_overflowed),
    ("outboxes_stalled", "connections that took nothing for too long", |it| it.engine.outboxes_stalled),
    ("outboxes_shed", "connections owed most when all were owed too much", |it| it.engine.outboxes_shed),
    ("pongs_late", "time_pongs whose receiver was late", |it| it.engine.pongs_late),
    ("states_late", "playback states whose receiver was late, put off", |it| it.engine.states_late),
    ("pings_unanswered", "connections that answered no ping", |it| it.engine.pings_unanswered),
    ("peers_timed_out", "connections whose peer acknowledged nothing for too long", |it| {
        it.driver.peers_timed_out
    }),
    ("close_timeouts", "connections that did not end after a close frame", |it| it.engine.close_timeouts),
    ("faults", "connections closed for a fault of the server's (1011)", |it| it.engine.faults),
    ("mesh_pings_dropped", "time_pings and time_pongs on a full way between cores", |it| {
        it.engine.mesh_pings_dropped
    }),
    ("mesh_broadcasts_dropped", "broadcasts, likewise", |it| it.engine.mesh_broadcasts_dropped),
    ("mesh_evicted", "members who missed something because of that (1013)", |it| it.engine.mesh_evicted),
];

/// What each core counts.
const COUNTERS: [(&str, &str, Count); 25] = [
    ("accepted", "Connections accepted", |it| it.engine.accepted),
    ("upgraded", "Connections answered with 101", |it| it.engine.upgraded),
    ("pages_served", "Requests answered with the page, or its head", |it| it.engine.pages_served),
    ("handed_away", "Connections given to the core of their room before the 101", |it| it.engine.handed_away),
    ("handed_in", "Connections taken from other cores before the 101", |it| it.engine.handed_in),
    ("messages", "Messages received, text and binary", |it| it.engine.messages_received),
    ("deliveries", "Frames for members of a room, each member's counted", |it| it.engine.deliveries),
    ("news_put_off", "Turns that a room's news of who came or went had to wait", |it| it.engine.news_put_off),
    ("answers", "Frames for one connection", |it| it.engine.frames_queued),
    ("received_bytes", "Bytes received", |it| it.driver.received_bytes),
    ("sent_bytes", "Bytes that the kernel took to send", |it| it.driver.sent_bytes),
    ("turns", "Turns of the shard's loop", |it| it.turns),
    ("enters", "Calls of io_uring_enter", |it| it.ring.enters),
    ("completions", "Completions taken from the ring; over enters, how many a system call", |it| {
        it.ring.completions
    }),
    ("completion_queue_overflows", "Enters with the completion queue full", |it| it.ring.overflows),
    ("receives_without_buffer", "Receives that found no buffer (ENOBUFS)", |it| it.driver.buffers_exhausted),
    ("receives_rearmed", "Receives that the kernel ended by itself", |it| it.driver.receives_rearmed),
    ("short_sends", "Sends of which the kernel took a part", |it| it.driver.sends_short),
    ("accepts_failed", "Accepts that found no descriptor or memory", |it| it.driver.accepts_failed),
    ("mesh_batches_sent", "Batches to other cores", |it| it.mesh.batches_sent),
    ("mesh_batches_received", "Batches from other cores", |it| it.mesh.batches_received),
    ("mesh_envelopes_sent", "Envelopes to other cores", |it| it.engine.envelopes_sent),
    ("mesh_envelopes_received", "Envelopes from other cores", |it| it.engine.envelopes_received),
    ("stale_readiness", "Readiness answers to another handshake than the pending one", |it| {
        it.engine.stale_readiness
    }),
    ("device_ready_coalesced", "device_ready frames that large rooms did without", |it| {
        it.engine.device_ready_coalesced
    }),
];

/// What each core has.
const GAUGES: [(&str, &str, Count); 8] = [
    ("connections", "Connections open, those being closed among them", |it| it.engine.connections),
    ("ending_connections", "Connections that have ended and stand in line to leave", |it| it.engine.ending),
    ("rooms", "Rooms whose home is the core", |it| it.engine.rooms),
    ("out_of_sync", "Members whose newest sync_check was off by more than 450 ms", |it| {
        it.engine.out_of_sync
    }),
    ("outbox_behind_bytes", "Bytes owed to connections that are behind", |it| {
        it.engine.outboxes_behind_bytes
    }),
    ("receives_armed", "Sockets with a receive armed, or a poll for one", |it| it.driver.armed),
    ("receives_resting", "Of those, sockets with a poll, which said nothing between two pings", |it| {
        it.driver.resting
    }),
    ("receives_queued", "Sockets whose receive waits to be armed", |it| it.driver.queued),
];

/// Everything that is exported at one time.
#[derive(Debug)]
struct Scrape {
    cores: Vec<CoreReading>,
    times: Vec<[Total; TIMES.len()]>,
    cpu_us: Vec<u64>,
    respawns: Vec<u64>,
    uptime_s: f64,
    resident_bytes: u64,
    connections_max: u64,
    is_draining: bool,
    log_lines_left_out: u64,
    snapshot: Option<SnapshotScrape>,
}

#[derive(Debug)]
struct SnapshotScrape {
    age_s: f64,
    rooms: u64,
    bytes: u64,
    took_s: f64,
    failures: u64,
}

/// The text of all metrics, as of the newest reading.
pub fn text(facts: &Facts, status: &Status, readings: &Readings) -> Result<String, fmt::Error> {
    let cores = readings.newest.as_ref().map(|newest| newest.cores.clone()).unwrap_or_default();
    let snapshot = status.snapshot.as_ref().map(|snapshot| SnapshotScrape {
        age_s: snapshot.at.elapsed().as_secs_f64(),
        rooms: snapshot.rooms,
        bytes: snapshot.bytes,
        took_s: snapshot.took_ms / 1000.0,
        failures: snapshot.failures,
    });
    encode(Scrape {
        respawns: (0..cores.len()).map(|core| status.respawns(core)).collect(),
        times: readings.totals.iter().map(|total| total.times.clone()).collect(),
        cpu_us: readings.totals.iter().map(|total| total.cpu_us).collect(),
        cores,
        uptime_s: facts.uptime().as_secs_f64(),
        resident_bytes: resident_bytes(),
        connections_max: facts.connections_max as u64,
        is_draining: status.drain.is_some(),
        log_lines_left_out: log::left_out(),
        snapshot,
    })
}

/// Every metric's name and help, and every reason of a refusal with what it is.
pub fn documented() -> Vec<(String, String)> {
    let snapshot = SnapshotScrape { age_s: 0.0, rooms: 0, bytes: 0, took_s: 0.0, failures: 0 };
    let text = encode(Scrape {
        cores: Vec::new(),
        times: Vec::new(),
        cpu_us: Vec::new(),
        respawns: Vec::new(),
        uptime_s: 0.0,
        resident_bytes: 0,
        connections_max: 0,
        is_draining: false,
        log_lines_left_out: 0,
        snapshot: Some(snapshot),
    });
    let text = text.unwrap_or_default();
    let helps = text.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split_once(' '));
    let metrics = helps.map(|(name, help)| (name.to_owned(), help.trim_end_matches('.').to_owned()));
    let reasons = REFUSALS.iter().map(|(reason, what, _)| ((*reason).to_owned(), (*what).to_owned()));
    metrics.chain(reasons).collect()
}

fn encode(scrape: Scrape) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(scrape));
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry)?;
    Ok(text)
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Out(&mut encoder);
        self.encode_process(&mut out)?;
        for (name, help, count) in GAUGES {
            out.gauges(name, help, self.per_core(|core, it| Some((core, count(&it.figures)))))?;
        }
        for (name, help, count) in COUNTERS {
            out.counters(name, help, self.per_core(|core, it| Some((core, count(&it.figures)))))?;
        }
        self.encode_refusals(&mut out)?;
        out.gauges(
            "shard_answering",
            "1 if the shard answered within 250 ms when it was last asked",
            self.per_core(|core, it| Some((core, u64::from(it.is_answering)))),
        )?;
        let cpu_s = self.cpu_us.iter().enumerate().map(|(core, us)| (core, *us as f64 / 1e6));
        out.counters("cpu_seconds", "CPU time of the shard's thread", cpu_s)?;
        let respawns = self.respawns.iter().copied().enumerate();
        out.counters("respawns", "Times that the shard began anew after a fault", respawns)?;
        for (index, (name, help, _)) in TIMES.iter().enumerate() {
            let times = self.times.iter().enumerate().map(|(core, times)| (core, &times[index]));
            out.histograms(&format!("{name}_seconds"), help, times)?;
        }
        Ok(())
    }
}

impl Scrape {
    fn per_core<T>(&self, of: impl Fn(usize, &CoreReading) -> Option<T>) -> impl Iterator<Item = T> {
        self.cores.iter().enumerate().filter_map(move |(core, reading)| of(core, reading))
    }

    fn encode_process(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        out.one("build_info", "The version, in a label", &[("version", env!("CARGO_PKG_VERSION"))], 1_u64)?;
        out.one("uptime_seconds", "Since the start", &NO_LABELS, self.uptime_s)?;
        out.one("resident_bytes", "Resident memory of the process", &NO_LABELS, self.resident_bytes)?;
        out.one(
            "connections_max",
            "Connections of all cores, past which 503",
            &NO_LABELS,
            self.connections_max,
        )?;
        out.one("draining", "1 while the process drains", &NO_LABELS, u64::from(self.is_draining))?;
        out.counters_of_process(
            "log_lines_left_out",
            "Lines of the log past ten a second of their kind",
            self.log_lines_left_out,
        )?;
        let Some(SnapshotScrape { age_s, rooms, bytes, took_s, failures }) = &self.snapshot else {
            return Ok(());
        };
        out.one("snapshot_age_seconds", "Since the newest snapshot was finished", &NO_LABELS, *age_s)?;
        out.one("snapshot_rooms", "Rooms in it", &NO_LABELS, *rooms)?;
        out.one("snapshot_bytes", "Its length", &NO_LABELS, *bytes)?;
        out.one("snapshot_duration_seconds", "How long it took", &NO_LABELS, *took_s)?;
        out.counters_of_process("snapshot_failures", "Snapshots that could not be written", *failures)
    }

    fn encode_refusals(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let name = format!("{PREFIX}refusals");
        let help = "What was refused, dropped or ended, by reason";
        let mut metric = out.0.encode_descriptor(&name, help, None, MetricType::Counter)?;
        for (core, reading) in self.cores.iter().enumerate() {
            for (reason, _, count) in REFUSALS {
                let labels = [("core", core.to_string()), ("reason", reason.to_owned())];
                ConstCounter::new(count(&reading.figures)).encode(metric.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

const NO_LABELS: [(&str, &str); 0] = [];

/// Writes metrics, whose names get the prefix.
struct Out<'a, 'e>(&'a mut DescriptorEncoder<'e>);

impl Out<'_, '_> {
    fn one<N>(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: N) -> fmt::Result
    where
        ConstGauge<N>: EncodeMetric,
    {
        let name = format!("{PREFIX}{name}");
        let mut metric = self.0.encode_descriptor(&name, help, None, MetricType::Gauge)?;
        let gauge = ConstGauge::new(value);
        if labels.is_empty() { gauge.encode(metric) } else { gauge.encode(metric.encode_family(&labels)?) }
    }

    fn counters_of_process(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let name = format!("{PREFIX}{name}");
        ConstCounter::new(value).encode(self.0.encode_descriptor(&name, help, None, MetricType::Counter)?)
    }

    fn gauges(&mut self, name: &str, help: &str, values: impl Iterator<Item = (usize, u64)>) -> fmt::Result {
        let name = format!("{PREFIX}{name}");
        let mut metric = self.0.encode_descriptor(&name, help, None, MetricType::Gauge)?;
        for (core, value) in values {
            ConstGauge::new(value).encode(metric.encode_family(&of_core(core))?)?;
        }
        Ok(())
    }

    fn counters<N>(&mut self, name: &str, help: &str, values: impl Iterator<Item = (usize, N)>) -> fmt::Result
    where
        ConstCounter<N>: EncodeMetric,
    {
        let name = format!("{PREFIX}{name}");
        let mut metric = self.0.encode_descriptor(&name, help, None, MetricType::Counter)?;
        for (core, value) in values {
            ConstCounter::new(value).encode(metric.encode_family(&of_core(core))?)?;
        }
        Ok(())
    }

    fn histograms<'t>(
        &mut self,
        name: &str,
        help: &str,
        values: impl Iterator<Item = (usize, &'t Total)>,
    ) -> fmt::Result {
        let name = format!("{PREFIX}{name}");
        let mut metric = self.0.encode_descriptor(&name, help, None, MetricType::Histogram)?;
        for (core, total) in values {
            // What is longer than all of them is in the count alone.
            let buckets: Vec<(f64, u64)> = BUCKETS_S.into_iter().zip(total.buckets).collect();
            let labels = of_core(core);
            let mut of_core = metric.encode_family(&labels)?;
            of_core.encode_histogram::<[(&str, &str); 0]>(total.sum_us / 1e6, total.count, &buckets, None)?;
        }
        Ok(())
    }
}

fn of_core(core: usize) -> [(&'static str, String); 1] {
    [("core", core.to_string())]
}

#[cfg(test)]
mod tests;
