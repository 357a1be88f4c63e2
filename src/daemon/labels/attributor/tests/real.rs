//! Holders that come late, go, move and change their program, played by real processes. The time is made up, so that
//! nobody waits for a look that is due in minutes.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::symlink;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;

use tempfile::TempDir;

use super::super::rhythm::LENT;
use super::*;
use crate::labels::labels_of;
use crate::listeners::{Scanner, SourceChoice, UdpInterest};

/// A server that does on its standard input's word what real ones do. Everything that it starts reads from a pipe whose
/// other end it holds, so that all of it ends when it does. `sys.argv[1]` is a folder of programs that wait for the end
/// of their input.
const ACTOR: &str = r#"
import os, socket, sys

listener = socket.create_server(("127.0.0.1", 0))
fd = listener.fileno()
ready, told = os.pipe()
asked, ask = os.pipe()
service = None


def say(word):
    os.write(1, f"{word}\n".encode())


def call_me(name):
    with open("/proc/self/comm", "w") as comm:
        comm.write(name)


def start(name):
    os.set_inheritable(fd, True)
    os.execv(f"{sys.argv[1]}/{name}", [name])


def work():
    call_me("worker")
    os.write(told, b".")
    os.read(asked, 1)
    os.dup2(fd, 100)
    os.close(fd)
    os.write(told, b".")
    os.close(ask)
    os.read(asked, 1)


say(listener.getsockname()[1])
for line in iter(sys.stdin.readline, ""):
    word, _, name = line.strip().partition(" ")
    if word == "call":
        call_me(name)
    elif word == "become":
        start(name)
    elif word == "serve":
        service = os.fork()
        if service == 0:
            os.dup2(asked, 0)
            start(name)
    elif word == "end":
        os.kill(service, 9)
        os.waitpid(service, 0)
    elif word == "work":
        if os.fork() == 0:
            work()
            os._exit(0)
        os.read(ready, 1)
    elif word == "fork":
        service = os.fork()
        if service == 0:
            os.dup2(asked, 0)
            call_me("worker")
            os.close(ask)
            os.read(0, 1)
            os._exit(0)
    elif word == "move":
        os.write(ask, b".")
        os.read(ready, 1)
    say(service)
"#;

/// A server whose listener is among the descriptors of its second thread only.
const THREAD: &str = r#"
import ctypes, os, socket, sys, threading


def serve():
    # CLONE_FILES
    assert ctypes.CDLL(None).unshare(0x400) == 0
    listener = socket.create_server(("127.0.0.1", 0))
    os.write(1, f"{listener.getsockname()[1]}\n".encode())
    threading.Event().wait()


threading.Thread(target=serve, daemon=True).start()
for line in iter(sys.stdin.readline, ""):
    with open("/proc/self/comm", "w") as comm:
        comm.write(line.strip().removeprefix("call "))
    os.write(1, b".\n")
"#;

#[test]
fn a_child_that_starts_another_program_long_after_listen_is_labelled() {
    for (age, within) in [(3, 1), (600, 10)] {
        let mut stage = Stage::new();
        let start = Instant::now();
        stage.at(start);
        stage.at(start + 1000 * age * MS);

        stage.actor.start_service("secretdb");
        let labels = stage.at(start + 1000 * (age + within) * MS);

        assert!(labels.contains("process", "secretdb"), "{labels}");
    }
}

#[test]
fn the_labels_follow_a_service_that_comes_and_goes_under_its_managers_socket() {
    let mut stage = Stage::new();
    stage.actor.order("call systemd");
    let start = Instant::now();
    let alone = stage.at(start);

    assert_eq!(processes(&alone), ["systemd"]);
    for round in 1..=3 {
        let round = start + 600_000 * round * MS;
        stage.at(round);

        stage.actor.start_service("secretdb");
        let serving = stage.at(round + LENT);
        stage.at(round + 300_000 * MS);
        stage.actor.order("end");
        let gone = stage.at(round + 300_000 * MS + VERIFY);

        assert_eq!(processes(&serving), ["secretdb", "systemd"]);
        assert_eq!(processes(&gone), ["systemd"]);
    }
}

