"""Collects what requests take of buckets while the store works on the last batch, and sends it as one.

So the store has one call under way, however many requests wait, and a bucket is in a batch once: the tokens
that it grants go to its requests in the order in which they came.

The library `limits` was measured and not used. It calls the store for each request: 2,000 requests/s and 100
µs of the control plane's CPU each, where batches take 5,500/s of 100 keys (15,000/s of one) and 7 to 20 µs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

from meshwright.control_plane.errors import StoreError
from meshwright.control_plane.limits import metrics
from meshwright.control_plane.store.limit_counters import Bucket, Grant

TIMEOUT = 0.025
"""Seconds for a call of the store: a proxy waits for little longer (RateLimit's filter)."""

PAUSE = 0.25
"""Seconds between two tries to reach the store again. Requests fail at once meanwhile."""

MAX_BATCH = 200
"""Buckets in a call: some 2 ms of the store's time."""

MAX_WAITING = 10_000
"""Requests that wait. Further ones fail at once."""

Take = Callable[[Sequence[tuple[Bucket, int]]], Awaitable[list[Grant]]]
Waiter = tuple[int, "asyncio.Future[Grant]"]


@dataclass(slots=True)
class _Pending:
    """The requests that wait for one bucket."""

    waiters: list[Waiter] = field(default_factory=list)

    @property
    def requested(self) -> int:
        return sum(hits for hits, _ in self.waiters)


class LimitBatches:
    """Takes tokens of buckets by `take`. `report` gets the reason of a failure; empty: it works."""

    def __init__(self, take: Take, report: Callable[[str], None], clock: Callable[[], float]) -> None:
        """`clock` in seconds, monotonic."""
        self._take = take
        self._report = report
        self._clock = clock
        self._pending: dict[Bucket, _Pending] = {}
        self._waiting = 0
        self._sending: asyncio.Task[None] | None = None
        self._recovering: asyncio.Task[None] | None = None

    async def take(self, bucket: Bucket, hits: int) -> Grant:
        """What the bucket grants: all hits, or none. Raises StoreError at once while the store fails."""
        if self._recovering is not None:
            raise StoreError("the store does not count")
        if self._waiting >= MAX_WAITING:
            raise StoreError("too many requests wait for the store")
        future: asyncio.Future[Grant] = asyncio.get_running_loop().create_future()
        self._pending.setdefault(bucket, _Pending()).waiters.append((hits, future))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send())
        self._waiting += 1
        try:
            return await future
        finally:
            self._waiting -= 1

    async def _send(self) -> None:
        """Send batches until nothing waits."""
        try:
            while self._pending:
                buckets = list(self._pending)[:MAX_BATCH]
                batch = {bucket: self._pending.pop(bucket) for bucket in buckets}
                await self._send_batch(batch)
        finally:
            self._sending = None

    async def _send_batch(self, batch: dict[Bucket, _Pending]) -> None:
        begun = self._clock()
        try:
            async with asyncio.timeout(TIMEOUT):
                grants = await self._take([(bucket, entry.requested) for bucket, entry in batch.items()])
        except (StoreError, TimeoutError) as error:
            reason = str(error) or f"the store did not count within {TIMEOUT * 1000:.0f} ms"
            self._recovering = asyncio.create_task(self._recover(reason))
            self._fail(batch, StoreError(reason))
            self._fail(self._pending, StoreError(reason))
            return
        metrics.DURATION.observe(self._clock() - begun)
        for entry, grant in zip(batch.values(), grants, strict=True):
            _share(entry.waiters, grant)

    async def _recover(self, reason: str) -> None:
        """Try to reach the store until it answers."""
        metrics.AVAILABLE.set(0)
        self._report(f"global rate limits: {reason}: onFailure of each RateLimit decides")
        while True:
            if await self._answers():
                break
            await asyncio.sleep(PAUSE)
        metrics.AVAILABLE.set(1)
        self._report("")
        self._recovering = None

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(TIMEOUT):
                await self._take([])
        except (StoreError, TimeoutError):
            return False
        return True

    def _fail(self, pending: dict[Bucket, _Pending], error: StoreError) -> None:
        for entry in pending.values():
            for _, future in entry.waiters:
                if not future.done():
                    future.set_exception(error)
        pending.clear()


def _share(waiters: Sequence[Waiter], grant: Grant) -> None:
    """Give each request its tokens, first come, first served."""
    left = grant.granted
    for hits, future in waiters:
        granted = hits if hits <= left else 0
        left -= granted
        if not future.done():
            future.set_result(replace(grant, granted=granted, left=grant.left + left))
