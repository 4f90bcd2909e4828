//! The control core: an ordinary, unpinned executor that waits for signals and for what shards tell.
//!
//! It keeps the rooms on disk, and ends the server: a grace in which it serves on, no more accepts, a snapshot, every
//! connection closed with 1001 at a rate, a snapshot. A second signal ends it at once, with a snapshot; a third has its
//! default effect. It talks to shards by channels and never blocks them.

mod keeper;
mod watchdog;

use crate::admin::{self, Drain, Facts, Port, Serving, Status};
use crate::config::{Config, DrainSettings};
use crate::life::Faults;
use crate::server::{self, Notice, Notify, Running};
use crate::turn::Command;
use crossbeam_channel::{Receiver, Sender, unbounded};
use futures_lite::{AsyncReadExt, FutureExt};
use glommio::LocalExecutor;
use glommio::net::UnixStream;
use glommio::timer::Timer;
pub use keeper::Keeper;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::low_level::pipe;
use std::cell::RefCell;
use std::io::{self, Write};
use std::os::fd::{FromRawFd, IntoRawFd};
use std::os::unix::net::UnixStream as Pipe;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tracing::{error, info, warn};

/// Entries of its executor's rings.
pub const RING_ENTRIES: usize = 16;

/// Exit status of a process whose shard failed: an internal software error, by sysexits.
pub const EXIT_SOFTWARE: u8 = 70;
/// Exit status after a second signal: what a shell says of a process that SIGTERM has ended.
pub const EXIT_CUT_SHORT: u8 = 128 + SIGTERM as u8;

/// Accepts that fail go on failing: it is said once in this time.
const ACCEPTS_FAIL_INTERVAL: Duration = Duration::from_secs(10);

/// What the control core waits for, and how. It has all its descriptors before the first shard accepts: clients may take
/// what is left of them.
pub struct Events {
    executor: LocalExecutor,
    receiver: Pipe,
    sender: Pipe,
    /// For the admin port's word to drain.
    asked: Pipe,
    notices: (Sender<Notice>, Receiver<Notice>),
    /// From here on a signal has its default effect.
    is_cut_short: Arc<AtomicBool>,
}

/// Bytes on the pipe that are no signal's.
const NOTICE: u8 = b'N';
const DRAIN_ASKED: u8 = b'D';

/// What there is to be heard.
enum Event {
    Signal,
    Notice(Notice),
}

impl Events {
    /// Takes SIGTERM and SIGINT over from the process.
    pub fn new() -> io::Result<Events> {
        let (receiver, sender) = Pipe::pair()?;
        let is_cut_short = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            flag::register_conditional_default(signal, Arc::clone(&is_cut_short))?;
            pipe::register(signal, sender.try_clone()?)?;
        }
        let executor = server::executor("control", RING_ENTRIES)
            .make()
            .map_err(|error| io::Error::other(error.to_string()))?;
        let asked = sender.try_clone()?;
        Ok(Events { executor, receiver, sender, asked, notices: unbounded(), is_cut_short })
    }

    /// How shards tell of what happens to them.
    pub fn notify(&self) -> io::Result<Notify> {
        let sender = self.sender.try_clone()?;
        sender.set_nonblocking(true)?;
        let notices = self.notices.0.clone();
        Ok(Arc::new(move |notice| {
            // The receiver lives as long as the shards do. A full pipe has bytes enough to wake it.
            let _ = notices.send(notice);
            let _ = (&sender).write(&[NOTICE]);
        }))
    }

    /// Serves, the admin port too, until the first signal or a failure, ends the server, and returns the exit status.
    pub fn supervise(
        self,
        running: Running,
        config: &Config,
        keeper: Keeper,
        admin: Port,
        facts: Facts,
    ) -> io::Result<u8> {
        let Events { executor, receiver, asked, notices, is_cut_short, .. } = self;
        // A full pipe has a reason to end in it already.
        let drain = move || drop((&asked).write(&[DRAIN_ASKED]));
        executor.run(async move {
            let status = keeper.status();
            let admin = match admin {
                Port::On(listening) => {
                    Some(admin::serve(listening, facts, running.shards(), Rc::clone(&status), drain))
                }
                Port::Off(_) => None,
            };
            // SAFETY: the descriptor is open, and `receiver` gives up its ownership.
            let pipe = unsafe { UnixStream::from_raw_fd(receiver.into_raw_fd()) };
            let control = Control {
                running: Rc::new(running),
                keeper: Rc::new(keeper),
                pipe,
                notices: notices.1,
                is_cut_short,
                faults: Faults::default(),
                ended: 0,
                accepts_failing: Seldom::default(),
                status,
                admin,
            };
            control.run(config.drain).await
        })
    }
}

struct Control {
    running: Rc<Running>,
    keeper: Rc<Keeper>,
    pipe: UnixStream,
    notices: Receiver<Notice>,
    is_cut_short: Arc<AtomicBool>,
    faults: Faults,
    /// Shards that have ended.
    ended: usize,
    accepts_failing: Seldom,
    /// What the admin port tells of it.
    status: Rc<RefCell<Status>>,
    admin: Option<Serving>,
}

/// When something was last said that is said once in [`ACCEPTS_FAIL_INTERVAL`].
#[derive(Default)]
struct Seldom(Option<Instant>);

impl Seldom {
    /// It is to be said now.
    fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.0.is_none_or(|said| now.duration_since(said) >= ACCEPTS_FAIL_INTERVAL);
        if is_due {
            self.0 = Some(now);
        }
        is_due
    }
}

