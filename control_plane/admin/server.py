"""The admin API's HTTP server: sockets, limits, and the routing table.

Logs record only the peer, method, path, operation and status of a request.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest

from meshwright.control_plane.admin import openapi
from meshwright.control_plane.admin.compute import ComputeSlots
from meshwright.control_plane.admin.endpoint import endpoint
from meshwright.control_plane.admin.middleware import authorize, format_errors, instrument
from meshwright.control_plane.admin.route import Route, Router
from meshwright.control_plane.admin.sse import SseStreams
from meshwright.control_plane.api.auth import RequestGuard
from meshwright.control_plane.http_listener import HttpListener, ListenerLimits

BODY_LIMIT = 4 * 1024 * 1024
"""Bytes of a request's body: more than the policies of any mesh, far less than memory."""

METRICS_SECONDS = 0.25
"""How long the metrics are reused."""

NO_PATH_TOKENS: Mapping[str, str] = {}


LIMITS = ListenerLimits(connections=512)
"""Dashboards hold a handful of connections each, event streams among them."""


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that listens on `port`."""

    runner: web.AppRunner
    listener: HttpListener
    port: int

    async def stop(self) -> None:
        """Close the socket and finish the requests in flight."""
        self.listener.close()
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
    limits: ListenerLimits = LIMITS,
) -> RunningServer:
    """Listen on `bind`:`port` (0: any free port); raises OSError if that fails.

    `hosts` are further host names or addresses by which callers may reach it, `read_token` the token for
    read-only routes (empty: none), `path_tokens` tokens for one path each.
    """
    accepted_hosts = frozenset({bind, *hosts}) - {"0.0.0.0", "::", ""}
    guard = RequestGuard(token, accepted_hosts, read_token, path_tokens)
    listener = HttpListener("admin", limits)
    runner = web.AppRunner(
        build_app(routers, guard, listener),
        access_log=None,
        logger=listener.logger,
        handle_signals=False,
        shutdown_timeout=2.0,
        handler_cancellation=True,  # nothing is computed for a client that has left
    )
    await runner.setup()
    try:
        return RunningServer(runner, listener, await listener.start(runner, bind, port))
    except OSError:
        await runner.cleanup()
        raise


def build_app(routers: Iterable[Router], guard: RequestGuard, listener: HttpListener) -> web.Application:
    """The aiohttp application with all routes; every request passes `guard`."""
    routes = tuple(route for router in routers for route in router.routes())
    read_only = frozenset(route.operation_id for route in routes if route.read_only)
    app = web.Application(
        client_max_size=BODY_LIMIT,
        middlewares=[
            listener.middleware,
            instrument,
            authorize(guard, read_only, listener.lines),
            format_errors(BODY_LIMIT),
        ],
    )
    streams, slots = SseStreams(), ComputeSlots()
    app.on_shutdown.append(streams.close_all)
    for route in routes:
        handler = endpoint(route, streams, slots)
        app.router.add_route(route.method, route.full_path, handler, name=route.operation_id)
    app.router.add_get("/api/openapi.json", _Description(routes).respond, name="openapi")
    app.router.add_get("/metrics", _Metrics().respond, name="metrics")
    app.router.add_get("/healthz", _healthy, name="healthz")
    return app


class _Description:
    """The OpenAPI document, made when it is first read: that takes 0.1 s, which no start need wait for."""

    def __init__(self, routes: tuple[Route, ...]) -> None:
        self._routes = routes
        self._text = ""
        self._making = asyncio.Lock()

    async def respond(self, _request: web.Request) -> web.StreamResponse:
        async with self._making:
            self._text = self._text or await asyncio.to_thread(self._make)
        return web.json_response(text=self._text)

    def _make(self) -> str:
        return json.dumps(openapi.document(self._routes, _version()))


class _Metrics:
    """All metrics as text. They need no token, so their cost is bounded, however often they are read."""

    def __init__(self) -> None:
        self._text = b""
        self._computed_at = -METRICS_SECONDS

    async def respond(self, _request: web.Request) -> web.StreamResponse:
        now = time.monotonic()
        if now - self._computed_at >= METRICS_SECONDS:
            self._text, self._computed_at = generate_latest(REGISTRY), now
        return web.Response(body=self._text, headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _healthy(_request: web.Request) -> web.StreamResponse:
    return web.json_response({"status": "ok"})


def _version() -> str:
    try:
        return version("meshwright")
    except PackageNotFoundError:
        return "0"
