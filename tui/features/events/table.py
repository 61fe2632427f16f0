"""Events as rows of a table, and which of them concern a name. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from meshwright.control_plane.api.models.events import Event
from meshwright.tui import format
from meshwright.tui.widgets.table_model import TableCell, TableColumn, TableRow

EVENT_COLUMNS: tuple[TableColumn, ...] = (
    TableColumn("", 1),
    TableColumn("time", 8),
    TableColumn("kind", 9, drop_rank=2),
    TableColumn("about", 10, grow=True),
    TableColumn("what happened", 34, grow=True),
    TableColumn("rev", 4, right=True, drop_rank=3),
    TableColumn("by", 14, drop_rank=4),
)


def is_about(event: Event, name: str) -> bool:
    """Whether an event is about a service: it, an edge of it, an instance or identity of it."""
    parts = event.subject.replace("→", " ").replace("/", " ").split()
    return any(part == name or part.rpartition("-")[0] == name for part in parts)


def contains_text(event: Event, text: str) -> bool:
    """Whether any word of an event holds a text, small and capital letters alike."""
    words_of = f"{event.kind} {event.subject} {event.message} {event.author} {event.severity}"
    return text.lower() in words_of.lower()


def event_row(event: Event) -> TableRow:
    """An event as a line."""
    said = format.SEVERITY_LABELS.get(event.severity, format.UNKNOWN_LABEL)
    tone = said.tone if said.tone != "good" else "plain"
    return TableRow(
        event.id,
        (
            TableCell(said.symbol, said.tone),
            TableCell(format.format_time(event.time), "dim"),
            TableCell(event.kind, "accent"),
            TableCell(format.sanitize(event.subject), "strong"),
            TableCell(format.sanitize(event.message), tone),
            TableCell(str(event.revision) if event.revision else "", "dim"),
            TableCell(format.sanitize(event.author), "dim"),
        ),
    )


def last_change(events: Iterable[Event], instance: str) -> float:
    """When an instance's health last changed, seconds since the epoch; 0: it is not told."""
    return max((event.time for event in events if event.subject == instance), default=0.0)
