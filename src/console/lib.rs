//! What both programs share in talking to people: config diagnostics, text that is safe to show, tables and JSON,
//! exit codes, logging, the local control socket, and the watch for files that they write. No policy, no network, nothing of ours beneath it.

pub mod control;
pub mod diagnose;
pub mod files;
pub mod log;
pub mod output;
pub mod text;
