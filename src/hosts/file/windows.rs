//! Windows: `ReplaceFileW` puts a new file in the place of another one and gives it that one's access list, attributes and
//! times. It does so in two steps, between which the place is empty; so it is completed where it was interrupted.
//!
//! <https://learn.microsoft.com/windows/win32/api/winbase/nf-winbase-replacefilew>

use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io;
use std::os::windows::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use windows_sys::Win32::Foundation::{
    ERROR_LOCK_VIOLATION, ERROR_SHARING_VIOLATION, ERROR_UNABLE_TO_MOVE_REPLACEMENT,
    ERROR_UNABLE_TO_MOVE_REPLACEMENT_2, ERROR_UNABLE_TO_REMOVE_REPLACED,
};
use windows_sys::Win32::Storage::FileSystem::ReplaceFileW;
use windows_sys::Win32::System::SystemInformation::GetSystemDirectoryW;

use crate::block::LineEnd;

pub(super) const LINE_END: LineEnd = LineEnd::CrLf;

/// Somebody marked it on purpose, against programs like this one.
pub(super) const HEEDS_READ_ONLY: bool = true;

pub(super) const REPLACES_IN_TWO_STEPS: bool = true;

/// How long to wait for those who have the file open, mostly virus scanners, before each new attempt.
const PAUSES: [Duration; 6] = [
    Duration::from_millis(10),
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(400),
];

/// Not from the environment, which whoever starts the program can set.
pub(super) fn system_path() -> io::Result<PathBuf> {
    let mut buffer = [0_u16; 1024];
    let room = u32::try_from(buffer.len()).unwrap_or(0);
    // SAFETY: the buffer is live and as long as `room` says.
    let length = unsafe { GetSystemDirectoryW(buffer.as_mut_ptr(), room) };
    // 0 is a failure; more than there is room for is the length that it would need.
    match usize::try_from(length)
        .ok()
        .and_then(|length| buffer.get(..length))
    {
        Some([]) => Err(io::Error::last_os_error()),
        Some(folder) => Ok(PathBuf::from(OsString::from_wide(folder)).join(r"drivers\etc\hosts")),
        None => Err(io::ErrorKind::InvalidFilename.into()),
    }
}

/// `ReplaceFileW` sees to it.
#[expect(clippy::unnecessary_wraps, reason = "on Linux it can fail")]
pub(super) fn make_alike(_: &File, _: &Metadata) -> io::Result<()> {
    Ok(())
}

pub(super) fn replace(new: &Path, old: &Path) -> io::Result<()> {
    let mut pauses = PAUSES.iter();
    loop {
        let error = match replace_once(new, old) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        // One of its errors leaves the place empty. Only if it surely is: a rename would give a file that is there the access list
        // of the new one. A file that is removed while somebody has it open, for one, refuses to be looked at (not under Wine).
        if let Ok(false) = old.try_exists() {
            return std::fs::rename(new, old);
        }
        match pauses.next() {
            // While somebody has it open, the system also says that there is no right.
            Some(pause) if is_held(&error) || error.kind() == io::ErrorKind::PermissionDenied => {
                std::thread::sleep(*pause);
            }
            _ => return Err(error),
        }
    }
}

fn replace_once(new: &Path, old: &Path) -> io::Result<()> {
    let [old, new] = [old, new].map(|path| path.as_os_str().encode_wide().chain([0]).collect::<Vec<u16>>());
    // SAFETY: both names are live and end with a zero; no backup, no flags, and the reserved pointers are null as they must be.
    let replaced = unsafe {
        ReplaceFileW(
            old.as_ptr(),
            new.as_ptr(),
            std::ptr::null(),
            0,
            std::ptr::null(),
            std::ptr::null(),
        )
    };
    if replaced == 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

pub(super) fn is_held(error: &io::Error) -> bool {
    let held = [
        ERROR_SHARING_VIOLATION,
        ERROR_LOCK_VIOLATION,
        ERROR_UNABLE_TO_REMOVE_REPLACED,
        ERROR_UNABLE_TO_MOVE_REPLACEMENT,
        ERROR_UNABLE_TO_MOVE_REPLACEMENT_2,
    ];
    let code = error.raw_os_error().and_then(|code| u32::try_from(code).ok());
    code.is_some_and(|code| held.contains(&code))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::fs::OpenOptions;
    use std::os::windows::fs::OpenOptionsExt as _;

    use super::*;
    use crate::file::tests::{names, place};
    use crate::{FileError, HostsFile};

    #[test]
    fn the_systems_file_is_where_the_system_is() {
        let path = system_path().unwrap().display().to_string().to_ascii_lowercase();

        assert!(path.ends_with(r"\system32\drivers\etc\hosts"), "{path}");
    }

    #[test]
    fn a_file_that_somebody_holds_is_replaced_once_they_let_go() {
        let (_folder, path) = place(b"a\r\n");
        let open = || OpenOptions::new().read(true).share_mode(1).open(&path).unwrap();
        let mut file = HostsFile::new(path.clone());

        let held = open();
        let refused = file.put(&names("10.0.0.1")).unwrap_err();
        assert!(
            matches!(refused, FileError::Held(_) | FileError::NoRight(_)),
            "{refused}"
        );
        assert_eq!(std::fs::read(&path).unwrap(), b"a\r\n");
        drop(held);

        assert!(file.put(&names("10.0.0.1")).unwrap().changed);
    }

    #[test]
    fn an_interrupted_replacement_is_completed() {
        let (folder, path) = place(b"");
        std::fs::remove_file(&path).unwrap();
        std::fs::write(folder.path().join("hosts.wslnet-7.tmp"), "a\r\n").unwrap();

        HostsFile::new(path.clone()).put(&names("10.0.0.1")).unwrap();

        assert!(std::fs::read(&path).unwrap().starts_with(b"a\r\n# BEGIN"));
    }

    #[test]
    fn a_file_that_is_marked_as_read_only_is_left_alone() {
        let (_folder, path) = place(b"a\r\n");
        let mut permissions = std::fs::metadata(&path).unwrap().permissions();
        permissions.set_readonly(true);
        std::fs::set_permissions(&path, permissions).unwrap();
        let mut file = HostsFile::new(path.clone());

        assert!(matches!(file.put(&names("10.0.0.1")), Err(FileError::Marked(_))));
        assert!(matches!(file.probe(), Err(FileError::Marked(_))));
        assert_eq!(std::fs::read(&path).unwrap(), b"a\r\n");
    }
}
