//! What real programs say of themselves by `WSLNETD=`, also those that do all they can to keep us waiting.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{ChildStdin, ChildStdout};
use std::thread;

use super::*;
use crate::labels::{Labels, declarations, labels_of};
use crate::listeners::{Scanner, SourceChoice};

/// A server that runs itself once more with what it reads as its new environment, one `NAME=VALUE`.
const SPEAKER: &str = r#"
import os, socket, sys

if len(sys.argv) > 1:
    fd = int(sys.argv[1])
else:
    listener = socket.create_server(("127.0.0.1", 0))
    fd = os.dup(listener.fileno())
    os.set_inheritable(fd, True)
    os.write(1, f"{listener.getsockname()[1]}\n".encode())
    listener.close()
os.write(1, b"ready\n")
name, _, value = sys.stdin.readline().strip().partition("=")
if name:
    program = open("/proc/self/cmdline", "rb").read().split(b"\0")[2]
    os.execve("/usr/bin/python3", ["python3", "-c", program, str(fd)], {name: value})
"#;

/// A server whose environment cannot be read: one of its threads reads memory that is a file of a FUSE file system which
/// does not answer, and holds the lock of all of its memory meanwhile; another one waits to change that memory, and
/// everybody who comes later waits behind it. (The environment itself may not be such a file: FOLL_ANON, mm/gup.c.)
/// `sys.argv[1]` is a folder to mount it at, `sys.argv[2]` the user to become.
const BLOCKER: &str = r#"
import ctypes, os, socket, struct, sys, threading, time

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
place, user = sys.argv[1].encode(), int(sys.argv[2])
SIZE = 1 << 16


def unless(ok):
    if not ok:
        os.write(1, b"cannot\n")
        sys.exit()


def mmap(flags, file):
    # PROT_READ
    return libc.mmap(None, ctypes.c_size_t(SIZE), 1, flags, file, ctypes.c_long(0))


def block():
    os.close(device)
    listener = socket.create_server(("127.0.0.1", 0))
    memory = os.open("/proc/self/mem", os.O_RDONLY)
    at = mmap(2, os.open(place + b"/file", os.O_RDONLY))  # MAP_PRIVATE
    os.setuid(user)
    threading.Thread(target=os.pread, args=(memory, 1, at), daemon=True).start()
    os.read(is_reading, 1)
    os.write(told, f"{listener.getsockname()[1]}\n".encode())
    mmap(0x22, -1)  # MAP_PRIVATE | MAP_ANONYMOUS
    os._exit(0)


def serve():
    def attributes(node):
        mode = 0o40755 if node == 1 else 0o100644
        return struct.pack("6Q10I", node, SIZE, 0, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)

    while True:
        request = os.read(device, 1 << 17)
        _, operation, unique, node = struct.unpack_from("IIQQ", request)
        if operation == 26:  # INIT
            body = struct.pack("16I", 7, 31, 0, 0, 0, 4096, 1, *[0] * 9)
        elif operation == 1:  # LOOKUP
            body = struct.pack("4Q2I", 2, 0, 0, 0, 0, 0) + attributes(2)
        elif operation == 3:  # GETATTR
            body = struct.pack("QII", 0, 0, 0) + attributes(node)
        elif operation == 14:  # OPEN
            body = struct.pack("QII", 0, 0, 0)
        elif operation == 15:  # READ
            os.write(reads, b".")
            continue
        elif operation == 2:  # FORGET wants no answer
            continue
        else:
            os.write(device, struct.pack("IiQ", 16, -38, unique))  # ENOSYS
            continue
        os.write(device, struct.pack("IiQ", 16 + len(body), 0, unique) + body)


try:
    device = os.open("/dev/fuse", os.O_RDWR)
except OSError:
    unless(False)
# CLONE_NEWNS, MS_REC | MS_PRIVATE
unless(libc.unshare(0x20000) == 0 and libc.mount(None, b"/", None, 0x44000, None) == 0)
options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
unless(libc.mount(b"none", place, b"fuse", 0, options) == 0)
is_reading, reads = os.pipe()
port, told = os.pipe()
child = os.fork()
if child == 0:
    block()
threading.Thread(target=serve, daemon=True).start()
os.write(1, os.read(port, 16))
while open(f"/proc/{child}/stat").read().rsplit(")", 1)[1].split()[0] != "D":
    time.sleep(0.001)
