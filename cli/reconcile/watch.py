"""`mesh up --watch`: replaces the instances of a service whose source changed, and follows its file.

A change that does not start leaves in place what ran before, and the next change is tried again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from meshwright.cli.application import read_application, with_gateway_ports
from meshwright.cli.errors import print_error, warn
from meshwright.cli.progress import print_line
from meshwright.cli.reconcile.applied import AppliedApplication, applied_application, load_applied
from meshwright.cli.reconcile.reconcile import Reconciliation, reconcile
from meshwright.cli.reconcile.sources import Stamps, changed_file, source_stamps
from meshwright.control_plane.errors import MeshError

INTERVAL = 0.5
"""Seconds between looks at the files. What changed is acted upon when it is the same at the next look."""

_FILE = "application file"
"""What the application file's stamps are kept under: no service has a name with a space."""


class SourceWatch:
    """Follows the sources of what runs in a state directory. A change has `timeout` seconds to be ready."""

    def __init__(self, state: Path, timeout: float) -> None:
        self._state = state
        self._timeout = timeout

    async def run(self, stop: asyncio.Event) -> None:
        """Follow the sources until `stop` is set; what is being changed then is left as it is."""
        applied = load_applied(self._state)
        if applied is None:
            return
        stamps = await asyncio.to_thread(_stamps, applied)
        for name in sorted(name for name, files in stamps.items() if not files):
            warn(f"{name}: no source to watch: name files or folders in its `watch`")
        print_line(f"watching {applied.file.name} and the sources of {len(stamps) - 1} services")
        while not await _is_set(stop):
            applied = load_applied(self._state) or applied
            now = await asyncio.to_thread(_stamps, applied)
            if now == stamps or await _is_set(stop) or now != await asyncio.to_thread(_stamps, applied):
                continue
            before, stamps = stamps, now
            following = asyncio.create_task(self._follow(applied, before, now))
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait({following, stopping}, return_when=asyncio.FIRST_COMPLETED)
            following.cancel()
            stopping.cancel()
            await asyncio.gather(following, stopping, return_exceptions=True)

    async def _follow(
        self, applied: AppliedApplication, before: dict[str, Stamps], after: dict[str, Stamps]
    ) -> None:
        """Make the changes that changed files ask for. Errors are printed."""
        reasons = {}
        for service in sorted(before.keys() & after.keys() - {_FILE}):
            if file := changed_file(before[service], after[service]):
                reasons[service] = f"{file.name} changed"
        try:
            if changed_file(before[_FILE], after[_FILE]):
                again = _read_again(applied)
                applied.check_same(again, self._state)
                await self._reconcile(again)
            if reasons:
                await self._reconcile(load_applied(self._state) or applied, reasons)
        except MeshError as error:
            print_error(error)

    async def _reconcile(self, applied: AppliedApplication, reasons: Mapping[str, str] | None = None) -> None:
        request = Reconciliation(
            applied,
            services=frozenset(reasons or ()),
            reasons=reasons or {},
            policies=not reasons,
            timeout=self._timeout,
        )
        await reconcile(request, self._state)


def _stamps(applied: AppliedApplication) -> dict[str, Stamps]:
    """The state of the sources of each service that runs, and that of the application file."""
    entries, folder = applied.application.spec.services, applied.file.parent
    stamps: dict[str, Stamps] = {}
    for entry in entries:
        if entry.name not in applied.stopped and (not applied.only or entry.name in applied.only):
            stamps[entry.name] = {**stamps.get(entry.name, {}), **source_stamps(entry, folder)}
    file: dict[Path, tuple[int, int]] = {}
    with suppress(OSError):
        status = applied.file.stat()
        file[applied.file] = (status.st_mtime_ns, status.st_size)
    return {**stamps, _FILE: file}


def _read_again(applied: AppliedApplication) -> AppliedApplication:
    """What its file says now, with the options of before; raises InputError."""
    application = read_application(applied.file)
    ports = {
        item.name: applied.ports[item.name]
        for item in application.spec.gateways
        if item.name in applied.ports
    }
    names = {entry.name for entry in application.spec.services}
    again = applied_application(
        with_gateway_ports(application, ports),
        applied.file,
        ports=ports,
        only=tuple(name for name in applied.only if name in names),
        scale={name: count for name, count in applied.scale.items() if name in names},
    )
    return again.model_copy(update={"stopped": applied.stopped & names})


async def _is_set(stop: asyncio.Event) -> bool:
    """Whether the event is set within an INTERVAL."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), INTERVAL)
    return stop.is_set()
