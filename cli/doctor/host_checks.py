"""Checks of the host: ports, Envoy, inotify, open files, disk, old processes, calls past the mesh. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from meshwright.cli.doctor.facts import HostFacts
from meshwright.cli.doctor.findings import Finding, Findings, named

FULL, NEARLY_FULL = 0.95, 0.8
"""Used shares of a limit at which a check fails and warns."""

MIN_FREE_BYTES = 64 * 1024 * 1024
"""Free space below which the store may soon be unable to write: its log is rewritten beside itself."""

FEW_FREE_BYTES = 512 * 1024 * 1024
"""Free space to warn at: the logs of a hundred processes with three files of 5 MiB fit in thrice of it."""

MIN_OPEN_FILES = 4096
"""Open files that a process may need: each connection of a sidecar is two."""


MAX_ADMIN_TOKEN_DAYS = 365
"""Days after which an admin token should be replaced."""


def ports(host: HostFacts) -> Findings:
    """Ports that are in use while no mesh runs here, or free although one does."""
    for port in host.ports:
        if port.in_use == host.running:
            continue
        if port.in_use:
            yield Finding(
                "ports",
                "error",
                f"{port.address} is in use{port.holder}",
                "the mesh cannot start: it listens there",
                f"stop what has it, change {port.setting}, or start with --ports auto",
            )
        else:
            yield Finding(
                "ports",
                "error",
                f"nothing listens on {port.address} ({port.setting})",
                "sidecars and commands reach the control plane there",
                f"read {host.state}/logs/control-plane.log; if the setting was changed, restart the mesh",
            )


def envoy(host: HostFacts) -> Findings:
    """An Envoy that cannot be run."""
    if host.envoy_problem:
        yield Finding(
            "envoy", "error", host.envoy_problem, "no sidecar can start", "install it, or correct MESH_ENVOY"
        )


def inotify(host: HostFacts) -> Findings:
    """Too few inotify instances: Envoy ends at its start without one."""
    usage = host.inotify
    if usage.share >= NEARLY_FULL:
        yield Finding(
            "inotify",
            "error" if usage.share >= FULL else "warning",
            f"{usage.used:.0f} of {usage.limit:.0f} inotify instances of {usage.owner} are in use",
            "each Envoy needs one to notice new certificates, and does not start without it",
            f"set fs.inotify.max_user_instances={max(1024, int(usage.limit) * 4)} (sysctl -w, /etc/sysctl.d)",
        )


def open_files(host: HostFacts) -> Findings:
    """Processes near their limit of open files, and a limit that is low."""
    for usage in host.open_files:
        if usage.share >= NEARLY_FULL:
            yield Finding(
                "files",
                "error" if usage.share >= FULL else "warning",
                f"{usage.owner} has {usage.used:.0f} of {usage.limit:.0f} files open",
                "beyond its limit it accepts no connection and opens none",
                "raise the limit (`ulimit -Hn`, LimitNOFILE= of a systemd unit) and restart the mesh",
            )
    if host.open_files_limit < MIN_OPEN_FILES:
        yield Finding(
            "files",
            "warning",
            f"a process may open {host.open_files_limit:.0f} files",
            f"a busy sidecar needs {MIN_OPEN_FILES} and more: two for each connection",
            "raise the hard limit: `ulimit -Hn`, or LimitNOFILE= of a systemd unit",
        )


def disk(host: HostFacts) -> Findings:
    """A file system that is full, or nearly so."""
    free = host.disk.limit - host.disk.used
    if host.disk.limit and free < FEW_FREE_BYTES:
        yield Finding(
            "disk",
            "error" if free < MIN_FREE_BYTES else "warning",
            f"{free / 1_048_576:.0f} MiB are free where {host.state} is",
            "the store and logs are written there: without space no policy can change",
            "free space, or move the state directory",
        )
    if host.inodes.share >= FULL:
        yield Finding(
            "disk",
            "error",
            f"the file system of {host.state} has hardly any inodes left",
            "no file can be created there",
            "remove files",
        )


def old_processes(host: HostFacts) -> Findings:
    """Processes of earlier starts that nothing supervises."""
    if host.left:
        yield Finding(
            "processes",
            "warning",
            f"the `mesh up` of {named(host.left)} has ended, and they go on",
            "nothing restarts them, and nothing changes what runs here",
            "`mesh up` goes on with them; `mesh down` stops them",
        )
    if host.strays:
        yield Finding(
            "processes",
            "warning",
            f"{named(host.strays)}: left by a mesh whose state directory is gone",
            "they keep their ports and memory, and no command knows them",
            "stop them by `kill PID`",
        )


def shortcuts(host: HostFacts) -> Findings:
    """Apps that call past the mesh, and apps that can be called past it."""
    for shortcut in host.shortcuts:
        yield Finding(
            "calls",
            "warning",
            f"{shortcut.caller} calls {shortcut.callee} at {shortcut.address}, past its sidecar",
            "such calls are not encrypted, authorised, retried or counted",
            "have it call the service by its name, with the HTTP_PROXY of its environment",
        )
    for app, address in sorted(host.exposed.items()):
        yield Finding(
            "calls",
            "warning",
            f"{app} listens on {address}, not only on loopback",
            "everybody who reaches that address can call it without its sidecar and its rules",
            "have it listen on 127.0.0.1 (HOST and PORT in its environment)",
        )


def tokens(host: HostFacts) -> Findings:
    """An admin token that has been in use for long."""
    days = host.admin_token_age / 86_400
    if days > MAX_ADMIN_TOKEN_DAYS:
        yield Finding(
            "tokens",
            "warning",
            f"{host.state}/admin.token is {days:.0f} days old",
            "whoever has read it since can change everything",
            "`mesh down`, delete it, `mesh up` creates a new one",
        )


CHECKS: Mapping[str, Callable[[HostFacts], Findings]] = {
    "ports": ports,
    "Envoy": envoy,
    "inotify": inotify,
    "open files": open_files,
    "disk": disk,
    "admin token": tokens,
    "old processes": old_processes,
    "calls past the mesh": shortcuts,
}
"""The checks by what they look at."""
