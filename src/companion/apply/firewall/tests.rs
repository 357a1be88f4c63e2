//! On the files that stand for the two firewalls.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;
use wslnet_protocol::{ForwardId, Protocol};

use super::*;
use crate::host::{Categories, TableRow, rows};

const NEIGHBOURS: Admitted = Admitted {
    clients: Clients::LocalSubnet,
    networks: Categories::TRUSTED,
};
const ANYBODY: Admitted = Admitted {
    clients: Clients::Any,
    networks: Categories::ALL,
};

#[tokio::test]
async fn a_port_of_mirrored_mode_has_a_rule_in_both_firewalls_and_one_of_virtioproxy_in_one() {
    let bench = Bench::new();
    let mut firewall = bench.firewall();

    firewall
        .keep(
            &openings(&[(8000, Mode::Mirrored), (8001, Mode::VirtioProxy)]),
            NEIGHBOURS,
        )
        .await;

    assert_eq!(
        firewall.opinions().values().collect::<Vec<_>>(),
        [&Ok(()), &Ok(())]
    );
    let rules = bench.rules();
    assert!(rules.contains("wslnet shared port tcp 8000") && rules.contains("wslnet shared port tcp 8001"));
    assert!(
        rules.contains("192.0.2.7/32") && rules.contains("LocalSubnet"),
        "{rules}"
    );
    let names = bench.hyperv_rules();
    assert!(
        names.len() == 1 && names[0].starts_with("wslnet-tcp-8000-"),
        "{names:?}"
    );

    firewall
        .keep(&openings(&[(8001, Mode::VirtioProxy)]), ANYBODY)
        .await;

    let rules = bench.rules();
    assert!(
        !rules.contains("tcp 8000") && rules.contains("tcp 8001"),
        "{rules}"
    );
    assert!(!rules.contains("LocalSubnet"), "{rules}");
    assert_eq!(bench.hyperv_rules(), [""; 0]);
    firewall.close_all().await;
    assert!(!bench.rules().contains("wslnet shared port"));
}

#[tokio::test]
async fn without_the_right_each_port_says_what_has_it() {
    for file in ["firewall-rules.toml", "hyperv-rules.toml"] {
        let bench = Bench::new();
        bench.write(file, "writable = false\n");
        let mut firewall = bench.firewall();

        firewall
            .keep(&openings(&[(8000, Mode::Mirrored)]), NEIGHBOURS)
            .await;

        let opinion = firewall.opinions().values().next().unwrap();
        let failure = opinion.as_ref().unwrap_err();
        assert_eq!(failure.stuck, Some(Stuck::Denied));
        assert!(failure.reason.contains("Windows service"), "{}", failure.reason);
        assert!(firewall.capability().contains("Windows service"));
        assert!(!bench.rules().contains("tcp 8000"), "nothing is opened in vain");
    }
}

#[tokio::test]
async fn a_windows_without_a_hyper_v_firewall_needs_the_one_rule() {
    let bench = Bench::new();
    bench.write("hyperv-rules.toml", "there = false\n");
    let mut firewall = bench.firewall();

    firewall
        .keep(&openings(&[(8000, Mode::Mirrored)]), NEIGHBOURS)
        .await;

    assert!(bench.rules().contains("tcp 8000"));
    assert_eq!(firewall.opinions().values().next(), Some(&Ok(())));
}

