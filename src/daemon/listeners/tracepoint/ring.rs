//! The page to which the kernel records the events of one tracepoint on one processor.
//!
//! It is mapped read-only, so the kernel does not wait for a reader: it writes over the oldest record and can lose
//! nothing (`perf_mmap()` of kernel/events/core.c, `overwrite` in ring_buffer.c). Each record is sixteen bytes, a header and who it was (`PERF_SAMPLE_TID`), so none
//! lies across the end. One that is written over while it is read may come out as any process: it is a hint, and no more.

use std::io;
use std::mem::offset_of;
use std::os::fd::OwnedFd;
use std::sync::atomic::{Ordering, fence};

use memmap2::{MmapOptions, MmapRaw};
use nix::unistd::{SysconfVar, sysconf};
use perf_event_open_sys::bindings::{PERF_RECORD_SAMPLE, perf_event_mmap_page};

/// Bytes of a record.
const RECORD: u64 = 16;
/// How many records are read at once, the newest.
const MOST: u64 = 64;

/// One page about the state of the recording, and one that is recorded to.
#[derive(Debug)]
pub(super) struct Ring {
    pages: MmapRaw,
    /// Bytes of a page.
    page: usize,
    /// How many bytes had been recorded when it was last read.
    read: u64,
}

impl Ring {
    /// Gives an event something to record to.
    ///
    /// # Errors
    /// When it cannot be mapped.
    pub(super) fn of(event: &OwnedFd) -> io::Result<Self> {
        let page = sysconf(SysconfVar::PAGE_SIZE)?.and_then(|bytes| usize::try_from(bytes).ok());
        let page = page.ok_or(io::ErrorKind::Unsupported)?;
        let pages = MmapOptions::new().len(2 * page).map_raw_read_only(event)?;
        Ok(Self { pages, page, read: 0 })
    }

    /// The processes of the newest records that were not read before, the newest first.
    pub(super) fn makers(&mut self) -> Vec<i32> {
        let recorded = self.word(offset_of!(perf_event_mmap_page, data_head));
        // What was recorded by then is read after that, as perf_event_open(2) asks for.
        fence(Ordering::Acquire);
        let new = recorded.saturating_sub(self.read) / RECORD;
        self.read = recorded;
        let place = |back: u64| {
            let bytes = recorded.checked_sub((back + 1) * RECORD)?;
            let at = usize::try_from(bytes).ok()? % self.page;
            process_of(self.word(self.page + at), self.word(self.page + at + 8))
        };
        (0..new.min(MOST)).filter_map(place).collect()
    }

    /// Eight bytes of the mapping, or 0 where they are not in it.
    fn word(&self, at: usize) -> u64 {
        if !at.is_multiple_of(8) || at.saturating_add(8) > self.pages.len() {
            return 0;
        }
        // SAFETY: the eight bytes are within the mapping, which is as aligned as a page, and any bytes are a number. The
        // kernel may write them at the same time, which is why they are read once and as they are.
        unsafe { self.pages.as_ptr().add(at).cast::<u64>().read_volatile() }
    }
}

/// The process that a record names: the two words of `struct perf_event_header` (type, misc, size) and of its PID and thread. The
/// PID is 0 for one of another distro, and no number of a process when it is dying.
fn process_of(header: u64, ids: u64) -> Option<i32> {
    let header = header.to_ne_bytes();
    let kind = header.first_chunk().copied().map(u32::from_ne_bytes)?;
    let size = header.last_chunk().copied().map(u16::from_ne_bytes)?;
    // One that a former release has opened records no more than the header.
    if kind != PERF_RECORD_SAMPLE || u64::from(size) != RECORD {
        return None;
    }
    let pid = ids.to_ne_bytes().first_chunk().copied().map(i32::from_ne_bytes)?;
    (pid > 0).then_some(pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_record_of_a_process_here_names_one() {
        let record = |kind: u32, size: u16, pid: i32| {
            let mut header = [0; 8];
            header[..4].copy_from_slice(&kind.to_ne_bytes());
            header[6..].copy_from_slice(&size.to_ne_bytes());
            let mut ids = [0; 8];
            ids[..4].copy_from_slice(&pid.to_ne_bytes());
            process_of(u64::from_ne_bytes(header), u64::from_ne_bytes(ids))
        };

        assert_eq!(record(PERF_RECORD_SAMPLE, 16, 4711), Some(4711));
        for (kind, size, pid) in [
            (PERF_RECORD_SAMPLE, 8, 4711),
            (PERF_RECORD_SAMPLE, 16, 0),
            (PERF_RECORD_SAMPLE, 16, -1),
            (2, 16, 4711),
            (0, 0, 0),
        ] {
            assert_eq!(record(kind, size, pid), None);
        }
    }
}
