//! Microsoft's Component Object Model, on one thread in its own multithreaded apartment, never on those of the event loop:
//! behind a COM object there is often a service, and services hang.

use std::time::Duration;

use windows::Win32::System::Com::{COINIT_MULTITHREADED, CoInitializeEx};

use crate::host::aside::{Aside, NoAnswer};

static COM: Aside = Aside::new("com", enter_apartment);

/// The thread lives as long as the process, so there is no CoUninitialize: the documentation wants one before the thread ends.
fn enter_apartment() {
    // SAFETY: nothing has initialised COM on this new thread before; the reserved argument is none.
    let entered = unsafe { CoInitializeEx(None, COINIT_MULTITHREADED) };
    if let Err(error) = entered.ok() {
        // Each call then fails with CO_E_NOTINITIALIZED, and its caller says so.
        tracing::warn!(%error, "COM cannot be initialised");
    }
}

/// Why a call of COM has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ComError {
    /// There was no answer.
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
    /// The object said no.
    #[error(transparent)]
    Refused(#[from] windows::core::Error),
}

/// Makes calls of COM: `calls` runs on COM's thread, and makes its own objects there. Blocks for `patience` at most.
///
/// # Errors
/// See [`ComError`]. After [`NoAnswer::Late`] the calls may still take effect.
pub(crate) fn call<T: Send + 'static>(
    patience: Duration,
    calls: impl FnOnce() -> windows::core::Result<T> + Send + 'static,
) -> Result<T, ComError> {
    Ok(COM.call(patience, calls)??)
}

#[cfg(test)]
mod tests {
    use super::*;
    use windows::Win32::NetworkManagement::WindowsFirewall::{INetFwPolicy2, NetFwPolicy2};
    use windows::Win32::System::Com::{CLSCTX_INPROC_SERVER, CoCreateInstance};
    use windows::core::GUID;

    #[test]
    fn objects_can_be_made_there_and_unknown_ones_are_errors() {
        let patience = Duration::from_secs(30);

        // SAFETY: the class and the interface belong together; COM is initialised on that thread.
        let made = call(patience, || unsafe {
            CoCreateInstance::<_, INetFwPolicy2>(&NetFwPolicy2, None, CLSCTX_INPROC_SERVER).map(drop)
        });
        // SAFETY: the same, of a class that does not exist.
        let unknown = call(patience, || unsafe {
            CoCreateInstance::<_, INetFwPolicy2>(&GUID::from_u128(1), None, CLSCTX_INPROC_SERVER).map(drop)
        });

        assert_eq!(made, Ok(()));
        assert!(matches!(unknown, Err(ComError::Refused(_))), "{unknown:?}");
    }
}
