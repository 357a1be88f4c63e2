//! Which engine a listener may belong to, as far as its holders tell. The engine has the last word.

use super::{Engine, EngineKind};
use crate::labels::Process;
use crate::observe::Listener;

/// A program that listens on behalf of containers.
struct Program {
    name: &'static str,
    kinds: &'static [EngineKind],
    /// Whether it does nothing else, so that the engine has to tell of each of its ports.
    only_ports: bool,
}

const DOCKER: &[EngineKind] = &[EngineKind::Docker];
const PODMAN: &[EngineKind] = &[EngineKind::Podman];
const EITHER: &[EngineKind] = &[EngineKind::Docker, EngineKind::Podman];

/// Who holds the sockets of published ports. Docker: its proxy, or with `userland-proxy=false` the daemon; without root,
/// RootlessKit or the program by which that makes its network. Podman: conmon, which inherits them; without root,
/// rootlessport or, again, the program that makes the network. The others hold some for a moment at start-up.
const PROGRAMS: [Program; 13] = [
    on_behalf("docker-proxy", DOCKER),
    on_behalf("conmon", PODMAN),
    on_behalf("rootlessport", PODMAN),
    also_for_itself("dockerd", DOCKER),
    also_for_itself("containerd", DOCKER),
    // The kernel keeps 15 characters of `containerd-shim-runc-v2`.
    also_for_itself("containerd-shim", DOCKER),
    also_for_itself("rootlesskit", DOCKER),
    also_for_itself("podman", PODMAN),
    also_for_itself("netavark", PODMAN),
    also_for_itself("slirp4netns", EITHER),
    also_for_itself("pasta", EITHER),
    // What pasta starts itself anew as, where the processor can do more.
    also_for_itself("pasta.avx2", EITHER),
    also_for_itself("passt.avx2", EITHER),
];

const fn on_behalf(name: &'static str, kinds: &'static [EngineKind]) -> Program {
    Program {
        name,
        kinds,
        only_ports: true,
    }
}

const fn also_for_itself(name: &'static str, kinds: &'static [EngineKind]) -> Program {
    Program {
        name,
        kinds,
        only_ports: false,
    }
}

/// What the holders of a listener tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim<'a> {
    kinds: &'static [EngineKind],
    /// Whose engines come into question: the one who made the socket, since anybody can give a program any name, and for
    /// what runs inside a container also the system, whose containers may run as any user.
    uids: Vec<u32>,
    /// How the engine knows the listener.
    pub(super) by: By<'a>,
}

/// How an engine knows a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By<'a> {
    /// By its port, of which it has to tell.
    Port,
    /// By its port, if it is one of a container.
    PortIfAny,
    /// By the container that the process runs in, with the network of the host.
    Id(&'a str),
}

impl<'a> Claim<'a> {
    /// `None` if no engine has to do with the listener.
    pub(super) fn of(listener: &'a Listener) -> Option<Self> {
        let holders = &listener.owner.as_ref()?.holders;
        let uid = listener.socket.uid;
        // conmon is put into a group that is named after its container; everything else that such a group holds is inside.
        let inside = holders.iter().filter(|holder| holder.name != "conmon");
        if let Some(id) = inside.filter_map(container).next() {
            return Some(Self {
                kinds: EITHER,
                uids: if uid == 0 { vec![0] } else { vec![0, uid] },
                by: By::Id(id),
            });
        }
        let known = |holder: &Process| PROGRAMS.iter().find(|program| program.name == holder.name);
        let programs = holders.iter().filter_map(known);
        // A socket is handed from one that makes it to one that keeps it; for a moment both have it.
        let program = programs.max_by_key(|program| program.only_ports)?;
        Some(Self {
            kinds: program.kinds,
            uids: vec![uid],
            by: if program.only_ports {
                By::Port
            } else {
                By::PortIfAny
            },
        })
    }

    /// The engines that may know more.
    pub(super) fn engines(&self) -> impl Iterator<Item = Engine> {
        let kinds = self.kinds.iter();
        kinds.flat_map(|kind| {
            self.uids.iter().map(|uid| Engine {
                kind: *kind,
                uid: *uid,
            })
        })
    }
}

/// The container that the process runs in.
fn container(process: &Process) -> Option<&str> {
    process.container.as_deref()
}
