//! The way of one port, step by step, from the socket to the local network: where it stops, and what to do.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use wslnet_protocol::{ForwardId, ForwardState};

use super::advice::advice;
use super::rows::who;
use super::{Outcome, Reader, outcome};
use crate::network::NetworkMode;
use crate::picture::{Asked, Entry, Picture};
use crate::policy::{DecidedBy, Exposure, Verdict, Wanted};
use crate::push::LinkState;

/// The answer to `explain`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Walk {
    /// The port.
    pub port: u16,
    /// Each listener on that port.
    pub listeners: Vec<Explanation>,
    /// Where the port can be reached.
    pub windows: Vec<SocketAddr>,
    /// One sentence: where it can be reached, or where it stops and what to do.
    pub conclusion: String,
    /// What to write into the configuration to have it shared, where that would do it.
    pub advice: Option<String>,
}

/// One listener on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// Who it is.
    pub listener: String,
    /// The steps as far as it got; only the last may have stopped it.
    pub steps: Vec<Step>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What was looked at.
    pub name: String,
    /// Whether the way goes on.
    pub passed: bool,
    /// What was found, and, where it stops, what to do.
    pub finding: String,
}

/// Walks one port.
pub fn explain(picture: &Picture, port: u16, reader: Reader) -> Walk {
    let entries = picture
        .entries
        .iter()
        .filter(|entry| entry.listener.socket.address.port() == port);
    let entries = entries.collect::<Vec<_>>();
    let listeners = entries
        .iter()
        .map(|entry| explanation(picture, entry, reader))
        .collect::<Vec<_>>();
    let windows = entries
        .iter()
        .flat_map(|entry| outcome(picture, entry).windows.into_owned())
        .collect::<std::collections::BTreeSet<_>>();
    let windows = windows.into_iter().collect::<Vec<_>>();
    let conclusion = conclude(picture, port, &listeners, &windows);
    let stopped = entries.iter().filter(|_| windows.is_empty());
    let advice = stopped.filter_map(|entry| advice(picture, entry)).next();
    Walk {
        port,
        listeners,
        windows,
        conclusion,
        advice,
    }
}

fn conclude(picture: &Picture, port: u16, listeners: &[Explanation], windows: &[SocketAddr]) -> String {
    if !windows.is_empty() {
        let places = windows
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ");
        return format!("Port {port} can be reached at {places}.");
    }
    if listeners.is_empty() {
        return match &picture.scan_error {
            Some(error) => format!("Nothing was seen on port {port}, but scans fail: {error}"),
            None => {
                format!(
                    "Nothing listens on port {port} in this VM. Start the service, then ask again. UDP is looked at only \
                     where a rule says `udp = true`."
                )
            }
        };
    }
    // The listener that got farthest is the one that is worth mending.
    let farthest = listeners.iter().max_by_key(|listener| listener.steps.len());
    match farthest.and_then(|listener| listener.steps.last()) {
        Some(step) if step.passed => format!("Port {port} is shared: {}.", step.finding),
        Some(step) => format!("Port {port} stops at {}: {}", step.name, step.finding),
        None => format!("Port {port} is not reachable."),
    }
}

fn explanation(picture: &Picture, entry: &Entry, reader: Reader) -> Explanation {
    let mut steps = Vec::new();
    for step in STEPS {
        let (name, result) = step(picture, entry, reader);
        let passed = result.is_ok();
        let finding = result.unwrap_or_else(|stop| stop);
        steps.push(Step {
            name: name.to_owned(),
            passed,
            finding,
        });
        if !passed {
            break;
        }
    }
    Explanation {
        listener: who(entry, reader),
        steps,
    }
}