#[tokio::test]
async fn what_a_run_leaves_is_removed_and_rules_of_others_stay() {
    let bench = Bench::new();
    let other = "name = \"wslnet relay (TCP)\"\ngrouping = \"wslnet\"\n";
    bench.write("firewall-rules.toml", &format!("[[rule]]\n{other}"));
    bench.write(
        "hyperv-rules.toml",
        "rules = [\"WslCore\", \"wslnet-of-others\"]\n",
    );
    let mut firewall = bench.firewall();
    firewall
        .keep(
            &openings(&[(8000, Mode::Mirrored), (9000, Mode::Mirrored)]),
            NEIGHBOURS,
        )
        .await;
    drop(firewall);

    let cleared = clear(bench.folder.path());

    assert_eq!(
        (cleared.removed.len(), cleared.left),
        (4, None),
        "{:?}",
        cleared.removed
    );
    assert!(bench.rules().contains("wslnet relay (TCP)") && !bench.rules().contains("shared port"));
    assert_eq!(bench.hyperv_rules(), ["WslCore", "wslnet-of-others"]);
    assert_eq!(clear(bench.folder.path()), Cleared::default());
}

#[tokio::test]
async fn a_rule_of_the_hyper_v_firewall_lets_in_no_more_than_that_of_windows_firewall() {
    let bench = Bench::new();
    let mut firewall = bench.firewall();
    let mut wanted = openings(&[(8000, Mode::Mirrored)]);
    let mut names = BTreeSet::new();

    // Everything that narrows the one rule makes another one of the other.
    firewall.keep(&wanted, NEIGHBOURS).await;
    names.extend(bench.hyperv_rules());
    firewall.keep(&wanted, ANYBODY).await;
    names.extend(bench.hyperv_rules());
    for opening in wanted.values_mut() {
        opening.listen = [([198, 51, 100, 7], 8000).into()].into();
        opening.networks = [([198, 51, 100, 7].into(), 24)].into();
    }
    firewall.keep(&wanted, ANYBODY).await;
    names.extend(bench.hyperv_rules());

    assert_eq!(names.len(), 3, "{names:?}");
    assert_eq!(bench.hyperv_rules().len(), 1, "the former ones are gone");
}

#[tokio::test]
async fn what_could_not_be_removed_at_the_start_goes_as_soon_as_the_firewall_lets_it() {
    let bench = Bench::new();
    let mut former = bench.firewall();
    former
        .keep(&openings(&[(8000, Mode::VirtioProxy)]), NEIGHBOURS)
        .await;
    drop(former);
    let file = bench.folder.path().join("firewall-rules.toml");
    let writable = |text: String| std::fs::write(&file, text).unwrap();
    writable(bench.rules().replace("writable = true", "writable = false"));
    assert!(clear_leftovers(bench.folder.path()).left.is_some());

    let mut firewall = bench.firewall();
    assert!(firewall.is_due(host::awake()) && !firewall.is_settled());
    firewall.keep(&BTreeMap::new(), NEIGHBOURS).await;
    assert!(
        firewall.is_settled(),
        "without the right, a look now and then is enough"
    );
    writable(bench.rules().replace("writable = false", "writable = true"));
    firewall.looked = None;
    firewall.keep(&BTreeMap::new(), NEIGHBOURS).await;

    assert!(!bench.rules().contains("shared port"), "{}", bench.rules());
    assert!(firewall.is_settled() && !firewall.is_due(host::awake()));
    assert_eq!(
        clear_leftovers(bench.folder.path()),
        Cleared::default(),
        "nor a mark"
    );
}

#[tokio::test]
async fn a_rule_that_cannot_be_removed_is_told_of_though_others_are_wanted() {
    let bench = Bench::new();
    let mut firewall = bench.firewall();
    let both = openings(&[(8000, Mode::VirtioProxy), (8001, Mode::VirtioProxy)]);
    firewall.keep(&both, NEIGHBOURS).await;
    let file = bench.folder.path().join("firewall-rules.toml");
    std::fs::write(
        &file,
        bench.rules().replace("writable = true", "writable = false"),
    )
    .unwrap();

    firewall
        .keep(&openings(&[(8001, Mode::VirtioProxy)]), NEIGHBOURS)
        .await;

    let told = firewall.capability();
    assert!(told.contains("nobody shares any more are left"), "{told}");
    std::fs::write(
        &file,
        bench.rules().replace("writable = false", "writable = true"),
    )
    .unwrap();
    firewall.looked = None;
    firewall
        .keep(&openings(&[(8001, Mode::VirtioProxy)]), NEIGHBOURS)
        .await;
    let told = firewall.capability();
    assert!(
        told.starts_with("1 ports open") && !bench.rules().contains("tcp 8000"),
        "{told}"
    );
}

