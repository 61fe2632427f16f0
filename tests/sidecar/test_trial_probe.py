"""The trial of an instance, against real servers at the socket of the caller's Envoy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from aiohttp import web

from meshwright.control_plane.api import trials
from meshwright.sidecar.trial_probe import TrialTarget, try_instance
from meshwright.sidecar.trials import TriedInstance

BACK = TriedInstance("back/v2", "10.0.0.1:15006")


@pytest.fixture
def socket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("t") / "s"


@asynccontextmanager
async def http_server(socket: Path, status: int, seen: list[web.Request]) -> AsyncIterator[None]:
    async def respond(request: web.Request) -> web.Response:
        seen.append(request)
        return web.Response(status=status)

    app = web.Application()
    app.router.add_get("/{path:.*}", respond)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, str(socket)).start()
    try:
        yield
    finally:
        await runner.cleanup()


@asynccontextmanager
async def grpc_server(socket: Path, response: bytes | grpc.StatusCode | None) -> AsyncIterator[None]:
    async def check(_: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        if isinstance(response, bytes):
            return response
        await context.abort(response or grpc.StatusCode.UNAVAILABLE, "as requested")
        raise AssertionError("abort raises")

    server = grpc.aio.server()
    if response is not None:
        handlers = {"Check": grpc.unary_unary_rpc_method_handler(check)}
        service = grpc.method_handlers_generic_handler("grpc.health.v1.Health", handlers)
        server.add_generic_rpc_handlers((service,))
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    try:
        yield
    finally:
        await server.stop(None)


@pytest.mark.parametrize(
    ("path", "status", "failure"),
    [
        ("/health", 204, ""),
        ("/health", 404, "/health returned 404"),
        ("/health", 503, "/health returned 503"),
        ("", 404, ""),
        ("", 503, "/ returned 503"),
    ],
)
async def test_http_trial_names_one_instance(socket: Path, path: str, status: int, failure: str) -> None:
    requests: list[web.Request] = []
    async with http_server(socket, status, requests):
        assert await try_instance(socket, TrialTarget(BACK, "http", path)) == failure
    (request,) = requests
    assert (request.host, request.path) == ("back", path or "/")
    assert request.headers[trials.CLUSTER_HEADER] == "back/v2"
    assert request.headers[trials.INSTANCE_HEADER] == "MTAuMC4wLjE6MTUwMDY="


@pytest.mark.parametrize(
    ("response", "failure"),
    [
        (b"\x08\x01", ""),
        (b"\x08\x02", "gRPC health: not serving"),
        (grpc.StatusCode.UNAVAILABLE, "gRPC health: UNAVAILABLE"),
        (None, ""),
    ],
    ids=["serving", "not serving", "unavailable", "no health service"],
)
async def test_grpc_trial_asks_the_health_service(
    socket: Path, response: bytes | grpc.StatusCode | None, failure: str
) -> None:
    async with grpc_server(socket, response):
        assert await try_instance(socket, TrialTarget(BACK, "grpc")) == failure


async def test_tcp_trial_connects_to_the_instance(socket: Path) -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    target = TrialTarget(TriedInstance("db", f"127.0.0.1:{port}"), "tcp")
    assert await try_instance(socket, target) == ""
    server.close()
    await server.wait_closed()
    assert await try_instance(socket, target) != ""


async def test_a_trial_without_envoy_fails(socket: Path) -> None:
    assert await try_instance(socket, TrialTarget(BACK, "http", "/health")) != ""