os.write(1, b"ready\n")
# With this process the file system ends, and then the other one does.
sys.stdin.read()
"#;

#[test]
fn a_program_that_says_off_is_labelled_in_the_first_picture() {
    let speaker = Speaker::start(SPEAKER, &[], |command| command.env("WSLNETD", "off,name=shop"));
    let mut eyes = Eyes::new();

    let (labels, declared) = eyes.look(&speaker, Instant::now());

    assert_eq!(labels.get("wslnetd"), Some("off,name=shop"));
    assert_eq!(declared, Declared::Known);
}

#[test]
fn nothing_else_of_an_environment_is_kept() {
    let speaker = Speaker::start(SPEAKER, &[], |command| {
        command
            .env("SECRET", "hunter2")
            .env("WSLNETD", "lan")
            .env("WSLNETD_SECRET", "hunter2")
    });
    let mut eyes = Eyes::new();

    let (labels, _) = eyes.look(&speaker, Instant::now());

    assert_eq!(labels.get("wslnetd"), Some("lan"));
    assert!(!format!("{labels} {:?}", eyes.attributor).contains("hunter2"));
}

#[test]
fn a_program_that_says_nothing_has_no_such_label() {
    let speaker = Speaker::start(SPEAKER, &[], |command| command.env_remove("WSLNETD"));
    let mut eyes = Eyes::new();

    let (labels, declared) = eyes.look(&speaker, Instant::now());

    assert_eq!(labels.get("wslnetd"), None);
    assert_eq!(declared, Declared::Known);
}

#[test]
fn hostile_words_come_out_clean_and_endless_ones_not_at_all() {
    let mut eyes = Eyes::new();
    for (said, heard) in [
        (
            &b"off\x1b[2J\n\xff\xe2\x80\xaex"[..],
            Some("off\u{fffd}[2J\u{fffd}\u{fffd}\u{fffd}x"),
        ),
        (&[b'x'; 100_000], None),
    ] {
        let said = OsStr::from_bytes(said);
        let speaker = Speaker::start(SPEAKER, &[], |command| command.env("WSLNETD", said));

        let (labels, declared) = eyes.look(&speaker, Instant::now());

        assert_eq!(labels.get("wslnetd"), heard);
        assert_eq!(declared == Declared::Known, heard.is_some(), "{declared:?}");
    }
}

#[test]
fn a_word_behind_a_megabyte_is_found() {
    let speaker = Speaker::start(SPEAKER, &[], |command| {
        for number in 0..10 {
            command.env(format!("A{number}"), "x".repeat(100_000));
        }
        command.env("WSLNETD", "host")
    });
    let mut eyes = Eyes::new();

    let (labels, _) = eyes.look(&speaker, Instant::now());

    assert_eq!(labels.get("wslnetd"), Some("host"));
}

#[test]
fn the_same_program_started_again_with_another_word_is_heard_again() {
    let mut speaker = Speaker::start(SPEAKER, &[], |command| command.env("WSLNETD", "lan"));
    let mut eyes = Eyes::new();
    let start = Instant::now();
    let (before, _) = eyes.look(&speaker, start);

    speaker.order("WSLNETD=off");
    let (after, _) = eyes.look(&speaker, start + VERIFY);
    speaker.order("WSLNETB=off");
    let (silent, _) = eyes.look(&speaker, start + 2 * VERIFY);

    assert_eq!(before.get("wslnetd"), Some("lan"));
    assert_eq!(after.get("wslnetd"), Some("off"));
    assert_eq!(silent.get("wslnetd"), None);
    assert_eq!(
        (before.get("process"), before.get("exe")),
        (after.get("process"), after.get("exe"))
    );
}

#[test]
fn a_program_is_asked_once() {
    let speaker = Speaker::start(SPEAKER, &[], |command| command.env("WSLNETD", "lan"));
    let mut eyes = Eyes::new();
    let start = Instant::now();

    for seconds in 0..100 {
        eyes.look(&speaker, start + 1000 * seconds * MS);
    }

    assert_eq!(eyes.attributor.declarations.asked(), 1);
}

