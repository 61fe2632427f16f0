"""The trial itself: one request to one ejected instance, through the Envoy that ejected it.

It takes the path of requests, mutual TLS to the instance's sidecar and on to its app, except that Envoy's
listener for trials may choose an ejected instance (a stateful session names it).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import grpc

from meshwright.control_plane.api import trials
from meshwright.sidecar.trials import TriedInstance

USER_AGENT = "meshwright-trial"

_SERVING = b"\x08\x01"  # grpc.health.v1.HealthCheckResponse{status: SERVING}, encoded


@dataclass(frozen=True, slots=True)
class TrialTarget:
    """What to try and how: `path` is the declared health path, empty if there is none."""

    instance: TriedInstance
    protocol: str
    path: str = ""

    @property
    def host(self) -> str:
        """The service's name, which the app sees as the host."""
        return self.instance.cluster.partition("/")[0]

    @property
    def headers(self) -> dict[str, str]:
        """What makes Envoy choose the instance."""
        return {
            trials.CLUSTER_HEADER: self.instance.cluster,
            trials.INSTANCE_HEADER: trials.session(self.instance.address),
        }


async def try_instance(socket: Path, target: TrialTarget) -> str:
    """Why the trial failed; empty if it passed. It ends within TRIAL_TIMEOUT."""
    probes = {"grpc": _grpc, "tcp": _tcp}
    try:
        return await asyncio.wait_for(
            probes.get(target.protocol, _http)(socket, target), trials.TRIAL_TIMEOUT
        )
    except TimeoutError:
        return f"no response within {trials.TRIAL_TIMEOUT:g} s"


async def _http(socket: Path, target: TrialTarget) -> str:
    """Below 400 at the declared health path passes; without one any response below 500 at `/` does."""
    headers = {**target.headers, "host": target.host, "user-agent": USER_AGENT}
    url = f"http://{target.host}{target.path or '/'}"
    try:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket))) as session,
            session.get(url, headers=headers, allow_redirects=False) as response,
        ):
            passed = response.status < (400 if target.path else 500)
            return "" if passed else f"{target.path or '/'} returned {response.status}"
    except (aiohttp.ClientError, OSError) as error:
        return str(error) or type(error).__name__


async def _grpc(socket: Path, target: TrialTarget) -> str:
    """The standard health service must say SERVING; a server without one passes by any response."""
    options = [("grpc.enable_http_proxy", 0), ("grpc.default_authority", target.host)]
    async with grpc.aio.insecure_channel(f"unix:{socket}", options=options) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check", None, None)
        try:
            response = await check(b"", timeout=trials.TRIAL_TIMEOUT, metadata=tuple(target.headers.items()))
        except grpc.aio.AioRpcError as error:
            unimplemented = error.code() is grpc.StatusCode.UNIMPLEMENTED
            return "" if unimplemented else f"gRPC health: {error.code().name}"
    return "" if response == _SERVING else "gRPC health: not serving"


async def _tcp(_socket: Path, target: TrialTarget) -> str:
    """A connection to the instance's sidecar: nothing is known of the protocol behind it."""
    host, _, port = target.instance.address.rpartition(":")
    try:
        _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except OSError as error:
        return str(error)
    writer.close()
    return ""
