"""GRPCRoute as Envoy's routes: those of the equivalent HTTPRoute, for gRPC calls only.

Longest service first, then longest method, then most metadata (GRPCRouteRule.matches of Gateway API v1). The
routes match nothing but gRPC calls, so they may come before everything that HTTPRoutes match by path.
"""

from __future__ import annotations

from typing import ClassVar

from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies.grpcroute.matches import GRPCRouteMatch
from meshwright.control_plane.policies.grpcroute.spec import GRPCRouteRule, GRPCRouteSpec
from meshwright.control_plane.policies.hooks import Hooks, Symptom
from meshwright.control_plane.policies.httproute import envoy as httproute
from meshwright.control_plane.policies.httproute.envoy import (
    ResolvedBackend,
    ResolvedMirror,
    ResolvedRule,
)
from meshwright.control_plane.policies.httproute.matches import Rank

NO_BACKEND_STATUS = 503
"""gRPC libraries turn HTTP 503 into UNAVAILABLE."""


class GRPCRouteHooks(Hooks[GRPCRouteSpec]):
    """Routing itself is `routes`; no hook changes what other kinds made."""

    explains: ClassVar[tuple[Symptom, ...]] = (Symptom("NR"), Symptom("NC"))


def routes(
    ref: str,
    rule: GRPCRouteRule,
    backends: tuple[ResolvedBackend, ...],
    mirrors: tuple[ResolvedMirror, ...],
) -> list[tuple[Rank, v3.Route]]:
    """The routes for each match of the rule, with its rank. `ref` is `GRPCRoute/name`."""
    resolved = ResolvedRule(ref, rule.to_http(), backends, mirrors)
    result = []
    for match, http_match in zip(rule.matches, resolved.rule.matches, strict=True):
        for route in httproute.routes_of_match(resolved, http_match, NO_BACKEND_STATUS):
            route.match.grpc.SetInParent()
            result.append((_rank(match), route))
    return result


def _rank(match: GRPCRouteMatch) -> Rank:
    service, method = (match.method.service, match.method.method) if match.method else ("", "")
    return (0, -len(service), -len(method), -len(match.headers), 0)
