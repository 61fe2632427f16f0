"""Events as table rows, and the filters of the event list. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

from meshwright.control_plane.api.models.events import Event, Severity
from meshwright.tui.format import SEVERITY_LABELS, UNKNOWN_LABEL, format_time, sanitize
from meshwright.tui.search import SearchQuery
from meshwright.tui.widgets.table_model import SortOrder, TableCell, TableColumn, TableRow

EVENT_COLUMNS: tuple[TableColumn, ...] = (
    TableColumn("", 1),
    TableColumn("time", 8),
    TableColumn("kind", 9, drop_rank=2),
    TableColumn("object", 10, grow=True),
    TableColumn("message", 34, grow=True),
    TableColumn("rev", 4, right=True, drop_rank=3),
    TableColumn("author", 14, drop_rank=4),
)
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""The worst last."""

EVENT_ORDERS: tuple[SortOrder[Event], ...] = (
    SortOrder("time", "time", lambda event: -event.time, descending=True),
    SortOrder(
        "severity", "", lambda event: (-SEVERITIES.index(event.severity), -event.time), descending=True
    ),
    SortOrder("kind", "kind", lambda event: (event.kind, -event.time)),
    SortOrder("object", "object", lambda event: (event.subject, -event.time)),
    SortOrder("message", "message", lambda event: (event.message, -event.time)),
    SortOrder("revision", "rev", lambda event: (-(event.revision or 0), -event.time), descending=True),
    SortOrder("author", "author", lambda event: (not event.author, event.author, -event.time)),
)


def is_about(event: Event, name: str) -> bool:
    """Whether an event is about a service: the service, an edge, an instance or an identity of it."""
    return any(part == name or part.rpartition("-")[0] == name for part in subjects(event))


def subjects(event: Event) -> list[str]:
    """The names in an event's subject: service, edge, instance, kind and name of a policy."""
    return event.subject.replace("→", " ").replace("/", " ").split()


def matches_search(event: Event, query: SearchQuery, labels: str) -> bool:
    """Whether an event matches a search; `labels`: those of its subjects."""
    fields = f"{event.kind} {event.subject} {event.message} {event.author} {event.severity}"
    return query.matches(fields, labels)


def event_row(event: Event) -> TableRow:
    """The row of an event."""
    label = SEVERITY_LABELS.get(event.severity, UNKNOWN_LABEL)
    return TableRow(
        event.id,
        (
            TableCell(label.symbol, label.tone),
            TableCell(format_time(event.time), "dim"),
            TableCell(event.kind, "accent"),
            TableCell(sanitize(event.subject), "strong"),
            TableCell(sanitize(event.message), label.tone if label.tone != "good" else "plain"),
            TableCell(str(event.revision) if event.revision else "", "dim"),
            TableCell(sanitize(event.author), "dim"),
        ),
    )


def last_change(events: Iterable[Event], instance: str) -> float:
    """When an instance's health last changed, in seconds since the epoch; 0: unknown."""
    return max((event.time for event in events if event.subject == instance), default=0.0)
