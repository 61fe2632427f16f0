"""The failed request that explains why calls fail."""

from __future__ import annotations

from meshwright.control_plane.api.models.requests import Request
from meshwright.control_plane.api.models.traces import Span, Trace
from meshwright.tui.features.traces.failed_request import failed_requests, failed_span


def request(trace: str, service: str, callee: str, *, bad: bool = True, caller: str = "") -> Request:
    return Request(
        trace=trace, time=1, service=service, direction="outbound", caller=caller, callee=callee, failed=bad
    )


REQUESTS = (
    request("a", "orders", "stock", bad=False),
    request("", "orders", "stock"),
    request("b", "orders", "catalog"),
    request("c", "orders", "stock"),
    request("d", "stock", "stock", caller="orders"),
    request("e", "shop", "stock"),
)


def test_failed_requests_are_on_the_edge_and_have_a_trace() -> None:
    assert [match.trace for match in failed_requests(REQUESTS, "stock", ("orders", "stock"))] == ["c", "d"]
    assert [match.trace for match in failed_requests(REQUESTS, "orders", None)] == ["b", "c"]


def span(id: str, service: str, depth: int, to: str = "", *, error: bool = True, proxy: bool = True) -> Span:
    attributes = {"upstream_cluster.name": to} if to else {}
    return Span(
        id=id, service=service, depth=depth, operation="GET /", start=0, duration=1, error=error, proxy=proxy,
        attributes=attributes,
    )  # fmt: skip


def test_failed_span_is_the_deepest_one_a_proxy_reported() -> None:
    tree = (
        span("1", "ingress", 0, "orders"),
        span("2", "orders", 1, proxy=False),
        span("3", "orders", 2, "stock/v2"),
        span("4", "orders", 2, "catalog", error=False),
        span("5", "stock", 3, proxy=False),
    )
    trace = Trace(id="t", service="ingress", operation="GET /", start=0, duration=1, spans=5, tree=tree)
    for name, link, span_id in (
        ("stock", ("orders", "stock"), "3"),
        ("orders", None, "3"),
        ("orders", ("ingress", "orders"), "1"),
        ("catalog", ("orders", "catalog"), None),
    ):
        at = failed_span(trace, name, link)
        assert (at.id if at else None) == span_id
