//! What became of each listener, for the journal: one line when it becomes something else. Pure; the lines are written by
//! the loop.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::picture::{Asked, Entry, Picture};
use crate::push::LinkState;
use crate::report::{Outcome, outcome};

/// How many lines one change of the picture may cause.
const LINES: usize = 50;

/// What was told of each listener of this distro, by its id.
#[derive(Debug, Default)]
pub(super) struct Changes {
    told: BTreeMap<u64, Told>,
    /// How many pictures were looked at.
    looks: u64,
}

/// What a line was written for. The reasons of a listener that waits are not in it: they count seconds, or tell of the
/// companion, which has lines of its own.
#[derive(Debug)]
struct Told {
    state: &'static str,
    reason: Box<str>,
    windows: Box<[SocketAddr]>,
    /// The last look at which the listener was there.
    look: u64,
}

/// What is to be written.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    pub(super) lines: Vec<Line>,
    /// For how many more listeners there is no line.
    pub(super) left_out: usize,
}

/// The fields of one line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) address: SocketAddr,
    pub(super) process: String,
    pub(super) state: &'static str,
    pub(super) reason: String,
    pub(super) windows: String,
}

impl Changes {
    /// What is new since the last picture.
    pub(super) fn look(&mut self, picture: &Picture) -> News {
        let mut news = News::default();
        self.looks += 1;
        for entry in picture.entries.iter().filter(|entry| entry.is_ours()) {
            let id = entry.listener.socket.id();
            let former = self.told.get_mut(&id);
            let is_known = former.is_some();
            let waits = match &entry.asked {
                Asked::Forward(wanted) => !picture
                    .companion
                    .forwards
                    .contains_key(&wslnet_protocol::ForwardId(wanted.id)),
                Asked::Waits { .. } => true,
                Asked::Nothing { .. } | Asked::OverLimit => false,
            };
            let outcome = outcome(picture, entry);
            if let Some(former) = former {
                former.look = self.looks;
                if former.says(&outcome, waits) {
                    continue;
                }
            }
            if waits && silent_wait(picture, entry, is_known) {
                continue;
            }
            self.told.insert(id, Told::new(&outcome, waits, self.looks));
            if news.lines.len() < LINES {
                news.lines.push(line(entry, &outcome));
            } else {
                news.left_out += 1;
            }
        }
        self.told.retain(|_, told| told.look == self.looks);
        news
    }
}

impl Told {
    fn new(outcome: &Outcome<'_>, waits: bool, look: u64) -> Self {
        Self {
            state: outcome.state,
            reason: reason(outcome, waits).into(),
            windows: outcome.windows.as_ref().into(),
            look,
        }
    }

    /// Whether the line would be written for the same.
    fn says(&self, outcome: &Outcome<'_>, waits: bool) -> bool {
        self.state == outcome.state
            && *self.reason == *reason(outcome, waits)
            && *self.windows == *outcome.windows
    }
}

/// The reason for which a line is written.
fn reason<'a>(outcome: &'a Outcome<'_>, waits: bool) -> &'a str {
    if waits { "" } else { &outcome.reason }
}

/// Whether a listener that waits needs no line. An answer is about to come from a connected companion; and that the
/// companion went away is told once, not once for each listener.
fn silent_wait(picture: &Picture, entry: &Entry, known: bool) -> bool {
    let for_windows = matches!(entry.asked, Asked::Forward(_));
    for_windows && (known || picture.companion.state == LinkState::Connected)
}

