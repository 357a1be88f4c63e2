//! Why an entry is not in place, in words that name the way out.

use std::io;
use std::net::SocketAddr;

use wslnet_console::output::chain;

use super::journal::JournalError;
use super::system::Service;
use crate::host::portproxy::Found;
use crate::host::{PortHolder, describe};
use crate::plan::{Failure, Stuck};

/// What helps whatever stands in the way.
const OTHER_BACKEND: &str = "set `backend = \"relay\"` in companion.toml";

pub(super) fn pending(reason: String) -> Failure {
    Failure {
        reason,
        conflict: None,
        stuck: None,
    }
}

fn stuck(reason: String, stuck: Stuck) -> Failure {
    Failure {
        reason,
        conflict: None,
        stuck: Some(stuck),
    }
}

pub(super) fn not_yet() -> Failure {
    pending("it is being opened".to_owned())
}

/// The registry, the list of listeners or the service does not answer.
pub(super) fn unreadable(error: &io::Error) -> String {
    format!(
        "portproxy cannot be looked at ({}): it is tried again; if that does not help, {OTHER_BACKEND}",
        chain(error)
    )
}

/// The registry or the service does not take orders.
pub(super) fn unwritable(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::PermissionDenied {
        format!(
            "this program may not change Windows' portproxy: run it as a Windows service (`wslnet-companion install --service`) or as an administrator, or \
             {OTHER_BACKEND}"
        )
    } else {
        format!(
            "portproxy cannot be changed ({}): it is tried again",
            chain(error)
        )
    }
}

pub(super) fn rights(error: &io::Error) -> Failure {
    let reason = unwritable(error);
    if error.kind() == io::ErrorKind::PermissionDenied {
        stuck(reason, Stuck::Denied)
    } else {
        pending(reason)
    }
}

/// What is missing when the service does not run.
pub(super) fn no_service(service: Service) -> String {
    let what = match service {
        Service::Running(_) => "runs".to_owned(),
        Service::Stopped => "is stopped: as an administrator run `sc start iphlpsvc`".to_owned(),
        Service::Disabled => {
            "is disabled: as an administrator run `sc config iphlpsvc start= auto`, then `sc start iphlpsvc`"
                .to_owned()
        }
        Service::Missing => format!("is not on this machine: {OTHER_BACKEND}"),
    };
    format!("Windows' service IP Helper (iphlpsvc), whose work portproxy is, {what}")
}

/// Why nothing is served, if the service is the reason, or that its state is not known.
pub(super) fn without_service(service: &Result<Service, String>) -> Option<Failure> {
    match service {
        Ok(Service::Running(_)) => None,
        Ok(service @ (Service::Stopped | Service::Disabled | Service::Missing)) => {
            Some(pending(no_service(*service)))
        }
        Err(reason) => Some(pending(reason.clone())),
    }
}

pub(super) fn not_told(error: &io::Error) -> String {
    format!(
        "IP Helper could not be told of the changed entries ({}): it is told again",
        chain(error)
    )
}

/// The entries are gone, and IP Helper has not heard of it.
pub(super) fn untold() -> String {
    "the entries are removed, but IP Helper could not be told and may serve them on: the next start or `wslnet-companion purge` tells it, and \
     `sc stop iphlpsvc` as an administrator stops it"
        .to_owned()
}

pub(super) fn journal(error: &JournalError) -> Failure {
    pending(chain(error))
}

pub(super) fn too_many(most: usize) -> Failure {
    pending(format!(
        "{most} portproxy entries are in place, and that is as many as there may be: lower `max-forwards` in \
         companion.toml, or name interfaces in `exclude-interfaces`"
    ))
}

pub(super) fn foreign(listen: SocketAddr, found: &Found) -> Failure {
    let entry = found.describe();
    Failure {
        reason: format!(
            "{listen} belongs to a portproxy entry that is not ours ({entry}): remove that entry, or let the service in the \
             distro listen on another port"
        ),
        conflict: Some(format!("taken by a portproxy entry that is not ours ({entry})")),
        stuck: None,
    }
}

pub(super) fn held(listen: SocketAddr, owner: Option<&PortHolder>) -> Failure {
    let holder = owner.map_or_else(|| "another program".to_owned(), |owner| describe(owner, &[]));
    Failure {
        reason: format!(
            "{listen} is held by {holder}: stop it, or let the service in the distro listen on another port"
        ),
        conflict: Some(format!("taken by {holder}")),
        stuck: None,
    }
}

pub(super) fn contended(listen: SocketAddr, times: u32) -> Failure {
    let reason = format!(
        "somebody removed the portproxy entry for {listen} {times} times, so it is not put back: find out what resets \
         portproxy and stop that, then restart the service in the distro, or {OTHER_BACKEND}"
    );
    stuck(reason, Stuck::Contended)
}

/// IP Helper was told a moment ago.
pub(super) fn not_heard(listen: SocketAddr) -> Failure {
    pending(format!(
        "IP Helper was told of the portproxy entry for {listen} and does not listen there yet"
    ))
}

/// IP Helper was told long ago.
pub(super) fn deaf(listen: SocketAddr, is_ipv6_off: bool) -> Failure {
    let ipv6 = if is_ipv6_off {
        ". IPv6 is turned off as a whole (DisabledComponents), which is said to stop portproxy"
    } else {
        ""
    };
    pending(format!(
        "the portproxy entry for {listen} is in place, but IP Helper does not listen there: Windows may have reserved the \
         port (`netsh interface ipv4 show excludedportrange tcp`), or IP Helper has to be restarted{ipv6}"
    ))
}
