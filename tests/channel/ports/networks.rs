//! Windows between a VM and a local network: three network namespaces that end with the test.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};

use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::Uid;

/// Windows' address on the local network.
pub const WINDOWS_ON_LAN: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 20);
const WINDOWS_AT_VM: Ipv4Addr = Ipv4Addr::new(172, 20, 0, 1);

/// The networks, as a thread in that of Windows has them.
pub struct Networks {
    vm: File,
    lan: File,
}

/// Another program on Windows.
pub struct Program(Child);

impl Networks {
    /// Runs a test in a thread that is on Windows, with a runtime of one thread: tasks and sockets stay in its network.
    pub fn run(test: impl AsyncFnOnce(&Self) + Send) {
        assert!(
            Uid::effective().is_root(),
            "a network namespace needs root: run scripts/test.sh as root"
        );
        let body = || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            let networks = Self {
                vm: new_namespace(),
                lan: new_namespace(),
            };
            ip("link set lo up");
            networks.connect("wsl", "172.20.0.1/20", &networks.vm, "172.20.0.2/20");
            networks.connect("lan", "192.168.1.20/24", &networks.lan, "192.168.1.7/24");
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(test(&networks));
        };
        std::thread::scope(|scope| {
            if let Err(panic) = scope.spawn(body).join() {
                std::panic::resume_unwind(panic);
            }
        });
    }

    /// Windows' address in the VM's network.
    pub fn windows_at_vm(&self) -> IpAddr {
        WINDOWS_AT_VM.into()
    }

    /// Makes sockets in the VM.
    pub fn in_vm<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        inside(&self.vm, work)
    }

    /// Makes sockets on another machine of the local network.
    pub fn in_lan<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        inside(&self.lan, work)
    }

    /// Starts a program on Windows that has this port on all addresses, over TCP and UDP.
    pub fn program_on_windows(&self, port: u16) -> Program {
        let script = format!(
            "import socket, sys\n\
             t = socket.create_server(('0.0.0.0', {port}))\n\
             u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
             u.bind(('0.0.0.0', {port}))\n\
             print('ready', flush=True)\n\
             sys.stdin.read()"
        );
        let mut child = Command::new("python3")
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "ready\n");
        Program(child)
    }

    fn connect(&self, name: &str, own: &str, other: &File, address: &str) {
        let path = format!("/proc/{}/fd/{}", std::process::id(), other.as_raw_fd());
        ip(&format!("link add {name} type veth peer name eth0 netns {path}"));
        ip(&format!("address add {own} dev {name}"));
        ip(&format!("link set {name} up"));
        inside(other, || {
            ip("link set lo up");
            ip(&format!("address add {address} dev eth0"));
            ip("link set eth0 up");
        });
    }
}

impl Program {
    /// As the companion names it.
    pub fn description(&self) -> String {
        let program = std::fs::read_link(format!("/proc/{}/exe", self.0.id())).unwrap();
        let name = program.file_name().unwrap().to_str().unwrap().to_owned();
        format!("{name} (pid {})", self.0.id())
    }

    /// Ends it; its ports are free then.
    pub fn end(mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It ends with its input, which closes now; a test that failed does not wait.
        drop(self.0.stdin.take());
    }
}

fn new_namespace() -> File {
    let make = || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        File::open("/proc/thread-self/ns/net").unwrap()
    };
    std::thread::spawn(make).join().unwrap()
}

fn inside<T: Send>(namespace: &File, work: impl FnOnce() -> T + Send) -> T {
    let work = || {
        setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
        work()
    };
    std::thread::scope(|scope| match scope.spawn(work).join() {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

fn ip(arguments: &str) {
    let done = Command::new("ip")
        .args(arguments.split_whitespace())
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "ip {arguments}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}
