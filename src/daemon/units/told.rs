//! What systemd has told of services, what that means for a listener, and when to ask again. Pure: time is an argument.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::{Demand, Interest, services};
use crate::observe::Listener;

/// How long a new listener waits for the word of its units.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// When a service that got another process is asked again, at the soonest. Some get one for each connection.
const RESTARTED: Duration = Duration::from_secs(1);
/// When a service is asked again after an error.
const RETRY: Duration = Duration::from_secs(3);
/// When a service is asked again in any case: `systemctl daemon-reload` may have brought it another word.
const REFRESH: Duration = Duration::from_secs(30);

/// What systemd has told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Units {
    told: BTreeMap<String, Told>,
}

/// What is known of one service.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    /// When it was last asked for.
    asked: Instant,
    /// When the youngest process of it had started by then.
    started: u64,
    /// What it says of itself by `Environment=WSLNETD=…`, safe to print. It stays when an error follows.
    says: Option<String>,
    /// Why that could not be found out, if so.
    trouble: Option<String>,
}

/// What the units of a listener say of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said<'a> {
    /// This, and nothing where there is no value.
    Known(BTreeSet<&'a str>),
    /// It is not known yet. Until it is the listener must stay private, but at `until` silence counts as saying nothing.
    Waits {
        /// Why, for people.
        reason: String,
        /// When to ask again at the latest.
        until: Instant,
    },
}

impl Said<'_> {
    /// What is known of it.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        let known = match self {
            Self::Known(says) => Some(says),
            Self::Waits { .. } => None,
        };
        known.into_iter().flatten().copied()
    }

    /// When to ask again at the latest, although nothing changed.
    pub fn until(&self) -> Option<Instant> {
        match self {
            Self::Waits { until, .. } => Some(*until),
            Self::Known(_) => None,
        }
    }
}

impl Units {
    /// What the units of this listener say of it at this moment.
    ///
    /// A new listener waits for an answer that is newer than it is, as its service may have been given another word before
    /// it was restarted. One that has been there for longer never waits: a process of another service that takes it over
    /// must not close it for as long as systemd takes to answer.
    pub fn of(&self, listener: &Listener, now: Instant) -> Said<'_> {
        let until = listener.since + PATIENCE;
        let mut says = BTreeSet::new();
        for (service, _) in services(listener) {
            let told = self.told.get(service);
            if now < until && told.is_none_or(|told| told.asked < listener.since) {
                return Said::Waits {
                    reason: format!("systemd has not told yet whether {service} says WSLNETD=off"),
                    until,
                };
            }
            says.extend(told.and_then(|told| told.says.as_deref()));
        }
        Said::Known(says)
    }

    /// What keeps the word of units from being known, for people; one of several.
    pub fn trouble(&self) -> Option<&str> {
        self.told.values().find_map(|told| told.trouble.as_deref())
    }

    /// Whether nothing is to be gained by waiting for answers to this demand.
    pub(super) fn is_settled(&self, demand: &Demand, now: Instant) -> bool {
        demand.iter().all(|(service, interest)| {
            let told = self.told.get(service);
            told.is_some_and(|told| told.asked >= interest.since || now >= interest.since + PATIENCE)
        })
    }

    /// Forgets the services that are not in demand any more.
    pub(super) fn keep(&mut self, demand: &Demand) {
        self.told.retain(|service, _| demand.contains_key(service));
    }

    /// The services that have to be asked for now.
    pub(super) fn due(&self, demand: &Demand, now: Instant) -> Vec<String> {
        let due = demand
            .iter()
            .filter(|(service, interest)| self.due_at(service, interest) <= now);
        due.map(|(service, _)| service.clone()).collect()
    }

    /// When the next of the services has to be asked for.
    pub(super) fn next(&self, demand: &Demand) -> Option<Instant> {
        let due = demand.iter();
        due.map(|(service, interest)| self.due_at(service, interest))
            .min()
    }

    fn due_at(&self, service: &str, interest: &Interest) -> Instant {
        let Some(told) = self.told.get(service).filter(|told| told.asked >= interest.since) else {
            return interest.since;
        };
        let pause = match told.trouble {
            Some(_) => RETRY,
            None if interest.started > told.started => RESTARTED,
            None => REFRESH,
        };
        told.asked + pause
    }

    /// Takes note of the answer to what was asked at `asked`, with this interest: what the service says, or why that
    /// cannot be told.
    pub(super) fn hear(
        &mut self,
        service: &str,
        interest: Interest,
        asked: Instant,
        answer: Result<Option<String>, String>,
    ) {
        let (says, trouble) = match answer {
            Ok(says) => (says, None),
            Err(trouble) => {
                let before = self.told.get(service).and_then(|told| told.says.clone());
                (before, Some(trouble))
            }
        };
        let told = Told {
            asked,
            started: interest.started,
            says,
            trouble,
        };
        self.told.insert(service.to_owned(), told);
    }
}

#[cfg(test)]
mod tests;
