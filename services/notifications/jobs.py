"""A queue of jobs in Redis lists: each job is done at least once, by one of several workers.

A worker moves a job to its own list (BLMOVE) and removes it there when it is done. A job that fails waits in
a sorted set and is queued again; one that fails too often ends in a list of dead letters. A worker says that
it lives by a key that expires; the jobs of one that is gone are queued again by any other.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog
from opentelemetry import trace
from opentelemetry.propagate import extract
from prometheus_client import CollectorRegistry, Counter, Gauge
from redis.asyncio import Redis

MAX_ATTEMPTS = 8
RETRY_SECONDS, MAX_RETRY_SECONDS = 2.0, 300.0
"""Seconds until a job that failed is tried again: doubled each time."""

BLOCK_SECONDS = 1.0
LIFE_SECONDS = 30
"""Seconds after which a worker that has not said anything counts as gone. Longer than any job takes."""

MAX_DEAD = 10_000
TRACEPARENT, ATTEMPTS = "traceparent", "attempts"
OWN_FIELDS = frozenset({TRACEPARENT, ATTEMPTS})
"""Fields of a job that are the queue's: whose trace it belongs to, and how often it has failed."""

log = structlog.get_logger()
tracer = trace.get_tracer("meshwright.services.notifications.jobs")

JobHandler = Callable[[Mapping[str, Any]], Awaitable[None]]
"""Does a job, which may have been done before. Raises ValueError for one that it will never understand."""


class JobWorker:
    """One worker of a queue."""

    def __init__(
        self,
        redis: Redis,
        queue: str,
        name: str,
        handler: JobHandler,
        registry: CollectorRegistry,
        *,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self._redis: Any = redis
        self._queue, self._name = queue, name
        self._handler = handler
        self._retry_seconds = retry_seconds
        self._processing = f"{queue}:processing:{name}"
        self._done = Counter("jobs_done", "Attempts at jobs, by outcome.", ("outcome",), registry=registry)
        self._waiting = Gauge("jobs_waiting", "Jobs that are queued or due again.", registry=registry)
        self._dead = Gauge("jobs_dead", "Jobs that were given up.", registry=registry)

    async def run_once(self) -> bool:
        """Do the next job, for which it waits up to BLOCK_SECONDS. Returns True: there may be more."""
        await self._redis.set(f"{self._queue}:worker:{self._name}", "1", ex=LIFE_SECONDS)
        await self._queue_again()
        text = await self._redis.blmove(self._queue, self._processing, BLOCK_SECONDS, "RIGHT", "LEFT")
        if text is not None:
            await self._do(text)
        return True

    async def measure(self) -> bool:
        """Measure the queue. Returns False: once is enough for now."""
        queued, again = await self._redis.llen(self._queue), await self._redis.zcard(f"{self._queue}:retry")
        self._waiting.set(queued + again)
        self._dead.set(await self._redis.llen(f"{self._queue}:dead"))
        return False

    async def _queue_again(self) -> None:
        """Queue jobs whose time has come, and those of workers that are gone."""
        for text in await self._redis.zrangebyscore(f"{self._queue}:retry", 0, time.time(), start=0, num=100):
            if await self._redis.zrem(f"{self._queue}:retry", text):
                await self._redis.lpush(self._queue, text)
        prefix = f"{self._queue}:processing:"
        async for key in self._redis.scan_iter(match=f"{prefix}*", count=100):
            worker = key.removeprefix(prefix)
            if worker != self._name and not await self._redis.exists(f"{self._queue}:worker:{worker}"):
                while await self._redis.lmove(key, self._queue, "RIGHT", "LEFT"):
                    log.warning("job of a worker that is gone queued again", worker=worker)

    async def _do(self, text: str) -> None:
        try:
            job = json.loads(text)
            if not isinstance(job, dict):
                raise ValueError("a job is a JSON object")
            await self._handle(job)
        except ValueError as error:
            await self._bury(text, str(error))
        except Exception as error:  # whatever a handler raises, the job is tried again
            await self._fail(text, job, error)
        else:
            await self._redis.lrem(self._processing, 1, text)
            self._done.labels("done").inc()

    async def _handle(self, job: Mapping[str, Any]) -> None:
        context = extract({"traceparent": str(job.get(TRACEPARENT, ""))})
        with tracer.start_as_current_span(f"{self._queue} process", context, trace.SpanKind.CONSUMER):
            await self._handler({name: value for name, value in job.items() if name not in OWN_FIELDS})

    async def _fail(self, text: str, job: dict[str, Any], error: Exception) -> None:
        attempts = int(job.get(ATTEMPTS, 0)) + 1
        log.warning("job failed", attempts=attempts, error=str(error) or type(error).__name__)
        if attempts >= MAX_ATTEMPTS:
            await self._bury(text, str(error))
            return
        due = time.time() + min(self._retry_seconds * 2 ** (attempts - 1), MAX_RETRY_SECONDS)
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.zadd(f"{self._queue}:retry", {json.dumps({**job, ATTEMPTS: attempts}): due})
            pipeline.lrem(self._processing, 1, text)
            await pipeline.execute()
        self._done.labels("failed").inc()

    async def _bury(self, text: str, error: str) -> None:
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.lpush(f"{self._queue}:dead", json.dumps({"job": text, "error": error[:500]}))
            pipeline.ltrim(f"{self._queue}:dead", 0, MAX_DEAD - 1)
            pipeline.lrem(self._processing, 1, text)
            await pipeline.execute()
        self._done.labels("buried").inc()
        log.error("job buried", queue=self._queue, error=error[:500])
