//! A shard's loop: one turn takes everything that is ready, then sends everything that follows.
//!
//! drain the inboxes → reap completions into the driver → fire deadlines → flush into operations → post
//! envelopes → one enter, which waits only when nothing is pending. The executor's reactor does not turn
//! while the loop is parked in its own ring: nothing on a shard's executor may wait for it.

mod crowd;
mod drain;
mod keeping;
mod reports;

use crate::driver::Driver;
use crate::mesh::{Batch, Mesh, MeshStats};
use crate::published::Published;
use crate::ring::Ring;
use crate::server::{Notice, Notify};
use crossbeam_channel::Receiver;
use crowd::{Crowd, Waited};
use drain::Drain;
use engine::snapshot::Slice;
use engine::{CoreId, Moved, Now};
use keeping::Keeping;
pub use keeping::Reply;
use reports::Reports;
pub use reports::{Answer, Measured, Question};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Completions of one turn; past it the turn goes on to its sends, so that reaping cannot starve them.
const COMPLETIONS_PER_TURN_MAX: usize = 16 * 1024;
/// Completions between two readings of the clock.
const COMPLETIONS_PER_READING: usize = 64;
/// A turn reads for as long as sending what it owes to rooms will take, so that waiting to send costs no more than sending
/// twice, but for this at least: else a flood of bytes that lead to nothing would keep all answers back.
const READ_US_MIN: i64 = 1_000;
/// About what a send takes.
const READ_US_PER_SEND: i64 = 4;
/// Batches taken from peers in one turn.
const BATCHES_PER_TURN_MAX: usize = 64;
/// Connections that wait for room in one peer's channel; past it they are served where they are.
const WAITING_CONNECTIONS_MAX: usize = 1024;
/// Turns between two publications of the figures, while the shard never parks.
const TURNS_PER_PUBLICATION: u64 = 256;

/// What the control core says to a shard.
#[derive(Debug)]
pub enum Command {
    /// Accept no more connections.
    StopListening,
    /// Close everything with 1001, so many connections a second, then end.
    Drain {
        /// How many.
        per_s: u32,
    },
    /// Hand over what is kept of the rooms, or nothing if that has not changed since it was handed over last.
    Keep(Reply),
    /// Answer.
    Ask(Question),
}

/// What stays when a shard fails and begins anew.
pub struct Station {
    /// Its listeners, until a drain.
    pub listeners: Vec<OwnedFd>,
    /// Its ends of the mesh.
    pub mesh: Mesh,
    /// What the control core says.
    pub commands: Receiver<Command>,
    /// Where its figures are read.
    pub published: Arc<Published>,
    /// How it tells the control core.
    pub notify: Notify,
    /// What it last handed over of its rooms.
    pub kept: Arc<Slice>,
}

/// One shard with all it needs to turn.
pub struct Core {
    ring: Ring,
    driver: Driver,
    station: Station,
    keeping: Keeping,
    /// Failed accepts that were told of.
    accepts_failed_told: u64,
    /// Connections for each peer, by core.
    waiting: Vec<Vec<(OwnedFd, Moved)>>,
    crowd: Crowd,
    reports: Reports,
    mesh_stats: MeshStats,
    turns: u64,
    drain: Option<Drain>,
}

impl Core {
    /// Puts a shard together.
    pub fn new(ring: Ring, driver: Driver, station: Station) -> Core {
        let cores = station.mesh.peers().count() + 1;
        Core {
            ring,
            driver,
            station,
            keeping: Keeping::default(),
            accepts_failed_told: 0,
            waiting: (0..cores).map(|_| Vec::new()).collect(),
            crowd: Crowd::default(),
            reports: Reports::default(),
            mesh_stats: MeshStats::default(),
            turns: 0,
            drain: None,
        }
    }

    /// After a fault: ends all that is in flight, since it is about to lose its memory. What is left is the station, and
    /// connections that were accepted and not seen.
    pub fn dismantle(mut self) -> io::Result<(Station, Vec<OwnedFd>)> {
        self.ring.cancel_all()?;
        let mut accepted = Vec::new();
        while let Some(completion) = self.ring.reap() {
            accepted.extend(Driver::salvage(completion));
        }
        Ok((self.station, accepted))
    }

    /// What is kept of its rooms, after its last turn.
    pub fn slice(&mut self) -> Slice {
        self.driver.shard().slice()
    }

    /// What it last handed over of its rooms.
    pub fn kept(&self) -> Arc<Slice> {
        Arc::clone(&self.station.kept)
    }

