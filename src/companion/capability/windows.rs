//! Rights on Windows.

use std::ptr::null_mut;

use windows_sys::Win32::Security::{
    CheckTokenMembership, CreateWellKnownSid, SECURITY_MAX_SID_SIZE, WinBuiltinAdministratorsSid,
};

/// Windows lets every user open any port; what is taken or excluded is another matter.
#[expect(clippy::unnecessary_wraps, reason = "on Linux it takes rights")]
pub(super) fn ports() -> Result<(), String> {
    Ok(())
}

pub(super) fn firewall_rules() -> Result<(), String> {
    if is_administrator() {
        Ok(())
    } else {
        Err("takes an administrator or the system".to_owned())
    }
}

/// Whether this process has an administrator's rights now: an administrator's ordinary programs have not. The system has.
/// <https://learn.microsoft.com/windows/win32/api/securitybaseapi/nf-securitybaseapi-checktokenmembership>
pub(crate) fn is_administrator() -> bool {
    // In u32s, because the parts of a SID are aligned so.
    let mut sid = [0_u32; (SECURITY_MAX_SID_SIZE as usize).div_ceil(size_of::<u32>())];
    let sid: *mut core::ffi::c_void = sid.as_mut_ptr().cast();
    let mut size = SECURITY_MAX_SID_SIZE;
    // SAFETY: the buffer is writable for the size given, which is enough for any SID; this one has no domain.
    let made = unsafe { CreateWellKnownSid(WinBuiltinAdministratorsSid, null_mut(), sid, &raw mut size) };
    let mut is_member = 0;
    // SAFETY: the SID was made above; no token stands for the caller's own; the answer goes to a live integer.
    let told = made != 0 && unsafe { CheckTokenMembership(null_mut(), sid, &raw mut is_member) } != 0;
    told && is_member != 0
}