#[test]
fn an_environment_that_cannot_be_read_delays_nobody_and_may_say_off() {
    let Some(blocker) = Speaker::blocker(0) else {
        return;
    };
    let speaker = Speaker::start(SPEAKER, &[], |command| command.env("WSLNETD", "lan"));
    let mut eyes = Eyes::impatient();
    let start = Instant::now();

    let (labels, fresh) = eyes.look(&blocker, start);
    let clock = Instant::now();
    for after in 1..2000 {
        let (_, declared) = eyes.look(&blocker, start + after * MS);
        assert_eq!(declared, Declared::Pending, "after {after} ms");
    }
    let looks_took = clock.elapsed();
    let mut both = eyes.see(&[&blocker, &speaker], start + 2000 * MS);
    let deadline = Instant::now() + Duration::from_secs(20);
    while both[1].1 == Declared::Pending {
        assert!(Instant::now() < deadline, "no answer for the other program");
        both = eyes.see(&[&blocker, &speaker], start + 2000 * MS);
    }

    assert_eq!(fresh, Declared::Pending);
    assert_eq!(labels.get("wslnetd"), None);
    assert!(
        labels
            .get("process")
            .is_some_and(|name| name.starts_with("python3")),
        "{labels}"
    );
    // Two thousand looks, the first of which may wait. Were each to wait, this would take forty seconds.
    assert!(looks_took < Duration::from_secs(20), "{looks_took:?}");
    assert_eq!(both[1].0.get("wslnetd"), Some("lan"));
    let Declared::Unreadable { reason } = &both[0].1 else {
        panic!("{:?}", both[0]);
    };
    assert!(reason.contains("takes too long"), "{reason}");
    assert!(reason.contains("(python3"), "{reason}");
}

#[test]
fn a_user_who_lets_us_wait_everywhere_harms_only_himself() {
    const NOBODY: u32 = 65_534;
    let blockers: Vec<Option<Speaker>> = (0..declarations::LIMITS.per_user)
        .map(|_| Speaker::blocker(NOBODY))
        .collect();
    let Some(blockers) = blockers.into_iter().collect::<Option<Vec<_>>>() else {
        return;
    };
    let mut eyes = Eyes::impatient();
    let start = Instant::now();
    let all: Vec<&Speaker> = blockers.iter().collect();
    eyes.see(&all, start);
    let his = Speaker::start(SPEAKER, &[], |command| command.env("WSLNETD", "lan").uid(NOBODY));
    let anothers = Speaker::start(SPEAKER, &[], |command| command.env("WSLNETD", "lan").uid(33));

    let all: Vec<&Speaker> = blockers.iter().chain([&his, &anothers]).collect();
    let mut seen = eyes.see(&all, start + MS);
    let deadline = Instant::now() + Duration::from_secs(20);
    while seen[blockers.len() + 1].1 == Declared::Pending {
        assert!(Instant::now() < deadline, "no answer for the other user");
        seen = eyes.see(&all, start + 2 * MS);
    }
    let his_then = seen[blockers.len()].1.clone();
    let overdue = eyes.see(&all, start + 3000 * MS)[blockers.len()].1.clone();

    assert_eq!(seen[blockers.len() + 1].0.get("wslnetd"), Some("lan"));
    assert_eq!(his_then, Declared::Pending);
    assert!(matches!(overdue, Declared::Unreadable { .. }), "{overdue:?}");
    // It heals when the others are gone.
    drop(blockers);
    let healed = eyes.wait_for_answer(&his, start + 4000 * MS);
    assert_eq!(healed.get("wslnetd"), Some("lan"));
}

#[test]
fn programs_that_come_go_and_change_while_they_are_read_hide_nobody() {
    let restless = Speaker::start(
        r#"
import os, socket

listener = socket.create_server(("127.0.0.1", 0))
os.set_inheritable(listener.fileno(), True)
os.write(1, f"{listener.getsockname()[1]}\nready\n".encode())
os.set_blocking(0, False)
while True:
    try:
        if os.read(0, 1) == b"":
            break
    except BlockingIOError:
        pass
    if os.fork() == 0:
        os.execve("/bin/true", ["true"], {"WSLNETD": "lan"})
    if os.fork() == 0:
        os._exit(0)
    os.wait()
    os.wait()
"#,
        &[],
        |command| command.env("WSLNETD", "host"),
    );
    let calm = Speaker::start(SPEAKER, &[], |command| command.env("WSLNETD", "off"));
    let mut eyes = Eyes::new();
    let start = Instant::now();

    for round in 0..300 {
        // Each of them walks, verifies and reads.
        let seen = eyes.see(&[&restless, &calm], start + 11_000 * round * MS);

        assert!(seen[0].0.contains("wslnetd", "host"), "{}", seen[0].0);
        assert_eq!(seen[1].0.get("wslnetd"), Some("off"));
        assert_eq!(seen[1].1, Declared::Known);
    }
}

