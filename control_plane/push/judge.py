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


@dataclass(frozen=True, slots=True)
class _Slower:
    """A burn of latency: the 95th percentile is more than this factor and this many ms above the other's."""

    factor: float
    ms: float


SLOWER_THAN_OTHERS = _Slower(2.0, 50.0)

SLOWER_THAN_BEFORE = _Slower(5.0, 250.0)
"""Against the past, which had less to compete with: what else the host does makes requests two to three times
as slow within a minute (29 and 86 ms, 99 and 237 ms were seen on two busy cores)."""

MIN_REQUESTS_LATENCY = 100
"""Requests on each side for a 95th percentile: five lie above it."""


@dataclass(slots=True)
class ProxyTraffic:
    """The requests of one proxy within the last seconds, inbound and outbound.

    `requests` is how many there were, `counters` are of those since the proxy, or another of its service, got
    the revision.
    """

    service: str
    name: str
    requests: float = 0.0
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
        others, where, limit = (
            (side.others, "on the others", SLOWER_THAN_OTHERS)
            if side.others.completed
            else (before.get(service), "before", SLOWER_THAN_BEFORE)
        )
        if others is None or not side.trial.completed:
            continue
        if burn := _more_fail(service, side.trial, others, where) or _slower(
            service, side.trial, others, where, limit
        ):
            return burn, burn
        lines.append(f"{service}: {_share(side.trial)} failed, {_share(others)} {where}")
    return "", "; ".join(lines)


def _more_fail(service: str, trial: UpstreamCounters, others: UpstreamCounters, where: str) -> str:
    if min(trial.completed, others.completed) < MIN_REQUESTS or not _fails_more(trial, others):
        return ""
    return f"{_share(trial)} of the requests of {service} failed with it, {_share(others)} {where}"


def _slower(
    service: str, trial: UpstreamCounters, others: UpstreamCounters, where: str, limit: _Slower
) -> str:
    if min(trial.completed, others.completed) < MIN_REQUESTS_LATENCY:
        return ""
    slow, usual = trial.latency_percentiles()[1], others.latency_percentiles()[1]
    if slow <= usual * limit.factor or slow <= usual + limit.ms:
        return ""
    return f"p95 of {service} is {slow:.0f} ms with it, {usual:.0f} ms {where}"


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
