//! Where a play measures: latencies of what was meant for the measured window, and in-flight over time.

use crate::latency::Latency;
use crate::outcome::{Measure, Outcome, Second};
use crate::schedule::{Due, Pace, Schedule};

pub struct Gauge {
    /// The run's origin, to which stamps refer.
    pub origin_ns: u64,
    /// The measured window; `u64::MAX` until the load begins.
    pub from_ns: u64,
    pub to_ns: u64,
    pub outcome: Outcome,
    pub response: Latency,
    pub service: Latency,
    pub lag: Latency,
    pub pacing: Latency,
    pub skew: Latency,
    pub connect: Latency,
    pub start_spread: Latency,
    pub clock_error: Latency,
    /// Deliveries owed by the server right now.
    pub in_flight: u64,
    pub second: Second,
    /// When the last delivery came.
    pub heard_ns: u64,
    last_ns: u64,
}

impl Default for Gauge {
    fn default() -> Gauge {
        Gauge {
            origin_ns: 0,
            from_ns: u64::MAX,
            to_ns: u64::MAX,
            outcome: Outcome::default(),
            response: Latency::default(),
            service: Latency::default(),
            lag: Latency::default(),
            pacing: Latency::default(),
            skew: Latency::default(),
            connect: Latency::default(),
            start_spread: Latency::default(),
            clock_error: Latency::default(),
            in_flight: 0,
            second: Second::default(),
            heard_ns: 0,
            last_ns: 0,
        }
    }
}

impl Gauge {
    pub fn is_measured(&self, at_ns: u64) -> bool {
        (self.from_ns..self.to_ns).contains(&at_ns)
    }

    /// Time has gone on: what is in flight counts for the time it was.
    pub fn advance(&mut self, now_ns: u64) {
        let (from, to) = (self.last_ns.max(self.from_ns), now_ns.min(self.to_ns));
        if to > from {
            self.outcome.window.in_flight_area += (to - from) as f64 * self.in_flight as f64;
        }
        self.last_ns = now_ns;
    }

    /// A message's time had come at `due_ns` and is seen now: how late the generator itself is.
    pub fn released(&mut self, due_ns: u64, now_ns: u64) {
        if self.is_measured(due_ns) {
            self.pacing.record(now_ns.saturating_sub(due_ns));
        }
    }

    /// Takes the open loop's next message if its time has come: whose it is, or when the next is due.
    pub fn release(&mut self, pace: &mut Pace, now_ns: u64) -> Result<u32, u64> {
        match pace.next(now_ns) {
            Due::Now { connection, due_ns } => {
                self.released(due_ns, now_ns);
                Ok(connection)
            }
            Due::At(due_ns) => Err(due_ns),
            Due::Never => Err(u64::MAX),
        }
    }

    /// A message left.
    pub fn sent(&mut self, intended_ns: u64, now_ns: u64) {
        self.outcome.messages.sent += 1;
        self.second.sent += 1;
        if self.is_measured(now_ns) {
            self.outcome.window.sent += 1;
        }
        if self.is_measured(intended_ns) {
            self.lag.record(now_ns.saturating_sub(intended_ns));
        }
    }

    /// A delivery came for the first time.
    pub fn answered(&mut self, intended_ns: u64, lag_ns: u64, now_ns: u64) {
        let response_ns = now_ns.saturating_sub(intended_ns);
        let service_ns = response_ns.saturating_sub(lag_ns);
        self.outcome.conservation.delivered += 1;
        self.second.response.record(response_ns);
        if self.is_measured(now_ns) {
            self.outcome.window.received += 1;
            self.outcome.window.service_sum_ns += service_ns as f64;
        }
        if self.is_measured(intended_ns) {
            self.response.record(response_ns);
            self.service.record(service_ns);
        }
    }

    /// The open loop of the run: so many messages a second over so many connections.
    pub fn pace(&self, rate_per_s: f64, connections: u64) -> Pace {
        let (start_ns, end_ns) = (self.origin_ns, self.to_ns);
        Pace::new(Schedule { start_ns, end_ns, rate_per_s, connections })
    }

    /// What is still owed at the end: a gap (`missing` of it) is a loss whatever else comes, the rest is one only
    /// once nothing comes any more.
    pub fn settle(&mut self, owed: u64, missing: u64, is_silent: bool) {
        let messages = &mut self.outcome.messages;
        let tail = owed.saturating_sub(missing);
        messages.lost += missing;
        if is_silent {
            messages.lost += tail;
        } else {
            messages.in_flight += tail;
        }
    }

    /// Any delivery, also one that is wrong.
    pub fn heard(&mut self, now_ns: u64) {
        self.outcome.messages.received += 1;
        self.second.received += 1;
        self.heard_ns = now_ns;
    }

    /// The outcome with all latencies in it.
    pub fn into_outcome(mut self) -> Outcome {
        let measures = [
            (Measure::Response, self.response),
            (Measure::Service, self.service),
            (Measure::Lag, self.lag),
            (Measure::Pacing, self.pacing),
            (Measure::Skew, self.skew),
            (Measure::Connect, self.connect),
            (Measure::StartSpread, self.start_spread),
            (Measure::ClockError, self.clock_error),
        ];
        self.outcome.latency.extend(measures);
        self.outcome
    }
}
