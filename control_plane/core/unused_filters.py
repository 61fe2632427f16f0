"""Disables filters of kinds for virtual hosts whose routes do not use them: an inert filter costs CPU too.

An inert filter of the caller's proxy needs 1 to 2 % of the CPU of a request (bench.overhead). It cannot be
disabled by its listener, as shared filters are: Envoy chooses the filters of the first request to a host
before discovery has found the host's routes. So that request has all filters, and those without configuration
do nothing; later ones have only what their host uses. A policy change is still a change of routes only.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies import hook_registry
from meshwright.control_plane.policies.hooks import ListenerDirection


def disable(host: v3.VirtualHost, direction: ListenerDirection) -> None:
    """Disable the filters of kinds that neither the virtual host nor one of its routes configures."""
    used = set(_configured(host))
    for _, name, _ in hook_registry.http_filters(direction):
        if name not in used:
            host.typed_per_filter_config[name].CopyFrom(_disabled())


def _configured(host: v3.VirtualHost) -> Iterator[str]:
    yield from host.typed_per_filter_config
    for route in host.routes:
        yield from route.typed_per_filter_config
        for backend in route.route.weighted_clusters.clusters:
            yield from backend.typed_per_filter_config


@lru_cache(maxsize=1)
def _disabled() -> v3.Any:
    return codec.pack(v3.RouteFilterConfig(disabled=True))
