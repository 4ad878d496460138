//! An allocator that counts. A test that wants it names it as its own:
//! `#[global_allocator] static COUNTING: Counting = Counting;`
//!
//! It counts for all threads, so such a test leaves nothing else running.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};

/// The system's allocator, with counters.
pub struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
static LIVE: AtomicIsize = AtomicIsize::new(0);

/// Allocations so far, those that only grew something included.
pub fn allocations() -> usize {
    ALLOCATIONS.load(Ordering::SeqCst)
}

/// Bytes that are allocated now.
pub fn live_bytes() -> isize {
    LIVE.load(Ordering::SeqCst)
}

fn count(bytes: isize) {
    ALLOCATIONS.fetch_add(1, Ordering::SeqCst);
    LIVE.fetch_add(bytes, Ordering::SeqCst);
}

// SAFETY: everything is passed on as it comes.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as promised by the caller.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: as promised by the caller.
        unsafe { System.realloc(place, layout, size) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as isize, Ordering::SeqCst);
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(place, layout) }
    }
}
