"""CORS as Envoy's CORS filter, which the CORS filter of HTTPRoute already puts into the chain."""

from __future__ import annotations

from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies.cors.spec import CORSSpec
from meshwright.control_plane.policies.hooks import Hooks
from meshwright.control_plane.policies.httproute import envoy_cors


class CORSHooks(Hooks[CORSSpec]):
    """The configuration of the filter at callers and gateways."""

    def patch_route(self, route: v3.Route) -> list[v3.Route]:
        """Configure the filter for this route, unless a CORS filter of its rule has done so."""
        if envoy_cors.NAME not in route.typed_per_filter_config:
            route.typed_per_filter_config[envoy_cors.NAME].CopyFrom(codec.pack(envoy_cors.policy(self.spec)))
        return [route]
