"""One step of a trace in full: who did it and when, how it ended and why, and everything its sender told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from control_plane.api.traced import Span
from control_plane.api.waterfall import Row
from tui import words
from tui.theme import paint

KEY_WIDTH = 26
"""Cells that the name of an attribute may take before its value goes below it."""

VALUE_LIMIT = 600
"""Characters of a value that are shown: a sender may put anything there."""


class SpanPanel(VerticalScroll, can_focus=True):
    """The step that the cursor is on; scrolls where it is long."""

    DEFAULT_CSS = """
    SpanPanel {
        padding: 0 1; background: $background; border-top: solid $mesh-line; scrollbar-size-vertical: 1;
    }
    SpanPanel.-beside { border-top: none; border-left: solid $mesh-line; }
    SpanPanel:focus { border-top: solid $accent; }
    SpanPanel.-beside:focus { border-top: none; border-left: solid $accent; }
    SpanPanel Static { width: 1fr; height: auto; }
    """

    def compose(self) -> ComposeResult:
        """One text."""
        yield Static()

    def show(self, row: Row | None, span: Span | None) -> None:
        """Another step; None: there is none."""
        text = Content("\n").join(lines(row, span)) if row and span else Content("")
        self.query_one(Static).update(text)
        self.scroll_home(animate=False)


def lines(row: Row, span: Span) -> Iterator[Content]:
    """Everything of a step, what matters first."""
    told = "its Envoy" if span.proxy else "the service itself"
    instance = f" · {words.clean(span.instance)}" if span.instance else ""
    yield Content.assemble(
        paint(words.clean(span.service), "strong"), f"{instance} · {span.kind}, told by {told}"
    )
    yield Content(words.clean(row.words.split(maxsplit=1)[-1] if " " in row.words else row.words))
    took, began = words.three(row.duration), words.three(row.offset)
    yield paint(f"took {took} ms, began {began} ms after the trace", "dim")
    yield from _ending(row, span)
    yield from _table(span.attributes)
    for event in span.events:
        after = words.three(max(0.0, (event.time - span.start) * 1000))
        yield Content.assemble(
            paint(f"{words.clean(event.name)}", "strong"), paint(f" after {after} ms", "dim")
        )
        yield from _table(event.attributes)


def _ending(row: Row, span: Span) -> Iterator[Content]:
    ended = f"{row.status} " if row.status else ""
    attempt = f"try {row.attempt}" if row.attempt else ""
    if span.error:
        yield paint(" ".join(word for word in ("✖", f"{ended}failed", attempt) if word), "bad")
    else:
        yield Content.assemble(paint("●", "good"), f" {ended}{attempt}".rstrip() or " done")
    for flag in span.flags:
        yield Content.assemble(paint(flag.flag, "bad"), f" {words.clean(flag.meaning)}")
        if flag.kinds:
            yield Content.assemble("   by ", paint(", ".join(flag.kinds), "accent"), paint("  w: why", "dim"))
    if span.message:
        yield paint(words.clean(span.message)[:VALUE_LIMIT], "bad")


def _table(attributes: Mapping[str, str]) -> Iterator[Content]:
    if not attributes:
        return
    width = min(KEY_WIDTH, max(cell_len(words.clean(key)) for key in attributes))
    for key, value in sorted(attributes.items()):
        name, text = words.clean(key), words.clean(value)
        shown = text if len(text) <= VALUE_LIMIT else f"{text[:VALUE_LIMIT]}… ({len(text)} characters)"
        yield Content.assemble(paint(f"{words.pad(name, width)}  ", "dim"), shown)
