"""Filters that routes bring along, whole: a place in the chain, disabled until a route fills it.

Many of Envoy's filters can be configured by a route only in part, and a changed listener drains its
connections. The filter `filter_chain` runs the filters of the route's own configuration, so a policy changes
as a route does.
"""

from __future__ import annotations

from google.protobuf.message import Message

from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies.hooks import FilterEntry, FilterPhase


def place(phase: FilterPhase, name: str) -> FilterEntry:
    """The entry of a kind's `route_filters` where routes put theirs."""
    return phase, name, v3.FilterChainConfig()


def add(route: v3.Route, place_name: str, name: str, config: Message) -> None:
    """Run one more filter for the requests of this route, after those that the place has already."""
    chain = v3.FilterChainConfigPerRoute()
    if place_name in route.typed_per_filter_config:
        route.typed_per_filter_config[place_name].Unpack(chain)
    chain.filter_chain.filters.add(name=name, typed_config=codec.pack(config))
    route.typed_per_filter_config[place_name].CopyFrom(codec.pack(chain))
