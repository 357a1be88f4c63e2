#!/usr/bin/env python3
"""Runs the part of scripts/verify-windows.ps1 that works in a distro and on a LAN client, as PowerShell would start it.

Left out: what it does as root (`configure`, `unit`), which would touch this machine.
"""

import pathlib
import re
import socket
import subprocess
import sys

SCRIPT = pathlib.Path(__file__).parent.parent / "scripts" / "verify-windows.ps1"


class Helper:
    """The helper in a process of its own."""

    def __init__(self):
        script = SCRIPT.read_text()
        program = re.search(r"\$HelperProgram = @'\n(.*?)\n'@", script, re.DOTALL).group(1) + "\n"
        bootstrap = re.search(r"\$Bootstrap = '(.*)'", script).group(1)
        self.process = subprocess.Popen([sys.executable, "-c", bootstrap], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        # .NET Framework may put a byte order mark before the first line.
        self.write(b"\xef\xbb\xbf\n%d\n" % len(program) + program.encode())
        assert self.read() == "ready"

    def write(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def read(self):
        return self.process.stdout.readline().decode().strip()

    def ask(self, command):
        self.write(command.encode() + b"\n")
        return self.read()

    def end(self):
        self.process.stdin.close()
        return self.process.wait(10)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def pulled(address, port, count):
    with socket.create_connection((address, port), 5) as connection:
        stream = connection.makefile("rwb")
        assert stream.readline() == b"wslnet-verify\n"
        stream.write(b"PULL %d\n" % count)
        stream.flush()
        return len(stream.read(count))


def main():
    helper = Helper()
    four, dual, udp = free_port(), free_port(), free_port()

    assert helper.ask(f"open tcp 127.0.0.1 {four}") == "ok"
    assert helper.ask(f"open tcp :: {dual}") == "ok"
    assert helper.ask(f"open udp 127.0.0.1 {udp}") == "ok"
    for address, port in (("127.0.0.1", four), ("127.0.0.1", dual), ("::1", dual)):
        assert pulled(address, port, 300_000) == 300_000, (address, port)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.sendto(b"over UDP", ("127.0.0.1", udp))
        assert client.recv(64) == b"over UDP"

    assert helper.ask(f"probe 127.0.0.1 {four} 3") == "open"
    assert helper.ask(f"close tcp {four}") == "ok"
    assert helper.ask(f"probe 127.0.0.1 {four} 3") == "refused"
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert helper.ask(f"probe 127.0.0.1 {other.getsockname()[1]} 0.2") == "timeout"

    for wrong in ("", "bogus", "open tcp nowhere 1", f"close tcp {four}", "unit kill", "probe 127.0.0.1"):
        assert helper.ask(wrong).startswith("error "), wrong

    assert helper.end() == 0
    with socket.socket(socket.AF_INET6) as again:
        again.bind(("::", dual))
    print("the helper of verify-windows.ps1 does what it is told")


main()
