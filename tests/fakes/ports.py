"""Ports for what tests start, from a range where nothing else on the machine takes any by itself.

The system gives outgoing connections and bindings of port 0 ports from 32768 on (Linux's
ip_local_port_range), and the agent allots from 20000 to 32000. A port from below stays free between the
moment it was looked for and the moment a server opens it. Each worker of pytest-xdist has a part of its own.
"""

from __future__ import annotations

import os
import socket
from itertools import count

FIRST, PART, PARTS = 10000, 600, 8
"""The range: 10000 to 14799, in parts of 600 ports: for runs without workers, then for each worker."""

_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
_START = FIRST + PART * ((int(_WORKER.removeprefix("gw")) + 1) % PARTS if _WORKER else 0)
_turns = count(os.getpid() * 7)


def free_port() -> int:
    """A TCP port that nobody listens on, and that this process gave out hundreds of calls ago, if ever."""
    for turn in _turns:
        port = _START + turn % PART
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
        return port
    raise AssertionError("counting has no end")
