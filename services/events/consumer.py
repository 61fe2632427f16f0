"""Events between services: Redis Streams, one for each name of an event, read by consumer groups.

At least once: an event that was not acknowledged, because its handler failed or its process died, is
delivered again, to any consumer of the group. So handlers are idempotent. What fails again and again goes to
the stream DEAD_LETTERS and blocks nobody. The streams keep their newest events, for replay.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog
from opentelemetry import trace
from opentelemetry.propagate import extract
from prometheus_client import CollectorRegistry, Counter, Gauge
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from meshwright.services.events.event import ServiceEvent, from_fields
from meshwright.services.kit.service import Runtime
from meshwright.services.kit.spans import record_failure

DEAD_LETTERS = "dead-letters"
MAX_EVENTS = 100_000
"""Events that a stream keeps, about. The bound of its memory, and how far back a replay goes."""

BATCH = 100
BLOCK_MS = 1000
"""Milliseconds that a read waits for an event."""

MAX_DELIVERIES = 8
RETRY_MS, MAX_RETRY_MS = 1000, 60_000
"""Milliseconds until an event that failed is delivered again: doubled each time, two minutes in all."""

AWAY_SECONDS = 1.0
"""Seconds between attempts to reach a broker that is away."""

MEASURE_SECONDS = 5.0
"""Seconds between measurements of the backlog."""

log = structlog.get_logger()
tracer = trace.get_tracer("meshwright.services.events.consumer")


EventHandler = Callable[[ServiceEvent], Awaitable[None]]
"""Raises ValueError for an event that it will never understand."""


async def replay(redis: Redis, group: str, names: Sequence[str]) -> int:
    """Deliver all kept events to a group again; returns how many there are."""
    count = 0
    for name in names:
        await _create_group(redis, group, name)
        await redis.xgroup_setid(name, group, "0")
        count += await redis.xlen(name)
    return count


async def subscribe(runtime: Runtime, redis: Redis, subscription: EventSubscription) -> None:
    """Handle events in the background, for as long as the service runs. /health says how far behind it is."""
    registry = runtime.registry
    consumer = EventConsumer(redis, subscription, runtime.settings.instance, registry)
    backlog = Gauge("events_backlog", "Events that are not handled yet.", ("name",), registry=registry)
    letters = Gauge("dead_letters", "Events that nobody can handle.", registry=registry)

    async def measure() -> bool:
        for name, count in (await read_backlog(redis, subscription)).items():
            backlog.labels(name).set(count)
        letters.set(await redis.xlen(DEAD_LETTERS))
        return False

    async def check() -> Mapping[str, Any]:
        return {"backlog": await read_backlog(redis, subscription)}

    runtime.checks["broker"] = check
    await runtime.repeat("handle events", AWAY_SECONDS, consumer.run_once)
    await runtime.repeat("measure the backlog", MEASURE_SECONDS, measure)


async def read_backlog(redis: Redis, subscription: EventSubscription) -> dict[str, int]:
    """How many events of each name a group has not finished: not taken yet (lag), or not acknowledged.

    The broker does not know the lag once events were deleted; then those that were taken count alone.
    """
    backlog = dict.fromkeys(subscription.names, 0)
    for name in subscription.names:
        with suppress(ResponseError):  # no stream yet
            for group in await redis.xinfo_groups(name):
                if group["name"] == subscription.group:
                    backlog[name] = (group.get("lag") or 0) + group["pending"]
    return backlog


async def _create_group(redis: Redis, group: str, name: str) -> None:
    try:
        await redis.xgroup_create(name, group, id="0", mkstream=True)
    except ResponseError as error:
        if not str(error).startswith("BUSYGROUP"):
            raise


@dataclass(frozen=True, slots=True)
class EventSubscription:
    """What a group of consumers wants: the events called `names`, given to `handler`."""

    group: str
    names: tuple[str, ...]
    handler: EventHandler


class EventConsumer:
    """One consumer of a group. It handles events in order within each name."""

    def __init__(
        self,
        redis: Redis,
        subscription: EventSubscription,
        consumer: str,
        registry: CollectorRegistry,
        *,
        retry_ms: int = RETRY_MS,
    ) -> None:
        self._redis = redis
        self._group = subscription.group
        self._names = subscription.names
        self._handler = subscription.handler
        self._consumer = consumer
        self._retry_ms = retry_ms
        self._has_groups = False
        self._handled = Counter(
            "events_handled", "Deliveries of events, by outcome.", ("name", "outcome"), registry=registry
        )

    async def run_once(self) -> bool:
        """Handle what is due to be retried, then new events, for which it waits up to BLOCK_MS.

        Returns True: there may be more. Raises redis.RedisError when the broker is away.
        """
        try:
            if not self._has_groups:
                for name in self._names:
                    await _create_group(self._redis, self._group, name)
                self._has_groups = True
            for name in self._names:
                await self._retry(name)
            names: Any = dict.fromkeys(self._names, ">")
            streams: Any = await self._redis.xreadgroup(
                self._group, self._consumer, names, count=BATCH, block=BLOCK_MS
            )
        except ResponseError as error:
            self._has_groups = False
            if not str(error).startswith("NOGROUP"):  # the broker has lost its data
                raise
            return True
        for name, entries in streams:
            for entry, fields in entries:
                await self._handle(name, entry, fields)
        return True

    async def _retry(self, name: str) -> None:
        pending = await self._redis.xpending_range(
            name, self._group, min="-", max="+", count=BATCH, idle=self._retry_ms
        )
        for delivery in pending:
            deliveries = int(delivery["times_delivered"])
            delay = min(self._retry_ms * 2 ** (deliveries - 1), MAX_RETRY_MS)
            claimed: Any = await self._redis.xclaim(
                name, self._group, self._consumer, min_idle_time=delay, message_ids=[delivery["message_id"]]
            )
            for entry, fields in claimed:
                if deliveries >= MAX_DELIVERIES:
                    await self._bury(name, entry, fields, f"failed {deliveries} times")
                else:
                    await self._handle(name, entry, fields)

    async def _handle(self, name: str, entry: str, fields: Mapping[str, str]) -> None:
        context = extract({"traceparent": fields.get("traceparent", "")})
        with tracer.start_as_current_span(f"{name} process", context, trace.SpanKind.CONSUMER) as span:
            try:
                await self._handler(from_fields(name, fields))
            except ValueError as error:
                record_failure(span, error)
                await self._bury(name, entry, fields, str(error))
            except Exception as error:  # whatever a handler raises, the event is delivered again
                record_failure(span, error)
                self._handled.labels(name, "failed").inc()
                log.warning("event not handled", name=name, entry=entry, error=type(error).__name__)
            else:
                await self._redis.xack(name, self._group, entry)
                self._handled.labels(name, "handled").inc()

    async def _bury(self, name: str, entry: str, fields: Mapping[str, str], error: str) -> None:
        """Move an event to the dead letters."""
        letter: Any = {"stream": name, "group": self._group, "entry": entry, "error": error[:500], **fields}
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.xadd(DEAD_LETTERS, letter, maxlen=MAX_EVENTS, approximate=True)
            pipeline.xack(name, self._group, entry)
            await pipeline.execute()
        self._handled.labels(name, "buried").inc()
        log.error("event buried", name=name, entry=entry, group=self._group, error=error[:500])
