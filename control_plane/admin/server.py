"""The admin API's HTTP server: sockets, limits, and the routing table.

Logs record only the peer, method, path, operation and status of a request.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest

from meshwright.control_plane.admin import openapi
from meshwright.control_plane.admin.compute import ComputeSlots
from meshwright.control_plane.admin.endpoint import endpoint
from meshwright.control_plane.admin.middleware import authorize, format_errors, instrument
from meshwright.control_plane.admin.route import Router
from meshwright.control_plane.admin.sse import SseStreams
from meshwright.control_plane.api.auth import RequestGuard

BODY_LIMIT = 4 * 1024 * 1024
"""Bytes of a request's body: more than the policies of any mesh, far less than memory."""

NO_PATH_TOKENS: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that listens on `port`."""

    runner: web.AppRunner
    port: int

    async def stop(self) -> None:
        """Finish the requests in flight and close the socket."""
        await self.runner.cleanup()


async def start(
    routers: Iterable[Router],
    token: str,
    *,
    bind: str,
    port: int,
    hosts: Iterable[str] = (),
    read_token: str = "",
    path_tokens: Mapping[str, str] = NO_PATH_TOKENS,
) -> RunningServer:
    """Listen on `bind`:`port` (0: any free port); raises OSError if that fails.

    `hosts` are further host names or addresses by which callers may reach it, `read_token` the token for
    read-only routes (empty: none), `path_tokens` tokens for one path each.
    """
    accepted_hosts = frozenset({bind, *hosts}) - {"0.0.0.0", "::", ""}
    guard = RequestGuard(token, accepted_hosts, read_token, path_tokens)
    runner = web.AppRunner(
        build_app(routers, guard),
        access_log=None,
        handle_signals=False,
        shutdown_timeout=2.0,
        handler_cancellation=True,  # nothing is computed for a client that has left
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, bind, port, reuse_port=False)
        await site.start()
    except OSError:
        await runner.cleanup()
        raise
    return RunningServer(runner, int(runner.addresses[0][1]))


def build_app(routers: Iterable[Router], guard: RequestGuard) -> web.Application:
    """The aiohttp application with all routes; every request passes `guard`."""
    routes = tuple(route for router in routers for route in router.routes())
    read_only = frozenset(route.operation_id for route in routes if route.read_only)
    app = web.Application(
        client_max_size=BODY_LIMIT,
        middlewares=[instrument, authorize(guard, read_only), format_errors(BODY_LIMIT)],
    )
    streams, slots = SseStreams(), ComputeSlots()
    app.on_shutdown.append(streams.close_all)
    for route in routes:
        handler = endpoint(route, streams, slots)
        app.router.add_route(route.method, route.full_path, handler, name=route.operation_id)
    document = openapi.document(routes, _version())

    async def describe(_request: web.Request) -> web.StreamResponse:
        return web.json_response(document)

    app.router.add_get("/api/openapi.json", describe, name="openapi")
    app.router.add_get("/metrics", _metrics, name="metrics")
    app.router.add_get("/healthz", _healthy, name="healthz")
    return app


async def _metrics(_request: web.Request) -> web.StreamResponse:
    return web.Response(body=generate_latest(REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _healthy(_request: web.Request) -> web.StreamResponse:
    return web.json_response({"status": "ok"})


def _version() -> str:
    try:
        return version("meshwright")
    except PackageNotFoundError:
        return "0"
