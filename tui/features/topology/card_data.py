"""What node cards show besides the topology: recent rates, injected faults, weights of versions. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from meshwright.control_plane.api.models.rollouts import RolloutStatus
from meshwright.control_plane.api.models.topology import ServiceTrend
from meshwright.tui.graph.cards import CardData
from meshwright.tui.mesh_state import DashboardState

ROUTE_KINDS = ("HTTPRoute", "GRPCRoute", "TCPRoute")

DEFAULT_WEIGHT = 1
"""The weight of a backendRef without one, as in the Gateway API."""

Document = Mapping[str, Any]


def card_data(state: DashboardState, groups: Mapping[str, Sequence[str]]) -> CardData:
    """The data of all cards. Of a past moment the policies' contents are unknown, and not shown.

    `groups`: the services of each node that stands for several.
    """
    services = state.services.services if state.services else ()
    trends = {service.name: service.history for service in services}
    for group, members in groups.items():
        trends[group] = total_trend([trends[name] for name in members if name in trends])
    if state.past or not state.policies:
        return CardData(trends)
    documents = state.policies.documents
    faulty = faulty_services(documents)
    faulty |= {group for group, members in groups.items() if not faulty.isdisjoint(members)}
    return CardData(trends, faulty, split_weights(documents, state.rollouts or ()))


def total_trend(trends: Sequence[ServiceTrend]) -> ServiceTrend:
    """The requests of several services together; their newest steps are the same."""
    longest = max((len(trend.rps) for trend in trends), default=0)
    padded = [(0.0,) * (longest - len(trend.rps)) + trend.rps for trend in trends]
    step = trends[0].step if trends else 1.0
    return ServiceTrend(step=step, rps=tuple(map(sum, zip(*padded, strict=True))))


def faulty_services(documents: Iterable[Document]) -> frozenset[str]:
    """Services whose calls, or those of one of their routes, get injected faults."""
    documents = tuple(documents)
    routes = {(route["kind"], route["metadata"]["name"]): _parents(route) for route in _routes(documents)}
    faulty: set[str] = set()
    for document in documents:
        if document["kind"] != "FaultInjection":
            continue
        for target in document["spec"].get("targetRefs") or ():
            kind, name = target.get("kind"), target.get("name")
            faulty.update([name] if kind == "Service" else routes.get((kind, name), ()))
    return frozenset(faulty)


def split_weights(documents: Iterable[Document], rollouts: Iterable[RolloutStatus]) -> dict[str, str]:
    """The weights, such as `90:10`, of the first rule that splits a service's calls.

    A rollout decides those of its route.
    """
    canary = {rollout.route: rollout.weight for rollout in rollouts}
    weights: dict[str, str] = {}
    for route in _routes(documents):
        share = canary.get(f"{route['kind']}/{route['metadata']['name']}")
        text = f"{100 - share}:{share}" if share is not None else _first_split(route)
        if text:
            weights |= {name: text for name in _parents(route) if name not in weights}
    return weights


def _routes(documents: Iterable[Document]) -> Iterator[Document]:
    return (document for document in documents if document["kind"] in ROUTE_KINDS)


def _parents(route: Document) -> tuple[str, ...]:
    """The services whose calls a route decides."""
    return tuple(ref["name"] for ref in route["spec"].get("parentRefs") or () if ref.get("kind") == "Service")


def _first_split(route: Document) -> str:
    for rule in route["spec"].get("rules") or ():
        weights = [ref.get("weight", DEFAULT_WEIGHT) for ref in rule.get("backendRefs") or ()]
        if len(weights) > 1:
            return ":".join(str(weight) for weight in weights)
    return ""