#[tokio::test]
async fn a_rule_that_somebody_took_away_comes_back_with_the_next_look() {
    let bench = Bench::new();
    let mut firewall = bench.firewall();
    let wanted = openings(&[(8000, Mode::VirtioProxy)]);
    firewall.keep(&wanted, NEIGHBOURS).await;
    bench.write("firewall-rules.toml", "");

    firewall.looked = None;
    firewall.keep(&wanted, NEIGHBOURS).await;

    assert!(bench.rules().contains("tcp 8000"));
}

/// End to end there is no such case: where one network stands for both, the distro sees that program too, and asks for nothing.
#[test]
fn the_port_of_a_program_of_windows_is_not_the_vms() {
    let program = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = program.local_addr().unwrap();
    let (key, mut opening) = openings(&[(address.port(), Mode::Mirrored)]).pop_first().unwrap();
    opening.listen = [address].into();

    let failure = somebody_else(key, &opening, &mut Sockets::default(), None).unwrap();

    assert!(failure.conflict.is_some() && failure.stuck.is_none());
    assert!(
        failure.reason.contains("a rule would open that"),
        "{}",
        failure.reason
    );
    assert_eq!(
        somebody_else(key, &opening, &mut Sockets::default(), Some(std::process::id())),
        None
    );
    drop(program);
    assert_eq!(somebody_else(key, &opening, &mut Sockets::default(), None), None);
}

#[test]
fn a_round_looks_at_the_machine_once_for_all_ports() {
    static LOOKS: AtomicUsize = AtomicUsize::new(0);
    fn look(protocol: Protocol) -> std::io::Result<Vec<TableRow>> {
        LOOKS.fetch_add(1, Ordering::SeqCst);
        rows(protocol)
    }
    let bench = Bench::new();
    let ports: Vec<_> = (8000..8064).map(|port| (port, Mode::Mirrored)).collect();

    let sockets = Sockets::read_by(look);
    let done = Doors::new(bench.folder.path()).round(&openings(&ports), NEIGHBOURS, sockets);

    assert_eq!(done.opinions.len(), ports.len());
    assert_eq!(LOOKS.load(Ordering::SeqCst), 1);
}

struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn firewall(&self) -> Firewall {
        Firewall::new(self.folder.path())
    }

    fn write(&self, file: &str, text: &str) {
        wslnet_link::replace_state_file(self.folder.path(), file, text.as_bytes()).unwrap();
    }

    fn rules(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("firewall-rules.toml")).unwrap_or_default()
    }

    fn hyperv_rules(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.path().join("hyperv-rules.toml")).unwrap_or_default();
        let table: toml::Table = toml::from_str(&text).unwrap();
        let rules = table.get("rules").and_then(toml::Value::as_array).cloned();
        let rules = rules.unwrap_or_default();
        rules
            .iter()
            .filter_map(|rule| rule.as_str().map(str::to_owned))
            .collect()
    }
}

fn openings(ports: &[(u16, Mode)]) -> BTreeMap<Key, Opening> {
    let opening = |(port, mode): &(u16, Mode)| {
        let key = Key {
            protocol: Protocol::Tcp,
            port: *port,
        };
        let opening = Opening {
            distro: "ubuntu".to_owned(),
            id: ForwardId(u64::from(*port)),
            mode: *mode,
            listen: [([192, 0, 2, 7], *port).into()].into(),
            networks: [([192, 0, 2, 7].into(), 24)].into(),
            is_on_loopback: true,
        };
        (key, opening)
    };
    ports.iter().map(opening).collect()
}
