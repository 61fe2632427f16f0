"""Keeps the secrets that the Envoys beside this agent ask for, and what is wrong with their files.

The files are looked at once a second: so it makes no difference how a program writes them. A file that cannot
be used changes nothing: a certificate and its key are two files, and one of them is always written first.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from meshwright.control_plane.api.errors import os_error_text
from meshwright.control_plane.api.models.proxies import (
    MAX_CERTIFICATE_HOSTS,
    MAX_CERTIFICATE_MESSAGE,
    CertificateReport,
    CertificateState,
)
from meshwright.control_plane.api.node_certificates import (
    HOLD_SECONDS,
    CertificateFiles,
    parse_secret_name,
)
from meshwright.control_plane.api.private_files import read_named
from meshwright.control_plane.errors import InputError
from meshwright.sidecar.certificates import TLS, LoadedSecret, load_cas, load_pair

CHECK_INTERVAL = 1.0
"""Seconds between looks at the files."""

FORGET_AFTER = 3 * HOLD_SECONDS
"""Seconds after the last request for a secret."""

MAX_SECRETS = 1000

SIZE_LIMIT = 1 << 18
"""Bytes of a file: far more than a chain has."""

log = structlog.get_logger(__name__)

Stamp = tuple[tuple[int, ...], ...]
"""What tells that files changed."""


@dataclass(slots=True)
class _Entry:
    """One secret. `stamp`: the files when they were read last; `problem`: why they cannot be used.

    `requested_at` and `answered_at`: the last request, and the last answer that there is no secret, by the
    monotonic clock.
    """

    files: CertificateFiles
    requested_at: float
    stamp: Stamp = ()
    served: LoadedSecret | None = None
    problem: str = ""
    answered_at: float = field(default=float("-inf"))


class NodeSecrets:
    """The secrets of one agent's Envoys. `folder` is that of relative names; `now` is in epoch seconds."""

    def __init__(self, folder: Path, now: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._now = now
        self._entries: dict[tuple[str, str], _Entry] = {}

    async def fetch(self, workload: str, secret: str, version: str) -> dict[str, Any] | None:
        """The DiscoveryResponse for a secret of which a workload's Envoy has `version` (empty: none).

        It waits until there is another version, for HOLD_SECONDS at most; None: there is nothing new. A
        response without resources says that there is no secret. Raises ValueError for an invalid name.
        """
        entry = self._entry(workload, secret)
        deadline = time.monotonic() + HOLD_SECONDS
        while True:
            entry.requested_at = time.monotonic()
            await asyncio.to_thread(self._read, entry)
            if entry.served is not None and entry.served.version != version:
                return _response(secret, entry.served)
            if entry.served is None and not version and time.monotonic() - entry.answered_at > HOLD_SECONDS:
                entry.answered_at = time.monotonic()
                return {"version_info": "", "resources": []}
            if time.monotonic() >= deadline:
                return None
            await asyncio.sleep(CHECK_INTERVAL)

    def reports(self, workload: str) -> tuple[CertificateReport, ...]:
        """The state of the secrets that a workload's Envoy asks for, by name."""
        self._forget()
        entries = (entry for (owner, _), entry in self._entries.items() if owner == workload)
        return tuple(self._report(entry) for entry in sorted(entries, key=lambda entry: entry.files.secret))

    def _entry(self, workload: str, secret: str) -> _Entry:
        entry = self._entries.get((workload, secret))
        if entry is None:
            files = parse_secret_name(secret)
            self._forget()
            if len(self._entries) >= MAX_SECRETS:
                raise ValueError(f"more than {MAX_SECRETS} secrets")
            entry = self._entries[workload, secret] = _Entry(files, time.monotonic())
        return entry

    def _forget(self) -> None:
        limit = time.monotonic() - FORGET_AFTER
        for key in [key for key, entry in self._entries.items() if entry.requested_at < limit]:
            del self._entries[key]

    def _read(self, entry: _Entry) -> None:
        """Read the files if they have changed."""
        paths = self._paths(entry.files)
        stamp = tuple(map(_stamp, paths))
        if stamp == entry.stamp:
            return
        entry.stamp = stamp
        try:
            loaded = _load(entry.files, paths)
        except ValueError as error:
            problem = str(error)
        else:
            problem = self._unusable(entry, loaded)
            entry.served = entry.served if problem else loaded
        if problem != entry.problem:
            describe = log.warning if problem else log.info
            describe("certificate", certificate=entry.files.name, problem=problem or "none any more")
        entry.problem = problem

    def _unusable(self, entry: _Entry, loaded: LoadedSecret) -> str:
        """Why a new secret does not replace the one that is served; empty if it does."""
        now = self._now()
        if loaded.is_valid(now) or entry.served is None or not entry.served.is_valid(now):
            return ""
        return f"{self._where(entry.files)}: {_dates(loaded, now)}"

    def _paths(self, files: CertificateFiles) -> list[Path]:
        names = files.cas or (files.certificate, files.key)
        return [self._folder / name for name in names]

    def _report(self, entry: _Entry) -> CertificateReport:
        served, now, where = entry.served, self._now(), self._where(entry.files)
        if served is None:
            problem = entry.problem[:MAX_CERTIFICATE_MESSAGE]
            return CertificateReport(name=entry.files.name, state="missing", message=problem)
        state: CertificateState = "valid"
        messages = [f"{entry.problem}: the one before is still used"] if entry.problem else []
        if not served.is_valid(now):
            state, messages = "expired", [*messages, f"{where}: {_dates(served, now)}"]
        elif entry.problem:
            state = "stale"
        elif served.expires_soon(now):
            state, messages = "expiring", [f"{where}: it expires at {_time(served.not_after)}"]
        return CertificateReport(
            name=entry.files.name,
            state=state,
            message="; ".join(messages)[:MAX_CERTIFICATE_MESSAGE],
            expires=max(0.0, served.not_after),
            hosts=served.hosts[:MAX_CERTIFICATE_HOSTS],
        )

    def _where(self, files: CertificateFiles) -> str:
        return ", ".join(map(str, self._paths(files)))


def _stamp(path: Path) -> tuple[int, ...]:
    """What differs when a file was written or replaced; empty if there is none."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_mode)


def _load(files: CertificateFiles, paths: Collection[Path]) -> LoadedSecret:
    """Read and check files. Raises ValueError: which one cannot be used, and why."""
    contents = [_read_file(path) for path in paths]
    try:
        return load_cas(contents) if files.cas else load_pair(*contents)
    except ValueError as error:
        raise ValueError(f"{', '.join(map(str, paths))}: {error}") from None


def _read_file(path: Path) -> bytes:
    try:
        content = read_named(path, SIZE_LIMIT + 1)
    except InputError as error:
        raise ValueError(str(error)) from None
    except OSError as error:
        raise ValueError(f"{path}: {os_error_text(error)}") from None
    if len(content) > SIZE_LIMIT:
        raise ValueError(f"{path}: larger than {SIZE_LIMIT} bytes")
    return content


def _response(name: str, loaded: LoadedSecret) -> dict[str, Any]:
    secret = {"@type": f"{TLS}.Secret", "name": name, **loaded.secret}
    return {"version_info": loaded.version, "resources": [secret]}


def _dates(loaded: LoadedSecret, now: float) -> str:
    if now < loaded.not_before:
        return f"it is not valid before {_time(loaded.not_before)}"
    return f"it expired at {_time(loaded.not_after)}"


def _time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
