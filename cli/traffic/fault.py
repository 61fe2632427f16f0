"""A temporary fault: a FaultInjection policy, applied through the admin API and always deleted again."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

from meshwright.cli.http import call_api
from meshwright.cli.traffic.changes import apply_documents, remove_documents
from meshwright.cli.traffic.counters import TrafficCounters
from meshwright.cli.traffic.plan import TrafficFault
from meshwright.control_plane.api import calls
from meshwright.control_plane.errors import MeshError

KIND = "FaultInjection"


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
    apply_documents([fault.document()], f"mesh demo --fault {fault}", state)


def _remove(fault: TrafficFault, state: Path) -> None:
    remove_documents([calls.DocumentRef(KIND, fault.name)], f"mesh demo --fault {fault} is over", state)
