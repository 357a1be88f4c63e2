//! Where the relay is measured: a client on the local network, the relay on Windows, the service in the VM.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;

use super::peers::{PEERS, Peer};
use crate::e2e::{NetNs, Program, Rig, VM, WINDOWS, World};
use crate::helper::{self, service};
use crate::options::Options;
use crate::pasta::{Guest, Pasta};
use crate::report::Row;

/// At which port the service listens in the VM.
const SERVICE: u16 = 7000;
/// At which port the other programs listen on Windows: not where the companion does.
const RELAYED: u16 = 7100;

/// Across both networks, with nothing but routing between.
const ROUTED: &str = "lan → win (routed) → vm";
/// The usual place of a relay.
const RELAY: &str = "lan → win (relay) → vm";

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub enum Subject {
    /// No relay: Windows routes.
    Direct,
    /// The companion, for a listener that the daemon has found.
    Wslnet,
    /// One of the others.
    Peer(Peer),
    /// pasta, for clients from the network.
    PastaTap,
    /// pasta, for clients on Windows itself.
    PastaSplice,
}

impl Subject {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Wslnet => "wslnet",
            Self::Peer(peer) => peer.name,
            Self::PastaTap => "pasta",
            Self::PastaSplice => "pasta, loopback",
        }
    }

    pub fn topology(&self) -> &'static str {
        match self {
            Self::Direct => ROUTED,
            Self::Wslnet | Self::Peer(_) => RELAY,
            Self::PastaTap => "lan → win (pasta, tap) → guest",
            Self::PastaSplice => "win → win (pasta, splice) → guest, all on loopback",
        }
    }

    /// Whether nothing can be said without it.
    pub fn is_needed(&self) -> bool {
        matches!(self, Self::Direct | Self::Wslnet)
    }
}

/// A relay that runs, and where to meet it.
#[derive(Debug)]
pub struct Running<'w> {
    /// Where the client stands.
    pub client: Arc<NetNs>,
    pub address: IpAddr,
    pub port: u16,
    holds: Holds<'w>,
}

#[derive(Debug)]
enum Holds<'w> {
    Nothing,
    Ours,
    Program(Program),
    #[expect(dead_code, reason = "it lives as long as this")]
    Pasta(Pasta<'w>),
}

/// The world, and the services in it.
#[derive(Debug)]
pub struct Stage<'w> {
    world: &'w World,
    rig: Rig<'w>,
    guest: Result<Guest, String>,
    folder: PathBuf,
    _services: Vec<Program>,
}

impl<'w> Stage<'w> {
    pub fn new(world: &'w World) -> Self {
        let port = SERVICE.to_string();
        let rig = Rig::new(world);
        let mut services = vec![helper::start(&rig.distro.machine, &[service::NAME, &port])];
        let guest = Guest::new(world).map_err(|error| format!("{error:#}"));
        if let Ok(guest) = &guest {
            services.push(helper::start(&guest.machine, &[service::NAME, &port]));
        }
        // The direct way.
        world
            .windows
            .net
            .enter(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1"))
            .expect("may route");
        world.client.net.ip("route add 172.28.0.0/20 via 192.168.50.1");
        Self {
            world,
            rig,
            guest,
            folder: world.new_folder("peers"),
            _services: services,
        }
    }

    /// What is measured in this run, `direct` first; and a row for each that cannot be.
    pub fn subjects(&self, options: &Options) -> (Vec<Subject>, Vec<Row>) {
        let mut present = vec![Subject::Direct, Subject::Wslnet];
        let mut missing = Vec::new();
        let others = PEERS
            .map(Subject::Peer)
            .into_iter()
            .chain([Subject::PastaTap, Subject::PastaSplice]);
        for subject in others.filter(|_| !options.smoke) {
            match self.absence(&subject) {
                None => present.push(subject),
                Some(why) => missing.push(Row {
                    subject: subject.name().to_owned(),
                    topology: subject.topology().to_owned(),
                    note: Some(why),
                    ..Row::default()
                }),
            }
        }
        let wanted =
            |name: &str| options.only.is_empty() || options.only.iter().any(|only| name.starts_with(only));
        present.retain(|subject| matches!(subject, Subject::Direct) || wanted(subject.name()));
        missing.retain(|row| wanted(&row.subject));
        (present, missing)
    }

    fn absence(&self, subject: &Subject) -> Option<String> {
        match subject {
            Subject::Direct | Subject::Wslnet => None,
            Subject::Peer(peer) if peer.is_installed() => None,
            Subject::Peer(peer) => Some(format!("not installed (Debian package {})", peer.package)),
            Subject::PastaTap | Subject::PastaSplice => self.guest.as_ref().err().cloned(),
        }
    }

    /// Starts a relay; it may take a moment until it answers.
    pub fn start(&mut self, subject: &Subject) -> anyhow::Result<Running<'w>> {
        let lan = Arc::clone(&self.world.client.net);
        let running = |client, address: &str, port, holds| Running {
            client,
            address: address.parse().expect("an address"),
            port,
            holds,
        };
        Ok(match subject {
            Subject::Direct => running(lan, VM, SERVICE, Holds::Nothing),
            Subject::Wslnet => {
                self.rig.companion.start();
                self.rig.distro.start_connected();
                running(lan, WINDOWS, SERVICE, Holds::Ours)
            }
            Subject::Peer(peer) => {
                let command = peer.command(&self.folder, (WINDOWS, RELAYED), (VM, SERVICE));
                let program = self.world.windows.start(peer.name, command);
                running(lan, WINDOWS, RELAYED, Holds::Program(program))
            }
            Subject::PastaTap => running(lan, WINDOWS, SERVICE, Holds::Pasta(self.pasta()?)),
            Subject::PastaSplice => Running {
                client: Arc::clone(&self.world.windows.net),
                address: Ipv4Addr::LOCALHOST.into(),
                port: SERVICE,
                holds: Holds::Pasta(self.pasta()?),
            },
        })
    }

    fn pasta(&self) -> anyhow::Result<Pasta<'w>> {
        let guest = self.guest.as_ref().ok().context("was there")?;
        guest.start(self.world)
    }

    /// Ends it, with all of its processes.
    pub fn stop(&mut self, running: Running<'w>) {
        match running.holds {
            Holds::Nothing | Holds::Pasta(_) => {}
            Holds::Ours => {
                self.rig.distro.stop();
                self.rig.companion.stop();
            }
            // nginx has workers that outlive it when it is killed.
            Holds::Program(program) => drop(program.stop()),
        }
    }
}
