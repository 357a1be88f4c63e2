//! Laid out; filled next.
#![cfg(target_os = "linux")]
