"""The virtual host and the routes that take a request, as Envoy chooses them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from meshwright.control_plane.api.resource_metadata import METADATA_KEY
from meshwright.control_plane.core.hostnames import most_specific
from meshwright.control_plane.core.outbound import ROUTES
from meshwright.control_plane.core.resource import VHDS
from meshwright.control_plane.core.route_match import RoutedRequest, mismatch
from meshwright.control_plane.core.snapshot import NodeSnapshot
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.explain.resources import message

_ROUTE_KINDS = ("HTTPRoute", "GRPCRoute")

MAX_REASONS, MAX_DOCUMENTS = 3, 20
"""Why routes do not take a request is said of so many documents, with so many reasons each."""


@dataclass(frozen=True, slots=True)
class ChosenHost:
    """A virtual host, and the policies that the resource names which holds it."""

    host: v3.VirtualHost
    policies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ChosenRoute:
    """A route that takes this share of such requests, and why those before it do not."""

    position: int
    share: float
    route: v3.Route
    passed: tuple[str, ...]


def host_of(
    node: NodeSnapshot, config: v3.RouteConfiguration, policies: tuple[str, ...], authority: str
) -> ChosenHost | None:
    """The virtual host for a Host header: one that is known, else one that is fetched for it, else `*`."""
    name = authority.lower()
    if config.ignore_port_in_host_matching:
        name = name.rpartition(":")[0] or name
    by_domain = {
        ("" if domain == "*" else domain.lower()): host
        for host in config.virtual_hosts
        for domain in host.domains
    }
    domain = most_specific(by_domain, name)
    if not domain and config.HasField("vhds"):
        alias = f"{ROUTES}/{name}"
        resource = node.get(VHDS, alias) or node.refused_host(alias)
        if resource is not None:
            return ChosenHost(message(resource), resource.policies)
    return None if domain is None else ChosenHost(by_domain[domain], policies)


def routes_of(host: v3.VirtualHost, request: RoutedRequest) -> Iterator[ChosenRoute]:
    """The routes that take the request: one, or several with a share each.

    Envoy compares the same random number with the fraction of every route.
    """
    passed: list[tuple[str, str]] = []
    taken = 0.0
    for position, route in enumerate(host.routes):
        if reason := mismatch(route.match, request):
            if _is_of_a_rule(route):
                passed.append((name_of(route), reason))
            continue
        limit = _fraction(route.match)
        if limit > taken:
            yield ChosenRoute(position, limit - taken, route, listed(passed))
            taken = limit
        if taken >= 1:
            return


def mismatches(host: v3.VirtualHost, request: RoutedRequest) -> list[tuple[str, str]]:
    """The rules of documents (`Kind/name`), of which none takes the request, with the reasons."""
    routes = (route for route in host.routes if _is_of_a_rule(route))
    return [(name_of(route), mismatch(route.match, request)) for route in routes]


def listed(reasons: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Reasons as lines, by document. Where it has too many, those come first that are not about the path.

    A rule has a route for each of its paths, hosts and conditions, so the same reason may come again.
    """
    documents: dict[str, dict[str, None]] = {}
    for name, reason in reasons:
        documents.setdefault(name, {})[reason] = None
    lines: list[str] = []
    for name, each in islice(documents.items(), MAX_DOCUMENTS):
        more = len(each) - MAX_REASONS
        nearest = sorted(each, key=lambda reason: reason.startswith("path ")) if more > 0 else each
        lines += [f"{name}: {reason}" for reason in islice(nearest, MAX_REASONS)]
        lines += [f"{name}: and {more} more reasons"] if more > 0 else []
    more = len(documents) - MAX_DOCUMENTS
    return (*lines, f"and {more} more documents") if more > 0 else tuple(lines)


def _is_of_a_rule(route: v3.Route) -> bool:
    """Whether a route is a rule of a document. The mesh's own routes have names."""
    return bool(name_of(route)) and not route.name


def name_of(route: v3.Route) -> str:
    """`Kind/name` of the document that a route is of; empty for others."""
    return next((ref for ref in policies_of(route) if _is_route(ref)), "")


def _is_route(ref: str) -> bool:
    return ref.partition("/")[0] in _ROUTE_KINDS


def policies_of(route: v3.Route) -> tuple[str, ...]:
    """`Kind/name` of the policies that shaped a route, as it names them itself."""
    of_mesh = route.metadata.filter_metadata.get(METADATA_KEY)
    listed = of_mesh.fields.get("policies") if of_mesh is not None else None
    return tuple(item.string_value for item in listed.list_value.values) if listed is not None else ()


def _fraction(match: v3.RouteMatch) -> float:
    if not match.HasField("runtime_fraction"):
        return 1.0
    value = match.runtime_fraction.default_value
    denominators = {v3.FractionalPercent.HUNDRED: 100, v3.FractionalPercent.TEN_THOUSAND: 10_000}
    return value.numerator / denominators.get(value.denominator, 1_000_000)
