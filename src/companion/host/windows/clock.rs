//! The time since boot, without sleep and hibernation and with them.

use std::time::Duration;

use windows_sys::Win32::System::SystemInformation::GetTickCount64;
use windows_sys::Win32::System::WindowsProgramming::QueryUnbiasedInterruptTime;

/// The time awake since boot, in steps of the system timer. (The precise variant costs more and needs Windows 10.)
pub(in crate::host) fn time_awake() -> Duration {
    let mut time: u64 = 0;
    // SAFETY: the pointer is to a live u64 that the call fills. It fails only for a null pointer.
    unsafe { QueryUnbiasedInterruptTime(&raw mut time) };
    // Units of 100 ns. The quotient and the remainder fit by their divisors.
    Duration::from_secs(time / 10_000_000) + Duration::from_nanos(time % 10_000_000 * 100)
}

/// The time since boot, in steps of the system timer. It "includes time the system spends in sleep or hibernation"
/// (`GetTickCount64`).
pub(in crate::host) fn time_running() -> Duration {
    // SAFETY: takes nothing and cannot fail.
    Duration::from_millis(unsafe { GetTickCount64() })
}
