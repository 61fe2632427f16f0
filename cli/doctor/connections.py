"""Connections of apps on this host that go past their sidecars."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import psutil

from meshwright.cli.doctor.facts import Shortcut
from meshwright.sidecar.addresses import format_address
from meshwright.sidecar.status import WorkloadStatus

LOOPBACK = ("127.", "::1", "::ffff:127.")


def shortcuts(apps: Mapping[str, WorkloadStatus]) -> tuple[Shortcut, ...]:
    """Open connections from one app to the port of another app of this host."""
    owners = dict(_app_ports(apps))
    result = set()
    for name, app in apps.items():
        for connection in _connections(app):
            port = connection.raddr.port if connection.raddr else 0
            callee = owners.get(port)
            if connection.status == psutil.CONN_ESTABLISHED and callee not in (None, name):
                result.add(Shortcut(name, callee, format_address(connection.raddr.ip, port)))
    return tuple(sorted(result, key=lambda item: (item.caller, item.callee, item.address)))


def exposed_apps(apps: Mapping[str, WorkloadStatus]) -> dict[str, str]:
    """Apps whose port of the service is open to others than loopback, and the address."""
    result = {}
    for name, app in apps.items():
        ports = _ports(app)
        for connection in _connections(app):
            local = connection.laddr
            listens = connection.status == psutil.CONN_LISTEN and local.port in ports
            if listens and not local.ip.startswith(LOOPBACK):
                result[name] = format_address(local.ip, local.port)
    return result


def _app_ports(apps: Mapping[str, WorkloadStatus]) -> Iterator[tuple[int, str]]:
    for name, app in apps.items():
        yield from ((port, name) for port in _ports(app))


def _ports(app: WorkloadStatus) -> set[int]:
    return {port for key, port in app.ports.items() if key.startswith("app.")}


def _connections(app: WorkloadStatus) -> Iterator[Any]:
    """The TCP connections of an app's process and of what it has started."""
    pid = app.pids.get("app")
    if pid is None:
        return
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):
                yield from each.net_connections("tcp")
