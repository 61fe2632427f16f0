"""Who may call what: a call checked against the Authorizations in force, and every pair of services. Pure.

What the sidecars of a service enforce is decided here by the same rules, without asking them
(policies/authorization/verdict.py, which tests compare with real Envoys).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace

from meshwright.control_plane.api.models.authorization import (
    AccessCheck,
    AccessMatrix,
    AccessPolicy,
    AccessQuery,
    ServiceAccess,
)
from meshwright.control_plane.api.models.instances import Port
from meshwright.control_plane.api.models.proxies import ProxyStatus
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.core.attachment import AttachmentPoint
from meshwright.control_plane.core.resolver import Resolver
from meshwright.control_plane.core.translate import Translation
from meshwright.control_plane.core.views import default_port
from meshwright.control_plane.core.world import Service
from meshwright.control_plane.errors import InputError, NotFoundError
from meshwright.control_plane.policies.authorization.in_force import NamedSpec
from meshwright.control_plane.policies.authorization.pairs import access, named_callers
from meshwright.control_plane.policies.authorization.verdict import AccessDecision, Call, decide
from meshwright.control_plane.policies.validation_messages import suggestion
from meshwright.control_plane.status import gateway_access
from meshwright.control_plane.telemetry.requests.attribution import PolicyAttribution

_MESSAGES = {
    "deny-rule": "a deny rule matches",
    "allow-rule": "an allow rule matches",
    "no-allow-rule": "no allow rule matches",
    "no-rule": "no rule refuses it",
    "ambiguous-path": "the path may be read in two ways, and a rule decides by path",
    "method-override": "a header overrides the method, and a rule decides by method",
}


def check(
    translation: Translation | None,
    query: AccessQuery,
    attribution: PolicyAttribution,
    sources: Mapping[str, str],
    proxies: Iterable[ProxyStatus],
) -> AccessCheck:
    """The verdict on a call. `sources`: `file:line` by `Kind/name`.

    Raises NotFoundError for an unknown service, gateway or caller, InputError for an unknown port.
    """
    translation = loaded(translation)
    if bool(query.service) == bool(query.gateway) or (query.gateway and query.caller):
        raise InputError(
            "name what is called: a service and its caller, or a gateway, whose routes say what follows"
        )
    verdict = _at_gateway(translation, query) if query.gateway else _at_service(translation, query)
    decision = verdict.decision
    states = states_of(*verdict.place, proxies)
    return AccessCheck(
        allowed=decision is not None and decision.allowed,
        place=verdict.place[0],
        route=verdict.route,
        services=verdict.services,
        message=_MESSAGES[decision.reason] if decision else verdict.refusal,
        rule=decision.rule if decision else "",
        policies=tuple(
            policy_of(ref, attribution, sources) for ref in (decision.policies if decision else ())
        ),
        audited=decision.audited if decision else (),
        sidecars=len(states),
        synced=states.count("synced"),
    )


@dataclass(frozen=True, slots=True)
class _Verdict:
    """The decision at a place (name and role), and how the call gets there; None: `refusal` says why."""

    place: tuple[str, str]
    decision: AccessDecision | None
    route: str = ""
    services: tuple[str, ...] = ()
    refusal: str = ""


def _at_service(translation: Translation, query: AccessQuery) -> _Verdict:
    service = service_of(translation, query.service)
    decision = decide(_policies(translation.resolver, query.service), _call(translation, service, query))
    return _Verdict((query.service, "service"), decision)


def _at_gateway(translation: Translation, query: AccessQuery) -> _Verdict:
    """By the rules of the gateway, then those of each service that its route leads to."""
    view = translation.views.gateways.get(query.gateway)
    if view is None:
        raise NotFoundError(f"{query.gateway}: the mesh has no such gateway")
    query = gateway_access.with_host(query, translation.resolver.listeners(query.gateway))
    reached = gateway_access.entry(view, query, _client_call(query))
    services = tuple(dict.fromkeys(item.service for item in reached.onward))
    place = (query.gateway, "gateway")
    verdict = _Verdict(place, reached.decision, reached.route, services, reached.refusal)
    if reached.decision is None or not reached.decision.allowed:
        return verdict
    for item in reached.onward:
        changes = {"caller": query.gateway, "gateway": "", **asdict(item)}
        inside = _at_service(translation, query.model_copy(update=changes))
        verdict = replace(verdict, place=inside.place, decision=inside.decision)
        if inside.decision is not None and not inside.decision.allowed:
            break
    return verdict


def _client_call(query: AccessQuery) -> Call:
    return Call(
        tokens=_tokens(query),
        address=query.address,
        method=query.method,
        host=query.host,
        path=query.path.partition("?")[0],
        port="",
        headers=query.headers,
    )


def matrix(translation: Translation | None) -> AccessMatrix:
    """Every service that has a port, with its callers."""
    if translation is None:
        return AccessMatrix()
    world, resolver = translation.world, translation.resolver
    gateways = sorted({*world.gateways, *resolver.gateways()})
    rows = []
    for name, service in sorted(world.services.items()):
        if not service.ports:
            continue
        policies = _policies(resolver, name)
        callers = {
            gateway: access(policies, Identity(world.trust_domain, "gateway", gateway))
            for gateway in gateways
        }
        for caller in sorted(named_callers(policies) & world.services.keys()):
            callers[caller] = access(policies, Identity(world.trust_domain, "service", caller))
        others = access(policies, Identity(world.trust_domain, "service"))
        refs = tuple(ref for ref, _ in policies)
        clients = {
            view.name: may
            for view in translation.views.gateways.values()
            if (may := gateway_access.clients_access(view, name, callers.get(view.name, others))) is not None
        }
        rows.append(
            ServiceAccess(service=name, callers=callers, others=others, clients=clients, policies=refs)
        )
    return AccessMatrix(callers=(*gateways, *sorted(world.services)), services=tuple(rows))


def _policies(resolver: Resolver, service: str) -> tuple[NamedSpec, ...]:
    """The Authorizations that the sidecars of a service enforce."""
    effective = resolver.attachments.effective_at(AttachmentPoint(service=service))
    return gateway_access.authorizations(effective)


def loaded(translation: Translation | None) -> Translation:
    """The translation; raises NotFoundError while there is none yet."""
    if translation is None:
        raise NotFoundError("the control plane has no configuration yet: try again")
    return translation


def service_of(translation: Translation, name: str) -> Service:
    """The service of this name; raises NotFoundError."""
    service = translation.world.services.get(name)
    if service is None:
        close = suggestion(name, translation.world.services, "see `mesh get services`")
        advice = "it is a gateway: name the service" if _is_gateway(translation, name) else close
        raise NotFoundError(f"{name}: the mesh has no such service: {advice}")
    return service


def port_of(service: Service, name: str) -> Port:
    """The port of this name, or without one the first; raises InputError."""
    ports = {port.name: port for port in service.ports}
    port = ports.get(name) if name else default_port(service.ports)
    if port is None:
        raise InputError(f"{service.name} has no port {name!r}: its ports are {', '.join(ports) or 'none'}")
    return port


def _call(translation: Translation, service: Service, query: AccessQuery) -> Call:
    port = port_of(service, query.port)
    return Call(
        caller=caller_of(translation, query.caller),
        tokens=_tokens(query),
        address=query.address,
        method=query.method,
        host=query.host or query.service,
        path=query.path.partition("?")[0],
        port=port.name,
        headers=query.headers,
        protocol="tcp" if port.protocol == "tcp" else "http",
    )


def caller_of(translation: Translation, name: str) -> Identity | None:
    """The identity of a service or gateway; None without a name. Raises NotFoundError."""
    if not name:
        return None
    if _is_gateway(translation, name):
        return Identity(translation.world.trust_domain, "gateway", name)
    if name not in translation.world.services:
        names = (*translation.world.services, *translation.world.gateways)
        advice = suggestion(name, names, "see `mesh topology --all`")
        raise NotFoundError(f"{name}: the mesh has no such service or gateway: {advice}")
    return Identity(translation.world.trust_domain, "service", name)


def _is_gateway(translation: Translation, name: str) -> bool:
    return name in translation.world.gateways or name in translation.resolver.gateways()


def _tokens(query: AccessQuery) -> tuple[Mapping[str, object], ...]:
    return (claims_of(query),) if query.claims else ()


def claims_of(query: AccessQuery) -> dict[str, object]:
    """Claims as in a token: `realm.role` is role in the object realm. Raises InputError."""
    token: dict[str, object] = {}
    for name, value in query.claims.items():
        *path, last = name.split(".")
        place = token
        for part in path:
            inner = place.setdefault(part, {})
            if not isinstance(inner, dict):
                raise InputError(f"claim {name}: {part} has a value already")
            place = inner
        place[last] = value
    return token


def policy_of(ref: str, attribution: PolicyAttribution, sources: Mapping[str, str]) -> AccessPolicy:
    """The policy `Kind/name` with where it is from, and its last change."""
    change = attribution.last_change(ref)
    return AccessPolicy(name=ref, source=sources.get(ref, ""), revision=change.revision, author=change.author)


def states_of(name: str, role: str, proxies: Iterable[ProxyStatus]) -> tuple[str, ...]:
    """The states of the proxies of a service or gateway that are connected."""
    return tuple(
        proxy.state
        for proxy in proxies
        if (proxy.service, proxy.role) == (name, role) and proxy.state != "disconnected"
    )
