//! A worker: one pinned thread with one ring that turns one play.
//!
//! connect → ready → wait for the start → load (warm-up, then the measured window) → drain → account. One
//! clock call a turn and one every few completions.

use crate::clock::now_ns;
use crate::io::Io;
use crate::outcome::{Outcome, Second};
use crate::play::Play;
use crate::ring::Ring;
use crate::socket::Endpoint;
use crossbeam_channel::Sender;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Connections that are not yet ready at a time.
const CONNECTING_MAX: u64 = 512;
/// A connection that is not open after this is a failure.
const CONNECT_NS_MAX: u64 = 10_000_000_000;
/// Nothing heard for so long while deliveries are owed: the server has fallen silent.
const SILENCE_NS: u64 = 1_000_000_000;
/// The drain's end even if deliveries still come.
const DRAIN_NS_MAX: u64 = 10_000_000_000;
/// Completions between two clock calls.
const COMPLETIONS_PER_READING: u32 = 64;
/// Completions of one turn, so that what is due is sent.
const COMPLETIONS_PER_TURN_MAX: u32 = 4_096;
/// How often the coordinator's word is looked for.
const OBEY_EVERY_NS: u64 = 5_000_000;
const SECOND_NS: u64 = 1_000_000_000;

/// How nice a worker of some patience is beyond the others: a tenth of their share.
const NICER: i32 = 10;

/// To whom a worker leaves its CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Patience {
    None,
    /// It takes less of it than the others.
    Some,
    /// It takes it only while nobody else wants it.
    All,
}

/// What a worker is told.
pub struct Plan {
    pub worker: usize,
    pub cpu: Option<usize>,
    pub connections: usize,
    /// Connections that never read once they are open.
    pub stalled: Vec<u32>,
    pub endpoints: Vec<Endpoint>,
    /// Connects a second while connecting; as fast as they are answered if absent.
    pub connect_rate: Option<f64>,
    pub buffer_bytes: usize,
    pub warmup_ns: u64,
    pub duration_ns: u64,
    pub patience: Patience,
    pub random: fastrand::Rng,
}

/// What the coordinator says to all workers of a process.
#[derive(Default)]
pub struct Orders {
    /// When the load begins, ns of CLOCK_MONOTONIC; 0 is not yet, `u64::MAX` never.
    pub go_ns: AtomicU64,
}

/// What a worker says.
#[derive(Serialize, Deserialize)]
pub enum Word {
    /// So many connections stand.
    Connecting(u64),
    /// All do.
    Ready,
    /// A second of the load is over.
    Second(Box<Second>),
    Done(Box<Outcome>),
    /// It cannot go on; one line, and whether the target was never there.
    Failed {
        line: String,
        is_refusal: bool,
    },
}

/// Runs a worker to its end. Words carry the worker's number.
pub fn run<P: Play>(mut plan: Plan, play: P, orders: &Arc<Orders>, words: &Sender<(usize, Word)>) {
    let number = plan.worker;
    if let Some(cpu) = plan.cpu {
        core_affinity::set_for_current(core_affinity::CoreId { id: cpu });
    }
    plan.patience.take();
    // SAFETY: no memory is involved. Timers would otherwise be 50 µs late on purpose.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
    let word = match Ring::new(256, plan.buffer_bytes) {
        Ok(ring) => {
            let endpoints = std::mem::take(&mut plan.endpoints);
            let io = Io::new(ring, plan.connections, endpoints, &mut plan.random);
            Worker { plan, io, play, orders, words }.run()
        }
        Err(error) => Err((format!("io_uring: {error} (kernel 6.1 or newer, and allowed?)"), false)),
    };
    let word = match word {
        Ok(outcome) => Word::Done(Box::new(outcome)),
        Err((line, is_refusal)) => Word::Failed { line, is_refusal },
    };
    // Whoever listens may have given up already.
    let _ = words.send((number, word));
}

struct Worker<'a, P> {
    plan: Plan,
    io: Io,
    play: P,
    orders: &'a Orders,
    words: &'a Sender<(usize, Word)>,
}

type Failure = (String, bool);

