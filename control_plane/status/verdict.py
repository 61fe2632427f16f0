"""The verdict on the mesh: what fails, what is in force that hurts, what is unfinished. Pure.

A summary is never greener than what it summarises: everything that another part of the status shows as not
healthy is a problem here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from meshwright.control_plane.api.models.policies import PolicyState
from meshwright.control_plane.api.models.proxies import ProxyReport, ProxyStatus
from meshwright.control_plane.api.models.status import Status
from meshwright.control_plane.api.models.topology import ServiceSummary
from meshwright.control_plane.api.models.verdict import MeshProblem, ProblemSeverity, Verdict
from meshwright.control_plane.core.world import World
from meshwright.control_plane.policies.externalservice.spec import ExternalService
from meshwright.control_plane.policies.faultinjection.spec import FaultInjection, FaultInjectionSpec
from meshwright.control_plane.policies.httproute.parents import RoutePolicy
from meshwright.control_plane.status.certificates import UNUSABLE
from meshwright.control_plane.telemetry.topology.health import (
    DEGRADED_BELOW,
    MIN_CALLS,
    OPEN_BREAKER,
    UNHEALTHY_BELOW,
    format_share,
    is_about_calls,
)

RENEWAL_OVERDUE = 0.25
"""Share of an SVID's lifetime that is left when its renewal is overdue: agents renew after half of it."""

CA_WARNING_SECONDS = 30 * 86400.0
"""A root certificate that expires within this time is a problem: to replace it takes planning."""

_POLICY_STATES: Mapping[PolicyState, ProblemSeverity] = {
    "rejected": "error",
    "conflicted": "warning",
    "target-not-found": "warning",
    "no-effect": "warning",
    "partial": "warning",
}
"""States of policies that are problems. `pending` ends by itself, `unused` waits for a proxy."""


@dataclass(frozen=True, slots=True)
class FailureCause:
    """Since when requests to a service fail, in epoch seconds (0: unknown), and why (empty: unknown)."""

    since: float = 0.0
    cause: str = ""


@dataclass(frozen=True, slots=True)
class VerdictInput:
    """What the verdict needs. `causes` by service or gateway; `certificates`: expiry times by name.

    `now` is in epoch seconds, `svid_ttl` in seconds. `window`: seconds over which rates are measured.
    """

    status: Status
    world: World
    services: tuple[ServiceSummary, ...]
    reports: tuple[ProxyReport, ...]
    now: float
    svid_ttl: float
    window: float
    causes: Mapping[str, FailureCause] = field(default_factory=dict)
    certificates: Mapping[str, float] = field(default_factory=dict)
    authors: Mapping[str, str] = field(default_factory=dict)
    """`Kind/name` of a document → `revision 2, by root`."""
    drift: tuple[MeshProblem, ...] = ()


def assess(facts: VerdictInput) -> Verdict:
    """The verdict: errors before warnings, failing traffic before the rest, the busiest first."""
    problems = (
        *_failing_traffic(facts),
        *_services(facts.services, facts.window),
        *_proxies(facts),
        *_control_plane(facts.status),
        *_breakers(facts),
        *_faults(facts),
        *_policies(facts.status),
        *facts.drift,
        *_certificates(facts),
        *_gateway_certificates(facts.reports),
        *_unfinished(facts),
    )
    ordered = tuple(sorted(problems, key=lambda problem: problem.severity != "error"))
    return Verdict(healthy=not ordered, summary="" if ordered else _summary(facts), problems=ordered)


def failing(service: ServiceSummary, window: float) -> bool:
    """Whether enough requests of the window failed, or were refused, for the service not to be healthy.

    Those from before it was first ready fail without a verdict (see topology.first_readiness).
    """
    if service.health == "healthy":
        return False
    refused = service.refused_per_s / service.rps if service.rps else 0.0
    is_bad = service.success < DEGRADED_BELOW or refused > 1 - UNHEALTHY_BELOW
    return is_bad and service.rps * window >= MIN_CALLS


