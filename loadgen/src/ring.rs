//! A worker's io_uring: connects, receives, sends. Knows the kernel, decides nothing.

mod buffers;

use buffers::Buffers;
use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

const GROUP: u16 = 0;

/// What the kernel did.
pub struct Completion {
    pub tag: u64,
    /// A count, or a negative errno.
    pub result: i32,
    /// A multishot operation that goes on.
    pub has_more: bool,
    pub buffer: Option<u16>,
}

pub struct Ring {
    // Before the buffers, so that it is closed before they are unmapped.
    uring: IoUring,
    buffers: Buffers,
    pub enters: u64,
}

impl Ring {
    /// Of the calling thread, which alone may use it.
    pub fn new(buffer_count: u16, buffer_bytes: usize) -> io::Result<Ring> {
        let uring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_coop_taskrun()
            .setup_submit_all()
            .setup_cqsize(16_384)
            .build(2_048)?;
        let buffers = Buffers::new(buffer_count, buffer_bytes)?;
        // SAFETY: the memory is `buffers`' own and outlives the ring.
        unsafe {
            uring.submitter().register_buf_ring_with_flags(buffers.address(), buffers.count(), GROUP, 0)?;
        }
        Ok(Ring { uring, buffers, enters: 0 })
    }

    /// Connects; the address must stay where it is until the completion.
    pub fn connect(&mut self, fd: RawFd, address: &socket2::SockAddr, tag: u64) -> io::Result<()> {
        self.push(
            &opcode::Connect::new(Fd(fd), address.as_ptr().cast(), address.len()).build().user_data(tag),
        )
    }

    /// Receives until told otherwise.
    pub fn receive(&mut self, fd: RawFd, tag: u64) -> io::Result<()> {
        self.push(&opcode::RecvMulti::new(Fd(fd), GROUP).build().user_data(tag))
    }

    /// Receives once.
    pub fn receive_once(&mut self, fd: RawFd, tag: u64) -> io::Result<()> {
        let entry = opcode::Recv::new(Fd(fd), std::ptr::null_mut(), 0).buf_group(GROUP).build();
        self.push(&entry.flags(squeue::Flags::BUFFER_SELECT).user_data(tag))
    }

    /// Sends; the bytes must stay where they are until the completion.
    pub fn send(&mut self, fd: RawFd, bytes: &[u8], tag: u64) -> io::Result<()> {
        let entry = opcode::Send::new(Fd(fd), bytes.as_ptr(), bytes.len() as u32);
        self.push(&entry.flags(libc::MSG_NOSIGNAL).build().user_data(tag))
    }

    fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        loop {
            // SAFETY: callers keep descriptors and memory alive until the completion.
            if unsafe { self.uring.submission().push(entry) }.is_ok() {
                return Ok(());
            }
            self.enter(Duration::ZERO)?;
        }
    }

    /// Submits, and sleeps until something completes or the time is over.
    pub fn enter(&mut self, wait_max: Duration) -> io::Result<()> {
        self.enters += 1;
        let result = if wait_max.is_zero() {
            self.uring.submit_and_wait(0)
        } else {
            let timeout = Timespec::from(wait_max);
            self.uring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&timeout))
        };
        match result {
            Ok(_) => Ok(()),
            Err(error) => match error.raw_os_error() {
                Some(libc::ETIME | libc::EINTR | libc::EAGAIN | libc::EBUSY) => Ok(()),
                _ => Err(error),
            },
        }
    }

    pub fn reap(&mut self) -> Option<Completion> {
        let entry = self.uring.completion().next()?;
        let flags = entry.flags();
        Some(Completion {
            tag: entry.user_data(),
            result: entry.result(),
            has_more: cqueue::more(flags),
            buffer: cqueue::buffer_select(flags),
        })
    }

    /// The bytes that a completion brought; `length` is its result.
    pub fn received(&mut self, buffer: u16, length: usize) -> &mut [u8] {
        self.buffers.received(buffer, length)
    }

    /// Gives a buffer back to the kernel.
    pub fn recycle(&mut self, buffer: u16) {
        self.buffers.offer(buffer);
    }
}
