"""The way of a request: what several proxies told of it, put in order, each below what caused it. Pure.

Requests of one trace are those of its log, and those that only spans tell. A callee's inbound proxy stands
below its caller's outbound one, an outbound one below the inbound one of the same service.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from meshwright.control_plane.api.models.requests import Direction, Hop, Request
from meshwright.control_plane.api.models.traces import Span, Trace
from meshwright.control_plane.telemetry.requests import failure, record

CLOCK_SKEW = 0.02
"""Seconds by which clocks of hosts, and a span from a log record, may differ."""

SAME_REQUEST_WITHIN = 0.0005
"""Seconds within which a span and a record of one proxy are of the same request: both have its start."""


@dataclass(frozen=True, slots=True)
class CallHop:
    """A request at one proxy. `parent` is the position of the hop that caused it, -1 for none."""

    request: Request
    parent: int
    depth: int
    self_ms: float


def order_hops(found: Sequence[Request]) -> tuple[CallHop, ...]:
    """Requests in the order of their way, each after its parent; `own` is what no child took, in ms."""
    ordered = sorted(found, key=lambda one: (one.time, -one.duration))
    parents = [_parent(ordered, index) for index in range(len(ordered))]
    children: dict[int, list[int]] = {}
    for index, parent in enumerate(parents):
        children.setdefault(parent, []).append(index)
    placed: list[CallHop] = []
    waiting = [(index, -1, 0) for index in reversed(children.get(-1, []))]
    while waiting:
        index, parent, depth = waiting.pop()
        below = children.get(index, [])
        taken = sum(ordered[one].duration for one in below)
        placed.append(CallHop(ordered[index], parent, depth, max(0.0, ordered[index].duration - taken)))
        waiting += [(one, len(placed) - 1, depth + 1) for one in reversed(below)]
    return tuple(placed)


def _parent(ordered: Sequence[Request], index: int) -> int:
    """The newest earlier request that may have caused this one."""
    one = ordered[index]
    for at in range(index - 1, -1, -1):
        other = ordered[at]
        if one.time > other.time + other.duration / 1000 + CLOCK_SKEW:
            continue
        if one.direction == "inbound":
            if other.direction != "inbound" and other.callee == one.service and _may_have_caused(other, one):
                return at
        elif other.direction == "inbound" and other.service == one.service:
            return at
    return -1


def _may_have_caused(sender: Request, taken: Request) -> bool:
    """Whether what one proxy sent may be what the other took in: from it, or from nobody that is proven."""
    return taken.caller in ("", sender.service) and (not taken.id or not sender.id or taken.id == sender.id)


def to_api(found: Sequence[CallHop]) -> tuple[Hop, ...]:
    """Hops as the API tells them."""
    first = min((hop.request.time for hop in found), default=0.0)
    return tuple(
        Hop(
            depth=hop.depth,
            service=one.service,
            proxy=one.proxy,
            direction=one.direction,
            caller=one.caller,
            callee=one.callee,
            request=f"{one.method} {one.path}".strip(),
            status=one.status,
            grpc_status=one.grpc_status,
            flags=tuple(flag.flag for flag in one.flags),
            start=(one.time - first) * 1000,
            duration=one.duration,
            self_time=hop.self_ms,
            attempts=one.attempts,
            failed=one.failed,
        )
        for hop in found
        for one in (hop.request,)
    )


def merge_spans_and_logs(
    records: Sequence[Request], trace: Trace | None, gateways: Collection[str]
) -> tuple[Request, ...]:
    """The records, and what only the trace's spans tell."""
    if trace is None:
        return tuple(records)
    by_id = {span.id: span for span in trace.tree}
    spans = [
        _request_from_span(span, by_id, trace.id, gateways)
        for span in trace.tree
        if span.proxy and span.kind == "server"
    ]
    return (*records, *(one for one in spans if not any(_is_same_request(one, known) for known in records)))


def _is_same_request(one: Request, other: Request) -> bool:
    """Whether two tell of one request at one proxy."""
    ends = [(each.service, each.callee, each.direction == "inbound") for each in (one, other)]
    return ends[0] == ends[1] and abs(one.time - other.time) < SAME_REQUEST_WITHIN


def _request_from_span(span: Span, by_id: dict[str, Span], trace: str, gateways: Collection[str]) -> Request:
    """A request as Envoy's span of it tells it."""
    told = span.attributes
    cluster = told.get("upstream_cluster.name") or told.get("upstream_cluster", "")
    cluster = "" if cluster == "-" else cluster
    above = by_id.get(span.parent)
    caller = above.service if above and above.service != span.service else ""
    inbound = record.is_app_cluster(cluster) or (bool(caller) and not cluster)
    direction: Direction = "inbound" if inbound else "outbound"
    if span.service in gateways:
        direction = "ingress"
    host, path = _url(told.get("http.url", ""))
    status = int(told.get("http.status_code", "") or 0) if told.get("http.status_code", "0").isdigit() else 0
    tries = [one for one in by_id.values() if one.parent == span.id and one.proxy and one.kind == "client"]
    return Request(
        id=told.get("guid:x-request-id", ""),
        trace=trace,
        time=span.start,
        service=span.service,
        proxy=span.instance,
        direction=direction,
        caller=caller if inbound else span.service,
        callee=record.callee_of(direction, span.service, cluster, host),
        method=told.get("http.method", ""),
        host=host,
        path=path,
        status=status,
        grpc_status=failure.GRPC_FAILURES.get(told.get("grpc.status_code", ""), ""),
        flags=span.flags,
        duration=span.duration,
        attempts=len(tries),
        upstream=cluster,
        upstream_host=next((one.attributes.get("peer.address", "") for one in tries[-1:]), ""),
        failed=span.error,
    )


def _url(url: str) -> tuple[str, str]:
    """Host and path of a URL, without its query."""
    found = re.fullmatch(r"(?:[a-z+.-]+://([^/?#]*))?([^?#]*).*", url, re.DOTALL)
    return (found[1] or "", found[2]) if found else ("", "")
