//! The service IP Helper, by the service control manager. (The crate `windows-service` sends no `PARAMCHANGE`.)

use std::io;
use std::ptr::null;

use windows_sys::Win32::Foundation::ERROR_SERVICE_DOES_NOT_EXIST;
use windows_sys::Win32::System::Services::{
    CloseServiceHandle, ControlService, OpenSCManagerW, OpenServiceW, QUERY_SERVICE_CONFIGW,
    QueryServiceConfigW, QueryServiceStatusEx, SC_HANDLE, SC_MANAGER_CONNECT, SC_STATUS_PROCESS_INFO,
    SERVICE_CONTROL_PARAMCHANGE, SERVICE_DISABLED, SERVICE_PAUSE_CONTINUE, SERVICE_QUERY_CONFIG,
    SERVICE_QUERY_STATUS, SERVICE_RUNNING, SERVICE_STATUS, SERVICE_STATUS_PROCESS,
};
use windows_sys::core::w;

use crate::apply::portproxy::system::Service;

/// The largest description of a service, in bytes (Microsoft, `QueryServiceConfigW`).
const CONFIG_SIZE: usize = 8 << 10;

/// A handle of the service control manager or of a service.
struct Handle(SC_HANDLE);

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the handle is open, ours, and not used again.
        unsafe { CloseServiceHandle(self.0) };
    }
}

impl Handle {
    fn new(handle: SC_HANDLE) -> io::Result<Self> {
        if handle.is_null() {
            return Err(io::Error::last_os_error());
        }
        Ok(Self(handle))
    }
}

/// Opens IP Helper; `None` if this Windows has none.
fn open(rights: u32) -> io::Result<Option<Handle>> {
    // SAFETY: both names may be null: this machine, its active database.
    let manager = Handle::new(unsafe { OpenSCManagerW(null(), null(), SC_MANAGER_CONNECT) })?;
    // SAFETY: the manager is open, and the name is a literal that ends with a zero.
    match Handle::new(unsafe { OpenServiceW(manager.0, w!("iphlpsvc"), rights) }) {
        Ok(service) => Ok(Some(service)),
        Err(error) if error.raw_os_error() == Some(ERROR_SERVICE_DOES_NOT_EXIST.cast_signed()) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What state it is in.
pub fn query() -> io::Result<Service> {
    let Some(service) = open(SERVICE_QUERY_STATUS | SERVICE_QUERY_CONFIG)? else {
        return Ok(Service::Missing);
    };
    let (mut status, mut needed) = (SERVICE_STATUS_PROCESS::default(), 0);
    // SAFETY: the service is open with the right that this takes, and the buffer is a live structure of the size given.
    let done = unsafe {
        QueryServiceStatusEx(
            service.0,
            SC_STATUS_PROCESS_INFO,
            (&raw mut status).cast(),
            size_of_val(&status) as u32,
            &raw mut needed,
        )
    };
    if done == 0 {
        return Err(io::Error::last_os_error());
    }
    if status.dwCurrentState == SERVICE_RUNNING {
        return Ok(Service::Running(Some(status.dwProcessId).filter(|pid| *pid != 0)));
    }
    Ok(if is_disabled(&service)? {
        Service::Disabled
    } else {
        Service::Stopped
    })
}

fn is_disabled(service: &Handle) -> io::Result<bool> {
    // Of units as large as a pointer, for the alignment.
    let mut buffer = [0_u64; CONFIG_SIZE / size_of::<u64>()];
    let mut needed = 0;
    // SAFETY: the service is open with the right that this takes, and the buffer is writable for the size given and aligned.
    let done = unsafe {
        QueryServiceConfigW(
            service.0,
            buffer.as_mut_ptr().cast(),
            CONFIG_SIZE as u32,
            &raw mut needed,
        )
    };
    if done == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has succeeded, so the buffer begins with this structure; it is larger than that, and aligned.
    let config = unsafe { buffer.as_ptr().cast::<QUERY_SERVICE_CONFIGW>().read() };
    Ok(config.dwStartType == SERVICE_DISABLED)
}

/// Whether this program may tell the service anything: `PermissionDenied` if not. Windows lets administrators and the system.
pub fn may_control() -> io::Result<()> {
    open(SERVICE_PAUSE_CONTINUE).map(drop)
}

/// Sends `SERVICE_CONTROL_PARAMCHANGE`, at which IP Helper reads its entries again.
pub fn tell_of_changed_parameters() -> io::Result<()> {
    let Some(service) = open(SERVICE_PAUSE_CONTINUE)? else {
        return Err(io::Error::from_raw_os_error(
            ERROR_SERVICE_DOES_NOT_EXIST.cast_signed(),
        ));
    };
    let mut status = SERVICE_STATUS::default();
    // SAFETY: the service is open with the right that this takes, and the status is a live structure.
    let done = unsafe { ControlService(service.0, SERVICE_CONTROL_PARAMCHANGE, &raw mut status) };
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
