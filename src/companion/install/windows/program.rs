//! The program itself, in `%ProgramFiles%\wslnet`, where only administrators can change it. A running program cannot be
//! overwritten on Windows, but renamed: so it is moved aside, goes on, and is removed when nobody runs it any more.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::ptr::null;

use anyhow::Context;
use known_folders::KnownFolder;
use windows_sys::Win32::Storage::FileSystem::{MOVEFILE_DELAY_UNTIL_REBOOT, MoveFileExW};

use super::{Order, known, random_name, service, users};
use crate::host::wide;
use crate::service::NAME;

const FILE: &str = "wslnet-companion.exe";
/// What a program that was moved aside, and one that is being copied, is called.
const ASIDE: &str = "old-";
const HALF: &str = "new-";

pub(super) fn folder() -> anyhow::Result<PathBuf> {
    Ok(known(KnownFolder::ProgramFiles)?.join("wslnet"))
}

pub(super) fn path() -> anyhow::Result<PathBuf> {
    Ok(folder()?.join(FILE))
}

pub(super) fn put(order: &mut Order) -> anyhow::Result<()> {
    let (folder, target) = (folder()?, path()?);
    let source = std::env::current_exe().context("Windows does not say where this program is")?;
    if is_same(&source, &target) {
        return Ok(());
    }
    let failed = || format!("cannot put the program into {}", folder.display());
    std::fs::create_dir_all(&folder).with_context(failed)?;
    let new = folder.join(format!("{HALF}{}.tmp", random_name()?));
    let done = copy(&source, &new)
        .map_err(anyhow::Error::from)
        .and_then(|()| replace(&new, &target));
    if done.is_err() {
        discard(&new);
    }
    done.with_context(failed)?;
    order.tell(format!("put: {}", target.display()));
    Ok(())
}

/// It stays for whoever still has it started: other users, and a service that could not be removed.
pub(super) fn take(order: &mut Order) -> anyhow::Result<()> {
    let (folder, target) = (folder()?, path()?);
    if !folder.exists() {
        return Ok(());
    }
    if service::is_installed() {
        order.tell(format!(
            "left: {}, which the service {NAME} runs",
            target.display()
        ));
        return Ok(());
    }
    if let Some(left) = users::left_for_others(order.user.as_ref())? {
        order.tell(left);
        return Ok(());
    }
    if target.exists() {
        let gone = remove_running(&target).with_context(|| format!("cannot remove {}", target.display()))?;
        order.tell(if gone {
            format!("removed: {}", target.display())
        } else {
            format!(
                "removed: {}; what still runs of it goes when Windows starts the next time",
                target.display()
            )
        });
    }
    sweep(&folder);
    // What somebody else put there stays, and the folder with it.
    if std::fs::remove_dir(&folder).is_err() {
        delete_at_reboot(&folder);
    }
    Ok(())
}

/// The copy is on the disk before it gets its name.
fn copy(source: &Path, new: &Path) -> io::Result<()> {
    std::fs::copy(source, new)?;
    File::options().write(true).open(new)?.sync_all()
}

fn replace(new: &Path, target: &Path) -> anyhow::Result<()> {
    let Err(in_use) = std::fs::rename(new, target) else {
        return Ok(());
    };
    let aside = aside(target)?;
    std::fs::rename(target, &aside).map_err(|_| in_use)?;
    if let Err(error) = std::fs::rename(new, target) {
        // Rather the former version than none.
        drop(std::fs::rename(&aside, target));
        return Err(error.into());
    }
    Ok(())
}

/// Removes a program that may run; says whether it is gone from the disk.
fn remove_running(target: &Path) -> anyhow::Result<bool> {
    if std::fs::remove_file(target).is_ok() {
        return Ok(true);
    }
    let aside = aside(target)?;
    std::fs::rename(target, &aside)?;
    Ok(discard(&aside))
}

fn aside(target: &Path) -> anyhow::Result<PathBuf> {
    Ok(target.with_file_name(format!("{ASIDE}{}.exe", random_name()?)))
}

/// Removes a file now if that is possible, which it says, or else when Windows starts the next time.
fn discard(path: &Path) -> bool {
    let gone = std::fs::remove_file(path).is_ok() || !path.exists();
    if !gone {
        delete_at_reboot(path);
    }
    gone
}

/// Of folders Windows removes empty ones only.
fn delete_at_reboot(path: &Path) {
    let name = wide(path);
    // SAFETY: the name is live and ends with a zero; null means that the file is to be removed.
    unsafe { MoveFileExW(name.as_ptr(), null(), MOVEFILE_DELAY_UNTIL_REBOOT) };
    // If Windows does not take note of it, the next installation sweeps.
}

/// Removes the version that was there before, or as much of it as nobody runs.
pub(super) fn sweep_former() -> anyhow::Result<()> {
    sweep(&folder()?);
    Ok(())
}

/// Removes what was moved aside, and what was copied by half: now if that is possible, or else when Windows starts the next time.
fn sweep(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_ours = name
            .to_str()
            .is_some_and(|name| name.starts_with(ASIDE) || name.starts_with(HALF));
        if is_ours {
            discard(&entry.path());
        }
    }
}

fn is_same(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use std::process::{Command, Stdio};

    use super::*;

    /// Waits for the end of its input if it is the child of another test.
    #[test]
    fn runs_until_it_is_told_to_end() {
        if std::env::var_os("WSLNET_TEST_WAIT").is_some() {
            std::io::stdin().read_line(&mut String::new()).unwrap();
        }
    }

    #[test]
    fn a_running_program_is_replaced_and_what_was_moved_aside_is_swept_later() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join(FILE);
        std::fs::copy(std::env::current_exe().unwrap(), &target).unwrap();
        let mut running = Command::new(&target)
            .args([
                "--exact",
                "install::windows::program::tests::runs_until_it_is_told_to_end",
            ])
            .env("WSLNET_TEST_WAIT", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let new = folder.path().join("new-1.tmp");
        std::fs::write(&new, "new").unwrap();

        replace(&new, &target).unwrap();

        assert_eq!(std::fs::read(&target).unwrap(), b"new");
        drop(running.stdin.take());
        running.wait().unwrap();
        sweep(folder.path());
        let left: Vec<_> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left, [FILE]);
    }
}
