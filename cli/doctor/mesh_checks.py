"""Checks of a mesh that answers: clock, store, certificates, tokens, versions, proxies. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from meshwright.cli.doctor.facts import MeshFacts
from meshwright.cli.doctor.findings import Finding, Findings, named
from meshwright.control_plane.api.problem_text import problem_text

MAX_CLOCK_OFFSET = 5.0
"""Seconds by which two clocks may differ: times of events and traces are compared across hosts."""

CERTIFICATE_LEEWAY = 60.0
"""Seconds by which a certificate may be used before it begins: the CA dates it back."""

LONG_TOKEN = 7 * 86_400.0
"""Remaining lifetime in seconds of a join token that is worth a warning. Those of `mesh up` live a day."""


def clock(mesh: MeshFacts) -> Findings:
    """Clocks that differ."""
    offset = abs(mesh.clock_offset)
    if offset > MAX_CLOCK_OFFSET:
        direction = "ahead of" if mesh.clock_offset > 0 else "behind"
        yield Finding(
            "clock",
            "error" if offset > CERTIFICATE_LEEWAY else "warning",
            f"the control plane's clock is {offset:.0f} s {direction} this host's",
            "certificates count as expired or not yet valid, and times in logs and traces do not fit",
            "synchronise both clocks (chrony, systemd-timesyncd)",
        )


def store(mesh: MeshFacts) -> Findings:
    """A store that cannot be written."""
    if mesh.status["store"] != "ok":
        yield Finding(
            "store",
            "error",
            f"the store is {mesh.status['store']}",
            "what is configured goes on, but no policy can change and no instance can join",
            "read the control plane's log; with MESH_REDIS_URL, look at that server",
        )


def verdict(mesh: MeshFacts) -> Findings:
    """Expiring certificates and refused configuration, as the verdict of `mesh status` has them."""
    for problem in mesh.status["verdict"]["problems"]:
        advice = _ADVICE.get(problem["kind"])
        if advice is not None:
            text = problem_text(problem, str)
            yield Finding(advice[0], problem["severity"], text, advice[1], advice[2])


_ADVICE: Mapping[str, tuple[str, str, str]] = {
    "certificate": (
        "certificates",
        "callers refuse a certificate that has expired",
        "see that its agent runs and reaches the control plane; replace files of gateways; docs/security.md",
    ),
    "proxy": (
        "proxies",
        "it serves an older configuration than the mesh's",
        "`mesh status` has Envoy's words; `mesh proxy NAME logs`; `mesh restart SERVICE`",
    ),
    "control-plane": (
        "control plane",
        "what is configured goes on, but changes may not arrive",
        "read its log: STATE/logs/control-plane.log",
    ),
}
"""Kinds of problems that concern the mesh itself: the check, why it matters, what to do."""


def stuck(mesh: MeshFacts) -> Findings:
    """Proxies that do not respond to their configuration, and proxies without an agent."""
    if mesh.stuck:
        yield Finding(
            "proxies",
            "error",
            f"{named(mesh.stuck)}: did not ACK what was sent some seconds ago",
            "an Envoy that does not answer goes on with its old configuration",
            "`mesh proxy NAME logs`; if it stands still, `mesh restart SERVICE`",
        )
    silent = [_name(item) for item in mesh.proxies if item["connected"] and not item["reported"]]
    if silent:
        yield Finding(
            "proxies",
            "warning",
            f"{named(silent)}: connected, but its agent does not report",
            "without its agent nobody renews its certificate or restarts it",
            "start the agent again on that host: `mesh up`, or the unit of `mesh run` or `mesh agent`",
        )


def tokens(mesh: MeshFacts) -> Findings:
    """Join tokens that are valid for long."""
    lasting = [
        token
        for token in mesh.tokens or ()
        if not token["revoked"] and token["expires"] - mesh.now > LONG_TOKEN
    ]
    if lasting:
        days = max(token["expires"] - mesh.now for token in lasting) / 86_400
        names = [f"{token['role']} {token['name']} ({token['id']})" for token in lasting]
        yield Finding(
            "tokens",
            "warning",
            f"{named(names)}: valid for {days:.0f} days",
            "whoever reads such a join token can join as that service until then",
            "`mesh token revoke ID`, and create shorter ones when they are needed",
        )


def versions(mesh: MeshFacts) -> Findings:
    """Parts of different versions."""
    for skew in mesh.skews:
        yield Finding(
            "versions",
            "warning" if skew.supported else "error",
            skew.message,
            "neighbours of one minor version work together; everything else is untested",
            "see docs/upgrade.md",
        )


CHECKS: Mapping[str, Callable[[MeshFacts], Findings]] = {
    "clock": clock,
    "store": store,
    "certificates": verdict,
    "proxies": stuck,
    "join tokens": tokens,
    "versions": versions,
}
"""The checks by what they look at."""


def _name(proxy: Mapping[str, Any]) -> str:
    return f"{proxy['service']}/{proxy['name']}"
