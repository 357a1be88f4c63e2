//! Which forwards were asked for, so that connections can be cut when their listener becomes private. Pure.
//!
//! Windows keeps a relay open when a forward's id changes at the same port (of several sockets that share a port the
//! first one exits), and its connections go on. So the ids of listeners that are gone count too, for as long as the
//! port is listened on. And a daemon that has just started does not know what its predecessor asked for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use wslnet_protocol::{ForwardId, ForwardState, limits};

use super::{Asked, Picture};
use crate::listeners::TransportPort;

/// How many ids of one port are kept. Windows knows a relay by the latest that it was told; more than one only because
/// sets can be overtaken by others before they are sent.
const IDS_OF_PORT: usize = 8;

/// The forwards that were asked for, by the port inside the VM.
#[derive(Clone, Debug, Default)]
pub struct Pushed {
    ports: BTreeMap<TransportPort, VecDeque<ForwardId>>,
    /// The ports that Windows has opened. Where it grants fewer than are asked for they come first, so that nobody can
    /// push others off the network by opening many ports.
    established: BTreeSet<TransportPort>,
    /// Whether Windows has applied a set of this daemon, and so nothing of a predecessor is left.
    settled: bool,
}

impl Pushed {
    /// Windows has applied a set of this daemon.
    pub fn settle(&mut self) {
        self.settled = true;
    }

    /// Takes note of what Windows made of the forwards.
    pub fn note_answers(&mut self, picture: &Picture) {
        for entry in &picture.entries {
            let Asked::Forward(wanted) = &entry.asked else {
                continue;
            };
            let port = entry.listener.socket.port();
            match picture
                .companion
                .forwards
                .get(&ForwardId(wanted.id))
                .map(|status| status.state)
            {
                Some(ForwardState::Active) => {
                    self.established.insert(port);
                }
                Some(ForwardState::OverLimit) => {
                    self.established.remove(&port);
                }
                Some(
                    ForwardState::Pending
                    | ForwardState::Denied
                    | ForwardState::Conflict
                    | ForwardState::Contended,
                )
                | None => {}
            }
        }
    }

    /// Whether Windows has opened this port of the VM before.
    pub(super) fn is_established(&self, port: TransportPort) -> bool {
        self.established.contains(&port)
    }

    /// Takes note of what goes out: the set of this picture.
    pub fn remember(&mut self, picture: &Picture) {
        for entry in &picture.entries {
            let Asked::Forward(wanted) = &entry.asked else {
                continue;
            };
            let id = ForwardId(wanted.id);
            let ids = self.ports.entry(entry.listener.socket.port()).or_default();
            if ids.back() != Some(&id) {
                ids.retain(|known| *known != id);
                ids.push_back(id);
                if ids.len() > IDS_OF_PORT {
                    ids.pop_front();
                }
            }
        }
    }

    /// Forgets the ports on which nothing of this distro listens any more: whatever connections are left there may end
    /// by themselves.
    pub fn forget_closed_ports(&mut self, picture: &Picture) {
        if picture.source.is_none() {
            return;
        }
        let open = picture.entries.iter().filter(|entry| entry.is_ours());
        let open = open
            .map(|entry| entry.listener.socket.port())
            .collect::<BTreeSet<_>>();
        self.ports.retain(|port, _| open.contains(port));
        self.established.retain(|port| open.contains(port));
    }

