//! A shard's own io_uring: operations in, completions out, nothing decided.
//!
//! What may be in flight, and what follows from a completion, is the driver's; this file knows the kernel.
//! One `io_uring_enter` submits, takes completions and, if asked, waits. Kernel 6.1 is the oldest that has
//! all flags used here. Buffers of receives are the ring's own: see [`buffers`].

pub mod buffers;

use crate::config::RingSettings;
use buffers::{Buffers, Piece};
use io_uring::cqueue::{buffer_more, buffer_select, more};
use io_uring::types::{CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, opcode, squeue};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// Completions that end a sleep before its latency budget is used up.
const BATCH_COMPLETIONS_MAX: usize = 256;

/// What the kernel is to do. Descriptors and memory must live until the completion: the driver sees to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Accept one connection.
    Accept {
        /// The listener.
        fd: RawFd,
        /// Comes back with the completion.
        tag: u64,
    },
    /// Receive once, into one of the ring's buffers.
    ReceiveOnce {
        /// The socket.
        fd: RawFd,
        /// Comes back with the completion.
        tag: u64,
    },
    /// Receive until told otherwise, into the ring's buffers.
    Receive {
        /// The socket.
        fd: RawFd,
        /// Comes back with each completion.
        tag: u64,
    },
    /// Send from memory that stays in place until the completion.
    Send {
        /// The socket.
        fd: RawFd,
        /// Comes back with the completion.
        tag: u64,
        /// The first byte.
        bytes: *const u8,
        /// How many.
        length: u32,
    },
    /// Complete once when there is something to receive.
    Poll {
        /// The socket.
        fd: RawFd,
        /// Comes back with the completion.
        tag: u64,
    },
    /// Cancel one operation.
    CancelOne {
        /// The operation's tag.
        target: u64,
        /// Comes back with the completion.
        tag: u64,
    },
    /// Cancel all that is in flight on a descriptor.
    Cancel {
        /// The descriptor.
        fd: RawFd,
        /// Comes back with the completion.
        tag: u64,
    },
    /// End our side of a connection (FIN). Done at once, has no completion.
    Shutdown {
        /// The socket.
        fd: RawFd,
    },
    /// Close a descriptor on which nothing is in flight. Done at once, has no completion.
    Close {
        /// The socket.
        fd: RawFd,
        /// With RST.
        reset: bool,
    },
}

/// What the kernel did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The operation's tag.
    pub tag: u64,
    /// A count, a descriptor, or a negative errno.
    pub result: i32,
    /// The operation goes on and will complete again.
    pub has_more: bool,
    /// Where received bytes are.
    pub piece: Option<Piece>,
}

/// Figures of the ring, for whoever publishes them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingStats {
    /// Calls of io_uring_enter.
    pub enters: u64,
    /// Completions reaped.
    pub completions: u64,
    /// Times the completion queue ran over into the kernel's list.
    pub overflows: u64,
}

/// One io_uring and its receive buffers.
pub struct Ring {
    // Before the buffers, so that the kernel lets go of them first.
    uring: IoUring,
    buffers: Buffers,
    doorbell: OwnedFd,
    doorbell_tag: u64,
    doorbell_count: Box<u64>,
    batch_us: u32,
    stats: RingStats,
}

impl Ring {
    /// Makes the ring of the calling thread, which alone may use it. `doorbell` is an eventfd whose every
    /// write completes with `doorbell_tag`.
    pub fn new(settings: &RingSettings, doorbell: OwnedFd, doorbell_tag: u64) -> io::Result<Ring> {
        let uring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_coop_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(settings.cq_entries)
            .build(settings.sq_entries)?;
        if settings.batch_us > 0 && !uring.params().is_feature_min_timeout() {
            return Err(io::Error::new(io::ErrorKind::Unsupported, BATCH_UNSUPPORTED));
        }
        let shares = settings.buffers_shared;
        let buffers = Buffers::provide(&uring, settings.buffers, settings.buffer_bytes, shares)?;
        let mut ring = Ring {
            uring,
            buffers,
            doorbell,
            doorbell_tag,
            doorbell_count: Box::new(0),
            batch_us: settings.batch_us,
            stats: RingStats::default(),
        };
        ring.arm_doorbell()?;
        Ok(ring)
    }

    /// Figures since the start.
    pub fn stats(&self) -> RingStats {
        self.stats
    }

    /// Listens to the doorbell again, after it completed.
    pub fn arm_doorbell(&mut self) -> io::Result<()> {
        let count: *mut u64 = &raw mut *self.doorbell_count;
        let fd = Fd(self.doorbell.as_raw_fd());
        self.push(&opcode::Read::new(fd, count.cast(), 8).build().user_data(self.doorbell_tag))
    }

