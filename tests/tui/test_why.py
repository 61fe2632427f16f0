"""What the dashboard says of why a request failed."""

from __future__ import annotations

from meshwright.control_plane.api.models.requests import Cause, Explanation, ResponsiblePolicy
from meshwright.control_plane.api.models.traces import ResponseFlag, Span, Trace
from meshwright.tui.features.traces.why_dialog import explanation_lines, span_lines

NOW = 1_000_000.0


def plain(why: Explanation) -> list[str]:
    return [line.plain for line in explanation_lines(why, NOW)]


def test_the_policy_is_named_with_revision_author_and_reason() -> None:
    blamed = ResponsiblePolicy(
        kind="CircuitBreaker", name="limits", excerpt="maxRequests: 8", revision=41, author="ada", message="tighter",
        time=NOW - 180,
    )  # fmt: skip
    reason = Cause(
        service="orders", proxy="orders-1", caller="orders", callee="inventory", flag="UO",
        message="a limit was reached", policies=(blamed,),
    )  # fmt: skip
    why = Explanation(
        id="1", time=NOW, verdict="failed", summary="503 UO at orders \x1b[2J", causes=(reason,)
    )
    assert plain(why) == [
        "✖ failed 503 UO at orders  [2J",
        "",
        "UO a limit was reached",
        "  told by orders-1, orders → inventory",
        "  CircuitBreaker limits (maxRequests: 8)",
        "    revision 41 · 3 min ago · ada · tighter",
    ]


def test_what_is_not_known_is_left_out() -> None:
    reason = Cause(
        service="orders", message="it took long", policies=(ResponsiblePolicy(kind="Retry", name="a"),)
    )
    why = Explanation(id="1", time=NOW, verdict="slow", summary="slow", causes=(reason,))
    assert plain(why)[2:] == ["it took long", "  told by orders", "  Retry a"]


def span(id: str, *, flags: tuple[ResponseFlag, ...] = (), message: str = "", error: bool = False) -> Span:
    return Span(
        id=id, service=id, operation="x", start=0, duration=1, flags=flags, message=message, error=error
    )


def test_without_the_proxies_logs_the_spans_tell() -> None:
    nobody = ResponseFlag(flag="UH", meaning="nobody was left", kinds=("HealthCheck",))
    failed, app = span("orders", flags=(nobody,), error=True), span("inventory", message="out", error=True)
    whole = {"id": "t", "service": "orders", "operation": "x", "start": 0, "duration": 1, "spans": 2}
    trace = Trace.model_validate({**whole, "errors": 2, "tree": (failed, app)})
    lines = [line.plain for line in span_lines(trace, app, (failed,))]
    assert lines == ["UH nobody was left (at orders) (by HealthCheck)", "inventory says: out"]
    assert "No Envoy set a flag" in next(span_lines(trace, app, ())).plain
    well = trace.model_copy(update={"errors": 0})
    assert "nothing failed" in next(span_lines(well, app, ())).plain
