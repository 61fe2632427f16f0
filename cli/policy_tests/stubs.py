"""The services of the cases: HTTP servers on loopback that record requests and respond as configured."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aiohttp import web

from meshwright.cli.policy_tests.mesh_plan import MeshPlan, PlannedInstance
from meshwright.cli.policy_tests.spec import PlayedResponse

REQUEST_TAG = "x-mesh-test-request"
"""The header that says which request of the command a service got. Retries and copies have the same one."""

INSTANCE_TAG = "x-mesh-test-instance"
"""The header that says which instance answered; without it the mesh itself did."""


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """A request that an instance got. `tag` is that of the command's request."""

    tag: str
    instance: PlannedInstance
    path: str
    headers: Mapping[str, str]


@dataclass
class StubServices:
    """All instances, each at a port of its own. `respond` configures their responses."""

    plan: MeshPlan
    received: list[ReceivedRequest] = field(default_factory=list)
    _responses: Sequence[PlayedResponse] = ()
    _used: list[int] = field(default_factory=list)
    _servers: list[asyncio.Server] = field(default_factory=list)
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self) -> dict[str, int]:
        """Listen; returns the port of each instance by its name."""
        ports = {}
        for instance in self.plan.instances:
            server = await asyncio.get_running_loop().create_server(self._server(instance), "127.0.0.1", 0)
            self._servers.append(server)
            ports[instance.name] = server.sockets[0].getsockname()[1]
        return ports

    def close(self) -> None:
        """Listen no more."""
        for server in self._servers:
            server.close()

    def respond(self, responses: Sequence[PlayedResponse]) -> None:
        """Answer like this from now on, and forget what was received."""
        self._responses = responses
        self._used = [0] * len(responses)
        self.received.clear()

    def received_for(self, tag: str) -> tuple[ReceivedRequest, ...]:
        """What the services have got for a request of the command."""
        return tuple(item for item in self.received if item.tag == tag)

    async def until_received(self, tag: str, name: str, seconds: float) -> None:
        """Wait until a service or Subset has got a request: Envoy sends a copy and does not wait for it."""
        try:
            async with asyncio.timeout(seconds):
                while not any(self.plan.selects(name, item.instance) for item in self.received_for(tag)):
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            return

    def _server(self, instance: PlannedInstance) -> web.Server:
        async def respond_to(request: web.BaseRequest) -> web.StreamResponse:
            return await self._answer(instance, request)

        return web.Server(respond_to)

    async def _answer(self, instance: PlannedInstance, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        tag = headers.pop(REQUEST_TAG, "")
        item = ReceivedRequest(tag, instance, request.raw_path, headers)
        self.received.append(item)
        self._arrived.set()
        response = self._response(instance)
        if response is not None:
            await asyncio.sleep(response.delay.total_seconds())
            if response.reset and request.transport:
                request.transport.abort()
        echo = {
            "service": instance.service,
            "instance": instance.name,
            "method": request.method,
            "path": item.path,
            "headers": headers,
            "body": body.decode(errors="replace"),
        }
        text = json.dumps(echo) if response is None or response.body is None else response.body
        return web.Response(
            status=response.status if response else 200,
            text=text,
            headers={INSTANCE_TAG: instance.name, **(response.headers if response else {})},
        )

    def _response(self, instance: PlannedInstance) -> PlayedResponse | None:
        """The first response for an instance that has not been given as often as it says."""
        for index, response in enumerate(self._responses):
            is_used_up = response.times is not None and self._used[index] >= response.times
            if not is_used_up and self.plan.selects(response.name, instance):
                self._used[index] += 1
                return response
        return None
