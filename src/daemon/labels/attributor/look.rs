//! What is looked for by now, and what came of it.

use std::collections::BTreeSet;
use std::mem::take;
use std::time::Instant;

use super::known::{Key, Known};
use super::rhythm::Need;
use super::walker::{Done, Order};
use super::{Attributor, MAKERS_FOR};
use crate::labels::processes::Scope;

impl Attributor {
    /// When there is something to order from the other thread; `None` while that is busy.
    pub(super) fn next_look(&self, now: Instant) -> Option<Instant> {
        if self.walker.is_done() {
            return Some(now);
        }
        if self.walker.is_busy() {
            return None;
        }
        let is_quiet = self.is_told && !self.news_for_looks && !self.walker.has_new();
        let walk = |need| self.walks.next(need).unwrap_or(now);
        let next_for_new = self.walks.next_for_new().unwrap_or(now);
        let looks = self.known.values().flat_map(|known| {
            let new = (!is_quiet || known.is_urgent()).then(|| known.due().unwrap_or(now).max(next_for_new));
            let needed = known.need(now).map(|need| walk(Some(need)));
            let settles = known.settles().map(|at| at.max(walk(Some(Need::Soon))));
            [new.filter(|_| !known.needs_all()), needed, settles]
        });
        looks.flatten().chain([walk(None)]).min()
    }

    /// Looks for new sockets at the processes of which the kernel says that they made some listen. Says whether it found one.
    pub(super) fn look_near(&mut self, now: Instant) -> bool {
        self.makers
            .retain(|(_, at)| now.saturating_duration_since(*at) <= MAKERS_FOR);
        let open = self
            .known
            .iter()
            .filter(|(key, known)| !known.is_decided && key.inode != 0);
        let wanted: BTreeSet<u64> = open.map(|(key, _)| key.inode).collect();
        if wanted.is_empty() || self.makers.is_empty() || !self.has_walked {
            return false;
        }
        let makers: Vec<i32> = self.makers.iter().rev().map(|(pid, _)| *pid).collect();
        let found = self.processes.holders_near(&makers, &wanted);
        for (key, known) in &mut self.known {
            known.found_near(found.holders_of(key.inode), now);
        }
        !found.holders.is_empty()
    }

    /// Takes what the other thread has found, and orders from it what is due. Says whether there is anything new.
    pub(super) fn look(&mut self, now: Instant) -> bool {
        let mut is_news = false;
        let mut patience = self.patience.other;
        loop {
            if let Some(done) = self.walker.take(patience) {
                self.take_over(done, now);
                is_news = true;
            }
            if self.walker.is_busy() {
                return is_news;
            }
            let is_awaited = self.known.values().any(Known::needs_all);
            let Some(order) = self.order(now) else {
                return is_news;
            };
            patience = if !self.has_walked {
                self.patience.first
            } else if is_awaited && order.scope == Scope::All {
                self.patience.nobody
            } else {
                self.patience.other
            };
            self.walker.begin(order);
        }
    }

    /// What is to be looked for by now.
    fn order(&mut self, now: Instant) -> Option<Order> {
        if self.known.is_empty() {
            return None;
        }
        let is_past = |next: Option<Instant>| next.is_none_or(|next| next <= now);
        let mut needs = self.known.values().map(|known| known.need(now)).chain([None]);
        let is_for_all = needs.any(|need| is_past(self.walks.next(need)));
        let is_due = is_past(self.walks.next_for_new()) && self.known.values().any(|known| known.is_due(now));
        if !(is_for_all || is_due && self.is_worth_a_look(now)) {
            return None;
        }
        self.births = self.processes.births();
        self.news_for_looks &= !self.is_told;
        let may_ask_threads = is_for_all && self.walks.may_look_into_threads(now);
        let mut order = Order {
            scope: if is_for_all {
                Scope::All
            } else {
                Scope::New(take(&mut self.again))
            },
            wanted: BTreeSet::new(),
            by_thread: BTreeSet::new(),
            now,
        };
        for (key, known) in &mut self.known {
            if key.inode != 0 {
                order.wanted.insert(key.inode);
                if may_ask_threads && known.is_for_threads(now) {
                    order.by_thread.insert(key.inode);
                }
            }
            known.begin(is_for_all, now);
        }
        Some(order)
    }

    /// Whether a look at new processes could find anything.
    fn is_worth_a_look(&mut self, now: Instant) -> bool {
        self.news_for_looks &= !self.is_told;
        let births = self.processes.births();
        let has_news = births.is_none() || births != self.births || self.walker.has_new();
        if has_news || self.known.values().any(Known::is_urgent) {
            return true;
        }
        for known in self.known.values_mut().filter(|known| known.is_due(now)) {
            known.glance(now);
        }
        false
    }

    /// Takes over what a look has found.
    fn take_over(&mut self, done: Done, now: Instant) {
        let order = done.order;
        match &done.processes {
            Ok(walk) => self.warn_once(walk.hidden),
            Err(error) => {
                tracing::warn!(%error, "cannot look for the owners of listeners in /proc, trying again")
            }
        }
        let is_for_all = order.scope == Scope::All;
        if is_for_all {
            self.has_walked = true;
            self.walks
                .walked(order.now, done.processes.as_ref().ok().map(|walk| walk.cost));
        } else if let Ok(walk) = &done.processes {
            self.walks.looked_into_new(order.now, walk.cost);
        }
        let asked = |key: &Key| key.inode == 0 || order.wanted.contains(&key.inode);
        for (key, known) in self.known.iter_mut().filter(|(key, _)| asked(key)) {
            match &done.processes {
                Ok(walk) if is_for_all => known.found_in_all(walk.holders_of(key.inode), now),
                Ok(walk) => known.found_more(walk.holders_of(key.inode), now),
                Err(_) => known.found_nobody(),
            }
        }
        let Some((unclaimed, walk)) = done.threads else {
            return;
        };
        self.walks.looked_into_threads(order.now, walk.cost);
        for (key, known) in &mut self.known {
            if unclaimed.contains(&key.inode) {
                known.found_more(walk.holders_of(key.inode), now);
            }
        }
    }

    /// Sockets of processes that are hidden from us look foreign: that must not stay a riddle.
    fn warn_once(&mut self, hidden: usize) {
        if hidden > 0 && !self.warned {
            self.warned = true;
            tracing::warn!(
                hidden,
                "may not look into some processes, their listeners count as foreign: \
                 this needs root, or CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"
            );
        }
    }
}
