//! Laid out; filled next.
#![cfg(target_os = "linux")]

pub mod config;
pub mod labels;
pub mod listeners;
pub mod network;
pub mod observe;
pub mod policy;
