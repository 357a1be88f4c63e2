//! Why a port could not be opened, in words that name the way out. What the system tells is gathered by [`Obstacles`];
//! what it means is decided without asking anybody.

use std::net::SocketAddr;

use wslnet_console::output::chain;
use wslnet_protocol::Protocol;

use super::excluded::{ExcludedRanges, Exclusion};
use super::portproxy::Found;
use super::{Awake, BindError, PortHolder, owner_of, platform};

/// The program in which most services of Windows run, so that its name alone says nothing.
const SERVICE_HOST: &str = "svchost.exe";
/// The most services of one process that are named.
const SERVICES: usize = 3;
/// The kernel of Windows, which listens for others.
const SYSTEM: &str = "System";

/// Finds out why a port could not be opened, and keeps what took long.
#[derive(Clone, Debug, Default)]
pub struct Obstacles {
    excluded: ExcludedRanges,
}

/// Why an address could not be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// In one sentence, with the address, for people.
    pub reason: String,
    /// If somebody else holds the port, or the system itself: who, in the words that follow "the port was".
    pub conflict: Option<String>,
    /// Whether this is all that can be found out; else more will be known a moment later.
    pub is_final: bool,
}

/// What the system told.
#[derive(Debug)]
struct Facts {
    /// Who holds the address or a wildcard over it.
    owner: Option<PortHolder>,
    /// The services that run in the owner's process, if that is a host of services.
    services: Vec<String>,
    /// An entry of portproxy that has the address.
    portproxy: Option<Found>,
    /// Whether the system keeps the port from everybody.
    exclusion: Exclusion,
}

impl Obstacles {
    /// Looks for the reason. On Linux this walks /proc; on Windows it may ask the service manager, the registry, and with the next calls
    /// `netsh`, for which it does not wait.
    pub fn look(&self, protocol: Protocol, address: SocketAddr, error: &BindError, now: Awake) -> Obstacle {
        let exclusion = match error {
            BindError::Refused => self.excluded.of(protocol, address, now),
            BindError::InUse | BindError::AddressGone | BindError::NotConcrete(_) | BindError::Other(_) => {
                Exclusion::None
            }
        };
        if !error.is_conflict() {
            return Obstacle::unexplored(address, error);
        }
        let owner = owner_of(protocol, address, Some(std::process::id()));
        let host = owner.as_ref().filter(|owner| is_service_host(owner));
        let services = host.and_then(|owner| owner.pid).map(platform::services_of);
        let may_be_portproxy = protocol == Protocol::Tcp && (owner.is_none() || host.is_some());
        let portproxy = may_be_portproxy.then(|| {
            // What cannot be read is no reason.
            let entries = platform::portproxy_entries().unwrap_or_default();
            entries.into_iter().find(|entry| entry.takes(address))
        });
        let facts = Facts {
            services: services.unwrap_or_default(),
            portproxy: portproxy.flatten(),
            owner,
            exclusion,
        };
        explain(address, error, &facts)
    }
}

impl Obstacle {
    /// What the error alone says.
    pub fn unexplored(address: SocketAddr, error: &BindError) -> Self {
        let conflict = match error {
            BindError::InUse => Some("taken by another program"),
            BindError::Refused => Some("refused by the system"),
            BindError::AddressGone | BindError::NotConcrete(_) | BindError::Other(_) => None,
        };
        Self {
            reason: format!("{address}: {}", chain(error)),
            conflict: conflict.map(str::to_owned),
            is_final: !error.is_conflict(),
        }
    }
}

fn is_service_host(owner: &PortHolder) -> bool {
    owner
        .image
        .as_deref()
        .is_some_and(|image| image.eq_ignore_ascii_case(SERVICE_HOST))
}

/// What the facts mean, the most certain first.
fn explain(address: SocketAddr, error: &BindError, facts: &Facts) -> Obstacle {
    let is_final = facts.exclusion != Exclusion::Asking;
    let obstacle = |reason: String, conflict: String| Obstacle {
        reason,
        conflict: Some(conflict),
        is_final,
    };
    if let Exclusion::In(range) = facts.exclusion {
        let reason = format!(
            "{address} lies in the ports {range}, which Windows keeps for itself (Hyper-V and WinNAT reserve such ranges anew at each \
             boot): give the forward another port with `listen-port`, or restart Windows' NAT as administrator (`net stop winnat`, then \
             `net start winnat`), which cuts off virtual machines for a moment"
        );
        return obstacle(
            reason,
            format!("in a range that Windows keeps for itself ({range})"),
        );
    }
    if let Some(entry) = &facts.portproxy {
        let entry = entry.describe();
        let reason = format!(
            "{address} is held by an entry of portproxy ({entry}), which `netsh interface portproxy show all` lists: delete it as \
             administrator, or let the service in the distro listen on another port"
        );
        return obstacle(reason, format!("taken by an entry of portproxy ({entry})"));
    }
    if let Some(owner) = &facts.owner {
        let holder = describe(owner, &facts.services);
        let advice = match error {
            // A program of another user, with whom an address cannot even be shared.
            BindError::Refused => {
                "stop the program that has it, or let the service in the distro listen on another port"
                    .to_owned()
            }
            BindError::InUse | BindError::AddressGone | BindError::NotConcrete(_) | BindError::Other(_) => {
                chain(error)
            }
        };
        return obstacle(
            format!("{address} is held by {holder}; {advice}"),
            format!("taken by {holder}"),
        );
    }
    Obstacle {
        is_final,
        ..Obstacle::unexplored(address, error)
    }
}

