//! The decisions and formats that stand in the way of every change, each with input of a size that can be chosen.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use nix::sched::{CloneFlags, unshare};
use socket2::{Domain, Socket as RawSocket, Type};
use wslnet_companion::config::{Backend, Policy as Ceiling};
use wslnet_companion::control_address::ControlPorts;
use wslnet_companion::host::{Category, Interface, InterfaceAddress, awake};
use wslnet_companion::ledger::{ConnectionId, Ledger, Terms};
use wslnet_companion::plan::{self, Actual, Places};
use wslnet_console::diagnose::Source;
use wslnet_daemon::containers::Containers;
use wslnet_daemon::damper::Held;
use wslnet_daemon::labels::{Declared, Labels, Owner, Process, labels_of};
use wslnet_daemon::listeners::{Scanner, Socket, SourceChoice, UdpInterest, WakeUpView};
use wslnet_daemon::network::{Iface, NetworkMode, NetworkView};
use wslnet_daemon::observe::{Listener, Observation, Observed};
use wslnet_daemon::picture::{Inputs, ModeView, Picture, Pushed};
use wslnet_daemon::policy::{Decided, Policy, Surroundings, wanted};
use wslnet_daemon::push::CompanionView;
use wslnet_daemon::units::Units;
use wslnet_protocol::{
    Bind, Forward, ForwardId, ForwardSet, Mode, OpenSession, Protocol, Reach, SessionId, VERSION,
};

/// Something that is done once for each change; returns a number that tells that it was done.
pub type Work = Box<dyn FnMut() -> usize>;

/// A case.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Its name, and that of the helper's argument.
    pub name: &'static str,
    /// What it does.
    pub title: &'static str,
    /// What its size counts.
    pub unit: &'static str,
    /// From small to large.
    pub sizes: [usize; 3],
    /// Sets it up for a size.
    pub prepare: fn(usize) -> anyhow::Result<Work>,
}

/// How many rules the policy has.
const RULES: usize = 200;

/// All of them.
pub const CASES: [Case; 7] = [
    Case {
        name: "dump",
        title: "dump parsing",
        unit: "listeners",
        sizes: [100, 1_000, 10_000],
        prepare: dump,
    },
    Case {
        name: "policy",
        title: "policy, 200 rules",
        unit: "listeners",
        sizes: [100, 1_000, 10_000],
        prepare: policy,
    },
    Case {
        name: "picture",
        title: "picture, one listener more or less",
        unit: "listeners",
        sizes: [100, 1_000, 10_000],
        prepare: picture,
    },
    Case {
        name: "ledger",
        title: "ledger merge",
        unit: "forwards",
        sizes: [64, 512, 4_096],
        prepare: ledger,
    },
    Case {
        name: "plan",
        title: "plan",
        unit: "forwards",
        sizes: [64, 512, 4_096],
        prepare: plan,
    },
    Case {
        name: "encode",
        title: "protocol, encoding",
        unit: "forwards",
        sizes: [64, 512, 4_096],
        prepare: encode,
    },
    Case {
        name: "decode",
        title: "protocol, decoding",
        unit: "forwards",
        sizes: [64, 512, 4_096],
        prepare: decode,
    },
];

/// The daemon's look at listeners that are really there, in a network of this process' own. What the kernel does for it is
/// in the time, and not in the instructions.
fn dump(size: usize) -> anyhow::Result<Work> {
    unshare(CloneFlags::CLONE_NEWNET).context("no network of our own")?;
    let open = |_| {
        let socket = RawSocket::new(Domain::IPV4, Type::STREAM, None)?;
        // The kernel chooses a port for it.
        socket.listen(1)?;
        Ok(OwnedFd::from(socket))
    };
    let held: std::io::Result<Vec<OwnedFd>> = (0..size).map(open).collect();
    let held = held?;
    let mut scanner = Scanner::open(SourceChoice::SockDiag, UdpInterest::default())?;
    Ok(Box::new(move || {
        let found = scanner.scan().expect("a dump").len();
        assert_eq!(found, held.len());
        found
    }))
}

/// The daemon decides on every listener, and then on every port. No rule matches, so that each is asked.
fn policy(size: usize) -> anyhow::Result<Work> {
    let policy = policy_of_rules()?;
    let listeners: Vec<(Socket, Labels)> = (0..size).map(listener).collect();
    let surroundings = Surroundings::new(&network(), NetworkMode::Nat, false);
    Ok(Box::new(move || {
        let verdicts: Vec<_> = listeners
            .iter()
            .map(|(socket, labels)| policy.decide(socket, labels, &Declared::Known, &surroundings))
            .collect();
        let decided: Vec<_> = listeners
            .iter()
            .zip(&verdicts)
            .map(|((socket, _), verdict)| Decided { socket, verdict })
            .collect();
        assert!(verdicts.iter().all(|verdict| verdict.is_expose()));
        wanted(&decided, &surroundings).len()
    }))
}

