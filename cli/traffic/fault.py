"""A temporary fault: a FaultInjection policy, applied through the admin API and always deleted again."""

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
"""Seconds to wait for the sidecars to ACK; one that is being replaced never does."""

REMOVAL_TIMEOUT = 60.0
"""Seconds to retry the removal of a fault while the control plane is unreachable."""


def active_faults(state: Path) -> list[str]:
    """The names of the faults that a mesh has now."""
    documents = call_api(calls.policies(KIND), state)["documents"]
    return [document["metadata"]["name"] for document in documents]


async def apply_fault(fault: TrafficFault, delay: float, counters: TrafficCounters, state: Path) -> None:
    """Wait `delay` seconds, apply a fault for its duration, and record in `counters` when it was active.

    The policy is gone when this returns, even if it is cancelled; raises CommandError if it cannot be
    deleted.
    """
    await asyncio.sleep(delay)
    loop = asyncio.get_running_loop()
    counters.fault_start = loop.time()
    applying = asyncio.create_task(asyncio.to_thread(_apply, fault, state))
    try:
        await asyncio.shield(applying)
        await asyncio.sleep(fault.seconds)
    finally:
        # The thread cannot be cancelled: the removal must come after it.
        with suppress(MeshError):
            await applying
        await asyncio.to_thread(_remove, fault, state)
        counters.fault_end = loop.time()


def _apply(fault: TrafficFault, state: Path) -> None:
    options = calls.ChangeOptions(message=f"mesh demo --fault {fault}", author=author())
    applied = call_api(calls.apply([calls.SourcedDocument(fault.document())], options), state)
    for warning in applied.get("warnings", ()):
        warn(f"warning: {warning}")
    _wait_for_rollout(applied, state)


def _remove(fault: TrafficFault, state: Path) -> None:
    options = calls.ChangeOptions(message=f"mesh demo --fault {fault} is over", author=author())
    deadline = time.monotonic() + REMOVAL_TIMEOUT
    while True:
        try:
            if fault.name in active_faults(state):
                deleted = call_api(calls.delete([calls.DocumentRef(KIND, fault.name)], options), state)
                _wait_for_rollout(deleted, state)
            return
        except MeshError as error:
            if time.monotonic() > deadline:
                raise CommandError(
                    errors.FAILED,
                    f"{KIND}/{fault.name} is still active: delete it with "
                    f"`mesh delete {KIND.lower()} {fault.name}` ({error})",
                ) from None
        time.sleep(0.5)


def _wait_for_rollout(result: Any, state: Path) -> None:
    """Wait until every connected sidecar has ACKed a revision; warn if one has not."""
    rollout = call_api(calls.wait(result["revision"], ROLLOUT_TIMEOUT), state)
    if rollout["state"] != "programmed":
        warn(f"revision {result['revision']} is not rolled out after {ROLLOUT_TIMEOUT:g} s")
