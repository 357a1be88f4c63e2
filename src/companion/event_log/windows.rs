//! The event log itself. Reporting is a call to a service, which may be slow or stuck, so a thread of its own does it.

use std::io;
use std::ptr::null_mut;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use windows_registry::LOCAL_MACHINE;
use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::System::EventLog::{
    DeregisterEventSource, EVENTLOG_ERROR_TYPE, EVENTLOG_INFORMATION_TYPE, EVENTLOG_WARNING_TYPE,
    RegisterEventSourceW, ReportEventW,
};

use super::budget::Budget;
use super::entry::{Entry, Kind};
use crate::host::{is_missing_key, wide};

/// Where the sources of the log "Application" are registered.
const SOURCES: &str = r"SYSTEM\CurrentControlSet\Services\EventLog\Application";
/// Its message N is the first string of event N, for N from 1 to 1000.
const MESSAGES: &str = r"%SystemRoot%\System32\EventCreate.exe";
/// How many entries may wait for the service; what comes beyond is in the log file only.
const WAITING: usize = 256;
/// How long the end of the program waits for the last entries.
const FLUSH_TIME: Duration = Duration::from_secs(2);

/// The open event log; it is closed, with what was still waiting, when this goes.
#[derive(Debug)]
pub(crate) struct EventLog {
    sender: Option<SyncSender<Entry>>,
    done: Receiver<()>,
}

/// Opens the log for the entries of one source. Where that is not possible, nothing is reported.
pub(crate) fn open(source: &'static str) -> EventLog {
    let (sender, entries) = sync_channel(WAITING);
    let (finished, done) = sync_channel(1);
    let report = move || {
        report_all(source, &entries);
        // Nobody waits unless the program ends.
        let _ = finished.send(());
    };
    let thread = thread::Builder::new().name("event log".to_owned()).spawn(report);
    EventLog {
        sender: thread.is_ok().then_some(sender),
        done,
    }
}

impl EventLog {
    /// What turns events of the program into entries.
    pub(crate) fn listener(&self) -> wslnet_console::log::Listener {
        Box::new(Reporter(self.sender.clone()))
    }

    /// Makes an entry of something that no log is there for yet.
    pub(crate) fn error(&self, text: &str) {
        send(self.sender.as_ref(), Entry::new(Kind::Error, text));
    }
}

impl Drop for EventLog {
    fn drop(&mut self) {
        // The listener stays in the process's subscriber for ever, so a last entry says that it is the last.
        if let Some(sender) = self.sender.take() {
            send(Some(&sender), Entry::new(Kind::Information, LAST));
            match self.done.recv_timeout(FLUSH_TIME) {
                // A service that is stuck cannot be told so in its own log.
                Ok(()) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
        }
    }
}

/// No event has this text, as [`Entry::of`] makes none without a message.
const LAST: &str = "";

struct Reporter(Option<SyncSender<Entry>>);

impl<S: Subscriber> Layer<S> for Reporter {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if let Some(entry) = Entry::of(event) {
            send(self.0.as_ref(), entry);
        }
    }
}

fn send(sender: Option<&SyncSender<Entry>>, entry: Entry) {
    // Full or gone: the log file has it.
    drop(sender.map(|sender| sender.try_send(entry)));
}

fn report_all(source: &str, entries: &Receiver<Entry>) {
    let Some(source) = Source::open(source) else {
        return;
    };
    let clock = Instant::now();
    let mut budget = Budget::new(Duration::ZERO);
    while let Ok(entry) = entries.recv() {
        if entry.text == LAST {
            return;
        }
        match budget.take(clock.elapsed()) {
            Some(0) => source.report(&entry),
            Some(left_out) => {
                let text = format!("{left_out} events were left out here; the log file has them");
                source.report(&Entry::new(Kind::Warning, &text));
                source.report(&entry);
            }
            None => {}
        }
    }
}

/// An open source.
struct Source(HANDLE);

impl Source {
    fn open(name: &str) -> Option<Self> {
        let name = wide(name);
        // SAFETY: null is this machine, and the name is live and ends with a zero.
        let handle = unsafe { RegisterEventSourceW(std::ptr::null(), name.as_ptr()) };
        (!handle.is_null()).then_some(Self(handle))
    }

    fn report(&self, entry: &Entry) {
        let (kind, id) = match entry.kind {
            Kind::Error => (EVENTLOG_ERROR_TYPE, 1),
            Kind::Warning => (EVENTLOG_WARNING_TYPE, 2),
            Kind::Information => (EVENTLOG_INFORMATION_TYPE, 3),
        };
        let text = wide(&entry.text);
        let strings = [text.as_ptr()];
        // SAFETY: the handle is open; there is one string, live and with a zero at its end; no user and no data.
        unsafe {
            ReportEventW(
                self.0,
                kind,
                0,
                id,
                null_mut(),
                1,
                0,
                strings.as_ptr(),
                std::ptr::null(),
            );
        }
        // A log that takes nothing cannot be told so.
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        // SAFETY: the handle is open, ours, and not used again.
        unsafe { DeregisterEventSource(self.0) };
    }
}

/// Makes the source known to Windows, so that it shows our entries with their text.
///
/// # Errors
/// Those of the registry; it takes an administrator.
pub(crate) fn register(source: &str) -> io::Result<()> {
    let key = LOCAL_MACHINE.create(format!(r"{SOURCES}\{source}"))?;
    key.set_expand_string("EventMessageFile", MESSAGES)?;
    key.set_u32(
        "TypesSupported",
        u32::from(EVENTLOG_ERROR_TYPE | EVENTLOG_WARNING_TYPE | EVENTLOG_INFORMATION_TYPE),
    )?;
    Ok(())
}

/// Takes that back; says whether there was something.
///
/// # Errors
/// Those of the registry; it takes an administrator.
pub(crate) fn unregister(source: &str) -> io::Result<bool> {
    let removed = LOCAL_MACHINE
        .options()
        .read()
        .write()
        .open(SOURCES)
        .and_then(|sources| sources.remove_tree(source))
        .map_err(io::Error::from);
    match removed {
        Ok(()) => Ok(true),
        Err(error) if is_missing_key(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_source_comes_and_goes() {
        let name = format!("wslnet-test-{}", std::process::id());
        assert!(!unregister(&name).unwrap());

        register(&name).unwrap();
        let key = LOCAL_MACHINE.open(format!(r"{SOURCES}\{name}")).unwrap();
        assert_eq!(key.get_string("EventMessageFile").unwrap(), MESSAGES);
        assert_eq!(key.get_u32("TypesSupported").unwrap(), 7);

        assert!(unregister(&name).unwrap());
        assert!(!unregister(&name).unwrap());
    }

    /// Wine takes entries and keeps none, so that there is nothing to read back.
    #[test]
    fn entries_are_taken_and_the_end_does_not_wait_for_ever() {
        let log = open("wslnet-test");
        log.error("a test");
        drop(log);
    }
}
