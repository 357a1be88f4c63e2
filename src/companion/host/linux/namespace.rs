//! Throw-away network namespaces for the tests of this side.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

use std::io::Write;
use std::process::{Command, Stdio};

use nix::sched::{CloneFlags, unshare};
use nix::unistd::Uid;

/// Runs the test in a thread with a network namespace of its own, which ends with it. Only root may make one; for others
/// the test fails, as one that proves nothing must not pass.
pub(super) fn in_namespace(test: impl FnOnce() + Send + 'static) {
    assert!(
        Uid::effective().is_root(),
        "a network namespace needs root: run scripts/test.sh as root"
    );
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("root may make a network namespace");
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// `ip ARGUMENTS` in the calling thread's namespace.
pub(super) fn ip(arguments: &str) {
    let done = Command::new("ip")
        .args(arguments.split_whitespace())
        .output()
        .expect("iproute2 is installed");
    assert!(
        done.status.success(),
        "ip {arguments}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}

/// Many `ip` commands, one a line, in one process.
pub(super) fn ip_batch(commands: &str) {
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(commands.as_bytes())
        .unwrap();
    assert!(child.wait().unwrap().success());
}
