"""Finds the request that best explains why calls of a service or edge fail: the newest failed one. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from meshwright.control_plane.api.cluster_names import parse_cluster_name
from meshwright.control_plane.api.models.requests import Request
from meshwright.control_plane.api.models.traces import Span, Trace
from meshwright.tui.graph.graph import Link

CLUSTER_ATTRIBUTES = ("upstream_cluster.name", "upstream_cluster")
"""Span attributes in which Envoy names the cluster that it forwarded the request to."""


def failed_requests(requests: Iterable[Request], service: str, link: Link | None) -> Iterator[Request]:
    """Failed requests that have a trace: those of an edge, or those that a service sent or received."""
    for request in requests:
        matches = _on_edge(request, link) if link else service in (request.service, request.callee)
        if request.failed and request.trace and matches:
            yield request


def _on_edge(request: Request, link: Link) -> bool:
    return (request.caller or request.service, request.callee) == link


def failed_span(trace: Trace, service: str, link: Link | None) -> Span | None:
    """The failed span of an edge or service: the deepest one that a proxy reported, else the deepest."""
    failed = [span for span in trace.tree if span.error and _matches(span, service, link)]
    return max(failed, key=lambda span: (span.proxy, span.depth), default=None)


def _matches(span: Span, service: str, link: Link | None) -> bool:
    cluster = next((span.attributes[key] for key in CLUSTER_ATTRIBUTES if span.attributes.get(key)), "")
    callee = parse_cluster_name(cluster).service
    return (span.service, callee) == link if link else service in (span.service, callee)
