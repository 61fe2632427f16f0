"""The broker's client: Redis, whose commands have spans."""

from __future__ import annotations

from typing import Any

import structlog
from redis.asyncio import Redis

from meshwright.services.kit.service import Runtime
from meshwright.services.kit.spans import client_span

SOCKET_SECONDS = 5.0
"""Seconds until a broker that does not respond counts as away. Longer than a read waits for an event."""

log = structlog.get_logger()


class TracedRedis(Redis):
    """A client whose commands have spans. Their arguments are left out: they hold people's data."""

    async def execute_command(self, *arguments: Any, **options: Any) -> Any:
        """Execute a command."""
        command = str(arguments[0])
        with client_span(command, {"db.system.name": "redis", "db.operation.name": command}):
            return await super().execute_command(*arguments, **options)  # type: ignore[no-untyped-call]


def connect(url: str) -> Redis:
    """A client of the broker, which connects when it is used."""
    client: Redis = TracedRedis.from_url(
        url, decode_responses=True, socket_timeout=SOCKET_SECONDS, socket_connect_timeout=SOCKET_SECONDS
    )
    return client


def open_broker(runtime: Runtime) -> Redis | None:
    """The service's client of the broker, which /health checks too; None without a broker."""
    if not (url := runtime.settings.broker_url):
        log.warning("no broker: set REDIS_URL")
        return None
    client = connect(url)

    async def ping() -> None:
        await client.ping()

    runtime.checks["redis"] = ping
    runtime.exit_stack.push_async_callback(client.aclose)
    return client