/// A holder, for people, and the services that are known to be in it.
pub(crate) fn describe(owner: &PortHolder, services: &[String]) -> String {
    let more = match (services, owner.image.as_deref()) {
        ([], Some(SYSTEM)) => {
            ", Windows' own web or file server: see `netsh http show servicestate`".to_owned()
        }
        ([], _) => String::new(),
        ([one], _) => format!(", the service {one}"),
        (several, _) => {
            let shown = several.iter().take(SERVICES).map(String::as_str);
            let and_more = if several.len() > SERVICES {
                " and others"
            } else {
                ""
            };
            format!(
                ", the services {}{and_more}",
                shown.collect::<Vec<_>>().join(", ")
            )
        }
    };
    match (&owner.image, owner.pid) {
        (Some(image), Some(pid)) => format!("{image} (pid {pid}{more})"),
        (None, Some(pid)) => format!("a program with pid {pid}"),
        (_, None) => "another program".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use std::io;

    use super::super::excluded::parse;
    use super::*;
    use crate::host::portproxy::Table;

    const NOTHING: Facts = Facts {
        owner: None,
        services: Vec::new(),
        portproxy: None,
        exclusion: Exclusion::None,
    };

    fn address() -> SocketAddr {
        "192.0.2.1:8080".parse().unwrap()
    }

    fn owner(image: &str) -> PortHolder {
        PortHolder {
            address: "0.0.0.0:8080".parse().unwrap(),
            pid: Some(44),
            image: Some(image.to_owned()),
        }
    }

    #[test]
    fn whoever_has_the_port_is_named_with_what_to_do() {
        for error in [BindError::InUse, BindError::Refused] {
            let facts = Facts {
                owner: Some(owner("nginx.exe")),
                ..NOTHING
            };

            let obstacle = explain(address(), &error, &facts);

            assert!(
                obstacle
                    .reason
                    .starts_with("192.0.2.1:8080 is held by nginx.exe (pid 44); "),
                "{obstacle:?}"
            );
            assert!(
                obstacle.reason.contains("stop the program that has it"),
                "{obstacle:?}"
            );
            assert_eq!(obstacle.conflict.as_deref(), Some("taken by nginx.exe (pid 44)"));
            assert!(obstacle.is_final);
        }
    }

    #[test]
    fn a_host_of_services_says_which_and_the_kernel_where_to_look() {
        let described = |image: &str, services: &[&str]| {
            let services: Vec<String> = services.iter().map(|name| (*name).to_owned()).collect();
            describe(&owner(image), &services)
        };

        assert_eq!(described("svchost.exe", &[]), "svchost.exe (pid 44)");
        assert_eq!(
            described("svchost.exe", &["iphlpsvc"]),
            "svchost.exe (pid 44, the service iphlpsvc)"
        );
        assert_eq!(
            described("svchost.exe", &["a", "b", "c", "d"]),
            "svchost.exe (pid 44, the services a, b, c and others)"
        );
        assert!(described("System", &[]).contains("netsh http show servicestate"));
        assert!(is_service_host(&owner("SvcHost.exe")) && !is_service_host(&owner("x.exe")));
    }

    #[test]
    fn an_excluded_range_is_the_reason_before_all_others() {
        let range = parse(b"8000 8099")[0];
        let facts = Facts {
            exclusion: Exclusion::In(range),
            owner: Some(owner("nginx.exe")),
            ..NOTHING
        };

        let obstacle = explain(address(), &BindError::Refused, &facts);

        assert!(
            obstacle.reason.contains("lies in the ports 8000-8099"),
            "{obstacle:?}"
        );
        assert!(obstacle.reason.contains("`listen-port`"), "{obstacle:?}");
        assert!(obstacle.conflict.unwrap().contains("8000-8099"));
    }

    #[test]
    fn an_entry_of_portproxy_is_the_reason_before_its_service() {
        let facts = Facts {
            owner: Some(owner("svchost.exe")),
            services: vec!["iphlpsvc".to_owned()],
            portproxy: Some(Found {
                table: Table::V4ToV4,
                name: "*/8080".to_owned(),
                content: Some("172.20.5.2/80".to_owned()),
            }),
            ..NOTHING
        };

        let obstacle = explain(address(), &BindError::InUse, &facts);

        assert!(
            obstacle
                .reason
                .contains("an entry of portproxy (v4tov4 */8080 -> 172.20.5.2/80)"),
            "{obstacle:?}"
        );
    }

    #[test]
    fn while_the_ranges_are_not_known_the_answer_is_not_final() {
        for owner in [None, Some(owner("nginx.exe"))] {
            let asking = Facts {
                exclusion: Exclusion::Asking,
                owner,
                ..NOTHING
            };
            assert!(!explain(address(), &BindError::Refused, &asking).is_final);
        }
        let known = explain(address(), &BindError::Refused, &NOTHING);
        assert_eq!(known.conflict.as_deref(), Some("refused by the system"));
        assert!(known.is_final);
    }

    #[test]
    fn what_is_nobodys_fault_is_no_conflict() {
        for error in [
            BindError::AddressGone,
            BindError::Other(io::Error::other("too many")),
        ] {
            let obstacle = Obstacles::default().look(Protocol::Tcp, address(), &error, crate::host::awake());

            assert_eq!((obstacle.conflict, obstacle.is_final), (None, true));
            assert!(
                obstacle.reason.starts_with("192.0.2.1:8080: "),
                "{}",
                obstacle.reason
            );
        }
    }
}
