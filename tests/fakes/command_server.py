"""Runs `mesh` commands in processes of their own, forked from one that has imported them all.

`python -m tests.fakes.command_server FD` accepts connections on an inherited listening unix socket. A request
is a byte with the files for stdin, stdout and stderr, then a line of JSON, `{"argv", "env", "cwd"}`. Replies
are two lines: the pid, and the exit status once the process has ended. The server ends when its stdin does.

A fork costs 20 ms of CPU; a new interpreter and its imports cost 200 to 500 ms. The command is the same: a
process with its own environment, folder, arguments and files, which ends as any interpreter does.
"""

from __future__ import annotations

import gc
import json
import os
import selectors
import signal
import socket
import sys
import time
from contextlib import suppress
from importlib import import_module

from meshwright.cli.main import COMMANDS, main
from meshwright.control_plane.policies.registry import kinds

OWN_PROCESS = frozenset({"dash", "demo", "run", "agent", "up"})
"""Commands that run for long, with threads, event loops or a terminal: they import their modules then."""


def serve(listener: socket.socket) -> None:
    """Fork a process for each request; returns in that process, ready to run `main`, and never elsewhere."""
    selector = selectors.DefaultSelector()
    ended, signalled = socket.socketpair()
    for end in (ended, signalled):
        end.setblocking(False)
    signal.set_wakeup_fd(signalled.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for source in (listener, ended, sys.stdin):
        selector.register(source, selectors.EVENT_READ)
    running: dict[int, socket.socket] = {}
    while True:
        for key, _ in selector.select():
            if key.fileobj is sys.stdin:
                os._exit(0)
            if key.fileobj is ended:
                ended.recv(4096)
                _report_ended(running)
                continue
            connection, _ = listener.accept()
            request, files = _receive(connection)
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                selector.close()
                for each in (listener, connection, ended, signalled, *running.values()):
                    each.close()
                _become(request, files)
                return
            for file in files:
                os.close(file)
            connection.sendall(b"%d\n" % pid)
            running[pid] = connection


def _receive(connection: socket.socket) -> tuple[dict[str, object], list[int]]:
    _, files, _, _ = socket.recv_fds(connection, 1, 3)
    data = b""
    while not data.endswith(b"\n") and (more := connection.recv(1 << 16)):
        data += more
    return json.loads(data), files


def _report_ended(running: dict[int, socket.socket]) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        with running.pop(pid) as connection, suppress(OSError):  # a test that ended does not wait for it
            connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))


def _become(request: dict[str, object], files: list[int]) -> None:
    """Take over what a new process gets from its parent."""
    argv, env, cwd = request["argv"], request["env"], request["cwd"]
    assert isinstance(argv, list)
    assert isinstance(env, dict)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    os.chdir(str(cwd))
    sys.argv = ["mesh", *argv]
    sys.stdin = os.fdopen(0, encoding="utf-8")
    sys.stdout = os.fdopen(1, "w", encoding="utf-8")
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", buffering=1)


if __name__ == "__main__":
    for entry in COMMANDS.values():
        if entry.module not in OWN_PROCESS:
            import_module(f"meshwright.cli.{entry.module}")
    kinds()  # which the commands that read policies import when called
    gc.collect()
    gc.freeze()
    serve(socket.socket(fileno=int(sys.argv[1])))
    main()