    /// Queues an operation, or does it if it has no completion.
    pub fn queue(&mut self, operation: Operation) -> io::Result<()> {
        let entry = match operation {
            Operation::Accept { fd, tag } => {
                let nobody = std::ptr::null_mut();
                opcode::Accept::new(Fd(fd), nobody, nobody.cast())
                    .flags(libc::SOCK_CLOEXEC)
                    .build()
                    .user_data(tag)
            }
            Operation::ReceiveOnce { fd, tag } => opcode::Recv::new(Fd(fd), std::ptr::null_mut(), 0)
                .buf_group(Buffers::GROUP)
                .build()
                .flags(squeue::Flags::BUFFER_SELECT)
                .user_data(tag),
            Operation::Receive { fd, tag } => {
                opcode::RecvMulti::new(Fd(fd), Buffers::GROUP).build().user_data(tag)
            }
            Operation::Send { fd, tag, bytes, length } => {
                opcode::Send::new(Fd(fd), bytes, length).flags(libc::MSG_NOSIGNAL).build().user_data(tag)
            }
            Operation::Poll { fd, tag } => {
                let events = (libc::POLLIN | libc::POLLRDHUP) as u32;
                opcode::PollAdd::new(Fd(fd), events).build().user_data(tag)
            }
            Operation::CancelOne { target, tag } => opcode::AsyncCancel::new(target).build().user_data(tag),
            Operation::Cancel { fd, tag } => {
                opcode::AsyncCancel2::new(CancelBuilder::fd(Fd(fd)).all()).build().user_data(tag)
            }
            Operation::Shutdown { fd } => {
                shut(fd);
                return Ok(());
            }
            Operation::Close { fd, reset } => {
                close(fd, reset);
                return Ok(());
            }
        };
        self.push(&entry)
    }

    fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        loop {
            // SAFETY: the driver keeps descriptors and memory of an operation alive until its completion.
            if unsafe { self.uring.submission().push(entry) }.is_ok() {
                return Ok(());
            }
            self.enter()?;
        }
    }

    /// Takes a completion, if one is there.
    pub fn reap(&mut self) -> Option<Completion> {
        let entry = self.uring.completion().next()?;
        self.stats.completions += 1;
        let flags = entry.flags();
        Some(Completion {
            tag: entry.user_data(),
            result: entry.result(),
            has_more: more(flags),
            piece: buffer_select(flags).map(|buffer| Piece { buffer, is_last: !buffer_more(flags) }),
        })
    }

    /// The bytes that a completion brought; `length` is its result.
    pub fn received(&mut self, piece: Piece, length: usize) -> &mut [u8] {
        self.buffers.received(piece, length)
    }

    /// Gives a completion's bytes back to the kernel. In the order of completions.
    pub fn release(&mut self, piece: Piece, length: usize) {
        self.buffers.release(piece, length);
    }

    /// The kernel has completions that only an enter will deliver.
    pub fn is_kernel_ready(&mut self) -> bool {
        let submission = self.uring.submission();
        submission.taskrun() || submission.cq_overflow()
    }

    /// Operations are queued that the kernel has not seen.
    pub fn has_queued(&mut self) -> bool {
        !self.uring.submission().is_empty()
    }

    /// Ends all that is in flight: nothing of a connection's memory is the kernel's any more, and an accept takes no
    /// more connections. What completed by then is still to be reaped. Waits for it.
    pub fn cancel_all(&mut self) -> io::Result<()> {
        // What was queued and not seen by the kernel must not begin behind this.
        self.enter()?;
        match self.uring.submitter().register_sync_cancel(None, CancelBuilder::any()) {
            Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error),
            _ => self.enter(),
        }
    }

    /// Submits, and delivers what is ready.
    pub fn enter(&mut self) -> io::Result<()> {
        self.count_enter();
        settled(self.uring.submitter().submit_and_wait(0))
    }

    /// Submits and sleeps until a completion comes or the time is over. With a latency budget, what comes
    /// within it after the sleep began is left to gather; what comes later wakes at once.
    pub fn sleep(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.count_enter();
        let submitter = self.uring.submitter();
        let timeout = timeout.map(Timespec::from);
        let (wanted, args) = match self.batch_us {
            0 => (1, SubmitArgs::new()),
            // The kernel's minimal wait: past it, one completion is enough.
            batch_us => (BATCH_COMPLETIONS_MAX, SubmitArgs::new().min_wait_usec(batch_us)),
        };
        settled(match &timeout {
            Some(timeout) => submitter.submit_with_args(wanted, &args.timespec(timeout)),
            None if self.batch_us == 0 => submitter.submit_and_wait(wanted),
            None => submitter.submit_with_args(wanted, &args),
        })
    }

    /// Submits and sleeps until `wanted` completions are there or the time is over.
    pub fn linger(&mut self, wanted: usize, time: Duration) -> io::Result<()> {
        self.count_enter();
        let time = Timespec::from(time);
        settled(self.uring.submitter().submit_with_args(wanted, &SubmitArgs::new().timespec(&time)))
    }

    fn count_enter(&mut self) {
        self.stats.enters += 1;
        self.stats.overflows += u64::from(self.uring.submission().cq_overflow());
    }
}

fn settled(result: io::Result<usize>) -> io::Result<()> {
    match result {
        Ok(_) => Ok(()),
        Err(error) => match error.raw_os_error() {
            // The wait is over, or completions must be taken first: both are the next turn's.
            Some(libc::ETIME | libc::EINTR | libc::EAGAIN | libc::EBUSY) => Ok(()),
            _ => Err(error),
        },
    }
}

/// What is wrong with a latency budget on an older kernel.
const BATCH_UNSUPPORTED: &str = "--batch-us needs Linux 6.12 or newer; leave it out";

fn shut(fd: RawFd) {
    // SAFETY: no memory is involved. A socket that the peer has reset refuses, which changes nothing.
    unsafe { libc::shutdown(fd, libc::SHUT_WR) };
}

fn close(fd: RawFd, reset: bool) {
    if reset {
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        // SAFETY: `linger` outlives the call and its size is given.
        unsafe {
            libc::setsockopt(
                fd,
                libc::SOL_SOCKET,
                libc::SO_LINGER,
                (&raw const linger).cast(),
                size_of::<libc::linger>() as libc::socklen_t,
            );
        }
    }
    // SAFETY: the driver owns the descriptor and forgets it now.
    unsafe { libc::close(fd) };
}
