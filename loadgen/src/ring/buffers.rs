//! Provided buffers: the kernel picks one for each receive, so an idle connection owns none.

use io_uring::types::BufRingEntry;
use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

/// Page-aligned memory of equal buffers with the ring of entries that offers them to the kernel.
pub struct Buffers {
    entries: *mut BufRingEntry,
    bytes: *mut u8,
    mapping_bytes: usize,
    count: u16,
    buffer_bytes: usize,
    tail: u16,
}

impl Buffers {
    /// Maps `count` buffers, a power of two, and offers all of them.
    pub fn new(count: u16, buffer_bytes: usize) -> io::Result<Buffers> {
        assert!(count.is_power_of_two(), "the kernel masks positions");
        let entries_bytes = usize::from(count) * size_of::<BufRingEntry>();
        let mapping_bytes = entries_bytes + usize::from(count) * buffer_bytes;
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new anonymous mapping touches no memory of ours.
        let mapping = unsafe { libc::mmap(std::ptr::null_mut(), mapping_bytes, protection, flags, -1, 0) };
        if mapping == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let mut buffers = Buffers {
            entries: mapping.cast(),
            // SAFETY: inside the mapping, whose length is the sum of both parts.
            bytes: unsafe { mapping.cast::<u8>().add(entries_bytes) },
            mapping_bytes,
            count,
            buffer_bytes,
            tail: 0,
        };
        for id in 0..count {
            buffers.offer(id);
        }
        Ok(buffers)
    }

    /// Where the entries lie, for registering.
    pub fn address(&self) -> u64 {
        self.entries as u64
    }

    /// How many there are.
    pub fn count(&self) -> u16 {
        self.count
    }

    /// The received bytes of buffer `id`.
    pub fn received(&mut self, id: u16, length: usize) -> &mut [u8] {
        assert!(id < self.count && length <= self.buffer_bytes, "the kernel names our buffers");
        // SAFETY: inside the mapping by the assertion; zeroed by the kernel; ours until `offer`.
        unsafe { std::slice::from_raw_parts_mut(self.bytes.add(usize::from(id) * self.buffer_bytes), length) }
    }

    /// Gives buffer `id` to the kernel.
    pub fn offer(&mut self, id: u16) {
        // SAFETY: both offsets are inside the mapping; the kernel reads an entry only once the tail is past
        // it, and the setters leave the tail, which shares bytes with entry 0, alone.
        unsafe {
            let entry = &mut *self.entries.add(usize::from(self.tail & (self.count - 1)));
            entry.set_addr(self.bytes.add(usize::from(id) * self.buffer_bytes) as u64);
            entry.set_len(self.buffer_bytes as u32);
            entry.set_bid(id);
        }
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: aligned, inside the mapping, and accessed atomically by both sides.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries).cast_mut()) };
        // Pairs with the kernel's load-acquire: an entry is whole before the tail passes it.
        tail.store(self.tail, Ordering::Release);
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and the ring that used it is closed before it (field order in `Ring`).
        unsafe { libc::munmap(self.entries.cast(), self.mapping_bytes) };
    }
}
