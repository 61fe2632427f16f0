"""The checks of registered services: their states, and the loops that run them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import grpc

from meshwright.sidecar.addresses import split_address
from meshwright.sidecar.consul.model import (
    MAX_OUTPUT,
    MIN_DEREGISTER_AFTER,
    MIN_INTERVAL,
    CheckDefinition,
    CheckStatus,
)

MAX_BODY = 4096
"""Bytes of a response that become a check's output, as in Consul."""

_SERVING = b"\x08\x01"  # grpc.health.v1.HealthCheckResponse{status: SERVING}, encoded


@dataclass(slots=True, eq=False)
class Check:
    """A check of one service and what it found. `critical_since` is a time of the monotonic clock."""

    id: str
    definition: CheckDefinition
    service_id: str
    service: str
    tags: tuple[str, ...]
    on_change: Callable[[], None]
    status: CheckStatus = "critical"
    output: str = ""
    critical_since: float | None = None
    _passes: int = 0
    _failures: int = 0
    _updated: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.status = self.definition.status
        if self.status == "critical":
            self.critical_since = time.monotonic()

    def update(self, status: CheckStatus, output: str = "") -> None:
        """The application says how it is (TTL), and has its TTL from now on."""
        self._updated.set()
        self._set(status, output)

    def to_json(self, node: str) -> dict[str, Any]:
        """As Consul shows it."""
        return {
            "Node": node,
            "CheckID": self.id,
            "Name": self.definition.name or f"Service '{self.service}' check",
            "Status": self.status,
            "Notes": self.definition.notes,
            "Output": self.output,
            "ServiceID": self.service_id,
            "ServiceName": self.service,
            "ServiceTags": list(self.tags),
            "Type": self.definition.kind,
        }

    @property
    def is_overdue(self) -> bool:
        """Whether its service is to be deregistered: it has been critical for too long."""
        limit = self.definition.deregister_after
        since = self.critical_since
        return bool(limit and since) and time.monotonic() - (since or 0) > max(limit, MIN_DEREGISTER_AFTER)

    async def run(self, session: aiohttp.ClientSession) -> None:
        """Check until cancelled."""
        if self.definition.ttl:
            await self._watch_ttl()
        while True:
            status, output = await _probe(self.definition, session)
            self._count(status, output)
            await asyncio.sleep(max(self.definition.interval, MIN_INTERVAL))

    async def _watch_ttl(self) -> None:
        while True:
            self._updated.clear()
            try:
                await asyncio.wait_for(self._updated.wait(), self.definition.ttl)
            except TimeoutError:
                self._set("critical", "TTL expired")

    def _count(self, status: CheckStatus, output: str) -> None:
        """Take a result once there are as many in a row as the definition asks for."""
        failed = status == "critical"
        self._failures = self._failures + 1 if failed else 0
        self._passes = 0 if failed else self._passes + 1
        needed = (
            self.definition.failures_before_critical if failed else self.definition.success_before_passing
        )
        if (self._failures if failed else self._passes) >= needed:
            self._set(status, output)

    def _set(self, status: CheckStatus, output: str) -> None:
        if status != "critical":
            self.critical_since = None
        elif self.critical_since is None:
            self.critical_since = time.monotonic()
        changed = status != self.status
        self.status, self.output = status, output[:MAX_OUTPUT]
        if changed:
            self.on_change()


async def _probe(definition: CheckDefinition, session: aiohttp.ClientSession) -> tuple[CheckStatus, str]:
    timeout = max(definition.timeout, MIN_INTERVAL)
    try:
        async with asyncio.timeout(timeout):
            if definition.http:
                return await _http(definition, session)
            if definition.tcp:
                _, writer = await asyncio.open_connection(*split_address(definition.tcp))
                writer.close()
                return "passing", f"TCP connect {definition.tcp}: Success"
            return await _grpc(definition.grpc)
    except TimeoutError:
        return "critical", f"no answer within {timeout:g} s"
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return "critical", f"{error or type(error).__name__}"


async def _http(definition: CheckDefinition, session: aiohttp.ClientSession) -> tuple[CheckStatus, str]:
    """2xx passes, 429 is a warning, all else is critical, as in Consul."""
    headers = [(name, value) for name, values in definition.header.items() for value in values]
    method = definition.method or "GET"
    data = definition.body or None
    request = session.request(method, definition.http, headers=headers, data=data, allow_redirects=False)
    async with request as response:
        body = (await response.content.read(MAX_BODY)).decode(errors="replace")
        output = f"HTTP {method} {definition.http}: {response.status} {response.reason} Output: {body}"
        if response.status == 429:
            return "warning", output
        return ("passing" if 200 <= response.status < 300 else "critical"), output


async def _grpc(target: str) -> tuple[CheckStatus, str]:
    """The standard health service, of the whole server or of `host:port/SERVICE`."""
    address, _, service = target.partition("/")
    name = service.encode()
    request = b"\x0a" + bytes([len(name)]) + name if name else b""
    async with grpc.aio.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            response = await channel.unary_unary("/grpc.health.v1.Health/Check", None, None)(request)
        except grpc.aio.AioRpcError as error:
            return "critical", f"gRPC check {target}: {error.code().name}"
    return (
        ("passing", f"gRPC check {target}: success") if response == _SERVING else ("critical", "not serving")
    )
