//! The config files as they are written: which keys there are and of which type, with nothing filled in.

use std::net::SocketAddr;
use std::ops::Range;

use wslnet_console::diagnose::{NumberOr, Spanned, Table};
use wslnet_protocol::Reach;

use super::ModeOutsideWsl;
use crate::listeners::SourceChoice;

/// What one file says; what it does not say, or says wrongly, is none.
#[derive(Debug)]
pub(super) struct Raw {
    pub(super) opt_out: Vec<Spanned<String>>,
    pub(super) rules: Vec<RawRule>,
    pub(super) reach: Option<Reach>,
    pub(super) source: Option<SourceChoice>,
    pub(super) network_mode: Option<ModeOutsideWsl>,
    pub(super) companion: Option<SocketAddr>,
    pub(super) distro: Option<String>,
    pub(super) hosts: Option<bool>,
}

/// One `[[rule]]`.
#[derive(Debug)]
pub(super) struct RawRule {
    /// The header.
    pub(super) span: Range<usize>,
    pub(super) when: Option<Spanned<String>>,
    pub(super) expose: Option<Spanned<bool>>,
    pub(super) reach: Option<Spanned<Reach>>,
    pub(super) listen_port: Option<Spanned<NumberOr<AutoPort>>>,
    pub(super) name: Option<Spanned<String>>,
    pub(super) loopback: Option<Spanned<Bridged>>,
    pub(super) udp: Option<Spanned<bool>>,
}

/// The word `auto` of `listen-port`.
#[derive(Debug, Clone, Copy)]
pub(super) struct AutoPort;

/// The word `bridge` of `loopback`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bridged;

const REACH: [(&str, Reach); 2] = [("lan", Reach::Lan), ("host", Reach::Host)];

impl Raw {
    /// Takes all known keys; the table reports what is wrong with them and what is left.
    pub(super) fn take(table: &mut Table<'_>) -> Self {
        Self {
            opt_out: table.strings("opt-out").unwrap_or_default(),
            rules: table.tables("rule").into_iter().map(RawRule::take).collect(),
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
            distro: distro(table),
            hosts: table.boolean("hosts").map(Spanned::into_inner),
            reach: table
                .table("expose")
                .and_then(|mut expose| expose.choice("reach", &REACH).map(Spanned::into_inner)),
        }
    }
}

impl RawRule {
    fn take(mut table: Table<'_>) -> Self {
        let rule = Self {
            span: table.span().unwrap_or_default(),
            when: table.string("when"),
            expose: table.boolean("expose"),
            reach: table.choice("reach", &REACH),
            listen_port: table.integer_or("listen-port", 1..=65_535, &[("auto", AutoPort)]),
            name: table.string("name"),
            loopback: table.choice("loopback", &[("bridge", Bridged)]),
            udp: table.boolean("udp"),
        };
        // Reserved: a file that asks for it must not seem to get it.
        if let Some(wanted) = table.boolean("proxy-protocol") {
            table.problem(
                wanted.span(),
                "`proxy-protocol` is not built in this release",
                Some("remove it: services see the address of Windows as their client".to_owned()),
            );
        }
        rule
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

fn distro(table: &mut Table<'_>) -> Option<String> {
    let name = table.string("distro")?;
    let text = name.get_ref().trim();
    if text.is_empty() || crate::labels::value(text) != text {
        let hint = "the name as `wsl --list` shows it, such as \"Ubuntu\"";
        table.problem(name.span(), "this is no name of a distro", Some(hint.to_owned()));
        return None;
    }
    Some(text.to_owned())
}
