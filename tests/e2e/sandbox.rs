//! What the unit leaves to a daemon that somebody has taken over.

use std::process::Command;

use crate::bench::{SystemdDistro, World, require_program};

const UNIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/wslnetd.service");
const READER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/wslnetd-engines@.service");
const HOSTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/wslnetd-hosts@.service");

#[test]
fn systemd_rates_the_helper_for_hosts_as_well_confined() {
    // 0.7 of 10: root, but without capabilities.
    rate(HOSTS, 8);
}

#[test]
fn systemd_rates_the_unit_as_well_confined() {
    // Tenths: 2.0 of 10. The two capabilities cost most of it; systemd's own resolver has 2.2.
    rate(UNIT, 20);
}

#[test]
fn systemd_rates_the_reader_of_containers_as_hardly_able_to_do_anything() {
    // 0.7 of 10.
    rate(READER, 8);
}

fn rate(unit: &str, threshold: u32) {
    require_program("systemd-analyze", "systemd");
    let threshold = format!("--threshold={threshold}");
    let rated = Command::new("systemd-analyze")
        .args(["security", "--offline=true", &threshold, "--no-pager", unit])
        .output()
        .unwrap();

    let table = String::from_utf8_lossy(&rated.stdout);
    assert!(
        rated.status.success(),
        "{table}{}",
        String::from_utf8_lossy(&rated.stderr)
    );
}

/// The score does not see ways out through `/proc/1/root` and other processes' memory; so somebody tries them, as a
/// service with the settings of the unit, line by line, but for what it executes.
#[test]
fn there_is_no_way_out_of_the_unit() {
    const PROBE: &str = r#"
import ctypes, os, socket, subprocess, sys
def attempt(what, action):
    try: action()
    except (OSError, subprocess.SubprocessError) as error: print("refused", what, error)
    else: print("ESCAPED", what)
def call(name, *args):
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*args) < 0: raise OSError(ctypes.get_errno(), name)
def write(path): os.close(os.open(path, os.O_WRONLY | os.O_CREAT))
attempt("write /etc", lambda: write("/etc/escaped"))
attempt("write /usr/local/bin", lambda: write("/usr/local/bin/wslnetd"))
attempt("write own config", lambda: write("/etc/wslnetd/config.toml"))
attempt("write through /proc/1/root", lambda: write("/proc/1/root/etc/escaped"))
attempt("write memory of process 1", lambda: write("/proc/1/mem"))
attempt("ptrace", lambda: call("ptrace", 16, 1, 0, 0))
attempt("process_vm_writev", lambda: call("process_vm_writev", 1, None, 0, None, 0, 0))
attempt("kcmp", lambda: call("syscall", 312, os.getpid(), 1, 0, 0, 0))  # its number on x86-64
attempt("setuid", lambda: os.setuid(0))
attempt("mount", lambda: call("mount", b"none", b"/tmp", b"tmpfs", 0, None))
attempt("user namespace", lambda: call("unshare", 0x10000000))
attempt("raw socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
attempt("packet socket", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
attempt("kernel setting", lambda: write("/proc/sys/kernel/hostname"))
attempt("execute a shell", lambda: subprocess.run(["/etc/shell", "-c", "true"], check=True))
attempt("read a home", lambda: open("/root/secret"))
print("attempts ended")
"#;
    let world = World::new();
    let distro = SystemdDistro::boot(&world, "network-mode = \"nat\"\n");
    distro.write("/etc/probe.py", PROBE);
    distro.write("/root/secret", "x");
    distro.run(&["cp", "/bin/sh", "/etc/shell"]).ok();
    let unit = std::fs::read_to_string(UNIT).unwrap();
    let changed = unit
        .lines()
        .map(|line| match line.split_once('=') {
            Some(("ExecStart", _)) => "ExecStart=/usr/bin/python3 /etc/probe.py",
            Some(("Type", _)) => "Type=oneshot",
            Some(("Restart" | "WatchdogSec" | "ExecReload" | "ExecStartPre" | "NotifyAccess", _)) => "",
            Some(("ExecPaths", _)) => "ExecPaths=/usr/bin /usr/lib /lib -/lib64",
            _ => line,
        })
        .collect::<Vec<_>>()
        .join("\n");
    assert!(changed.contains("probe.py"));
    distro.write("/etc/systemd/system/probe.service", &changed);
    distro.systemctl(&["daemon-reload"]).ok();

    let started = distro.systemctl(&["start", "probe.service"]);

    let said = distro
        .run(&["journalctl", "--no-pager", "--output=cat", "--unit=probe.service"])
        .ok();
    assert!(said.contains("attempts ended"), "{started:?}: {said}");
    assert!(!said.contains("ESCAPED"), "{said}");
    assert!(said.matches("refused").count() >= 16, "{said}");
}
