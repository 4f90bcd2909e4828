//! Does a run count, and who was its bottleneck? The rules, one function each.

use crate::args::Scenario;
use crate::outcome::{Measure, Outcome};
use crate::part::Load;
use crate::result::{Bound, RunResult, Server};
use crate::slo::Slo;

/// Busy from here on, as a share of one CPU.
const FULL: f64 = 0.95;
/// Offered and achieved may differ by this share.
const RATE_TOLERANCE: f64 = 0.01;
/// Pacing's p99 may be this share of the tightest response SLO.
const PACING_SHARE: f64 = 0.1;
/// The SLO that is meant where none is given, µs.
const SLO_DEFAULT_US: f64 = 10_000.0;
const LITTLE_TOLERANCE: f64 = 0.05;
const STEAL_PERCENT_MAX: f64 = 1.0;

/// The side that had no more to give. A closed loop's rate is the server's only if this says server.
pub fn bound(server: Option<Server>, worker_busy_max: f64) -> Bound {
    if server.is_some_and(|server| server.busiest_thread_percent >= FULL * 100.0) {
        Bound::Server
    } else if worker_busy_max >= FULL {
        Bound::Generator
    } else {
        Bound::Neither
    }
}

/// What the load asked for in the measured window: deliveries, or connections.
pub fn offered(load: &Load, outcome: &mut Outcome) -> f64 {
    let window = &outcome.window;
    let listeners = match load.scenario {
        Scenario::Broadcast => load.connections,
        Scenario::SlowReader => load.connections - load.stalled,
        _ => 1,
    } as f64;
    let seconds = load.duration_ns as f64 / 1e9;
    match (load.scenario, load.profile) {
        (Scenario::Idle, _) => 0.0,
        (Scenario::Churn, _) => load.rate_per_s.unwrap_or(0.0) * seconds,
        (Scenario::ConnectStorm | Scenario::Herd, _) => load.connections as f64,
        (Scenario::Chatter, _) => {
            let listeners = load.roles.listeners_per_message(load.room_size, load.connections);
            load.rate_per_s.map_or(window.sent as f64, |rate| rate * seconds) * listeners
        }
        (Scenario::Rooms, _) | (_, crate::args::Profile::Rooms) => {
            let pings = outcome.latency.get_mut(&Measure::Lag).map_or(0, |latency| latency.count());
            (pings + outcome.window.event_deliveries) as f64
        }
        _ => match load.rate_per_s {
            Some(rate) => rate * seconds * listeners,
            None => window.sent as f64 * listeners,
        },
    }
}

/// Why the run does not count; nothing if it does.
pub fn void_reasons(load: &Load, slo: &[Slo], result: &RunResult, outcome: &Outcome) -> Vec<String> {
    let mut reasons = Vec::new();
    let mut void = |condition: bool, reason: String| {
        if condition {
            reasons.push(reason);
        }
    };
    rates(load, result, &mut void);
    messages(result, &mut void);
    connections(load, result, &mut void);
    disturbances(load, slo, result, &mut void);
    if load.rate_per_s.is_none() && load.scenario == Scenario::Echo {
        let window = &outcome.window;
        let ratio = window.service_sum_ns / window.in_flight_area.max(1.0);
        void(
            (ratio - 1.0).abs() > LITTLE_TOLERANCE,
            format!("Little's law is off: rate × latency is {ratio:.3} of what was in flight"),
        );
    }
    reasons
}

/// What the server did to its clients: messages and connections that were lost or came out wrong.
pub fn harms(load: &Load, result: &RunResult) -> Vec<String> {
    let mut harms = Vec::new();
    let mut harm = |condition: bool, reason: String| harms.extend(condition.then_some(reason));
    messages(result, &mut harm);
    connections(load, result, &mut harm);
    // In its own words, what went wrong with a message first.
    if let (Some(first), Some(fault)) = (harms.first_mut(), result.faults.first()) {
        *first += &format!(" ({fault})");
    }
    harms
}

