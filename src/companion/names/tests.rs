#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use wslnet_protocol::{Bind, Forward, Protocol, Reach};

use super::*;
use crate::ledger::{DistroClaims, Key};

#[test]
fn a_name_leads_to_where_windows_listens_and_else_to_the_vm() {
    for (listen, leads_to) in [
        (
            &["192.168.1.20:8888", "10.0.0.7:8888", "[2001:db8::1]:8888"][..],
            "10.0.0.7",
        ),
        (&["[2001:db8::1]:8888"], "2001:db8::1"),
        (&["10.0.0.7:8888", "[::1]:8888", "127.0.0.1:8888"], "127.0.0.1"),
        (&[], "172.20.0.2"),
    ] {
        let mut world = World::default();
        world.add("ubuntu", 1, 8888, Some("shop"), listen);

        assert_eq!(world.names(), [("shop.wsl", leads_to)]);
    }
}

#[test]
fn only_active_forwards_have_names() {
    let mut world = World::default();
    world.add("ubuntu", 1, 80, Some("shop"), &["10.0.0.7:80"]);
    world.add("ubuntu", 2, 81, None, &["10.0.0.7:81"]);
    world.states.get_mut("ubuntu").unwrap()[0].state = ForwardState::Conflict;

    assert_eq!(world.names(), []);
    assert_eq!(world.plan().forwards.len(), 0);
}

#[test]
fn of_two_distros_the_first_one_keeps_the_name_for_as_long_as_it_is_active() {
    let mut world = World::default();
    world.add("debian", 1, 80, Some("shop"), &["10.0.0.7:80"]);
    world.add("alpine", 2, 81, Some("shop"), &["10.0.0.8:81"]);

    assert_eq!(world.names(), [("shop.wsl", "10.0.0.7")]);
    assert!(world.refusal("alpine", 2).contains("distro `debian` has it"));

    world.states.get_mut("debian").unwrap()[0].state = ForwardState::Conflict;
    assert_eq!(world.names(), [("shop.wsl", "10.0.0.8")]);
}

#[test]
fn forwards_of_a_distro_share_a_name_that_leads_to_one_place() {
    let mut world = World::default();
    world.add("ubuntu", 1, 80, Some("shop"), &["10.0.0.7:80"]);
    world.add("ubuntu", 2, 443, Some("shop"), &["10.0.0.7:443"]);
    world.add("ubuntu", 3, 8080, Some("shop"), &[]);

    assert_eq!(world.names(), [("shop.wsl", "10.0.0.7")]);
    assert!(
        world.plan().forwards[&("ubuntu".to_owned(), ForwardId(2))]
            .1
            .is_ok()
    );
    assert!(
        world
            .refusal("ubuntu", 3)
            .contains("at 10.0.0.7, and this one is at 172.20.0.2")
    );
}

#[test]
fn the_machines_own_name_and_what_is_no_name_are_refused() {
    let mut world = World::default();
    for (id, label) in [
        (1, "desktop"),
        (2, "localhost"),
        (3, "windows"),
        (4, "evil\n1.2.3.4 x"),
        (5, "a.b"),
    ] {
        world.add("ubuntu", id, 80 + u16::try_from(id).unwrap(), Some(label), &[]);
    }

    assert_eq!(world.names(), []);
    assert!(world.refusal("ubuntu", 1).contains("this machine's own name"));
    for id in 2..=5 {
        assert!(!world.refusal("ubuntu", id).is_empty());
    }
}

#[test]
fn there_are_never_more_names_than_the_limit_and_the_first_ones_stay() {
    let mut world = World::default();
    for number in 0..200_u16 {
        let label = format!("a{number}");
        world.add("ubuntu", number.into(), 8000 + number, Some(&label), &[]);
    }

    assert_eq!(world.plan().names.len(), wslnet_hosts::NAMES);
    assert!(
        world
            .plan()
            .names
            .get(&HostName::of_forward("a0").unwrap())
            .is_some()
    );
    assert!(world.refusal("ubuntu", 199).contains("64 names already"));
}

#[test]
fn a_forward_says_what_became_of_its_name_once_that_is_known() {
    let mut world = World::default();
    world.add("ubuntu", 1, 80, Some("shop"), &["10.0.0.7:80"]);
    let Plan { names, forwards } = world.plan();
    let (name, result) = &forwards[&("ubuntu".to_owned(), ForwardId(1))];
    let told = |names: &Names, outcome| Told {
        names: names.clone(),
        outcome: Some(outcome),
    };
    let taken = BTreeSet::from([HostName::of_forward("shop").unwrap()]);
    let says = |told: &Told, on| note(name, result, &names, told, on);

    assert_eq!(says(&Told::default(), true), None);
    assert_eq!(says(&told(&Names::default(), Ok(BTreeSet::new())), true), None);
    assert_eq!(
        says(&told(&names, Ok(BTreeSet::new())), true).unwrap(),
        "name shop.wsl"
    );
    let others = says(&told(&names, Ok(taken)), true).unwrap();
    assert!(
        others.starts_with("no name shop.wsl: the hosts file has it"),
        "{others}"
    );
    let refused = says(&told(&Names::default(), Err("no right".to_owned())), true);
    assert_eq!(refused.unwrap(), "no name shop.wsl: no right");
    assert!(
        says(&told(&names, Ok(BTreeSet::new())), false)
            .unwrap()
            .contains("`names = false`")
    );
}

