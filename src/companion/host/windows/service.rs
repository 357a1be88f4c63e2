//! A service's state, by the service control manager.

use std::io;
use std::ptr::null;

use windows_sys::Win32::Foundation::ERROR_SERVICE_DOES_NOT_EXIST;
use windows_sys::Win32::System::Services::{
    CloseServiceHandle, OpenSCManagerW, OpenServiceW, QUERY_SERVICE_CONFIGW, QueryServiceConfigW,
    QueryServiceStatusEx, SC_HANDLE, SC_MANAGER_CONNECT, SC_STATUS_PROCESS_INFO, SERVICE_DISABLED,
    SERVICE_QUERY_CONFIG, SERVICE_QUERY_STATUS, SERVICE_RUNNING, SERVICE_STATUS_PROCESS,
};

use crate::host::Service;

/// The largest description of a service, in bytes (Microsoft, `QueryServiceConfigW`).
const CONFIG_SIZE: usize = 8 << 10;

/// A handle of the service control manager or of a service.
pub(crate) struct ServiceHandle(SC_HANDLE);

impl Drop for ServiceHandle {
    fn drop(&mut self) {
        // SAFETY: the handle is open, ours, and not used again.
        unsafe { CloseServiceHandle(self.0) };
    }
}

impl ServiceHandle {
    /// Opens the service of this short name with these rights; `None` if this Windows has none.
    pub(crate) fn open(name: &str, rights: u32) -> io::Result<Option<Self>> {
        // SAFETY: both names may be null: this machine, its active database.
        let manager = Self::new(unsafe { OpenSCManagerW(null(), null(), SC_MANAGER_CONNECT) })?;
        let name: Vec<u16> = name.encode_utf16().chain([0]).collect();
        // SAFETY: the manager is open, and the name ends with a zero.
        match Self::new(unsafe { OpenServiceW(manager.0, name.as_ptr(), rights) }) {
            Ok(service) => Ok(Some(service)),
            Err(error) if error.raw_os_error() == Some(ERROR_SERVICE_DOES_NOT_EXIST.cast_signed()) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn new(handle: SC_HANDLE) -> io::Result<Self> {
        if handle.is_null() {
            return Err(io::Error::last_os_error());
        }
        Ok(Self(handle))
    }

    /// The handle, for as long as this lives.
    pub(crate) fn raw(&self) -> SC_HANDLE {
        self.0
    }
}

/// What state a service is in. Windows tells every user.
pub(crate) fn service(name: &str) -> io::Result<Service> {
    let Some(service) = ServiceHandle::open(name, SERVICE_QUERY_STATUS | SERVICE_QUERY_CONFIG)? else {
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

fn is_disabled(service: &ServiceHandle) -> io::Result<bool> {
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
