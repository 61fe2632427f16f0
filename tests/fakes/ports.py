"""Free ports for tests, from a range that no other process allocates from.

Linux takes ports for outgoing connections and for port 0 from 32768 up (ip_local_port_range); the agent
allocates from 20000 to 32000. A lower port stays free from the moment it is picked until a server opens it.
Each pytest-xdist worker has its own part of the range.
"""

from __future__ import annotations

import os
import socket
from itertools import count

FIRST, PART, PARTS = 10000, 600, 8
"""The range: 10000 to 14799 in parts of 600 ports, one for runs without workers and one for each worker."""

_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
_START = FIRST + PART * ((int(_WORKER.removeprefix("gw")) + 1) % PARTS if _WORKER else 0)
_turns = count(os.getpid() * 7)


def free_port() -> int:
    """A TCP port without a listener, which this process last returned hundreds of calls ago, if ever."""
    for turn in _turns:
        port = _START + turn % PART
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
        return port
    raise AssertionError("count() never ends")
