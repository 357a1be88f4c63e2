//! The processors that run now.

use std::collections::BTreeSet;
use std::{fs, io};

const ONLINE: &str = "/sys/devices/system/cpu/online";
/// Linux is built for no more (NR_CPUS of x86-64); a file that says otherwise is broken.
const MOST: u32 = 8192;

/// # Errors
/// When the kernel's list cannot be read or makes no sense.
pub(super) fn online() -> io::Result<BTreeSet<u32>> {
    parse(fs::read_to_string(ONLINE)?.trim()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Reads `0-3,8`.
fn parse(list: &str) -> Option<BTreeSet<u32>> {
    let mut cpus = BTreeSet::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last >= MOST {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_list_of_processors_is_read_and_nonsense_refused() {
        let read = |list| parse(list).map(|cpus| cpus.into_iter().collect::<Vec<_>>());

        assert_eq!(read("0"), Some(vec![0]));
        assert_eq!(read("0-1,4,6-7"), Some(vec![0, 1, 4, 6, 7]));
        for odd in ["", "x", "1-", "3-1", "0-4294967295", "0,,1", "-1"] {
            assert_eq!(read(odd), None, "{odd}");
        }
    }
}
