//! Keeps what is known of units in step with the listeners, in a task of its own.

use std::borrow::Borrow;
use std::time::{Duration, Instant};

use tokio::sync::watch::{self, Ref, error::RecvError};
use tokio::time::{sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::bus::{Places, ROUND};
use super::told::{PATIENCE, Units};
use super::{Demand, demand};
use crate::observe::Listener;

/// How long [`Watch::follow`] waits for answers. Long enough for systemd, which takes a millisecond or two; short enough
/// for nobody to notice when it does not answer.
const MOMENT: Duration = Duration::from_millis(20);

/// Follows what units say of listeners. Dropping it, or the token, ends its task.
#[derive(Debug)]
pub struct Watch {
    demand: watch::Sender<Demand>,
    units: watch::Receiver<Units>,
    started: Instant,
}

impl Watch {
    /// Starts the task.
    pub fn start(places: Places, stop: CancellationToken) -> Self {
        let (demand, demanded) = watch::channel(Demand::new());
        let (told, units) = watch::channel(Units::default());
        let asker = Asker {
            places,
            told,
            units: Units::default(),
        };
        tokio::spawn(async move {
            tokio::select! {
                () = asker.run(demanded) => {}
                () = stop.cancelled() => {}
            }
        });
        Self {
            demand,
            units,
            started: Instant::now(),
        }
    }

    /// Has the units of these listeners asked for, and waits a moment for what is new: so a listener that is about to be
    /// shared is so at once, and one that another service takes over is never shared against that one's word.
    pub async fn follow(&mut self, listeners: &[impl Borrow<Listener>]) {
        let wanted = demand(listeners);
        self.demand.send_if_modified(|before| {
            let is_new = *before != wanted;
            before.clone_from(&wanted);
            is_new
        });
        let settled = self
            .units
            .wait_for(|units| units.is_settled(&wanted, Instant::now()));
        // What is not known then is for the picture to wait for.
        drop(timeout(MOMENT, settled).await);
    }

    /// Whether what was there at the start was heard, or has had its time: the listeners that wait now are new.
    pub fn is_ready(&self) -> bool {
        let now = Instant::now();
        now >= self.started + PATIENCE || self.units.borrow().is_settled(&self.demand.borrow(), now)
    }

    /// What is known.
    pub fn units(&self) -> Ref<'_, Units> {
        self.units.borrow()
    }

    /// Takes what is known for seen.
    pub fn mark_unchanged(&mut self) {
        self.units.mark_unchanged();
    }

    /// Returns when more is known; may be dropped at any time.
    ///
    /// # Errors
    /// When the task has ended.
    pub async fn changed(&mut self) -> Result<(), RecvError> {
        self.units.changed().await
    }
}

/// The state of the task.
struct Asker {
    places: Places,
    told: watch::Sender<Units>,
    units: Units,
}

impl Asker {
    async fn run(mut self, mut demanded: watch::Receiver<Demand>) {
        loop {
            let demand = demanded.borrow_and_update().clone();
            self.units.keep(&demand);
            let due = self.units.due(&demand, Instant::now());
            if !due.is_empty() {
                self.ask(&demand, &due).await;
                continue;
            }
            // Whatever was forgotten.
            self.publish();
            tokio::select! {
                changed = demanded.changed() => if changed.is_err() { return },
                () = until(self.units.next(&demand)) => {}
            }
        }
    }

    /// One round of questions; what has no place in it is due still.
    async fn ask(&mut self, demand: &Demand, due: &[String]) {
        let had_trouble = self.units.trouble().is_some();
        let asked = Instant::now();
        let round = due.get(..ROUND).unwrap_or(due);
        for (service, answer) in self.places.ask(round).await {
            if let Some(interest) = demand.get(&service) {
                self.units.hear(&service, *interest, asked, answer);
            }
        }
        match self.units.trouble() {
            Some(trouble) if !had_trouble => {
                tracing::warn!(trouble, "units cannot be heard, which counts as saying nothing");
            }
            None if had_trouble => tracing::info!("units can be heard again"),
            Some(_) | None => {}
        }
        self.publish();
    }

    fn publish(&self) {
        self.told.send_if_modified(|before| {
            let is_new = *before != self.units;
            before.clone_from(&self.units);
            is_new
        });
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