impl<P: Play> Worker<'_, P> {
    fn run(mut self) -> Result<Outcome, Failure> {
        for connection in std::mem::take(&mut self.plan.stalled) {
            self.io.stall(connection);
        }
        self.read_clock();
        if self.play.wants_connections() {
            self.connect()?;
        }
        self.say(Word::Ready);
        let go_ns = self.wait_for_go()?;
        self.load(go_ns)?;
        self.drain()?;
        let is_silent = self.io.now_ns.saturating_sub(self.play.gauge().heard_ns) >= SILENCE_NS;
        self.play.conclude(&self.io, is_silent);
        let mut outcome = std::mem::take(self.play.gauge()).into_outcome();
        outcome.connections.open = self.play.standing(&self.io);
        outcome.connections.made = self.io.made;
        outcome.connections.ended = self.io.ended;
        outcome.connections.failed = std::mem::take(&mut self.io.failed);
        outcome.connections.lost = std::mem::take(&mut self.io.lost);
        Ok(outcome)
    }

    fn say(&self, word: Word) {
        let _ = self.words.send((self.plan.worker, word));
    }

    fn read_clock(&mut self) {
        self.io.now_ns = now_ns();
        self.play.gauge().advance(self.io.now_ns);
    }

    /// One turn: what is due, out; sleep at most until `until_ns`; what has come, in.
    fn turn(&mut self, until_ns: u64) -> Result<(), Failure> {
        let broken = |error: std::io::Error| (format!("io_uring: {error}"), false);
        let due_ns = self.play.act(&mut self.io).min(until_ns);
        self.io.flush().map_err(broken)?;
        let wait_ns = due_ns.saturating_sub(self.io.now_ns);
        self.io.enter(Duration::from_nanos(wait_ns)).map_err(broken)?;
        self.read_clock();
        for taken in 1..=COMPLETIONS_PER_TURN_MAX {
            if !self.io.turn(&mut self.play).map_err(broken)? {
                break;
            }
            if taken % COMPLETIONS_PER_READING == 0 {
                self.read_clock();
            }
        }
        self.io.flush().map_err(broken)
    }

    /// Connects all, and returns when they are where the play wants them.
    fn connect(&mut self) -> Result<(), Failure> {
        let all = self.plan.connections as u64;
        let start_ns = self.io.now_ns;
        let (mut started, mut told_ns) = (0, start_ns);
        let mut progress = (0, start_ns);
        loop {
            let ready = self.play.ready(&self.io);
            if ready >= all {
                return Ok(());
            }
            let allowed = match self.plan.connect_rate {
                Some(rate) => ((self.io.now_ns - start_ns) as f64 * rate / 1e9) as u64 + 1,
                None => all,
            };
            while started < all.min(allowed).min(ready + CONNECTING_MAX) {
                self.io.connect(started as u32).map_err(|error| {
                    (format!("connection {started}: {error} (loadgen doctor tells what fits)"), false)
                })?;
                started += 1;
            }
            self.turn(self.io.now_ns + 2_000_000)?;
            self.check_connecting(ready, all)?;
            if ready > progress.0 {
                progress = (ready, self.io.now_ns);
            }
            let last_ns = progress.1.max(self.play.gauge().heard_ns);
            if self.io.now_ns - last_ns > CONNECT_NS_MAX && started > ready {
                if self.play.bears_losses() {
                    return Ok(());
                }
                let line = format!("no answer for 10 s (connection {} of {all})", ready + 1);
                return Err((line, true));
            }
            if self.io.now_ns - told_ns > SECOND_NS / 5 {
                told_ns = self.io.now_ns;
                self.say(Word::Connecting(ready));
            }
        }
    }

    /// A connection that is refused or lost before the load has begun ends the run.
    fn check_connecting(&self, ready: u64, all: u64) -> Result<(), Failure> {
        if self.play.bears_losses() {
            return Ok(());
        }
        if let Some((reason, _)) = self.io.failed.iter().next() {
            return Err((format!("{reason} (connection {} of {all})", ready + 1), true));
        }
        if let Some((reason, count)) = self.io.lost.iter().next() {
            return Err((format!("{count} connections were lost while connecting: {reason}"), true));
        }
        Ok(())
    }

    fn wait_for_go(&mut self) -> Result<u64, Failure> {
        loop {
            match self.orders.go_ns.load(Ordering::Relaxed) {
                0 => self.turn(self.io.now_ns + OBEY_EVERY_NS)?,
                u64::MAX => return Err(("another worker failed".to_owned(), false)),
                go_ns => return Ok(go_ns),
            }
        }
    }

    fn load(&mut self, go_ns: u64) -> Result<(), Failure> {
        let from_ns = go_ns + self.plan.warmup_ns;
        let to_ns = from_ns + self.plan.duration_ns;
        while self.io.now_ns < go_ns {
            self.turn(go_ns)?;
        }
        let gauge = self.play.gauge();
        (gauge.origin_ns, gauge.from_ns, gauge.to_ns) = (go_ns, from_ns, to_ns);
        gauge.second = Second::default();
        // Without a warm-up the first messages are in the account too.
        let mut cpu = (self.io.now_ns >= from_ns).then(|| self.account());
        self.play.begin(&mut self.io);
        let mut second_ends_ns = go_ns + SECOND_NS;
        while self.io.now_ns < to_ns {
            if cpu.is_none() && self.io.now_ns >= from_ns {
                cpu = Some(self.account());
            }
            let boundary_ns = if cpu.is_none() { from_ns } else { to_ns };
            self.turn(second_ends_ns.min(boundary_ns))?;
            while self.io.now_ns >= second_ends_ns && second_ends_ns <= to_ns {
                second_ends_ns += SECOND_NS;
                self.tell_second();
            }
            self.check_target()?;
        }
        if let Some((cpu_ns, since_ns, enters)) = cpu {
            let window = &mut self.play.gauge().outcome.window;
            window.worker_cpu_ns = thread_cpu_ns() - cpu_ns;
            window.worker_busy_max = window.worker_cpu_ns as f64 / (self.io.now_ns - since_ns) as f64;
            window.enters = self.io.enters() - enters;
        }
        Ok(())
    }

    /// CPU time used, the time, and calls of the ring.
    fn account(&self) -> (u64, u64, u64) {
        (thread_cpu_ns(), self.io.now_ns, self.io.enters())
    }

    fn tell_second(&mut self) {
        let connections = self.io.open;
        let gauge = self.play.gauge();
        let mut second = std::mem::take(&mut gauge.second);
        gauge.second.index = second.index + 1;
        second.connections = connections;
        self.say(Word::Second(Box::new(second)));
    }

    /// A target that is gone ends the run at once.
    fn check_target(&mut self) -> Result<(), Failure> {
        if self.io.open == 0
            && self.io.pending == 0
            && !self.io.lost.is_empty()
            && self.play.wants_connections()
            && !self.play.bears_losses()
        {
            let (reason, count) =
                self.io.lost.iter().next().map_or(("", 0), |(it, count)| (it.as_str(), *count));
            return Err((format!("the target died: all {count} connections were lost ({reason})"), false));
        }
        Ok(())
    }

    fn drain(&mut self) -> Result<(), Failure> {
        self.play.stop(&mut self.io);
        let start_ns = self.io.now_ns;
        while self.play.owed() > 0 && self.io.now_ns - start_ns < DRAIN_NS_MAX {
            let heard_ns = self.play.gauge().heard_ns.max(start_ns);
            if self.io.now_ns - heard_ns >= SILENCE_NS {
                self.play.gauge().heard_ns = heard_ns;
                return Ok(());
            }
            self.turn(self.io.now_ns + OBEY_EVERY_NS)?;
        }
        Ok(())
    }
}

impl Patience {
    /// For the calling thread. Where it is refused, the thread takes its share like others.
    fn take(self) {
        let parameters = libc::sched_param { sched_priority: 0 };
        // SAFETY: `parameters` outlives its call; all calls concern the calling thread alone.
        unsafe {
            match self {
                Patience::None => 0,
                Patience::Some => {
                    let nice = libc::getpriority(libc::PRIO_PROCESS, 0);
                    libc::setpriority(libc::PRIO_PROCESS, 0, nice + NICER)
                }
                Patience::All => libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameters),
            }
        };
    }
}

/// CPU time of the calling thread, as the scheduler accounts it.
fn thread_cpu_ns() -> u64 {
    crate::machine::schedstat_ns("/proc/thread-self/schedstat").unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_schedulers_account_of_a_thread_grows_with_its_work() {
        let before = super::thread_cpu_ns();
        let start = std::time::Instant::now();
        let mut x = 1_u64;
        while start.elapsed().as_millis() < 30 {
            x = std::hint::black_box(x.wrapping_mul(3));
        }
        assert!(super::thread_cpu_ns() > before);
    }
}
