//! Who owns a listener, and the facts that the policy may ask for.
//!
//! [`Attributor`] finds the owner of a socket in /proc; [`labels_of`] turns a socket and its owner into [`Labels`]. What
//! follows from the labels is the policy's business. [`distro_name`] tells what the distro itself is called.

mod attributor;
mod declarations;
mod distro;
mod environ;
#[cfg(fuzzing)]
pub mod fuzzing;
mod names;
mod owners;
mod processes;
mod readers;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use wslnet_console::text::clean;

pub use self::attributor::Attributor;
pub use self::distro::{DistroName, distro_name};
pub(crate) use self::names::Users;
pub use self::processes::Process;
use crate::listeners::Socket;

/// The longest value that a label keeps, in characters: no path is longer (PATH_MAX, include/uapi/linux/limits.h).
const VALUE_LIMIT: usize = 4096;
/// How many characters of it are shown.
const SHOWN_LIMIT: usize = 256;

/// Text that others chose, as it becomes the value of a label: whole, but without the characters that must not be shown,
/// which all turn into U+FFFD. What is compared with a label has to go through here too, or it would never match.
pub(crate) fn value(foreign: impl AsRef<[u8]>) -> String {
    clean(foreign, VALUE_LIMIT)
}

/// Who holds a listening socket in this distro.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// Every process that holds the socket, oldest first; never empty. PID 1 and `systemd --user` come last when somebody
    /// else holds the socket too, so that a socket-activated service goes by its own name.
    pub holders: Vec<Process>,
    /// The user who made the socket.
    pub uid: u32,
    /// The name of that user in `/etc/passwd`, made safe to print.
    pub user: Option<String>,
    /// How much is known of what the holders say of themselves.
    pub declared: Declared,
}

/// How much is known of what the holders of a listener say of themselves, by `WSLNETD=…` in their environment. What they
/// say is the label `wslnetd`. In the rare case that it cannot be told which units a holder belongs to, that counts like an
/// environment that cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Declared {
    /// All of it.
    #[default]
    Known,
    /// Some of it is still being read.
    Pending,
    /// Some of it cannot be read; it may say `off`.
    Unreadable {
        /// Why, for people.
        reason: String,
    },
}

impl Declared {
    /// Less is known than before, if `other` is worse.
    fn worsen(&mut self, other: Self) {
        let rank = |declared: &Self| match declared {
            Self::Known => 0,
            Self::Pending => 1,
            Self::Unreadable { .. } => 2,
        };
        if rank(&other) > rank(self) {
            *self = other;
        }
    }
}

/// One fact, `key=value`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label {
    /// What the fact is about, for example `port`.
    pub key: Cow<'static, str>,
    /// The whole fact, safe to print, but as long as a path can be.
    pub value: Cow<'static, str>,
}

impl fmt::Display for Label {
    /// `key=value`, where the end of a very long value gives way to `…`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, clean(self.value.as_ref(), SHOWN_LIMIT))
    }
}

/// Labels that many listeners have in common, kept once for all of them.
pub type Part = Arc<[Label]>;

/// The labels of one listener. A key may have several values; the order is that of insertion.
///
/// Thousands of listeners can be one process's: what they have in common is in parts that they share.
#[derive(Clone, Debug, Default)]
pub struct Labels {
    parts: Vec<Part>,
    /// What was added since, in order.
    added: Vec<Label>,
}

impl Labels {
    /// Labels made of these parts, no label of which is in two.
    fn of(parts: impl IntoIterator<Item = Part>) -> Self {
        let parts = parts.into_iter().filter(|part| !part.is_empty());
        Self {
            parts: parts.collect(),
            added: Vec::new(),
        }
    }

    /// Adds a label, unless it is there already.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<String>) {
        let label = Label {
            key: Cow::Owned(key.into()),
            value: Cow::Owned(value.into()),
        };
        if !self.iter().any(|other| *other == label) {
            self.added.push(label);
        }
    }

    /// Makes what was added a part, which is that of `other` if that ends with the same.
    pub fn share_with(&mut self, other: Option<&Self>) {
        if self.added.is_empty() {
            return;
        }
        let last = other.and_then(|other| other.parts.last());
        let part = match last.filter(|last| ***last == *self.added) {
            Some(last) => Arc::clone(last),
            None => Part::from(std::mem::take(&mut self.added)),
        };
        self.parts.push(part);
        self.added = Vec::new();
    }

    /// The last of the parts.
    pub(crate) fn last_part(&self) -> Option<&Part> {
        self.parts.last()
    }

    /// The parts, and what is in none, in order.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &[Label]> {
        let parts = self.parts.iter().map(|part| &**part);
        parts.chain([self.added.as_slice()])
    }

    /// The first value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values(key).next()
    }

    /// All values of a key.
    pub fn values<'a>(&'a self, key: &str) -> impl Iterator<Item = &'a str> {
        self.iter()
            .filter(move |label| label.key == key)
            .map(|label| label.value.as_ref())
    }

    /// Whether a key has this value, perhaps among others.
    pub fn contains(&self, key: &str, value: &str) -> bool {
        self.values(key).any(|found| found == value)
    }

    /// All labels in order.
    pub fn iter(&self) -> impl Iterator<Item = &Label> {
        self.parts().flatten()
    }
}

