//! Stands for Windows' service IP Helper (`iphlpsvc`) under Wine, which has none, so that traffic really flows through the
//! entries of portproxy in the end-to-end tests. At its start and at each `SERVICE_CONTROL_PARAMCHANGE` it reads the
//! entries, by Windows' own `reg.exe`, and relays with plain sockets: listeners whose entry is gone or changed are closed first.
//!
//! Its limits. It shows that our entries are where, and of the form in which, IP Helper is documented to look for them, and
//! that it is told; it does not show what the real one does: with which socket options it binds, what becomes of
//! connections whose entry goes (here they live on), how it copes with many entries or with an address that is not there (here
//! it is skipped until the next control), or whether it needs IPv6. Names instead of addresses are not resolved.
//!
//! `iphlpsvc install` registers and starts it, `iphlpsvc stop` and `start` do what they say.

#[cfg(not(windows))]
mod elsewhere;
#[cfg(windows)]
mod relay;
#[cfg(windows)]
mod service;

use std::process::ExitCode;

#[cfg(not(windows))]
use elsewhere::main as stand_in;
#[cfg(windows)]
use service::main as stand_in;

fn main() -> ExitCode {
    stand_in()
}
