"""Whether the proxies with the revision on trial do worse than those without it, by their own figures.

Of a service with both, the same seconds are compared. A service whose proxies all have the revision is
compared with its own traffic before. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from meshwright.control_plane.telemetry.topology.counters import UpstreamCounters

MIN_REQUESTS = 20
"""Requests on each side below which nothing is concluded."""

MIN_DIFFERENCE = 0.05
"""The share of requests that must fail on top of what fails without the revision."""

MIN_DEVIATION = 3.0
"""Standard errors between the shares: by chance, that is one look in 700 (two-proportion z-test)."""

SLOWER_FACTOR = 2.0
SLOWER_MS = 50.0
"""A burn of latency: the 95th percentile is more than this factor and this many ms above the other's."""

MIN_REQUESTS_LATENCY = 100
"""Requests on each side for a 95th percentile: five lie above it."""


@dataclass(slots=True)
class ProxyTraffic:
    """The requests of one proxy within the last seconds, inbound and outbound."""

    service: str
    name: str
    counters: UpstreamCounters = field(default_factory=UpstreamCounters)


@dataclass(slots=True)
class _Sides:
    trial: UpstreamCounters = field(default_factory=UpstreamCounters)
    others: UpstreamCounters = field(default_factory=UpstreamCounters)


def compare(
    traffic: Iterable[ProxyTraffic], admitted: Iterable[str], before: Mapping[str, UpstreamCounters]
) -> tuple[str, str]:
    """Why the revision does harm ("" if it does not), and the figures of both sides in words.

    `admitted` as `service/name`; `before`: the last minute of a service before the trial.
    """
    with_revision = frozenset(admitted)
    services = {key.partition("/")[0] for key in with_revision}
    sides: dict[str, _Sides] = {}
    for proxy in traffic:
        if proxy.service in services:
            side = sides.setdefault(proxy.service, _Sides())
            key = f"{proxy.service}/{proxy.name}"
            (side.trial if key in with_revision else side.others).add(proxy.counters)
    lines = []
    for service, side in sorted(sides.items()):
        others, where = (
            (side.others, "on the others") if side.others.completed else (before.get(service), "before")
        )
        if others is None or not side.trial.completed:
            continue
        if burn := _burn(service, side.trial, others, where):
            return burn, burn
        lines.append(f"{service}: {_share(side.trial)} failed, {_share(others)} {where}")
    return "", "; ".join(lines)


def _burn(service: str, trial: UpstreamCounters, others: UpstreamCounters, where: str) -> str:
    if min(trial.completed, others.completed) < MIN_REQUESTS:
        return ""
    if _fails_more(trial, others):
        return f"{_share(trial)} of the requests of {service} failed with it, {_share(others)} {where}"
    if min(trial.completed, others.completed) < MIN_REQUESTS_LATENCY:
        return ""
    slow, usual = trial.latency_percentiles()[1], others.latency_percentiles()[1]
    if slow > usual * SLOWER_FACTOR and slow > usual + SLOWER_MS:
        return f"p95 of {service} is {slow:.0f} ms with it, {usual:.0f} ms {where}"
    return ""


def _fails_more(trial: UpstreamCounters, others: UpstreamCounters) -> bool:
    difference = trial.failed / trial.completed - others.failed / others.completed
    if difference < MIN_DIFFERENCE:
        return False
    pooled = (trial.failed + others.failed) / (trial.completed + others.completed)
    error = math.sqrt(pooled * (1 - pooled) * (1 / trial.completed + 1 / others.completed))
    return error == 0 or difference / error >= MIN_DEVIATION


def _share(counters: UpstreamCounters) -> str:
    """`12 of 61 (19.7%)`."""
    share = counters.failed / counters.completed
    return f"{counters.failed:.0f} of {counters.completed:.0f} ({share:.1%})"
