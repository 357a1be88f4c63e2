//! What makes a file or directory unsafe to use. Decisions about facts that the caller read from an open descriptor.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;

use nix::sys::statfs::{FUSE_SUPER_MAGIC, FsType, fstatfs};

use crate::error::Refusal;
use crate::files::Privacy;

/// `V9FS_MAGIC` of linux/magic.h; the nix crate does not have it.
const V9FS_MAGIC: FsType = FsType(0x0102_1997);

/// The outer result is the system's, the inner one ours.
pub(super) fn check_file_system(file: &File) -> io::Result<Result<(), Refusal>> {
    Ok(refuse_file_system(fstatfs(file)?.filesystem_type()))
}

/// WSL2 mounts Windows drives (drvfs: /mnt/c and its like) as 9p, or as virtiofs where .wslconfig asks for it;
/// virtiofs is FUSE underneath and statfs(2) says so. Modes there come from mount options and from what Windows
/// stored, so a 0600 proves nothing. Other FUSE file systems get the same answer: their server sees every byte.
pub(super) fn refuse_file_system(kind: FsType) -> Result<(), Refusal> {
    if kind == V9FS_MAGIC {
        return Err(Refusal::SharedWithWindows {
            file_system: "9p (drvfs)",
        });
    }
    if kind == FUSE_SUPER_MAGIC {
        return Err(Refusal::SharedWithWindows {
            file_system: "virtiofs (FUSE)",
        });
    }
    Ok(())
}

/// The user of the directory is the user of this process. Root may come from outside: that is the command line at
/// work on the daemon's directory.
pub(super) fn check_directory(owner: u32, mode: u32, user: u32) -> Result<(), Refusal> {
    if owner != user && user != 0 {
        return Err(Refusal::DirectoryOwner { owner, user });
    }
    check_mode(mode, 0o022, 0o700)
}

pub(super) fn check_file(metadata: &Metadata, expected: u32, privacy: Privacy) -> Result<(), Refusal> {
    if !metadata.is_file() {
        return Err(Refusal::NotAFile);
    }
    if metadata.nlink() > 1 {
        return Err(Refusal::HardLinks {
            links: metadata.nlink(),
        });
    }
    if metadata.uid() != expected {
        return Err(Refusal::FileOwner {
            owner: metadata.uid(),
            expected,
        });
    }
    let forbidden = match privacy {
        Privacy::Secret => 0o077,
        Privacy::Public => 0o022,
    };
    check_mode(metadata.mode(), forbidden, 0o600)
}

fn check_mode(mode: u32, forbidden: u32, fix: u32) -> Result<(), Refusal> {
    if mode & forbidden == 0 {
        Ok(())
    } else {
        Err(Refusal::Mode {
            mode: mode & 0o7777,
            fix,
        })
    }
}
