"""Rules of routes that no request reaches, because others match first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from meshwright.control_plane.api.models.lint import LintFinding
from meshwright.control_plane.core.routes import ranked_routes
from meshwright.control_plane.core.translate import Translation
from meshwright.control_plane.core.views import HostView, RuleView
from meshwright.control_plane.envoy import v3

_Rule = tuple[str, int]
# A rule: `Kind/name` of its route, and its position there.


def shadowed_rules(translation: Translation) -> Iterator[LintFinding]:
    """Every rule none of whose matches, at none of its parents and hosts, is the first for any request."""
    names: dict[_Rule, str] = {}
    takers: defaultdict[_Rule, dict[str, None]] = defaultdict(dict)
    reached: set[_Rule] = set()
    for host in _hosts(translation):
        for rule, taker in _takers(host):
            key = rule.route, rule.age[2]
            names[key] = rule.rule.name or str(rule.age[2] + 1)
            if taker is None:
                reached.add(key)
            else:
                takers[key][f"rule {taker.rule.name or taker.age[2] + 1} of {taker.route}"] = None
    for key in sorted(takers.keys() - reached):
        first, *_ = takers[key]
        yield LintFinding(
            rule="shadowed-rule",
            severity="warning",
            policies=tuple(dict.fromkeys((key[0], *(taker.rpartition(" ")[2] for taker in takers[key])))),
            message=f"no request reaches rule {names[key]} of {key[0]}: {first} matches first: "
            "make it more specific, or remove it",
        )


def _hosts(translation: Translation) -> Iterator[HostView]:
    resolver, services = translation.resolver, translation.world.services
    for name in services:
        if len(resolver.edge_points(name)) > 1:
            yield from resolver.destination(services, name).hosts
    for gateway in translation.views.gateways.values():
        for listener in gateway.listeners:
            yield from listener.all_hosts


def _takers(host: HostView) -> Iterator[tuple[RuleView, RuleView | None]]:
    """The rule of each route of a host, with the other rule that takes all its requests, if there is one."""
    earlier: defaultdict[tuple[bytes, ...], list[RuleView]] = defaultdict(list)
    for rule, route in ranked_routes(host):
        if not rule.route:
            continue
        key = _conditions(route.match)
        others = [other for other in earlier[key] if (other.route, other.age[2]) != (rule.route, rule.age[2])]
        yield rule, next((other for other in others if _serves_ports_of(other, rule)), None)
        if not route.match.HasField("runtime_fraction"):
            earlier[key].append(rule)


def _conditions(match: v3.RouteMatch) -> tuple[bytes, ...]:
    """What a match asks for: two with the same conditions are for the same requests.

    Routes come the most specific first, so one with other conditions takes all requests of a later one only
    if regular expressions say the same in other words.
    """
    rest = v3.RouteMatch.FromString(match.SerializeToString())
    for name in ("headers", "query_parameters", "runtime_fraction"):
        rest.ClearField(name)
    conditions = (*match.headers, *match.query_parameters)
    return (
        rest.SerializeToString(deterministic=True),
        *sorted(condition.SerializeToString(deterministic=True) for condition in conditions),
    )


def _serves_ports_of(other: RuleView, rule: RuleView) -> bool:
    """Whether a rule is for all the ports of another."""
    return not other.only_ports or (bool(rule.only_ports) and set(rule.only_ports) <= set(other.only_ports))
