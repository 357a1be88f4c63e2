//! The state folder of the service, `%ProgramData%\wslnet`. Every user may make folders in `%ProgramData%`, so that it may be there
//! before us, made by somebody who still has the rights to it. So it is made together with its access list, in one call, and one
//! that is there is used only if nobody but the system and the administrators can have written there.

use std::fs::OpenOptions;
use std::io;
use std::os::windows::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::os::windows::io::AsRawHandle as _;
use std::path::Path;
use std::ptr::null_mut;

use anyhow::{Context, bail};
use windows_sys::Win32::Foundation::{ERROR_SUCCESS, LocalFree};
use windows_sys::Win32::Security::Authorization::{
    ConvertSecurityDescriptorToStringSecurityDescriptorW,
    ConvertStringSecurityDescriptorToSecurityDescriptorW, GetSecurityInfo, SDDL_REVISION_1, SE_FILE_OBJECT,
};
use windows_sys::Win32::Security::{
    DACL_SECURITY_INFORMATION, OWNER_SECURITY_INFORMATION, PSECURITY_DESCRIPTOR, SECURITY_ATTRIBUTES,
};
use windows_sys::Win32::Storage::FileSystem::{
    CreateDirectoryW, FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_REPARSE_POINT, FILE_FLAG_BACKUP_SEMANTICS,
    FILE_FLAG_OPEN_REPARSE_POINT, FILE_READ_ATTRIBUTES, READ_CONTROL,
};

use super::super::access;
use super::{Keep, Order, random_name};
use crate::host::wide;

/// How a folder that may be used is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protection {
    /// By its access list.
    AccessList,
    /// Not at all: its file system keeps no access lists. So it is under Wine.
    None,
}

pub(super) fn put(order: &mut Order) -> anyhow::Result<()> {
    let path = order.paths.state_dir.clone();
    match create(&path) {
        Ok(()) => order.tell(format!("made: {}", path.display())),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error).with_context(|| format!("cannot make {}", path.display())),
    }
    if check(&path)? == Protection::None {
        order.tell(format!(
            "note: the file system of {} keeps no access lists: whoever can write there can change what the service trusts",
            path.display()
        ));
    }
    Ok(())
}

pub(super) fn take(order: &mut Order) -> anyhow::Result<()> {
    match order.keep {
        Keep::State => Ok(()),
        Keep::Nothing if !order.paths.state_dir.exists() => Ok(()),
        Keep::Nothing => {
            check(&order.paths.state_dir).context("the folder is left alone")?;
            remove(order)
        }
    }
}