def _failing_traffic(facts: VerdictInput) -> Iterator[MeshProblem]:
    rows = [service for service in facts.services if failing(service, facts.window)]
    # A gateway sends the requests that fail elsewhere: the service is the better subject.
    for service in sorted(rows, key=lambda row: (row.role == "gateway", row.success, -row.rps)):
        share, verb = 1 - service.success, "fail"
        if service.success >= DEGRADED_BELOW:
            share, verb = service.refused_per_s / service.rps, "are refused"
        cause = facts.causes.get(service.name, FailureCause())
        yield MeshProblem(
            severity="error" if service.success < UNHEALTHY_BELOW else "warning",
            kind="traffic",
            subject=service.name,
            message=f"{format_share(share)} of {service.rps:.1f}/s {verb}",
            since=cause.since,
            cause="; ".join(filter(None, (cause.cause, _absence(facts.world, service.name)))),
        )


def _absence(world: World, name: str) -> str:
    """What to do about a service that is called and has left; empty for any other."""
    service = world.services.get(name)
    if service is None or service.instances or not service.ports:
        return ""
    return "it has no instance: start one, or let nobody call it"


def _services(services: Iterable[ServiceSummary], window: float) -> Iterator[MeshProblem]:
    for service in services:
        if service.health not in ("degraded", "unhealthy") or service.reason == OPEN_BREAKER:
            continue
        if failing(service, window) and (not service.reason or is_about_calls(service.reason)):
            continue
        severity: ProblemSeverity = "error" if service.health == "unhealthy" else "warning"
        message = service.reason or f"it is {service.health}"
        yield MeshProblem(
            severity=severity, kind="instances", subject=service.name, message=message, since=service.since
        )


def _proxies(facts: VerdictInput) -> Iterator[MeshProblem]:
    leased = {
        (service.name, instance.name)
        for service in facts.world.services.values()
        for instance in service.instances
    }
    for proxy in facts.status.proxies:
        if proxy.state == "rejected":
            message = f"rejected revision {proxy.rejected_revision}"
            yield _proxy_problem(proxy, "error", message, proxy.error)
        elif proxy.state == "disconnected" and (proxy.service, proxy.name) in leased:
            yield _proxy_problem(proxy, "warning", "its Envoy is not connected to a control plane")


def _proxy_problem(
    proxy: ProxyStatus, severity: ProblemSeverity, message: str, cause: str = ""
) -> MeshProblem:
    return MeshProblem(severity=severity, kind="proxy", subject=proxy.name, message=message, cause=cause)


def _control_plane(status: Status) -> Iterator[MeshProblem]:
    if status.store != "ok" and not status.problems:
        yield MeshProblem(severity="error", kind="control-plane", subject="store", message=status.store)
    for text in status.problems:
        yield MeshProblem(severity="error", kind="control-plane", subject="control plane", message=text)
    for plane in status.control_planes:
        if plane.state == "unreachable":
            message = f"unreachable for {plane.unreachable_seconds:.0f} s"
            yield MeshProblem(
                severity="error",
                kind="control-plane",
                subject=f"control plane {plane.address}",
                message=message,
                cause=plane.error,
            )


def _breakers(facts: VerdictInput) -> Iterator[MeshProblem]:
    for breaker in facts.status.breakers:
        if breaker.state == "closed":
            continue
        reasons = [f"{breaker.ejected} of {breaker.hosts} instances ejected"] if breaker.ejected else []
        reasons += ["limit reached"] if breaker.limited else []
        yield MeshProblem(
            severity="error" if breaker.state == "open" else "warning",
            kind="breaker",
            subject=f"{breaker.from_} → {breaker.to}",
            message=f"circuit breaker {breaker.state}",
            cause=", ".join(reasons),
        )


def _faults(facts: VerdictInput) -> Iterator[MeshProblem]:
    inert = {
        (policy.kind, policy.name)
        for policy in facts.status.policies
        if policy.state in ("conflicted", "target-not-found", "no-effect")
    }
    for document in facts.world.documents:
        policy = document.policy
        if not isinstance(policy, FaultInjection) or (policy.kind, policy.name) in inert:
            continue
        targets = ", ".join(ref.name or ref.kind for ref in policy.spec.target_refs)
        yield MeshProblem(
            severity="warning",
            kind="fault",
            subject=targets,
            message=_fault_text(policy.spec),
            cause=", ".join(filter(None, (f"{policy.kind} {policy.name}", facts.authors.get(document.ref)))),
        )


