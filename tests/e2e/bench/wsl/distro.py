"""The distro's end of the stand-in for wsl.exe: runs programs in this distro, as its root, for those who ask at
/run/WSL/distro. See tests/wsl for the Windows end, and for what goes over the wire.

    distro.py NAME
"""

import json
import os
import socket
import subprocess
import sys
import threading

NAME = sys.argv[1]
PLACE = "/run/WSL/distro"
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root",
               "LC_ALL": "C.UTF-8", "WSL_DISTRO_NAME": NAME}


def understood(arguments):
    """The command that `-d NAME -u root --exec COMMAND` asks for, or None."""
    if arguments[:2] == ["-d", NAME] and arguments[2:5] == ["-u", "root", "--exec"]:
        return arguments[5:]
    return None


def answer(connection):
    with connection, connection.makefile("rwb") as stream:
        command = understood(json.loads(stream.readline()))
        said = stream.read()
        if command is None:
            told = [255, "There is no distribution with the supplied name.\r\n", ""]
        else:
            ran = subprocess.run(command, input=said, capture_output=True, env=ENVIRONMENT, cwd="/root")
            told = [ran.returncode & 255, ran.stdout.decode(errors="replace"), ran.stderr.decode(errors="replace")]
        stream.write(json.dumps(told).encode())


server = socket.socket(socket.AF_UNIX)
server.bind(PLACE)
os.chmod(PLACE, 0o600)
server.listen()
while True:
    threading.Thread(target=answer, args=[server.accept()[0]], daemon=True).start()
