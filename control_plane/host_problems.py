"""What is wrong on this host, for `mesh status`: nobody supervises, the disk is full, a loop failed.

None of these ends the control plane: it serves on, says so, and recovers by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from meshwright.control_plane.api.process_identity import find_process
from meshwright.control_plane.api.state_dir import LOCK_FILE, ProcessRecord

CHECK_INTERVAL = 2.0
"""Seconds between two looks at the host."""

RESTART_DELAY = 1.0
"""Seconds until a loop that failed is started again."""

PROBE_FILE = ".space"
"""Written at each look, and removed: a page is enough to notice a full disk."""

PROBE_BYTES = 4096

log = structlog.get_logger(__name__)


class HostProblems:
    """Problems by what they concern, in words. `state` is the state directory."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._problems: dict[str, str] = {}

    def current(self) -> tuple[str, ...]:
        """The present problems."""
        return tuple(self._problems.values())

    def report(self, source: str, problem: str) -> None:
        """Set the problem of a source; empty: there is none any more."""
        if problem and problem != self._problems.get(source):
            log.error("problem", source=source, problem=problem)
        if problem:
            self._problems[source] = problem
        else:
            self._problems.pop(source, None)

    async def watch(self) -> None:
        """Look at the host until cancelled."""
        while True:
            self.report("disk", await asyncio.to_thread(disk_problem, self._state))
            self.report("supervisor", await asyncio.to_thread(supervision_problem, self._state))
            await asyncio.sleep(CHECK_INTERVAL)

    async def keep_running(self, name: str, loop: Callable[[], Awaitable[None]]) -> None:
        """Run an endless loop, and run it again if it fails."""
        while True:
            try:
                await loop()
                return
            except Exception as error:
                log.exception("a background loop failed", loop=name)
                self.report(name, f"{name}: {type(error).__name__}: {error}: started again")
            await asyncio.sleep(RESTART_DELAY)
            asyncio.get_running_loop().call_later(2 * CHECK_INTERVAL, self.report, name, "")


def disk_problem(state: Path) -> str:
    """Why nothing can be written to the state directory; empty if it can."""
    probe = state / PROBE_FILE
    try:
        probe.write_bytes(bytes(PROBE_BYTES))
    except OSError as error:
        return f"cannot write to {state}: {error.strerror}: nothing can change until there is space"
    finally:
        probe.unlink(missing_ok=True)
    return ""


def supervision_problem(state: Path) -> str:
    """That the `mesh up` of this state directory was killed; empty if it runs, or never did."""
    try:
        record = ProcessRecord.model_validate_json((state / LOCK_FILE).read_bytes())
    except (OSError, ValueError):
        return ""
    if find_process(record) is not None:
        return ""
    return (
        f"`mesh up` has ended (pid {record.pid}): nothing restarts store, control plane and agent: "
        "run it again, requests go on meanwhile, or `mesh down`"
    )
