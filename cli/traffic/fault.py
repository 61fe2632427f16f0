"""A fault for a while: a FaultInjection policy, applied through the admin API and always taken away again."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from meshwright.cli.errors import CommandError, warn
from meshwright.cli.http import call_api
from meshwright.cli.options import author
from meshwright.cli.traffic.counters import TrafficCounters
from meshwright.cli.traffic.plan import TrafficFault
from meshwright.control_plane.api import calls, errors
from meshwright.control_plane.errors import MeshError

KIND = "FaultInjection"

ROLLOUT_TIMEOUT = 15.0
"""Seconds that sidecars may take to follow; one that is being replaced never does."""

REMOVAL_TIMEOUT = 60.0
"""Seconds that taking a fault away is tried, should the control plane be away at that moment."""


def active_faults(state: Path) -> list[str]:
    """The names of faults that a mesh has already."""
    found = call_api(calls.policies(KIND), state)["documents"]
    return [document["metadata"]["name"] for document in found]


async def apply_fault(fault: TrafficFault, after: float, tally: TrafficCounters, state: Path) -> None:
    """Wait `after` seconds, then let `fault` be in force for its time, and note in `tally` when it was.

    However this ends, cancelled too, the policy is gone when it returns; raises VerbError when it cannot be
    taken away.
    """
    await asyncio.sleep(after)
    loop = asyncio.get_running_loop()
    tally.fault_start = loop.time()
    applying = asyncio.create_task(asyncio.to_thread(_apply, fault, state))
    try:
        await asyncio.shield(applying)
        await asyncio.sleep(fault.seconds)
    finally:
        # Half applied must not be left behind: the thread cannot be cancelled, only awaited.
        with suppress(MeshError):
            await applying
        await asyncio.to_thread(_remove, fault, state)
        tally.fault_end = loop.time()


def _apply(fault: TrafficFault, state: Path) -> None:
    change = calls.ChangeOptions(message=f"mesh demo --fault {fault}", author=author())
    applied = call_api(calls.apply([calls.SourcedDocument(fault.document())], change), state)
    for warning in applied.get("warnings", ()):
        warn(f"warning: {warning}")
    _wait_for_rollout(applied, state)


def _remove(fault: TrafficFault, state: Path) -> None:
    change = calls.ChangeOptions(message=f"mesh demo --fault {fault} is over", author=author())
    deadline = time.monotonic() + REMOVAL_TIMEOUT
    while True:
        try:
            if fault.name in active_faults(state):
                deleted = call_api(calls.delete([calls.DocumentRef(KIND, fault.name)], change), state)
                _wait_for_rollout(deleted, state)
            return
        except MeshError as error:
            if time.monotonic() > deadline:
                words = (
                    f"{KIND}/{fault.name} is still in force: take it away with `mesh delete {KIND.lower()}"
                )
                raise CommandError(errors.FAILED, f"{words} {fault.name}` ({error})") from None
        time.sleep(0.5)


def _wait_for_rollout(applied: Any, state: Path) -> None:
    """Wait until every connected sidecar has taken a revision; say so when one has not."""
    reply = call_api(calls.wait(applied["revision"], ROLLOUT_TIMEOUT), state)
    if reply["state"] != "programmed":
        warn(f"revision {applied['revision']} is not everywhere after {ROLLOUT_TIMEOUT:g} s")
