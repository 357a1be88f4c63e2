//! Does the clock of the VM keep up? Nothing of wslnetd depends on it, but after a sleep of Windows users look for the fault here.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::finding::Finding;
use super::scene::Scene;

/// The clock that Windows gives the VM, in seconds since 1970.
const HARDWARE: &str = "/sys/class/rtc/rtc0/since_epoch";
/// How much they may differ: the hardware's counts whole seconds.
const TOLERANCE: Duration = Duration::from_secs(30);

pub(super) fn check(_: &Scene) -> Vec<Finding> {
    let own = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let hardware = fs::read_to_string(HARDWARE)
        .ok()
        .and_then(|text| text.trim().parse().ok());
    vec![judge(own, hardware.map(Duration::from_secs))]
}

fn judge(own: Duration, hardware: Option<Duration>) -> Finding {
    match hardware.map(|hardware| own.abs_diff(hardware)) {
        None => Finding::skipped(
            "the VM has no hardware clock to compare with; leases do not use the time of day",
        ),
        Some(apart) if apart <= TOLERANCE => Finding::ok("the clock agrees with the hardware's"),
        Some(apart) => Finding::warn(
            format!(
                "the clock is {} s off, as after a sleep of Windows; wslnetd does not mind, other programs may",
                apart.as_secs()
            ),
            "sudo hwclock --hctosys",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_slept_is_told_and_never_fails() {
        let at = Duration::from_secs;

        assert_eq!(judge(at(100_000), Some(at(100_001))).level.word(), "ok");
        assert_eq!(judge(at(100_000), Some(at(107_200))).level.word(), "warn");
        assert_eq!(judge(at(0), None).level.word(), "skip");
    }
}
