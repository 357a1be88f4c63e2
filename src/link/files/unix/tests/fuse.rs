//! A real FUSE file system, which is what a virtiofs drive is to the kernel: one directory in which every name is an empty
//! file of mode 0600. It exists for one thread, in a mount namespace of its own.

use std::ffi::{CString, c_ulong};
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use nix::libc;

/// Numbers of linux/fuse.h.
const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const OPEN: u32 = 14;
const STATFS: u32 = 17;
const INIT: u32 = 26;
const OPENDIR: u32 = 27;

/// Says that a test could not run, for `scripts/test.sh` to count it; in continuous integration that is a failure.
pub(super) fn skipped() {
    assert!(
        std::env::var_os("CI").is_none(),
        "no FUSE here, so a test proved nothing"
    );
    // Past the test program, which keeps what the macros print of a test that passes.
    writeln!(std::io::stderr(), "\nleft out: this kernel has no FUSE").unwrap();
}

/// Runs `act` in a thread that sees the file system at `place`. `None` where this process may not mount, or the kernel has
/// no FUSE.
pub(super) fn mounted<T: Send>(place: &Path, act: impl FnOnce() -> T + Send) -> Option<T> {
    let device = OpenOptions::new().read(true).write(true).open("/dev/fuse").ok()?;
    let options = format!("fd={},rootmode=40700,user_id=0,group_id=0", device.as_raw_fd());
    let (ready, is_ready) = mpsc::channel();
    thread::scope(|scope| {
        let inside = scope.spawn(move || {
            // SAFETY: takes no pointers; only this thread moves to the new mount namespace.
            let alone = unsafe { libc::unshare(libc::CLONE_NEWNS) } == 0;
            if !(alone
                && mount(
                    "none",
                    Path::new("/"),
                    "none",
                    libc::MS_REC | libc::MS_PRIVATE,
                    "",
                )
                && mount("none", place, "fuse", 0, &options))
            {
                return None;
            }
            ready.send(()).ok()?;
            Some(act())
        });
        // The server stays outside: the namespace, and with it the mount, ends with the thread inside, and then reading
        // from the device fails. Without a mount the other end of the channel is gone.
        if is_ready.recv().is_ok() {
            serve(device);
        }
        inside.join().unwrap()
    })
}

/// Shows the file `source` at `target`, within the same thread.
pub(super) fn bind(source: &Path, target: &Path) {
    assert!(mount(source.to_str().unwrap(), target, "none", libc::MS_BIND, ""));
}

fn mount(source: &str, target: &Path, kind: &str, flags: c_ulong, options: &str) -> bool {
    let text = |text: &str| CString::new(text).unwrap();
    let (source, target) = (text(source), text(target.to_str().unwrap()));
    let (kind, options) = (text(kind), text(options));
    // SAFETY: all pointers are to NUL-terminated strings that outlive the call.
    let result = unsafe {
        libc::mount(
            source.as_ptr(),
            target.as_ptr(),
            kind.as_ptr(),
            flags,
            options.as_ptr().cast(),
        )
    };
    result == 0
}

fn serve(mut device: File) {
    let mut request = vec![0; 128 * 1024];
    while device.read(&mut request).is_ok() {
        let number =
            |at: usize| u32::from_ne_bytes([request[at], request[at + 1], request[at + 2], request[at + 3]]);
        let (operation, node) = (number(4), number(16));
        let (error, body) = match operation {
            FORGET => continue,
            INIT => (0, words(&[7, 31, 0, 0, 0, 4096, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0])),
            LOOKUP => (
                0,
                [words(&[2, 0, 0, 0, 0, 0, 0, 0, 0, 0]), attributes(2)].concat(),
            ),
            GETATTR => (0, [words(&[0; 4]), attributes(node)].concat()),
            OPEN | OPENDIR => (0, words(&[0; 4])),
            STATFS => (0, words(&[0; 20])),
            _ => (-libc::ENOSYS, Vec::new()),
        };
        let length = u32::try_from(16 + body.len()).unwrap();
        let head = [&length.to_ne_bytes()[..], &error.to_ne_bytes(), &request[8..16]].concat();
        if device.write_all(&[head, body].concat()).is_err() {
            return;
        }
    }
}

/// `struct fuse_attr`: the directory is node 1.
fn attributes(node: u32) -> Vec<u8> {
    let (mode, links) = if node == 1 { (0o40_700, 2) } else { (0o100_600, 1) };
    words(&[
        node, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, mode, links, 0, 0, 0, 4096, 0,
    ])
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}