/// Removes the folder of an order with all that is in it. Links in it are removed and not followed.
pub(super) fn remove(order: &mut Order) -> anyhow::Result<()> {
    let path = order.paths.state_dir.clone();
    match std::fs::remove_dir_all(&path) {
        Ok(()) => order.tell(format!(
            "removed: {} with the key, the trusted keys and the configuration",
            path.display()
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("cannot remove {}", path.display())),
    }
    Ok(())
}

/// See [`super::state_folder_is_ours`].
pub(super) fn check(path: &Path) -> anyhow::Result<Protection> {
    let shown = path.display();
    let sddl = describe(path).with_context(|| format!("cannot look at {shown}"))?;
    let Err(reason) = access::judge(&sddl) else {
        return Ok(Protection::AccessList);
    };
    if keeps_access_lists(path)? {
        bail!(
            "{shown} cannot be used, because {reason}: whoever made it could change what the service trusts. \
             Look at what is there, remove the folder, and install again"
        );
    }
    Ok(Protection::None)
}

/// The owner and the access list of a folder, which must be no link of any kind.
fn describe(path: &Path) -> io::Result<String> {
    let folder = OpenOptions::new()
        .access_mode(READ_CONTROL | FILE_READ_ATTRIBUTES)
        .custom_flags(FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT)
        .open(path)?;
    let attributes = folder.metadata()?.file_attributes();
    if attributes & FILE_ATTRIBUTE_REPARSE_POINT != 0 || attributes & FILE_ATTRIBUTE_DIRECTORY == 0 {
        return Err(io::Error::new(
            io::ErrorKind::NotADirectory,
            "it is a link or a file, and must be a folder: remove it, and install again",
        ));
    }
    let what = OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION;
    let mut descriptor = Local(null_mut());
    // SAFETY: the handle is open with READ_CONTROL; the parts are asked for as a whole, by the last pointer, which is live.
    let error = unsafe {
        GetSecurityInfo(
            folder.as_raw_handle(),
            SE_FILE_OBJECT,
            what,
            null_mut(),
            null_mut(),
            null_mut(),
            null_mut(),
            &raw mut descriptor.0,
        )
    };
    if error != ERROR_SUCCESS {
        return Err(io::Error::from_raw_os_error(error.cast_signed()));
    }
    let (mut text, mut length) = (Local(null_mut()), 0);
    // SAFETY: the descriptor was filled above; the other pointers are live.
    let done = unsafe {
        ConvertSecurityDescriptorToStringSecurityDescriptorW(
            descriptor.0,
            SDDL_REVISION_1,
            what,
            (&raw mut text.0).cast(),
            &raw mut length,
        )
    };
    if done == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has succeeded, so that there are so many UTF-16 units, the final zero among them.
    let units = unsafe { std::slice::from_raw_parts(text.0.cast::<u16>(), length as usize) };
    let units = units.split(|unit| *unit == 0).next().unwrap_or_default();
    Ok(String::from_utf16_lossy(units))
}

/// Makes a folder together with its access list.
fn create(path: &Path) -> io::Result<()> {
    let (wanted, name) = (wide(access::OURS), wide(path));
    let mut descriptor = Local(null_mut());
    // SAFETY: the text is live and ends with a zero; the descriptor goes to a live pointer, its size is not asked for.
    let made = unsafe {
        ConvertStringSecurityDescriptorToSecurityDescriptorW(
            wanted.as_ptr(),
            SDDL_REVISION_1,
            &raw mut descriptor.0,
            null_mut(),
        )
    };
    if made == 0 {
        return Err(io::Error::last_os_error());
    }
    let attributes = SECURITY_ATTRIBUTES {
        nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
        lpSecurityDescriptor: descriptor.0,
        bInheritHandle: 0,
    };
    // SAFETY: the name is live and ends with a zero; the attributes and what they point to are live.
    if unsafe { CreateDirectoryW(name.as_ptr(), &raw const attributes) } == 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Whether the file system keeps access lists, as a folder of our own shows: nobody else can change one that was made with ours.
fn keeps_access_lists(beside: &Path) -> anyhow::Result<bool> {
    let parent = beside.parent().context("a folder without one above")?;
    let probe = parent.join(format!("wslnet-probe-{}", random_name()?));
    create(&probe).with_context(|| format!("cannot make a folder in {}", parent.display()))?;
    let kept = describe(&probe).map(|sddl| access::judge(&sddl).is_ok());
    // One that is left is empty, and closed to others.
    drop(std::fs::remove_dir(&probe));
    // In doubt it does.
    Ok(kept.unwrap_or(true))
}

/// Memory that the system gave out by `LocalAlloc`.
struct Local(PSECURITY_DESCRIPTOR);

impl Drop for Local {
    fn drop(&mut self) {
        // SAFETY: null, which is allowed, or memory that the system gave out for us to free, and that is not used again.
        unsafe { LocalFree(self.0) };
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use super::*;

    #[test]
    fn a_file_or_a_link_in_the_place_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        std::fs::write(&file, "").unwrap();

        let error = check(&file).unwrap_err();

        assert!(format!("{error:#}").contains("must be a folder"), "{error:#}");
        assert!(check(&parent.path().join("none")).is_err());
    }

    /// What Windows does with the access list; Wine keeps none, and is found out.
    #[test]
    fn a_folder_of_ours_is_ours() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("wslnet");

        create(&path).unwrap();
        assert_eq!(create(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);

        let under_wine = std::env::var_os("WINELOADER").is_some();
        let expected = if under_wine {
            Protection::None
        } else {
            Protection::AccessList
        };
        assert_eq!(check(&path).unwrap(), expected);
    }
}
