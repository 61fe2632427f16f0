"""The details of a span: service and times, outcome and reason, attributes and events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from meshwright.control_plane.api import signs
from meshwright.control_plane.api.models.traces import Span
from meshwright.control_plane.api.waterfall import WaterfallRow
from meshwright.tui.format import format_number, pad, sanitize
from meshwright.tui.theme import paint

KEY_WIDTH = 26
"""Maximum cells of an attribute's name; longer names are cut."""

VALUE_LIMIT = 600
"""Characters of a value that are shown: an attribute may hold anything."""


class SpanDetail(VerticalScroll, can_focus=True):
    """The selected span; scrolls."""

    DEFAULT_CSS = """
    SpanDetail {
        padding: 0 1; background: $background; border-top: solid $mesh-line; scrollbar-size-vertical: 1;
    }
    SpanDetail.-beside { border-top: none; border-left: solid $mesh-line; }
    SpanDetail:focus { border-top: solid $accent; }
    SpanDetail.-beside:focus { border-top: none; border-left: solid $accent; }
    SpanDetail Static { width: 1fr; height: auto; }
    """

    def compose(self) -> ComposeResult:
        """The text."""
        yield Static()

    def show(self, row: WaterfallRow | None, span: Span | None) -> None:
        """Show a span; None: clear."""
        text = Content("\n").join(span_lines(row, span)) if row and span else Content("")
        self.query_one(Static).update(text)
        self.scroll_home(animate=False)


def span_lines(row: WaterfallRow, span: Span) -> Iterator[Content]:
    """The span, the most important first."""
    reporter = "its Envoy" if span.proxy else "the service itself"
    instance = f" · {sanitize(span.instance)}" if span.instance else ""
    yield Content.assemble(
        paint(sanitize(span.service), "strong"), f"{instance} · {span.kind}, reported by {reporter}"
    )
    yield Content(sanitize(row.label.split(maxsplit=1)[-1] if " " in row.label else row.label))
    duration, offset = format_number(row.duration), format_number(row.offset)
    yield paint(f"took {duration} ms, started {offset} ms into the trace", "dim")
    yield from _outcome_lines(row, span)
    yield from _attribute_lines(span.attributes)
    for event in span.events:
        after = format_number(max(0.0, (event.time - span.start) * 1000))
        yield Content.assemble(paint(f"{sanitize(event.name)}", "strong"), paint(f" after {after} ms", "dim"))
        yield from _attribute_lines(event.attributes)


def _outcome_lines(row: WaterfallRow, span: Span) -> Iterator[Content]:
    ended = f"{row.status} " if row.status else ""
    attempt = f"try {row.attempt}" if row.attempt else ""
    if span.error:
        yield paint(" ".join(word for word in (signs.BAD, f"{ended}failed", attempt) if word), "bad")
    else:
        yield Content.assemble(paint(signs.GOOD, "good"), f" {ended}{attempt}".rstrip() or " done")
    for flag in span.flags:
        yield Content.assemble(paint(flag.flag, "bad"), f" {sanitize(flag.meaning)}")
        if flag.kinds:
            yield Content.assemble("   by ", paint(", ".join(flag.kinds), "accent"), paint("  w: why", "dim"))
    if span.message:
        yield paint(sanitize(span.message)[:VALUE_LIMIT], "bad")


def _attribute_lines(attributes: Mapping[str, str]) -> Iterator[Content]:
    if not attributes:
        return
    width = min(KEY_WIDTH, max(cell_len(sanitize(key)) for key in attributes))
    for key, value in sorted(attributes.items()):
        name, text = sanitize(key), sanitize(value)
        shown = text if len(text) <= VALUE_LIMIT else f"{text[:VALUE_LIMIT]}… ({len(text)} characters)"
        yield Content.assemble(paint(f"{pad(name, width)}  ", "dim"), shown)