type Finding = (&'static str, Result<String, String>);

const STEPS: [fn(&Picture, &Entry, Reader) -> Finding; 5] = [owner, mode, policy, link, windows];

fn owner(_: &Picture, entry: &Entry, reader: Reader) -> Finding {
    let finding = match &entry.listener.owner {
        Some(_) => {
            let labels = reader.labels(entry).map(ToString::to_string).collect::<Vec<_>>();
            Ok(labels.join(","))
        }
        None => Err(
            "no process of this distro holds it, so it is left alone. If it belongs to another distro, \
                     run wslnetd there too"
                .to_owned(),
        ),
    };
    ("owner", finding)
}

fn mode(picture: &Picture, _: &Entry, _: Reader) -> Finding {
    let mode = &picture.mode;
    let finding = match mode.mode {
        NetworkMode::Nat => Ok(format!("nat ({})", mode.source)),
        NetworkMode::Mirrored | NetworkMode::VirtioProxy => Ok(format!(
            "{} ({}): Windows has this VM's ports as its own, and its firewall decides who gets in",
            mode.mode, mode.source
        )),
        NetworkMode::Bridged => Err(format!(
            "bridged ({}): this VM is on the local network itself, without Windows in between; wslnetd opens nothing and closes nothing",
            mode.source
        )),
        NetworkMode::None | NetworkMode::Wsl1 | NetworkMode::Unknown(_) => Err(format!(
            "WSL's networking mode is {} ({}), in which nothing is exposed",
            mode.mode, mode.source
        )),
    };
    ("networking mode", finding)
}

fn policy(_: &Picture, entry: &Entry, _: Reader) -> Finding {
    let finding = match (&*entry.verdict, &entry.asked) {
        (Verdict::Withhold { reason, decided_by }, _) => Err(match decided_by {
            DecidedBy::OptOut { .. } => format!(
                "{reason}: if it should be shared, remove or narrow that selector, then `sudo systemctl reload wslnetd`"
            ),
            DecidedBy::Default
            | DecidedBy::Rule { .. }
            | DecidedBy::Itself
            | DecidedBy::Mode
            | DecidedBy::Binding
            | DecidedBy::Owner
            | DecidedBy::Udp => reason.clone(),
        }),
        (Verdict::Wait { reason }, _)
        | (Verdict::Expose(_), Asked::Nothing { reason } | Asked::Waits { reason }) => Err(reason.clone()),
        (Verdict::Expose(exposure), Asked::OverLimit) => Ok(shared(exposure, None)),
        (Verdict::Expose(exposure), Asked::Forward(wanted)) => Ok(shared(exposure, Some(wanted))),
    };
    ("policy", finding)
}

/// What the policy says of a listener that is shared.
fn shared(exposure: &Exposure, wanted: Option<&Wanted>) -> String {
    let port = wanted.map_or_else(
        || "its port".to_owned(),
        |wanted| match (wanted.listen_port, wanted.auto) {
            (port, false) => format!("port {port}"),
            (port, true) => format!("port {port} or the next free one"),
        },
    );
    let name = exposure
        .name
        .as_ref()
        .map(|name| format!(", name {name}.wsl"))
        .unwrap_or_default();
    let bridge = wanted
        .and_then(|wanted| wanted.bridge_to)
        .map(|target| format!(", by a bridge to {target}"))
        .unwrap_or_default();
    format!(
        "expose at {port}, reach {}{name}{bridge} [{}]",
        exposure.reach, exposure.decided_by
    )
}

fn link(picture: &Picture, _: &Entry, _: Reader) -> Finding {
    let companion = &picture.companion;
    let finding = match companion.state {
        LinkState::Connected => {
            let address = companion
                .address
                .map(|address| address.to_string())
                .unwrap_or_default();
            Ok(format!(
                "connected to {address}, version {}",
                companion.version.as_deref().unwrap_or("unknown")
            ))
        }
        LinkState::Connecting | LinkState::Unpaired | LinkState::Searching => {
            Err(format!("{}: {}", companion.state.word(), companion.reason))
        }
    };
    ("companion", finding)
}

fn windows(picture: &Picture, entry: &Entry, _: Reader) -> Finding {
    let Outcome {
        state,
        reason,
        windows: listen,
    } = outcome(picture, entry);
    let places = listen
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    let finding = match &entry.asked {
        Asked::Forward(wanted) => match picture
            .companion
            .forwards
            .get(&ForwardId(wanted.id))
            .map(|s| s.state)
        {
            Some(ForwardState::Active) if reason.is_empty() => Ok(format!("listens at {places}")),
            Some(ForwardState::Active) if listen.is_empty() => Ok(reason.into_owned()),
            Some(ForwardState::Active) => Ok(format!("listens at {places}; {reason}")),
            Some(_) | None => Err(format!("{state}: {reason}")),
        },
        Asked::OverLimit | Asked::Waits { .. } | Asked::Nothing { .. } => Err(format!("{state}: {reason}")),
    };
    ("windows", finding)
}
