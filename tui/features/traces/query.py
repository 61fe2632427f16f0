"""What traces are looked for, as one line of text or by keys; and traces as rows of a table. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from meshwright.control_plane.api.models.traces import TraceSummary
from meshwright.tui import format
from meshwright.tui.widgets.table_model import TableCell, TableColumn, TableRow

DURATIONS = ("", "100ms", "250ms", "1s", "5s")
"""What the key for the least duration goes through."""

_DURATION = re.compile(r">=?([0-9]{1,9})(ms|s|m)?")

SHORT_ID_LENGTH = 12
"""Digits of an id in the list: no two of some thousand traces share them."""

COLUMNS = (
    TableColumn("", 1),
    TableColumn("began", 8),
    TableColumn("ms", 6, right=True),
    TableColumn("request", 24, grow=True),
    TableColumn("failed", 6, right=True, drop_rank=1),
    TableColumn("spans", 5, right=True, drop_rank=2),
    TableColumn("at", 12, drop_rank=3),
    TableColumn("trace", SHORT_ID_LENGTH, drop_rank=4),
    TableColumn("services", 20, grow=True, drop_rank=5),
)


@dataclass(frozen=True, slots=True)
class TraceFilter:
    """What is looked for: the API finds all but `texts`, which a trace's line must hold."""

    service: str = ""
    operation: str = ""
    min_duration: str = ""
    errors: bool = False
    texts: tuple[str, ...] = ()

    def summary(self) -> str:
        """What is looked for, in words."""
        parts = [
            f"of {self.service}" if self.service else "of all services",
            f"operation {self.operation}" if self.operation else "",
            f"at least {self.min_duration}" if self.min_duration else "",
            "failed only" if self.errors else "",
            f"with {' '.join(self.texts)}" if self.texts else "",
        ]
        return " · ".join(part for part in parts if part)


NO_FILTER = TraceFilter()


def parse_query(text: str, services: Collection[str], under: TraceFilter = NO_FILTER) -> TraceFilter:
    """A search line: a service's name, `op=NAME`, `>250ms`, `errors`, and any other words.

    What it does not name is as in `under`. An operation's name may hold spaces: `op=` takes the rest.
    """
    head, told, operation = text.partition("op=")
    found = replace(under, operation=operation.strip()) if told else under
    texts: list[str] = []
    for word in head.split():
        least = _DURATION.fullmatch(word)
        if least:
            found = replace(found, min_duration=f"{least[1]}{least[2] or 'ms'}")
        elif word.lower() in {"errors", "error", "failed"}:
            found = replace(found, errors=True)
        elif word in services:
            found = replace(found, service=word)
        elif word not in {">", ">="}:
            texts.append(word)
    return replace(found, texts=tuple(texts))


def next_duration(duration: str) -> str:
    """The next least duration."""
    at = DURATIONS.index(duration) if duration in DURATIONS else -1
    return DURATIONS[(at + 1) % len(DURATIONS)]


def matching_traces(traces: Iterable[TraceSummary], texts: Collection[str]) -> list[TraceSummary]:
    """The traces whose line holds every text, the one that began last first."""
    wanted = [text.lower() for text in texts]
    found = [one for one in traces if all(text in _search_text(one) for text in wanted)]
    return sorted(found, key=lambda one: -one.start)


def _search_text(trace: TraceSummary) -> str:
    names = " ".join(share.service for share in trace.services)
    return f"{trace.id} {trace.request} {trace.operation} {trace.service} {names}".lower()


def trace_row(trace: TraceSummary) -> TableRow:
    """A trace as a row; a failed one begins with its sign."""
    bad = trace.errors > 0
    failed = [share.service for share in trace.services if share.errors]
    others = [share.service for share in trace.services if not share.errors]
    services = ", ".join([f"✖ {name}" for name in failed] + others)
    return TableRow(
        trace.id,
        (
            TableCell("✖", "bad") if bad else Cell("●", "good"),
            TableCell(format.format_time(trace.start), "dim"),
            TableCell(format.format_number(trace.duration)),
            TableCell(format.sanitize(trace.request or trace.operation), "strong" if bad else "plain"),
            TableCell(str(trace.errors) if bad else format.NO_VALUE, "bad" if bad else "dim"),
            TableCell(str(trace.spans)),
            TableCell(format.sanitize(trace.service)),
            TableCell(trace.id[:SHORT_ID_LENGTH], "dim"),
            TableCell(format.sanitize(services), "dim"),
        ),
    )
