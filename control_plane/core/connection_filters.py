"""Network filters before the TCP proxies where connections arrive, each configured by a resource (ECDS).

A changed listener drains its connections. A changed resource is for new connections alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from meshwright.control_plane.core.attachment import EffectivePolicy, hooks_of, refs_of
from meshwright.control_plane.core.resource import ECDS, Resource, ads_source, encode
from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies.hook_registry import connection_filters


@dataclass(frozen=True, slots=True)
class ConnectionPoint:
    """Where connections arrive: a service's TCP port or a gateway's listener, by its `name`."""

    name: str
    gateway: bool = False
    policies: tuple[EffectivePolicy, ...] = ()


def filters(point: str) -> list[v3.Filter]:
    """The filters of a chain, before its TCP proxy."""
    chain = []
    for name, (_, inert) in connection_filters().items():
        source = v3.ExtensionConfigSource(config_source=ads_source(), type_urls=[codec.type_url(inert)])
        chain.append(v3.Filter(name=_resource_name(name, point), config_discovery=source))
    return chain


@lru_cache(maxsize=1024)
def resources(points: tuple[ConnectionPoint, ...]) -> tuple[Resource, ...]:
    """The configuration of every filter at these points."""
    return tuple(_resource(name, point) for point in points for name in connection_filters())


def _resource_name(name: str, point: str) -> str:
    return f"{name}/{point}"


def _resource(name: str, point: ConnectionPoint) -> Resource:
    kind, config = connection_filters()[name]
    members = [hooks for hooks in hooks_of(point.policies) if isinstance(hooks, kind)]
    for hooks in members:
        config = hooks.connection_filter(name, "" if point.gateway else point.name, gateway=point.gateway)
    resource = _resource_name(name, point.name)
    message = v3.TypedExtensionConfig(name=resource, typed_config=codec.pack(config))
    return encode(ECDS, resource, message, policies=refs_of(point.policies) if members else ())
