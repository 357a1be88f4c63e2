//! The service IP Helper, by the service control manager. (The crate `windows-service` sends no `PARAMCHANGE`.)

use std::io;
use std::time::Duration;

use windows_sys::Win32::Foundation::ERROR_SERVICE_DOES_NOT_EXIST;
use windows_sys::Win32::System::Services::{
    ControlService, SERVICE_CONTROL_PARAMCHANGE, SERVICE_PAUSE_CONTINUE, SERVICE_STATUS,
};

use crate::host::{Aside, NoAnswer, Service, ServiceHandle, service};

/// Its short name.
const NAME: &str = "iphlpsvc";

/// How long to wait for an answer. It comes in less than a millisecond, unless the service is slow to take an order: then the manager
/// waits for it, up to 30 seconds, and holds up whoever gives orders meanwhile
/// (<https://learn.microsoft.com/windows/win32/api/winsvc/nf-winsvc-controlservice>), and perhaps whoever asks.
const PATIENCE: Duration = Duration::from_millis(500);

/// Apart, so that what can be answered is answered while an order is carried out.
static QUESTIONS: Aside = Aside::new("services", || {});
static ORDERS: Aside = Aside::new("service-orders", || {});

/// Asks the manager, and waits no longer than a moment: `TimedOut` if there is no answer by then. What was asked may still be done.
fn bounded<T: Send + 'static>(
    aside: &'static Aside,
    call: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    aside.call(PATIENCE, call).map_err(|no_answer| {
        let kind = match no_answer {
            NoAnswer::Late => io::ErrorKind::TimedOut,
            NoAnswer::Failed => io::ErrorKind::Other,
        };
        io::Error::new(kind, format!("Windows' service control manager: {no_answer}"))
    })?
}

/// What state it is in.
pub fn query() -> io::Result<Service> {
    bounded(&QUESTIONS, || service(NAME))
}

/// Whether this program may tell the service anything: `PermissionDenied` if not. Windows lets administrators and the system.
pub fn may_control() -> io::Result<()> {
    bounded(&QUESTIONS, || {
        ServiceHandle::open(NAME, SERVICE_PAUSE_CONTINUE).map(drop)
    })
}

/// Sends `SERVICE_CONTROL_PARAMCHANGE`, at which IP Helper reads its entries again.
pub fn tell_of_changed_parameters() -> io::Result<()> {
    bounded(&ORDERS, send_changed_parameters)
}

fn send_changed_parameters() -> io::Result<()> {
    let Some(service) = ServiceHandle::open(NAME, SERVICE_PAUSE_CONTINUE)? else {
        return Err(io::Error::from_raw_os_error(
            ERROR_SERVICE_DOES_NOT_EXIST.cast_signed(),
        ));
    };
    let mut status = SERVICE_STATUS::default();
    // SAFETY: the service is open with the right that this takes, and the status is a live structure.
    let done = unsafe { ControlService(service.raw(), SERVICE_CONTROL_PARAMCHANGE, &raw mut status) };
    if done == 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    /// A fresh Wine prefix has no IP Helper; on Windows it usually runs.
    #[test]
    fn the_service_is_asked_for_without_harm() {
        let service = query().unwrap();

        let under_wine = std::env::var_os("WINELOADER").is_some();
        assert!(
            !under_wine || service == Service::Missing,
            "{service:?} in a fresh prefix"
        );
    }
}
