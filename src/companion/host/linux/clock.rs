//! `CLOCK_MONOTONIC`, which on Linux stands still during suspend (`CLOCK_BOOTTIME` is the one that does not).

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
