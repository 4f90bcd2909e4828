//! The receive buffers of a ring, provided to the kernel through shared memory.
//!
//! The kernel picks a buffer for each receive, so an idle connection owns none. From Linux 6.12 on one buffer
//! serves receive after receive, each taking up where the one before ended, so that a long message finds
//! room and a short one wastes none; before, each receive takes a whole buffer, which then has to be small.
//! A piece is ours from the completion that names it until `release`; a buffer is the kernel's again once its
//! last piece is released. Pieces are released in the order of their completions.

use io_uring::IoUring;
use io_uring::types::BufRingEntry;
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

/// `IOU_PBUF_RING_INC` of the kernel's interface: receives share buffers.
const SHARED: u16 = 2;
/// The size of buffers on a kernel where each serves one receive: the usual message and more.
const UNSHARED_BYTES: u32 = 2048;

/// What the kernel's interface allows in one ring.
const ENTRIES_MAX: u32 = 32_768;

/// Where the kernel put received bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Which buffer.
    pub buffer: u16,
    /// The kernel is done with the buffer.
    pub is_last: bool,
}

/// A ring of equal buffers in one mapping: the entries first, then the bytes.
pub struct Buffers {
    memory: NonNull<u8>,
    memory_bytes: usize,
    entries: u16,
    buffer_bytes: u32,
    tail: u16,
    /// How much of each buffer was given out in pieces.
    used: Vec<u32>,
    is_shared: bool,
}

impl Buffers {
    /// The group that receives name.
    pub const GROUP: u16 = 0;

    /// Maps `entries` buffers, a power of two, and provides them to the ring's receives, as [`Buffers::GROUP`].
    /// A kernel that cannot share them gets the same memory cut into smaller ones.
    pub fn provide(uring: &IoUring, entries: u16, buffer_bytes: u32, is_shared: bool) -> io::Result<Buffers> {
        if is_shared {
            let buffers = Buffers::new(entries, buffer_bytes, true)?;
            match buffers.register(uring) {
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
                registered => return registered.map(|()| buffers),
            }
        }
        let parts = if is_shared { (buffer_bytes / UNSHARED_BYTES).max(1) } else { 1 };
        let entries = (u32::from(entries) * parts).next_power_of_two().min(ENTRIES_MAX);
        let buffers = Buffers::new(entries as u16, buffer_bytes / parts, false)?;
        buffers.register(uring)?;
        Ok(buffers)
    }

    fn register(&self, uring: &IoUring) -> io::Result<()> {
        let address = self.memory.as_ptr() as u64;
        let flags = if self.is_shared { SHARED } else { 0 };
        // SAFETY: the memory is the buffers' own; whoever holds both drops the ring before them.
        unsafe { uring.submitter().register_buf_ring_with_flags(address, self.entries, Self::GROUP, flags) }
    }

    fn new(entries: u16, buffer_bytes: u32, is_shared: bool) -> io::Result<Buffers> {
        debug_assert!(entries.is_power_of_two());
        let memory_bytes = usize::from(entries) * (size_of::<BufRingEntry>() + buffer_bytes as usize);
        // SAFETY: a fresh anonymous mapping, of no address of ours.
        let memory = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                memory_bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let memory = NonNull::new(memory.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        let used = vec![0; usize::from(entries)];
        let mut buffers = Buffers { memory, memory_bytes, entries, buffer_bytes, tail: 0, used, is_shared };
        (0..entries).for_each(|buffer| buffers.recycle(buffer));
        Ok(buffers)
    }

    /// The `length` bytes of a piece that a completion named.
    pub fn received(&mut self, piece: Piece, length: usize) -> &mut [u8] {
        let used = self.used[usize::from(piece.buffer)] as usize;
        assert!(used + length <= self.buffer_bytes as usize, "the kernel stays inside its buffers");
        // SAFETY: inside the mapping by the assertion and the index above, initialised (a mapping is zeroed),
        // and not the kernel's until `release`, which needs `&mut self` too.
        unsafe { std::slice::from_raw_parts_mut(self.bytes_of(piece.buffer).add(used), length) }
    }

    /// Gives a piece back, of as many bytes as were received.
    pub fn release(&mut self, piece: Piece, length: usize) {
        if self.is_shared && length == 0 {
            // Nothing was taken, whatever the completion says of the buffer.
            return;
        }
        if piece.is_last {
            self.recycle(piece.buffer);
        } else {
            self.used[usize::from(piece.buffer)] += length as u32;
        }
    }

    /// Gives a whole buffer to the kernel.
    fn recycle(&mut self, buffer: u16) {
        self.used[usize::from(buffer)] = 0;
        let slot = self.tail & (self.entries - 1);
        let address = self.bytes_of(buffer) as u64;
        // SAFETY: `slot` < entries, so the entry lies in the mapping; the kernel reads it only after the
        // tail has passed it. Its tail field shares bytes with entry 0's unused part, which set_* leave alone.
        unsafe {
            let entry = &mut *self.memory.as_ptr().cast::<BufRingEntry>().add(usize::from(slot));
            entry.set_addr(address);
            entry.set_len(self.buffer_bytes);
            entry.set_bid(buffer);
        }
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the tail lies in the mapping and is aligned; the kernel and we access it atomically.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.memory.as_ptr().cast()).cast_mut()) };
        // Pairs with the kernel's load-acquire: the entry is whole before the tail passes it.
        tail.store(self.tail, Ordering::Release);
    }

    fn bytes_of(&self, buffer: u16) -> *mut u8 {
        let entries_bytes = usize::from(self.entries) * size_of::<BufRingEntry>();
        // SAFETY: buffer < entries, so the offset lies in the mapping.
        unsafe { self.memory.as_ptr().add(entries_bytes + usize::from(buffer) * self.buffer_bytes as usize) }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and the ring that used it was closed before.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), self.memory_bytes) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(buffer: u16, is_last: bool) -> Piece {
        Piece { buffer, is_last }
    }

    #[test]
    fn buffers_do_not_overlap() {
        let mut buffers = Buffers::new(4, 32, false).unwrap();
        for buffer in 0..4 {
            buffers.received(piece(buffer, true), 32).fill(buffer as u8 + 1);
        }
        for buffer in 0..4 {
            assert_eq!(buffers.received(piece(buffer, true), 32), [buffer as u8 + 1; 32]);
        }
    }

    #[test]
    fn pieces_of_a_shared_buffer_follow_each_other_until_it_starts_anew() {
        let mut buffers = Buffers::new(2, 32, true).unwrap();
        buffers.received(piece(1, true), 32).copy_from_slice(b"abcdefghijklmnopqrstuvwxyz012345");
        assert_eq!(buffers.received(piece(1, false), 3), b"abc");
        buffers.release(piece(1, false), 3);
        buffers.release(piece(1, true), 0);
        assert_eq!(buffers.received(piece(1, false), 20), b"defghijklmnopqrstuvw");
        buffers.release(piece(1, false), 20);
        assert_eq!(buffers.received(piece(1, true), 9), b"xyz012345");
        let tail = buffers.tail;
        buffers.release(piece(1, true), 9);
        assert_eq!(buffers.tail, tail + 1, "the kernel has it again");
        assert_eq!(buffers.received(piece(1, false), 3), b"abc");
    }

    #[test]
    #[should_panic(expected = "the kernel stays inside its buffers")]
    fn a_piece_past_its_buffers_end_is_refused() {
        let mut buffers = Buffers::new(2, 32, true).unwrap();
        buffers.release(piece(0, false), 20);
        buffers.received(piece(0, false), 13);
    }
}
