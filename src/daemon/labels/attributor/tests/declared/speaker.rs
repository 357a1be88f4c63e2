//! Servers that say something of themselves, and one that lets nobody hear it.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use tempfile::TempDir;

use crate::left_out::left_out;

/// A server that runs itself once more with what it reads as its new environment, one `NAME=VALUE`.
pub(super) const SPEAKER: &str = r#"
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

/// A running [`SPEAKER`] or [`BLOCKER`]. It ends with its standard input.
pub(super) struct Speaker {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// Where it listens.
    pub(super) port: u16,
    _place: TempDir,
}

impl Speaker {
    /// Starts a server with what else a command can have.
    pub(super) fn start(script: &str, with: impl FnOnce(&mut Command) -> &mut Command) -> Self {
        let mut speaker = Self::launch(script, |command, _| {
            with(command);
        });
        speaker.port = speaker.answer().parse().unwrap();
        assert_eq!(speaker.answer(), "ready");
        speaker
    }

    /// A process of this user with an environment that cannot be read. `None` where FUSE is not to be had; in continuous
    /// integration that is a failure.
    pub(super) fn blocker(user: u32) -> Option<Self> {
        let mut blocker = Self::launch(BLOCKER, |command, place| {
            command
                .args([place, &user.to_string()])
                .env("WSLNETD", "off")
                .stderr(Stdio::null());
        });
        let Ok(port) = blocker.answer().parse() else {
            left_out("this process cannot mount a FUSE file system");
            return None;
        };
        blocker.port = port;
        assert_eq!(blocker.answer(), "ready");
        Some(blocker)
    }

    fn launch(script: &str, with: impl FnOnce(&mut Command, &str)) -> Self {
        let place = tempfile::tempdir().unwrap();
        let mut command = Command::new("/usr/bin/python3");
        command
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        with(&mut command, place.path().to_str().unwrap());
        let mut child = command.spawn().unwrap();
        Self {
            orders: child.stdin.take().unwrap(),
            answers: BufReader::new(child.stdout.take().unwrap()),
            child,
            port: 0,
            _place: place,
        }
    }

    /// Sends an order and waits until it is carried out.
    pub(super) fn order(&mut self, order: &str) {
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
