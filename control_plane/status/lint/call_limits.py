"""How often and how long each observed caller tries to call a service, by the policies in force there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from meshwright.control_plane.api.cluster_names import parse_cluster_name
from meshwright.control_plane.api.models.authorization import ObservedCall, ObservedCalls
from meshwright.control_plane.core.attachment import EffectivePolicy
from meshwright.control_plane.core.translate import Translation
from meshwright.control_plane.core.views import HostView, RuleView
from meshwright.control_plane.policies.retry.spec import RetrySpec
from meshwright.control_plane.policies.timeout.spec import TimeoutSpec

_NOT_SENT = frozenset({"connect-failure", "refused-stream"})
# Failures of requests that cannot have been sent: retrying them is no further call of the service.


@dataclass(frozen=True, slots=True)
class CallLimits:
    """The Retry and Timeout in force for calls by one rule of a route, or by the default one."""

    caller: str
    service: str
    retry: RetrySpec | None = None
    timeout: TimeoutSpec | None = None
    policies: tuple[str, ...] = ()

    @property
    def tries(self) -> int:
        """How often the service may be called for one request."""
        return 1 if self.retry is None or _NOT_SENT.issuperset(self.retry.on) else 1 + self.retry.attempts

    @property
    def try_limit(self) -> timedelta | None:
        """How long one try may take; None without a limit."""
        backend = self.timeout.backend_request if self.timeout else None
        per_try = self.retry.per_try_timeout if self.retry else None
        return min(filter(None, (self.request_limit, backend, per_try)), default=None)

    @property
    def request_limit(self) -> timedelta | None:
        """How long the request with its retries may take by its Timeout; None without a limit."""
        return (self.timeout.request if self.timeout else None) or None

    @property
    def longest_wait(self) -> timedelta | None:
        """How long the caller may wait for a response; None without a limit. Waits between tries count."""
        if self.request_limit or self.try_limit is None:
            return self.request_limit
        waits = self.retry.backoff.max * (self.tries - 1) if self.retry else timedelta(0)
        return self.try_limit * self.tries + waits


def call_limits(translation: Translation, calls: ObservedCalls) -> tuple[CallLimits, ...]:
    """The limits of each HTTP and gRPC call that was seen, once for each distinct rule that leads there."""
    return tuple(
        dict.fromkeys(
            limits
            for call in calls.calls
            if call.protocol != "tcp" and call.service in translation.world.services
            if call.caller != call.service  # the path of a request goes on elsewhere
            for host in _hosts(translation, call)
            for rule in host.rules
            if _leads_to(rule, call.service)
            for limits in (_limits(call, rule.policies),)
        )
    )


def _hosts(translation: Translation, call: ObservedCall) -> Iterator[HostView]:
    """The virtual hosts by which the caller calls the service."""
    if call.role == "gateway":
        gateway = translation.views.gateways.get(call.caller)
        for listener in gateway.listeners if gateway else ():
            yield from listener.all_hosts
    else:
        resolver, services = translation.resolver, translation.world.services
        yield from resolver.destination(services, call.service, call.caller).hosts


def _leads_to(rule: RuleView, service: str) -> bool:
    used = (backend.cluster for backend in rule.backends if backend.ref.weight and backend.cluster)
    return any(parse_cluster_name(cluster).service == service for cluster in used)


def _limits(call: ObservedCall, policies: tuple[EffectivePolicy, ...]) -> CallLimits:
    retries = [policy for policy in policies if isinstance(policy.spec, RetrySpec)]
    timeouts = [policy for policy in policies if isinstance(policy.spec, TimeoutSpec)]
    retry = next((policy.spec for policy in retries if isinstance(policy.spec, RetrySpec)), None)
    timeout = next((policy.spec for policy in timeouts if isinstance(policy.spec, TimeoutSpec)), None)
    refs = tuple(dict.fromkeys(policy.ref for policy in (*retries, *timeouts) if policy.ref))
    return CallLimits(call.caller, call.service, retry, timeout, refs)
