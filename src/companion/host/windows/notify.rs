//! The system's notification of changed unicast addresses.
//!
//! Under Wine the registration succeeds and nothing is ever told: the caller polls as well.

use std::ffi::c_void;
use std::io;
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use windows_sys::Win32::Foundation::{HANDLE, NO_ERROR};
use windows_sys::Win32::NetworkManagement::IpHelper::{
    CancelMibChangeNotify2, MIB_NOTIFICATION_TYPE, MIB_UNICASTIPADDRESS_ROW, NotifyUnicastIpAddressChange,
};
use windows_sys::Win32::Networking::WinSock::AF_UNSPEC;

/// How often to look at the addresses although no change was told of.
pub(in crate::host) const POLL: Duration = Duration::from_secs(1);

/// A registration with the system, which ends when it is dropped.
#[derive(Debug)]
pub(in crate::host) struct AddressHints {
    registration: HANDLE,
    /// What the callback holds a pointer to. It counts changes; only that the number differs matters.
    count: Arc<watch::Sender<u64>>,
    changes: watch::Receiver<u64>,
}

// SAFETY: the handle is a number that any thread may cancel, and the other fields are Send.
unsafe impl Send for AddressHints {}

impl AddressHints {
    /// Registers for both families.
    pub(in crate::host) fn new() -> io::Result<Self> {
        let (count, changes) = watch::channel(0);
        let count = Arc::new(count);
        let mut registration = ptr::null_mut();
        // SAFETY: the context is behind an Arc that `Drop` releases only after the callbacks have ended.
        let result = unsafe {
            NotifyUnicastIpAddressChange(
                AF_UNSPEC,
                Some(on_change),
                Arc::as_ptr(&count).cast(),
                false,
                &raw mut registration,
            )
        };
        if result != NO_ERROR {
            return Err(io::Error::from_raw_os_error(result.cast_signed()));
        }
        Ok(Self {
            registration,
            count,
            changes,
        })
    }

    /// Returns after the next change; all since the last call count as one. Cancel-safe.
    pub(in crate::host) async fn next(&mut self) {
        // An error would mean that the sender is gone, and we hold it.
        if self.changes.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

impl Drop for AddressHints {
    fn drop(&mut self) {
        // This waits for a callback that runs now, so it must never be called from one; the callback only has a pointer
        // to the counter, and so cannot drop this.
        // SAFETY: the registration is ours and is cancelled once.
        if unsafe { CancelMibChangeNotify2(self.registration) } != NO_ERROR {
            // A callback may still come: let its context live for ever.
            std::mem::forget(Arc::clone(&self.count));
        }
    }
}

/// Runs on a thread of the system, one at a time, and does no more than to count: the listener looks for itself.
unsafe extern "system" fn on_change(
    context: *const c_void,
    _row: *const MIB_UNICASTIPADDRESS_ROW,
    _kind: MIB_NOTIFICATION_TYPE,
) {
    // SAFETY: the context given at the registration, which outlives it.
    let count = unsafe { &*context.cast::<watch::Sender<u64>>() };
    count.send_modify(|n| *n = n.wrapping_add(1));
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use super::*;

    #[tokio::test]
    async fn a_call_of_the_system_is_a_hint() {
        let mut hints = AddressHints::new().unwrap();
        // Wine tells of one address at once.
        while tokio::time::timeout(Duration::from_millis(200), hints.next())
            .await
            .is_ok()
        {}

        // SAFETY: the context is alive; the row is not looked at.
        unsafe { on_change(Arc::as_ptr(&hints.count).cast(), ptr::null(), 0) };

        tokio::time::timeout(Duration::from_secs(10), hints.next())
            .await
            .unwrap();
    }

    #[test]
    fn registrations_come_and_go() {
        for _ in 0..100 {
            drop(AddressHints::new().unwrap());
        }
    }

    #[test]
    fn the_context_survives_a_move() {
        let hints = AddressHints::new().unwrap();
        let before = Arc::as_ptr(&hints.count);

        let moved = Box::new(hints);

        assert_eq!(Arc::as_ptr(&moved.count), before);
    }
}
