"""Hosts on one network: network namespaces with a cable each to a switch, which is a namespace too.

It takes root and iproute2. Nothing of it touches this machine's own network.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from shutil import which

_made = iter(range(1, 100))


class Network:
    """Hosts by name, at 10.88.0.10 and following; each has a second address at 10.88.1.10 and following."""

    def __init__(self, names: Iterable[str]) -> None:
        self.tag = f"mw{os.getpid() % 10_000}{next(_made)}"
        texts = tuple(names)
        self.addresses = {name: f"10.88.0.{10 + number}" for number, name in enumerate(texts)}
        self.spaces = {name: f"{self.tag}-{number}" for number, name in enumerate(texts)}
        self._switch = f"{self.tag}-switch"

    def plug(self) -> None:
        """Make them all."""
        _ip("netns", "add", self._switch)
        _ip("-n", self._switch, "link", "add", "switch", "type", "bridge")
        _ip("-n", self._switch, "link", "set", "switch", "up")
        for name, space in self.spaces.items():
            _ip("netns", "add", space)
            far = ("peer", "name", space, "netns", self._switch)
            _ip("-n", space, "link", "add", "eth0", "type", "veth", *far)
            _ip("-n", self._switch, "link", "set", space, "master", "switch", "up")
            for address in (self.addresses[name], second(self.addresses[name])):
                _ip("-n", space, "addr", "add", f"{address}/16", "dev", "eth0")
            for device in ("lo", "eth0"):
                _ip("-n", space, "link", "set", device, "up")

    def unplug(self) -> None:
        """Nothing is left of it."""
        for space in (*self.spaces.values(), self._switch):
            _ip("netns", "del", space, check=False)

    def enter(self, name: str) -> tuple[str, ...]:
        """What makes the rest of a command line run on a host."""
        return (_tool(), "netns", "exec", self.spaces[name])

    def cut(self, name: str) -> None:
        """Pull a host's cable out of the switch."""
        _ip("-n", self._switch, "link", "set", self.spaces[name], "down")

    def mend(self, name: str) -> None:
        """Put it back."""
        _ip("-n", self._switch, "link", "set", self.spaces[name], "up")


def second(address: str) -> str:
    """Another address of the same host."""
    return address.replace("10.88.0.", "10.88.1.")


def _tool() -> str:
    text = which("ip")
    assert text, "ip: install Debian's iproute2"
    return text


def _ip(*arguments: str, check: bool = True) -> None:
    subprocess.run([_tool(), *arguments], check=check, capture_output=True, timeout=20)
