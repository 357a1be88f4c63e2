//! The first set of a daemon replaces what its predecessor had opened, so it should not miss what is only not known yet: an
//! environment that is being read, a container that its engine is asked about, a bridge that is being opened. Pure.

use std::time::{Duration, Instant};

use crate::picture::{Asked, Picture};

/// How long the first set waits for what is missing at most. The connection's grace and the lease last longer
/// ([`wslnet_protocol::limits`]).
const LIMIT: Duration = Duration::from_secs(2);

/// Whether the first set may go out.
#[derive(Debug, Default)]
pub(super) struct Beginning {
    /// When the first one could have gone.
    since: Option<Instant>,
    over: bool,
}

impl Beginning {
    /// Whether nothing is missing any more, or it was waited for long enough. Once it is over it stays so.
    pub(super) fn is_over(&mut self, picture: &Picture, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        let waits = |asked: &Asked| matches!(asked, Asked::Waits { .. });
        let is_missing = picture.entries.iter().any(|entry| waits(&entry.asked));
        self.over |= !is_missing || now.saturating_duration_since(since) >= LIMIT;
        self.over
    }

    /// When it is over at the latest.
    pub(super) fn end(&self) -> Option<Instant> {
        self.since.map(|since| since + LIMIT)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::labels::Declared;
    use crate::picture::fixture::{World, ours};

    #[test]
    fn the_first_set_waits_for_what_is_not_known_yet_but_not_for_long() {
        let mut world = World::with(vec![ours(1, 8000)]);
        let known = world.picture();
        let owner = world.listeners[0].owner.iter_mut();
        owner.for_each(|owner| Arc::make_mut(owner).declared = Declared::Pending);
        let pending = world.picture();
        let now = world.now;

        assert!(Beginning::default().is_over(&known, now));
        let mut beginning = Beginning::default();
        assert!(!beginning.is_over(&pending, now));
        assert_eq!(beginning.end(), Some(now + LIMIT));
        assert!(!beginning.is_over(&pending, now + LIMIT / 2));
        assert!(beginning.is_over(&pending, now + LIMIT));
        assert!(beginning.is_over(&pending, now + LIMIT), "and stays so");
    }

    #[test]
    fn once_it_is_over_later_waits_delay_nothing() {
        let mut world = World::with(vec![ours(1, 8000)]);
        let mut beginning = Beginning::default();
        assert!(beginning.is_over(&world.picture(), world.now));

        let owner = world.listeners[0].owner.iter_mut();
        owner.for_each(|owner| Arc::make_mut(owner).declared = Declared::Pending);

        assert!(beginning.is_over(&world.picture(), world.now));
    }
}
