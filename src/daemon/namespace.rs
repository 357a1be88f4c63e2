//! Throw-away network namespaces for tests. They need root, and fail without it rather than pass untried.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::process::Command;
use std::thread;
use std::time::Instant;

use nix::sched::{CloneFlags, unshare};

/// Runs a test on a thread that has a network namespace of its own, with nothing in it. The namespace belongs to the
/// thread: whatever the test does on others happens elsewhere.
pub(crate) fn in_namespace(test: impl FnOnce() + Send + 'static) {
    assert!(
        nix::unistd::geteuid().is_root(),
        "this test makes network namespaces: run it as root"
    );
    let thread = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Runs a test there with a runtime that uses no other thread.
pub(crate) fn in_namespace_with_runtime(test: impl AsyncFnOnce() + Send + 'static) {
    in_namespace(move || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(test());
    });
}

/// `ip ARGUMENTS`. Child processes are in the namespace of the thread that starts them.
pub(crate) fn ip(arguments: &str) {
    let start = Instant::now();
    let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(
        output.status.success(),
        "ip {arguments}: {output:?} after {:?}",
        start.elapsed()
    );
}
