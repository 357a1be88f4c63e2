//! Whether a service of Windows runs.

/// The state of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// It runs, in this process if that is known.
    Running(Option<u32>),
    /// It does not run, or not yet.
    Stopped,
    /// It does not run and must not be started.
    Disabled,
    /// There is none.
    Missing,
}
