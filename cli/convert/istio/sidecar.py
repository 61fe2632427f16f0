"""Istio's Sidecar: whether calls to hosts outside the mesh are allowed. The rest has no counterpart."""

from __future__ import annotations

from meshwright.cli.convert.fields import KindFields, below
from meshwright.cli.convert.istio.scope import Scope
from meshwright.cli.convert.istio.targets import read_targets
from meshwright.cli.convert.reading import Value

EVERYTHING = frozenset({"*/*", "./*"})
"""Lists of hosts with one of these limit nothing in a mesh of one namespace."""

_MODES = {"ALLOW_ANY": "allow", "REGISTRY_ONLY": "deny"}

SIDECAR = KindFields(
    converted={
        "spec.workloadSelector.labels": "the service of the label `app`; none: every service",
        "spec.outboundTrafficPolicy.mode": "`outbound` of the application file; REGISTRY_ONLY is deny",
        "spec.egress.hosts": "lists with `*/*` or `./*` limit nothing; others are named as unsupported",
    },
    unsupported={
        "spec.ingress": "the ports of a service are those of the application file",
        "spec.inboundConnectionPool": "limits are those of callers: see CircuitBreaker",
        "spec.outboundTrafficPolicy.egressProxy": "see `via` of ExternalService",
        **below(
            "spec.egress",
            {
                "port": "apps call through the one outbound port of their sidecar",
                "bind": "apps call through the one outbound port of their sidecar",
                "captureMode": "apps call through HTTP_PROXY",
            },
        ),
    },
)


def convert_sidecar(document: Value, _name: str, scope: Scope) -> None:
    """Set `outbound` of the application file, for all services or for one."""
    spec = document.get("spec")
    targets = read_targets(document, spec, "workloadSelector", "labels")
    if spec is None or targets is None:
        return
    for entry in spec.items("egress"):
        _name_limits(entry)
    policy = spec.get("outboundTrafficPolicy")
    mode = policy.get("mode") if policy else None
    if policy is None or mode is None:
        return
    outbound = _MODES.get(mode.string(), "")
    service = targets[0].get("name")
    if not outbound:
        mode.problem(f"is {mode.string()!r}, which does not exist here: it is not converted")
    elif service is None:
        _set_for_all(mode, outbound, scope)
    elif service in scope.application.services:
        scope.application.outbound_of[service] = outbound
    else:
        mode.problem(
            f"is not converted without the Service {service}: set `outbound: {outbound}` of its entry"
        )


def _set_for_all(mode: Value, outbound: str, scope: Scope) -> None:
    """Several namespaces may say several things; here the stricter one is for all of them."""
    if scope.application.outbound not in ("", outbound):
        mode.note("differs from another Sidecar's: `outbound: deny` is for every service here")
        outbound = "deny"
    scope.application.outbound = outbound


def _name_limits(entry: Value) -> None:
    hosts = entry.get("hosts")
    if hosts and EVERYTHING.isdisjoint(host.string() for host in hosts.entries()):
        hosts.problem(
            "is not converted: a sidecar gets what its service calls, and other services are not hidden from "
            "it: an Authorization says who may call"
        )
