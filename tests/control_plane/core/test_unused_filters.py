"""Filters of kinds are disabled for virtual hosts that do not use them, and for no other."""

from __future__ import annotations

import pytest

from meshwright.control_plane.core import unused_filters
from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies import hook_registry
from meshwright.control_plane.policies.hooks import ListenerDirection

FAULT = "envoy.filters.http.fault"
FAULT_CONFIG = codec.pack(v3.HTTPFault())


def enabled(host: v3.VirtualHost, direction: ListenerDirection) -> set[str]:
    """The filters of kinds that the host leaves on."""
    unused_filters.disable(host, direction)
    names = {name for _, name, _ in hook_registry.http_filters(direction)}
    disabled = {
        name
        for name, config in host.typed_per_filter_config.items()
        if config.type_url.endswith("route.v3.FilterConfig")
        and v3.RouteFilterConfig.FromString(config.value).disabled
    }
    assert disabled <= names, "filters of the core stay as they are"
    return names - disabled


@pytest.mark.parametrize("direction", ["inbound", "outbound", "ingress"])
def test_a_host_without_policies_has_every_filter_disabled(direction: ListenerDirection) -> None:
    assert enabled(v3.VirtualHost(routes=[v3.Route()]), direction) == set()


def test_a_filter_stays_where_the_host_a_route_or_a_backend_configures_it() -> None:
    host = v3.VirtualHost(typed_per_filter_config={FAULT: FAULT_CONFIG})
    route = v3.VirtualHost(routes=[v3.Route(), v3.Route(typed_per_filter_config={FAULT: FAULT_CONFIG})])
    backend = v3.VirtualHost(routes=[v3.Route()])
    backend.routes[0].route.weighted_clusters.clusters.add().typed_per_filter_config[FAULT].CopyFrom(
        FAULT_CONFIG
    )
    for configured in (host, route, backend):
        assert enabled(configured, "outbound") == {FAULT}
