"""Who may call what: a call checked against the Authorizations in force, and every pair of services. Pure.

What the sidecars of a service enforce is decided here by the same rules, without asking them
(policies/authorization/verdict.py, which tests compare with real Envoys).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from meshwright.control_plane.api.models.authorization import (
    AccessCheck,
    AccessMatrix,
    AccessPolicy,
    AccessQuery,
    ObservedCall,
    ObservedCalls,
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
from meshwright.control_plane.policies.authorization.spec import AuthorizationSpec
from meshwright.control_plane.policies.authorization.verdict import AccessDecision, Call, decide
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

    Raises NotFoundError for an unknown service or caller, InputError for an unknown port.
    """
    translation = loaded(translation)
    service = service_of(translation, query.service)
    decision = decide(_policies(translation.resolver, query.service), _call(translation, service, query))
    states = [
        proxy.state
        for proxy in proxies
        if (proxy.service, proxy.role) == (query.service, "service") and proxy.state != "disconnected"
    ]
    return AccessCheck(
        allowed=decision.allowed,
        message=_MESSAGES[decision.reason],
        rule=decision.rule,
        policies=tuple(_blamed(decision, attribution, sources)),
        audited=decision.audited,
        sidecars=len(states),
        synced=states.count("synced"),
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
        rows.append(ServiceAccess(service=name, callers=callers, others=others, policies=refs))
    return AccessMatrix(callers=(*gateways, *sorted(world.services)), services=tuple(rows))


def observed(
    translation: Translation | None, counts: Mapping[tuple[str, str], float], seconds: float
) -> ObservedCalls:
    """Calls between members of the mesh. `counts`: requests by caller and service within `seconds`."""
    if translation is None:
        return ObservedCalls(seconds=seconds)
    world = translation.world
    gateways = {*world.gateways, *translation.resolver.gateways()}
    calls = [
        ObservedCall(
            caller=caller,
            role="gateway" if caller in gateways else "service",
            service=service,
            requests=round(count, 1),
        )
        for (caller, service), count in sorted(counts.items())
        if service in world.services and (caller in world.services or caller in gateways)
    ]
    return ObservedCalls(seconds=seconds, calls=tuple(calls))


def _policies(resolver: Resolver, service: str) -> tuple[NamedSpec, ...]:
    """The Authorizations that the sidecars of a service enforce."""
    effective = resolver.attachments.effective_at(AttachmentPoint(service=service))
    return tuple(
        (policy.ref, policy.spec) for policy in effective if isinstance(policy.spec, AuthorizationSpec)
    )


def loaded(translation: Translation | None) -> Translation:
    """The translation; raises NotFoundError while there is none yet."""
    if translation is None:
        raise NotFoundError("the control plane has no configuration yet: try again")
    return translation


def service_of(translation: Translation, name: str) -> Service:
    """The service of this name; raises NotFoundError."""
    service = translation.world.services.get(name)
    if service is None:
        advice = ": it is a gateway: name the service" if _is_gateway(translation, name) else ""
        raise NotFoundError(f"{name}: the mesh has no such service{advice}")
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
        tokens=(_nested(query.claims),) if query.claims else (),
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
        raise NotFoundError(f"{name}: the mesh has no such service or gateway: see `mesh topology --all`")
    return Identity(translation.world.trust_domain, "service", name)


def _is_gateway(translation: Translation, name: str) -> bool:
    return name in translation.world.gateways or name in translation.resolver.gateways()


def _nested(claims: Mapping[str, str]) -> dict[str, object]:
    """Claims as in a token: `realm.role` is role in the object realm."""
    token: dict[str, object] = {}
    for name, value in claims.items():
        *path, last = name.split(".")
        place = token
        for part in path:
            inner = place.setdefault(part, {})
            if not isinstance(inner, dict):
                raise InputError(f"claim {name}: {part} has a value already")
            place = inner
        place[last] = value
    return token


def _blamed(
    decision: AccessDecision, attribution: PolicyAttribution, sources: Mapping[str, str]
) -> Iterator[AccessPolicy]:
    for ref in decision.policies:
        change = attribution.last_change(ref)
        yield AccessPolicy(
            name=ref, source=sources.get(ref, ""), revision=change.revision, author=change.author
        )
