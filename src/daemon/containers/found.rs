//! The containers that the engines have told of, and which of them a listener belongs to. Pure: time is an argument.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wslnet_protocol::Protocol;

use super::claim::{By, Claim};
use super::list::{List, Told, published_at};
use super::report::Answer;
use super::{Container, Engine};
use crate::listeners::Socket;
use crate::observe::Listener;

/// How long a listener of an engine that may be its own waits for its container: an engine that publishes a port listens
/// first and tells when the container has started. Docker also listens for a fifth of a millisecond at each start.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the engines have said. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Containers {
    engines: BTreeMap<Engine, Heard>,
}

/// The container of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// No engine has to do with it, or none that can be asked.
    Nothing,
    /// This one.
    Container(&'a Container),
    /// It is an engine's, and whose container's is not known yet. Nothing may be done with it before, but at `until`, if
    /// there is such a moment, it counts as nobody's.
    Waits {
        /// Why, for people.
        reason: String,
        /// When to ask again at the latest.
        until: Option<Instant>,
    },
}

impl Found<'_> {
    /// When to ask again at the latest, although nothing changed.
    pub fn until(&self) -> Option<Instant> {
        match self {
            Self::Waits { until, .. } => *until,
            Self::Nothing | Self::Container(_) => None,
        }
    }
}

/// What one engine has said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Heard {
    /// Its latest list. It stays when the engine goes: a container keeps its facts while its listener lives.
    known: Arc<Known>,
    /// When it was asked for that list.
    listed: Option<Instant>,
    /// When it was last asked, if it was not there then.
    absent: Option<Instant>,
    /// Why it does not answer at the moment.
    trouble: Option<String>,
}

impl Containers {
    /// The container of this listener at this moment.
    pub fn of(&self, listener: &Listener, now: Instant) -> Found<'_> {
        Claim::of(listener).map_or(Found::Nothing, |claim| self.answer(&claim, listener, now))
    }

    /// What keeps the containers of these listeners from being known, for people, with what to do.
    pub fn troubles(&self, listeners: &[impl Borrow<Listener>], now: Instant) -> BTreeSet<String> {
        let mut troubles = BTreeSet::new();
        for listener in listeners.iter().map(Borrow::borrow) {
            let Some(claim) = Claim::of(listener) else {
                continue;
            };
            if matches!(self.answer(&claim, listener, now), Found::Container(_)) {
                continue;
            }
            for engine in claim.engines() {
                let trouble = self.engines.get(&engine).and_then(|heard| heard.trouble.as_ref());
                troubles.extend(
                    trouble.map(|trouble| {
                        format!("the labels of containers of {engine} are not known: {trouble}")
                    }),
                );
            }
        }
        troubles
    }

    fn answer(&self, claim: &Claim<'_>, listener: &Listener, now: Instant) -> Found<'_> {
        let answers = claim.engines().map(|engine| match self.engines.get(&engine) {
            Some(heard) => heard.answer(engine, claim.by, listener, now),
            None => not_asked(engine, None),
        });
        // One that knows the container outweighs one that may, and that one who does not.
        answers.max_by_key(weight).unwrap_or(Found::Nothing)
    }

    /// Takes note of what an engine answered when it was asked at `asked`.
    pub(super) fn hear(&mut self, engine: Engine, asked: Instant, answer: Answer) {
        let heard = self.engines.entry(engine).or_default();
        (heard.absent, heard.trouble) = match answer {
            Answer::List(list) => {
                heard.known = Arc::new(Known::new(list));
                heard.listed = Some(asked);
                (None, None)
            }
            Answer::Silent(trouble) => (None, Some(trouble)),
            Answer::Absent(trouble) => (Some(asked), Some(trouble)),
        };
    }

    /// Forgets all engines but these; whether there were others.
    pub(super) fn forget(&mut self, stays: impl Fn(&Engine) -> bool) -> bool {
        let before = self.engines.len();
        self.engines.retain(|engine, _| stays(engine));
        self.engines.len() != before
    }
}

fn weight(found: &Found<'_>) -> (u8, Option<Instant>) {
    match found {
        Found::Nothing => (0, None),
        Found::Waits { until, .. } => (if until.is_some() { 1 } else { 2 }, *until),
        Found::Container(_) => (3, None),
    }
}

