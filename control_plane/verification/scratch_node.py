"""What the scratch Envoy gets in place of a proxy: its resources, bound to no port, without peers. Pure."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache

from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.core import connect_tunnel, tcp
from meshwright.control_plane.core.patches import patches_of
from meshwright.control_plane.core.resource import CDS, EDS, LDS, VHDS, Resource, encode
from meshwright.control_plane.core.snapshot import Bindings, NodeSnapshot, ResourceKey, Snapshot
from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.xds.protocol.response import empty_endpoints

UNBOUND = b"\xd2\x01\x00"
"""`bind_to_port: false` at the end of an encoded Listener (envoy.config.listener.v3), field 26."""

NOWHERE = "nowhere.invalid"
"""A host that does not exist (RFC 6761 section 6.4), for clusters that must have exactly one."""


CODE = (b".lua.", b".wasm.", b".golang.", b".dynamic_modules.")
"""Parts of the type URLs of extensions that run what they are given as soon as they are configured."""

LOCAL_SOCKETS = (b"unix:", b"unix-abstract:")
"""How gRPC names the sockets of a host, which may be those of its privileged services."""


class ScratchNode(NodeSnapshot):
    """The resources of the proxies of `identity`, for an Envoy that takes no connection and makes none.

    Patches may be anybody's who only asks for a diff: what they make is withheld where it holds code or names
    a socket of the host, and all of it from an Envoy that is not confined (confinement.py).
    """

    def __init__(
        self, snapshot: Snapshot, identity: Identity, bindings: Bindings, is_confined: bool = True
    ) -> None:
        super().__init__(snapshot, identity, bindings)
        self._is_confined = is_confined
        # Nobody asks for a port that a service does not have. A node can be pickled, a view of keys cannot.
        self._services = ()

    def get(self, type_url: str, name: str) -> Resource | None:
        """A resource as the scratch Envoy gets it. Endpoints are never among them."""
        if type_url == EDS:
            return empty_endpoints(name) if super().get(CDS, name) else None
        resource = super().get(type_url, name)
        if resource is None or self.withholds(resource):
            return None
        return _detached(resource) if type_url in (CDS, LDS) else resource

    def withholds(self, resource: Resource) -> bool:
        """Whether the scratch Envoy must not get a resource of this node."""
        if not patches_of(resource):
            return False
        return not self._is_confined or any(part in resource.wire for part in (*CODE, *LOCAL_SOCKETS))

    def withheld(self, type_url: str, name: str, previous: ScratchNode) -> bool:
        """Whether a resource is new, or differs from that of `previous`, and is withheld."""
        resource = super().get(type_url, name)
        if resource is None or not self.withholds(resource):
            return False
        return resource != super(ScratchNode, previous).get(type_url, name)

    def narrowed(self, keys: Iterable[ResourceKey]) -> ScratchNode:
        """The node with its base, some resources, and the clusters that any of these require.

        A node refers to everything that is shared in the mesh; this one may travel and stay alone.
        """
        visible = {(url, self._aliases.get(name, name) if url == VHDS else name) for url, name in keys}
        present = (
            *self._routes.values(),
            *(each for table in self._base.values() for each in table.values()),
        )
        pending = [name for resource in present for name in resource.required_clusters]
        pending += [name for key in visible for name in self._required_clusters(key)]
        while pending:
            key = (CDS, pending.pop())
            if key not in visible:
                visible.add(key)
                pending += self._required_clusters(key)
        node = copy.copy(self)
        node._shared, node._variant = (
            {key: table[key] for key in visible if key in table} for table in (self._shared, self._variant)
        )
        node._endpoint_overrides = ()  # endpoints are never shown
        node._aliases = {alias: host for alias, host in self._aliases.items() if (VHDS, host) in visible}
        return node

    def _required_clusters(self, key: ResourceKey) -> tuple[str, ...]:
        resource = super().get(*key)
        return resource.required_clusters if resource else ()

    def base(self, type_url: str) -> Mapping[str, Resource]:
        """What a wildcard subscription gets."""
        resources = super().base(type_url)
        if type_url not in (CDS, LDS):
            return resources
        return {
            name: _detached(resource) for name, resource in resources.items() if not self.withholds(resource)
        }


def scratch_node(
    snapshot: Snapshot, identity: Identity, listeners: Iterable[ResourceKey] = (), is_confined: bool = True
) -> ScratchNode:
    """The node of `identity`, with everything that a proxy may have switched on.

    Listeners for TCP upstreams among `listeners` are part of it, as if its application named them.
    """
    return ScratchNode(snapshot, identity, bindings(snapshot, identity, listeners), is_confined)


def bindings(snapshot: Snapshot, identity: Identity, listeners: Iterable[ResourceKey] = ()) -> Bindings:
    """Ports that nobody binds, each for one listener."""
    everything = Bindings(tracing=True, request_log=True, span_log=True)
    if identity.role == "gateway":
        view = snapshot.gateways.get(identity.name)
        names = dict.fromkeys(listener.name for listener in view.listeners) if view else {}
        return replace(everything, gateway=tuple((name, port) for port, name in enumerate(names, 1)))
    named = {name for type_url, name in listeners if type_url == LDS}
    upstreams = tuple(
        (name, "127.0.0.1", port)
        for port, name in enumerate(sorted(snapshot.upstreams), 3)
        if tcp.listener_name(name) in named
    )
    return replace(everything, outbound=1, inbound=2, upstreams=upstreams)


@lru_cache(maxsize=1024)
def _detached(resource: Resource) -> Resource:
    """A listener that is not bound, or a cluster without endpoints of its own; in the same version."""
    envelope = v3.DeltaDiscoveryResponse.FromString(resource.wire).resources[0]
    body = envelope.resource.value
    if resource.type_url == LDS:
        if resource.name == connect_tunnel.LISTENER:
            return resource
        body += UNBOUND
    else:
        cluster = v3.Cluster.FromString(body)
        _without_endpoints(cluster)
        body = codec.encode(cluster)
    return encode(
        resource.type_url,
        resource.name,
        body,
        required_clusters=resource.required_clusters,
        policies=resource.policies,
        version=resource.version,
    )


def _without_endpoints(cluster: v3.Cluster) -> None:
    if cluster.type == v3.Cluster.LOGICAL_DNS:
        for locality in cluster.load_assignment.endpoints:
            for endpoint in locality.lb_endpoints:
                endpoint.endpoint.address.socket_address.address = NOWHERE
    elif cluster.HasField("load_assignment"):
        cluster.load_assignment.ClearField("endpoints")
