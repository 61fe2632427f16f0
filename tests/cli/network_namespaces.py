"""Two network nodes with an address each: in network namespaces if possible, else on loopback.

A namespace needs root (CAP_SYS_ADMIN) and iproute2. If either is missing, the nodes are two loopback
addresses of this host: the same agent and the same calls, without isolation.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from shutil import which


@dataclass(frozen=True)
class NodePair:
    """The addresses of this node and of the other one; `enter` runs a command on the other."""

    local: str
    remote: str
    enter: tuple[str, ...] = ()

    @property
    def isolated(self) -> bool:
        """Whether the other node has a loopback interface of its own."""
        return bool(self.enter)


@contextmanager
def node_pair() -> Iterator[NodePair]:
    """Create both nodes, and remove them at the end."""
    number = os.getpid() % 64_000
    name, outer, inner = f"mesh-{number}", f"mo{number}", f"mi{number}"
    if not _ip("netns", "add", name):
        yield NodePair("127.0.0.1", "127.0.0.2")
        return
    network = f"10.{200 + number // 16_000}.{number % 16_000 // 64}"
    first = number % 64 * 4
    local, remote = f"{network}.{first + 1}", f"{network}.{first + 2}"
    try:
        flag = (
            _ip("link", "add", outer, "type", "veth", "peer", "name", inner)
            and _ip("link", "set", inner, "netns", name)
            and _ip("addr", "add", f"{local}/30", "dev", outer)
            and _ip("link", "set", outer, "up")
            and _ip("-n", name, "addr", "add", f"{remote}/30", "dev", inner)
            and _ip("-n", name, "link", "set", inner, "up")
            and _ip("-n", name, "link", "set", "lo", "up")
        )
        yield (
            NodePair(local, remote, ("ip", "netns", "exec", name))
            if flag
            else NodePair("127.0.0.1", "127.0.0.2")
        )
    finally:
        _ip("link", "del", outer)
        _ip("netns", "del", name)


def _ip(*arguments: str) -> bool:
    text = which("ip")
    if text is None:
        return False
    return subprocess.run([text, *arguments], capture_output=True, check=False, timeout=20).returncode == 0
