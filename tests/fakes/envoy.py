"""A fake Envoy: the client side of delta ADS with Envoy's habits, and a gRPC client around it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import grpc

from meshwright.control_plane.api.spiffe import CONTROL_PLANE_DNS
from meshwright.control_plane.core.resource import CDS, ECDS, EDS, LDS, RDS, VHDS
from meshwright.control_plane.envoy import codec, v3

METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
WILDCARDS = (CDS, LDS)
TYPES = (CDS, EDS, ECDS, LDS, RDS, VHDS)

Reject = Callable[[str, str, bytes], str]
"""(type URL, name, body) → the error for a bad resource; empty for a good one."""


def accept_all(type_url: str, name: str, body: bytes) -> str:
    """Reject nothing."""
    return ""


@dataclass
class EnvoyModel:
    """An Envoy's xDS state and reactions, without sockets.

    `resources` is type → name → (version, body). A response with a bad resource is NACKed as a whole. With
    `follow_endpoints` it subscribes to the endpoints of new clusters and unsubscribes from those of removed
    ones. `warming` are clusters without endpoints, `nonexistent` the hosts that VHDS reported as such,
    `responses` the number of responses received.
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
        """The first request of a type on a stream, with the versions that it already has."""
        if type_url not in self.opened:
            self.opened.append(type_url)
        is_reconnect = bool(self.resources[type_url] or self.subscribed[type_url])
        self.subscribed[type_url].update(names)
        requested = sorted(self.subscribed[type_url])
        if is_reconnect and type_url in (*WILDCARDS, VHDS):
            requested.insert(0, "*")
        versions = {name: version for name, (version, _) in self.resources[type_url].items()}
        nonexistent = dict.fromkeys(self.nonexistent, "") if type_url == VHDS else {}
        return self._request(type_url, requested, versions={**nonexistent, **versions})

    def reopen(self) -> list[v3.DeltaDiscoveryRequest]:
        """The first requests on a new stream, in the order in which the types were first opened."""
        return [self.open(type_url) for type_url in self.opened]

    def subscribe(self, type_url: str, *names: str) -> v3.DeltaDiscoveryRequest:
        """Subscribe to names, even if they are subscribed already."""
        if type_url not in self.opened:
            return self.open(type_url, names)
        self.subscribed[type_url].update(names)
        return self._request(type_url, names)

    def handle(self, response: v3.DeltaDiscoveryResponse) -> list[v3.DeltaDiscoveryRequest]:
        """ACK or NACK a response; returns the reply, after any subscriptions that follow from it."""
        self.responses += 1
        type_url = response.type_url
        for resource in response.resources:
            if resource.HasField("resource"):
                error = self.reject(type_url, resource.name, resource.resource.value)
                if error:
                    error = f"{resource.name}: {error}"
                    return [self._request(type_url, (), nonce=response.nonce, error=error)]
        for name in response.removed_resources:
            self._remove(type_url, name)
        for resource in response.resources:
            if resource.HasField("resource"):
                self.resources[type_url][resource.name] = (resource.version, resource.resource.value)
                self.nonexistent.difference_update(resource.aliases)
            else:
                self.nonexistent.update(resource.aliases)
            if type_url == EDS:
                self.warming.discard(resource.name)
        follow = type_url == CDS and self.follow_endpoints
        return [
            *(self._follow_clusters(response) if follow else ()),
            self._request(type_url, (), nonce=response.nonce),
        ]

    def _remove(self, type_url: str, name: str) -> None:
        if type_url not in (EDS, RDS):  # Envoy ignores the removal of these types
            self.resources[type_url].pop(name, None)

    def _follow_clusters(self, response: v3.DeltaDiscoveryResponse) -> list[v3.DeltaDiscoveryRequest]:
        """Subscribe to the endpoints of new clusters, unsubscribe from those of removed ones.

        An updated cluster warms again, without a new subscription: its name is subscribed already.
        """
        bodies = {
            resource.name: v3.Cluster.FromString(resource.resource.value) for resource in response.resources
        }
        dynamic = {name for name, body in bodies.items() if body.HasField("eds_cluster_config")}
        self.warming |= dynamic
        removed = self.subscribed[EDS].intersection(response.removed_resources)
        added = dynamic - self.subscribed[EDS]
        for name in removed:
            self.resources[EDS].pop(name, None)
        self.warming -= removed
        self.subscribed[EDS] -= removed
        if EDS not in self.opened:
            return [self.open(EDS, added)] if added else []
        if not added and not removed:
            return []
        self.subscribed[EDS] |= added
        return [self._request(EDS, sorted(added), unsubscribe=sorted(removed))]

    def _request(
        self,
        type_url: str,
        names: Iterable[str],
        *,
        unsubscribe: Iterable[str] = (),
        versions: Mapping[str, str] | None = None,
        nonce: str = "",
        error: str = "",
    ) -> v3.DeltaDiscoveryRequest:
        request = v3.DeltaDiscoveryRequest(
            type_url=type_url,
            resource_names_subscribe=tuple(names),
            resource_names_unsubscribe=tuple(unsubscribe),
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
    """An EnvoyModel on a real mTLS stream.

    `start` connects and opens the `opening` types; from then on it replies to every response. `on_response`
    is called after each. The model survives `close`, so `start` reconnects with what it has.
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
        self._write_lock = asyncio.Lock()  # gRPC allows one write at a time; subscriptions and replies write
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
        requests = self.model.reopen() or [self.model.open(type_url) for type_url in self._opening]
        requests[0].node.CopyFrom(node(self.model.node, self.model.cluster, self._bindings))
        self._reader = asyncio.create_task(self._read())
        await self.send(*requests)

    async def send(self, *requests: v3.DeltaDiscoveryRequest) -> None:
        """Send requests of the model."""
        assert self._call is not None
        async with self._write_lock:
            for request in requests:
                await self._call.write(request.SerializeToString())

    async def subscribe(self, type_url: str, *names: str) -> None:
        """Subscribe to names."""
        await self.send(self.model.subscribe(type_url, *names))

    async def final_code(self) -> grpc.StatusCode:
        """The status code with which the server ends the stream; waits for it."""
        assert self._call is not None
        return await self._call.code()

    async def final_details(self) -> str:
        """The message with which the server ends the stream; waits for it."""
        assert self._call is not None
        return await self._call.details() or ""

    async def close(self) -> None:
        """Close the connection."""
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
                replies = self.model.handle(response)
                self.on_response(response)
                await self.send(*replies)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return  # final_code() has the server's status