#[tokio::test]
async fn the_reason_of_a_forward_keeps_what_it_said() {
    let mut world = World::default();
    world.add("ubuntu", 1, 80, Some("shop"), &["10.0.0.7:80"]);
    world.add("ubuntu", 2, 81, None, &["10.0.0.7:81"]);
    world.states.get_mut("ubuntu").unwrap()[0].reason = "port 79 was taken".to_owned();
    let mut states = world.states.clone();

    Naming::start(None, true).name(&mut states, &world.claims(), true);

    let reasons: Vec<&str> = states["ubuntu"]
        .iter()
        .map(|status| status.reason.as_str())
        .collect();
    assert_eq!(
        reasons,
        [&format!("port 79 was taken; no name shop.wsl: {NO_FILE}"), ""]
    );
}

#[tokio::test]
async fn the_file_follows_and_is_clean_after_the_end_and_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hosts");
    let before =
        "127.0.0.1 localhost\r\n# BEGIN wslnet: of one that crashed\r\n10.0.0.1 old.wsl # wslnet\r\n";
    std::fs::write(&path, before).unwrap();
    let mut world = World::default();
    world.add("ubuntu", 1, 80, Some("shop"), &["10.0.0.7:80"]);
    let mut naming = Naming::start(Some(path.clone()), true);
    naming.changed().await;
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "127.0.0.1 localhost\r\n");

    naming.name(&mut world.states.clone(), &world.claims(), true);
    naming.changed().await;
    let mut states = world.states.clone();
    naming.name(&mut states, &world.claims(), true);

    assert_eq!(states["ubuntu"][0].reason, "name shop.wsl");
    let with = std::fs::read_to_string(&path).unwrap();
    assert!(with.contains("\r\n10.0.0.7 shop.wsl # wslnet\r\n"), "{with}");
    assert_eq!(naming.summary(true), format!("1 in {}", path.display()));

    naming.close().await;
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "127.0.0.1 localhost\r\n");
    assert_eq!(remove(&path), Ok(false));
}

/// Claims and the states that they came to.
#[derive(Default)]
struct World {
    forwards: BTreeMap<String, Vec<Forward>>,
    states: States,
    order: Vec<(String, ForwardId)>,
}

impl World {
    /// A forward that came after all others.
    fn add(&mut self, distro: &str, id: u64, port: u16, name: Option<&str>, listen: &[&str]) {
        let id = ForwardId(id);
        self.forwards.entry(distro.to_owned()).or_default().push(Forward {
            id,
            protocol: Protocol::Tcp,
            port,
            bind: Bind::Wildcard,
            listen_port: port,
            auto: false,
            loopback_gap: false,
            reach: Reach::Lan,
            name: name.map(str::to_owned),
            labels: vec![],
        });
        self.states
            .entry(distro.to_owned())
            .or_default()
            .push(ForwardStatus {
                id,
                state: ForwardState::Active,
                reason: String::new(),
                listen: listen.iter().map(|place| place.parse().unwrap()).collect(),
            });
        self.order.push((distro.to_owned(), id));
    }

    fn claims(&self) -> Claims<'_> {
        let mut claims = Claims::default();
        for (distro, forwards) in &self.forwards {
            for forward in forwards {
                let came = self
                    .order
                    .iter()
                    .position(|one| *one == (distro.clone(), forward.id));
                let claim = Claim {
                    distro,
                    forward,
                    arrival: came.unwrap() as u64,
                };
                claims.ports.entry(Key::of(forward)).or_default().push(claim);
            }
            let wanted = DistroClaims {
                peer: [172, 20, 0, 2].into(),
                mode: wslnet_protocol::Mode::Nat,
                heard: true,
                granted: forwards,
                over_limit: &[],
                revoked: &[],
            };
            claims.distros.insert(distro, wanted);
        }
        claims
    }

    fn plan(&self) -> Plan {
        plan(&self.claims(), &self.states, Some("desktop"))
    }

    fn names(&self) -> Vec<(&'static str, &'static str)> {
        let names = self.plan().names;
        names
            .iter()
            .map(|(name, address)| {
                let texts = [name.to_string(), address.to_string()];
                let [name, address] = texts.map(|text| &*text.leak());
                (name, address)
            })
            .collect()
    }

    fn refusal(&self, distro: &str, id: u64) -> String {
        let plan = self.plan();
        let (_, result) = &plan.forwards[&(distro.to_owned(), ForwardId(id))];
        result.clone().unwrap_err()
    }
}
