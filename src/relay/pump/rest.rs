//! How often a side that has nothing more to say is asked whether it was reset.

#[cfg(not(target_os = "linux"))]
mod elsewhere;
#[cfg(target_os = "linux")]
mod linux;

#[cfg(not(target_os = "linux"))]
pub(super) use elsewhere::before_a_look;
#[cfg(target_os = "linux")]
pub(super) use linux::before_a_look;
