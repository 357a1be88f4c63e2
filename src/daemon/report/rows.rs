//! The picture as rows, as a status, and as one line.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use wslnet_protocol::{ForwardId, ForwardState, Mode, limits};

use super::{CompanionReport, Reader, Row, Selectors, StatusReport};
use crate::config::term_for;
use crate::picture::{Asked, Entry, Picture};
use crate::push::LinkState;

/// The listeners of this distro; with `all`, those of others too.
pub fn rows(picture: &Picture, all: bool, reader: Reader) -> Vec<Row> {
    let entries = picture.entries.iter().filter(|entry| all || entry.is_ours());
    let mut rows = entries
        .map(|entry| row(picture, entry, reader))
        .collect::<Vec<_>>();
    rows.sort_by(|a, b| {
        (a.port, &a.protocol, a.address, &a.id).cmp(&(b.port, &b.protocol, b.address, &b.id))
    });
    rows
}

fn row(picture: &Picture, entry: &Entry, reader: Reader) -> Row {
    let socket = &entry.listener.socket;
    let holder = entry
        .listener
        .owner
        .as_ref()
        .and_then(|owner| owner.holders.first());
    let Outcome {
        state,
        reason,
        windows,
    } = outcome(picture, entry);
    Row {
        id: ForwardId(socket.id()).to_string(),
        protocol: socket.protocol.to_string(),
        address: socket.address.ip(),
        port: socket.address.port(),
        process: holder.map(|holder| holder.name.clone()),
        pid: holder
            .filter(|_| reader.knows(&entry.listener))
            .map(|holder| holder.pid),
        container: entry.labels.get("container").map(str::to_owned),
        user: entry.labels.get("user").map(str::to_owned),
        labels: reader.labels(entry).map(ToString::to_string).collect(),
        name: entry
            .verdict
            .exposure()
            .and_then(|exposure| exposure.name.clone()),
        verdict: entry
            .is_ours()
            .then(|| if entry.is_exposed() { "expose" } else { "withhold" }.to_owned()),
        state: state.to_owned(),
        reason: reason.into_owned(),
        windows: windows.into_owned(),
    }
}

/// The labels of each listener of this distro on a port, in the form of a selector.
pub fn selectors(picture: &Picture, port: u16, reader: Reader) -> Vec<Selectors> {
    let entries = picture
        .entries
        .iter()
        .filter(|entry| entry.is_ours() && entry.listener.socket.address.port() == port);
    let selectors = entries.map(|entry| Selectors {
        listener: who(entry, reader),
        terms: reader.labels(entry).filter_map(term_for).collect(),
    });
    selectors.collect()
}

/// A listener in a few words.
pub(super) fn who(entry: &Entry, reader: Reader) -> String {
    let owner = entry.listener.owner.as_ref();
    let holder = owner.and_then(|owner| owner.holders.first());
    let who = holder.map_or_else(
        || "not of this distro".to_owned(),
        |holder| {
            if reader.knows(&entry.listener) {
                format!("{} (pid {})", holder.name, holder.pid)
            } else {
                holder.name.clone()
            }
        },
    );
    let container = entry
        .labels
        .get("container")
        .map(|name| format!(" for container {name}"));
    let socket = &entry.listener.socket;
    format!(
        "{} {}, {who}{}",
        socket.protocol,
        socket.address,
        container.unwrap_or_default()
    )
}

/// What became of a listener.
#[derive(Debug)]
pub(crate) struct Outcome<'a> {
    /// A forward's state, `withheld` or `foreign`.
    pub(crate) state: &'static str,
    /// Why.
    pub(crate) reason: Cow<'a, str>,
    /// Where Windows listens for it.
    pub(crate) windows: Cow<'a, [SocketAddr]>,
}

impl<'a> Outcome<'a> {
    fn nowhere(state: &'static str, reason: impl Into<Cow<'a, str>>) -> Self {
        Self {
            state,
            reason: reason.into(),
            windows: Cow::Borrowed(&[]),
        }
    }
}

/// What became of this one.
pub(crate) fn outcome<'a>(picture: &'a Picture, entry: &'a Entry) -> Outcome<'a> {
    match &entry.asked {
        Asked::Nothing { reason } if entry.is_ours() => Outcome::nowhere("withheld", reason),
        Asked::Nothing { reason } => Outcome::nowhere("foreign", reason),
        Asked::Waits { reason } => Outcome::nowhere(ForwardState::Pending.word(), reason),
        Asked::OverLimit => {
            let reason = format!(
                "more than {} ports are to be shared, which is too many for one request: opt some out",
                limits::FORWARDS_IN_SET
            );
            Outcome::nowhere(ForwardState::OverLimit.word(), reason)
        }
        Asked::Forward(wanted) => match picture.companion.forwards.get(&ForwardId(wanted.id)) {
            Some(status) => Outcome {
                state: status.state.word(),
                reason: Cow::Borrowed(&status.reason),
                windows: places(picture, entry, &status.listen),
            },
            None => Outcome::nowhere(ForwardState::Pending.word(), waiting(picture)),
        },
    }
}

