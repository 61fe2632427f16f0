"""The search line of the trace list, and its rows."""

from __future__ import annotations

import pytest

from meshwright.control_plane.api.models.traces import ServiceSpanCount, TraceSummary
from meshwright.tui.features.traces.query import (
    DURATIONS,
    NO_FILTER,
    TraceFilter,
    filter_choices,
    matching_traces,
    parse_query,
    trace_row,
)

SERVICES = {"orders", "inventory"}


@pytest.mark.parametrize(
    ("line", "trace_filter"),
    [
        ("", NO_FILTER),
        ("orders", TraceFilter(service="orders")),
        ("orders >250ms errors", TraceFilter("orders", min_duration="250ms", errors=True)),
        (">=2s", TraceFilter(min_duration="2s")),
        (">40", TraceFilter(min_duration="40ms")),
        ("inventory op=GET /reserve a b", TraceFilter("inventory", "GET /reserve a b")),
        ("POST /api", TraceFilter(texts=("POST", "/api"))),
        ("order", TraceFilter(texts=("order",))),
        (">", NO_FILTER),
        (">fast", TraceFilter(texts=(">fast",))),
    ],
)
def test_parse_query_reads_services_durations_and_texts(line: str, trace_filter: TraceFilter) -> None:
    assert parse_query(line, SERVICES) == trace_filter


def test_parse_query_keeps_what_the_line_does_not_set() -> None:
    keyed = TraceFilter("inventory", errors=True, min_duration="1s")
    assert parse_query("orders", SERVICES, keyed) == TraceFilter("orders", errors=True, min_duration="1s")
    assert parse_query("", SERVICES, keyed) == keyed


def test_choices_change_one_part_of_the_filter() -> None:
    current = TraceFilter("orders", min_duration="1s", errors=True)
    choices = dict(filter_choices(current, ["orders", "users"]))
    assert choices["of all services, of any duration"] == TraceFilter(errors=True)
    assert choices["of users"] == TraceFilter("users", min_duration="1s", errors=True)
    assert {choices[f"of at least {each}"].min_duration for each in DURATIONS} == set(DURATIONS)


def summary(id: str, start: float, errors: int = 0) -> TraceSummary:
    shares = (
        ServiceSpanCount(service="ingress", spans=1),
        ServiceSpanCount(service="orders", spans=2, errors=errors),
    )
    return TraceSummary(
        id=id * 32, service="ingress", operation="ingress", request="GET /a\x1b[31m", start=start,
        duration=612.4, spans=3, errors=errors, services=shares,
    )  # fmt: skip


def no_labels(*_names: str) -> str:
    return ""


def test_matching_traces_contain_every_text() -> None:
    traces = [summary("a", 10), summary("b", 30), summary("c", 20)]
    assert [match.id[0] for match in matching_traces(traces, (), no_labels)] == ["a", "b", "c"]
    assert [match.id[0] for match in matching_traces(traces, ("GET", "ORDERS", "ccc"), no_labels)] == ["c"]
    assert [match.id[0] for match in matching_traces(traces, ("orders", "!CCC"), no_labels)] == ["a", "b"]
    assert matching_traces(traces, ("orders", "nowhere"), no_labels) == []


def test_the_row_of_a_failed_trace_has_a_symbol_and_the_failed_services() -> None:
    texts = [cell.text for cell in trace_row(summary("a", 10, errors=2)).cells]
    assert texts[0] == "×"
    assert texts[2:6] == ["612", "GET /a [31m", "2", "3"]
    assert texts[-1] == "× orders, ingress"
    assert trace_row(summary("a", 10)).cells[0].text == "●"
