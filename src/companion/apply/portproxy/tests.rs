//! The backend against the file that stands for the registry and IP Helper.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod ip_helper;

use std::collections::BTreeMap;

use tempfile::TempDir;
use wslnet_protocol::{ForwardId, Protocol};
use wslnet_relay::Connections;

use super::execute::{CALM, PUT_BACK};
use super::*;
use crate::ledger::Key;
use crate::plan::Stuck;

/// TEST-NET-2, where nobody on this machine listens.
const LAN: &str = "198.51.100.20:8000";
const LAN6: &str = "[2001:db8::20]:8000";
const VM: &str = "172.20.0.2:8000";
const NAME: &str = "198.51.100.20/8000";
const KEY: Key = Key {
    protocol: Protocol::Tcp,
    port: 8000,
};
/// Entries of somebody else, in every shape.
const FOREIGN: &str = "service = \"running\"\nwritable = true\nanswers = true\nreloads = 0\n\n[v4tov4]\n\"*/2222\" = \"172.20.0.2/22\"\n\
                       \"198.51.100.20/9000\" = \"172.20.0.2/9000\"\nnonsense = \"\"\n\n[v4tov6]\n\n[v6tov4]\n\
                       \"2001:db8::20/8001\" = \"10.0.0.1/1\"\n\n[v6tov6]\n";

#[tokio::test]
async fn entries_come_and_go_with_the_forwards_and_others_stay_as_they_are() {
    let bench = Bench::with(FOREIGN);
    let mut portproxy = bench.portproxy();

    portproxy.apply(opened(&[LAN, LAN6]), vms()).await;

    assert_eq!(bench.entry("v4tov4", NAME).as_deref(), Some("172.20.0.2/8000"));
    assert_eq!(
        bench.entry("v6tov4", "2001:db8::20/8000").as_deref(),
        Some("172.20.0.2/8000")
    );
    assert_eq!(listening(&portproxy), listens(&[LAN, LAN6]));
    assert_eq!(bench.reloads(), 1, "told once for all");
    let mine = &journal::load(bench.dir()).unwrap()[&LAN.parse().unwrap()];
    assert_eq!((&*mine.distro, &*mine.vm), ("ubuntu", "boot-1"));

    portproxy.apply(vec![close()], vms()).await;

    assert_eq!(bench.reloads(), 2);
    assert_eq!(bench.text().replace("reloads = 2", "reloads = 0"), FOREIGN);
    assert_eq!(journal::load(bench.dir()).unwrap(), Ours::new());
}

#[tokio::test]
async fn nothing_to_do_costs_no_control_and_no_write() {
    let bench = Bench::new();
    let mut portproxy = bench.portproxy();
    portproxy.apply(opened(&[LAN]), vms()).await;
    let before = (
        bench.text(),
        bench.modified(journal::FILE),
        bench.modified(REGISTRY),
    );

    for _ in 0..3 {
        portproxy.apply(vec![], vms()).await;
    }

    let after = (
        bench.text(),
        bench.modified(journal::FILE),
        bench.modified(REGISTRY),
    );
    assert_eq!(after, before);
}

#[tokio::test]
async fn what_a_killed_run_left_behind_is_removed_and_nothing_else() {
    let bench = Bench::with(FOREIGN);
    bench.portproxy().apply(opened(&[LAN, LAN6]), vms()).await;
    // One more that the journal promised and that was never made.
    let mut ours = journal::load(bench.dir()).unwrap();
    let mine = ours[&LAN.parse().unwrap()].clone();
    ours.insert("198.51.100.20:8008".parse().unwrap(), mine);
    journal::save(bench.dir(), &ours).unwrap();

    let cleared = clear(bench.dir());

    let expected = Cleared {
        removed: vec![
            "v4tov4 198.51.100.20/8000 -> 172.20.0.2/8000".into(),
            "v6tov4 2001:db8::20/8000 -> 172.20.0.2/8000".into(),
        ],
        ..Cleared::default()
    };
    assert_eq!(cleared, expected);
    assert_eq!(bench.text().replace("reloads = 2", "reloads = 0"), FOREIGN);
    assert_eq!(clear(bench.dir()), Cleared::default());
}