#[test]
fn a_worker_that_moves_its_descriptor_stays_labelled_while_its_master_lives() {
    let mut stage = Stage::new();
    stage.actor.order("call master");
    stage.actor.order("work");
    let start = Instant::now();
    stage.at(start);
    let before = stage.at(start + 600_000 * MS);

    stage.actor.order("move");
    let after = stage.at(start + 600_000 * MS + VERIFY);

    assert_eq!(processes(&before), ["master", "worker"]);
    assert_eq!(processes(&after), ["master", "worker"]);
}

#[test]
fn a_holder_that_becomes_another_program_goes_by_its_new_name_and_path() {
    let mut stage = Stage::new();
    let start = Instant::now();
    stage.at(start);
    let before = stage.at(start + 600_000 * MS);

    stage.actor.send("become secretdb");
    wait_until_called(stage.actor.pid(), "secretdb");
    let after = stage.at(start + 600_000 * MS + VERIFY);

    assert!(!before.contains("process", "secretdb"), "{before}");
    assert_eq!(processes(&after), ["secretdb"]);
    assert_ne!(before.get("exe"), after.get("exe"));
}

#[test]
fn a_thread_with_descriptors_of_its_own_is_labelled() {
    let mut stage = Stage::of(Actor::start(THREAD));
    stage.actor.order("call secretdb");
    let start = Instant::now();

    let first = stage.at(start);
    let later = stage.at(start + 5000 * MS);
    let kept = stage.at(start + 600_000 * MS);

    assert!(processes(&first).is_empty(), "{first}");
    assert_eq!(processes(&later), ["secretdb"]);
    assert_eq!(processes(&kept), ["secretdb"]);
}

/// A server beside which another process has always been, that is handed the listener when it is said so.
const HANDING: &str = r#"
import os, socket, sys

here, there = socket.socketpair()
friend = os.fork()
if friend == 0:
    here.close()
    _, fds, _, _ = socket.recv_fds(there, 1, 1)
    os.write(1, b"handed\n")
    there.recv(1)
    os._exit(0)
there.close()
listener = socket.create_server(("127.0.0.1", 0))
os.write(1, f"{listener.getsockname()[1]}\n".encode())
sys.stdin.readline()
os.write(1, f"{friend}\n".encode())
socket.send_fds(here, [b"."], [listener.fileno()])
sys.stdin.readline()
"#;

#[test]
fn an_old_process_that_is_handed_the_descriptor_is_found_by_a_rare_look_through_all() {
    let mut stage = Stage::of(Actor::start(HANDING));
    let start = Instant::now();
    for seconds in [0, 5, 120] {
        stage.at(start + 1000 * seconds * MS);
    }
    let friend = stage.actor.order("hand");
    assert_eq!(stage.actor.answer(), "handed");

    let soon = stage.holders(start + 130_000 * MS);
    let later = stage.holders(start + 721_000 * MS);

    let server = stage.pid().to_string();
    assert_eq!(soon, std::slice::from_ref(&server));
    assert_eq!(later, [server, friend]);
}

#[test]
fn a_process_with_the_pid_of_another_one_is_looked_into() {
    let mut stage = Stage::new();
    stage.actor.order("call master");
    let start = Instant::now();
    let mut after = 120_000 * MS;
    stage.at(start);
    stage.at(start + after);

    // One that the listener is not handed to, so that it is known as such; then a worker with its PID.
    let deadline = Instant::now() + LONG;
    let worker = loop {
        assert!(Instant::now() < deadline, "no PID was used again");
        let mut other = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = other.id();
        for _ in 0..3 {
            after += 10_000 * MS;
            stage.at(start + after);
        }
        other.kill().unwrap();
        other.wait().unwrap();
        fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).unwrap();
        let worker = stage.actor.order("fork");
        if worker == pid.to_string() {
            break worker;
        }
    };
    // The PID that was given last is that of the last look else, and would say that nobody has come.
    Command::new("true").status().unwrap();

    let holders = stage.holders(start + after + 10_000 * MS);
    assert!(holders.contains(&worker), "{worker} is not in {holders:?}");
}