/// Why the server ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reason {
    Signal,
    Fault,
}

impl Control {
    async fn run(mut self, drain: DrainSettings) -> io::Result<u8> {
        let (running, keeper) = (Rc::clone(&self.running), Rc::clone(&self.keeper));
        let keeping = glommio::spawn_local(async move { keeper.keep(&running).await });
        let feeding = watchdog::feed(Rc::clone(&self.running));
        watchdog::ready();
        let reason = self.wait().await?;
        // A write that is on its way goes on in its thread; what comes next has a file of its own.
        keeping.cancel().await;
        feeding.cancel().await;
        watchdog::stopping();
        let is_whole = self.end(reason, drain).await?;
        let is_orderly = self.conclude(is_whole).await;
        Ok(match reason {
            Reason::Signal if !is_whole => EXIT_CUT_SHORT,
            Reason::Signal if is_orderly => 0,
            _ => EXIT_SOFTWARE,
        })
    }

    /// Serves, until there is a reason to end.
    async fn wait(&mut self) -> io::Result<Reason> {
        loop {
            match self.next().await? {
                Event::Signal => return Ok(Reason::Signal),
                Event::Notice(notice) => {
                    if !self.handle(notice) {
                        return Ok(Reason::Fault);
                    }
                }
            }
        }
    }

    /// False if the server cannot go on.
    fn handle(&mut self, notice: Notice) -> bool {
        match notice {
            Notice::Ended => {
                self.ended += 1;
                error!("a shard ended; closing the others");
                return false;
            }
            Notice::AcceptsFail => self.say_accepts_fail(),
            Notice::Respawned { core, fault, rooms } => {
                error!(core = core.0, rooms, "shard {} failed and has begun anew: {fault}", core.0);
                self.status.borrow_mut().count_respawn(usize::from(core.0));
                if self.faults.add(Instant::now()) {
                    error!("shards fail too often; closing all");
                    return false;
                }
            }
        }
        true
    }

    fn say_accepts_fail(&mut self) {
        if self.accepts_failing.is_due(Instant::now()) {
            warn!(
                "no descriptors or memory for new connections, which wait; raise RLIMIT_NOFILE \
                (systemd: LimitNOFILE=) or set --connections-max lower"
            );
        }
    }

    /// Closes everything, at the rate; false if a signal cut it short.
    async fn end(&mut self, reason: Reason, drain: DrainSettings) -> io::Result<bool> {
        self.status.borrow_mut().drain = Some(Drain {
            since: Instant::now(),
            of: self.running.figures().iter().map(|figures| figures.engine.connections).sum(),
            rate_per_s: drain.rate_per_s,
        });
        if reason == Reason::Signal {
            info!("closing every connection with 1001 (going away)");
            if drain.grace_ms > 0 && !self.pause(Duration::from_millis(u64::from(drain.grace_ms))).await? {
                return Ok(false);
            }
        }
        self.running.tell(|| Command::StopListening);
        self.keeper.save(&self.running).await;
        let per_s = drain.rate_per_s.div_ceil(self.running.cores() as u32);
        self.running.tell(|| Command::Drain { per_s });
        while self.ended < self.running.cores() {
            match self.next().await? {
                Event::Signal => return Ok(false),
                Event::Notice(Notice::Ended) => self.ended += 1,
                Event::Notice(_) => {}
            }
        }
        Ok(true)
    }

    /// The last snapshot; false if a shard has failed.
    async fn conclude(self, is_whole: bool) -> bool {
        let Control { running, keeper, is_cut_short, admin, .. } = self;
        if !is_whole {
            warn!("ending at once");
            // Should this hang, the next signal ends it.
            is_cut_short.store(true, Ordering::Relaxed);
            keeper.save(&running).await;
            return true;
        }
        // The tasks that had it are cancelled.
        let Ok(running) = Rc::try_unwrap(running) else { return false };
        let (slices, faults) = running.join();
        faults.iter().for_each(|fault| error!("{fault}"));
        keeper.save_last(slices).await;
        if let Some(admin) = admin {
            admin.say_drained().await;
        }
        faults.is_empty()
    }

    /// Lets the time pass; false if a signal cuts it short.
    async fn pause(&mut self, time: Duration) -> io::Result<bool> {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(true);
            }
            let timer = async {
                Timer::new(left).await;
                Ok(None)
            };
            let event = async { self.next().await.map(Some) };
            match timer.or(event).await? {
                Some(Event::Signal) => return Ok(false),
                Some(Event::Notice(notice)) => drop(self.handle(notice)),
                None => return Ok(true),
            }
        }
    }

    async fn next(&mut self) -> io::Result<Event> {
        loop {
            if let Ok(notice) = self.notices.try_recv() {
                return Ok(Event::Notice(notice));
            }
            let mut byte = [0];
            self.pipe.read_exact(&mut byte).await?;
            if byte[0] != NOTICE {
                return Ok(Event::Signal);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_accepts_that_fail_a_line_is_said_at_once_and_then_one_in_10_s() {
        let start = Instant::now();
        let mut failing = Seldom::default();
        let at = |ms| start + Duration::from_millis(ms);
        let said: Vec<u64> = (0..=25_000).step_by(300).filter(|ms| failing.is_due(at(*ms))).collect();
        assert_eq!(said, [0, 10_200, 20_400]);
        assert!(!failing.is_due(at(30_399)) && failing.is_due(at(30_400)), "just then");
    }
}
