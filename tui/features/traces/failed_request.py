"""Which request shows best why calls fail: the newest failed one of an edge or service. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from meshwright.control_plane.api.models.requests import Request
from meshwright.control_plane.api.models.traces import Span, Trace
from meshwright.tui.features.traces.trace_policies import CLUSTER_ATTRIBUTES
from meshwright.tui.graph.graph import Link


def failed_requests(requests: Iterable[Request], name: str, link: Link | None) -> Iterator[Request]:
    """Requests that failed on the way to a service, of an edge only those of its caller; in their order."""
    for one in requests:
        if one.failed and one.trace and (_on_edge(one, link) if link else name in (one.service, one.callee)):
            yield one


def _on_edge(request: Request, link: Link) -> bool:
    return (request.caller or request.service, request.callee) == link


def failed_span(trace: Trace, name: str, link: Link | None) -> Span | None:
    """The step of a trace that failed there: the deepest of those that a proxy told."""
    found = [span for span in trace.tree if span.error and _matches(span, name, link)]
    return max(found, key=lambda span: (span.proxy, span.depth), default=None)


def _matches(span: Span, name: str, link: Link | None) -> bool:
    told = next((span.attributes[key] for key in CLUSTER_ATTRIBUTES if span.attributes.get(key)), "")
    callee = told.partition("/")[0].partition(":")[0]
    return (span.service, callee) == link if link else name in (span.service, callee)
