//! The config file as it is written: which keys there are and of which type, with nothing filled in.

use std::net::SocketAddr;

use wslnet_console::diagnose::{Spanned, Table};
use wslnet_protocol::Reach;

use super::ModeOutsideWsl;
use crate::listeners::SourceChoice;

/// What the file says; what it does not say, or says wrongly, is none.
#[derive(Debug)]
pub(super) struct Raw {
    pub(super) opt_out: Vec<Spanned<String>>,
    pub(super) reach: Option<Reach>,
    pub(super) source: Option<SourceChoice>,
    pub(super) network_mode: Option<ModeOutsideWsl>,
    pub(super) companion: Option<SocketAddr>,
}

impl Raw {
    /// Takes all known keys; the table reports what is wrong with them and what is left.
    pub(super) fn take(table: &mut Table<'_>) -> Self {
        Self {
            opt_out: table.strings("opt-out").unwrap_or_default(),
            source: table
                .choice(
                    "source",
                    &[
                        ("auto", SourceChoice::Auto),
                        ("sock-diag", SourceChoice::SockDiag),
                        ("procfs", SourceChoice::Procfs),
                    ],
                )
                .map(Spanned::into_inner),
            network_mode: table
                .choice("network-mode", &[("nat", ModeOutsideWsl::Nat)])
                .map(Spanned::into_inner),
            companion: companion(table),
            reach: table.table("expose").and_then(|mut expose| {
                expose
                    .choice("reach", &[("lan", Reach::Lan), ("host", Reach::Host)])
                    .map(Spanned::into_inner)
            }),
        }
    }
}

fn companion(table: &mut Table<'_>) -> Option<SocketAddr> {
    let address = table.parsed::<SocketAddr>(
        "companion",
        "an IP address and a port from 1 to 65535, such as \"172.20.0.1:9756\" or \"[fd00::1]:9756\"",
    )?;
    let what = address.get_ref();
    let wrong = if what.port() == 0 {
        "port 0 is no port"
    } else if what.ip().is_unspecified() || what.ip().is_multicast() {
        "nobody can be reached at this address"
    } else {
        return Some(address.into_inner());
    };
    let hint = "the address at which wslnet-companion listens, or leave the key out for the default gateway";
    table.problem(
        address.span(),
        format!("{wrong}: `{what}`"),
        Some(hint.to_owned()),
    );
    None
}
