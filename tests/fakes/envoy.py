"""A fake Envoy: the client's half of delta ADS, with Envoy's habits, and a gRPC client around it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import grpc

from meshwright.control_plane.api.spiffe import CONTROL_PLANE_DNS
from meshwright.control_plane.core.resource import CDS, EDS, LDS, RDS, VHDS
from meshwright.control_plane.envoy import codec, v3

METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
WILDCARDS = (CDS, LDS)
TYPES = (CDS, EDS, LDS, RDS, VHDS)

Reject = Callable[[str, str, bytes], str]
"""(type URL, name, body) → why this resource is bad; empty when it is good."""


def accept_all(type_url: str, name: str, body: bytes) -> str:
    """Refuse nothing."""
    return ""


@dataclass
class EnvoyModel:
    """What an Envoy knows, and how it reacts, without sockets.

    `have` is type → name → (version, body). A response with a bad resource is refused whole. Endpoints are
    followed by themselves: a cluster that comes is asked for, one that goes is let go. `warming` clusters are
    those without endpoints, `absent` hosts those that VHDS said do not exist.
    """

    node: str = "orders-1"
    cluster: str = "orders"
    reject: Reject = accept_all
    follow_endpoints: bool = True
    resources: dict[str, dict[str, tuple[str, bytes]]] = field(default_factory=lambda: {t: {} for t in TYPES})
    subscribed: dict[str, set[str]] = field(default_factory=lambda: {t: set() for t in TYPES})
    opened: list[str] = field(default_factory=list)
    nonexistent: set[str] = field(default_factory=set)
    warming: set[str] = field(default_factory=set)
    responses: int = 0

    def open(self, type_url: str, names: Iterable[str] = ()) -> v3.DeltaDiscoveryRequest:
        """The first request of a type on a stream, with the versions of what is there already."""
        if type_url not in self.opened:
            self.opened.append(type_url)
        again = bool(self.resources[type_url] or self.subscribed[type_url])
        self.subscribed[type_url].update(names)
        asked = sorted(self.subscribed[type_url])
        if again and type_url in (*WILDCARDS, VHDS):
            asked.insert(0, "*")
        versions = {name: version for name, (version, _) in self.resources[type_url].items()}
        return self._request(type_url, asked, versions=versions)

    def reopen(self) -> list[v3.DeltaDiscoveryRequest]:
        """What is sent at once on a new stream, type by type in the order they were first opened."""
        return [self.open(type_url) for type_url in self.opened]

    def subscribe(self, type_url: str, *names: str) -> v3.DeltaDiscoveryRequest:
        """Subscribe to names, which may be subscribed already."""
        if type_url not in self.opened:
            return self.open(type_url, names)
        self.subscribed[type_url].update(names)
        return self._request(type_url, names)

    def handle(self, response: v3.DeltaDiscoveryResponse) -> list[v3.DeltaDiscoveryRequest]:
        """Apply a response or refuse it; the answer, and what follows from it."""
        self.responses += 1
        url = response.type_url
        for one in response.resources:
            why = self.reject(url, one.name, one.resource.value) if one.HasField("resource") else ""
            if why:
                return [self._request(url, (), nonce=response.nonce, error=f"{one.name}: {why}")]
        for name in response.removed_resources:
            self._remove(url, name)
        for one in response.resources:
            if one.HasField("resource"):
                self.resources[url][one.name] = (one.version, one.resource.value)
            self.nonexistent.difference_update(one.aliases)
            if not one.HasField("resource"):
                self.nonexistent.update(one.aliases)
            if url == EDS:
                self.warming.discard(one.name)
        after = self._follow(response) if url == CDS and self.follow_endpoints else []
        return [*after, self._request(url, (), nonce=response.nonce)]

    def _remove(self, url: str, name: str) -> None:
        if url not in (EDS, RDS):  # Envoy ignores the removal of those
            self.resources[url].pop(name, None)

    def _follow(self, response: v3.DeltaDiscoveryResponse) -> list[v3.DeltaDiscoveryRequest]:
        """Subscribe to the endpoints of new clusters, unsubscribe from those of removed ones.

        A cluster that is updated warms again, but is not asked for again: its name is subscribed already.
        """
        bodies = {one.name: v3.Cluster.FromString(one.resource.value) for one in response.resources}
        dynamic = {name for name, body in bodies.items() if body.HasField("eds_cluster_config")}
        self.warming |= dynamic
        gone = self.subscribed[EDS].intersection(response.removed_resources)
        new = dynamic - self.subscribed[EDS]
        for name in gone:
            self.resources[EDS].pop(name, None)
        self.warming -= gone
        self.subscribed[EDS] -= gone
        if EDS not in self.opened:
            return [self.open(EDS, new)] if new else []
        if not new and not gone:
            return []
        self.subscribed[EDS] |= new
        return [self._request(EDS, sorted(new), drop=sorted(gone))]

    def _request(
        self,
        url: str,
        names: Iterable[str],
        *,
        drop: Iterable[str] = (),
        versions: Mapping[str, str] | None = None,
        nonce: str = "",
        error: str = "",
    ) -> v3.DeltaDiscoveryRequest:
        request = v3.DeltaDiscoveryRequest(
            type_url=url,
            resource_names_subscribe=tuple(names),
            resource_names_unsubscribe=tuple(drop),
            initial_resource_versions=versions or {},
            response_nonce=nonce,
        )
        if error:
            request.error_detail.code = 13
            request.error_detail.message = error
        return request


def node(name: str, cluster: str, bindings: Mapping[str, object] | None = None) -> v3.Node:
    """The node of a first request."""
    return v3.Node(id=name, cluster=cluster, metadata=codec.struct({"bindings": dict(bindings or {})}))


class FakeEnvoy:
    """An EnvoyModel at the end of a real mTLS stream.

    `start` connects and opens `opening` types; from then on it answers everything by itself. `changed` is
    set anew at each response. After `close` the model stays, so `start` reconnects with what it has.
    """

    def __init__(
        self,
        address: str,
        credentials: grpc.ChannelCredentials,
        model: EnvoyModel,
        opening: Iterable[str] = (CDS, LDS),
        bindings: Mapping[str, object] | None = None,
    ) -> None:
        self.model = model
        self._address = address
        self._credentials = credentials
        self._opening = tuple(opening)
        self._bindings = bindings
        self._channel: grpc.aio.Channel | None = None
        self._call: grpc.aio.StreamStreamCall[bytes, bytes] | None = None
        self._reader: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()  # gRPC takes one write at a time, and both asking and answering write
        self.on_response: Callable[[v3.DeltaDiscoveryResponse], None] = lambda response: None

    async def start(self) -> None:
        """Connect and send the first requests."""
        options = [
            ("grpc.ssl_target_name_override", CONTROL_PLANE_DNS),
            ("grpc.max_receive_message_length", -1),
            ("grpc.use_local_subchannel_pool", 1),
        ]
        self._channel = grpc.aio.secure_channel(self._address, self._credentials, options)
        self._call = self._channel.stream_stream(METHOD, bytes, bytes)(None)
        first = self.model.reopen() or [self.model.open(each) for each in self._opening]
        first[0].node.CopyFrom(node(self.model.node, self.model.cluster, self._bindings))
        self._reader = asyncio.create_task(self._read())
        await self.send(*first)

    async def send(self, *requests: v3.DeltaDiscoveryRequest) -> None:
        """Send requests of the model."""
        assert self._call is not None
        async with self._writing:
            for request in requests:
                await self._call.write(request.SerializeToString())

    async def subscribe(self, type_url: str, *names: str) -> None:
        """Subscribe to names."""
        await self.send(self.model.subscribe(type_url, *names))

    async def final_code(self) -> grpc.StatusCode:
        """Wait until the server ends the stream; its status."""
        assert self._call is not None
        return await self._call.code()

    async def final_details(self) -> str:
        """Wait until the server ends the stream; its words."""
        assert self._call is not None
        return await self._call.details() or ""

    async def close(self) -> None:
        """Break the connection."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait({self._reader})
        if self._channel is not None:
            await self._channel.close(None)

    async def _read(self) -> None:
        assert self._call is not None
        try:
            async for message in self._call:
                response = v3.DeltaDiscoveryResponse.FromString(message)
                answers = self.model.handle(response)
                self.on_response(response)
                await self.send(*answers)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return  # the server's status is told by code()
