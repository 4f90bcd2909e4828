//! Keeps the rooms on disk: what shards hand over, and how the last write went.

use crate::admin::{Snapshot, Status};
use crate::backup::{self, Store, Written};
use crate::clock::{self, Clock};
use crate::server::Running;
use engine::snapshot::Slice;
use glommio::timer::Timer;
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// A shard that does not hand its rooms over in this time is not waited for: what it last handed over is written.
const ANSWER_TIME: Duration = Duration::from_millis(500);
/// A write that fails goes on failing: it is said once in this time.
const FAILURE_INTERVAL: Duration = Duration::from_secs(60);

/// The rooms of all shards, and where they are written.
pub struct Keeper {
    store: RefCell<Option<Store>>,
    clock: Clock,
    interval: Duration,
    /// What each shard last handed over, by core; nothing is written before all of them have.
    slices: RefCell<Vec<Option<Arc<Slice>>>>,
    /// What is on the disk is not what there is, as a write has failed.
    is_behind: Cell<bool>,
    said: Cell<Option<Instant>>,
    status: Rc<RefCell<Status>>,
}

impl Keeper {
    /// Nothing is kept without a store.
    pub fn new(store: Option<Store>, clock: Clock, interval: Duration, cores: usize) -> Keeper {
        let status = Rc::new(RefCell::new(Status::default()));
        status.borrow_mut().snapshot = store.as_ref().map(|_| Snapshot::none_yet());
        Keeper {
            store: RefCell::new(store),
            clock,
            interval,
            slices: RefCell::new(vec![None; cores]),
            is_behind: Cell::new(false),
            said: Cell::new(None),
            status,
        }
    }

    /// Rooms are kept.
    pub fn is_on(&self) -> bool {
        self.store.borrow().is_some()
    }

    /// Where it says how it stands.
    pub fn status(&self) -> Rc<RefCell<Status>> {
        Rc::clone(&self.status)
    }

    /// Writes a snapshot at each interval, if anything has changed. For ever.
    pub async fn keep(&self, running: &Running) {
        if !self.is_on() {
            return;
        }
        loop {
            Timer::new(self.interval).await;
            if self.gather(running).await || self.is_behind.get() {
                self.write().await;
            }
        }
    }

    /// Writes what the shards have now.
    pub async fn save(&self, running: &Running) {
        if self.is_on() && (self.gather(running).await || self.is_behind.get()) {
            self.write().await;
        }
    }

    /// Writes what the shards had at their end, by core; of one that says nothing, what it last handed over.
    pub async fn save_last(&self, slices: Vec<Option<Arc<Slice>>>) {
        if self.is_on() {
            self.slices
                .borrow_mut()
                .iter_mut()
                .zip(slices)
                .for_each(|(known, last)| *known = last.or(known.take()));
            self.write().await;
        }
    }

    /// Takes the shards' rooms; true if anything has changed.
    async fn gather(&self, running: &Running) -> bool {
        let mut has_changed = false;
        for (core, answer) in running.keep().into_iter().enumerate() {
            // A shard that has ended has no answer, and one that is stuck none in time.
            if let Some(Ok(Some(slice))) = clock::by(Instant::now() + ANSWER_TIME, answer).await {
                self.slices.borrow_mut()[core] = Some(slice);
                has_changed = true;
            }
        }
        has_changed
    }

    async fn write(&self) {
        // A snapshot without the rooms of one shard would lose them to the next start.
        let Some(slices) = self.slices.borrow().iter().cloned().collect::<Option<Vec<_>>>() else { return };
        let Some((folder, generation)) = self
            .store
            .borrow_mut()
            .as_mut()
            .map(|store| (store.folder().to_owned(), store.next_generation()))
        else {
            return;
        };
        let clock = self.clock;
        let started = Instant::now();
        self.is_behind.set(true);
        // The disk may take its time; the control core has others to listen to.
        let result = glommio::executor()
            .spawn_blocking(move || backup::write(&folder, generation, &clock, &slices))
            .await;
        self.note(result, started);
    }

    fn note(&self, result: io::Result<Written>, started: Instant) {
        let mut status = self.status.borrow_mut();
        let Some(snapshot) = &mut status.snapshot else { return };
        match result {
            Ok(Written { generation, bytes, rooms }) => {
                self.is_behind.set(false);
                if snapshot.error.is_some() {
                    info!("rooms are kept again");
                    self.said.set(None);
                }
                let took_ms = started.elapsed().as_secs_f64() * 1_000.0;
                let failures = snapshot.failures;
                let (at, bytes) = (Instant::now(), bytes as u64);
                *snapshot = Snapshot { generation, at, rooms, bytes, took_ms, failures, error: None };
            }
            Err(error) => {
                snapshot.failures += 1;
                if self.said.get().is_none_or(|said| said.elapsed() >= FAILURE_INTERVAL) {
                    self.said.set(Some(Instant::now()));
                    warn!("rooms cannot be kept: {error}; serving goes on, and the next try may succeed");
                }
                snapshot.error = Some(error.to_string());
            }
        }
    }
}
