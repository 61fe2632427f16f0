"""A small forward proxy in place of a sidecar: it maps `http://inventory/...` to ports on loopback.

It can hold calls before or after they reach the service, and records them. Services use it by HTTP_PROXY, so
they run unchanged.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

import aiohttp
from aiohttp import web

HOP_BY_HOP = frozenset(
    {"connection", "proxy-connection", "keep-alive", "transfer-encoding", "content-length", "host"}
)


@dataclass
class Hold:
    """Holds calls to a service whose path ends with `path`. The first sets `arrived`; all continue once
    `release` is set. With `loses` their answer is lost.
    """

    service: str
    when: Literal["before", "after"]
    path: str = ""
    loses: bool = False
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True)
class RecordedCall:
    """A call through the proxy. Header names are in lower case."""

    service: str
    method: str
    path: str
    headers: dict[str, str]


class ForwardProxy:
    """The ports of each service, its holds, and the recorded calls. Replicas take turns."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._turns: defaultdict[str, int] = defaultdict(int)
        self.ports: defaultdict[str, list[int]] = defaultdict(list)
        self.holds: list[Hold] = []
        self.calls: list[RecordedCall] = []
        self.url = ""

    def hold(
        self, service: str, when: Literal["before", "after"], path: str = "", *, loses: bool = False
    ) -> Hold:
        """Hold calls to `service` before they reach it, or after its response."""
        self.holds.append(Hold(service, when, path, loses))
        return self.holds[-1]

    async def forward(self, request: web.Request) -> web.Response:
        """Forward one call. Responds with 503 without a replica, as a sidecar does."""
        service = request.host.partition(":")[0]
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.calls.append(RecordedCall(service, request.method, request.path, headers))
        body = await request.read()
        if await self._wait_for_holds(service, request.path, "before"):
            return web.Response(status=503, text="the request was lost")
        if not self.ports[service]:
            return web.Response(status=503, text="no healthy upstream")
        self._turns[service] += 1
        port = self.ports[service][self._turns[service] % len(self.ports[service])]
        forwarded = {name: value for name, value in headers.items() if name not in HOP_BY_HOP}
        url = f"http://127.0.0.1:{port}{request.rel_url}"
        try:
            async with self._session.request(request.method, url, data=body, headers=forwarded) as response:
                content = await response.read()
        except aiohttp.ClientError:
            return web.Response(status=503, text="upstream connect error")
        if await self._wait_for_holds(service, request.path, "after"):
            return web.Response(status=503, text="the response was lost")
        returned = {name: value for name, value in response.headers.items() if name.lower() not in HOP_BY_HOP}
        return web.Response(status=response.status, body=content, headers=returned)

    async def _wait_for_holds(self, service: str, path: str, when: str) -> bool:
        """Wait for the holds of a call; returns whether it is lost."""
        holds = [hold for hold in self.holds if (hold.service, hold.when) == (service, when)]
        is_lost = False
        for hold in holds:
            if path.endswith(hold.path):
                hold.arrived.set()
                await hold.release.wait()
                is_lost = is_lost or hold.loses
        return is_lost


@asynccontextmanager
async def running_forward_proxy() -> AsyncIterator[ForwardProxy]:
    """A proxy that listens on loopback at `url`."""
    async with aiohttp.ClientSession() as session:
        proxy = ForwardProxy(session)
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", proxy.forward)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        proxy.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield proxy
        finally:
            for hold in proxy.holds:
                hold.release.set()
            await runner.cleanup()
