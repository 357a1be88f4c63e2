//! What the relay holds of data that sinks do not take: all connections of a program together, both ways.

use std::sync::atomic::{AtomicUsize, Ordering};

/// How much that is, in bytes.
#[derive(Debug, Default)]
pub(crate) struct Held(AtomicUsize);

/// Data that is held.
#[derive(Debug)]
pub(super) struct Stuck<'a> {
    bytes: Vec<u8>,
    held: &'a Held,
}

impl Held {
    /// How much there is now.
    pub(super) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Keeps a copy.
    pub(super) fn keep(&self, bytes: &[u8]) -> Stuck<'_> {
        self.0.fetch_add(bytes.len(), Ordering::Relaxed);
        Stuck {
            bytes: bytes.to_vec(),
            held: self,
        }
    }
}

impl Stuck<'_> {
    /// The data.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Stuck<'_> {
    fn drop(&mut self) {
        self.held.0.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_counted_for_as_long_as_it_is() {
        let held = Held::default();

        let one = held.keep(b"one");
        let other = held.keep(b"other");
        assert_eq!((held.bytes(), one.bytes()), (8, b"one".as_slice()));

        drop(one);
        assert_eq!(held.bytes(), 5);
        drop(other);
        assert_eq!(held.bytes(), 0);
    }
}
