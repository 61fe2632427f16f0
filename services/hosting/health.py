"""Health endpoints for orchestrators, the mesh and people.

Readiness covers the service's own database only. An upstream service that is down makes nobody unready.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import web

from meshwright.services.kit.service import HealthCheck
from meshwright.services.kit.settings import ServiceSettings

CHECK_SECONDS = 2.0
"""A slower check counts as failed."""

MAX_RSS_BYTES = 1 << 30
"""Bytes of memory that no service of a healthy exchange needs."""


class HealthEndpoints:
    """The health of one process, from its named checks. `draining` makes it unready at once.

    `reported` are checks that /health has beside those of readiness.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        checks: Mapping[str, HealthCheck],
        reported: Mapping[str, HealthCheck],
    ) -> None:
        self._settings = settings
        self._checks = checks
        self._reported = reported
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
        ready = not self.draining and _all_healthy(await _run_checks(self._checks))
        status = "ready" if ready else "not ready"
        return web.json_response({"status": status}, status=200 if ready else 503)

    async def _report(self, _: web.Request) -> web.Response:
        results = await _run_checks({**self._checks, **self._reported, "memory": _check_memory})
        healthy = _all_healthy(results)
        body = {
            "status": "healthy" if healthy else "unhealthy",
            "timestamp": datetime.now(UTC).isoformat(),
            "service": self._settings.service,
            "version": self._settings.version,
            "checks": results,
        }
        return web.json_response(body, status=200 if healthy else 503)


async def _run_checks(checks: Mapping[str, HealthCheck]) -> dict[str, dict[str, Any]]:
    results = await asyncio.gather(*(_run_check(check) for check in checks.values()))
    return dict(zip(checks, results, strict=True))


def _all_healthy(results: Mapping[str, Mapping[str, Any]]) -> bool:
    return all(result["status"] == "healthy" for result in results.values())


async def _run_check(check: HealthCheck) -> dict[str, Any]:
    start = time.perf_counter()
    error: str | None = None
    figures: Mapping[str, Any] | None = None
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            figures = await check()
    except TimeoutError:
        error = f"no response within {CHECK_SECONDS:g} s"
    except Exception as failure:  # whatever a check raises is its result
        error = type(failure).__name__
    duration = round((time.perf_counter() - start) * 1000, 3)
    status = "unhealthy" if error else "healthy"
    return {"status": status, "duration_ms": duration, "error": error, **(figures or {})}


async def _check_memory() -> Mapping[str, Any]:
    """The process's resident memory."""
    rss = _resident_bytes()
    if rss > MAX_RSS_BYTES:
        raise MemoryError
    return {"rss_bytes": rss}


def _resident_bytes() -> int:
    """The second field of statm, which counts pages (proc_pid_statm(5))."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
