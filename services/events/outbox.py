"""Publishes events in the transaction of the change that they tell of: into a table, then to the broker.

So an event is never lost and never tells of something that did not happen. While the broker is away, events
wait in the table. One that was sent just before its process died is sent again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from opentelemetry import trace
from opentelemetry.propagate import extract, inject
from redis.asyncio import Redis
from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Integer,
    MetaData,
    String,
    Table,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from meshwright.services.events.consumer import MAX_EVENTS
from meshwright.services.events.event import ServiceEvent, to_fields
from meshwright.services.kit.database import Database
from meshwright.services.kit.service import Runtime

BATCH = 100
PUBLISH_SECONDS = 0.5
"""Seconds between searches for events, and between attempts to reach a broker that is away."""

tracer = trace.get_tracer("meshwright.services.events.outbox")

CLAIM_MS = 10_000
"""Milliseconds that a publisher has for a batch before another replica takes it over."""


def outbox_table(tables: MetaData) -> Table:
    """The table of events that are not published yet."""
    return Table(
        "outbox",
        tables,
        Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
        Column(
            "kind", String(8), nullable=False
        ),  # event, for the stream `name`, or job, for the list `name`
        Column("name", String(64), nullable=False),
        Column("event_id", String(128), nullable=False),
        Column("data", JSON, nullable=False),
        Column("traceparent", String(64), nullable=False),
        Column("claimed", BigInteger, nullable=False),
    )


async def add_event(connection: AsyncConnection, outbox: Table, event: ServiceEvent) -> None:
    """Add an event to the outbox, with the trace of what is being done."""
    values = {"kind": "event", "name": event.name, "event_id": event.id, "data": dict(event.data)}
    await connection.execute(insert(outbox).values(**values, traceparent=_traceparent(), claimed=0))


async def add_job(connection: AsyncConnection, outbox: Table, queue: str, job: Mapping[str, Any]) -> None:
    """Add a job for the workers of a queue to the outbox, with the trace of what is being done."""
    values = {"kind": "job", "name": queue, "event_id": "", "data": dict(job)}
    await connection.execute(insert(outbox).values(**values, traceparent=_traceparent(), claimed=0))


def _traceparent() -> str:
    carrier: dict[str, str] = {}
    inject(carrier)
    return carrier.get("traceparent", "")


async def publish_outbox(runtime: Runtime, redis: Redis, outbox: Table) -> None:
    """Publish the events of an outbox in the background, for as long as the service runs."""
    publisher = OutboxPublisher(runtime.database, outbox, redis)
    await runtime.repeat("publish events", PUBLISH_SECONDS, publisher.publish)


def _publication(row: Any) -> AbstractContextManager[Any]:
    """A span of publishing a row, in the trace of its change. It begins when the row is sent, so that the
    trace shows how long the row has waited.
    """
    if not row.traceparent:
        return nullcontext()
    context = extract({"traceparent": row.traceparent})
    return tracer.start_as_current_span(f"{row.name} publish", context, trace.SpanKind.PRODUCER)


class OutboxPublisher:
    """Moves events from the outbox to their streams. Replicas share the work."""

    def __init__(self, database: Database, outbox: Table, redis: Redis) -> None:
        self._database = database
        self._outbox = outbox
        self._redis = redis

    async def publish(self) -> bool:
        """Publish a batch; returns whether there may be more. Raises redis.RedisError, SQLAlchemyError."""
        batch = await self._claim(time.time_ns() // 1_000_000)
        if not batch:
            return False
        async with self._redis.pipeline(transaction=False) as pipeline:
            for row in batch:
                with _publication(row):
                    if row.kind == "job":
                        job = {**row.data, "traceparent": _traceparent()}
                        pipeline.lpush(row.name, json.dumps(job))
                        continue
                    fields: Any = to_fields(ServiceEvent(row.name, row.event_id, row.data), _traceparent())
                    pipeline.xadd(row.name, fields, maxlen=MAX_EVENTS, approximate=True)
            await pipeline.execute()
        async with self._database.write() as connection:
            published = self._outbox.c.id.in_([row.id for row in batch])
            await connection.execute(delete(self._outbox).where(published))
        return len(batch) == BATCH

    async def _claim(self, now: int) -> list[Any]:
        table = self._outbox
        free = table.c.claimed < now - CLAIM_MS
        async with self._database.read() as connection:
            if (await connection.execute(select(table.c.id).where(free).limit(1))).first() is None:
                return []
        oldest = select(table.c.id).where(free).order_by(table.c.id).limit(BATCH)
        claim = (
            update(table)
            .where(table.c.id.in_(oldest.with_for_update(skip_locked=True).scalar_subquery()))
            .values(claimed=now)
            .returning(table)
        )
        async with self._database.write() as connection:
            return sorted(await connection.execute(claim), key=lambda row: row.id)
