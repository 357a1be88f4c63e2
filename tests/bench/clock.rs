//! The one clock of a machine, which all its processes read alike.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

/// Nanoseconds since the machine started. Instants of different processes can be compared.
pub fn now() -> u64 {
    nanoseconds(ClockId::CLOCK_MONOTONIC)
}

/// How long a process has been on a core until now, threads that have ended included.
pub fn cpu_of(pid: u32) -> Duration {
    let pid = Pid::from_raw(i32::try_from(pid).expect("a process number"));
    let clock = nix::time::clock_getcpuclockid(pid).expect("it runs");
    Duration::from_nanos(nanoseconds(clock))
}

fn nanoseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock).expect("a clock");
    let seconds = u64::try_from(time.tv_sec()).expect("after the start");
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec()).expect("within a second")
}