#[tokio::test]
async fn an_entry_that_somebody_changed_since_is_left_alone_forgotten_and_reported() {
    let bench = Bench::new();
    let mut portproxy = bench.portproxy();
    portproxy.apply(opened(&[LAN]), vms()).await;
    bench.replace("172.20.0.2/8000", "10.9.9.9/8000");

    portproxy.apply(vec![], vms()).await;

    let failure = failure(&portproxy);
    assert!(
        failure.conflict.is_some() && failure.reason.contains("10.9.9.9/8000"),
        "{failure:?}"
    );
    assert_eq!(journal::load(bench.dir()).unwrap(), Ours::new());
    let text = bench.text();
    assert_eq!(portproxy.close_all(), Cleared::default());
    assert_eq!(bench.text(), text);
}

#[tokio::test]
async fn a_changed_entry_of_a_killed_run_is_reported_by_the_purge() {
    let bench = Bench::new();
    bench.portproxy().apply(opened(&[LAN]), vms()).await;
    bench.replace("172.20.0.2/8000", "10.9.9.9/8000");

    let cleared = clear(bench.dir());

    assert_eq!(cleared.foreign, ["v4tov4 198.51.100.20/8000 -> 10.9.9.9/8000"]);
    assert_eq!((cleared.removed.len(), cleared.left), (0, None));
    assert!(bench.entry("v4tov4", NAME).is_some());
}

#[tokio::test]
async fn a_foreign_entry_is_a_conflict_until_it_goes() {
    let bench = Bench::with("[v4tov4]\n\"*/8000\" = \"10.0.0.1/80\"\n");
    let mut portproxy = bench.portproxy();

    portproxy.apply(opened(&[LAN]), vms()).await;

    let failure = failure(&portproxy);
    assert!(failure.reason.contains("*/8000 -> 10.0.0.1/80"), "{failure:?}");
    assert!(failure.conflict.is_some());
    assert_eq!(bench.reloads(), 0);

    bench.plant("");
    portproxy.apply(vec![], vms()).await;
    assert_eq!(listening(&portproxy), listens(&[LAN]));
}

#[tokio::test]
async fn a_program_that_listens_there_is_a_conflict_until_it_ends() {
    let bench = Bench::new();
    let mut portproxy = bench.portproxy();
    let holder = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    let listen = SocketAddr::new("198.51.100.20".parse().unwrap(), port);

    portproxy.apply(opened(&[&listen.to_string()]), vms()).await;

    let failure = failure(&portproxy);
    assert!(
        failure.conflict.is_some() && failure.reason.contains("held by"),
        "{failure:?}"
    );
    assert_eq!(journal::load(bench.dir()).unwrap(), Ours::new());

    drop(holder);
    portproxy.apply(vec![], vms()).await;
    assert_eq!(listening(&portproxy), [listen].into());
}

#[tokio::test]
async fn a_new_target_is_a_new_entry_and_one_control() {
    let bench = Bench::new();
    let mut portproxy = bench.portproxy();
    portproxy.apply(opened(&[LAN]), vms()).await;
    let retarget = Action::Retarget {
        key: KEY,
        target: "172.20.0.9:8000".parse().unwrap(),
    };

    portproxy.apply(vec![retarget], vms()).await;

    assert_eq!(bench.entry("v4tov4", NAME).as_deref(), Some("172.20.0.9/8000"));
    assert_eq!(bench.reloads(), 2);
    assert_eq!(listening(&portproxy), listens(&[LAN]));
}

#[tokio::test]
async fn the_journal_follows_a_distro_whose_vm_was_started_again() {
    let bench = Bench::new();
    let mut portproxy = bench.portproxy();
    portproxy.apply(opened(&[LAN]), vms()).await;

    portproxy
        .apply(vec![], [("ubuntu".to_owned(), "boot-2".to_owned())].into())
        .await;

    let mine = &journal::load(bench.dir()).unwrap()[&LAN.parse().unwrap()];
    assert_eq!(mine.vm, "boot-2");
    assert_eq!(bench.reloads(), 1, "the entry is the same");
}

#[tokio::test]
async fn without_a_journal_no_entry_is_made() {
    let bench = Bench::new();
    std::fs::create_dir(bench.dir().join(journal::FILE)).unwrap();
    let mut portproxy = bench.portproxy();

    portproxy.apply(opened(&[LAN]), vms()).await;

    assert!(failure(&portproxy).reason.contains("journal"));
    assert_eq!(bench.entry("v4tov4", NAME), None);
}