    /// Rooms that it has.
    pub fn rooms(&mut self) -> u64 {
        self.driver.shard().stats().rooms
    }

    /// It accepts no more connections, and is about to end.
    pub fn is_draining(&self) -> bool {
        self.station.listeners.is_empty()
    }

    /// Turns until a drain is done.
    pub fn run(&mut self) -> io::Result<()> {
        while self.turn()? {}
        Ok(())
    }

    /// One turn, which waits if there is nothing to do; false after the last one of a drain.
    pub fn turn(&mut self) -> io::Result<bool> {
        let began = self.driver.now();
        self.obey();
        let now = if self.drain_inboxes() { self.driver.now() } else { began };
        let now = self.gather(now)?;
        self.driver.handle_deadlines(now);
        if let Some(drain) = &mut self.drain {
            drain.go_on(&mut self.driver, now);
        }
        if let Some(slice) = self.keeping.go_on(&mut self.driver) {
            self.station.kept = slice;
        }
        self.reports.go_on(&mut self.driver, now);
        self.settle()?;
        if self.drain.as_ref().is_some_and(|drain| drain.is_over(&self.driver)) {
            self.publish();
            self.ring.enter()?;
            return Ok(false);
        }
        self.turns += 1;
        if self.turns.is_multiple_of(TURNS_PER_PUBLICATION) {
            self.publish();
        }
        self.submit_or_park(began)?;
        Ok(true)
    }

    fn obey(&mut self) {
        while let Ok(command) = self.station.commands.try_recv() {
            let now = self.driver.now();
            match command {
                Command::StopListening => {
                    self.station.listeners.clear();
                    self.driver.stop_listening(now);
                }
                Command::Drain { per_s } => self.drain = Some(Drain::new(per_s, now)),
                Command::Keep(reply) => self.keeping.begin(&mut self.driver, reply),
                Command::Ask(question) => {
                    self.publish();
                    self.reports.answer(question, &mut self.driver, now);
                }
            }
        }
    }

    /// True if anything was there.
    fn drain_inboxes(&mut self) -> bool {
        for taken in 0..BATCHES_PER_TURN_MAX {
            let Some((from, batch)) = self.station.mesh.receive() else { return taken > 0 };
            self.mesh_stats.batches_received += 1;
            let now = self.driver.now();
            for (fd, moved) in batch.connections {
                self.driver.handle_moved(fd, moved, now);
            }
            for envelope in batch.envelopes {
                self.driver.handle_envelope(from, envelope, now);
            }
        }
        true
    }

    /// Reaps; and where many speak at once, waits for the others of them, since one more event before the
    /// fan-out saves a whole one after it.
    /// Returns the newest reading of the clock, which is good enough for deadlines: at most so many completions old.
    fn gather(&mut self, now: Now) -> io::Result<Now> {
        let (mut now, is_cut_short) = self.reap(now)?;
        if is_cut_short {
            return Ok(now);
        }
        let mut fan_out = self.driver.fan_out();
        let mut waited = Waited::default();
        while !self.driver.is_pressing()
            && let Some(wait) = self.crowd.wait(fan_out, waited)
        {
            let asleep = Instant::now();
            self.ring.linger(wait.wanted, wait.time)?;
            waited.time += asleep.elapsed();
            (now, _) = self.reap(self.driver.now())?;
            let before = std::mem::replace(&mut fan_out, self.driver.fan_out());
            if fan_out.events == before.events {
                break;
            }
            waited.events += fan_out.events - before.events;
        }
        self.crowd.observe(fan_out);
        Ok(now)
    }

    #[cold]
    fn has_read_enough(&self, began_us: i64, now: Now) -> bool {
        let owed_us = self.driver.fan_out().sends as i64 * READ_US_PER_SEND;
        now.master_us - began_us > owed_us.max(READ_US_MIN)
    }

