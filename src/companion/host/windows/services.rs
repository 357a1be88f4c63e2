//! Which services run in a process. `svchost.exe` alone says nothing.

use std::ptr;

use windows_sys::Win32::Foundation::{ERROR_MORE_DATA, GetLastError};
use windows_sys::Win32::System::Services::{
    CloseServiceHandle, ENUM_SERVICE_STATUS_PROCESSW, EnumServicesStatusExW, OpenSCManagerW,
    SC_ENUM_PROCESS_INFO, SC_HANDLE, SC_MANAGER_CONNECT, SC_MANAGER_ENUMERATE_SERVICE, SERVICE_ACTIVE,
    SERVICE_WIN32,
};

/// The most that one call gives out (`EnumServicesStatusEx`: "the maximum size of this array is 256K bytes").
const SIZE: usize = 256 << 10;
/// How many calls are made: there are some hundred services, and one call has room for a thousand.
const CALLS: usize = 8;
/// The longest name of a service, in UTF-16 units (`CreateService`).
const NAME_LIMIT: usize = 256;
/// The most characters of a name that are kept.
const TEXT_LIMIT: usize = 64;

/// The short names of the running services whose process this is, in order; none also when the service manager does not tell.
pub(in crate::host) fn services_of(pid: u32) -> Vec<String> {
    let Some(manager) = Manager::open() else {
        return Vec::new();
    };
    let mut names = Vec::new();
    // In u64s, because the elements of the list are aligned so.
    let mut buffer: Vec<u64> = vec![0; SIZE / size_of::<u64>()];
    let mut resume = 0;
    for _ in 0..CALLS {
        let (mut needed, mut count) = (0, 0);
        // SAFETY: the handle is open; the buffer is writable for SIZE bytes; the other pointers are to live u32s; no group.
        let done = unsafe {
            EnumServicesStatusExW(
                manager.0,
                SC_ENUM_PROCESS_INFO,
                SERVICE_WIN32,
                SERVICE_ACTIVE,
                buffer.as_mut_ptr().cast(),
                SIZE as u32,
                &raw mut needed,
                &raw mut count,
                &raw mut resume,
                ptr::null(),
            )
        } != 0;
        // SAFETY: takes nothing and reads the calling thread's own error.
        let more = !done && unsafe { GetLastError() } == ERROR_MORE_DATA;
        if !done && !more {
            break;
        }
        let list: *const ENUM_SERVICE_STATUS_PROCESSW = buffer.as_ptr().cast();
        let room = SIZE / size_of::<ENUM_SERVICE_STATUS_PROCESSW>();
        for index in 0..room.min(count as usize) {
            // SAFETY: the call has written `count` elements to the beginning of the buffer, and `index` is within both.
            let service = unsafe { list.add(index).read() };
            if service.ServiceStatusProcess.dwProcessId == pid {
                // SAFETY: the name lies in the same buffer, which nobody has written to since, and ends with a zero.
                names.push(unsafe { text(service.lpServiceName) });
            }
        }
        if done {
            break;
        }
    }
    names.sort();
    names
}

/// The service manager of this machine, open to be asked for its list. Every user may do that.
struct Manager(SC_HANDLE);

impl Manager {
    fn open() -> Option<Self> {
        // SAFETY: null names this machine and the only database.
        let handle = unsafe {
            OpenSCManagerW(
                ptr::null(),
                ptr::null(),
                SC_MANAGER_CONNECT | SC_MANAGER_ENUMERATE_SERVICE,
            )
        };
        (!handle.is_null()).then_some(Self(handle))
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        // SAFETY: the handle is ours and closed once.
        unsafe { CloseServiceHandle(self.0) };
    }
}

/// # Safety
/// The pointer must be null or to UTF-16 units that end with a zero.
unsafe fn text(pointer: *const u16) -> String {
    let mut units = Vec::new();
    for offset in (0..NAME_LIMIT).take_while(|_| !pointer.is_null()) {
        // SAFETY: all units before this one were not the final zero.
        match unsafe { pointer.add(offset).read() } {
            0 => break,
            unit => units.push(unit),
        }
    }
    wslnet_console::text::clean(String::from_utf16_lossy(&units), TEXT_LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_manager_answers_and_this_process_is_no_service() {
        assert!(Manager::open().is_some());

        assert_eq!(services_of(std::process::id()), [""; 0]);
    }

    #[test]
    fn a_service_that_runs_is_named() {
        // Those that do not run yet have no process. On Windows and under Wine some service always runs: RpcSs among them.
        let all: Vec<String> = (4..=0x4000).step_by(4).flat_map(services_of).collect();

        assert!(all.iter().any(|name| !name.is_empty()), "{all:?}");
    }
}