/// Where Windows has the port for this socket. Where it shares the VM's ports it has them as they are: at those of its addresses that the
/// socket takes, of which Windows is not told.
fn places<'a>(picture: &Picture, entry: &Entry, listen: &'a [SocketAddr]) -> Cow<'a, [SocketAddr]> {
    if !picture.mode.mode.shares_ports() {
        return Cow::Borrowed(listen);
    }
    let socket = &entry.listener.socket;
    let takes = |place: &SocketAddr| {
        let family = if place.is_ipv4() {
            socket.takes_v4()
        } else {
            socket.takes_v6()
        };
        family && (socket.is_wildcard() || socket.canonical_ip() == place.ip())
    };
    listen.iter().filter(|place| takes(place)).copied().collect()
}

fn waiting(picture: &Picture) -> &str {
    match picture.companion.state {
        LinkState::Connected => "on its way to Windows",
        LinkState::Connecting | LinkState::Unpaired | LinkState::Searching => &picture.companion.reason,
    }
}

/// The daemon as a whole.
pub fn status(picture: &Picture) -> StatusReport {
    let ours = picture.entries.iter().filter(|entry| entry.is_ours());
    let listeners = ours.clone().count();
    let exposed = ours.filter(|entry| entry.is_exposed()).count();
    let companion = &picture.companion;
    let active = companion
        .forwards
        .values()
        .filter(|forward| forward.state == ForwardState::Active);
    let windows = companion.forwards.values().flat_map(|forward| &forward.listen);
    let windows = windows.map(SocketAddr::ip).collect::<BTreeSet<IpAddr>>();
    // What others can reach comes first.
    let mut windows = windows.into_iter().collect::<Vec<IpAddr>>();
    windows.sort_by_key(IpAddr::is_loopback);
    StatusReport {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        distro_name: picture.distro.clone(),
        distro_is_missing: picture.distro_is_missing,
        mode: picture.mode.mode.to_string(),
        mode_source: picture.mode.source.clone(),
        vm_address: companion
            .peer
            .filter(|_| !picture.mode.mode.shares_ports())
            .or(picture.vm_address),
        companion: CompanionReport {
            state: companion.state.word().to_owned(),
            address: companion.address,
            version: companion.version.clone(),
            distro: companion.distro.clone(),
            reason: companion.reason.clone(),
        },
        listeners,
        exposed,
        withheld: listeners - exposed,
        foreign: picture.entries.len() - listeners,
        active: active.count(),
        windows,
        container_troubles: picture.container_troubles.iter().cloned().collect(),
        unit_trouble: picture.unit_trouble.clone(),
        source: picture.source.clone(),
        wake_up: picture.wake_up.clone(),
        scan_error: picture.scan_error.clone(),
        hosts: picture.hosts.clone(),
        config_error: picture.config_error.clone(),
    }
}

/// This distro's listeners as the status line counts them; each is in one of the three. The IPv6 half of a pair counts
/// as its IPv4 half does, because what it offers is what can be reached.
#[derive(Default)]
struct Tally {
    /// Windows has the port open.
    exposed: usize,
    /// They should be exposed and are not.
    waiting: usize,
    private: usize,
}

fn tally(picture: &Picture) -> Tally {
    let mut tally = Tally::default();
    for entry in picture.entries.iter().filter(|entry| entry.is_ours()) {
        let forward = match &entry.asked {
            Asked::Forward(wanted) => Some(ForwardId(wanted.id)),
            Asked::Nothing { .. } | Asked::Waits { .. } | Asked::OverLimit => entry.twin,
        };
        let status = forward.and_then(|id| picture.companion.forwards.get(&id));
        if status.is_some_and(|status| status.state == ForwardState::Active) {
            tally.exposed += 1;
        } else if entry.is_exposed() || entry.twin.is_some() {
            tally.waiting += 1;
        } else {
            tally.private += 1;
        }
    }
    tally
}

/// The line that `systemctl status` shows.
pub fn status_line(picture: &Picture) -> String {
    let report = status(picture);
    // Windows' own loopback says nothing new where there are others.
    let networks = report.windows.partition_point(|address| !address.is_loopback());
    let shown = if networks == 0 {
        report.windows.len()
    } else {
        networks
    };
    let windows = match &report.windows[..shown] {
        [] => String::new(),
        addresses => {
            let addresses = addresses
                .iter()
                .take(3)
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", ");
            format!(" on {addresses}")
        }
    };
    let address = report
        .companion
        .address
        .map(|address| format!(" {address}"))
        .unwrap_or_default();
    let tally = tally(picture);
    let waiting = match tally.waiting {
        0 => String::new(),
        waiting => format!(", {waiting} waiting"),
    };
    let noun = if report.listeners == 1 {
        "listener"
    } else {
        "listeners"
    };
    let mut line = format!(
        "{} {noun}: {} exposed{windows}, {} private{waiting}; companion{address} {}",
        report.listeners, tally.exposed, tally.private, report.companion.state
    );
    match picture.mode.mode.of_session() {
        Some(Mode::Nat) => {}
        Some(mode) => line.push_str(&format!("; networking mode {mode}: ports are shared as they are")),
        None => line.push_str(&format!("; networking mode {}: nothing is exposed", report.mode)),
    }
    if report.distro_is_missing {
        line.push_str("; the config asks for the distro's name, which is not known, see `wslnetd status`");
    }
    if report.config_error.is_some() {
        line.push_str("; the changed config was refused, see `wslnetd status`");
    }
    if report.scan_error.is_some() {
        line.push_str("; scans fail, see `wslnetd status`");
    }
    if report.unit_trouble.is_some() {
        line.push_str("; units cannot be heard, see `wslnetd status`");
    }
    line
}
