#!/usr/bin/python3
"""The distro's end of the stand-in for WSL's interop, in the place of WSL's /init: the kernel starts it for every program
that begins with MZ, with the program's path, the name by which it was called, and its arguments."""

import json
import os
import socket
import sys

_, program, _, *arguments = sys.argv
connection = socket.socket(socket.AF_UNIX)
connection.connect("/run/WSL/1_interop")
question = {"program": os.path.realpath(program), "arguments": arguments, "folder": os.getcwd()}
socket.send_fds(connection, [json.dumps(question).encode()], [0, 1, 2])
answer = connection.makefile().readline()
sys.exit(int(answer) if answer else 127)
