//! How much a direction of a connection reads at once.
//!
//! Large reads carry bulk data with fewer system calls; what they cost is memory, wherever a sink does not take what was
//! read. So the reads themselves go to one buffer for each thread, a direction keeps only what is stuck, and what it reads
//! at once grows with the data that it carries, up to a small part of what may still be held: idle connections hold nothing
//! at all, and what thousands of clients make the relay hold that stop reading, one after the other, has a bound too.

use std::cell::RefCell;

/// What a direction reads at first: the answer to most requests.
const FIRST: usize = 16 * 1024;
/// The most that a direction reads at once. More saves nothing that could be measured.
const MOST: usize = 128 * 1024;
/// A direction that reads so much at once carries bulk data: reads of half of that were full.
const BULK: usize = 64 * 1024;
/// The least, however many connections there are.
const LEAST: usize = 4 * 1024;
/// What the connections of a program may hold of bytes that are stuck, and [`LEAST`] for each direction. It is exceeded by no
/// more than one read of each thread.
const HELD: usize = 32 * 1024 * 1024;
/// What one direction may read at once is this part of what may still be held.
const PART: usize = 256;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Lends the buffer of this thread, which is [`MOST`] long. What is in it is of no meaning.
///
/// # Panics
/// When it is lent already.
pub(super) fn with_scratch<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    SCRATCH.with_borrow_mut(|scratch| {
        if scratch.is_empty() {
            scratch.resize(MOST, 0);
        }
        work(scratch)
    })
}

/// The pace of one direction.
#[derive(Debug)]
pub(super) struct Pace {
    size: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self { size: FIRST }
    }
}

impl Pace {
    /// How much to read now, in bytes, while `held` are held by all connections together; never more than the thread's
    /// buffer is long.
    pub(super) fn size(&self, held: usize) -> usize {
        let room = HELD.saturating_sub(held) / PART;
        self.size.min(room.clamp(LEAST, MOST))
    }

    /// Whether reads have been full again and again.
    pub(super) fn is_bulk(&self) -> bool {
        self.size >= BULK
    }

    /// Takes note of a read of `bytes`, of `size` at most. A full one promises more.
    pub(super) fn has_read(&mut self, bytes: usize, size: usize) {
        if bytes >= size {
            self.size = (self.size * 2).min(MOST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bulk_data_is_read_in_ever_larger_pieces_and_chatter_is_not() {
        let mut bulk = Pace::default();
        let mut chatter = Pace::default();
        for _ in 0..20 {
            bulk.has_read(bulk.size(0), bulk.size(0));
            chatter.has_read(100, chatter.size(0));
        }

        assert_eq!((bulk.size(0), chatter.size(0)), (MOST, FIRST));
        assert!(bulk.is_bulk() && !chatter.is_bulk());
    }

    #[test]
    fn directions_that_get_stuck_one_after_the_other_hold_a_bounded_amount() {
        let mut held = 0;
        for directions in 1..=16_384 {
            let mut pace = Pace::default();
            for _ in 0..20 {
                let size = pace.size(held);
                pace.has_read(size, size);
            }
            held += pace.size(held);

            assert!(held <= HELD + directions * LEAST, "{held} by {directions}");
        }
        assert!(held > HELD, "the least is left to everybody");
    }

    #[test]
    fn the_thread_lends_a_buffer_for_the_largest_read() {
        assert_eq!(with_scratch(|scratch| scratch.len()), MOST);
    }
}
