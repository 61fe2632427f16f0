"""Health checks of an app (HTTP, gRPC health service, TCP connect) and the loop that runs them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import aiohttp
import grpc

from meshwright.sidecar.addresses import format_address, split_address
from meshwright.sidecar.config import AppPort, Workload
from meshwright.sidecar.health_settings import HealthSettings
from meshwright.sidecar.health_state import CheckResult, HealthState
from meshwright.sidecar.ports import WorkloadPorts

HealthProbe = Callable[[], Awaitable[CheckResult]]
"""Checks the app once."""

PASSED = CheckResult()

_SERVING = b"\x08\x01"  # grpc.health.v1.HealthCheckResponse{status: SERVING}, encoded


def probe_for(workload: Workload, ports: WorkloadPorts, session: aiohttp.ClientSession) -> HealthProbe | None:
    """The check of the workload's app; None when it has no port.

    A health path is requested at the first http port. Without one the first port's protocol decides.
    """
    if not workload.ports:
        return None
    timeout = workload.health.timeout
    http = next((port for port in workload.ports if port.protocol == "http"), None)
    if workload.health.path and http is not None:
        address = format_address(workload.app_address, ports.apps[http.name])
        url = f"http://{address}{workload.health.path}"
        return _http_probe(session, url, http, timeout)
    first = workload.ports[0]
    address = format_address(workload.app_address, ports.apps[first.name])
    probe = _grpc_probe if first.protocol == "grpc" else _tcp_probe
    return probe(address, first, timeout)


def _not_listening(address: str, port: AppPort) -> CheckResult:
    """Nothing accepts connections where the app is expected."""
    hint = "" if port.app_port else ", the port that the app gets as $PORT"
    return CheckResult(f"nothing listens on {address} (port {port.name}{hint})", listening=False)


def _slow(what: str, timeout: float) -> CheckResult:
    return CheckResult(f"{what} did not respond within {timeout:g} s", slow=True)


def _http_probe(session: aiohttp.ClientSession, url: str, port: AppPort, timeout: float) -> HealthProbe:
    limit = aiohttp.ClientTimeout(timeout)
    # A response is enough. A kept connection would be closed by the app between two checks.
    headers = {"connection": "close"}

    async def probe() -> CheckResult:
        try:
            async with session.get(url, timeout=limit, headers=headers, allow_redirects=False) as response:
                return PASSED if response.status < 400 else CheckResult(f"{url} returned {response.status}")
        except TimeoutError:
            return _slow(url, timeout)
        except aiohttp.ClientConnectorError:
            return _not_listening(url.split("/", 3)[2], port)
        except (aiohttp.ClientError, OSError) as error:
            return CheckResult(f"{url}: {error or type(error).__name__}")

    return probe


def _grpc_probe(target: str, port: AppPort, timeout: float) -> HealthProbe:
    async def probe() -> CheckResult:
        options = [("grpc.enable_http_proxy", 0)]
        async with grpc.aio.insecure_channel(target, options=options) as channel:
            check = channel.unary_unary("/grpc.health.v1.Health/Check", None, None)
            try:
                response = await check(b"", timeout=timeout)
            except grpc.aio.AioRpcError as error:
                return _grpc_failure(target, port, error, timeout)
        return PASSED if response == _SERVING else CheckResult(f"gRPC health of {target}: not serving")

    return probe


def _grpc_failure(target: str, port: AppPort, error: grpc.aio.AioRpcError, timeout: float) -> CheckResult:
    code = error.code()
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return PASSED  # no health service: any response will do
    if code is grpc.StatusCode.UNAVAILABLE and "refused" in (error.details() or "").lower():
        return _not_listening(target, port)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return _slow(f"gRPC health of {target}", timeout)
    return CheckResult(f"gRPC health of {target}: {code.name}")


def _tcp_probe(target: str, port: AppPort, timeout: float) -> HealthProbe:
    async def probe() -> CheckResult:
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(*split_address(target)), timeout)
        except TimeoutError:
            return _slow(target, timeout)
        except OSError:
            return _not_listening(target, port)
        writer.close()
        return PASSED

    return probe


async def monitor_health(
    probe: HealthProbe,
    settings: HealthSettings,
    on_result: Callable[[HealthState, CheckResult], None],
    *,
    healthy: bool = False,
) -> None:
    """Check until cancelled. Calls `on_result` on each change and after each failure.

    `healthy`: the app runs already and counts as healthy until checks fail.
    """
    state = HealthState(True) if healthy else HealthState()
    started = time.monotonic()
    while True:
        result = await probe()
        previous, state = state, state.update(result, settings, time.monotonic() - started)
        if result.error or state != previous:
            on_result(state, result)
        await asyncio.sleep(state.next_check_in(result, settings))
