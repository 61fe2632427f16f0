"""Which registered service a client on this host is: by the process that owns its connection.

A client of Consul does not say who it is, but Linux does: `/proc/net` names the socket of a connection, and a
process has it open. That process is a service's if it, or its nearest ancestor of which this is true, listens
at the port that the service registered, or registered that service and no other. So workers of a server are
what their parent is. Processes of other users, whose sockets only root may see, are told apart by their user.
Elsewhere than on Linux no client is recognised.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

PROC = Path("/proc")

MAX_ANCESTORS = 64
"""Levels of processes above a client that are looked at."""

_ESTABLISHED, _LISTEN = "01", "0A"


@dataclass(frozen=True, slots=True)
class ClientSocket:
    """The client's end of a connection to `server_port`, or of a datagram."""

    protocol: Literal["tcp", "udp"]
    port: int
    server_port: int = 0


@dataclass(frozen=True, slots=True)
class _Socket:
    state: str
    port: int
    remote_port: int
    uid: int
    inode: str


class Callers:
    """Recognises clients. Its methods read /proc: call them in a thread."""

    def __init__(self) -> None:
        self._registrants: dict[str, tuple[int, str]] = {}
        self._listeners: dict[str, frozenset[int]] = {}

    def register(self, service: str, client: ClientSocket) -> None:
        """Remember which process registered a service."""
        self._registrants.pop(service, None)
        socket = _client_socket(client, _sockets(client.protocol, (client.port,)))
        pids = [pid for pid in _pids() if socket and socket.inode in _open_sockets(pid)]
        if pids:
            self._registrants[service] = min(pids), _started(min(pids))

    def service_of(self, client: ClientSocket, ports: Mapping[int, str]) -> str:
        """The service of a client; empty: not recognised. `ports`: where registered services listen."""
        entries = [*_sockets("tcp", {client.port, *ports})]
        socket = _client_socket(client, entries)
        if socket is None:
            return ""
        listeners = [entry for entry in entries if entry.state == _LISTEN and entry.port in ports]
        self._find_listeners({entry.inode for entry in listeners})
        roots = self._roots(set(ports.values()))
        for entry in sorted(listeners, key=lambda entry: [*ports].index(entry.port), reverse=True):
            roots.update(dict.fromkeys(self._listeners[entry.inode], ports[entry.port]))
        parents = {pid: int(fields[1]) for pid in _pids() if (fields := _stat(pid))}
        for pid in parents:
            service = _nearest(pid, parents, roots)
            if service and socket.inode in _open_sockets(pid):
                return service
        if socket.uid == os.getuid():
            return ""
        users = {ports[entry.port] for entry in listeners if entry.uid == socket.uid}
        return users.pop() if len(users) == 1 else ""

    def _find_listeners(self, inodes: set[str]) -> None:
        """Which processes have these sockets. All processes are looked at if one of them is new."""
        processes = {inode: self._listeners[inode] for inode in inodes & self._listeners.keys()}
        if len(processes) < len(inodes):
            opened = {pid: _open_sockets(pid) for pid in _pids()}
            for inode in inodes - processes.keys():
                processes[inode] = frozenset(pid for pid, sockets in opened.items() if inode in sockets)
        self._listeners = processes

    def _roots(self, services: set[str]) -> dict[int, str]:
        """The processes that registered one of these services and no other."""
        processes = [process for service, process in self._registrants.items() if service in services]
        return {
            process[0]: service
            for service, process in self._registrants.items()
            if service in services and processes.count(process) == 1 and _started(process[0]) == process[1]
        }


def _nearest(pid: int, parents: Mapping[int, int], roots: Mapping[int, str]) -> str:
    """The service of a process, or of its nearest ancestor that has one."""
    for _ in range(MAX_ANCESTORS):
        if pid in roots or pid <= 1:
            break
        pid = parents.get(pid, 0)
    return roots.get(pid, "")


def _client_socket(client: ClientSocket, connections: Iterable[_Socket]) -> _Socket | None:
    """The client's own socket among those of this host."""
    if client.protocol == "udp":
        return next(_sockets("udp", (client.port,)), None)
    ends = (client.port, client.server_port, _ESTABLISHED)
    return next((item for item in connections if (item.port, item.remote_port, item.state) == ends), None)


def _sockets(protocol: Literal["tcp", "udp"], ports: Iterable[int]) -> Iterator[_Socket]:
    """The sockets of this host with a port, those of IPv6 too: a client may reach 127.0.0.1 by one."""
    endings = tuple(f":{port:04X}" for port in ports)
    for name in (protocol, f"{protocol}6"):
        try:
            lines = (PROC / "net" / name).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            if not line.split(None, 2)[1].endswith(endings):
                continue
            _, local, remote, state, _, _, _, uid, _, inode, *_ = line.split()
            yield _Socket(state, _port(local), _port(remote), int(uid), inode)


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)


def _pids() -> list[int]:
    try:
        return [int(entry.name) for entry in os.scandir(PROC) if entry.name.isdecimal()]
    except OSError:
        return []


def _open_sockets(pid: int) -> set[str]:
    """The inodes of a process's sockets; none if this process may not see them."""
    inodes: set[str] = set()
    with contextlib.suppress(OSError):
        for entry in (PROC / str(pid) / "fd").iterdir():
            with contextlib.suppress(OSError):  # closed since
                target = str(entry.readlink())
                if target.startswith("socket:["):
                    inodes.add(target[8:-1])
    return inodes


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; empty if the process has ended."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _started(pid: int) -> str:
    """When a process started: with the ID, what tells it from a later one."""
    fields = _stat(pid)
    return fields[19] if fields else ""
