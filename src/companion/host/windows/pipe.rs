//! Which process is at the other end of a pipe.
//! <https://learn.microsoft.com/windows/win32/api/winbase/nf-winbase-getnamedpipeclientprocessid> and the like for the server.

use std::io;
use std::os::windows::io::AsRawHandle;

use windows_sys::Win32::System::Pipes::{GetNamedPipeClientProcessId, GetNamedPipeServerProcessId};

/// The process that made a pipe, asked by its client.
///
/// # Errors
/// What the system says.
pub(crate) fn pipe_server_process(pipe: &impl AsRawHandle) -> io::Result<u32> {
    let mut process = 0;
    // SAFETY: the handle is open, as its owner is borrowed; the number goes to a live integer.
    let told = unsafe { GetNamedPipeServerProcessId(pipe.as_raw_handle(), &raw mut process) };
    (told != 0)
        .then_some(process)
        .ok_or_else(io::Error::last_os_error)
}

/// The process that has opened a pipe, asked by its server.
///
/// # Errors
/// What the system says.
pub(crate) fn pipe_client_process(pipe: &impl AsRawHandle) -> io::Result<u32> {
    let mut process = 0;
    // SAFETY: as above.
    let told = unsafe { GetNamedPipeClientProcessId(pipe.as_raw_handle(), &raw mut process) };
    (told != 0)
        .then_some(process)
        .ok_or_else(io::Error::last_os_error)
}
