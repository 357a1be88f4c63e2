//! The one call into WinSock that neither std nor socket2 makes: setting what only an I/O control code reaches.

use std::io;
use std::os::windows::io::AsRawSocket;

use windows_sys::Win32::Networking::WinSock::{SOCKET, WSAGetLastError, WSAIoctl};

/// Hands `value` to the socket under the control code `code`, whose documentation says what type it is to be.
///
/// # Errors
/// What WinSock says, as of a code that this version of Windows does not know.
pub(crate) fn set<T: Copy>(socket: &impl AsRawSocket, code: u32, value: &T) -> io::Result<()> {
    let mut returned = 0;
    // SAFETY: the socket is open for the whole call, which `socket` guarantees; input pointer and length describe
    // `value`, which outlives the call; there is no output buffer; no OVERLAPPED, so nothing is used later.
    let result = unsafe {
        WSAIoctl(
            socket.as_raw_socket() as SOCKET,
            code,
            (&raw const *value).cast(),
            size_of::<T>() as u32,
            std::ptr::null_mut(),
            0,
            &raw mut returned,
            std::ptr::null_mut(),
            None,
        )
    };
    if result == 0 {
        return Ok(());
    }
    // SAFETY: reads a value of this thread, no arguments.
    Err(io::Error::from_raw_os_error(unsafe { WSAGetLastError() }))
}
