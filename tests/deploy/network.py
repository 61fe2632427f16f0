"""A network of hosts: a network namespace each, with a veth pair to a bridge in another namespace.

Needs root and iproute2. The network of this machine is not changed.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from shutil import which

_numbers = iter(range(1, 100))


class Network:
    """Hosts by name, at 10.88.0.10 and up. Each has a second address, at 10.88.1.10 and up."""

    def __init__(self, names: Iterable[str]) -> None:
        self.tag = f"mw{os.getpid() % 10_000}{next(_numbers)}"
        hosts = tuple(names)
        self.addresses = {name: f"10.88.0.{10 + number}" for number, name in enumerate(hosts)}
        self.namespaces = {name: f"{self.tag}-{number}" for number, name in enumerate(hosts)}
        self._switch = f"{self.tag}-switch"

    def create(self) -> None:
        """Create the namespaces and their links."""
        _ip("netns", "add", self._switch)
        _ip("-n", self._switch, "link", "add", "switch", "type", "bridge")
        _ip("-n", self._switch, "link", "set", "switch", "up")
        for name, namespace in self.namespaces.items():
            _ip("netns", "add", namespace)
            peer = ("peer", "name", namespace, "netns", self._switch)
            _ip("-n", namespace, "link", "add", "eth0", "type", "veth", *peer)
            _ip("-n", self._switch, "link", "set", namespace, "master", "switch", "up")
            for address in (self.addresses[name], second_address(self.addresses[name])):
                _ip("-n", namespace, "addr", "add", f"{address}/16", "dev", "eth0")
            for device in ("lo", "eth0"):
                _ip("-n", namespace, "link", "set", device, "up")

    def delete(self) -> None:
        """Delete everything that `create` made."""
        for namespace in (*self.namespaces.values(), self._switch):
            _ip("netns", "del", namespace, check=False)

    def enter(self, name: str) -> tuple[str, ...]:
        """The prefix of a command line that runs the rest of it on a host."""
        return (_ip_path(), "netns", "exec", self.namespaces[name])

    def disconnect(self, name: str) -> None:
        """Take a host's link to the bridge down."""
        _ip("-n", self._switch, "link", "set", self.namespaces[name], "down")

    def reconnect(self, name: str) -> None:
        """Bring the link up again."""
        _ip("-n", self._switch, "link", "set", self.namespaces[name], "up")


def second_address(address: str) -> str:
    """The second address of a host."""
    return address.replace("10.88.0.", "10.88.1.")


def _ip_path() -> str:
    path = which("ip")
    assert path, "ip: install Debian's iproute2"
    return path


def _ip(*arguments: str, check: bool = True) -> None:
    subprocess.run([_ip_path(), *arguments], check=check, capture_output=True, timeout=20)
