//! A bus of one's own with a systemd on it, for tests.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use tokio::net::UnixStream;
use zbus::Connection;
use zbus::connection::Builder;
use zbus::zvariant::OwnedObjectPath;

use super::bus::{MANAGER_PATH, Places, SYSTEMD};

/// A real bus, and a systemd that knows what it was told.
#[derive(Debug)]
pub(super) struct Fake {
    /// Where it is.
    pub(super) places: Places,
    _folder: TempDir,
    bus: Child,
    systemd: Connection,
    units: Shared,
}

/// The `Environment` of each unit.
#[derive(Clone, Debug, Default)]
struct Shared(Arc<Mutex<BTreeMap<String, Vec<String>>>>);

impl Shared {
    /// Whether the unit is a new one.
    fn set(&self, unit: &str, environment: Vec<String>) -> bool {
        let mut units = self.0.lock().expect("no test panicked with it");
        units.insert(unit.to_owned(), environment).is_none()
    }

    fn get(&self, unit: &str) -> Option<Vec<String>> {
        let units = self.0.lock().expect("no test panicked with it");
        units.get(unit).cloned()
    }
}

impl Fake {
    pub(super) async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let places = Places {
            booted: folder.path().to_owned(),
            bus: folder.path().join("bus"),
        };
        let bus = bus(&places);
        let units = Shared::default();
        let manager = Manager(units.clone());
        let stream = UnixStream::connect(&places.bus).await.expect("a bus");
        let systemd = Builder::unix_stream(stream)
            .serve_at(MANAGER_PATH, manager)
            .and_then(|builder| builder.name(SYSTEMD))
            .expect("a name and a path")
            .build()
            .await
            .expect("the bus lets it on");
        Self {
            places,
            _folder: folder,
            bus,
            systemd,
            units,
        }
    }

    /// A unit has this environment from now on.
    pub(super) async fn load(&self, unit: &str, environment: &[&str]) {
        let environment = environment.iter().map(|text| (*text).to_owned()).collect();
        if self.units.set(unit, environment) {
            let service = Service(unit.to_owned(), self.units.clone());
            let server = self.systemd.object_server();
            server.at(path_of(unit), service).await.expect("a new path");
        }
    }

    /// The bus stays without its systemd.
    pub(super) async fn lose_systemd(&self) {
        let released = self.systemd.release_name(SYSTEMD).await;
        assert!(released.expect("an answer of the bus"), "it had the name");
    }

    /// How many programs are on the bus, beside the bus and systemd.
    pub(super) async fn strangers(&self) -> usize {
        let names = self
            .systemd
            .call_method(
                Some("org.freedesktop.DBus"),
                "/org/freedesktop/DBus",
                Some("org.freedesktop.DBus"),
                "ListNames",
                &(),
            )
            .await
            .expect("an answer of the bus");
        let names: Vec<String> = names.body().deserialize().expect("names");
        names.iter().filter(|name| name.starts_with(':')).count() - 1
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.bus.kill());
        drop(self.bus.wait());
    }
}

fn bus(places: &Places) -> Child {
    let config = places.booted.join("bus.conf");
    let text = format!(
        "<busconfig><listen>unix:path={}</listen><policy context=\"default\">\
         <allow send_destination=\"*\"/><allow receive_sender=\"*\"/><allow own=\"*\"/></policy></busconfig>",
        places.bus.display()
    );
    std::fs::write(&config, text).expect("write the config of the bus");
    let mut bus = Command::new("dbus-daemon")
        .arg(format!("--config-file={}", config.display()))
        .args(["--nofork", "--print-address"])
        .stdout(Stdio::piped())
        // It may not raise its limits, and says so each time.
        .stderr(Stdio::null())
        .spawn()
        .expect("this test needs dbus-daemon: apt-get install dbus, as scripts/test.sh does");
    let mut address = String::new();
    let stdout = bus.stdout.take().expect("is piped");
    BufReader::new(stdout)
        .read_line(&mut address)
        .expect("the bus speaks");
    assert!(address.starts_with("unix:"), "the bus did not start");
    bus
}

fn path_of(unit: &str) -> OwnedObjectPath {
    let escaped = unit.bytes().map(|byte| {
        if byte.is_ascii_alphanumeric() {
            char::from(byte).to_string()
        } else {
            format!("_{byte:02x}")
        }
    });
    let path = format!("{MANAGER_PATH}/unit/{}", escaped.collect::<String>());
    OwnedObjectPath::try_from(path).expect("a path")
}

struct Manager(Shared);

#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.freedesktop.systemd1")]
enum Refusal {
    #[zbus(error)]
    Other(zbus::Error),
    NoSuchUnit(String),
}

#[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
impl Manager {
    fn get_unit(&self, name: &str) -> Result<OwnedObjectPath, Refusal> {
        match self.0.get(name) {
            Some(_) => Ok(path_of(name)),
            None => Err(Refusal::NoSuchUnit(format!("Unit {name} not loaded."))),
        }
    }
}

struct Service(String, Shared);

#[zbus::interface(name = "org.freedesktop.systemd1.Service")]
impl Service {
    #[zbus(property)]
    fn environment(&self) -> Vec<String> {
        self.1.get(&self.0).unwrap_or_default()
    }
}
