"""One Envoy resource, encoded once, versioned by its bytes.

`Resource.wire` is ready to be joined into a response: nothing is encoded per sidecar. A version is the hash
of the bytes, so replicas, restarts and reconnects agree on it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from google.protobuf.message import Message

from meshwright.control_plane.envoy import codec, v3

CDS = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
EDS = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
LDS = "type.googleapis.com/envoy.config.listener.v3.Listener"
ECDS = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"
RDS = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
VHDS = "type.googleapis.com/envoy.config.route.v3.VirtualHost"

PUSH_ORDER = (CDS, EDS, ECDS, LDS, RDS, VHDS)
"""Make before break: a resource precedes those that refer to it (xDS protocol, "eventual consistency")."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One encoded resource.

    `wire` is one entry of the `resources` field of a DeltaDiscoveryResponse: tag, length, Resource message.
    `required_clusters` must be pushed before this resource. `policies` are the refs that shaped it.
    """

    type_url: str
    name: str
    version: str
    wire: bytes
    aliases: tuple[str, ...] = ()
    required_clusters: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()


def ads_source() -> v3.ConfigSource:
    """The aggregated stream by which the resource itself arrived."""
    return v3.ConfigSource(ads=v3.AggregatedConfigSource(), resource_api_version=v3.ApiVersion.V3)


def varint(number: int) -> bytes:
    """A protobuf base-128 varint."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def length_delimited(field: int, payload: bytes) -> bytes:
    """A protobuf field of wire type 2: tag, length, payload."""
    return varint(field << 3 | 2) + varint(len(payload)) + payload


def encode(
    type_url: str,
    name: str,
    message: Message | bytes,
    *,
    aliases: tuple[str, ...] = (),
    required_clusters: tuple[str, ...] = (),
    policies: tuple[str, ...] = (),
    versioned: bool = True,
    version: str = "",
) -> Resource:
    """Encode one resource; `message` may be encoded already. Unless `versioned`, it is never remembered.

    `version`: in place of the hash of the bytes.
    """
    body = message if isinstance(message, bytes) else codec.encode(message)
    digest = hashlib.sha256(body)
    digest.update("\0".join(aliases).encode())
    version = version or (digest.hexdigest()[:16] if versioned else "")
    envelope = v3.Resource(
        name=name, version=version, aliases=aliases, resource=v3.Any(type_url=type_url, value=body)
    )
    return Resource(
        type_url,
        name,
        version,
        length_delimited(2, codec.encode(envelope)),
        aliases,
        required_clusters,
        policies,
    )
