"""Events as rows of a table, and which of them concern a name. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from control_plane.api.happened import Event
from tui import words
from tui.rows import Cell, Column, Row

COLUMNS: tuple[Column, ...] = (
    Column("", 1),
    Column("time", 8),
    Column("kind", 9, rank=2),
    Column("about", 10, grow=True),
    Column("what happened", 34, grow=True),
    Column("rev", 4, right=True, rank=3),
    Column("by", 14, rank=4),
)


def concerns(event: Event, name: str) -> bool:
    """Whether an event is about a service: it, an edge of it, an instance or identity of it."""
    parts = event.subject.replace("→", " ").replace("/", " ").split()
    return any(part == name or part.rpartition("-")[0] == name for part in parts)


def holds(event: Event, text: str) -> bool:
    """Whether any word of an event holds a text, small and capital letters alike."""
    words_of = f"{event.kind} {event.subject} {event.message} {event.author} {event.severity}"
    return text.lower() in words_of.lower()


def row(event: Event) -> Row:
    """An event as a line."""
    said = words.SEVERITY.get(event.severity, words.UNKNOWN)
    tone = said.tone if said.tone != "good" else "plain"
    return Row(
        event.id,
        (
            Cell(said.sign, said.tone),
            Cell(words.clock(event.time), "dim"),
            Cell(event.kind, "accent"),
            Cell(words.clean(event.subject), "strong"),
            Cell(words.clean(event.message), tone),
            Cell(str(event.revision) if event.revision else "", "dim"),
            Cell(words.clean(event.author), "dim"),
        ),
    )


def since(events: Iterable[Event], instance: str) -> float:
    """When an instance's health last changed, seconds since the epoch; 0: it is not told."""
    return max((event.time for event in events if event.subject == instance), default=0.0)