#[tokio::test]
async fn what_cannot_be_written_down_is_not_made() {
    let bench = Bench::new();
    let mut portproxy = bench.portproxy();
    portproxy.apply(vec![], vms()).await;
    // No file can be put in the place of a folder.
    std::fs::create_dir(bench.dir().join(journal::FILE)).unwrap();

    portproxy.apply(opened(&[LAN]), vms()).await;

    assert!(failure(&portproxy).reason.contains("journal"));
    assert_eq!(bench.entry("v4tov4", NAME), None);

    std::fs::remove_dir(bench.dir().join(journal::FILE)).unwrap();
    portproxy.apply(vec![], vms()).await;
    assert_eq!(listening(&portproxy), listens(&[LAN]));
}

#[tokio::test]
async fn a_journal_of_another_shape_is_kept_and_nothing_is_touched() {
    let bench = Bench::new();
    bench.portproxy().apply(opened(&[LAN]), vms()).await;
    let path = bench.dir().join(journal::FILE);
    std::fs::write(&path, "{\"version\":9}").unwrap();

    let cleared = clear(bench.dir());

    assert!(cleared.left.unwrap().contains("version 9"));
    assert_eq!(std::fs::read_to_string(path).unwrap(), "{\"version\":9}");
    assert!(bench.entry("v4tov4", NAME).is_some());
}

#[tokio::test]
async fn somebody_who_keeps_removing_an_entry_gets_his_way_in_the_end() {
    let bench = Bench::new();
    let mut portproxy = bench.portproxy();
    portproxy.apply(opened(&[LAN]), vms()).await;

    for _ in 0..PUT_BACK {
        bench.plant("");
        portproxy.apply(vec![], vms()).await;
        assert_eq!(listening(&portproxy), listens(&[LAN]), "put back");
    }
    bench.plant("");
    for _ in 0..3 {
        portproxy.apply(vec![], vms()).await;
    }

    assert_eq!(bench.entry("v4tov4", NAME), None);
    assert_eq!(failure(&portproxy).stuck, Some(Stuck::Contended));

    // A new forward is a new attempt.
    portproxy.apply(vec![close()], vms()).await;
    portproxy.apply(opened(&[LAN]), vms()).await;
    assert_eq!(listening(&portproxy), listens(&[LAN]));
}

#[test]
fn removals_that_lie_far_apart_are_no_quarrel() {
    let bench = Bench::new();
    let mut portproxy = bench.portproxy();
    opened(&[LAN])
        .into_iter()
        .for_each(|action| portproxy.take(action));
    let at = |minutes: u64| Awake::after_start(CALM * u32::try_from(minutes).unwrap());
    portproxy.round(at(1));

    for minute in 2..8 {
        bench.plant("");
        portproxy.round(at(minute));
    }

    assert_eq!(listening(&portproxy), listens(&[LAN]));
}

#[tokio::test]
async fn who_may_not_write_is_told_so() {
    let bench = Bench::with("writable = false\n");
    let mut portproxy = bench.portproxy();

    portproxy.apply(opened(&[LAN]), vms()).await;

    let failure = failure(&portproxy);
    assert_eq!(failure.stuck, Some(Stuck::Denied));
    assert!(
        failure.reason.contains("administrator") && portproxy.capability() == failure.reason,
        "{failure:?}"
    );
    assert_eq!(journal::load(bench.dir()).unwrap(), Ours::new());
}

#[tokio::test]
async fn what_cannot_be_removed_stays_in_the_journal() {
    let bench = Bench::new();
    let mut portproxy = bench.portproxy();
    portproxy.apply(opened(&[LAN]), vms()).await;
    let text = bench.text();
    bench.plant(&text.replace("writable = true", "writable = false"));

    let cleared = portproxy.close_all();

    assert!(cleared.left.unwrap().contains("administrator"));
    assert_eq!(journal::load(bench.dir()).unwrap().len(), 1);
    bench.plant(&text);
    assert_eq!(clear(bench.dir()).removed.len(), 1);
}

#[tokio::test]
async fn no_firewall_rule_is_made_for_a_port_whose_entry_is_somebody_elses() {
    let foreign = "[v4tov4]\n\"198.51.100.20/8000\" = \"10.9.9.9/80\"\n";
    let bench = Bench::with(foreign);
    let mut portproxy = bench.portproxy();
    let rules = || std::fs::read_to_string(bench.dir().join("firewall-rules.toml")).ok();

    for _ in 0..2 {
        portproxy.apply(opened(&[LAN]), vms()).await;
        assert!(failure(&portproxy).conflict.is_some());
        assert_eq!(rules(), None, "not for a moment");
    }

    bench.plant("");
    portproxy.apply(vec![], vms()).await;
    assert_eq!(listening(&portproxy), listens(&[LAN]));
    assert!(rules().is_some_and(|rules| rules.contains("wslnet port tcp 8000")));
}

