"""Runs `mesh COMMAND` for a test: a process forked from one that has imported it (command_server.py)."""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[2]


def run_mesh(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    folder: Path = ROOT,
    stdin: bytes = b"",
    timeout: float = 120.0,
) -> subprocess.CompletedProcess[str]:
    """Run `mesh ARGUMENTS` in a folder; after `timeout` seconds, kill it and raise TimeoutExpired."""
    request = {"argv": list(arguments), "env": dict(environment), "cwd": str(folder)}
    with (
        tempfile.TemporaryFile() as given,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
        socket.socket(socket.AF_UNIX) as connection,
    ):
        given.write(stdin)
        given.seek(0)
        connection.connect(_server())
        socket.send_fds(connection, [b"\n"], [given.fileno(), out.fileno(), err.fileno()])
        connection.sendall(json.dumps(request).encode() + b"\n")
        pid = int(_line(connection))
        if not select.select([connection], [], [], timeout)[0]:
            os.kill(pid, signal.SIGKILL)
            _line(connection)
            raise subprocess.TimeoutExpired(["mesh", *arguments], timeout)
        code = int(_line(connection))
        return subprocess.CompletedProcess(["mesh", *arguments], code, _text(out), _text(err))


def _line(connection: socket.socket) -> bytes:
    """The next line of the server, byte by byte; empty when the server is gone."""
    line = b""
    while not line.endswith(b"\n") and (byte := connection.recv(1)):
        line += byte
    return line


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


@cache
def _server() -> str:
    """The address of this process's server, which ends when this process closes its stdin or dies."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("")  # Linux chooses an abstract name, which is gone with the socket
    listener.listen(64)
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.command_server", str(listener.fileno())],
        stdin=subprocess.PIPE,
        pass_fds=[listener.fileno()],
        cwd=ROOT,
        start_new_session=True,
    )
    address: str = listener.getsockname()
    listener.close()
    atexit.register(server.communicate)
    return address
