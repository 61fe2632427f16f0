"""Names of Envoy clusters: those of services, and those in every sidecar's bootstrap.

A service's cluster is `orders`; `orders:grpc` is its named port, `orders/v2` its Subset, `orders:grpc/v2`
both. Clusters of the bootstrap begin with `/`, which no service name contains, so that a service called
`admin` cannot collide with Envoy's admin interface. Those of an ExternalService do too: `/external/cards`,
`/external/cards:443`. Through the gateway egress they are reached by `egress/external/cards` and
`egress:443/external/cards`.
"""

from __future__ import annotations

from typing import NamedTuple

from meshwright.control_plane.api.spiffe import NAME_PATTERN

XDS = "/xds"
"""The control plane's xDS endpoint."""

ADMIN = "/admin"
"""Envoy's own admin interface; the `ready` listener exposes two of its paths."""

AGENT = "/agent"
"""The sidecar's agent; the `ready` listener exposes its metrics."""

TELEMETRY = "/telemetry"
"""The control plane's OTLP endpoint."""

COLLECTOR = "/otlp"
"""Where spans go: the control plane, or a collector from the settings."""

EXTERNAL = "/external"
"""All hosts outside the mesh that no ExternalService declares, in a sidecar that may call them."""

EXTERNAL_NODE = "external"
"""What the topology calls them. The node of an ExternalService is `external/cards`."""

_APP = "/app/"


NODE_PATTERN = rf"({EXTERNAL_NODE}/)?{NAME_PATTERN}"
"""The name of a node that is called: a service, an ExternalService, or all other hosts outside."""

TCP_PORT = "tcp-"
"""How the port of an ExternalService's cluster begins, if it carries connections instead of requests."""

TLS_PORT = "tls-"
"""The same where the callers themselves open TLS, and a gateway passes their connections on."""


class ClusterName(NamedTuple):
    """The parts of a service cluster's name; `service` is empty for a cluster of the bootstrap.

    For a cluster of an ExternalService, `service` is its node in the topology.
    """

    service: str
    port: str = ""
    subset: str = ""


def parse_cluster_name(name: str) -> ClusterName:
    """The parts of a cluster's name."""
    if name.startswith(f"{EXTERNAL}/"):
        node, _, port = name.removeprefix("/").partition(":")
        return ClusterName(node, port)
    if name.startswith("/"):
        return ClusterName("")
    destination, _, subset = name.partition("/")
    service, _, port = destination.partition(":")
    return ClusterName(service, port, subset)


def external_cluster(name: str, port: str = "") -> str:
    """The cluster of a port of an ExternalService; without a port that of the one that bare names mean."""
    return f"{EXTERNAL}/{name}:{port}" if port else f"{EXTERNAL}/{name}"


def egress_cluster(gateway: str, cluster: str) -> str:
    """By which callers reach `cluster`, that of a port of an ExternalService, through a gateway."""
    node, _, port = cluster.removeprefix("/").partition(":")
    return f"{gateway}:{port}/{node}" if port else f"{gateway}/{node}"


def beyond(gateway: str, cluster: str) -> str:
    """What a cluster is at `gateway` itself: one that leads outside through it leads outside."""
    name = parse_cluster_name(cluster)
    if name.service != gateway or not is_external_node(name.subset):
        return cluster
    return f"/{name.subset}:{name.port}" if name.port else f"/{name.subset}"


def carries_connections(name: ClusterName) -> bool:
    """Whether a cluster that leads outside has connections instead of requests."""
    return name.port.startswith((TCP_PORT, TLS_PORT))


def external_node(name: str) -> str:
    """What the topology calls an ExternalService: it may have the name of a service."""
    return f"{EXTERNAL_NODE}/{name}"


def displayed(cluster: str) -> str:
    """A cluster's name as people see it: that of a host outside the mesh begins like its node."""
    return cluster.removeprefix("/") if cluster.startswith(EXTERNAL) else cluster


def is_external_node(node: str) -> bool:
    """Whether a node of the topology is outside the mesh."""
    return node == EXTERNAL_NODE or node.startswith(f"{EXTERNAL_NODE}/")


def app_cluster(port: str) -> str:
    """`/app/http`: the app beside the sidecar, at its port `http`."""
    return _APP + port


def app_port(cluster: str) -> str:
    """`http` of `/app/http`; empty for another cluster."""
    return cluster.removeprefix(_APP) if is_app_cluster(cluster) else ""


def is_app_cluster(name: str) -> bool:
    """Whether a cluster is the app beside the sidecar."""
    return name.startswith(_APP)