/// The daemon joins all that it knows, and makes the set for Windows, when one listener has come or gone.
fn picture(size: usize) -> anyhow::Result<Work> {
    // Of no unit, which nobody would have asked for its word here.
    let process = Process {
        pid: 7,
        name: "worker".to_owned(),
        exe: Some("/srv/app/bin/worker".to_owned()),
        ..Process::default()
    };
    let owner = Arc::new(Owner {
        holders: vec![process],
        uid: 1000,
        user: Some("someone".to_owned()),
        declared: Declared::Known,
    });
    let now = Instant::now();
    let held = |index| {
        let (socket, _) = listener(index);
        Arc::new(Listener {
            labels: labels_of(&socket, Some(&owner)),
            socket,
            owner: Some(Arc::clone(&owner)),
            is_decided: true,
            since: now,
        })
    };
    let all: Vec<Arc<Listener>> = (0..=size).map(held).collect();
    let observed = [size, size + 1].map(|count| Observed {
        last: Some(Arc::new(Observation {
            listeners: all[..count].to_vec(),
            source: wslnet_daemon::listeners::Source::SockDiag,
            wake_up: WakeUpView {
                events: true,
                text: String::new(),
            },
            at: now,
            scans: 1,
        })),
        trouble: None,
    });
    let (policy, network) = (Arc::new(policy_of_rules()?), network());
    let mode = ModeView {
        mode: NetworkMode::Nat,
        source: String::new(),
    };
    let mut before: Option<Picture> = None;
    Ok(Box::new(move || {
        let is_more = before.as_ref().is_some_and(|before| before.entries.len() == size);
        let picture = Picture::join(&Inputs {
            observed: &observed[usize::from(is_more)],
            network: &network,
            mode: &mode,
            policy: &policy,
            held: &Held::default(),
            containers: &Containers::default(),
            units: &Units::default(),
            bridges: &BTreeMap::new(),
            distro: Some("Debian"),
            distro_is_missing: false,
            own_pid: 1,
            companion: &CompanionView::default(),
            hosts: None,
            config_error: None,
            before: before.as_ref(),
            now,
        });
        let forwards = picture
            .set(&Pushed::default())
            .map_or(0, |set| set.forwards.len());
        before = Some(picture);
        forwards
    }))
}

fn network() -> NetworkView {
    let eth0 = Iface {
        name: "eth0".to_owned(),
        addresses: vec![(Ipv4Addr::new(172, 28, 0, 2).into(), 20)],
    };
    NetworkView {
        interfaces: BTreeMap::from([(2, eth0)]),
        default_gateway_v4: Some((Ipv4Addr::new(172, 28, 0, 1), 2)),
        default_interfaces: [2].into(),
        ..NetworkView::default()
    }
}

fn policy_of_rules() -> anyhow::Result<Policy> {
    let rules: String = (0..RULES).map(rule).collect();
    let source = Source {
        name: "config.toml".to_owned(),
        text: rules,
    };
    let config =
        wslnet_daemon::config::parse(vec![source]).map_err(|reports| anyhow::anyhow!("{reports}"))?;
    anyhow::ensure!(config.rules.len() == RULES, "not {RULES} rules");
    Ok(Policy::new(&config))
}

/// Selectors of all kinds: texts, wildcards, ranges, several terms.
fn rule(index: usize) -> String {
    let when = match index % 4 {
        0 => format!("process=other-{index}"),
        1 => format!("exe=/opt/other-{index}/*,user=www-data"),
        2 => format!("port={}-{},unit=other-*.service", 20_000 + index, 60_000),
        _ => format!("user=user-{index},process=worker*"),
    };
    format!("[[rule]]\nwhen = \"{when}\"\nexpose = false\n")
}

fn listener(index: usize) -> (Socket, Labels) {
    let port = u16::try_from(10_000 + index).expect("a port");
    let socket = Socket {
        protocol: Protocol::Tcp,
        address: SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
        v6only: None,
        uid: 1000,
        inode: 100_000 + index as u64,
        cookie: Some(1 + index as u64),
        interface: None,
    };
    let mut labels = Labels::default();
    for (key, value) in [
        ("port", port.to_string()),
        ("proto", "tcp".to_owned()),
        ("bind", "wildcard".to_owned()),
        ("family", "ipv4".to_owned()),
        ("process", format!("worker-{index}")),
        ("exe", format!("/srv/app-{index}/bin/worker")),
        ("unit", format!("app-{index}.service")),
        ("slice", "system.slice".to_owned()),
        ("user", "someone".to_owned()),
        ("uid", "1000".to_owned()),
    ] {
        labels.insert(key, value);
    }
    (socket, labels)
}

