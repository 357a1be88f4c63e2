"""The Windows end of a stand-in for WSL's interop, both ways: runs Windows programs under Wine for the distro, and passes on
what Windows' wsl.exe (tests/wsl) has to say to the distro.

    windows.py FOLDER DRIVE_C

In the folder, which is the distro's /run/WSL, it listens at `1_interop`. A question is one line of JSON, {"program": ...,
"arguments": [...], "folder": ...} with paths of the distro, and with it come the three standard descriptors. The answer is the
exit code and a line feed. It connects to `distro` there for each wsl.exe that connects to port 9757 of 127.0.0.1.

What is not as in WSL: programs run as one user, who is an administrator without being asked; the environment of the asker
is not passed on (WSLENV is not looked at); there is no terminal and no Ctrl-C; what a program
prints is seen when it has ended; drive C is the only one.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading

run, drive = sys.argv[1:]


def open_to_all():
    """In WSL everybody may do with a file of Windows what its user may, and everything can be executed."""
    for place in ["users", "Program Files"]:
        for folder, _, files in os.walk(os.path.join(drive, place)):
            os.chmod(folder, 0o777)
            for file in files:
                # Others may be shared with other prefixes.
                if file.endswith(".exe") and not os.stat(os.path.join(folder, file)).st_mode & 0o111:
                    os.chmod(os.path.join(folder, file), 0o777)
    # A file of its own, for the same reason.
    cmd = os.path.join(drive, "windows/system32/cmd.exe")
    if os.stat(cmd).st_nlink > 1 or not os.stat(cmd).st_mode & 0o111:
        shutil.copyfile(cmd, cmd + ".new")
        os.chmod(cmd + ".new", 0o777)
        os.replace(cmd + ".new", cmd)


def of_windows(path):
    """Where a path of the distro is: on drive C, or nowhere."""
    parts = os.path.normpath(path).split("/")
    if parts[:3] != ["", "mnt", "c"]:
        return None
    return os.path.join(drive, *parts[3:])


def answer(connection):
    with connection:
        question, descriptors, _, _ = socket.recv_fds(connection, 65536, 3)
        try:
            asked = json.loads(question)
            program = of_windows(asked["program"])
            # Windows starts what it is given in its own folder if the asker's is one of Linux.
            folder = of_windows(asked["folder"]) or os.path.join(drive, "windows")
            # Not the asker's own: Wine hands them on to programs that go on, and the asker would wait for their end.
            with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
                ran = subprocess.run(["wine", program, *asked["arguments"]], cwd=folder,
                                     stdin=descriptors[0], stdout=output, stderr=errors)
                code = ran.returncode & 255
                open_to_all()
                for said, to in [(output, descriptors[1]), (errors, descriptors[2])]:
                    said.seek(0)
                    with open(to, "wb", closefd=False) as stream:
                        shutil.copyfileobj(said, stream)
        except (OSError, ValueError, TypeError) as error:
            os.write(descriptors[2], f"interop: {error}\n".encode())
            code = 127
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        connection.sendall(f"{code}\n".encode())


def pump(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        # One of them is gone, and so the other's counterpart will be.
        target.close()


def pass_on(windows):
    distro = socket.socket(socket.AF_UNIX)
    distro.connect(os.path.join(run, "distro"))
    threading.Thread(target=pump, args=[windows, distro], daemon=True).start()
    pump(distro, windows)


def serve(server, one):
    server.listen()
    while True:
        threading.Thread(target=one, args=[server.accept()[0]], daemon=True).start()


open_to_all()
wsl = socket.socket()
wsl.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
wsl.bind(("127.0.0.1", 9757))
threading.Thread(target=serve, args=[wsl, pass_on], daemon=True).start()
interop = socket.socket(socket.AF_UNIX)
interop.bind(os.path.join(run, "1_interop"))
os.chmod(os.path.join(run, "1_interop"), 0o777)
serve(interop, answer)