def _fault_text(spec: FaultInjectionSpec) -> str:
    parts = []
    if spec.abort is not None:
        code = spec.abort.status or spec.abort.grpc_status
        parts.append(f"aborts {spec.abort.percent:g} % with {code}")
    if spec.delay is not None:
        parts.append(f"delays {spec.delay.percent:g} % by {spec.delay.fixed.total_seconds():g} s")
    return f"a fault {' and '.join(parts)}"


def _policies(status: Status) -> Iterator[MeshProblem]:
    for policy in status.policies:
        severity = _POLICY_STATES.get(policy.state)
        if severity is not None and policy.kind != "Certificate":
            yield MeshProblem(
                severity=severity,
                kind="policy",
                subject=f"{policy.kind}/{policy.name}",
                message=policy.state.replace("-", " "),
                cause=policy.reason,
            )


def _certificates(facts: VerdictInput) -> Iterator[MeshProblem]:
    for report in facts.reports:
        left = report.expires - facts.now
        if report.expires and left < facts.svid_ttl * RENEWAL_OVERDUE:
            yield _certificate(report.node, left, "its renewal is overdue")
    for name, expires in facts.certificates.items():
        limit = CA_WARNING_SECONDS if name == "root" else facts.svid_ttl * RENEWAL_OVERDUE
        if expires - facts.now < limit:
            yield _certificate(f"{name} certificate", expires - facts.now, "")


def _gateway_certificates(reports: Iterable[ProxyReport]) -> Iterator[MeshProblem]:
    for report in reports:
        for certificate in report.certificates:
            if certificate.state != "valid":
                yield MeshProblem(
                    severity="error" if certificate.state in UNUSABLE else "warning",
                    kind="certificate",
                    subject=f"{report.node}: {certificate.ref}",
                    message=f"is {certificate.state}",
                    cause=certificate.message,
                )


def _certificate(subject: str, left: float, cause: str) -> MeshProblem:
    if left <= 0:
        return MeshProblem(
            severity="error", kind="certificate", subject=subject, message="its certificate has expired"
        )
    amount = f"{left / 86400:.0f} d" if left >= 2 * 86400 else f"{left / 60:.0f} min"
    return MeshProblem(
        severity="warning",
        kind="certificate",
        subject=subject,
        message=f"its certificate expires in {amount}",
        cause=cause,
    )


def _unfinished(facts: VerdictInput) -> Iterator[MeshProblem]:
    """Gateways that can answer nothing but 404, and routes and calls outside that no proxy serves."""
    routed = {
        ref.name
        for document in facts.world.documents
        if isinstance(document.policy, RoutePolicy)
        for ref in document.policy.spec.parent_refs
        if ref.kind == "Gateway"
    }
    egress = {
        document.policy.spec.via.name
        for document in facts.world.documents
        if isinstance(document.policy, ExternalService) and document.policy.spec.via
    }
    connected = {
        proxy.service
        for proxy in facts.status.proxies
        if proxy.role == "gateway" and proxy.state != "disconnected"
    }
    for gateway in sorted(connected):
        if gateway not in routed | egress:
            hint = f"apply an HTTPRoute with parentRefs: [{{kind: Gateway, name: {gateway}}}]"
            yield MeshProblem(
                severity="warning",
                kind="setup",
                subject=f"gateway {gateway}",
                message="has no route, every request gets 404",
                cause=hint,
            )
    for gateway in sorted((routed | egress) - connected):
        yield MeshProblem(
            severity="warning",
            kind="setup",
            subject=f"gateway {gateway}",
            message=f"has {'routes' if gateway in routed else 'calls to let out'} and no connected proxy",
        )


def _summary(facts: VerdictInput) -> str:
    active = [service for service in facts.services if service.health not in ("idle", "unknown")]
    services = sum(service.role == "service" for service in active)
    rps = sum(service.rps for service in facts.services if service.role == "service")
    proxies = len(facts.status.proxies)
    return f"healthy: {_count(services, 'service')}, {_count(proxies, 'proxy')}, {rps:.1f} requests/s"


def _count(number: int, noun: str) -> str:
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"