/// The companion takes a new set of the same size as the one before, and ranks what all want.
fn ledger(size: usize) -> anyhow::Result<Work> {
    let (mut ledger, session) = opened(size)?;
    let set = set(size);
    let mut generation = 1;
    Ok(Box::new(move || {
        generation += 1;
        ledger
            .put(session, ConnectionId(1), generation, set.clone(), awake())
            .expect("a set that is right");
        ledger.claims().ports.len()
    }))
}

/// The companion plans from nothing: every forward is to be opened.
fn plan(size: usize) -> anyhow::Result<Work> {
    let (ledger, _) = opened(size)?;
    let interfaces = [
        interface("vEthernet (WSL)", Ipv4Addr::new(172, 28, 0, 1), 20),
        interface("Ethernet", Ipv4Addr::new(192, 168, 50, 1), 24),
    ];
    let policy = Ceiling::default();
    Ok(Box::new(move || {
        let surroundings = plan::Surroundings {
            interfaces: &interfaces,
            control: ControlPorts::only(SocketAddr::from(([172, 28, 0, 1], 9756))),
            policy: &policy,
            backend: Backend::Relay,
        };
        let claims = ledger.claims();
        let actual = Actual::default();
        let places = plan::assign(&claims, &surroundings, &actual, &Places::default());
        let desired = plan::desired(&claims, &places, &surroundings);
        let actions = plan::actions(&desired, &actual, &claims, false);
        assert!(actions.len() >= 2 * size);
        actions.len()
    }))
}

#[expect(clippy::unnecessary_wraps, reason = "other cases can fail")]
fn encode(size: usize) -> anyhow::Result<Work> {
    let set = set(size);
    Ok(Box::new(move || serde_json::to_vec(&set).expect("JSON").len()))
}

fn decode(size: usize) -> anyhow::Result<Work> {
    let text = serde_json::to_vec(&set(size))?;
    Ok(Box::new(move || {
        let set: ForwardSet = serde_json::from_slice(&text).expect("JSON");
        set.validate().expect("a set that is right");
        set.forwards.len()
    }))
}

fn opened(size: usize) -> anyhow::Result<(Ledger, SessionId)> {
    let mut ledger = Ledger::new(Terms {
        max_forwards: size,
        ..Terms::default()
    });
    let request = OpenSession {
        protocol: VERSION,
        boot_id: "boot".to_owned(),
        pid_namespace: 1,
        mode: Mode::Nat,
        daemon: "0.1.0".to_owned(),
    };
    let (session, connection) = (SessionId(1), ConnectionId(1));
    let peer = IpAddr::from(Ipv4Addr::new(172, 28, 0, 2));
    let refused = |problem: wslnet_protocol::Problem| anyhow::anyhow!("{problem:?}");
    ledger
        .open("ubuntu", peer, &request, session, connection, awake())
        .map_err(refused)?;
    ledger
        .put(session, connection, 1, set(size), awake())
        .map_err(refused)?;
    Ok((ledger, session))
}

fn set(size: usize) -> ForwardSet {
    let forward = |index: usize| {
        let port = u16::try_from(10_000 + index).expect("a port");
        Forward {
            id: ForwardId(1 + index as u64),
            protocol: Protocol::Tcp,
            port,
            bind: Bind::Wildcard,
            listen_port: port,
            auto: false,
            loopback_gap: false,
            reach: Reach::Lan,
            name: index.is_multiple_of(10).then(|| format!("name-{index}")),
            labels: vec![
                format!("process=worker-{index}"),
                format!("unit=app-{index}.service"),
            ],
        }
    };
    ForwardSet {
        forwards: (0..size).map(forward).collect(),
        revoked: Vec::new(),
    }
}

fn interface(name: &str, address: Ipv4Addr, prefix_length: u8) -> Interface {
    Interface {
        name: name.to_owned(),
        description: String::new(),
        adapter: name.to_owned(),
        category: Some(Category::Private),
        index: 1,
        up: true,
        loopback: false,
        addresses: vec![InterfaceAddress {
            address: address.into(),
            prefix_length,
            preferred: true,
        }],
    }
}
