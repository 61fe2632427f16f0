"""Calls that were seen and that Authorizations now refuse, whatever is requested."""

from __future__ import annotations

from collections.abc import Iterator

from meshwright.control_plane.api.models.authorization import ObservedCalls
from meshwright.control_plane.api.models.lint import LintFinding
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.core.attachment import AttachmentPoint
from meshwright.control_plane.core.translate import Translation
from meshwright.control_plane.policies.authorization.pairs import access
from meshwright.control_plane.status.gateway_access import authorizations


def cut_calls(translation: Translation, calls: ObservedCalls) -> Iterator[LintFinding]:
    """One finding for each caller and service. Rules that refuse a part of the calls are not judged."""
    for call in calls.calls:
        point = AttachmentPoint(service=call.service)
        policies = authorizations(translation.resolver.attachments.effective_at(point))
        caller = Identity(translation.world.trust_domain, call.role, call.caller)
        if policies and access(policies, caller) == "denied":
            what = "connections" if call.protocol == "tcp" else "requests"
            yield LintFinding(
                rule="cut-calls",
                severity="error",
                policies=tuple(ref for ref, _ in policies),
                message=f"{call.caller} may not call {call.service}, but did so within the last "
                f"{_duration(calls.seconds)}: {call.requests:.0f} {what}: "
                "allow it, or stop the caller first",
            )


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} s"
