//! Machines: network namespaces, and PID and mount namespaces that share them.
//!
//! Nothing here has a name in the file system. A network namespace lives as long as this process holds it open; a
//! machine's first process ends when its standard input does, and the kernel ends the others with it. So a killed test
//! run leaves nothing behind, and worlds cannot meet.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};

use super::program::{Program, Ran};
use super::require_root;

/// Where machines look for programs.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How long a program may take that is to end, in seconds.
pub const RUN_SECONDS: u32 = 30;

/// A network namespace.
#[derive(Debug)]
pub struct NetNs(File);

impl NetNs {
    /// A new one, with its loopback up.
    pub fn new() -> Arc<Self> {
        require_root();
        let file = in_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("new network namespace");
            File::open("/proc/thread-self/ns/net").expect("open the namespace")
        });
        let namespace = Arc::new(Self(file));
        namespace.ip("link set lo up");
        namespace
    }

    /// A path by which `ip link … netns PATH` finds it.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// Runs something inside: the sockets that it makes stay there.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        in_thread(|| {
            setns(&self.0, CloneFlags::CLONE_NEWNET).expect("enter the network namespace");
            work()
        })
    }

    /// `ip ARGS` inside.
    ///
    /// # Panics
    /// When it fails.
    pub fn ip(&self, args: &str) {
        let done = self.enter(|| Command::new("ip").args(args.split(' ')).output().expect("run ip"));
        assert!(
            done.status.success(),
            "ip {args}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
    }
}

/// Its own processes and mounts; the network may be shared with other machines, as WSL's distros do.
#[derive(Debug)]
pub struct Machine {
    /// Its network.
    pub net: Arc<NetNs>,
    init: Child,
    mounts: File,
    pids: File,
    logs: PathBuf,
}

impl Machine {
    /// Starts one whose programs log into `logs`. `before` is shell text that its first process runs before it is ready.
    pub fn new(net: Arc<NetNs>, logs: &Path, before: &str) -> Self {
        let script = format!(
            "set -e; mount --make-rprivate /; mount -t proc proc /proc; mount -t tmpfs tmpfs /run;\n\
             # Names resolve at once or not at all: no name server is in reach, and Python asks for its own name.\n\
             [ ! -e /etc/resolv.conf ] || mount --bind /dev/null /etc/resolv.conf\n\
             {before}\n\
             echo ready; exec cat >/dev/null"
        );
        let mut init = net.enter(|| {
            unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID).expect("new namespaces");
            Command::new("/bin/sh")
                .args(["-c", &script])
                .env_clear()
                .env("PATH", PATH)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("start the machine")
        });
        let mut line = String::new();
        let stdout = init.stdout.take().expect("is piped");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("the machine speaks");
        assert_eq!(line, "ready\n", "the machine did not start");
        let open =
            |kind: &str| File::open(format!("/proc/{}/ns/{kind}", init.id())).expect("open a namespace");
        Self {
            mounts: open("mnt"),
            pids: open("pid"),
            logs: logs.to_path_buf(),
            net,
            init,
        }
    }

    /// The first process, as the outside numbers it.
    pub fn init(&self) -> u32 {
        self.init.id()
    }

    /// Starts a program that goes on; it is killed when the handle goes.
    pub fn spawn(&self, name: &str, args: &[&str]) -> Program {
        self.start(name, command(args))
    }

    /// The same as another user.
    pub fn spawn_as(&self, uid: u32, name: &str, args: &[&str]) -> Program {
        let mut command = command(args);
        command.uid(uid).gid(uid);
        self.start(name, command)
    }

    /// Starts what is already described.
    pub fn start(&self, name: &str, mut command: Command) -> Program {
        let path = Program::log_path(&self.logs, name);
        let log = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .expect("open the log");
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("share the log"))
            .stderr(log);
        let child = self.enter(|| command.spawn());
        Program::new(
            child.unwrap_or_else(|error| panic!("start {name}: {error}")),
            path,
        )
    }

    /// Runs a program to its end, at most 30 seconds.
    pub fn run(&self, args: &[&str]) -> Ran {
        self.enter(|| finish(RUN_SECONDS, args))
    }

    /// The same as another user.
    pub fn run_as(&self, uid: u32, args: &[&str]) -> Ran {
        let uid = uid.to_string();
        let drop = ["setpriv", "--reuid", &uid, "--regid", &uid, "--clear-groups"];
        self.run(&[&drop, args].concat())
    }

    /// The same from outside and within a time in seconds, for a program that finds its own way in.
    pub fn run_outside(&self, seconds: u32, args: &[&str]) -> Ran {
        finish(seconds, args)
    }

    fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        enter(&self.net, &self.mounts, &self.pids, work)
    }

    /// Another way in, for other threads.
    pub fn door(&self) -> Door {
        Door {
            net: self.net.clone(),
            mounts: self.mounts.try_clone().expect("a namespace"),
            pids: self.pids.try_clone().expect("a namespace"),
        }
    }
}

/// A way into a machine that does not keep it alive.
#[derive(Debug)]
pub struct Door {
    net: Arc<NetNs>,
    mounts: File,
    pids: File,
}

impl Door {
    /// Runs a program to its end, at most 30 seconds, with this input.
    pub fn run_with(&self, args: &[&str], input: &[u8]) -> Ran {
        enter(&self.net, &self.mounts, &self.pids, || {
            let mut command = command(&[&["timeout", "--kill-after=1", "30"], args].concat());
            command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            let mut child = command
                .spawn()
                .unwrap_or_else(|error| panic!("run {args:?}: {error}"));
            // One that does not read it says why by itself.
            drop(child.stdin.take().expect("is piped").write_all(input));
            Ran::new(args, child.wait_with_output().expect("its end"))
        })
    }
}

fn enter<T: Send>(net: &NetNs, mounts: &File, pids: &File, work: impl FnOnce() -> T + Send) -> T {
    net.enter(|| {
        // A thread that shares its root directory with others may not change its mounts.
        unshare(CloneFlags::CLONE_FS).expect("own root directory");
        setns(mounts, CloneFlags::CLONE_NEWNS).expect("enter the mounts");
        setns(pids, CloneFlags::CLONE_NEWPID).expect("enter the processes");
        work()
    })
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The first process of a PID namespace takes all others with it, and ends when their parents have seen it:
        // programs that this test still holds would keep it waiting for ever, so it gets only a moment.
        drop(self.init.kill());
        let deadline = Instant::now() + Duration::from_secs(2);
        while matches!(self.init.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn finish(seconds: u32, args: &[&str]) -> Ran {
    let mut command = command(&[&["timeout", "--kill-after=1", &seconds.to_string()], args].concat());
    let output = command.stdin(Stdio::null()).output();
    Ran::new(
        args,
        output.unwrap_or_else(|error| panic!("run {args:?}: {error}")),
    )
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(args[0]);
    command
        .args(&args[1..])
        .env_clear()
        .env("PATH", PATH)
        .env("HOME", "/")
        .env("LC_ALL", "C.UTF-8")
        .current_dir("/");
    command
}

/// Namespaces belong to threads: what enters one must not come back.
fn in_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        scope
            .spawn(work)
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