impl PartialEq for Labels {
    /// The same labels in the same order, however they are kept.
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Labels {}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut labels = Self::default();
        for (key, value) in pairs {
            labels.insert(key, value);
        }
        labels
    }
}

impl fmt::Display for Labels {
    /// `proto=tcp port=80 …`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, label) in self.iter().enumerate() {
            let gap = if index == 0 { "" } else { " " };
            write!(f, "{gap}{label}")?;
        }
        Ok(())
    }
}

/// The labels of a listener, in this order:
///
/// | label | of the socket or its holders |
/// |---|---|
/// | `proto` | `tcp` or `udp` |
/// | `port` | the port it listens on |
/// | `bind` | `wildcard`, `loopback`, or the address |
/// | `family` | `ipv4`, `ipv6`, or both values |
/// | `process` | the names of the holders |
/// | `exe` | the files of their programs |
/// | `unit` | their systemd units, the innermost first |
/// | `slice` | their systemd slices, the innermost first |
/// | `user`, `uid` | the user who made the socket |
/// | `group` | the effective groups of the holders |
/// | `wslnetd` | what the holders say of themselves |
///
/// Where there are several holders, each distinct value is there once, in the order of the holders.
///
/// Without an owner the socket belongs to another distro or to the system: there is no process to name, and the user
/// id means nothing in this distro's `/etc/passwd`.
pub fn labels_of(socket: &Socket, owner: Option<&Owner>) -> Labels {
    labels_with(socket, owner_part(socket.uid, owner))
}

/// The labels of a listener, where [`owner_part`] tells the part of its owner.
pub fn labels_with(socket: &Socket, owner: Part) -> Labels {
    Labels::of([socket_part(socket), owner])
}

fn socket_part(socket: &Socket) -> Part {
    let label = |key, value| Label {
        key: Cow::Borrowed(key),
        value,
    };
    let families = [("ipv4", socket.takes_v4()), ("ipv6", socket.takes_v6())];
    let families = families.into_iter().filter(|(_, is_taken)| *is_taken);
    [
        label("proto", socket.protocol.to_string().into()),
        label("port", socket.address.port().to_string().into()),
        label("bind", bind(socket)),
    ]
    .into_iter()
    .chain(families.map(|(family, _)| label("family", family.into())))
    .collect()
}

/// The labels that all sockets of an owner have in common; the user's alone where there is none.
pub fn owner_part(uid: u32, owner: Option<&Owner>) -> Part {
    let mut labels = Vec::new();
    let holders = || owner.iter().flat_map(|owner| &owner.holders);
    // A program can give itself an empty name.
    let names = holders().map(|holder| holder.name.as_str());
    append(&mut labels, "process", names.filter(|name| !name.is_empty()));
    append(
        &mut labels,
        "exe",
        holders().filter_map(|holder| holder.exe.as_deref()),
    );
    append(
        &mut labels,
        "unit",
        holders().flat_map(|holder| &holder.units).map(String::as_str),
    );
    append(
        &mut labels,
        "slice",
        holders().flat_map(|holder| &holder.slices).map(String::as_str),
    );
    append(
        &mut labels,
        "user",
        owner.and_then(|owner| owner.user.as_deref()).into_iter(),
    );
    append(&mut labels, "uid", [uid.to_string().as_str()].into_iter());
    append(
        &mut labels,
        "group",
        holders().filter_map(|holder| holder.group.as_deref()),
    );
    append(
        &mut labels,
        "wslnetd",
        holders().filter_map(|holder| holder.says.as_deref()),
    );
    labels.into()
}

/// Adds the values of a key that has none yet, each once. There may be thousands: as many as a user can fork processes.
fn append<'a>(labels: &mut Vec<Label>, key: &'static str, values: impl Iterator<Item = &'a str>) {
    let mut seen = BTreeSet::new();
    let distinct = values.filter(|value| seen.insert(*value));
    labels.extend(distinct.map(|value| Label {
        key: Cow::Borrowed(key),
        value: value.to_owned().into(),
    }));
}

/// `wildcard`, `loopback`, or the address; a v4-mapped address is written as IPv4.
fn bind(socket: &Socket) -> Cow<'static, str> {
    if socket.is_wildcard() {
        "wildcard".into()
    } else if socket.is_loopback() {
        "loopback".into()
    } else {
        socket.canonical_ip().to_string().into()
    }
}

#[cfg(test)]
mod tests;
