"""A fault for a while: a FaultInjection policy, applied through the admin API and always taken away again."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from cli.connection import ask
from cli.failing import VerbError, warn
from cli.options import author
from cli.traffic_plan import Fault
from cli.traffic_tally import Tally
from control_plane.api import failures, operations
from control_plane.errors import MeshError

KIND = "FaultInjection"

FOLLOWED_WITHIN = 15.0
"""Seconds that sidecars may take to follow; one that is being replaced never does."""

TAKEN_AWAY_WITHIN = 60.0
"""Seconds that taking a fault away is tried, should the control plane be away at that moment."""


def in_force(state: Path) -> list[str]:
    """The names of faults that a mesh has already."""
    found = ask(operations.policies(KIND), state)["documents"]
    return [document["metadata"]["name"] for document in found]


async def inflict(fault: Fault, after: float, tally: Tally, state: Path) -> None:
    """Wait `after` seconds, then let `fault` be in force for its time, and note in `tally` when it was.

    However this ends, cancelled too, the policy is gone when it returns; raises VerbError when it cannot be
    taken away.
    """
    await asyncio.sleep(after)
    loop = asyncio.get_running_loop()
    tally.fault_from = loop.time()
    applying = asyncio.create_task(asyncio.to_thread(_apply, fault, state))
    try:
        await asyncio.shield(applying)
        await asyncio.sleep(fault.seconds)
    finally:
        # Half applied must not be left behind: the thread cannot be cancelled, only awaited.
        with suppress(MeshError):
            await applying
        await asyncio.to_thread(_take_away, fault, state)
        tally.fault_to = loop.time()


def _apply(fault: Fault, state: Path) -> None:
    change = operations.Change(why=f"mesh demo --fault {fault}", author=author())
    applied = ask(operations.apply([operations.Sourced(fault.document())], change), state)
    for warning in applied.get("warnings", ()):
        warn(f"warning: {warning}")
    _followed(applied, state)


def _take_away(fault: Fault, state: Path) -> None:
    change = operations.Change(why=f"mesh demo --fault {fault} is over", author=author())
    deadline = time.monotonic() + TAKEN_AWAY_WITHIN
    while True:
        try:
            if fault.name in in_force(state):
                deleted = ask(operations.delete([operations.Ref(KIND, fault.name)], change), state)
                _followed(deleted, state)
            return
        except MeshError as error:
            if time.monotonic() > deadline:
                words = (
                    f"{KIND}/{fault.name} is still in force: take it away with `mesh delete {KIND.lower()}"
                )
                raise VerbError(failures.FAILED, f"{words} {fault.name}` ({error})") from None
        time.sleep(0.5)


def _followed(applied: Any, state: Path) -> None:
    """Wait until every connected sidecar has taken a revision; say so when one has not."""
    reply = ask(operations.wait(applied["revision"], FOLLOWED_WITHIN), state)
    if reply["state"] != "programmed":
        warn(f"revision {applied['revision']} is not everywhere after {FOLLOWED_WITHIN:g} s")
