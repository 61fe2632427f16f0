"""Bounds on operations that compute for a long time: input, time, and how many run at once.

They depend on the caller's rights: of those who may only read one at a time is served, so that they delay
nobody who changes the mesh.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from meshwright.control_plane.admin.auth import CALLER_RIGHTS
from meshwright.control_plane.api.auth import Rights
from meshwright.control_plane.api.models.policies import DocumentInput
from meshwright.control_plane.core.changed_world import rule_count
from meshwright.control_plane.errors import LimitExceededError, OverloadedError


@dataclass(frozen=True, slots=True)
class ComputeLimits:
    """`concurrent` operations run, and of `admitted` ones the others wait for their turn.

    `seconds` bound waiting and running together, `rules` the documents with their rules and matches,
    `body_bytes` the request.
    """

    concurrent: int
    admitted: int
    seconds: float
    rules: int
    body_bytes: int


LIMITS: Mapping[Rights, ComputeLimits] = {
    "read": ComputeLimits(concurrent=1, admitted=4, seconds=20.0, rules=2_000, body_bytes=1024 * 1024),
    "all": ComputeLimits(concurrent=2, admitted=16, seconds=60.0, rules=50_000, body_bytes=4 * 1024 * 1024),
}
"""2,000 matches take about ten seconds of CPU, most of it for the YAML of Envoy's resources."""


def caller_limits() -> ComputeLimits:
    """The limits of the caller whose request is being handled."""
    return LIMITS[CALLER_RIGHTS.get()]


class ComputeSlots:
    """Turns of operations that compute, for each kind of rights."""

    def __init__(self) -> None:
        self._running = {rights: asyncio.Semaphore(limits.concurrent) for rights, limits in LIMITS.items()}
        self._admitted: dict[Rights, int] = dict.fromkeys(LIMITS, 0)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, then run with a deadline.

        Raises OverloadedError if too many wait, and LimitExceededError if waiting and running take too long.
        """
        rights, limits = CALLER_RIGHTS.get(), caller_limits()
        if self._admitted[rights] >= limits.admitted:
            raise OverloadedError("too many diffs and changes are being computed: try again later")
        self._admitted[rights] += 1
        deadline = asyncio.timeout(limits.seconds)
        try:
            async with deadline, self._running[rights]:
                yield
        except TimeoutError:
            if not deadline.expired():
                raise
            raise LimitExceededError(
                f"not computed within {limits.seconds:g} s: split the documents, or try again later"
            ) from None
        finally:
            self._admitted[rights] -= 1


def check_rules(documents: Sequence[DocumentInput], limits: ComputeLimits) -> None:
    """Raises LimitExceededError if the documents have too many rules and matches."""
    count = rule_count(sourced.document for sourced in documents)
    if count > limits.rules:
        raise LimitExceededError(
            f"{count} documents, rules and matches; the limit is {limits.rules}: use several calls"
        )
