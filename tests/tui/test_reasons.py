"""Which policies are suspected of a failure."""

from __future__ import annotations

from typing import Any

from meshwright.control_plane.api.models.traces import ResponseFlag, Span, Trace
from meshwright.tui.features.traces.trace_policies import flagged_spans, possible_policies

NOBODY = ResponseFlag(flag="UH", meaning="nobody was left", kinds=("CircuitBreaker", "HealthCheck"))


def span(id: str, depth: int, service: str, *flags: ResponseFlag, callee: str = "") -> Span:
    attributes = {"upstream_cluster.name": callee} if callee else {}
    return Span(
        id=id, depth=depth, service=service, operation="x", start=0, duration=1, flags=flags,
        attributes=attributes,
    )  # fmt: skip


TREE = (
    span("1", 0, "ingress"),
    span("2", 1, "orders"),
    span("3", 2, "orders", NOBODY, callee="inventory/v2"),
    span("4", 1, "catalog"),
)
TRACE = Trace(id="t", service="ingress", operation="x", start=0, duration=1, spans=4, tree=TREE)


def policy(kind: str, name: str, *refs: dict[str, str]) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": name}, "spec": {"targetRefs": list(refs)}}


def test_a_step_is_explained_by_itself_then_by_what_it_called_then_by_the_trace() -> None:
    assert [one.id for one in flagged_spans(TRACE, TREE[2])] == ["3"]
    assert [one.id for one in flagged_spans(TRACE, TREE[1])] == ["3"]
    assert [one.id for one in flagged_spans(TRACE, TREE[3])] == ["3"]


def test_policies_of_the_called_service_come_first_and_others_services_do_not_come() -> None:
    documents = [
        policy("HealthCheck", "all", {"kind": "Mesh"}),
        policy("CircuitBreaker", "of-catalog", {"kind": "Service", "name": "catalog"}),
        policy("CircuitBreaker", "of-inventory", {"kind": "Service", "name": "inventory"}),
        policy("Timeout", "fast", {"kind": "Service", "name": "inventory"}),
    ]
    found = possible_policies([TREE[2]], documents)
    assert [(one.kind, one.name, one.flag.flag) for one in found] == [
        ("CircuitBreaker", "of-inventory", "UH"),
        ("HealthCheck", "all", "UH"),
    ]
    assert possible_policies([TREE[0]], documents) == ()
