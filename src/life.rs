//! A shard's life on its own thread, and its next one after a fault.
//!
//! A panic ends a life, not the thread: what was in flight is ended, its connections are closed, and the shard begins
//! anew with the same listeners, its ends of the mesh, and the rooms that it last handed over. Its peers are told through
//! the mesh (`engine/src/shard/respawn.rs`). Too many faults in a short time end the shard, and so the process.

use crate::admission::Admission;
use crate::backup::Restored;
use crate::clock::Clock;
use crate::config::Config;
use crate::driver::{self, Driver};
use crate::ring::Ring;
use crate::server::{Notice, Notify};
use crate::turn::{Core, Station};
use crossbeam_channel::Sender;
use engine::snapshot::Slice;
use engine::{Settings, Shard};
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Faults of the process, past which it ends: what fails so often is not mended by beginning anew.
pub const FAULTS_MAX: usize = 5;
/// The time in which they are counted.
pub const FAULTS_TIME: Duration = Duration::from_secs(60);

/// How a shard ended.
pub struct ShardEnd {
    /// What is kept of its rooms.
    pub rooms: Arc<Slice>,
    /// What went wrong, if anything did.
    pub fault: Option<String>,
}

/// All that every life of a shard needs.
pub struct Plan {
    /// The server's settings.
    pub config: Config,
    /// The engine's.
    pub settings: Settings,
    /// Where it runs.
    pub cpu: core_affinity::CoreId,
    /// The process's clocks.
    pub clock: Clock,
    /// How many may come in.
    pub admission: Admission,
    /// Told once, when the first life has begun or cannot.
    pub started: Sender<io::Result<()>>,
}

/// Counts faults of late.
#[derive(Default)]
pub struct Faults(VecDeque<Instant>);

impl Faults {
    /// One more; true if there have been too many.
    pub fn add(&mut self, now: Instant) -> bool {
        self.0.push_back(now);
        while self.0.front().is_some_and(|fault| now.duration_since(*fault) > FAULTS_TIME) {
            self.0.pop_front();
        }
        self.0.len() > FAULTS_MAX
    }
}

/// The whole of it, until a drain or a fault that is one too many. `restored` are the rooms of the process before.
pub fn live(plan: &Plan, station: Station, restored: Option<Arc<Restored>>) -> ShardEnd {
    // Whatever happens below, the control core hears of the end.
    let notify = Arc::clone(&station.notify);
    let _ended = OnDrop(Arc::clone(&notify));
    if !core_affinity::set_for_current(plan.cpu) {
        let refused = io::Error::other(format!("CPU {} cannot be pinned to", plan.cpu.id));
        let _ = plan.started.send(Err(refused));
        return ShardEnd { rooms: Arc::default(), fault: None };
    }
    let mut core = match first_life(plan, station, restored) {
        Ok(core) => core,
        Err(error) => {
            let _ = plan.started.send(Err(error));
            return ShardEnd { rooms: Arc::default(), fault: None };
        }
    };
    let _ = plan.started.send(Ok(()));
    let mut faults = Faults::default();
    let mut life = 0;
    loop {
        let fault = match catch_unwind(AssertUnwindSafe(|| core.run())) {
            Ok(Ok(())) => return ShardEnd { rooms: Arc::new(core.slice()), fault: None },
            Ok(Err(error)) => format!("its ring failed: {error}"),
            Err(panic) => format!("it panicked: {}", text_of(&*panic)),
        };
        let rooms = core.kept();
        if faults.add(Instant::now()) || core.is_draining() {
            return ShardEnd { rooms, fault: Some(fault) };
        }
        life += 1;
        core = match core.dismantle().and_then(|(station, accepted)| next_life(plan, station, accepted, life))
        {
            Ok(next) => next,
            Err(error) => {
                let fault = format!("{fault}; it cannot begin anew: {error}");
                return ShardEnd { rooms, fault: Some(fault) };
            }
        };
        notify(Notice::Respawned { core: plan.settings.core, fault, rooms: core.rooms() });
    }
}

fn first_life(plan: &Plan, mut station: Station, restored: Option<Arc<Restored>>) -> io::Result<Core> {
    let (ring, mut driver) = begin(plan, &station)?;
    // The file's bytes go when all shards have taken their rooms.
    if let Some(restored) = restored {
        let now = driver.now();
        driver.shard().restore(restored.records(), now);
        // Should it fail before it has handed anything over, its next life has them.
        station.kept = Arc::new(driver.shard().slice());
    }
    Ok(Core::new(ring, driver, station))
}

fn next_life(plan: &Plan, station: Station, accepted: Vec<OwnedFd>, life: u32) -> io::Result<Core> {
    let (ring, mut driver) = begin(plan, &station)?;
    let now = driver.now();
    driver.shard().begin_life(life, now);
    driver.shard().restore(station.kept.records(), now);
    accepted.into_iter().for_each(|fd| driver.adopt(fd));
    Ok(Core::new(ring, driver, station))
}

fn begin(plan: &Plan, station: &Station) -> io::Result<(Ring, Driver)> {
    let doorbell = station.mesh.doorbell().listen()?;
    let ring = Ring::new(&plan.config.ring, doorbell, driver::doorbell_tag())?;
    let listeners = station.listeners.iter().map(OwnedFd::try_clone).collect::<io::Result<_>>()?;
    let shard = Shard::new(plan.settings.clone());
    Ok((ring, Driver::new(shard, plan.clock, listeners, plan.admission.clone())))
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}

struct OnDrop(Notify);

impl Drop for OnDrop {
    fn drop(&mut self) {
        (self.0)(Notice::Ended);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_more_than_five_faults_in_a_minute_are_too_many() {
        let mut faults = Faults::default();
        let start = Instant::now();
        for fault in 0..FAULTS_MAX as u64 {
            assert!(!faults.add(start + Duration::from_secs(fault)));
        }
        assert!(!faults.add(start + FAULTS_TIME + Duration::from_millis(1)), "the first is long ago");
        assert!(faults.add(start + FAULTS_TIME + Duration::from_millis(2)));
    }
}
