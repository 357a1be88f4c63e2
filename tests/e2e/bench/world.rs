//! A world: Windows between the VM and the local network.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use super::{Client, Machine, NetNs};

/// The folder of a world is called this, and the process that made it.
const PREFIX: &str = "wslnet-e2e-";

/// Three networks, a Windows machine, and a client on the local network:
///
/// ```text
/// wsl 172.28.0.2/20 ── 172.28.0.1 win 192.168.50.1/24 ── 192.168.50.2 lan
///                                     fd00:50::1/64       fd00:50::2
/// ```
#[derive(Debug)]
pub struct World {
    /// Windows.
    pub windows: Machine,
    /// The VM's network, which all distros share.
    pub vm: Arc<NetNs>,
    /// Somebody on the local network.
    pub client: Client,
    folder: TempDir,
}

impl World {
    /// A world of its own.
    pub fn new() -> Self {
        Self::in_folder(&std::env::temp_dir())
    }

    /// The same, with its files below a given folder.
    pub fn in_folder(parent: &Path) -> Self {
        remove_what_killed_runs_left(parent);
        let prefix = format!("{PREFIX}{}-", std::process::id());
        let folder = tempfile::Builder::new()
            .prefix(&prefix)
            .tempdir_in(parent)
            .expect("a folder");
        open_to_all(folder.path());
        std::fs::create_dir(folder.path().join("logs")).expect("a folder");
        let (win, vm, lan) = (NetNs::new(), NetNs::new(), NetNs::new());
        win.ip(&format!(
            "link add vwsl0 type veth peer name eth0 netns {}",
            vm.path()
        ));
        win.ip(&format!(
            "link add vlan0 type veth peer name eth0 netns {}",
            lan.path()
        ));
        up(&win, "vwsl0", &["172.28.0.1/20"]);
        up(&win, "vlan0", &["192.168.50.1/24", "fd00:50::1/64"]);
        up(&vm, "eth0", &["172.28.0.2/20"]);
        vm.ip("route add default via 172.28.0.1");
        up(&lan, "eth0", &["192.168.50.2/24", "fd00:50::2/64"]);
        Self {
            windows: Machine::new(win, &folder.path().join("logs"), ""),
            vm,
            client: Client::new(lan),
            folder,
        }
    }

    /// Where programs log.
    pub fn logs(&self) -> PathBuf {
        self.folder.path().join("logs")
    }

    /// A new folder that every user of the world can enter.
    pub fn new_folder(&self, name: &str) -> PathBuf {
        let folder = self.folder.path().join(name);
        std::fs::create_dir(&folder).expect("a folder");
        open_to_all(&folder);
        folder
    }
}

impl Drop for World {
    #[expect(clippy::print_stderr, reason = "the only voice of a failing test")]
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let mut logs: Vec<_> = std::fs::read_dir(self.logs())
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        logs.sort();
        for log in logs {
            let text = String::from_utf8_lossy(&std::fs::read(&log).unwrap_or_default()).into_owned();
            let tail = text.len().saturating_sub(16_000);
            let tail = (tail..text.len())
                .find(|at| text.is_char_boundary(*at))
                .unwrap_or(0);
            eprintln!("---- {}\n{}", log.display(), &text[tail..]);
        }
    }
}

/// A killed run leaves no process and no namespace behind, but its files.
fn remove_what_killed_runs_left(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX)?.split('-').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            drop(std::fs::remove_dir_all(entry.path()));
        }
    }
}

fn up(net: &NetNs, link: &str, addresses: &[&str]) {
    for address in addresses {
        let nodad = if address.contains(':') { " nodad" } else { "" };
        net.ip(&format!("addr add {address} dev {link}{nodad}"));
    }
    net.ip(&format!("link set {link} up"));
}

fn open_to_all(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).expect("set the mode");
}
