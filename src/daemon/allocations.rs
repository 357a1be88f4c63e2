//! Counts what a test's thread allocates, for tests of code that should not, or not much.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
    /// What is gone may have come from another thread.
    static BYTES: Cell<isize> = const { Cell::new(0) };
}

/// How often `work` asks for memory, or for more of it.
pub(crate) fn allocations_of(work: impl FnOnce()) -> usize {
    let before = COUNT.get();
    work();
    COUNT.get() - before
}

/// How many more bytes are in use after `work`, as it asked for them, and what it made.
pub(crate) fn bytes_kept_by<T>(work: impl FnOnce() -> T) -> (isize, T) {
    let before = BYTES.get();
    let made = work();
    (BYTES.get() - before, made)
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: everything is passed on to the system's allocator as it is; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        give_back(layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, layout.size());
        // SAFETY: as above.
        unsafe { System.realloc(place, layout, size) }
    }
}

/// A thread that ends has no counters any more, and nobody who asks.
fn count(taken: usize, given_back: usize) {
    let _gone = COUNT.try_with(|count| count.set(count.get() + 1));
    change(taken.cast_signed() - given_back.cast_signed());
}

fn give_back(bytes: usize) {
    change(-bytes.cast_signed());
}

fn change(by: isize) {
    let _gone = BYTES.try_with(|bytes| bytes.set(bytes.get() + by));
}
