//! How much a direction of a connection reads at once.
//!
//! Large reads carry bulk data with fewer system calls; what they cost is memory, wherever a sink does not take what was
//! read. So the reads themselves go to one buffer for each thread, a direction keeps only what is stuck, and what it reads
//! at once grows with the data that it carries, up to a fair share of a fixed amount: idle connections hold nothing at all,
//! and ten thousand clients that stop reading hold no more than a fixed amount either.

use std::cell::RefCell;

/// What a direction reads at first: the answer to most requests.
const FIRST: usize = 16 * 1024;
/// The most that a direction reads at once. More saves nothing that could be measured.
const MOST: usize = 128 * 1024;
/// A direction that reads so much at once carries bulk data: reads of half of that were full.
const BULK: usize = 64 * 1024;
/// The least, however many connections there are.
const LEAST: usize = 4 * 1024;
/// What the connections of a program may hold of bytes that are stuck, each way, as long as [`LEAST`] is not more.
const HELD: usize = 64 * 1024 * 1024;

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
    share: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            size: FIRST,
            share: MOST,
        }
    }
}

impl Pace {
    /// Takes note of how many connections share what may be held.
    pub(super) fn share(&mut self, connections: usize) {
        self.share = (HELD / connections.max(1)).clamp(LEAST, MOST);
    }

    /// How much to read now, in bytes; never more than the thread's buffer is long.
    pub(super) fn size(&self) -> usize {
        self.size.min(self.share)
    }

    /// Whether reads have been full again and again.
    pub(super) fn is_bulk(&self) -> bool {
        self.size >= BULK
    }

    /// Takes note of a read of so many bytes. A full one promises more.
    pub(super) fn has_read(&mut self, bytes: usize) {
        if bytes >= self.size() {
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
            bulk.has_read(bulk.size());
            chatter.has_read(100);
        }

        assert_eq!((bulk.size(), chatter.size()), (MOST, FIRST));
        assert!(bulk.is_bulk() && !chatter.is_bulk());
    }

    #[test]
    fn many_connections_hold_no_more_together_than_a_few() {
        for connections in [0, 1, 255, 256, 257, 8192, 16_384] {
            let mut pace = Pace::default();
            for _ in 0..20 {
                pace.share(connections);
                pace.has_read(pace.size());
            }

            assert!(
                connections * pace.size() <= HELD && pace.size() >= LEAST,
                "{connections}"
            );
        }
    }

    #[test]
    fn the_thread_lends_a_buffer_for_the_largest_read() {
        assert_eq!(with_scratch(|scratch| scratch.len()), MOST);
    }
}
