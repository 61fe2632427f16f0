"""Health probes against real servers, and the kinds of apps they cover."""

from __future__ import annotations

import asyncio
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import aiohttp
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer

from meshwright.sidecar.config import Workload
from meshwright.sidecar.health_probe import probe_for
from meshwright.sidecar.health_state import CheckResult
from meshwright.sidecar.ports import WorkloadPorts
from tests.fakes.http_server import running_http_server
from tests.sidecar.conftest import config, orders, running_agent, until
from tests.sidecar.fake_control_plane import FakeControlPlane


def workload(protocol: str, **health: object) -> Workload:
    port = {"name": "main", "protocol": protocol}
    fields = {"name": "a", "service": "a", "token_file": "t", "ports": [port], "health": health}
    return Workload.model_validate(fields)


async def check(workload: Workload, port: int) -> CheckResult:
    async with aiohttp.ClientSession() as session:
        probe = probe_for(workload, WorkloadPorts(0, apps={"main": port}), session)
        assert probe is not None
        return await probe()


async def run_probe(workload: Workload, port: int) -> str:
    return (await check(workload, port)).error


async def test_grpc_probe_uses_the_standard_health_service() -> None:
    server = grpc.aio.server()
    servicer = HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    assert await run_probe(workload("grpc"), port) == ""
    await servicer.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    assert "not serving" in await run_probe(workload("grpc"), port)
    await server.stop(0)
    result = await check(workload("grpc"), port)
    assert (result.error.startswith(f"nothing listens on 127.0.0.1:{port}"), result.listening) == (
        True,
        False,
    )


async def test_grpc_app_without_health_service_is_healthy_while_it_responds() -> None:
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    assert await run_probe(workload("grpc"), port) == ""
    await server.stop(0)
    result = await check(workload("grpc"), port)
    assert (result.error.startswith(f"nothing listens on 127.0.0.1:{port}"), result.listening) == (
        True,
        False,
    )


async def test_tcp_probe_connects() -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    assert await run_probe(workload("tcp"), port) == ""
    server.close()
    await server.wait_closed()
    result = await check(workload("tcp"), port)
    expected = f"nothing listens on 127.0.0.1:{port} (port main, the port that the app gets as $PORT)"
    assert (result.error, result.listening) == (expected, False)


async def test_app_that_accepts_but_does_not_respond_is_slow_and_listening() -> None:
    connections: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: connections.append(writer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    for silent in (workload("http", path="/health", timeout=0.2), workload("grpc", timeout=0.2)):
        result = await check(silent, port)
        assert "did not respond within 0.2 s" in result.error
        assert (result.slow, result.listening) == (True, True)
    for writer in connections:
        writer.close()
    server.close()


async def test_http_app_that_answers_late_is_healthy_within_its_timeout() -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(1.2)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    assert await run_probe(workload("http", path="/health"), port) == ""
    assert (await check(workload("http", path="/health", timeout=0.3), port)).slow
    server.close()


async def test_http_app_that_returns_an_error_listens() -> None:
    with running_http_server(BaseHTTPRequestHandler) as port:
        result = await check(workload("http", path="/health"), port)
        assert (result.error, result.listening) == (f"http://127.0.0.1:{port}/health returned 501", True)


async def test_worker_without_ports_is_healthy_while_it_runs(
    state: Path, control_plane: FakeControlPlane
) -> None:
    token = control_plane.token(state.parent, "orders")
    worker = orders(token, ports=[], health=None, command=["sh", "-c", "sleep 600"])
    async with running_agent(config(state, control_plane.addresses, worker)) as agent:
        await until(lambda: control_plane.leases.health("orders-1") == "healthy", "healthy")
        assert agent.status().workloads[0].pids.keys() == {"app", "proxy"}


async def test_app_started_by_someone_else_is_only_probed(
    state: Path, control_plane: FakeControlPlane
) -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    number = server.sockets[0].getsockname()[1]
    ports = [{"name": "http", "protocol": "http", "number": 80, "app_port": number}]
    token = control_plane.token(state.parent, "orders")
    external = orders(token, ports=ports, command=None, health=None)
    async with running_agent(config(state, control_plane.addresses, external)) as agent:
        await until(lambda: control_plane.leases.health("orders-1") == "healthy", "healthy")
        assert agent.status().workloads[0].pids.keys() == {"proxy"}
        server.close()
        await server.wait_closed()
        await until(lambda: control_plane.leases.health("orders-1") == "unhealthy", "unhealthy")
