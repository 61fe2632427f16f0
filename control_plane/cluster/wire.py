"""What control planes report to each other as messages of cluster.proto, and back. Pure."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import NamedTuple, TypeVar

from google.protobuf.message import Message
from pydantic import ValidationError

from meshwright.control_plane.api.models.proxies import ProxyReport, ProxyStatus
from meshwright.control_plane.api.spiffe import Identity, Role
from meshwright.control_plane.cluster import cluster_pb2 as pb
from meshwright.control_plane.status.acks import AckCount
from meshwright.control_plane.telemetry.ingest.envoy_stats import StatPoint
from meshwright.control_plane.telemetry.topology.counters import UpstreamCounters
from meshwright.control_plane.telemetry.topology.flush import MetricsFlush, NodeFlush

_BUCKETS = ("latency_buckets", "delayed_buckets")
_COUNTERS = tuple(field.name for field in fields(UpstreamCounters) if field.name not in _BUCKETS)

_ROLES: tuple[Role, ...] = ("service", "gateway")

MAX_NUMBER = 1e18
"""Counters and ages above are not real."""

MessageT = TypeVar("MessageT", bound=Message)
ParsedT = TypeVar("ParsedT")


class WireError(Exception):
    """A message with invalid contents: another version, or a bug, of the peer."""


class RemoteProxy(NamedTuple):
    """A proxy at a peer, and how many responses it has not acknowledged."""

    status: ProxyStatus
    in_flight: int = 0


@dataclass(slots=True)
class PeerState:
    """A parsed StateReport. Lists that were not requested are None. Ages are in seconds."""

    member_id: str
    problems: tuple[str, ...] = ()
    proxies: list[RemoteProxy] = field(default_factory=list)
    reports: list[tuple[float, ProxyReport]] | None = None
    ack_counts: dict[str, AckCount] | None = None
    flushes: list[tuple[float, NodeFlush]] | None = None
    last_sequence: int = 0
    more: bool = False


# --- to protobuf ------------------------------------------------------------------------------------


def proxy_to_proto(status: ProxyStatus, in_flight: int) -> pb.Proxy:
    """A connected or recently connected proxy."""
    return pb.Proxy(status_json=status.model_dump_json().encode(), in_flight=in_flight)


def report_to_proto(age: float, report: ProxyReport) -> pb.AgedReport:
    """What a proxy's agent reported `age` seconds ago."""
    return pb.AgedReport(age=age, report_json=report.model_dump_json().encode())


def ack_counts_to_proto(ack_counts: Mapping[str, AckCount]) -> pb.AckCounts:
    """ACK counts by `Kind/name`."""
    message = pb.AckCounts()
    for ref, count in ack_counts.items():
        message.by_ref[ref].MergeFrom(
            pb.AckCount(holders=count.holders, acked=count.acked, rejections=count.rejections)
        )
    return message


def write_flush(message: pb.Flush, age: float, node_flush: NodeFlush) -> None:
    """Fill in a metrics flush that was received `age` seconds ago. In place: copies cost as much again."""
    identity, flush = node_flush.identity, node_flush.flush
    message.age, message.role, message.service = age, identity.role, identity.name
    message.node, message.seconds, message.end_ns = node_flush.node, flush.seconds, flush.end_ns
    for cluster, counters in flush.clusters.items():
        _write_counters(message.clusters[cluster], counters)
    _write_counters(message.inbound, flush.inbound)
    message.listens.update(flush.listens)
    for point in flush.gauges:
        message.gauges.add(cluster=point.cluster, stat=point.stat, value=point.value)


def _write_counters(message: pb.Counters, counters: UpstreamCounters) -> None:
    for name in _COUNTERS:
        value = getattr(counters, name)
        if value:
            setattr(message, name, value)
    for name in _BUCKETS:
        buckets = getattr(message, name)
        for (low, high), count in getattr(counters, name).items():
            buckets.add(low=low, high=high, count=count)


# --- from protobuf ----------------------------------------------------------------------------------


def parse_state(report: pb.StateReport, trust_domain: str) -> Generator[None, None, PeerState]:
    """Parse a report, one list item per step; raises WireError."""
    state = PeerState(report.member_id, tuple(report.problems))
    yield from _parse_into(state.proxies, report.proxies, _proxy)
    if report.HasField("reports"):
        state.reports = []
        yield from _parse_into(state.reports, report.reports.reports, _report)
    if report.HasField("ack_counts"):
        state.ack_counts = {
            ref: AckCount(acks.holders, acks.acked, tuple(acks.rejections))
            for ref, acks in report.ack_counts.by_ref.items()
        }
    if report.HasField("flushes"):
        state.flushes = []
        page = report.flushes
        yield from _parse_into(
            state.flushes, page.flushes, lambda flush: flush_from_proto(flush, trust_domain)
        )
        state.last_sequence, state.more = page.last_sequence, page.more
    return state


def _parse_into(
    parsed: list[ParsedT], messages: Iterable[MessageT], parse: Callable[[MessageT], ParsedT]
) -> Generator[None, None, None]:
    for message in messages:
        try:
            parsed.append(parse(message))
        except (ValidationError, ValueError) as error:
            raise WireError(f"{type(error).__name__}: {error}"[:200]) from None
        yield


def _proxy(message: pb.Proxy) -> RemoteProxy:
    return RemoteProxy(ProxyStatus.model_validate_json(message.status_json), message.in_flight)


def _report(message: pb.AgedReport) -> tuple[float, ProxyReport]:
    return _number(message.age), ProxyReport.model_validate_json(message.report_json)


def flush_from_proto(message: pb.Flush, trust_domain: str) -> tuple[float, NodeFlush]:
    """Age and contents of a flush; raises ValueError."""
    flush = MetricsFlush(
        clusters={cluster: _counters(counters) for cluster, counters in message.clusters.items()},
        inbound=_counters(message.inbound),
        gauges=[
            StatPoint(gauge.cluster, gauge.stat, _number(gauge.value), message.end_ns)
            for gauge in message.gauges
        ],
        seconds=_number(message.seconds),
        end_ns=message.end_ns,
        listens=dict(message.listens),
    )
    identity = Identity(trust_domain, _ROLES[_ROLES.index(message.role)], message.service)
    return _number(message.age), NodeFlush(identity, message.node, flush)


def _counters(message: pb.Counters) -> UpstreamCounters:
    counters = UpstreamCounters()
    for name in _COUNTERS:
        setattr(counters, name, _number(getattr(message, name)))
    for name in _BUCKETS:
        buckets = getattr(counters, name)
        for bucket in getattr(message, name):
            buckets[bucket.low, bucket.high] = _number(bucket.count)
    return counters


def _number(value: float) -> float:
    """The value, if it is finite and not negative; otherwise raises ValueError."""
    if not 0 <= value < MAX_NUMBER:
        raise ValueError(f"{value!r} is out of range")
    return value
