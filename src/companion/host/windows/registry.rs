//! Errors of the registry.

use std::io;

use windows_sys::Win32::Foundation::ERROR_FILE_NOT_FOUND;

/// Whether a key or value is not there. The crate `windows-registry` puts the error into an `HRESULT`: its lower half, behind
/// `0x8007` (`FACILITY_WIN32`).
pub(crate) fn is_missing_key(error: &io::Error) -> bool {
    error.raw_os_error().map(i32::cast_unsigned) == Some(0x8007_0000 | ERROR_FILE_NOT_FOUND)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use windows_registry::CURRENT_USER;

    use super::*;

    #[test]
    fn what_is_not_there_is_told_from_other_failures() {
        let missing = CURRENT_USER
            .open(r"Software\wslnet-test-none")
            .map(drop)
            .unwrap_err();

        assert!(is_missing_key(&missing.into()));
        assert!(!is_missing_key(&io::Error::from_raw_os_error(5)));
    }
}
