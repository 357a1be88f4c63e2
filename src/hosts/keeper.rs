//! Keeps a hosts file as it should be, beside a program's event loop: that only says which names it wants, and is told what
//! became of them.
//!
//! Others write the file too. Defender resets all of it when it finds a name there that it protects, and whoever undid that at
//! once would start a fight; so what others undo is done again once a minute at most. When the keeper ends, the block goes.

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use crate::file::Written;
use crate::name::{HostName, Names};

/// How often the file is looked at although nothing else was wanted.
const LOOK: Duration = Duration::from_secs(5);
/// How long what somebody undid stays undone, after it was done again before.
const REPAIR: Duration = Duration::from_secs(60);
/// How long to wait for more changes after one, so that a distro in a hurry does not have the file written many times a second.
const GAP: Duration = Duration::from_millis(500);
/// How long to wait after the first failure; twice as long after each further one.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// Where the names are put.
pub trait Place: Send + 'static {
    /// Makes the file hold these names and no others of ours. The error is a sentence that names what to do.
    fn put(&mut self, names: &Names) -> impl Future<Output = Result<Written, String>> + Send;
}

/// What became of the names that were wanted last. The default: nothing yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Those names.
    pub names: Names,
    /// Those of them that were left out, as lines of others have them; or why none of them could be written.
    pub outcome: Option<Result<BTreeSet<HostName>, String>>,
}

/// Keeps one file.
#[derive(Debug)]
pub struct Keeper {
    /// The names; `None` at the end.
    wants: watch::Sender<Option<Names>>,
    told: watch::Receiver<Told>,
    task: JoinHandle<()>,
}

impl Keeper {
    /// Begins with no names: what a former run left behind goes.
    pub fn spawn(place: impl Place) -> Self {
        let (wants, wanted) = watch::channel(Some(Names::default()));
        let (tell, told) = watch::channel(Told::default());
        let task = tokio::spawn(keep(place, wanted, tell));
        Self { wants, told, task }
    }

    /// These names should be in the file, and no others.
    pub fn want(&self, names: Names) {
        self.wants.send_if_modified(|wanted| {
            let changed = wanted.as_ref() != Some(&names);
            *wanted = Some(names);
            changed
        });
    }

    /// What became of them as far as is known.
    pub fn told(&self) -> Told {
        self.told.borrow().clone()
    }

    /// Returns when [`told`](Self::told) has news; may be given up and called again.
    pub async fn changed(&mut self) {
        if self.told.changed().await.is_err() {
            // It ended, which it does not do by itself; there will be no news.
            std::future::pending::<()>().await;
        }
    }

    /// Takes the names out of the file, if that is possible within this time. No others are taken any more.
    pub async fn close(&mut self, patience: Duration) {
        self.wants.send_replace(None);
        if timeout(patience, &mut self.task).await.is_err() {
            tracing::warn!("the hosts file could not be cleared in time; the next start does it");
        }
    }
}

async fn keep(mut place: impl Place, mut wants: watch::Receiver<Option<Names>>, tell: watch::Sender<Told>) {
    let mut pace = Pace::default();
    let mut last = None;
    loop {
        let Some(names) = wants.borrow_and_update().clone() else {
            break;
        };
        let result = place.put(&names).await;
        let pause = pace.after(&result, last.as_ref() == Some(&names));
        let told = Told {
            outcome: Some(result.clone().map(|written| written.taken)),
            names,
        };
        // What is the same as before is news only if it was written all the same.
        if *tell.borrow() != told || result.as_ref().is_ok_and(|written| written.changed) {
            report(&result, &told.names);
        }
        last = Some(told.names.clone());
        tell.send_if_modified(|before| {
            let changed = *before != told;
            *before = told;
            changed
        });

        let gap = Instant::now() + GAP;
        if timeout(pause, wants.changed()).await.is_ok() {
            // The end, also that of the program, does not wait.
            let over = wants.wait_for(Option::is_none);
            let _ = timeout_at(gap, over).await;
        }
        if wants.has_changed().is_err() {
            break;
        }
    }
    let result = place.put(&Names::default()).await;
    report(&result, &Names::default());
}

fn report(result: &Result<Written, String>, names: &Names) {
    match result {
        Ok(Written { changed: true, taken }) => {
            tracing::info!(names = names.len() - taken.len(), "the hosts file was written");
        }
        Ok(Written { changed: false, .. }) => {}
        Err(error) if names.is_empty() => tracing::debug!(error, "the hosts file is not kept"),
        Err(error) => tracing::warn!(error, "the names are not in the hosts file"),
    }
}

/// When to look again.
#[derive(Debug, Default)]
struct Pace {
    failures: u32,
}

impl Pace {
    /// How long to wait, unless other names are wanted, after this result; `again` if the same names had been put before.
    fn after(&mut self, result: &Result<Written, String>, again: bool) -> Duration {
        match result {
            Ok(written) => {
                self.failures = 0;
                if written.changed && again { REPAIR } else { LOOK }
            }
            Err(_) => {
                let pause = FIRST_RETRY.saturating_mul(2_u32.saturating_pow(self.failures));
                self.failures = self.failures.saturating_add(1);
                pause.min(REPAIR)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::future::{Ready, ready};
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn what_others_undo_is_done_again_once_a_minute_at_most() {
        let mut pace = Pace::default();
        let wrote = |changed| {
            Ok(Written {
                changed,
                ..Written::default()
            })
        };

        assert_eq!(pace.after(&wrote(true), false), LOOK);
        assert_eq!(pace.after(&wrote(false), true), LOOK);
        assert_eq!(pace.after(&wrote(true), true), REPAIR);
        assert_eq!(pace.after(&wrote(false), true), LOOK);
    }

    #[test]
    fn failures_are_tried_again_less_and_less_often() {
        let mut pace = Pace::default();
        let failed = Err("no".to_owned());
        let pauses: Vec<u64> = (0..40).map(|_| pace.after(&failed, true).as_secs()).collect();

        assert_eq!(pauses[..8], [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(pauses[39], 60);
        pace.after(&Ok(Written::default()), true);
        assert_eq!(pace.after(&failed, true).as_secs(), 1);
    }

    /// Remembers what was put.
    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<Names>>>);

    impl Place for Paper {
        fn put(&mut self, names: &Names) -> impl Future<Output = Result<Written, String>> + Send {
            self.0.lock().unwrap().push(names.clone());
            let done: Ready<Result<Written, String>> = ready(Ok(Written::default()));
            done
        }
    }

    #[tokio::test]
    async fn it_begins_with_nothing_puts_what_is_wanted_and_ends_with_nothing() {
        let paper = Paper::default();
        let mut keeper = Keeper::spawn(paper.clone());
        keeper.changed().await;
        let mut names = Names::default();
        names.add(HostName::windows(), [10, 0, 0, 1].into()).unwrap();

        keeper.want(names.clone());
        keeper.changed().await;
        let told = keeper.told();
        keeper.close(Duration::from_secs(10)).await;

        assert_eq!(
            told,
            Told {
                names: names.clone(),
                outcome: Some(Ok(BTreeSet::new()))
            }
        );
        assert_eq!(
            *paper.0.lock().unwrap(),
            [Names::default(), names, Names::default()]
        );
    }
}
