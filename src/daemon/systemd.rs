//! What systemd is told: ready, one line of status, a sign of life. Outside systemd all of it does nothing.

use std::io;
use std::time::Duration;

use sd_notify::NotifyState;

/// The exit code by which systemd knows a configuration error (systemd.exec(5)). The unit does not start the daemon again
/// after it: a bad configuration stays bad. People get an ordinary failure instead.
pub const EX_CONFIG: u8 = 78;

/// Whether systemd started this process and listens to it.
pub fn is_our_manager() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// Speaks to the service manager. Says nothing twice.
#[derive(Debug, Default)]
pub struct Manager {
    ready: bool,
    status: String,
}

impl Manager {
    /// How often the watchdog wants to be fed; `None` when there is none. Half of what the unit allows.
    pub fn watchdog(&self) -> Option<Duration> {
        sd_notify::watchdog_enabled().map(|limit| limit / 2)
    }

    /// Start-up is complete.
    pub fn ready(&mut self) {
        if !self.ready {
            self.ready = true;
            send(&[NotifyState::Ready]);
        }
    }

    /// The configuration is being read again; [`Manager::reloaded`] must follow.
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => send(&[NotifyState::Reloading, now]),
            Err(error) => tracing::debug!(%error, "no monotonic time for the service manager"),
        }
    }

    /// The configuration was read again, or refused.
    pub fn reloaded(&self) {
        send(&[NotifyState::Ready]);
    }

    /// The one line that `systemctl status` shows.
    pub fn status(&mut self, line: &str) {
        if self.status != line {
            line.clone_into(&mut self.status);
            send(&[NotifyState::Status(line)]);
        }
    }

    /// A sign of life.
    pub fn alive(&self) {
        send(&[NotifyState::Watchdog]);
    }

    /// The daemon is about to end.
    pub fn stopping(&self) {
        send(&[NotifyState::Stopping]);
    }
}

fn send(states: &[NotifyState<'_>]) {
    match sd_notify::notify(states) {
        Ok(()) => {}
        // Without systemd there is no socket to speak to.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::debug!(%error, "the service manager could not be told"),
    }
}
