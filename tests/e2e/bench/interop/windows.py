"""The Windows end of a stand-in for WSL's interop: runs Windows programs under Wine for those who ask at a socket.

    windows.py SOCKET DRIVE_C

A question is one line of JSON, {"program": ..., "arguments": [...], "folder": ...} with paths of the distro, and with it
come the three standard descriptors. The answer is the exit code and a line feed.

What is not as in WSL: programs run as one user, who is an administrator without being asked; the environment of the asker
is not passed on (WSLENV is not looked at); there is no terminal and no Ctrl-C; drive C is the only one.
"""

import json
import os
import socket
import subprocess
import sys
import threading

at, drive = sys.argv[1:]


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
            ran = subprocess.run(["wine", program, *asked["arguments"]], cwd=folder,
                                 stdin=descriptors[0], stdout=descriptors[1], stderr=descriptors[2])
            code = ran.returncode & 255
        except (OSError, ValueError, TypeError) as error:
            os.write(descriptors[2], f"interop: {error}\n".encode())
            code = 127
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        connection.sendall(f"{code}\n".encode())


server = socket.socket(socket.AF_UNIX)
server.bind(at)
os.chmod(at, 0o777)
server.listen()
while True:
    threading.Thread(target=answer, args=[server.accept()[0]], daemon=True).start()
