//! The control core: an ordinary, unpinned executor that waits for signals and for shards to end.
//!
//! It sleeps in its reactor until a byte comes through the pipe that signal handlers and ending shards write
//! to. It talks to shards by channels and never blocks them.

use crate::admin::{self, Facts, Port, Status};
use crate::server::{Notice, Notify, Running};
use futures_lite::AsyncReadExt;
use glommio::net::UnixStream;
use glommio::{LocalExecutorBuilder, Placement};
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

const IO_MEMORY_BYTES: usize = 64 * 1024;
const RING_ENTRIES: usize = 16;

/// Exit status of a process whose shard failed: an internal software error, by sysexits.
pub const EXIT_SOFTWARE: u8 = 70;

/// What the control core waits for.
pub struct Events {
    receiver: Pipe,
    sender: Pipe,
    /// From here on a signal has its default effect: the second one ends the process at once.
    is_stopping: Arc<AtomicBool>,
}

/// Bytes on the pipe that are no signal.
const SHARD_ENDED: u8 = b'E';
const ACCEPTS_FAIL: u8 = b'A';
const DRAIN_ASKED: u8 = b'D';

/// However often accepts fail, it is said once in this time.
const ACCEPTS_FAIL_INTERVAL: Duration = Duration::from_secs(10);
const ACCEPTS_FAIL_LINE: &str = "no descriptors or memory for new connections, which wait; raise RLIMIT_NOFILE \
    (systemd: LimitNOFILE=) or set --connections-max lower";

impl Events {
    /// Takes SIGTERM and SIGINT over from the process.
    pub fn new() -> io::Result<Events> {
        let (receiver, sender) = Pipe::pair()?;
        let is_stopping = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            flag::register_conditional_default(signal, Arc::clone(&is_stopping))?;
            pipe::register(signal, sender.try_clone()?)?;
        }
        Ok(Events { receiver, sender, is_stopping })
    }

    /// How shards tell of what happens to them.
    pub fn notify(&self) -> io::Result<Notify> {
        let sender = self.sender.try_clone()?;
        sender.set_nonblocking(true)?;
        Ok(Arc::new(move |notice| {
            let event = match notice {
                Notice::Ended => SHARD_ENDED,
                Notice::AcceptsFail => ACCEPTS_FAIL,
            };
            // A full pipe has thousands of notices in it already.
            let _ = (&sender).write(&[event]);
        }))
    }

    /// Serves the admin port, waits for the first signal or failure, stops the server, and returns the exit status.
    /// `say` gets lines for the operator.
    pub fn supervise(
        self,
        running: Running,
        admin: Port,
        facts: Facts,
        say: impl Fn(&str),
    ) -> io::Result<u8> {
        let executor = LocalExecutorBuilder::new(Placement::Unbound)
            .name("control")
            .io_memory(IO_MEMORY_BYTES)
            .ring_depth(RING_ENTRIES)
            .make()
            .map_err(|error| io::Error::other(error.to_string()))?;
        let receiver = self.receiver;
        let asked = self.sender.try_clone()?;
        // A full pipe has a reason to end in it already.
        let drain = move || drop((&asked).write(&[DRAIN_ASKED]));
        let status = Rc::new(RefCell::new(Status::default()));
        let shards = running.shards();
        let first = executor.run(async {
            if let Port::On(listening) = admin {
                glommio::spawn_local(admin::serve(listening, facts, shards, status, drain)).detach();
            }
            // SAFETY: the descriptor is open, and `receiver` gives up its ownership.
            let mut events = unsafe { UnixStream::from_raw_fd(receiver.into_raw_fd()) };
            let mut accepts_failed: Option<Instant> = None;
            loop {
                let mut event = [0];
                events.read_exact(&mut event).await?;
                if event[0] != ACCEPTS_FAIL {
                    return Ok::<u8, io::Error>(event[0]);
                }
                if accepts_failed.is_none_or(|said| said.elapsed() >= ACCEPTS_FAIL_INTERVAL) {
                    accepts_failed = Some(Instant::now());
                    say(ACCEPTS_FAIL_LINE);
                }
            }
        })?;
        if first == SHARD_ENDED {
            say("a shard ended; closing the others");
        } else {
            say("closing every connection with 1001 (going away)");
        }
        self.is_stopping.store(true, Ordering::Relaxed);
        let faults = running.stop();
        faults.iter().for_each(|fault| say(fault));
        Ok(if first == SHARD_ENDED || !faults.is_empty() { EXIT_SOFTWARE } else { 0 })
    }
}
