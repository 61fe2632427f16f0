"""The explanation of a failed request."""

from __future__ import annotations

from meshwright.control_plane.api.models.requests import Cause, Explanation, ResponsiblePolicy
from meshwright.control_plane.api.models.traces import ResponseFlag, Span, Trace
from meshwright.tui.features.traces.why_dialog import explanation_lines, flagged_spans, span_lines

NOW = 1_000_000.0
NO_HOST = ResponseFlag(flag="UH", meaning="no healthy host", kinds=("HealthCheck",))


def plain(explanation: Explanation) -> list[str]:
    return [line.plain for line in explanation_lines(explanation, NOW)]


def test_an_explanation_names_the_policy_with_revision_author_and_message() -> None:
    policy = ResponsiblePolicy(
        kind="CircuitBreaker", name="limits", excerpt="maxRequests: 8", revision=41, author="ada",
        message="tighter", time=NOW - 180,
    )  # fmt: skip
    cause = Cause(
        service="orders", proxy="orders-1", caller="orders", callee="inventory", flag="UO",
        message="a limit was reached", policies=(policy,),
    )  # fmt: skip
    explanation = Explanation(
        id="1", time=NOW, verdict="failed", summary="503 UO at orders \x1b[2J", causes=(cause,)
    )
    assert plain(explanation) == [
        "× failed 503 UO at orders  [2J",
        "",
        "UO a limit was reached",
        "  reported by orders-1, orders → inventory",
        "  CircuitBreaker limits (maxRequests: 8)",
        "    revision 41 · 3 min ago · ada · tighter",
    ]


def test_an_explanation_omits_what_is_unknown() -> None:
    cause = Cause(
        service="orders", message="it was slow", policies=(ResponsiblePolicy(kind="Retry", name="a"),)
    )
    explanation = Explanation(id="1", time=NOW, verdict="slow", summary="slow", causes=(cause,))
    assert plain(explanation)[2:] == ["it was slow", "  reported by orders", "  Retry a"]


def span(
    id: str,
    *,
    depth: int = 0,
    flags: tuple[ResponseFlag, ...] = (),
    message: str = "",
    error: bool = False,
) -> Span:
    return Span(
        id=id, service=id, depth=depth, operation="x", start=0, duration=1, flags=flags, message=message,
        error=error,
    )  # fmt: skip


def trace(*tree: Span, errors: int = 0) -> Trace:
    return Trace(
        id="t",
        service="orders",
        operation="x",
        start=0,
        duration=1,
        spans=len(tree),
        errors=errors,
        tree=tree,
    )


def test_without_an_explanation_the_flags_of_the_spans_are_shown() -> None:
    failed, app = span("orders", flags=(NO_HOST,), error=True), span("inventory", message="out", error=True)
    both = trace(failed, app, errors=2)
    lines = [line.plain for line in span_lines(both, app, (failed,))]
    assert lines == ["UH no healthy host (at orders) (by HealthCheck)", "inventory reports: out"]
    assert "No Envoy set a response flag" in next(span_lines(both, app, ())).plain
    succeeded = both.model_copy(update={"errors": 0})
    assert "nothing failed" in next(span_lines(succeeded, app, ())).plain


def test_flagged_spans_are_the_span_itself_else_those_below_else_all() -> None:
    tree = (
        span("1"),
        span("2", depth=1),
        span("3", depth=2, flags=(NO_HOST,)),
        span("4", depth=1),
    )
    for selected in tree[1:]:
        assert [flagged.id for flagged in flagged_spans(trace(*tree), selected)] == ["3"]
