//! The Windows side of `host/`. Every unsafe call of this room is below here, one file per part of the system.
//!
//! Written against Microsoft's documentation and tested under Wine, which differs in places that the files name.

mod adapters;
mod clock;
pub(crate) mod com;
mod directory;
mod excluded;
mod key;
mod name;
mod networks;
mod notify;
mod pipe;
mod portproxy;
mod process;
mod registry;
mod service;
mod services;
mod socket;
mod table;
mod text;
#[cfg(test)]
mod wine;
mod wsl;

pub(super) use adapters::interfaces;
pub(super) use clock::{time_awake, time_running};
pub(crate) use directory::system_directory;
pub(super) use excluded::print_excluded_ranges;
pub(crate) use key::{Access, Key};
pub(super) use name::own_name;
pub(super) use networks::{CATEGORY_DELAY, CATEGORY_POLL, categories};
pub(super) use notify::{AddressHints, POLL};
pub(crate) use pipe::{pipe_client_process, pipe_server_process};
pub use portproxy::Stamp;
pub(crate) use portproxy::{PORTPROXY, portproxy_entries, portproxy_stamp, table_key};
pub(crate) use process::{Process, end_this_process};
pub(crate) use registry::is_missing_key;
pub(crate) use service::{ServiceHandle, service};
pub(super) use services::services_of;
pub(super) use socket::{REFUSED, allow_many_sockets, bind, bind_udp, holders_to_avoid};
pub(crate) use table::{TableRow, rows};
pub(super) use table::{listeners, with_programs};
pub(crate) use text::wide;
pub(super) use wsl::is_of_wsl;
