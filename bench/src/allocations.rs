//! Counts what is taken from the allocator, by standing before it: for programs that make it their own.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

/// The system's allocator, counted.
pub struct Counting;

/// Only counts: nothing else is read because of them.
static MADE: AtomicU64 = AtomicU64::new(0);
static HELD_BYTES: AtomicU64 = AtomicU64::new(0);

/// Allocations since the start; growing one in place counts as another.
pub fn made() -> u64 {
    MADE.load(Ordering::Relaxed)
}

/// Bytes taken and not given back.
pub fn held_bytes() -> u64 {
    HELD_BYTES.load(Ordering::Relaxed)
}

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        MADE.fetch_add(1, Ordering::Relaxed);
        HELD_BYTES.fetch_add(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the caller keeps to `GlobalAlloc::alloc`'s contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        MADE.fetch_add(1, Ordering::Relaxed);
        HELD_BYTES.fetch_add(bytes as u64, Ordering::Relaxed);
        HELD_BYTES.fetch_sub(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the caller keeps to `GlobalAlloc::realloc`'s contract, which is the same.
        unsafe { System.realloc(memory, layout, bytes) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        HELD_BYTES.fetch_sub(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the memory came from `alloc` or `realloc` above, and so from the system's allocator.
        unsafe { System.dealloc(memory, layout) }
    }
}
