"""A probe of an explained request: what is asked of the called sidecars, and what they would answer. Pure."""

from __future__ import annotations

from typing import Literal

from meshwright.control_plane.api import cluster_names
from meshwright.control_plane.api.models.authorization import AccessQuery
from meshwright.control_plane.api.models.call_explanation import CallExplanation, ExplainedHop
from meshwright.control_plane.errors import InputError


def question(explanation: CallExplanation, query: AccessQuery) -> AccessQuery:
    """The request as the caller's proxy sends it, by the first route that leads to a service.

    Raises InputError if none does: then no sidecar can be asked.
    """
    hop = _called(explanation)
    route = explanation.hops[0].routes[hop.of_routes[0]]
    return query.model_copy(
        update={
            "caller": query.caller or query.gateway,
            "gateway": "",
            "service": hop.proxy,
            "port": cluster_names.parse_cluster_name(route.cluster).port,
            "method": route.method or query.method,
            "host": route.host,
            "path": route.path or query.path,
            "headers": route.headers,
        }
    )


def expected(explanation: CallExplanation) -> Literal["allowed", "denied"]:
    """What the sidecars of the called service would answer."""
    return "denied" if _called(explanation).routes[0].status else "allowed"


def _called(explanation: CallExplanation) -> ExplainedHop:
    for hop in explanation.hops:
        if hop.direction == "inbound":
            return hop
    raise InputError(f"there is no sidecar to ask: {explanation.summary}")
