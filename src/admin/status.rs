//! What the control core knows of the process and the shards do not: plain data, set by whoever acts.

use serde::Serialize;
use std::time::Instant;

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// The drain, once one has begun.
    pub drain: Option<Drain>,
    /// The newest snapshot, if rooms are kept.
    pub snapshot: Option<Snapshot>,
    /// How often each core's shard has begun anew, by core; 0 of those not in it.
    pub respawns: Vec<u64>,
}

/// A drain on its way. How many connections are left is known by the shards.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drain {
    /// When it began.
    pub since: Instant,
    /// Connections by then.
    pub of: u64,
    /// Connections that are closed in a second; 0 for all at once.
    pub rate_per_s: u32,
}

/// The newest snapshot and how it went.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Which it is; 0 until there is one.
    pub generation: u64,
    /// When it was finished; until there is one, when the server started.
    pub at: Instant,
    /// Rooms in it.
    pub rooms: u64,
    /// Its length.
    pub bytes: u64,
    /// How long it took, ms.
    pub took_ms: f64,
    /// Attempts that failed since the start.
    pub failures: u64,
    /// What was wrong with the last attempt; nothing if it succeeded.
    pub error: Option<String>,
}

impl Snapshot {
    /// Rooms are kept, and no snapshot was made yet.
    pub fn none_yet() -> Snapshot {
        let at = Instant::now();
        Snapshot { generation: 0, at, rooms: 0, bytes: 0, took_ms: 0.0, failures: 0, error: None }
    }
}

/// [`Drain`] as JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct DrainJson {
    since_s: f64,
    left: u64,
    of: u64,
    rate_per_s: u32,
}

/// [`Snapshot`] as JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct SnapshotJson {
    generation: u64,
    age_s: f64,
    rooms: u64,
    bytes: u64,
    took_ms: f64,
    failures: u64,
    error: Option<String>,
}

impl Status {
    /// The drain, if `left` connections are left.
    pub(super) fn drain_json(&self, left: u64) -> Option<DrainJson> {
        let Drain { since, of, rate_per_s } = self.drain?;
        Some(DrainJson { since_s: since.elapsed().as_secs_f64(), left, of, rate_per_s })
    }

    pub(super) fn snapshot_json(&self) -> Option<SnapshotJson> {
        let Snapshot { generation, at, rooms, bytes, took_ms, failures, error } = self.snapshot.clone()?;
        let age_s = at.elapsed().as_secs_f64();
        Some(SnapshotJson { generation, age_s, rooms, bytes, took_ms, failures, error })
    }

    /// A core's shard has begun anew.
    pub fn count_respawn(&mut self, core: usize) {
        self.respawns.resize(self.respawns.len().max(core + 1), 0);
        self.respawns[core] += 1;
    }

    /// How often a core's shard has begun anew.
    pub(super) fn respawns(&self, core: usize) -> u64 {
        self.respawns.get(core).copied().unwrap_or(0)
    }
}
