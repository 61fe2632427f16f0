"""Health probes of an app (HTTP, gRPC health service, TCP connect) and the loop that runs them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
import grpc

from meshwright.sidecar.config import Workload
from meshwright.sidecar.health_state import HealthState
from meshwright.sidecar.ports import LOOPBACK, WorkloadPorts

PROBE_TIMEOUT = 1.0
"""Seconds that an app may take to respond to one probe."""

HealthProbe = Callable[[], Awaitable[str]]
"""Probes the app once. Returns an empty string on success, else the reason for the failure."""

_SERVING = b"\x08\x01"  # grpc.health.v1.HealthCheckResponse{status: SERVING}, encoded


def probe_for(workload: Workload, ports: WorkloadPorts, session: aiohttp.ClientSession) -> HealthProbe | None:
    """The probe of the workload's app; None when it has no port.

    A health path is requested at the first http port. Without one the first port's protocol decides.
    """
    if not workload.ports:
        return None
    http = next((port for port in workload.ports if port.protocol == "http"), None)
    if workload.health and http is not None:
        return _http_probe(session, f"http://{LOOPBACK}:{ports.apps[http.name]}{workload.health}")
    first = workload.ports[0]
    number = ports.apps[first.name]
    return _grpc_probe(f"{LOOPBACK}:{number}") if first.protocol == "grpc" else _tcp_probe(number)


def _http_probe(session: aiohttp.ClientSession, url: str) -> HealthProbe:
    async def probe() -> str:
        try:
            async with session.get(
                url, timeout=aiohttp.ClientTimeout(PROBE_TIMEOUT), allow_redirects=False
            ) as response:
                return "" if response.status < 400 else f"{url} returned {response.status}"
        except TimeoutError:
            return f"{url} did not respond within {PROBE_TIMEOUT:g} s"
        except (aiohttp.ClientError, OSError) as error:
            return f"{url}: {error or type(error).__name__}"

    return probe


def _grpc_probe(target: str) -> HealthProbe:
    async def probe() -> str:
        options = [("grpc.enable_http_proxy", 0)]
        async with grpc.aio.insecure_channel(target, options=options) as channel:
            check = channel.unary_unary("/grpc.health.v1.Health/Check", None, None)
            try:
                response = await check(b"", timeout=PROBE_TIMEOUT)
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                    return ""  # no health service: any response will do
                return f"gRPC health of {target}: {error.code().name}"
        return "" if response == _SERVING else f"gRPC health of {target}: not serving"

    return probe


def _tcp_probe(port: int) -> HealthProbe:
    async def probe() -> str:
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(LOOPBACK, port), PROBE_TIMEOUT)
        except (TimeoutError, OSError):
            return f"nothing listens on {LOOPBACK}:{port}"
        writer.close()
        return ""

    return probe


async def monitor_health(
    probe: HealthProbe, on_result: Callable[[bool, str], None], *, healthy: bool = False
) -> None:
    """Probe until cancelled. Calls `on_result(healthy, error)` on each change and after each failure.

    `healthy`: the app runs already and counts as healthy until probes fail.
    """
    state = HealthState(True) if healthy else HealthState()
    while True:
        error = await probe()
        previous, state = state, state.update(not error)
        if error or state.healthy != previous.healthy:
            on_result(bool(state.healthy), error)
        await asyncio.sleep(state.next_check_in)
