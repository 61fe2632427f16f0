"""What the agent serves to the Envoys beside it, on a unix socket: metrics, health checks, secrets.

Each sidecar's Envoy forwards scrapes of its own workload: Prometheus reads them at the sidecar's ready port,
like Envoy's own, so the agent needs no port. The checks are those of ejected instances (trial_gate). Secrets
are the certificates of gateways (node_secrets).
"""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from meshwright.control_plane.api.node_certificates import SECRETS_PATH
from meshwright.sidecar.control_socket import listen_unix
from meshwright.sidecar.metrics import ProcessUsage, workload_metrics
from meshwright.sidecar.status import AgentStatus, WorkloadStatus

METRICS_SOCKET = "metrics.sock"


@dataclass(frozen=True, slots=True, eq=False)
class _WorkloadCollector(Collector):
    workload: WorkloadStatus

    def collect(self) -> Iterator[Metric]:
        pids = {**self.workload.pids, "agent": os.getpid()}
        usage = {name: used for name, pid in pids.items() if (used := _usage(pid))}
        yield from workload_metrics(self.workload, usage)


AnswerCheck = Callable[[str, str, Mapping[str, str]], Awaitable[int]]
"""The status that decides a check, by workload, host and headers. Raises ValueError, KeyError."""


FetchSecret = Callable[[str, str, str], Awaitable[dict[str, Any] | None]]
"""A DiscoveryResponse, by workload, secret and present version; None: nothing new.

Raises ValueError, KeyError."""

MAX_REQUEST_BYTES = 1 << 20
"""Envoy describes itself in each request for a secret, in about 80 KiB."""


async def serve_metrics(
    path: Path, status: Callable[[], AgentStatus], answer_check: AnswerCheck, fetch_secret: FetchSecret
) -> web.AppRunner:
    """Listen at `path` (mode 0600) in a private folder. The caller cleans up the runner."""

    async def check(request: web.Request) -> web.Response:
        try:
            answer = await answer_check(request.match_info["name"], request.host, request.headers)
        except (KeyError, ValueError) as error:
            return web.Response(status=404, text=f"{error}\n")
        return web.Response(status=answer)

    async def serve(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        workload = next((workload for workload in status().workloads if workload.name == name), None)
        if workload is None:
            return web.Response(status=404, text=f"no workload {name} here\n")
        registry = CollectorRegistry()
        registry.register(_WorkloadCollector(workload))
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def secret(request: web.Request) -> web.Response:
        try:
            body = json.loads(await request.read())
            names, node = body["resource_names"], body["node"]["id"]
            response = await fetch_secret(node, names[0], body.get("version_info", ""))
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            return web.Response(status=400, text=f"{error}\n")
        return web.Response(status=304) if response is None else web.json_response(response)

    app = web.Application(client_max_size=MAX_REQUEST_BYTES)
    app.router.add_post(SECRETS_PATH, secret)
    app.router.add_get("/metrics/{name}", serve)
    app.router.add_get("/trials/{name}", check)
    # A check that Envoy gives up must not wait on, and with a trial that nobody asks for.
    runner = web.AppRunner(
        app, access_log=None, handle_signals=False, shutdown_timeout=0.5, handler_cancellation=True
    )
    await runner.setup()
    await web.SockSite(runner, listen_unix(path)).start()
    return runner


def _usage(pid: int) -> ProcessUsage | None:
    """What a process uses; None when it is gone."""
    try:
        process = psutil.Process(pid)
        times = process.cpu_times()
        return ProcessUsage(process.memory_info().rss, times.user + times.system)
    except psutil.Error:
        return None
