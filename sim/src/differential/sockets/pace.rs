//! How fast a session may go, so that no limit on traffic is part of what is compared.
//!
//! Well inside what a server allows a connection (50 messages a second, 5 commands a second, 20 new rooms a minute) and
//! a room (20 commands a second), with bursts likewise.

use crate::differential::kind_of;
use crate::model::{Client, Model};
use std::collections::BTreeMap;

/// Between two messages of a client, µs, and how many may come at once.
const MESSAGE: Rate = Rate { every_us: 25_000, burst: 50 };
/// Between two commands of a client.
const COMMAND: Rate = Rate { every_us: 250_000, burst: 6 };
/// Between two commands in a room.
const ROOM: Rate = Rate { every_us: 70_000, burst: 10 };
/// Joins of one client in all.
const JOINS_MAX: u32 = 12;

struct Rate {
    every_us: i64,
    burst: i64,
}

/// What has been said so far, by whom.
#[derive(Default)]
pub(super) struct Paces {
    messages: BTreeMap<Client, i64>,
    commands: BTreeMap<Client, i64>,
    rooms: BTreeMap<String, i64>,
    joins: BTreeMap<Client, u32>,
}

impl Paces {
    /// When this may be said at the earliest, which it then is; `None` if not at all.
    pub(super) fn next_us(&mut self, client: Client, text: &str, model: &Model, now_us: i64) -> Option<i64> {
        let kind = kind_of(text);
        if kind == "join" {
            let joins = self.joins.entry(client).or_default();
            *joins += 1;
            if *joins > JOINS_MAX {
                return None;
            }
        }
        let mut at_us = MESSAGE.take(self.messages.entry(client).or_default(), now_us);
        if matches!(kind.as_str(), "join" | "PLAY" | "PAUSE" | "RESUME" | "SEEK" | "TRACK_CHANGE") {
            at_us = COMMAND.take(self.commands.entry(client).or_default(), at_us);
            let room = model.room_of(client).unwrap_or_default().to_owned();
            at_us = ROOM.take(self.rooms.entry(room).or_default(), at_us);
        }
        Some(at_us)
    }
}

impl Rate {
    /// Takes one; `full_us` is when all of the burst is there again.
    fn take(&self, full_us: &mut i64, now_us: i64) -> i64 {
        let at_us = now_us.max(*full_us - (self.burst - 1) * self.every_us);
        *full_us = (*full_us).max(at_us) + self.every_us;
        at_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_free_and_the_rest_is_spread() {
        let mut full_us = 0;
        let rate = Rate { every_us: 100, burst: 3 };
        let mut now_us = 1_000;
        let times: Vec<i64> = (0..6)
            .map(|_| {
                now_us = rate.take(&mut full_us, now_us);
                now_us
            })
            .collect();
        assert_eq!(times, [1_000, 1_000, 1_000, 1_100, 1_200, 1_300]);
        assert_eq!(rate.take(&mut full_us, 9_000), 9_000);
    }
}
