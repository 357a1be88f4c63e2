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
mod processes;
mod readers;

use std::collections::BTreeSet;
use std::fmt;

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
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    pub key: String,
    /// The whole fact, safe to print, but as long as a path can be.
    pub value: String,
}

impl fmt::Display for Label {
    /// `key=value`, where the end of a very long value gives way to `…`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, clean(&self.value, SHOWN_LIMIT))
    }
}

/// The labels of one listener. A key may have several values; the order is that of insertion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(Vec<Label>);

impl Labels {
    /// Adds a label, unless it is there already.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<String>) {
        let label = Label {
            key: key.into(),
            value: value.into(),
        };
        if !self.0.contains(&label) {
            self.0.push(label);
        }
    }

    /// Adds the values of a key that has none yet, each once. There may be thousands: as many as a user can fork processes.
    fn append<'a>(&mut self, key: &str, values: impl Iterator<Item = &'a str>) {
        let mut seen = BTreeSet::new();
        let distinct = values.filter(|value| seen.insert(*value));
        self.0.extend(distinct.map(|value| Label {
            key: key.to_owned(),
            value: value.to_owned(),
        }));
    }

    /// The first value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values(key).next()
    }

    /// All values of a key.
    pub fn values<'a>(&'a self, key: &str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |label| label.key == key)
            .map(|label| label.value.as_str())
    }

    /// Whether a key has this value, perhaps among others.
    pub fn contains(&self, key: &str, value: &str) -> bool {
        self.values(key).any(|found| found == value)
    }

    /// All labels in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Label> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = &'a Label;
    type IntoIter = std::slice::Iter<'a, Label>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

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
        for (index, label) in self.0.iter().enumerate() {
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
    let mut labels = Labels::default();
    labels.insert("proto", socket.protocol.to_string());
    labels.insert("port", socket.address.port().to_string());
    labels.insert("bind", bind(socket));
    for (family, is_taken) in [("ipv4", socket.takes_v4()), ("ipv6", socket.takes_v6())] {
        if is_taken {
            labels.insert("family", family);
        }
    }
    let holders = || owner.iter().flat_map(|owner| &owner.holders);
    // A program can give itself an empty name.
    let names = holders().map(|holder| holder.name.as_str());
    labels.append("process", names.filter(|name| !name.is_empty()));
    labels.append("exe", holders().filter_map(|holder| holder.exe.as_deref()));
    labels.append(
        "unit",
        holders().flat_map(|holder| &holder.units).map(String::as_str),
    );
    labels.append(
        "slice",
        holders().flat_map(|holder| &holder.slices).map(String::as_str),
    );
    labels.append("user", owner.and_then(|owner| owner.user.as_deref()).into_iter());
    labels.insert("uid", socket.uid.to_string());
    labels.append("group", holders().filter_map(|holder| holder.group.as_deref()));
    labels.append("wslnetd", holders().filter_map(|holder| holder.says.as_deref()));
    labels
}

/// `wildcard`, `loopback`, or the address; a v4-mapped address is written as IPv4.
fn bind(socket: &Socket) -> String {
    if socket.is_wildcard() {
        "wildcard".to_owned()
    } else if socket.is_loopback() {
        "loopback".to_owned()
    } else {
        socket.canonical_ip().to_string()
    }
}

#[cfg(test)]
mod tests;