    /// Takes completions until neither the queue nor the kernel has any, or the turn is full. This is what
    /// lets a broadcast's turn see all of its messages before it sends any. True if more are left.
    fn reap(&mut self, mut now: Now) -> io::Result<(Now, bool)> {
        let began_us = now.master_us;
        let (mut taken, mut most) = (0, COMPLETIONS_PER_TURN_MAX);
        let mut is_asked = false;
        while taken < most && !self.driver.is_pressing() {
            let Some(completion) = self.ring.reap() else {
                // The kernel may leave TASKRUN set after the last of its work was taken (it sets the flag
                // after it has listed the work), so one question without an answer ends it.
                if is_asked || self.driver.is_starved() || !self.ring.is_kernel_ready() {
                    return Ok((now, false));
                }
                is_asked = true;
                self.ring.enter()?;
                continue;
            };
            is_asked = false;
            taken += 1;
            if taken % COMPLETIONS_PER_READING == 0 {
                now = self.driver.now();
                if self.has_read_enough(began_us, now) {
                    most = taken;
                }
            }
            let length = completion.result.max(0) as usize;
            let bytes = match completion.piece {
                Some(piece) => self.ring.received(piece, length),
                None => &mut [],
            };
            let is_doorbell = self.driver.handle_completion(completion, bytes, now);
            if let Some(piece) = completion.piece {
                self.ring.release(piece, length);
            }
            if is_doorbell {
                self.ring.arm_doorbell()?;
            }
        }
        Ok((now, taken == most))
    }

    /// Queues all that the turn led to.
    fn settle(&mut self) -> io::Result<()> {
        self.driver.end_turn();
        self.post();
        while let Some(operation) = self.driver.poll_operation() {
            self.ring.queue(operation)?;
        }
        Ok(())
    }

    /// One batch for each peer that has anything coming.
    fn post(&mut self) {
        while let Some((fd, moved)) = self.driver.poll_moved() {
            let waiting = &mut self.waiting[usize::from(moved.to.0)];
            if waiting.len() < WAITING_CONNECTIONS_MAX {
                waiting.push((fd, moved));
            } else {
                self.keep(fd, moved);
            }
        }
        for peer in self.station.mesh.peers() {
            if self.has_parcels(peer) && self.station.mesh.has_room(peer) {
                let envelopes = self.driver.shard().take_envelopes(peer);
                let connections = std::mem::take(&mut self.waiting[usize::from(peer.0)]);
                self.mesh_stats.batches_sent += 1;
                if let Err(batch) = self.station.mesh.send(peer, Batch { envelopes, connections }) {
                    // The peer has ended: only a drain or a crash does that, and either ends us too.
                    drop(batch);
                }
            }
        }
    }

    /// Serves a connection here although its room's home is elsewhere: it will join across the mesh.
    fn keep(&mut self, fd: OwnedFd, moved: Moved) {
        let now = self.driver.now();
        self.driver.handle_moved(fd, Moved { is_placed: true, ..moved }, now);
    }

    fn has_parcels(&mut self, peer: CoreId) -> bool {
        self.driver.shard().has_envelopes(peer) || !self.waiting[usize::from(peer.0)].is_empty()
    }

    fn submit_or_park(&mut self, began: Now) -> io::Result<()> {
        let now = self.driver.now();
        self.reports.observe_turn(&mut self.driver, began, now);
        if self.driver.has_work() || self.reports.has_work() || self.keeping.has_work() {
            return if self.ring.has_queued() { self.ring.enter() } else { Ok(()) };
        }
        self.publish();
        self.station.mesh.doorbell().parked().prepare();
        let result = if !self.station.mesh.is_empty() || !self.station.commands.is_empty() {
            self.ring.enter()
        } else {
            let timeout = self.sleep_max(now);
            self.ring.sleep(timeout)
        };
        self.station.mesh.doorbell().parked().wake();
        result
    }

    fn sleep_max(&mut self, now: Now) -> Option<Duration> {
        // A full channel's room is announced by nothing, but its peer is at work: look again soon.
        const FULL_CHANNEL_RETRY: Duration = Duration::from_micros(100);
        if self.station.mesh.peers().any(|peer| self.has_parcels(peer)) {
            return Some(FULL_CHANNEL_RETRY);
        }
        let drain_us = self.drain.as_ref().and_then(Drain::next_us);
        let deadline_us = self.driver.next_deadline_us().into_iter().chain(drain_us).min()?;
        let left_us = deadline_us - now.master_us;
        Some(Duration::from_micros(left_us.max(0) as u64))
    }

    fn publish(&mut self) {
        let ring = self.ring.stats();
        let driver = self.driver.stats();
        if driver.accepts_failed > self.accepts_failed_told {
            self.accepts_failed_told = driver.accepts_failed;
            (self.station.notify)(Notice::AcceptsFail);
        }
        let figures = self.driver.shard().stats();
        self.station.published.publish(figures, &driver, &ring, &self.mesh_stats, self.turns);
    }
}
