//! The receive buffers of a ring, provided to the kernel through shared memory.
//!
//! The kernel picks a buffer for each receive, so an idle connection owns none. A buffer belongs to the
//! kernel from `recycle` until a completion names it, and to us from then on.

use io_uring::types::BufRingEntry;
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

/// A ring of equal buffers in one mapping: the entries first, then the bytes.
pub struct Buffers {
    memory: NonNull<u8>,
    memory_bytes: usize,
    entries: u16,
    buffer_bytes: u32,
    tail: u16,
}

impl Buffers {
    /// Maps `entries` buffers, a power of two, and gives all of them to the kernel.
    pub fn new(entries: u16, buffer_bytes: u32) -> io::Result<Buffers> {
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
        let mut buffers = Buffers { memory, memory_bytes, entries, buffer_bytes, tail: 0 };
        (0..entries).for_each(|buffer| buffers.recycle(buffer));
        Ok(buffers)
    }

    /// Where the entries lie, page-aligned, for registering.
    pub fn ring_address(&self) -> u64 {
        self.memory.as_ptr() as u64
    }

    /// The first `length` bytes of a buffer that a completion named.
    pub fn filled(&mut self, buffer: u16, length: usize) -> &mut [u8] {
        assert!(
            buffer < self.entries && length <= self.buffer_bytes as usize,
            "the kernel names our buffers"
        );
        // SAFETY: inside the mapping by the assertion, initialised (a mapping is zeroed), and not the
        // kernel's until `recycle`, which needs `&mut self` too.
        unsafe { std::slice::from_raw_parts_mut(self.bytes_of(buffer), length) }
    }

    /// Gives a buffer to the kernel.
    pub fn recycle(&mut self, buffer: u16) {
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

    #[test]
    fn buffers_do_not_overlap() {
        let mut buffers = Buffers::new(4, 32).unwrap();
        for buffer in 0..4 {
            buffers.filled(buffer, 32).fill(buffer as u8 + 1);
        }
        for buffer in 0..4 {
            assert_eq!(buffers.filled(buffer, 32), [buffer as u8 + 1; 32]);
        }
    }
}
