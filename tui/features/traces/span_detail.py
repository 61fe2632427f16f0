"""One step of a trace in full: who did it and when, how it ended and why, and everything its sender told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from meshwright.control_plane.api.models.traces import Span
from meshwright.control_plane.api.waterfall import WaterfallRow
from meshwright.tui import format
from meshwright.tui.theme import paint

KEY_WIDTH = 26
"""Cells that the name of an attribute may take before its value goes below it."""

VALUE_LIMIT = 600
"""Characters of a value that are shown: a sender may put anything there."""


class SpanDetail(VerticalScroll, can_focus=True):
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

    def show(self, row: WaterfallRow | None, span: Span | None) -> None:
        """Another step; None: there is none."""
        text = Content("\n").join(span_lines(row, span)) if row and span else Content("")
        self.query_one(Static).update(text)
        self.scroll_home(animate=False)


def span_lines(row: WaterfallRow, span: Span) -> Iterator[Content]:
    """Everything of a step, what matters first."""
    told = "its Envoy" if span.proxy else "the service itself"
    instance = f" · {format.sanitize(span.instance)}" if span.instance else ""
    yield Content.assemble(
        paint(format.sanitize(span.service), "strong"), f"{instance} · {span.kind}, told by {told}"
    )
    yield Content(format.sanitize(row.label.split(maxsplit=1)[-1] if " " in row.label else row.label))
    took, began = format.format_number(row.duration), format.format_number(row.offset)
    yield paint(f"took {took} ms, began {began} ms after the trace", "dim")
    yield from _outcome_lines(row, span)
    yield from _attribute_lines(span.attributes)
    for event in span.events:
        after = format.format_number(max(0.0, (event.time - span.start) * 1000))
        yield Content.assemble(
            paint(f"{format.sanitize(event.name)}", "strong"), paint(f" after {after} ms", "dim")
        )
        yield from _attribute_lines(event.attributes)


def _outcome_lines(row: WaterfallRow, span: Span) -> Iterator[Content]:
    ended = f"{row.status} " if row.status else ""
    attempt = f"try {row.attempt}" if row.attempt else ""
    if span.error:
        yield paint(" ".join(word for word in ("✖", f"{ended}failed", attempt) if word), "bad")
    else:
        yield Content.assemble(paint("●", "good"), f" {ended}{attempt}".rstrip() or " done")
    for flag in span.flags:
        yield Content.assemble(paint(flag.flag, "bad"), f" {format.sanitize(flag.meaning)}")
        if flag.kinds:
            yield Content.assemble("   by ", paint(", ".join(flag.kinds), "accent"), paint("  w: why", "dim"))
    if span.message:
        yield paint(format.sanitize(span.message)[:VALUE_LIMIT], "bad")


def _attribute_lines(attributes: Mapping[str, str]) -> Iterator[Content]:
    if not attributes:
        return
    width = min(KEY_WIDTH, max(cell_len(format.sanitize(key)) for key in attributes))
    for key, value in sorted(attributes.items()):
        name, text = format.sanitize(key), format.sanitize(value)
        shown = text if len(text) <= VALUE_LIMIT else f"{text[:VALUE_LIMIT]}… ({len(text)} characters)"
        yield Content.assemble(paint(f"{format.pad(name, width)}  ", "dim"), shown)
