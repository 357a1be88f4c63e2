//! How the loop hears of the service manager's wishes and shows that it lives: signals and the watchdog.

use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Interval, MissedTickBehavior};

use crate::observe::Observer;
use crate::systemd::Manager;

/// Several signals as one.
pub(super) struct Signals(Vec<Signal>);

impl Signals {
    pub(super) fn new(kinds: &[SignalKind]) -> anyhow::Result<Self> {
        let signals = kinds.iter().map(|kind| signal(*kind)).collect::<Result<_, _>>();
        Ok(Self(signals.context("cannot wait for signals")?))
    }

    pub(super) async fn next(&mut self) {
        std::future::poll_fn(|context| {
            let any = self
                .0
                .iter_mut()
                .any(|signal| signal.poll_recv(context).is_ready());
            if any {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        })
        .await;
    }
}

/// Feeds the service manager's watchdog, but only while scans finish: a daemon that looks at nothing is of no use.
pub(super) struct Watchdog {
    interval: Option<Interval>,
    pulse: u64,
}

impl Watchdog {
    pub(super) fn new(every: Option<Duration>) -> Self {
        let interval = every.map(|every| {
            let mut interval = tokio::time::interval(every);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        });
        Self {
            interval,
            pulse: u64::MAX,
        }
    }

    pub(super) async fn tick(&mut self) {
        match &mut self.interval {
            Some(interval) => {
                interval.tick().await;
            }
            None => std::future::pending().await,
        }
    }

    pub(super) fn feed(&mut self, observer: &Observer, manager: &Manager) {
        let pulse = observer.pulse();
        if pulse != self.pulse {
            self.pulse = pulse;
            manager.alive();
        }
    }
}
