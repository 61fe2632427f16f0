"""The calls that were seen between members of the mesh, for `mesh authz suggest`. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from meshwright.control_plane.api.cluster_names import parse_cluster_name
from meshwright.control_plane.api.models.authorization import (
    ObservedCall,
    ObservedCalls,
    ObservedOperation,
)
from meshwright.control_plane.api.models.base import Protocol
from meshwright.control_plane.core.translate import Translation
from meshwright.control_plane.core.views import default_port
from meshwright.control_plane.core.world import Service
from meshwright.control_plane.telemetry.requests.call_memory import SeenCalls
from meshwright.control_plane.telemetry.topology.edges import destination_of

_Edge = tuple[str, str, bool]
"""Caller, service, and whether these are TCP connections."""


def observed_calls(translation: Translation | None, seen: SeenCalls) -> ObservedCalls:
    """The calls by caller and service, without those that rules refused."""
    if translation is None:
        return ObservedCalls(seconds=seen.seconds)
    world = translation.world
    gateways = {*world.gateways, *translation.resolver.gateways()}
    totals: defaultdict[_Edge, float] = defaultdict(float)
    ports: defaultdict[_Edge, set[str]] = defaultdict(set)
    for (caller, cluster), counts in seen.edges.items():
        destination = destination_of(cluster, world.services)
        is_member = caller in world.services or caller in gateways
        if destination is None or destination[0] not in world.services or not is_member:
            continue
        service, is_tcp = destination[0], _is_tcp(destination[1])
        if count := counts[is_tcp]:
            totals[caller, service, is_tcp] += count
            ports[caller, service, is_tcp].add(_port(world.services[service], cluster))
    calls = [
        ObservedCall(
            caller=caller,
            role="gateway" if caller in gateways else "service",
            service=service,
            protocol="tcp" if is_tcp else "http",
            ports=tuple(sorted(ports[edge])) if len(world.services[service].ports) > 1 else (),
            requests=round(count, 1),
            operations=() if is_tcp else _operations(seen, caller, service),
        )
        for edge, count in sorted(_without_refused(totals, seen).items())
        for caller, service, is_tcp in (edge,)
    ]
    return ObservedCalls(seconds=seen.seconds, calls=tuple(calls))


def _without_refused(totals: Mapping[_Edge, float], seen: SeenCalls) -> dict[_Edge, float]:
    remaining = {}
    for (caller, service, is_tcp), count in totals.items():
        refused = seen.refused.get((caller, service), (0.0, 0.0))[is_tcp]
        if count > refused:
            remaining[caller, service, is_tcp] = count - refused
    return remaining


def _operations(seen: SeenCalls, caller: str, service: str) -> tuple[ObservedOperation, ...]:
    counts = seen.operations.get((caller, service), {})
    return tuple(
        ObservedOperation(method=method, path=path, grpc=grpc, requests=count)
        for (method, path, grpc), count in sorted(counts.items())
    )


def _port(service: Service, cluster: str) -> str:
    default = default_port(service.ports)
    return parse_cluster_name(cluster).port or (default.name if default else "")


def _is_tcp(protocol: Protocol) -> bool:
    return protocol == "tcp"