/// An actor and an attributor that looks at its listener only.
pub(super) struct Stage {
    actor: Actor,
    scanner: Scanner,
    attributor: Attributor,
}

impl Stage {
    pub(super) fn new() -> Self {
        Self::of(Actor::start(ACTOR))
    }

    fn of(actor: Actor) -> Self {
        Self {
            actor,
            scanner: Scanner::open(SourceChoice::Auto, UdpInterest::default()).unwrap(),
            attributor: patient(Attributor::new().unwrap()),
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.actor.pid()
    }

    /// The PIDs of the holders of the actor's listener at this moment, the oldest first.
    fn holders(&mut self, now: Instant) -> Vec<String> {
        let sockets = self.sockets();
        let owner = self.attributor.attribute(&sockets, now).remove(0);
        let holders = owner.iter().flat_map(|owner| &owner.holders);
        holders.map(|holder| holder.pid.to_string()).collect()
    }

    /// Those that are known by what is said of one process alone.
    pub(super) fn holders_near(&mut self, maker: u32) -> Vec<String> {
        let sockets = self.sockets();
        let wanted = sockets.iter().map(|socket| socket.inode).collect();
        let maker = i32::try_from(maker).unwrap();
        let walk = self.attributor.processes.holders_near(&[maker], &wanted);
        let holders = walk.holders.into_values().flatten();
        holders.map(|holder| holder.process().pid.to_string()).collect()
    }

    /// Carries out an order of the actor; what that says.
    pub(super) fn order(&mut self, order: &str) -> String {
        self.actor.order(order)
    }

    fn sockets(&mut self) -> Vec<Socket> {
        let mut sockets = self.scanner.scan().unwrap();
        sockets.retain(|socket| socket.address.port() == self.actor.port);
        sockets
    }

    /// The labels of the actor's listener at this moment.
    pub(super) fn at(&mut self, now: Instant) -> crate::labels::Labels {
        let sockets = self.sockets();
        let owner = self.attributor.attribute(&sockets, now).remove(0);
        labels_of(&sockets[0], owner.as_deref())
    }
}

/// A running [`ACTOR`] or [`THREAD`].
struct Actor {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    port: u16,
    _programs: TempDir,
}

impl Actor {
    fn start(script: &str) -> Self {
        let programs = tempfile::tempdir().unwrap();
        symlink("/bin/cat", programs.path().join("secretdb")).unwrap();
        let mut child = Command::new("/usr/bin/python3")
            .args(["-c", script])
            .arg(programs.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut actor = Self {
            orders: child.stdin.take().unwrap(),
            answers: BufReader::new(child.stdout.take().unwrap()),
            child,
            port: 0,
            _programs: programs,
        };
        actor.port = actor.answer().parse().unwrap();
        actor
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn send(&mut self, order: &str) {
        writeln!(self.orders, "{order}").unwrap();
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// Sends an order and waits until it is carried out.
    fn order(&mut self, order: &str) -> String {
        self.send(order);
        self.answer()
    }

    fn start_service(&mut self, name: &str) {
        let pid = self.order(&format!("serve {name}")).parse().unwrap();
        wait_until_called(pid, name);
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait_until_called(pid: u32, name: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while fs::read_to_string(format!("/proc/{pid}/comm"))
        .unwrap()
        .trim_end()
        != name
    {
        assert!(Instant::now() < deadline, "{pid} did not become {name}");
        thread::sleep(MS);
    }
}

fn processes(labels: &crate::labels::Labels) -> Vec<&str> {
    labels.values("process").collect()
}
