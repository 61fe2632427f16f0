"""The Envoy messages in the resources of one proxy. Pure."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from google.protobuf.message import Message

from meshwright.control_plane.core.resource import ECDS, Resource
from meshwright.control_plane.core.snapshot import NodeSnapshot
from meshwright.control_plane.envoy import codec, v3


@lru_cache(maxsize=128)
def message(resource: Resource) -> Any:
    """The message that a proxy is sent; it must not be changed."""
    packed = v3.DeltaDiscoveryResponse.FromString(resource.wire).resources[0].resource
    return codec.decode(packed.type_url, packed.value)


def unpacked(packed: v3.Any) -> Message:
    """The message in an Any."""
    return codec.decode(packed.type_url, packed.value)


def message_of(node: NodeSnapshot, type_url: str, name: str) -> Any:
    """The message of this name, None if the proxy may not see it."""
    resource = node.get(type_url, name)
    return message(resource) if resource is not None else None


def extension(node: NodeSnapshot, name: str) -> Message | None:
    """The configuration of a filter that travels by itself."""
    config = message_of(node, ECDS, name)
    return unpacked(config.typed_config) if config is not None else None
