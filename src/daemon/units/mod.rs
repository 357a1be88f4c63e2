//! What the unit of a service says of it, by `Environment=WSLNETD=…`.
//!
//! A program is started with the variables of its unit, and `labels` reads them from its memory. But many servers (nginx,
//! PostgreSQL, redis, sshd) write their title over their environment, and what the owner said would be lost. So systemd is
//! asked too, which knows it from the unit itself. [`Units`] is the latest that it said; asking it is pure.
//!
//! ```text
//! listeners ─ demand ─▶ watch ─▶ bus ──GetUnit, Get──▶ systemd (PID 1), by the system bus
//!             of     ◀─ told  ◀─     ◀──Environment──
//! ```
//!
//! Only services of the system's own manager are asked for: what runs below a user's manager is that user's own choice,
//! and his manager is on a bus of his own. systemd tells what `Environment=` says, as it was last loaded. It does not tell
//! what is in the files of `EnvironmentFile=`, nor what `PassEnvironment=` and `DefaultEnvironment=` add: these are heard
//! from programs that leave their environment alone, and from no others. Nor does it apply `UnsetEnvironment=`.

mod bus;
#[cfg(test)]
mod fake;
#[cfg(test)]
pub(crate) mod fixture;
mod told;
mod watch;

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::time::Instant;

pub use self::bus::Places;
pub use self::told::{Said, Units};
pub use self::watch::Watch;
use crate::labels::Process;
use crate::observe::Listener;

/// The longest name of a unit, in bytes (UNIT_NAME_MAX, src/basic/unit-name.h of systemd, less its NUL).
const NAME_BYTES: usize = 255;

/// The services that have something to say of the listeners.
pub(crate) type Demand = BTreeMap<String, Interest>;

/// What has to be newer than an answer for the service to be asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interest {
    /// When the newest of its listeners was first seen.
    pub(crate) since: Instant,
    /// When the youngest process that holds one of them started, in clock ticks since the VM booted.
    pub(crate) started: u64,
}

/// The services that have something to say of these listeners.
pub(crate) fn demand(listeners: &[impl Borrow<Listener>]) -> Demand {
    let mut demand = Demand::new();
    for listener in listeners.iter().map(Borrow::borrow) {
        for (service, started) in services(listener) {
            let interest = match demand.get(service) {
                Some(Interest {
                    since,
                    started: other,
                }) => Interest {
                    since: listener.since.max(*since),
                    started: started.max(*other),
                },
                None => Interest {
                    since: listener.since,
                    started,
                },
            };
            demand.insert(service.to_owned(), interest);
        }
    }
    demand
}

/// The services that hold a listener, with the start time of each holder.
fn services(listener: &Listener) -> impl Iterator<Item = (&str, u64)> {
    let holders = listener.owner.iter().flat_map(|owner| &owner.holders);
    holders.filter_map(|holder| Some((service(holder)?, holder.start_time)))
}

/// The service of the system's manager that a process belongs to.
///
/// The system's manager nests no unit in another, so it is the outermost one. What is further inside was named by the
/// service itself, by its container, or by the user whose manager it is.
fn service(process: &Process) -> Option<&str> {
    let outermost = process.units.last()?;
    let is_service = outermost.ends_with(".service") && !outermost.starts_with("user@");
    (is_service && is_name(outermost)).then_some(outermost)
}

/// Whether systemd could have a unit of that name (VALID_CHARS_WITH_AT, src/basic/unit-name.c). Anybody who may make
/// control groups can give them other names.
fn is_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    name.len() <= NAME_BYTES && name.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests;
