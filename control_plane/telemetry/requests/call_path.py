"""The call path of a request: what several proxies logged about it, each hop below the one that caused it.

Hops come from the request log, and from spans where there is no log record. A callee's inbound proxy is below
its caller's outbound one, an outbound one below the inbound one of the same service.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from meshwright.control_plane.api.cluster_names import is_app_cluster
from meshwright.control_plane.api.models.requests import Direction, Hop, Request
from meshwright.control_plane.api.models.traces import Span, Trace
from meshwright.control_plane.telemetry.requests.attribution import PolicyAttribution
from meshwright.control_plane.telemetry.requests.failure import GRPC_FAILURES
from meshwright.control_plane.telemetry.requests.record import callee_of

CLOCK_SKEW = 0.02
"""Seconds by which the clocks of hosts may differ."""

SAME_REQUEST_WITHIN = 0.0005
"""Seconds within which a span and a log record of one proxy are the same request; both have its start."""


@dataclass(frozen=True, slots=True)
class CallHop:
    """A request at one proxy. `parent` is the index of the hop that caused it, -1 for none.

    `self_ms` is the part of the duration not spent in the hops below.
    """

    request: Request
    parent: int
    depth: int
    self_ms: float


def order_hops(requests: Sequence[Request]) -> tuple[CallHop, ...]:
    """The requests as hops, each after its parent."""
    ordered = sorted(requests, key=lambda request: (request.time, -request.duration))
    children: dict[int, list[int]] = {}
    for index in range(len(ordered)):
        children.setdefault(_parent(ordered, index), []).append(index)
    hops: list[CallHop] = []
    stack = [(index, -1, 0) for index in reversed(children.get(-1, []))]
    while stack:
        index, parent, depth = stack.pop()
        below = children.get(index, [])
        self_ms = max(0.0, ordered[index].duration - sum(ordered[child].duration for child in below))
        hops.append(CallHop(ordered[index], parent, depth, self_ms))
        stack += [(child, len(hops) - 1, depth + 1) for child in reversed(below)]
    return tuple(hops)


def hops_of_request(hops: Sequence[CallHop], id: str) -> tuple[CallHop, ...]:
    """The hops of the request with this ID, and those below them; all hops if it is not a request's ID.

    Other requests of the same trace, such as earlier calls of the same client, are left out.
    """
    if not any(hop.request.id == id for hop in hops):
        return tuple(hops)
    numbers: dict[int, int] = {}
    selected: list[CallHop] = []
    for index, hop in enumerate(hops):
        parent = numbers.get(hop.parent, -1)
        if parent < 0 and hop.request.id != id:
            continue
        numbers[index] = len(selected)
        depth = selected[parent].depth + 1 if parent >= 0 else 0
        selected.append(replace(hop, parent=parent, depth=depth))
    return tuple(selected)


def to_api(hops: Sequence[CallHop]) -> tuple[Hop, ...]:
    """Hops as API models."""
    first = min((hop.request.time for hop in hops), default=0.0)
    return tuple(_hop(hop, first) for hop in hops)


def merge_spans_and_logs(
    records: Sequence[Request], trace: Trace | None, policies: PolicyAttribution
) -> tuple[Request, ...]:
    """The log records, and requests that only spans report."""
    if trace is None:
        return tuple(records)
    by_id = {span.id: span for span in trace.tree}
    requests = [
        _request_from_span(span, by_id, trace.id, policies)
        for span in trace.tree
        if span.proxy and span.kind == "server"
    ]
    return (
        *records,
        *(
            request
            for request in requests
            if not any(_is_same_request(request, record) for record in records)
        ),
    )


def _parent(ordered: Sequence[Request], index: int) -> int:
    """The index of the earlier request that may have caused this one; -1 for none.

    Of several it is the newest with the same request ID, else the newest.
    """
    request = ordered[index]
    newest = -1
    for earlier in range(index - 1, -1, -1):
        other = ordered[earlier]
        if request.time > other.time + other.duration / 1000 + CLOCK_SKEW:
            continue
        if request.direction == "inbound":
            is_sent_here = other.direction != "inbound" and other.callee == request.service
            is_parent = is_sent_here and _may_be_same_call(other, request)
        else:
            is_parent = other.direction == "inbound" and other.service == request.service
        if is_parent and request.id and other.id == request.id:
            return earlier
        if is_parent and newest < 0:
            newest = earlier
    return newest


def _may_be_same_call(sent: Request, received: Request) -> bool:
    """Whether one proxy may have sent what the other received: neither caller nor request ID differ."""
    is_caller = received.caller in ("", sent.service)
    return is_caller and (not received.id or not sent.id or received.id == sent.id)


def _hop(hop: CallHop, first: float) -> Hop:
    request = hop.request
    return Hop(
        depth=hop.depth,
        service=request.service,
        proxy=request.proxy,
        direction=request.direction,
        caller=request.caller,
        callee=request.callee,
        request=f"{request.method} {request.path}".strip(),
        status=request.status,
        grpc_status=request.grpc_status,
        flags=tuple(flag.flag for flag in request.flags),
        start=(request.time - first) * 1000,
        duration=request.duration,
        self_time=hop.self_ms,
        attempts=request.attempts,
        failed=request.failed,
    )


def _is_same_request(request: Request, other: Request) -> bool:
    """Whether both are the same request at the same proxy."""
    ends = [(item.service, item.callee, item.direction == "inbound") for item in (request, other)]
    return ends[0] == ends[1] and abs(request.time - other.time) < SAME_REQUEST_WITHIN


def _request_from_span(
    span: Span, by_id: dict[str, Span], trace: str, policies: PolicyAttribution
) -> Request:
    """The request of one of Envoy's spans."""
    attributes = span.attributes
    cluster = attributes.get("upstream_cluster.name") or attributes.get("upstream_cluster", "")
    cluster = "" if cluster == "-" else cluster
    parent = by_id.get(span.parent)
    caller = parent.service if parent and parent.service != span.service else ""
    is_inbound = is_app_cluster(cluster) or (bool(caller) and not cluster)
    direction: Direction = "inbound" if is_inbound else "outbound"
    if span.service in policies.gateways:
        direction = "ingress"
    host, path = _host_and_path(attributes.get("http.url", ""))
    status = attributes.get("http.status_code", "")
    attempts = [
        child
        for child in by_id.values()
        if child.parent == span.id and child.proxy and child.kind == "client"
    ]
    return Request(
        id=attributes.get("guid:x-request-id", ""),
        trace=trace,
        time=span.start,
        service=span.service,
        proxy=span.instance,
        direction=direction,
        caller=caller if is_inbound else span.service,
        callee=callee_of(direction, span.service, cluster, host, policies.domains),
        method=attributes.get("http.method", ""),
        host=host,
        path=path,
        status=int(status) if status.isdigit() else 0,
        grpc_status=GRPC_FAILURES.get(attributes.get("grpc.status_code", ""), ""),
        flags=span.flags,
        duration=span.duration,
        attempts=len(attempts),
        upstream=cluster,
        upstream_host=next((child.attributes.get("peer.address", "") for child in attempts[-1:]), ""),
        failed=span.error,
    )


def _host_and_path(url: str) -> tuple[str, str]:
    """Host and path of a URL, without its query."""
    match = re.fullmatch(r"(?:[a-z+.-]+://([^/?#]*))?([^?#]*).*", url, re.DOTALL)
    return (match[1] or "", match[2]) if match else ("", "")
