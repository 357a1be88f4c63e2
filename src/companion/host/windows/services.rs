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
    let running = running().into_iter();
    let mut names: Vec<String> = running
        .filter(|(process, _)| *process == pid)
        .map(|(_, name)| name)
        .collect();
    names.sort();
    names
}

/// The running services: process and name.
fn running() -> Vec<(u32, String)> {
    let Some(manager) = Manager::open() else {
        return Vec::new();
    };
    let mut services = Vec::new();
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
            // SAFETY: the name lies in the same buffer, which nobody has written to since, and ends with a zero.
            let name = unsafe { text(service.lpServiceName) };
            services.push((service.ServiceStatusProcess.dwProcessId, name));
        }
        if done {
            break;
        }
    }
    services
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
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use super::*;

    #[test]
    fn services_are_found_by_their_process() {
        // Some always run: RpcSs among them, under Wine too.
        let all = running();
        let (pid, name) = all.first().unwrap();

        assert!(!name.is_empty());
        assert!(services_of(*pid).contains(name));
        assert_eq!(services_of(std::process::id()), [""; 0], "this is no service");
    }
}