    /// What must be revoked beside these forwards.
    pub(super) fn revoked(
        &self,
        picture: &Picture,
        wanted: &BTreeMap<TransportPort, ForwardId>,
    ) -> Vec<ForwardId> {
        let mut known = BTreeSet::new();
        let mut unknown = BTreeSet::new();
        let private = picture
            .entries
            .iter()
            .filter(|entry| entry.is_ours() && matches!(entry.asked, Asked::Nothing { .. }));
        for entry in private {
            let socket = &entry.listener.socket;
            let (id, port) = (ForwardId(socket.id()), socket.port());
            let asked_for = self.ports.get(&port);
            match asked_for {
                // Another listener's forward goes on at this port; only this one's connections end.
                Some(ids) if wanted.contains_key(&port) => {
                    known.extend(ids.iter().filter(|before| **before == id));
                }
                Some(ids) => known.extend(ids),
                None => {}
            }
            if !self.settled {
                unknown.insert(id);
            }
        }
        let mut seen = wanted.values().copied().collect::<BTreeSet<_>>();
        let revoked = known.into_iter().chain(unknown);
        revoked
            .filter(|id| seen.insert(*id))
            .take(limits::FORWARDS_IN_SET)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use wslnet_protocol::ForwardSet;

    use super::super::fixture::{World, bound, foreign, ours};
    use super::*;

    #[test]
    fn what_was_shared_and_is_private_now_is_revoked() {
        let mut world = World::with(vec![ours(1, 8000), ours(2, 8001)]);
        let mut pushed = settled();
        push(&world, &mut pushed);
        world.config = "opt-out = [\"port=8000\"]";

        let set = push(&world, &mut pushed);

        assert_eq!((ids(&set), set.revoked), (vec![2], vec![ForwardId(1)]));
    }

    #[test]
    fn what_was_always_private_is_not_revoked() {
        let mut world = World::with(vec![ours(1, 8000)]);
        world.config = "opt-out = [\"port=8000\"]";

        assert_eq!(push(&world, &mut settled()).revoked, []);
    }

    #[test]
    fn a_listener_that_is_gone_is_not_revoked_and_not_remembered() {
        let mut world = World::with(vec![ours(1, 8000)]);
        let mut pushed = settled();
        push(&world, &mut pushed);
        world.listeners.clear();
        assert_eq!(push(&world, &mut pushed), ForwardSet::default());

        world.listeners = vec![ours(2, 8000)];
        world.config = "opt-out = [\"port=8000\"]";

        assert_eq!(push(&world, &mut pushed).revoked, []);
    }

    #[test]
    fn an_opt_out_revokes_the_former_ids_of_the_port_too() {
        let mut world = World::with(vec![ours(1, 8000), ours(2, 8000)]);
        let mut pushed = settled();
        push(&world, &mut pushed);
        world.listeners.remove(0);
        assert_eq!(ids(&push(&world, &mut pushed)), [2]);

        world.config = "opt-out = [\"port=8000\"]";

        // Again and again: the first such set may not have arrived.
        for _ in 0..3 {
            let set = push(&world, &mut pushed);
            assert_eq!(
                (ids(&set), set.revoked),
                (vec![], vec![ForwardId(1), ForwardId(2)])
            );
        }
    }

    #[test]
    fn former_ids_are_left_alone_while_the_port_is_shared() {
        let mut world = World::with(vec![
            ours(1, 8000),
            ours(2, 8000),
            bound(3, [127, 0, 0, 1].into(), 8000),
        ]);
        let mut pushed = settled();
        push(&world, &mut pushed);
        world.listeners.remove(0);

        let set = push(&world, &mut pushed);

        assert_eq!((ids(&set), set.revoked), (vec![2], vec![]));
    }

    #[test]
    fn until_windows_applied_a_set_everything_private_is_revoked() {
        let mut world = World::with(vec![ours(1, 8000), ours(2, 8001), foreign(3, 8002)]);
        world.config = "opt-out = [\"port=8000\"]";
        let mut pushed = Pushed::default();

        let first = push(&world, &mut pushed);
        let second = push(&world, &mut pushed);
        pushed.settle();
        let third = push(&world, &mut pushed);

        assert_eq!((ids(&first), &first.revoked), (vec![2], &vec![ForwardId(1)]));
        assert_eq!(second, first, "the first may never have been sent");
        assert_eq!(third.revoked, []);
    }

    #[test]
    fn memory_and_sets_are_bounded() {
        let mut world = World::with(vec![]);
        let mut pushed = settled();
        for id in 0..100 {
            world.listeners = vec![ours(id, 8000)];
            push(&world, &mut pushed);
        }
        let remembered = pushed.ports.values().map(VecDeque::len).sum::<usize>();
        assert_eq!(remembered, IDS_OF_PORT);

        world.config = "opt-out = [\"bind=wildcard\"]";
        world.listeners = (0..6000_u16).map(|n| ours(u64::from(n), 10_000 + n)).collect();
        let set = push(&world, &mut Pushed::default());
        assert_eq!(set.revoked.len(), limits::FORWARDS_IN_SET);
    }

    /// What goes out, as the daemon does it.
    fn push(world: &World, pushed: &mut Pushed) -> ForwardSet {
        let picture = world.picture();
        pushed.forget_closed_ports(&picture);
        let set = picture.set(pushed).unwrap_or_else(|| panic!("a scan was made"));
        assert_eq!(set.validate(), Ok(()));
        pushed.remember(&picture);
        set
    }

    fn settled() -> Pushed {
        Pushed {
            settled: true,
            ..Pushed::default()
        }
    }

    fn ids(set: &ForwardSet) -> Vec<u64> {
        set.forwards.iter().map(|forward| forward.id.0).collect()
    }
}
