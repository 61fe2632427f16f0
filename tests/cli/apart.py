"""Two places of a network with an address each: network namespaces where they can be made, else loopback.

Making a namespace takes root (CAP_SYS_ADMIN) and iproute2. Where either is missing, the two places are two
loopback addresses of this host: the same agent, the same calls, without a wall between them.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from shutil import which


@dataclass(frozen=True)
class Apart:
    """`here` is this process's address, `there` the other place's; `enter` runs a command over there."""

    here: str
    there: str
    enter: tuple[str, ...] = ()

    @property
    def walled(self) -> bool:
        """Whether the other place has a loopback of its own."""
        return bool(self.enter)


@contextmanager
def two_places() -> Iterator[Apart]:
    """Both places, and what was made for them gone at the end."""
    number = os.getpid() % 64_000
    name, outer, inner = f"mesh-{number}", f"mo{number}", f"mi{number}"
    if not _ip("netns", "add", name):
        yield Apart("127.0.0.1", "127.0.0.2")
        return
    net = f"10.{200 + number // 16_000}.{number % 16_000 // 64}"
    first = number % 64 * 4
    here, there = f"{net}.{first + 1}", f"{net}.{first + 2}"
    try:
        made = (
            _ip("link", "add", outer, "type", "veth", "peer", "name", inner)
            and _ip("link", "set", inner, "netns", name)
            and _ip("addr", "add", f"{here}/30", "dev", outer)
            and _ip("link", "set", outer, "up")
            and _ip("-n", name, "addr", "add", f"{there}/30", "dev", inner)
            and _ip("-n", name, "link", "set", inner, "up")
            and _ip("-n", name, "link", "set", "lo", "up")
        )
        yield Apart(here, there, ("ip", "netns", "exec", name)) if made else Apart("127.0.0.1", "127.0.0.2")
    finally:
        _ip("link", "del", outer)
        _ip("netns", "del", name)


def _ip(*arguments: str) -> bool:
    found = which("ip")
    if found is None:
        return False
    return subprocess.run([found, *arguments], capture_output=True, check=False, timeout=20).returncode == 0
