//! When each message is meant to be sent: evenly spread over time and over connections.
//!
//! Message k of a worker is due at `start + k / rate` and belongs to connection `k mod connections`, so a
//! message's intended time follows from its number and nothing is stored for messages that wait.

/// An even schedule in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    pub start_ns: u64,
    pub end_ns: u64,
    /// Messages a second, all connections together.
    pub rate_per_s: f64,
    pub connections: u64,
}

impl Schedule {
    /// When message `k` is due.
    pub fn due_ns(&self, k: u64) -> u64 {
        self.start_ns + (k as f64 * 1e9 / self.rate_per_s) as u64
    }

    /// When a connection's message `sequence` is due.
    pub fn due_of_ns(&self, connection: u64, sequence: u64) -> u64 {
        self.due_ns(connection + sequence * self.connections)
    }
}

/// What the schedule asks for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// A message of this connection, which was due then.
    Now { connection: u32, due_ns: u64 },
    /// Nothing before then.
    At(u64),
    /// Nothing any more.
    Never,
}

/// Takes a schedule's messages as their time comes, each once.
pub struct Pace {
    pub schedule: Schedule,
    /// Messages taken.
    pub released: u64,
}

impl Pace {
    pub fn new(schedule: Schedule) -> Pace {
        Pace { schedule, released: 0 }
    }

    /// Takes the next message if it is due.
    pub fn next(&mut self, now_ns: u64) -> Due {
        let due_ns = self.schedule.due_ns(self.released);
        if due_ns >= self.schedule.end_ns {
            return Due::Never;
        }
        if due_ns > now_ns {
            return Due::At(due_ns);
        }
        let connection = (self.released % self.schedule.connections) as u32;
        self.released += 1;
        Due::Now { connection, due_ns }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_even_in_time_and_over_connections() {
        let schedule = Schedule { start_ns: 1_000, end_ns: 2_000_001_000, rate_per_s: 1e6, connections: 3 };
        assert_eq!((0..4).map(|k| schedule.due_ns(k)).collect::<Vec<_>>(), [1_000, 2_000, 3_000, 4_000]);
        assert_eq!(schedule.due_of_ns(2, 1), schedule.due_ns(5));
    }

    #[test]
    fn a_pace_gives_each_message_once_when_its_time_has_come() {
        let schedule = Schedule { start_ns: 1_000, end_ns: 3_500, rate_per_s: 1e6, connections: 2 };
        let mut pace = Pace::new(schedule);
        assert_eq!(pace.next(999), Due::At(1_000));
        assert_eq!(pace.next(2_100), Due::Now { connection: 0, due_ns: 1_000 });
        assert_eq!(pace.next(2_100), Due::Now { connection: 1, due_ns: 2_000 });
        assert_eq!(pace.next(2_100), Due::At(3_000));
        assert_eq!(pace.next(9_000), Due::Now { connection: 0, due_ns: 3_000 });
        assert_eq!(pace.next(9_000), Due::Never, "the next would be past the end");
    }

    #[test]
    fn no_rate_drifts() {
        for rate_per_s in [0.7, 1e3 / 3.0, 50_000.0, 999_999.9] {
            let schedule = Schedule { start_ns: 12_345, end_ns: u64::MAX, rate_per_s, connections: 10 };
            for k in [1_u64, 99, 1_000_003, 4_000_000_000] {
                let exact = 12_345.0 + k as f64 * 1e9 / rate_per_s;
                assert!(
                    (schedule.due_ns(k) as f64 - exact).abs() <= exact * 1e-12 + 1.0,
                    "{rate_per_s}/s, {k}"
                );
            }
        }
    }
}
