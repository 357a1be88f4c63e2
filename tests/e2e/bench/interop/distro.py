"""The distro's end of the stand-in for wsl.exe: runs programs in this distro, as its root, for those who ask at
/run/WSL/distro. See tests/wsl for the Windows end, and for what goes over the wire.

    distro.py NAME
"""

import os
import socket
import struct
import subprocess
import sys
import threading

NAME = sys.argv[1]
PLACE = "/run/WSL/distro"
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root",
               "LC_ALL": "C.UTF-8", "WSL_DISTRO_NAME": NAME}


def frame(connection, lock, kind, data):
    with lock:
        connection.sendall(struct.pack("<BI", kind, len(data)) + data)


def read_arguments(stream):
    arguments, current = [], b""
    while True:
        byte = stream.read(1)
        if byte != b"\0":
            current += byte or sys.exit(0)
        elif not current:
            return arguments
        else:
            arguments.append(current.decode())
            current = b""


def understood(arguments):
    """The command that `-d NAME -u root --exec COMMAND` asks for, or None."""
    if arguments[:2] == ["-d", NAME] and arguments[2:5] == ["-u", "root", "--exec"]:
        return arguments[5:]
    return None


def pump_in(stream, pipe):
    try:
        while data := stream.read1(65536):
            pipe.write(data)
            pipe.flush()
        pipe.close()
    except OSError:
        # The program has ended.
        pass


def pump_out(pipe, connection, lock, kind):
    while data := pipe.read1(65536):
        frame(connection, lock, kind, data)


def answer(connection):
    lock = threading.Lock()
    with connection, connection.makefile("rb") as stream:
        command = understood(read_arguments(stream))
        if command is None:
            # As WSL says it of a distro that is not there: in UTF-16.
            frame(connection, lock, 1, "There is no distribution with the supplied name.\r\n".encode("utf-16-le"))
            frame(connection, lock, 3, b"\xff")
            return
        ran = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env=ENVIRONMENT, cwd="/root")
        threading.Thread(target=pump_in, args=[stream, ran.stdin], daemon=True).start()
        pumps = [threading.Thread(target=pump_out, args=[pipe, connection, lock, kind])
                 for kind, pipe in [(1, ran.stdout), (2, ran.stderr)]]
        for pump in pumps:
            pump.start()
        for pump in pumps:
            pump.join()
        frame(connection, lock, 3, bytes([ran.wait() & 255]))
        connection.shutdown(socket.SHUT_RDWR)


server = socket.socket(socket.AF_UNIX)
server.bind(PLACE)
os.chmod(PLACE, 0o600)
server.listen()
while True:
    threading.Thread(target=answer, args=[server.accept()[0]], daemon=True).start()
