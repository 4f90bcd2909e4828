//! What a worker measured, and how workers' parts add up.

use crate::latency::Latency;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A named latency of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Intended to received: what a user waits.
    Response,
    /// Sent to received: what the server takes.
    Service,
    /// Intended to sent.
    Lag,
    /// The part of the lag that is the generator's own: from intended to when it saw that it was due.
    Pacing,
    /// First to last delivery of one event in a room.
    Skew,
    /// Connect to the 101 (in rooms: to `joined`).
    Connect,
    /// How far apart a room's clients would start.
    StartSpread,
    /// A client's idea of the master clock against the truth.
    ClockError,
}

impl Measure {
    pub const ALL: [Measure; 8] = [
        Measure::Response,
        Measure::Service,
        Measure::Lag,
        Measure::Pacing,
        Measure::Skew,
        Measure::Connect,
        Measure::StartSpread,
        Measure::ClockError,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Measure::Response => "response",
            Measure::Service => "service",
            Measure::Lag => "lag",
            Measure::Pacing => "pacing",
            Measure::Skew => "skew",
            Measure::Connect => "connect",
            Measure::StartSpread => "start_spread",
            Measure::ClockError => "clock_error",
        }
    }
}

/// Messages of the whole run, warm-up and drain too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Messages {
    /// Sent by clients.
    pub sent: u64,
    /// Deliveries to clients.
    pub received: u64,
    /// Deliveries owed when the drain's time was over and they were still arriving.
    pub in_flight: u64,
    /// Deliveries owed and not made: gaps, and what had not come when the server had fallen silent.
    pub lost: u64,
    pub duplicated: u64,
    /// Deliveries that came after a later one of the same stream.
    pub reordered: u64,
    /// Payloads that are not what was sent.
    pub corrupt: u64,
}

/// Deliveries that can be accounted for: owed = received + in flight + lost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conservation {
    /// Deliveries owed for what was sent: one an echo or ping, one a member an event.
    pub owed: u64,
    /// Those that came, each once.
    pub delivered: u64,
    /// Events of rooms (PLAY, PAUSE, ...), each delivered to all members.
    pub events: u64,
    /// Deliveries of PLAY, and those that came after the instant they name.
    pub plays: u64,
    pub deadlines_missed: u64,
}

/// What happened to connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connections {
    /// Open at the end of the run.
    pub open: u64,
    /// Made in all.
    pub made: u64,
    /// Attempts that failed, by reason.
    pub failed: BTreeMap<String, u64>,
    /// Lost although we did not end them, by reason.
    pub lost: BTreeMap<String, u64>,
    /// Ended by us, as the scenario has it.
    pub ended: u64,
    /// Readers that stalled on purpose, and those of them that the server cut off.
    pub stalled: u64,
    pub cut_off: u64,
}

/// The measured seconds' own figures.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Window {
    /// Deliveries that came inside.
    pub received: u64,
    /// Messages sent inside.
    pub sent: u64,
    /// Of those, deliveries of rooms' events.
    pub event_deliveries: u64,
    /// Connections made inside.
    pub made: u64,
    /// In-flight deliveries integrated over time, in deliveries × ns.
    pub in_flight_area: f64,
    /// Service times of what came inside, added up, ns.
    pub service_sum_ns: f64,
    /// CPU of the worker threads.
    pub worker_cpu_ns: u64,
    /// The busiest worker thread's share of its core, 0 to 1.
    pub worker_busy_max: f64,
    /// Calls of io_uring_enter by workers.
    pub enters: u64,
}

/// One second.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Second {
    pub index: u64,
    pub connections: u64,
    pub sent: u64,
    pub received: u64,
    pub response: Latency,
    /// Read by the coordinator.
    pub rss_bytes: u64,
}

/// One worker's measurements, or several added up.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    pub messages: Messages,
    pub conservation: Conservation,
    pub connections: Connections,
    pub window: Window,
    pub latency: BTreeMap<Measure, Latency>,
    /// What went wrong with a message, in words; the first few.
    pub faults: Vec<String>,
}

/// Faults that are kept in words; all are counted.
const FAULTS_MAX: usize = 10;

impl Outcome {
    pub fn fault(&mut self, text: impl FnOnce() -> String) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(text());
        }
    }

    pub fn add(&mut self, other: &mut Outcome) {
        let (to, from) = (&mut self.messages, &other.messages);
        to.sent += from.sent;
        to.received += from.received;
        to.in_flight += from.in_flight;
        to.lost += from.lost;
        to.duplicated += from.duplicated;
        to.reordered += from.reordered;
        to.corrupt += from.corrupt;
        let (to, from) = (&mut self.conservation, &other.conservation);
        to.owed += from.owed;
        to.delivered += from.delivered;
        to.events += from.events;
        to.plays += from.plays;
        to.deadlines_missed += from.deadlines_missed;
        let (to, from) = (&mut self.connections, &other.connections);
        to.open += from.open;
        to.made += from.made;
        to.ended += from.ended;
        to.stalled += from.stalled;
        to.cut_off += from.cut_off;
        for (reason, count) in &from.failed {
            *to.failed.entry(reason.clone()).or_default() += count;
        }
        for (reason, count) in &from.lost {
            *to.lost.entry(reason.clone()).or_default() += count;
        }
        let (to, from) = (&mut self.window, &other.window);
        to.received += from.received;
        to.sent += from.sent;
        to.event_deliveries += from.event_deliveries;
        to.made += from.made;
        to.in_flight_area += from.in_flight_area;
        to.service_sum_ns += from.service_sum_ns;
        to.worker_cpu_ns += from.worker_cpu_ns;
        to.worker_busy_max = to.worker_busy_max.max(from.worker_busy_max);
        to.enters += from.enters;
        for (measure, latency) in &mut other.latency {
            self.latency.entry(*measure).or_default().add(latency);
        }
        self.faults.extend(other.faults.iter().take(FAULTS_MAX - self.faults.len().min(FAULTS_MAX)).cloned());
    }
}
