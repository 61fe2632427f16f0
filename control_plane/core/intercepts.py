"""Routes that lead some of a service's requests to instances that intercept them. Pure.

An intercept is labels of an instance, so it ends with the instance's lease, however the process ended. Its
instances get no other requests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from meshwright.control_plane.core.views import RuleView, default_port
from meshwright.control_plane.core.world import Intercept, Service
from meshwright.control_plane.policies.httproute.envoy import ResolvedBackend
from meshwright.control_plane.policies.httproute.matches import HTTPHeaderMatch

HUNDRED = 100


def intercept_cluster(cluster: str, intercept: Intercept) -> str:
    """The cluster of an intercept beside a cluster of the service: `orders:grpc/intercept-1a2b3c`."""
    return f"{cluster.partition('/')[0]}/intercept-{intercept.id}"


def intercepted(services: Mapping[str, Service], rule: RuleView) -> Iterator[RuleView]:
    """The rules in place of one: one for each header whose requests are intercepted, and the rule itself."""
    intercepts = {
        intercept: None for backend in rule.backends for intercept in _intercepts(services, backend)
    }
    for intercept in intercepts:
        if intercept.header:
            match = HTTPHeaderMatch(name=intercept.header, value=intercept.value)
            matches = tuple(
                each.model_copy(update={"headers": (*each.headers, match)}) for each in rule.rule.matches
            )
            yield replace(
                rule,
                rule=rule.rule.model_copy(update={"matches": matches}),
                backends=tuple(_redirected(services, backend, intercept) for backend in rule.backends),
            )
    if any(intercept.percent for intercept in intercepts):
        backends = tuple(part for backend in rule.backends for part in _shared(services, backend))
        rule = replace(rule, backends=backends)
    yield rule


def _intercepts(services: Mapping[str, Service], backend: ResolvedBackend) -> tuple[Intercept, ...]:
    name, _, port = backend.cluster.partition("/")[0].partition(":")
    service = services.get(name)
    default = default_port(service.ports) if service else None
    if service is None or default is None:
        return ()
    return dict(service.intercepts_in_force).get(port or default.name, ())


def _redirected(
    services: Mapping[str, Service], backend: ResolvedBackend, intercept: Intercept
) -> ResolvedBackend:
    if intercept not in _intercepts(services, backend):
        return backend
    return replace(backend, cluster=intercept_cluster(backend.cluster, intercept))


def _shared(services: Mapping[str, Service], backend: ResolvedBackend) -> Iterator[ResolvedBackend]:
    """A backend and the intercepts that take percentages of its requests, together 100 times its weight."""
    left, weight = HUNDRED, backend.ref.weight
    for intercept in _intercepts(services, backend):
        percent = min(intercept.percent, left)
        left -= percent
        if percent:
            ref = backend.ref.model_copy(update={"weight": weight * percent})
            yield replace(backend, ref=ref, cluster=intercept_cluster(backend.cluster, intercept))
    yield replace(backend, ref=backend.ref.model_copy(update={"weight": weight * left}))