/// What kept the run from being measured that is no doing of the server's.
pub fn disturbed(load: &Load, slo: &[Slo], result: &RunResult) -> Vec<String> {
    let mut reasons = Vec::new();
    disturbances(load, slo, result, &mut |condition, reason| reasons.extend(condition.then_some(reason)));
    reasons
}

fn disturbances(load: &Load, slo: &[Slo], result: &RunResult, void: &mut impl FnMut(bool, String)) {
    let limits = slo.iter().filter(|slo| slo.measure == Measure::Response).map(|slo| slo.limit_us);
    let limit_us = limits.reduce(f64::min).unwrap_or(SLO_DEFAULT_US) * PACING_SHARE;
    let pacing_us = result.latency_us.get("pacing").map_or(0.0, |it| it.p99);
    void(
        pacing_us > limit_us && load.rate_per_s.is_some(),
        format!(
            "the generator was late: its own lag's p99 was {pacing_us:.0} µs, allowed are {limit_us:.0} µs"
        ),
    );
    let steal = result.machine.steal_percent;
    // Stolen time is counted in ticks of 10 ms, too coarse for less than a second.
    let is_told = load.duration_ns >= 1_000_000_000;
    void(is_told && is_stolen(result), format!("{steal:.1} % of the machine's time was stolen by its host"));
}

/// Was the run beside a host that stole more time than a run bears? A server that fell behind then may be without fault.
pub fn is_stolen(result: &RunResult) -> bool {
    result.machine.steal_percent > STEAL_PERCENT_MAX
}

fn rates(load: &Load, result: &RunResult, void: &mut impl FnMut(bool, String)) {
    let (offered, achieved) = (result.offered_per_s, result.achieved_per_s);
    let is_connecting = load.scenario.is_connecting();
    let is_open = load.rate_per_s.is_some() && load.scenario != Scenario::Idle;
    // A storm and a herd are a number of connections, judged below.
    if is_open && !(is_connecting && load.scenario != Scenario::Churn) {
        // A window of n messages shows rates to one in n at best.
        let coarse = 2.0 / (offered * result.duration_s).max(1.0);
        void(
            (achieved - offered).abs() > (RATE_TOLERANCE.max(coarse)) * offered,
            format!("achieved {achieved:.0}/s of the {offered:.0}/s offered"),
        );
    }
    let units = achieved * result.duration_s;
    void(units < 1.0 && load.scenario != Scenario::Idle, "nothing came in the measured time".to_owned());
}

fn messages(result: &RunResult, void: &mut impl FnMut(bool, String)) {
    let messages = &result.messages;
    for (count, what) in [
        (messages.lost, "lost"),
        (messages.duplicated, "delivered twice"),
        (messages.reordered, "delivered out of order"),
        (messages.corrupt, "not what was sent"),
    ] {
        void(count > 0, format!("{count} messages were {what}"));
    }
    let conservation = &result.conservation;
    let found = conservation.delivered + messages.in_flight + messages.lost;
    void(
        conservation.owed != found,
        format!("the account is open: {} deliveries owed, {found} found", conservation.owed),
    );
}

fn connections(load: &Load, result: &RunResult, void: &mut impl FnMut(bool, String)) {
    for (reasons, what) in [(&result.connections.failed, "failed"), (&result.connections.lost, "were lost")] {
        for (reason, count) in reasons {
            void(true, format!("{count} connections {what}: {reason}"));
        }
    }
    if matches!(load.scenario, Scenario::ConnectStorm | Scenario::Herd) {
        let (open, asked) = (result.connections.open, load.connections as u64);
        void(open != asked, format!("{open} of {asked} connections stood at the end"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bottleneck_is_the_server_if_one_of_its_threads_is_full() {
        let server = |busiest_thread_percent| Some(Server { busiest_thread_percent, ..Server::default() });
        assert_eq!(bound(server(96.0), 0.99), Bound::Server);
        assert_eq!(bound(server(94.0), 0.96), Bound::Generator);
        assert_eq!(bound(server(50.0), 0.5), Bound::Neither);
        assert_eq!(bound(None, 0.5), Bound::Neither);
    }
}
