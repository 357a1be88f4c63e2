//! The kernel's packet filter as Windows' firewall: it lets nothing in from the local network but what the rules say that the companion
//! has put into the file which stands for Windows Firewall on Linux.
//!
//! Its limits: IPv4 only; what Windows would drop without a word it refuses, so that a closed port is seen to be closed; and of a rule
//! it knows the protocol, the port, the local addresses and `LocalSubnet`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{NetNs, require_program};

/// The networks in which Windows is.
const LOCAL_SUBNET: &str = "192.168.50.0/24";

/// Follows the file until it is dropped.
#[derive(Debug)]
pub struct PacketFilter {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    file: PathBuf,
}

impl PacketFilter {
    /// Filters what comes into this network, by the rules in this state directory.
    pub fn new(net: Arc<NetNs>, state_dir: &str) -> Self {
        require_program("iptables", "iptables");
        let file = Path::new(state_dir).join("firewall-rules.toml");
        let stop = Arc::new(AtomicBool::new(false));
        apply(&net, &[]);
        let (seen, followed) = (stop.clone(), file.clone());
        let thread = std::thread::spawn(move || {
            let mut before = Vec::new();
            while !seen.load(Ordering::Relaxed) {
                let now = read(&followed);
                if now != before {
                    apply(&net, &now);
                    before = now;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Self {
            stop,
            thread: Some(thread),
            file,
        }
    }

    /// The names of the rules that are there.
    pub fn rules(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.file).unwrap_or_default();
        let names = text.lines().filter_map(|line| line.strip_prefix("name = \""));
        names.map(|name| name.trim_end_matches('"').to_owned()).collect()
    }
}

impl Drop for PacketFilter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// The rules as arguments of `iptables`, each of them for one local address.
fn read(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let mut rules = Vec::new();
    for rule in text.split("[[rule]]").skip(1) {
        let value = |key: &str| {
            let line = rule
                .lines()
                .find_map(|line| line.strip_prefix(&format!("{key} = ")));
            line.unwrap_or_default().trim_matches('"').to_owned()
        };
        let source = match value("remote_addresses").as_str() {
            "LocalSubnet" => format!("-s {LOCAL_SUBNET} "),
            _ => String::new(),
        };
        let (addresses, ports) = (value("local_addresses"), value("local_ports"));
        for address in addresses.split(',').filter(|address| !address.contains(':')) {
            for port in ports.split(',') {
                rules.push(format!(
                    "{source}-d {address} -p {} --dport {port}",
                    value("protocol")
                ));
            }
        }
    }
    rules
}

fn apply(net: &NetNs, rules: &[String]) {
    let line = |args: &str| {
        let done = net.enter(|| Command::new("iptables").arg("-w").args(args.split(' ')).output());
        let done = done.expect("run iptables");
        assert!(
            done.status.success(),
            "iptables {args}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
    };
    line("-F INPUT");
    line("-A INPUT -i lo -j ACCEPT");
    // Answers, and what goes on.
    line("-A INPUT -p tcp ! --syn -j ACCEPT");
    for rule in rules {
        line(&format!("-A INPUT {rule} -j ACCEPT"));
    }
    line("-A INPUT -p tcp -j REJECT --reject-with tcp-reset");
    line("-A INPUT -p udp -j REJECT");
}
