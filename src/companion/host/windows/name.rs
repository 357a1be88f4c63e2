//! The machine's name.

use windows_sys::Win32::System::SystemInformation::{ComputerNameDnsHostname, GetComputerNameExW};

/// The name by which the machine knows itself, as `hostname` prints it.
pub(in crate::host) fn own_name() -> Option<String> {
    // Labels have 63 characters at most; Windows allows 15 of them unless a tool of its own is used.
    let mut buffer = [0_u16; 256];
    let mut length = u32::try_from(buffer.len()).ok()?;
    // SAFETY: the buffer is live and as long as `length` says, which the call replaces by what it wrote.
    let told = unsafe { GetComputerNameExW(ComputerNameDnsHostname, buffer.as_mut_ptr(), &raw mut length) };
    let name = buffer.get(..usize::try_from(length).ok()?)?;
    (told != 0).then(|| String::from_utf16_lossy(name))
}
