//! Opens a tracepoint: the only system calls here that need a right.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use perf_event_open_sys::bindings::{
    PERF_FLAG_FD_CLOEXEC, PERF_FORMAT_TOTAL_TIME_ENABLED, PERF_SAMPLE_TID, PERF_TYPE_TRACEPOINT,
    perf_event_attr,
};
use perf_event_open_sys::{ioctls, perf_event_open};

use super::Kind;

/// All processes.
const ANY: i32 = -1;

/// Opens a tracepoint, which has this number, on one processor. It records nothing before it is mapped.
///
/// # Errors
/// When the kernel refuses: no right, no such tracepoint, no such processor.
pub(super) fn open(kind: Kind, id: u64, cpu: u32) -> io::Result<OwnedFd> {
    let mut attributes = perf_event_attr::default();
    attributes.type_ = PERF_TYPE_TRACEPOINT;
    attributes.size = u32::try_from(size_of::<perf_event_attr>()).map_err(io::Error::other)?;
    attributes.config = id;
    attributes.__bindgen_anon_1.sample_period = 1;
    attributes.sample_type = match kind {
        // In the numbers of this PID namespace (perf_event_pid() of kernel/events/core.c).
        Kind::Listeners => u64::from(PERF_SAMPLE_TID),
        Kind::Fork | Kind::Exec | Kind::Exit => 0,
    };
    attributes.__bindgen_anon_2.wakeup_events = 1;
    // For `Source::is_alive`.
    attributes.read_format = u64::from(PERF_FORMAT_TOTAL_TIME_ENABLED);
    attributes.set_disabled(1);
    let cpu = i32::try_from(cpu).map_err(io::Error::other)?;

    // SAFETY: the structure is complete, says its own size, and lives until the call is over.
    let event =
        unsafe { perf_event_open(&raw mut attributes, ANY, cpu, -1, u64::from(PERF_FLAG_FD_CLOEXEC)) };
    Errno::result(event)?;
    // SAFETY: the kernel has just given it to nobody else.
    let event = unsafe { OwnedFd::from_raw_fd(event) };

    if let Some(filter) = kind.filter() {
        // SAFETY: the kernel copies the text, which ends with a NUL, and does not write to it.
        Errno::result(unsafe { ioctls::SET_FILTER(event.as_raw_fd(), filter.as_ptr().cast_mut()) })?;
    }
    // SAFETY: this takes a number.
    Errno::result(unsafe { ioctls::ENABLE(event.as_raw_fd(), 0) })?;
    Ok(event)
}