impl Heard {
    fn answer(&self, engine: Engine, by: By<'_>, listener: &Listener, now: Instant) -> Found<'_> {
        // What was said before the listener came is about the one that had its port before.
        let is_after = |moment: Option<Instant>| moment.is_some_and(|moment| moment >= listener.since);
        let is_listed = is_after(self.listed);
        if let Some(container) = self.known.find(by, &listener.socket).filter(|_| is_listed) {
            return Found::Container(container);
        }
        if is_after(self.absent) {
            return Found::Nothing;
        }
        if !is_listed {
            return not_asked(engine, self.trouble.as_deref());
        }
        if self.known.left_out > 0 {
            return waits(
                format!(
                    "{engine} has containers with more labels or ports than wslnetd reads, and this may be one of them"
                ),
                None,
            );
        }
        let reason = format!("{engine} listens here, for a container that it has not told of yet");
        let until = listener.since + PATIENCE;
        match by {
            By::Port => waits(reason, None),
            By::PortIfAny | By::Id(_) if now < until => waits(reason, Some(until)),
            By::PortIfAny | By::Id(_) => Found::Nothing,
        }
    }
}

fn not_asked(engine: Engine, trouble: Option<&str>) -> Found<'static> {
    let trouble = trouble.map(|trouble| format!(": {trouble}")).unwrap_or_default();
    let reason = format!("{engine} has not said yet whether a container listens here{trouble}");
    waits(reason, None)
}

fn waits(reason: String, until: Option<Instant>) -> Found<'static> {
    Found::Waits { reason, until }
}

/// The containers of an engine, as they are asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Known {
    containers: Vec<Container>,
    /// Where they are in that list, by their ids.
    ids: BTreeMap<String, usize>,
    /// And by the first port of each published range, with the last one. Ranges of one address do not overlap.
    ports: BTreeMap<(Protocol, Option<IpAddr>, u16), (u16, usize)>,
    left_out: usize,
}

impl Known {
    fn new(list: List) -> Self {
        let mut known = Self {
            left_out: list.left_out,
            ..Self::default()
        };
        let mut pods = BTreeMap::<_, Vec<Told>>::new();
        for told in list.containers {
            known.ids.insert(told.id.clone(), known.containers.len());
            known.containers.push(told.container.clone());
            if told.pod.is_empty() {
                known.publish(&told, known.containers.len() - 1);
            } else {
                pods.entry(told.pod.clone()).or_default().push(told);
            }
        }
        for mut pod in pods.into_values() {
            // The one that only holds the network speaks for a pod in which nothing else runs.
            pod.sort_by(|one, other| {
                (one.is_infra, &one.container.name).cmp(&(other.is_infra, &other.container.name))
            });
            let index = known.containers.len();
            for told in &pod {
                known.publish(told, index);
            }
            let mut members = pod.into_iter().enumerate();
            let members = members
                .by_ref()
                .filter(|(place, told)| *place == 0 || !told.is_infra);
            let mut members = members.map(|(_, told)| told.container);
            if let Some(first) = members.next() {
                known.containers.push(Container {
                    pod: members.collect(),
                    ..first
                });
            }
        }
        known
    }

    /// The container in this place has the ports of this one.
    fn publish(&mut self, told: &Told, index: usize) {
        for published in &told.ports {
            let (first, last) = published.ports;
            self.ports
                .insert((published.protocol, published.ip, first), (last, index));
        }
    }

    fn find(&self, by: By<'_>, socket: &Socket) -> Option<&Container> {
        let index = match by {
            By::Id(id) => *self.ids.get(id)?,
            By::Port | By::PortIfAny => {
                let (ip, port) = (published_at(socket.address.ip()), socket.address.port());
                let start = (socket.protocol, ip, 0);
                let (_, (last, index)) = self
                    .ports
                    .range(start..=(socket.protocol, ip, port))
                    .next_back()?;
                (port <= *last).then_some(*index)?
            }
        };
        self.containers.get(index)
    }
}

#[cfg(test)]
mod tests;
