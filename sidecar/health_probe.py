"""Is the app well? Checks by HTTP, gRPC's health service or a mere connection, and the loop that asks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
import grpc

from meshwright.sidecar.config import Workload
from meshwright.sidecar.health_state import HealthState
from meshwright.sidecar.ports import LOOPBACK, WorkloadPorts

PROBE_TIMEOUT = 1.0
"""Seconds an app may take to answer one check."""

HealthProbe = Callable[[], Awaitable[str]]
"""One check: an empty string when all is well, else what is wrong."""

_SERVING = b"\x08\x01"  # grpc.health.v1.HealthCheckResponse{status: SERVING}, encoded


def probe_for(workload: Workload, ports: WorkloadPorts, session: aiohttp.ClientSession) -> HealthProbe | None:
    """How to ask `workload`'s app; None when it has no port to ask.

    A health path is asked by HTTP at the first http port; else the first port says how by its protocol.
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
    async def check() -> str:
        try:
            async with session.get(
                url, timeout=aiohttp.ClientTimeout(PROBE_TIMEOUT), allow_redirects=False
            ) as answer:
                return "" if answer.status < 400 else f"{url} answered {answer.status}"
        except TimeoutError:
            return f"{url} did not answer within {PROBE_TIMEOUT:g} s"
        except (aiohttp.ClientError, OSError) as error:
            return f"{url}: {error or type(error).__name__}"

    return check


def _grpc_probe(target: str) -> HealthProbe:
    async def check() -> str:
        options = [("grpc.enable_http_proxy", 0)]
        async with grpc.aio.insecure_channel(target, options=options) as channel:
            ask = channel.unary_unary("/grpc.health.v1.Health/Check", None, None)
            try:
                answer = await ask(b"", timeout=PROBE_TIMEOUT)
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                    return ""  # without the health service, an answer is all there is to see
                return f"gRPC health of {target}: {error.code().name}"
        return "" if answer == _SERVING else f"gRPC health of {target}: not serving"

    return check


def _tcp_probe(port: int) -> HealthProbe:
    async def check() -> str:
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(LOOPBACK, port), PROBE_TIMEOUT)
        except (TimeoutError, OSError):
            return f"nobody listens on {LOOPBACK}:{port}"
        writer.close()
        return ""

    return check


async def monitor_health(check: HealthProbe, changed: Callable[[bool, str], None]) -> None:
    """Ask for ever; `changed(healthy, why)` is called on each change of the verdict, and with what is
    wrong after each failed check."""
    verdict = HealthState()
    while True:
        why = await check()
        before, verdict = verdict, verdict.update(not why)
        if why or verdict.healthy != before.healthy:
            changed(bool(verdict.healthy), why)
        await asyncio.sleep(verdict.next_check_in)