/// An attributor that looks at the listeners of some servers only.
struct Eyes {
    scanner: Scanner,
    attributor: Attributor,
}

impl Eyes {
    fn new() -> Self {
        let mut eyes = Self::impatient();
        eyes.attributor = patient(eyes.attributor);
        eyes
    }

    /// Waits no longer than the real one.
    fn impatient() -> Self {
        Self {
            scanner: Scanner::open(SourceChoice::Auto).unwrap(),
            attributor: Attributor::new().unwrap(),
        }
    }

    fn look(&mut self, speaker: &Speaker, now: Instant) -> (Labels, Declared) {
        self.see(&[speaker], now).remove(0)
    }

    fn see(&mut self, speakers: &[&Speaker], now: Instant) -> Vec<(Labels, Declared)> {
        let all = self.scanner.scan().unwrap();
        let of = |speaker: &&Speaker| {
            let found = all.iter().find(|socket| socket.address.port() == speaker.port);
            found.unwrap().clone()
        };
        let sockets: Vec<Socket> = speakers.iter().map(of).collect();
        let owners = self.attributor.attribute(&sockets, now);
        let seen = sockets.iter().zip(owners);
        seen.map(|(socket, owner)| (labels_of(socket, owner.as_ref()), owner.unwrap().declared))
            .collect()
    }

    /// The labels as soon as all is known.
    fn wait_for_answer(&mut self, speaker: &Speaker, now: Instant) -> Labels {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let (labels, declared) = self.look(speaker, now);
            if declared == Declared::Known {
                return labels;
            }
            assert!(Instant::now() < deadline, "{declared:?}");
            thread::sleep(MS);
        }
    }
}

/// A running [`SPEAKER`] or [`BLOCKER`]. It ends with its standard input.
struct Speaker {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    port: u16,
    _place: TempDir,
}

impl Speaker {
    fn start(script: &str, arguments: &[&str], with: impl FnOnce(&mut Command) -> &mut Command) -> Self {
        let place = tempfile::tempdir().unwrap();
        Self::start_at(place, script, arguments, with).unwrap()
    }

    /// A process of this user with an environment that cannot be read. `None` where FUSE is not to be had; in continuous
    /// integration that is a failure.
    fn blocker(user: u32) -> Option<Self> {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().to_str().unwrap().to_owned();
        let blocker = Self::start_at(place, BLOCKER, &[&path, &user.to_string()], |command| {
            command.env("WSLNETD", "off").stderr(Stdio::null())
        });
        if blocker.is_none() {
            assert!(
                std::env::var_os("CI").is_none(),
                "no FUSE here, so a test proved nothing"
            );
            #[expect(clippy::print_stderr, reason = "the only way to tell of a skipped test")]
            {
                eprintln!("skipped: this process cannot mount a FUSE file system");
            }
        }
        blocker
    }

    fn start_at(
        place: TempDir,
        script: &str,
        arguments: &[&str],
        with: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Option<Self> {
        let mut command = Command::new("/usr/bin/python3");
        command
            .args(["-c", script])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = with(&mut command).spawn().unwrap();
        let mut speaker = Self {
            orders: child.stdin.take().unwrap(),
            answers: BufReader::new(child.stdout.take().unwrap()),
            child,
            port: 0,
            _place: place,
        };
        let port = speaker.answer();
        if port == "cannot" {
            return None;
        }
        speaker.port = port.parse().unwrap();
        assert_eq!(speaker.answer(), "ready");
        Some(speaker)
    }

    /// Sends an order and waits until it is carried out.
    fn order(&mut self, order: &str) {
        writeln!(self.orders, "{order}").unwrap();
        assert_eq!(self.answer(), "ready");
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
