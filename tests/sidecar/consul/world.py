"""A registry over an agent that runs no sidecars, and a client of its HTTP API."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from aiohttp.test_utils import TestClient

from meshwright.control_plane.api.models.instances import InstanceStatus
from meshwright.sidecar.config import Workload
from meshwright.sidecar.consul.registry import Registry
from meshwright.sidecar.health_probe import HealthProbe

SERVICE = "/v1/agent/service"
CHECK = "/v1/agent/check"


ORDERS = {
    "Name": "orders",
    "ID": "orders:1",
    "Port": 8000,
    "Tags": ["v1"],
    "Meta": {"version": "v1"},
    "Check": {"TTL": "1h", "CheckID": "beat"},
}


@dataclass
class FakeAgent:
    """Remembers what runs, and is the mesh in which it is healthy as its probe says."""

    running: dict[str, tuple[Workload, HealthProbe | None]] = field(default_factory=dict)
    starts: int = 0

    def start_workload(self, workload: Workload, probe: HealthProbe | None = None) -> str:
        assert workload.name not in self.running
        self.starts += 1
        self.running[workload.name] = workload, probe
        return workload.name

    async def stop_workload(self, name: str) -> str:
        del self.running[name]
        return name

    async def instances(self) -> Iterable[InstanceStatus]:
        statuses = []
        for workload, probe in self.running.values():
            result = await probe() if probe else None
            problem = result.error if result else ""
            statuses.append(
                InstanceStatus(
                    name=workload.name,
                    service=workload.service,
                    address="127.0.0.1:1",
                    labels=workload.labels,
                    health="unhealthy" if problem else "healthy",
                    reason=problem,
                )
            )
        return statuses


@dataclass
class World:
    """A client of the API, and what is behind it."""

    client: TestClient[Any, Any]
    agent: FakeAgent
    registry: Registry

    async def put(self, path: str, body: object = None, status: int = 200, **headers: str) -> str:
        async with self.client.put(path, json=body, headers=headers) as response:
            text = await response.text()
            assert response.status == status, text
            return text

    async def get(self, path: str, status: int = 200, **headers: str) -> Any:
        async with self.client.get(path, headers=headers) as response:
            assert response.status == status, await response.text()
            return await response.json() if status == 200 else await response.text()

    async def passing(self, service: str) -> list[str]:
        entries = await self.get(f"/v1/health/service/{service}?passing")
        return [entry["Service"]["ID"] for entry in entries]

    async def until(self, condition: Callable[[], Awaitable[Any]]) -> None:
        async with asyncio.timeout(60):
            while not await condition():  # noqa: ASYNC110  asks the API
                await asyncio.sleep(0.02)


async def is_empty(work: Any) -> bool:
    return not await work
