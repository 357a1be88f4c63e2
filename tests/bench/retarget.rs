//! The VM gets another address: how long until every forward leads there.

use crate::clock;
use crate::e2e::{Rig, World};
use crate::helper::{control::Remote, farm};
use crate::options::Options;
use crate::probe;
use crate::report::{Row, Section, column};
use crate::statistics::{median, quantile};

const FIRST_PORT: u16 = 20_000;
/// The VM has them in turn, the first one to begin with.
const ADDRESSES: [&str; 2] = ["172.28.0.2/20", "172.28.0.99/20"];

/// Measures this part.
pub fn measure(options: &Options) -> anyhow::Result<Section> {
    let forwards = options.by_form(1_000, 1_000, 20);
    let changes = options.by_form(10, 3, 1);
    let world = World::new();
    let rig = Rig::connected(&world);
    let (_farm, mut remote) = Remote::start(&world, &rig.distro.machine, farm::NAME)?;
    remote.ask(&format!("open {FIRST_PORT} {forwards}"))?;
    probe::all_reachable(&world.client.net, FIRST_PORT, forwards)?;
    let mut samples = Vec::new();
    for change in 1..=changes {
        world.vm.ip("addr flush dev eth0 scope global");
        world
            .vm
            .ip(&format!("addr add {} dev eth0", ADDRESSES[change % 2]));
        world.vm.ip("route add default via 172.28.0.1");
        let start = clock::now();
        let end = probe::all_reachable(&world.client.net, FIRST_PORT, forwards)?;
        samples.push(end.saturating_sub(start) as f64 / 1e6);
    }
    let row = Row {
        subject: "wslnet".to_owned(),
        topology: "lan → win (companion) → vm".to_owned(),
        cells: [
            ("retarget_p50", median(&samples)),
            ("retarget_max", quantile(&samples, 1.0)),
        ]
        .into(),
        note: None,
        samples: [("retarget", samples)].into(),
    };
    Ok(Section {
        key: "retarget",
        title: format!("{forwards} forwards after a new address of the VM"),
        how: format!(
            "From the moment at which the new address and its route are there until every port answers a client on the local \
             network, through the relay; {changes} changes."
        ),
        columns: vec![
            column("retarget_p50", "median, ms", 1),
            column("retarget_max", "max, ms", 1),
        ],
        rows: vec![row],
    })
}
