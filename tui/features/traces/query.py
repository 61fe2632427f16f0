"""The filter of the trace list, as a search line or set by keys; and the rows of the list. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace

from meshwright.control_plane.api import signs
from meshwright.control_plane.api.models.traces import TraceSummary
from meshwright.tui.format import NO_VALUE, format_number, format_time, sanitize
from meshwright.tui.search import parse_search
from meshwright.tui.widgets.table_model import SortOrder, TableCell, TableColumn, TableRow

DURATIONS = ("100ms", "250ms", "1s", "5s")
"""Minimum durations to choose from."""

_DURATION = re.compile(r">=?([0-9]{1,9})(ms|s|m)?")

SHORT_ID_LENGTH = 12
"""Digits of a trace ID in the list: enough to tell thousands of traces apart."""

COLUMNS = (
    TableColumn("", 1),
    TableColumn("started", 8),
    TableColumn("ms", 6, right=True),
    TableColumn("request", 24, grow=True),
    TableColumn("failed", 6, right=True, drop_rank=1),
    TableColumn("spans", 5, right=True, drop_rank=2),
    TableColumn("root", 12, drop_rank=3),
    TableColumn("trace", SHORT_ID_LENGTH, drop_rank=4),
    TableColumn("services", 20, grow=True, drop_rank=5),
)
ORDERS: tuple[SortOrder[TraceSummary], ...] = (
    SortOrder("start", "started", lambda trace: -trace.start, descending=True),
    SortOrder("duration", "ms", lambda trace: (-trace.duration, -trace.start), descending=True),
    SortOrder("request", "request", lambda trace: (trace.request or trace.operation, -trace.start)),
    SortOrder("failed spans", "failed", lambda trace: (-trace.errors, -trace.start), descending=True),
    SortOrder("spans", "spans", lambda trace: (-trace.spans, -trace.start), descending=True),
    SortOrder("root", "root", lambda trace: (trace.service, -trace.start)),
)


@dataclass(frozen=True, slots=True)
class TraceFilter:
    """The API applies all fields but `texts`, which the dashboard looks for in a trace's row."""

    service: str = ""
    operation: str = ""
    min_duration: str = ""
    errors: bool = False
    texts: tuple[str, ...] = ()

    def summary(self) -> str:
        """The filter in words."""
        parts = [
            f"of {self.service}" if self.service else "of all services",
            f"operation {self.operation}" if self.operation else "",
            f"at least {self.min_duration}" if self.min_duration else "",
            "failed only" if self.errors else "",
            f"containing {' '.join(self.texts)}" if self.texts else "",
        ]
        return " · ".join(part for part in parts if part)


NO_FILTER = TraceFilter()


def parse_query(text: str, services: Collection[str], base: TraceFilter = NO_FILTER) -> TraceFilter:
    """Parse a search line: a service's name, `op=NAME`, `>250ms`, `errors`, and any other words.

    It overrides `base`. An operation's name may contain blanks: `op=` takes the rest of the line.
    """
    head, separator, operation = text.partition("op=")
    result = replace(base, operation=operation.strip()) if separator else base
    texts: list[str] = []
    for word in head.split():
        duration = _DURATION.fullmatch(word)
        if duration:
            result = replace(result, min_duration=f"{duration[1]}{duration[2] or 'ms'}")
        elif word.lower() in {"errors", "error", "failed"}:
            result = replace(result, errors=True)
        elif word in services:
            result = replace(result, service=word)
        elif word not in {">", ">="}:
            texts.append(word)
    return replace(result, texts=tuple(texts))


def filter_choices(current: TraceFilter, services: Iterable[str]) -> list[tuple[str, TraceFilter]]:
    """What the filter can be changed to, with a text for each."""
    return [
        ("of all services, of any duration", replace(current, service="", min_duration="")),
        *((f"of at least {each}", replace(current, min_duration=each)) for each in DURATIONS),
        *((f"of {name}", replace(current, service=name)) for name in services),
    ]


def matching_traces(
    traces: Iterable[TraceSummary], texts: Collection[str], labels_of: Callable[..., str]
) -> list[TraceSummary]:
    """Traces that match the texts as a search; `labels_of`: the labels of services by their names."""
    query = parse_search(" ".join(texts))
    return [
        trace
        for trace in traces
        if query.matches(_search_text(trace), labels_of(*(count.service for count in trace.services)))
    ]


def _search_text(trace: TraceSummary) -> str:
    services = " ".join(count.service for count in trace.services)
    return f"{trace.id} {trace.request} {trace.operation} {trace.service} {services}"


def trace_row(trace: TraceSummary) -> TableRow:
    """The row of a trace; services with failed spans come first."""
    bad = trace.errors > 0
    failed = [count.service for count in trace.services if count.errors]
    others = [count.service for count in trace.services if not count.errors]
    services = ", ".join([f"{signs.BAD} {name}" for name in failed] + others)
    return TableRow(
        trace.id,
        (
            TableCell(signs.BAD, "bad") if bad else TableCell(signs.GOOD, "good"),
            TableCell(format_time(trace.start), "dim"),
            TableCell(format_number(trace.duration)),
            TableCell(sanitize(trace.request or trace.operation), "strong" if bad else "plain"),
            TableCell(str(trace.errors) if bad else NO_VALUE, "bad" if bad else "dim"),
            TableCell(str(trace.spans)),
            TableCell(sanitize(trace.service)),
            TableCell(trace.id[:SHORT_ID_LENGTH], "dim"),
            TableCell(sanitize(services), "dim"),
        ),
    )
