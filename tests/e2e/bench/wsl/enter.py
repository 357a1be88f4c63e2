"""Runs a program in a distro where Windows programs can be started: enter.py USER PROGRAM ARGUMENT ...

WSL has the kernel start /init for them (binfmt_misc). The same is done here, in a user namespace of its own so that the
rest of the machine does not see it; all users keep their numbers."""

import ctypes
import os
import pwd
import subprocess
import sys

CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
BINFMT = "/proc/sys/fs/binfmt_misc"
libc = ctypes.CDLL(None, use_errno=True)
user, *program = sys.argv[1:]


def call(name, *arguments):
    if getattr(libc, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)


def enter():
    made, mapped = os.pipe(), os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        # The map of a namespace is written from outside of it.
        os.read(made[0], 1)
        for kind in ["uid_map", "gid_map"]:
            with open(f"/proc/{parent}/{kind}", "w") as file:
                file.write("0 0 4294967295\n")
        os.write(mapped[1], b"x")
        os._exit(0)
    call("unshare", CLONE_NEWUSER | CLONE_NEWNS)
    os.write(made[1], b"x")
    os.read(mapped[0], 1)
    os.waitpid(child, 0)
    for end in made + mapped:
        os.close(end)
    # It stays mounted, in this namespace: what it knows goes with it.
    call("mount", b"binfmt_misc", BINFMT.encode(), b"binfmt_misc", 0, None)
    with open(f"{BINFMT}/register", "w") as file:
        file.write(":WSLInterop:M::MZ::/usr/lib/wsl-stand-in/init.py:P")


enter()
account = pwd.getpwnam(user)
environment = {
    "HOME": account.pw_dir, "USER": user, "LOGNAME": user, "LC_ALL": "C.UTF-8", "WSL_DISTRO_NAME": "Ubuntu",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
}
sys.exit(subprocess.run(program, user=account.pw_uid, group=account.pw_gid, extra_groups=[], cwd=account.pw_dir,
                        env=environment, stdin=subprocess.DEVNULL).returncode & 255)