fn line(entry: &Entry, outcome: &Outcome<'_>) -> Line {
    let holders = entry.listener.owner.iter().flat_map(|owner| &owner.holders);
    let windows = outcome.windows.iter().map(ToString::to_string);
    Line {
        address: entry.listener.socket.address,
        process: holders
            .map(|holder| holder.name.clone())
            .next()
            .unwrap_or_default(),
        state: outcome.state,
        reason: outcome.reason.to_string(),
        windows: windows.collect::<Vec<_>>().join(" "),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use wslnet_protocol::{ForwardId, ForwardState, ForwardStatus};

    use super::*;
    use crate::picture::fixture::{World, bound, foreign, ours, tcp};
    use crate::push::CompanionView;

    #[test]
    fn each_listener_is_told_once_until_it_becomes_something_else() {
        let mut world = World::with(vec![
            ours(1, 8000),
            bound(2, Ipv4Addr::LOCALHOST.into(), 8001),
            foreign(3, 8002),
        ]);
        let mut changes = Changes::default();
        answer(&mut world, 1, ForwardState::Active, "");

        let first = changes.look(&world.picture());
        let again = changes.look(&world.picture());
        answer(&mut world, 1, ForwardState::Conflict, "held by iis (pid 4)");
        let conflict = changes.look(&world.picture());
        world.config = "opt-out = [\"port=8000\"]";
        let opted_out = changes.look(&world.picture());

        assert_eq!(
            summary(&first),
            [
                "0.0.0.0:8000 node active 192.168.1.20:8000",
                "127.0.0.1:8001 node withheld "
            ]
        );
        assert!(first.lines[1].reason.contains("bind to 0.0.0.0"), "{first:?}");
        assert_eq!(again, News::default());
        assert_eq!(summary(&conflict), ["0.0.0.0:8000 node conflict "]);
        assert_eq!(conflict.lines[0].reason, "held by iis (pid 4)");
        assert_eq!(summary(&opted_out), ["0.0.0.0:8000 node withheld "]);
    }

    #[test]
    fn a_companion_that_goes_and_comes_back_is_no_news_of_its_listeners() {
        let mut world = World::with(vec![ours(1, 8000)]);
        let mut changes = Changes::default();
        assert_eq!(changes.look(&world.picture()), News::default(), "on its way");
        answer(&mut world, 1, ForwardState::Active, "");
        let connected = world.companion.clone();
        assert_eq!(changes.look(&world.picture()).lines.len(), 1);

        world.companion = CompanionView::default();
        assert_eq!(changes.look(&world.picture()), News::default());
        world.companion = connected;
        assert_eq!(changes.look(&world.picture()), News::default());
    }

    #[test]
    fn a_new_listener_without_a_companion_is_told_once() {
        let mut world = World::with(vec![ours(1, 8000)]);
        let mut changes = Changes::default();
        world.companion = CompanionView::default();

        let first = changes.look(&world.picture());
        world.companion.reason = "another reason".to_owned();
        let again = changes.look(&world.picture());

        assert_eq!(summary(&first), ["0.0.0.0:8000 node pending "]);
        assert_eq!(first.lines[0].reason, "wslnetd has just started");
        assert_eq!(again, News::default());
    }

    #[test]
    fn a_count_of_seconds_is_no_news() {
        let mut world = World::with(vec![ours(1, 8000)]);
        let mut changes = Changes::default();
        world
            .held
            .until
            .insert((tcp(8000), 1000), world.now + Duration::from_secs(9));

        let first = changes.look(&world.picture());
        world.now += Duration::from_secs(3);
        let again = changes.look(&world.picture());

        assert_eq!(summary(&first), ["0.0.0.0:8000 node pending "]);
        assert_eq!(again, News::default());
    }

    #[test]
    fn many_changes_are_counted_and_not_told_again() {
        let listeners = (0..70).map(|n| bound(n, Ipv4Addr::LOCALHOST.into(), 8000));
        let world = World::with(listeners.collect());
        let mut changes = Changes::default();

        let first = changes.look(&world.picture());
        let again = changes.look(&world.picture());

        assert_eq!((first.lines.len(), first.left_out), (LINES, 20));
        assert_eq!(again, News::default());
    }

    #[test]
    fn nothing_is_kept_of_listeners_that_are_gone() {
        let mut world = World::with(vec![bound(1, Ipv4Addr::LOCALHOST.into(), 8000)]);
        let mut changes = Changes::default();
        changes.look(&world.picture());

        world.listeners.clear();
        changes.look(&world.picture());

        assert!(changes.told.is_empty());
    }

    fn answer(world: &mut World, id: u64, state: ForwardState, reason: &str) {
        let active = state == ForwardState::Active;
        let status = ForwardStatus {
            id: ForwardId(id),
            state,
            reason: reason.to_owned(),
            listen: vec![([192, 168, 1, 20], 8000).into(); usize::from(active)],
        };
        world.answers().insert(ForwardId(id), status);
    }

    fn summary(news: &News) -> Vec<String> {
        let lines = news.lines.iter();
        lines
            .map(|line| {
                format!(
                    "{} {} {} {}",
                    line.address, line.process, line.state, line.windows
                )
            })
            .collect()
    }
}
