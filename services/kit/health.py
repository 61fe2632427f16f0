"""Health as orchestrators, the mesh and people ask for it.

Readiness is about what is the service's own, its database; a neighbour that is down makes nobody unready.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from meshwright.services.kit.settings import ServiceSettings

CHECK_SECONDS = 2.0
"""A check that takes longer has failed."""

ReadinessCheck = Callable[[], Awaitable[None]]


class HealthEndpoints:
    """The health of one process, from its named checks; `draining` makes it unready at once."""

    def __init__(self, settings: ServiceSettings, checks: Mapping[str, ReadinessCheck]) -> None:
        self._settings = settings
        self._checks = checks
        self.draining = False

    def routes(self) -> list[web.RouteDef]:
        """`/health/live`, `/health/ready` and `/health`."""
        return [
            web.get("/health/live", self._live),
            web.get("/health/ready", self._ready),
            web.get("/health", self._report),
        ]

    async def _live(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def _ready(self, _: web.Request) -> web.Response:
        ready = not self.draining and _healthy(await self._results())
        status = "ready" if ready else "not ready"
        return web.json_response({"status": status}, status=200 if ready else 503)

    async def _report(self, _: web.Request) -> web.Response:
        results = await self._results()
        healthy = _healthy(results)
        body = {
            "status": "healthy" if healthy else "unhealthy",
            "timestamp": datetime.now(UTC).isoformat(),
            "service": self._settings.service,
            "version": self._settings.version,
            "checks": results,
        }
        return web.json_response(body, status=200 if healthy else 503)

    async def _results(self) -> dict[str, dict[str, Any]]:
        names = list(self._checks)
        return dict(
            zip(names, await asyncio.gather(*(_run(self._checks[name]) for name in names)), strict=True)
        )


def _healthy(results: Mapping[str, Mapping[str, Any]]) -> bool:
    return all(result["status"] == "healthy" for result in results.values())


async def _run(check: ReadinessCheck) -> dict[str, Any]:
    start = time.perf_counter()
    error: str | None = None
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await check()
    except TimeoutError:
        error = f"no answer within {CHECK_SECONDS:g} s"
    except Exception as failure:  # whatever a check raises is its finding
        error = type(failure).__name__
    duration = round((time.perf_counter() - start) * 1000, 3)
    return {"status": "unhealthy" if error else "healthy", "duration_ms": duration, "error": error}
