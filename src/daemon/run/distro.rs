//! The name of this distro as the event loop knows it. WSL is asked on a thread of its own, because it may take seconds.

use std::thread;

use tokio::sync::oneshot;

use crate::config::Config;
use crate::labels::{DistroName, distro_name};

/// The name, and whether somebody is still being asked for it.
#[derive(Debug)]
pub(super) struct Distro {
    name: Option<String>,
    answer: Option<oneshot::Receiver<DistroName>>,
    /// Whether there was any answer yet.
    settled: bool,
}

impl Distro {
    /// Starts to find out.
    pub(super) fn find_out(config: &Config) -> Self {
        Self {
            name: None,
            answer: Some(ask(config)),
            settled: false,
        }
    }

    /// Starts to find out under a changed configuration. The former name counts until there is an answer.
    pub(super) fn find_out_again(&mut self, config: &Config) {
        self.answer = Some(ask(config));
    }

    /// The name, once it is known.
    pub(super) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Whether there was an answer, if only that there is none.
    pub(super) fn is_settled(&self) -> bool {
        self.settled
    }

    /// Returns when there is an answer; may be dropped at any time.
    pub(super) async fn changed(&mut self) {
        let Some(answer) = &mut self.answer else {
            return std::future::pending().await;
        };
        let found = answer.await;
        self.answer = None;
        self.settled = true;
        if let Ok(DistroName { name, source }) = found {
            match &name {
                Some(name) => tracing::info!(name, source, "this distro"),
                None => tracing::info!(source, "the name of this distro is not known"),
            }
            self.name = name;
        }
    }
}

fn ask(config: &Config) -> oneshot::Receiver<DistroName> {
    let (sender, answer) = oneshot::channel();
    let configured = config.distro.clone();
    let asking = thread::Builder::new().name("distro".to_owned()).spawn(move || {
        // Nobody waits for it any more when the daemon stops.
        drop(sender.send(distro_name(configured.as_deref())));
    });
    if let Err(error) = asking {
        tracing::warn!(%error, "there was no thread to find out the name of this distro with");
    }
    answer
}