#[test]
fn the_registry_is_looked_at_only_when_something_is_due() {
    let bench = Bench::new();
    let mut portproxy = bench.portproxy();
    let at = |millis| Awake::after_start(Duration::from_millis(millis));
    assert!(portproxy.is_due(at(0)), "what a former run left is not known yet");
    portproxy.round(at(0));
    assert!(!portproxy.is_due(at(1_000_000)), "nothing is wanted or ours");

    opened(&[LAN])
        .into_iter()
        .for_each(|action| portproxy.take(action));
    portproxy.round(at(1000));
    // Our own write was a change: one more look, to be sure that it was the only one.
    assert!(portproxy.is_due(at(1250)));
    portproxy.round(at(1250));
    assert!(!portproxy.is_due(at(1500)));
    assert!(portproxy.is_due(at(6250)), "IP Helper may have stopped");

    bench.plant("");
    assert!(portproxy.is_due(at(1500)), "somebody wrote");
}

#[test]
fn a_wildcard_never_gets_as_far_as_the_registry() {
    let bench = Bench::new();
    let mut portproxy = bench.portproxy();
    for bad in ["0.0.0.0:8000", "127.0.0.1:8000", "[::]:8000"] {
        opened(&[bad])
            .into_iter()
            .for_each(|action| portproxy.take(action));

        portproxy.round(Awake::after_start(Duration::ZERO));

        assert!(failure(&portproxy).reason.contains("concrete address"));
        assert_eq!(journal::load(bench.dir()).unwrap(), Ours::new());
    }
}

/// The file that stands for the registry.
const REGISTRY: &str = "portproxy-registry.toml";

struct Bench(TempDir);

impl Bench {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn with(text: &str) -> Self {
        let bench = Self::new();
        bench.plant(text);
        bench
    }

    fn dir(&self) -> &Path {
        self.0.path()
    }

    fn portproxy(&self) -> Portproxy {
        Portproxy::new(self.dir())
    }

    fn plant(&self, text: &str) {
        wslnet_link::replace_state_file(self.dir(), REGISTRY, text.as_bytes()).unwrap();
    }

    fn replace(&self, from: &str, to: &str) {
        let text = self.text();
        assert!(text.contains(from), "{text}");
        self.plant(&text.replace(from, to));
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.dir().join(REGISTRY)).unwrap()
    }

    fn modified(&self, file: &str) -> std::time::SystemTime {
        std::fs::metadata(self.dir().join(file))
            .unwrap()
            .modified()
            .unwrap()
    }

    fn document(&self) -> toml::Table {
        std::fs::read_to_string(self.dir().join(REGISTRY))
            .unwrap_or_default()
            .parse()
            .unwrap()
    }

    fn entry(&self, table: &str, name: &str) -> Option<String> {
        Some(self.document().get(table)?.get(name)?.as_str()?.to_owned())
    }

    fn reloads(&self) -> i64 {
        self.document()
            .get("reloads")
            .map_or(0, |number| number.as_integer().unwrap())
    }
}

fn opened(at: &[&str]) -> Vec<Action> {
    let open = Action::Open {
        key: KEY,
        distro: "ubuntu".into(),
        id: ForwardId(1),
        target: VM.parse().unwrap(),
    };
    let listen = |at: &&str| Action::Listen {
        key: KEY,
        address: at.parse().unwrap(),
    };
    [open].into_iter().chain(at.iter().map(listen)).collect()
}

fn close() -> Action {
    Action::Close {
        key: KEY,
        connections: Connections::Cut,
    }
}

fn vms() -> BTreeMap<String, String> {
    [("ubuntu".to_owned(), "boot-1".to_owned())].into()
}

fn listening(portproxy: &Portproxy) -> BTreeSet<SocketAddr> {
    portproxy.actual().relays[&KEY].listening.clone()
}

/// The one address that failed.
fn failure(portproxy: &Portproxy) -> Failure {
    let failed = &portproxy.actual().relays[&KEY].failed;
    assert_eq!(failed.len(), 1);
    failed.values().next().unwrap().clone()
}

fn listens(listens: &[&str]) -> BTreeSet<SocketAddr> {
    listens.iter().map(|listen| listen.parse().unwrap()).collect()
}
