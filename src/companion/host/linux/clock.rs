//! `CLOCK_MONOTONIC`, which on Linux stands still during suspend, and `CLOCK_BOOTTIME`, which does not.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// The time awake since boot.
#[expect(
    clippy::expect_used,
    reason = "fails only for a clock that the kernel does not have; this one is always there"
)]
pub(in crate::host) fn time_awake() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .expect("Linux has CLOCK_MONOTONIC")
        .into()
}

/// The time since boot, asleep or not.
#[expect(
    clippy::expect_used,
    reason = "fails only for a clock that the kernel does not have; this one is there since 2.6.39"
)]
pub(in crate::host) fn time_running() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME)
        .expect("Linux has CLOCK_BOOTTIME")
        .into()
}
