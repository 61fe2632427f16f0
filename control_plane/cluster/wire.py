"""What one control plane tells another of its part of the picture: lines of JSON, a letter before each. Pure.

    H  head: who tells, problems, the number of the last flush, whether there are more
    P  a proxy that is connected here, or was within the last minute
    R  what a proxy's agent reported, with its age in seconds
    D  how a policy fares at the proxies that are connected here
    F  a flush of metrics that came here, with its age

Ages are passed in place of times, for every control plane has its own clock. Lines are written and read one
at a time, so that a large mesh holds nobody up.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields

from pydantic import Field

from meshwright.control_plane.agents.reports import ProxyReports
from meshwright.control_plane.api.models.base import ApiModel
from meshwright.control_plane.api.models.proxies import ProxyReport, ProxyStatus
from meshwright.control_plane.api.spiffe import Identity, Role
from meshwright.control_plane.status.conditions import RolloutCount
from meshwright.control_plane.telemetry.ingest.envoy_stats import StatPoint
from meshwright.control_plane.telemetry.topology.counters import UpstreamCounters
from meshwright.control_plane.telemetry.topology.windows import MetricsFlush, NodeFlush

MAX_FLUSH_BYTES = 2 * 1024 * 1024
"""Bytes of flushes in one answer; what is beyond is asked for again."""

_COUNTS = tuple(one.name for one in fields(UpstreamCounters) if one.name != "latency_buckets")


class WireError(Exception):
    """Bytes that are no part: a peer of another version, or a fault of it."""


class ReportRequest(ApiModel):
    """What is asked for besides head and proxies. `since`: flushes after this number."""

    since: int | None = Field(None, ge=0)
    reports: bool = False
    deliveries: bool = False


class ReportHeader(ApiModel):
    """Who tells, what is not a list, and which of the lists are told whole."""

    id: str
    problems: tuple[str, ...] = ()
    last: int = 0
    more: bool = False
    reports: bool = False
    deliveries: bool = False
    flushes: bool = False


class RemoteProxy(ProxyStatus):
    """A proxy with how many responses it has not answered."""

    pending: int = 0


@dataclass(slots=True)
class StateReport:
    """What was read. Ages in seconds."""

    header: ReportHeader
    proxies: list[RemoteProxy] = field(default_factory=list)
    reports: list[tuple[float, ProxyReport]] = field(default_factory=list)
    deliveries: dict[str, RolloutCount] = field(default_factory=dict)
    flushes: list[tuple[float, NodeFlush]] = field(default_factory=list)


def write_proxies(statuses: tuple[ProxyStatus, ...], pending: Mapping[tuple[str, str], int]) -> Iterator[str]:
    """Lines of proxies; `pending` by service and name."""
    for one in statuses:
        told = one.model_dump()
        told["pending"] = pending.get((one.service, one.name), 0)
        yield "P" + json.dumps(told, separators=(",", ":"))


def write_reports(reports: ProxyReports, now: float) -> Iterator[str]:
    """Lines of reports that still count."""
    for age, one in reports.with_age(now):
        yield f"R{age:.3f} {one.model_dump_json()}"


def write_deliveries(deliveries: Mapping[str, RolloutCount]) -> Iterator[str]:
    """Lines of deliveries, by `Kind/name`."""
    for ref, one in deliveries.items():
        yield "D" + json.dumps([ref, one.holders, one.acked, one.rejections], separators=(",", ":"))


def write_flush(age: float, told: NodeFlush) -> str:
    """The line of a flush."""
    flush, identity = told.flush, told.identity
    counts = {cluster: _numbers(one) for cluster, one in flush.clusters.items()}
    gauges = [[one.cluster, one.stat, one.value] for one in flush.gauges]
    row = [
        round(age, 3), identity.role, identity.name, told.node, flush.seconds, flush.end_ns, counts,
        _numbers(flush.inbound), gauges,
    ]  # fmt: skip
    return "F" + json.dumps(row, separators=(",", ":"))


def begin(body: bytes) -> tuple[StateReport, list[str]]:
    """The part with its head alone, and the lines to `take` in; raises PartError."""
    head, *lines = body.decode(errors="replace").split("\n")
    try:
        return StateReport(ReportHeader.model_validate_json(head[1:])), lines
    except ValueError as error:
        raise _no_part(error) from None


def take(part: StateReport, line: str, trust_domain: str) -> None:
    """Add what a line tells; raises PartError."""
    try:
        _TAKES[line[:1]](part, line[1:], trust_domain)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise _no_part(error) from None


def _no_part(error: Exception) -> WireError:
    return WireError(f"{type(error).__name__}: {error}"[:200])


def _proxy(part: StateReport, line: str, _trust_domain: str) -> None:
    part.proxies.append(RemoteProxy.model_validate_json(line))


def _report(part: StateReport, line: str, _trust_domain: str) -> None:
    age, _, told = line.partition(" ")
    part.reports.append((_finite(age), ProxyReport.model_validate_json(told)))


def _delivery(part: StateReport, line: str, _trust_domain: str) -> None:
    ref, holders, acked, rejections = json.loads(line)
    part.deliveries[str(ref)] = RolloutCount(int(holders), int(acked), tuple(map(str, rejections)))


def _flush(part: StateReport, line: str, trust_domain: str) -> None:
    age, role, name, node, seconds, end, counts, inbound, gauges = json.loads(line)
    roles: tuple[Role, ...] = ("service", "gateway")
    flush = MetricsFlush(
        clusters={str(cluster): _counts(numbers) for cluster, numbers in counts.items()},
        inbound=_counts(inbound),
        gauges=[
            StatPoint(str(cluster), str(stat), _finite(value), int(end)) for cluster, stat, value in gauges
        ],
        seconds=_finite(seconds),
        end_ns=int(end),
    )
    identity = Identity(trust_domain, roles[roles.index(role)], str(name))
    part.flushes.append((_finite(age), NodeFlush(identity, str(node), flush)))


_TAKES: dict[str, Callable[[StateReport, str, str], None]] = {
    "P": _proxy, "R": _report, "D": _delivery, "F": _flush,
}  # fmt: skip


def _numbers(counts: UpstreamCounters) -> list[float | list[float]]:
    """The fields in their order, then the histogram as bound, bound, number."""
    spread = [
        number for (low, high), count in counts.latency_buckets.items() for number in (low, high, count)
    ]
    return [*(getattr(counts, name) for name in _COUNTS), spread]


def _counts(numbers: list[float | list[float]]) -> UpstreamCounters:
    *sums, spread = numbers
    if not isinstance(spread, list):
        raise TypeError("no histogram")
    found = UpstreamCounters()
    for name, value in zip(_COUNTS, sums, strict=True):
        setattr(found, name, _finite(value))
    for at in range(0, len(spread), 3):
        low, high, count = spread[at : at + 3]
        found.latency_buckets[float(low), float(high)] = _finite(count)
    return found


def _finite(value: object) -> float:
    """A number that is not negative, or ValueError."""
    number = float(value) if isinstance(value, int | float | str) else -1.0
    if not 0 <= number < 1e18:
        raise ValueError(f"{value!r} is no number")
    return number
