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

from control_plane.agents.reports import Reports
from control_plane.api.spiffe import Identity, Role
from control_plane.api.types import Message, ProxyReport, ProxyStatus
from control_plane.core.conditions import Delivery
from control_plane.telemetry.counts import Counts
from control_plane.telemetry.decode import Point
from control_plane.telemetry.flows import Flush, Handed

FLUSHES_SIZE = 2 * 1024 * 1024
"""Bytes of flushes in one answer; what is beyond is asked for again."""

_COUNTS = tuple(one.name for one in fields(Counts) if one.name != "spread")


class PartError(Exception):
    """Bytes that are no part: a peer of another version, or a fault of it."""


class Wanted(Message):
    """What is asked for besides head and proxies. `since`: flushes after this number."""

    since: int | None = Field(None, ge=0)
    reports: bool = False
    deliveries: bool = False


class Head(Message):
    """Who tells, what is not a list, and which of the lists are told whole."""

    id: str
    problems: tuple[str, ...] = ()
    last: int = 0
    more: bool = False
    reports: bool = False
    deliveries: bool = False
    flushes: bool = False


class PeerProxy(ProxyStatus):
    """A proxy with how many responses it has not answered."""

    pending: int = 0


@dataclass(slots=True)
class Part:
    """What was read. Ages in seconds."""

    head: Head
    proxies: list[PeerProxy] = field(default_factory=list)
    reports: list[tuple[float, ProxyReport]] = field(default_factory=list)
    deliveries: dict[str, Delivery] = field(default_factory=dict)
    flushes: list[tuple[float, Handed]] = field(default_factory=list)


def write_proxies(statuses: tuple[ProxyStatus, ...], pending: Mapping[tuple[str, str], int]) -> Iterator[str]:
    """Lines of proxies; `pending` by service and name."""
    for one in statuses:
        told = one.model_dump()
        told["pending"] = pending.get((one.service, one.name), 0)
        yield "P" + json.dumps(told, separators=(",", ":"))


def write_reports(reports: Reports, now: float) -> Iterator[str]:
    """Lines of reports that still count."""
    for age, one in reports.aged(now):
        yield f"R{age:.3f} {one.model_dump_json()}"


def write_deliveries(deliveries: Mapping[str, Delivery]) -> Iterator[str]:
    """Lines of deliveries, by `Kind/name`."""
    for ref, one in deliveries.items():
        yield "D" + json.dumps([ref, one.holders, one.acked, one.rejections], separators=(",", ":"))


def write_flush(age: float, told: Handed) -> str:
    """The line of a flush."""
    flush, identity = told.flush, told.identity
    counts = {cluster: _numbers(one) for cluster, one in flush.counts.items()}
    gauges = [[one.cluster, one.stat, one.value] for one in flush.gauges]
    row = [
        round(age, 3), identity.role, identity.name, told.node, flush.seconds, flush.end, counts,
        _numbers(flush.inbound), gauges,
    ]  # fmt: skip
    return "F" + json.dumps(row, separators=(",", ":"))


def begin(body: bytes) -> tuple[Part, list[str]]:
    """The part with its head alone, and the lines to `take` in; raises PartError."""
    head, *lines = body.decode(errors="replace").split("\n")
    try:
        return Part(Head.model_validate_json(head[1:])), lines
    except ValueError as error:
        raise _no_part(error) from None


def take(part: Part, line: str, trust_domain: str) -> None:
    """Add what a line tells; raises PartError."""
    try:
        _TAKES[line[:1]](part, line[1:], trust_domain)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise _no_part(error) from None


def _no_part(error: Exception) -> PartError:
    return PartError(f"{type(error).__name__}: {error}"[:200])


def _proxy(part: Part, line: str, _trust_domain: str) -> None:
    part.proxies.append(PeerProxy.model_validate_json(line))


def _report(part: Part, line: str, _trust_domain: str) -> None:
    age, _, told = line.partition(" ")
    part.reports.append((_finite(age), ProxyReport.model_validate_json(told)))


def _delivery(part: Part, line: str, _trust_domain: str) -> None:
    ref, holders, acked, rejections = json.loads(line)
    part.deliveries[str(ref)] = Delivery(int(holders), int(acked), tuple(map(str, rejections)))


def _flush(part: Part, line: str, trust_domain: str) -> None:
    age, role, name, node, seconds, end, counts, inbound, gauges = json.loads(line)
    roles: tuple[Role, ...] = ("service", "gateway")
    flush = Flush(
        counts={str(cluster): _counts(numbers) for cluster, numbers in counts.items()},
        inbound=_counts(inbound),
        gauges=[Point(str(cluster), str(stat), _finite(value), int(end)) for cluster, stat, value in gauges],
        seconds=_finite(seconds),
        end=int(end),
    )
    identity = Identity(trust_domain, roles[roles.index(role)], str(name))
    part.flushes.append((_finite(age), Handed(identity, str(node), flush)))


_TAKES: dict[str, Callable[[Part, str, str], None]] = {
    "P": _proxy, "R": _report, "D": _delivery, "F": _flush,
}  # fmt: skip


def _numbers(counts: Counts) -> list[float | list[float]]:
    """The fields in their order, then the histogram as bound, bound, number."""
    spread = [number for (low, high), count in counts.spread.items() for number in (low, high, count)]
    return [*(getattr(counts, name) for name in _COUNTS), spread]


def _counts(numbers: list[float | list[float]]) -> Counts:
    *sums, spread = numbers
    if not isinstance(spread, list):
        raise TypeError("no histogram")
    found = Counts()
    for name, value in zip(_COUNTS, sums, strict=True):
        setattr(found, name, _finite(value))
    for at in range(0, len(spread), 3):
        low, high, count = spread[at : at + 3]
        found.spread[float(low), float(high)] = _finite(count)
    return found


def _finite(value: object) -> float:
    """A number that is not negative, or ValueError."""
    number = float(value) if isinstance(value, int | float | str) else -1.0
    if not 0 <= number < 1e18:
        raise ValueError(f"{value!r} is no number")
    return number
