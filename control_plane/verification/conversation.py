"""The stream of the scratch Envoy: it is shown one node after the other and replies with ACKs and NACKs.

The protocol is that of every proxy (xds.protocol.delta): order, endpoints and retries of single resources are
the same. Virtual hosts, which proxies ask for as they need them, are asked for in its name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

import grpc

from meshwright.control_plane.core.resource import CDS, VHDS, Resource
from meshwright.control_plane.core.snapshot import ResourceKey
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.verification.scratch_node import ScratchNode
from meshwright.control_plane.xds.protocol.delta import Delta
from meshwright.control_plane.xds.protocol.response import Response, ResponseCache

QUIET_SECONDS = 1.0
"""How long nothing happens until resources that Envoy has not asked for count as not needed by it."""

Context = grpc.aio.ServicerContext[bytes, bytes]


class ScratchDelta(Delta):
    """The state machine of one stream, whose snapshot may become that of any other node."""

    def switch(self, node: ScratchNode) -> list[Response]:
        """Show another node; returns the responses to send."""
        held: set[ResourceKey] = {
            (sub.type_url, name) for sub in self._types.values() for name in sub.names | sub.sent.keys()
        }
        return self.on_snapshot(node, held)

    def ask_for(self, resources: Iterable[Resource]) -> list[Response]:
        """Subscribe to virtual hosts and clusters, as a proxy does that needs them for a request.

        Nothing before Envoy has opened the subscription itself.
        """
        responses = []
        for type_url, names in _names(resources).items():
            sub = self._types.get(type_url)
            missing = [name for name in names if sub is not None and name not in sub.names]
            if missing:
                request = v3.DeltaDiscoveryRequest(type_url=type_url, resource_names_subscribe=missing)
                responses += self.on_request(request)
        return responses

    def leave(self, resources: Iterable[Resource]) -> list[Response]:
        """Unsubscribe from clusters; those that no route refers to are removed."""
        names = _names(resources).get(CDS, [])
        request = v3.DeltaDiscoveryRequest(type_url=CDS, resource_names_unsubscribe=names)
        return self.on_request(request) if names else []

    def verdict(self, resource: Resource) -> str | None:
        """Envoy's error for a resource, empty if it ACKed it; None as long as it has not replied."""
        rejection = self.rejected.get((resource.type_url, resource.name))
        if rejection is not None and rejection.version == resource.version:
            return rejection.message
        return "" if self.is_acked(resource.type_url, resource.name, resource.version) else None


def _names(resources: Iterable[Resource]) -> dict[str, list[str]]:
    """Names by type under which a proxy asks for clusters and virtual hosts: a host has aliases for that."""
    names: dict[str, list[str]] = {}
    for resource in resources:
        if resource.type_url in (CDS, VHDS):
            name = resource.aliases[0] if resource.type_url == VHDS else resource.name
            names.setdefault(resource.type_url, []).append(name)
    return names


class Conversation:
    """One stream. `serve` runs until Envoy ends it; `verdicts` may be asked one after the other."""

    def __init__(self, node: ScratchNode) -> None:
        self._delta = ScratchDelta(node, ResponseCache())
        self._outbox: asyncio.Queue[bytes] = asyncio.Queue()
        self._progress = asyncio.Event()

    async def serve(self, context: Context) -> None:
        """Apply Envoy's requests and write responses."""
        writer = asyncio.create_task(self._write(context))
        try:
            while isinstance(message := await context.read(), bytes):
                self._send(self._delta.on_request(v3.DeltaDiscoveryRequest.FromString(message)))
                self._progress.set()
        finally:
            writer.cancel()

    async def verdicts(self, node: ScratchNode, resources: Sequence[Resource]) -> dict[ResourceKey, str]:
        """Envoy's errors for resources of a node, empty for what it ACKed; without those it does not need.

        Cancel it to give up, for instance when Envoy ends.
        """
        self._send(self._delta.switch(node))
        while True:
            self._progress.clear()
            self._send(self._delta.ask_for(resources))
            errors = {(each.type_url, each.name): self._delta.verdict(each) for each in resources}
            replies = {key: error for key, error in errors.items() if error is not None}
            if len(replies) == len(errors) or not await self._moves():
                self._send(self._delta.leave(resources))
                return replies

    async def _moves(self) -> bool:
        """Wait until Envoy has sent something; False if it has nothing more to say."""
        try:
            async with asyncio.timeout(QUIET_SECONDS):
                await self._progress.wait()
        except TimeoutError:
            responses = self._delta.on_idle()
            self._send(responses)
            return bool(responses) or self._delta.in_flight > 0
        return True

    def clear(self, node: ScratchNode) -> None:
        """Go back to a node, so that nothing of a change stays in Envoy."""
        self._send(self._delta.switch(node))
        self._send(self._delta.on_idle())

    def _send(self, responses: Iterable[Response]) -> None:
        for response in responses:
            self._outbox.put_nowait(response.data)

    async def _write(self, context: Context) -> None:
        while True:
            await context.write(await self._outbox.get())
