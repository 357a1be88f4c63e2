//! The Linux side of `host/`: netlink for interfaces and hints, /proc for the tables of sockets.
//!
//! The companion serves on Windows; this side carries development and tests, with the same behaviour.

mod clock;
mod facts;
mod interfaces;
mod name;
#[cfg(test)]
mod namespace;
mod netlink;
mod networks;
mod socket;
mod table;

pub(super) use clock::{time_awake, time_running};
pub(super) use facts::{is_of_wsl, portproxy_entries, print_excluded_ranges, services_of};
pub(super) use interfaces::interfaces;
pub(super) use name::own_name;
pub(super) use netlink::{AddressHints, POLL};
pub(super) use networks::{CATEGORY_DELAY, CATEGORY_POLL, categories};
pub(super) use socket::{REFUSED, allow_many_sockets, bind, bind_udp, holders_to_avoid};
pub(crate) use table::{TableRow, rows};
pub(super) use table::{listeners, with_programs};
