//! The networking mode as the event loop knows it. WSL is asked on a thread of its own: wslinfo may hang, and neither the
//! loop nor the daemon's end may wait for it.

use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::sleep_until;

use crate::config::Config;
use crate::network::{self, Detected, Detection, Inquiry, ModeError, NetworkMode, NotConfigured};
use crate::picture::ModeView;

/// When to ask again after WSL gave no answer.
const RETRY: Duration = Duration::from_secs(10);

/// The mode, and what is being done to know it. It is fixed for the life of the VM, so a clear answer is asked for once.
#[derive(Debug)]
pub(super) struct Mode {
    view: ModeView,
    search: Search,
    settled: bool,
}

#[derive(Debug)]
enum Search {
    Done,
    Asking(Inquiry, oneshot::Receiver<Result<Detected, ModeError>>),
    Pausing(Inquiry, Instant),
}

impl Mode {
    /// Starts to find out.
    pub(super) fn find_out(config: &Config) -> Result<Self, NotConfigured> {
        let detection = network::detect(config.mode_outside_wsl.configured())?;
        Ok(Self::starting_with(detection))
    }

    /// The mode under a changed configuration; none where that does not matter, as WSL is asked.
    pub(super) fn find_out_again(config: &Config) -> Result<Option<Self>, NotConfigured> {
        Ok(match network::detect(config.mode_outside_wsl.configured())? {
            known @ Detection::Known(_) => Some(Self::starting_with(known)),
            Detection::Ask(_) => None,
        })
    }

    /// What is known now.
    pub(super) fn view(&self) -> &ModeView {
        &self.view
    }

    /// Whether there was an answer, if only that there is none. Nothing may be pushed before: it would close what the
    /// daemon's predecessor had opened.
    pub(super) fn is_settled(&self) -> bool {
        self.settled
    }

    /// Returns when something else is known than before. May be dropped at any time.
    pub(super) async fn changed(&mut self) {
        loop {
            match &mut self.search {
                Search::Done => std::future::pending::<()>().await,
                Search::Pausing(inquiry, until) => {
                    sleep_until((*until).into()).await;
                    self.search = ask(inquiry.clone());
                }
                Search::Asking(inquiry, answer) => {
                    let answer = answer.await;
                    let inquiry = inquiry.clone();
                    return self.heard(answer, inquiry);
                }
            }
        }
    }

    fn starting_with(detection: Detection) -> Self {
        match detection {
            Detection::Known(detected) => Self {
                view: view_of(detected),
                search: Search::Done,
                settled: true,
            },
            Detection::Ask(inquiry) => Self {
                view: unknown("WSL is being asked".to_owned()),
                search: ask(inquiry),
                settled: false,
            },
        }
    }

    fn heard(
        &mut self,
        answer: Result<Result<Detected, ModeError>, oneshot::error::RecvError>,
        inquiry: Inquiry,
    ) {
        self.settled = true;
        let reason = match answer {
            Ok(Ok(detected)) => {
                self.view = view_of(detected);
                self.search = Search::Done;
                return;
            }
            Ok(Err(error)) => format!("{:#}", anyhow::Error::from(error)),
            Err(_) => "there was no thread to ask WSL with".to_owned(),
        };
        tracing::warn!(
            reason,
            "the networking mode is unknown; nothing is exposed until WSL tells it"
        );
        self.view = unknown(reason);
        self.search = Search::Pausing(inquiry, Instant::now() + RETRY);
    }
}

fn view_of(detected: Detected) -> ModeView {
    if let Some(ignored) = detected.ignored {
        tracing::warn!(
            ignored,
            "network-mode is not used inside WSL, where WSL itself is asked"
        );
    }
    tracing::info!(mode = %detected.mode, source = detected.source, "the networking mode is known");
    ModeView {
        mode: detected.mode,
        source: detected.source,
    }
}

fn unknown(source: String) -> ModeView {
    ModeView {
        mode: NetworkMode::Unknown("unknown".to_owned()),
        source,
    }
}

/// Not one of the runtime's threads, whose end the runtime waits for.
fn ask(inquiry: Inquiry) -> Search {
    let (answer, heard) = oneshot::channel();
    let question = inquiry.clone();
    let thread = thread::Builder::new()
        .name("ask-wsl".to_owned())
        .spawn(move || answer.send(question.ask()));
    // Without a thread the sender is gone, and that is the answer.
    if let Err(error) = thread {
        tracing::warn!(%error, "cannot start a thread");
    }
    Search::Asking(inquiry, heard)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::os::unix::fs::PermissionsExt;

    use tempfile::TempDir;
    use tokio::time::timeout;

    use super::*;
    use crate::network::Probe;

    const SOON: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_hanging_wsl_keeps_nobody_waiting() {
        let (_place, detection) = wsl("exec sleep 600", SOON * 2);

        let mut mode = Mode::starting_with(detection);
        let early = timeout(Duration::from_millis(100), mode.changed()).await;

        assert!(early.is_err() && !mode.is_settled());
        assert_eq!(mode.view().mode, NetworkMode::Unknown("unknown".to_owned()));
    }

    #[tokio::test]
    async fn the_answer_arrives_even_if_waiting_for_it_was_broken_off() {
        let (_place, detection) = wsl("sleep 0.3; echo mirrored", SOON);
        let mut mode = Mode::starting_with(detection);
        while timeout(Duration::from_millis(20), mode.changed()).await.is_err() {}

        assert!(mode.is_settled());
        assert_eq!(mode.view().mode, NetworkMode::Mirrored);
        let more = timeout(Duration::from_millis(100), mode.changed()).await;
        assert!(more.is_err(), "it is asked once");
    }

    #[tokio::test]
    async fn no_answer_is_told_and_asked_for_again() {
        let (place, detection) = wsl("echo no interop >&2; exit 3", SOON);
        let mut mode = Mode::starting_with(detection);
        timeout(SOON, mode.changed()).await.unwrap();
        assert!(mode.is_settled());
        let reason = &mode.view().source;
        assert!(reason.ends_with("no interop"), "{reason}");

        script(&place, "echo nat");
        assert!(matches!(mode.search, Search::Pausing(_, until) if until > Instant::now()));
        if let Search::Pausing(_, until) = &mut mode.search {
            *until = Instant::now();
        }
        timeout(SOON, mode.changed()).await.unwrap();

        assert_eq!(mode.view().mode, NetworkMode::Nat);
    }

    /// A WSL whose wslinfo is this script.
    fn wsl(wslinfo: &str, limit: Duration) -> (TempDir, Detection) {
        let place = tempfile::tempdir().unwrap();
        script(&place, wslinfo);
        let probe = Probe {
            wslinfo: vec![place.path().join("wslinfo")],
            osrelease: place.path().join("osrelease"),
            run_wsl: place.path().to_owned(),
            limit,
        };
        let detection = probe.detect(None).unwrap();
        (place, detection)
    }

    /// Written by another process, for the reason that the tests of [`network`] give.
    fn script(place: &TempDir, text: &str) {
        let path = place.path().join("wslinfo");
        let status = std::process::Command::new("/bin/sh")
            .args(["-c", "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$2\"", "sh", text])
            .arg(&path)
            .status()
            .unwrap();
        assert!(status.success());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}
