//! The folder of Windows' own programs.

use std::ffi::OsString;
use std::io;
use std::os::windows::ffi::OsStringExt;
use std::path::PathBuf;

use windows_sys::Win32::Foundation::MAX_PATH;
use windows_sys::Win32::System::SystemInformation::GetSystemDirectoryW;

/// `C:\Windows\System32`, as the system says it and not the environment.
pub(crate) fn system_directory() -> io::Result<PathBuf> {
    let mut path = [0; MAX_PATH as usize];
    // SAFETY: the buffer is writable for as many units as given.
    let length = unsafe { GetSystemDirectoryW(path.as_mut_ptr(), MAX_PATH) };
    // 0 is a failure; more than there is room for, the size that would do.
    let path = path.get(..length as usize).filter(|path| !path.is_empty());
    let path = path.ok_or_else(io::Error::last_os_error)?;
    Ok(PathBuf::from(OsString::from_wide(path)))
}
