"""Health checks against real servers, and what an app may look like."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer

from meshwright.sidecar.config import Workload
from meshwright.sidecar.health_probe import probe_for
from meshwright.sidecar.ports import WorkloadPorts
from tests.sidecar.conftest import agent, config, orders, until
from tests.sidecar.plane import Plane


def workload(protocol: str) -> Workload:
    port = {"name": "main", "protocol": protocol}
    return Workload.model_validate({"name": "a", "service": "a", "token_file": "t", "ports": [port]})


async def ask(of: Workload, port: int) -> str:
    async with aiohttp.ClientSession() as session:
        check = probe_for(of, WorkloadPorts(0, apps={"main": port}), session)
        assert check is not None
        return await check()


async def test_grpc_by_the_standard_health_service() -> None:
    server = grpc.aio.server()
    servicer = HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    assert await ask(workload("grpc"), port) == ""
    await servicer.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    assert "not serving" in await ask(workload("grpc"), port)
    await server.stop(0)
    assert "UNAVAILABLE" in await ask(workload("grpc"), port)


async def test_grpc_without_the_health_service_is_well_while_it_answers() -> None:
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    assert await ask(workload("grpc"), port) == ""
    await server.stop(0)
    assert "UNAVAILABLE" in await ask(workload("grpc"), port)


async def test_tcp_by_a_connection() -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    assert await ask(workload("tcp"), port) == ""
    server.close()
    await server.wait_closed()
    assert await ask(workload("tcp"), port) == f"nobody listens on 127.0.0.1:{port}"


async def test_an_app_that_accepts_and_is_silent_is_not_well() -> None:
    connections: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: connections.append(writer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    silent = workload("http").model_copy(update={"health": "/health"})
    assert "did not answer within" in await ask(silent, port)
    for writer in connections:
        writer.close()
    server.close()


async def test_a_worker_without_ports_is_well_while_it_runs(state: Path, plane: Plane) -> None:
    worker = orders(
        plane.token(state.parent, "orders"), ports=[], health=None, command=["sh", "-c", "sleep 600"]
    )
    async with agent(config(state, plane.addresses, worker)) as it:
        await until(lambda: plane.leases.health("orders-1") == "healthy", "healthy")
        assert it.status().workloads[0].pids.keys() == {"app", "proxy"}


async def test_an_app_that_is_not_ours_is_only_asked(state: Path, plane: Plane) -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    number = server.sockets[0].getsockname()[1]
    ports = [{"name": "http", "protocol": "http", "number": 80, "app_port": number}]
    theirs = orders(plane.token(state.parent, "orders"), ports=ports, command=None, health=None)
    async with agent(config(state, plane.addresses, theirs)) as it:
        await until(lambda: plane.leases.health("orders-1") == "healthy", "healthy")
        assert it.status().workloads[0].pids.keys() == {"proxy"}
        server.close()
        await server.wait_closed()
        await until(lambda: plane.leases.health("orders-1") == "unhealthy", "unhealthy")
