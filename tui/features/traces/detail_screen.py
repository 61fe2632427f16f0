"""One trace: its waterfall, the step under the cursor in full, and the ways on to service and policy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len
from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Static

from meshwright.control_plane.api import waterfall
from meshwright.control_plane.api.models.traces import Span, Trace
from meshwright.tui import format, navigation
from meshwright.tui.features.traces.span_detail import SpanDetail
from meshwright.tui.features.traces.waterfall import Waterfall
from meshwright.tui.features.traces.why_dialog import WhyDialog
from meshwright.tui.screen import MeshScreen
from meshwright.tui.theme import paint

WIDE_WIDTH = 132
"""Columns from which on the step in full stands beside the waterfall, not below it."""

LOW_HEIGHT, TALL_HEIGHT = 18, 36
"""Lines below which there is room for the waterfall alone, and from which on the panel gets more."""

CURSOR_DELAY = 0.04
"""Seconds the cursor rests before the panel follows: a key that is held down scrolls smoothly."""

SETTLE_SECONDS = 12.0
"""Seconds after its end for which further spans of a trace may come in."""

RELOAD_SECONDS = 2.0
"""Seconds between two looks at a trace that is young."""


class TraceDetailScreen(MeshScreen):
    """A waterfall. Its trace's id may be a prefix."""

    HELP = (
        "A trace as a waterfall: a row for each step, told by a service or its Envoy (proxy). Bars begin and "
        "end when the step did. Steps of one service fold into one row."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "service", "service"),
        Binding("w", "why", "why"),
        Binding("c", "copy", "copy id"),
        Binding("o", "open", "open in Jaeger"),
        Binding("enter", "panel", "attributes", show=False),
    ]
    DEFAULT_CSS = """
    TraceScreen #head { height: auto; max-height: 3; width: 1fr; }
    TraceScreen #axis { height: 1; width: 1fr; text-wrap: nowrap; }
    TraceScreen #both { height: 1fr; layout: vertical; }
    TraceScreen #both.-beside { layout: horizontal; }
    TraceScreen Waterfall { height: 1fr; width: 1fr; }
    TraceScreen SpanPanel { height: 9; width: 1fr; }
    TraceScreen #both.-low SpanPanel { display: none; }
    TraceScreen #both.-low.-panel Waterfall { display: none; }
    TraceScreen #both.-low.-panel SpanPanel { display: block; height: 1fr; }
    TraceScreen #both.-tall SpanPanel { height: 14; }
    TraceScreen #both.-beside SpanPanel { height: 1fr; width: 32%; min-width: 44; }
    """

    def __init__(self, location: navigation.TraceLocation) -> None:
        super().__init__(location)
        self._trace_id = location.id
        self._trace: Trace | None = None
        self._spans: dict[str, Span] = {}
        self._reload_timer: Timer | None = None
        self._cursor_timer: Timer | None = None

    def compose_body(self) -> ComposeResult:
        """Head, scale, waterfall, panel."""
        yield Static(paint(" looking for it", "dim"), id="head")
        yield Static(id="axis")
        with Container(id="both"):
            yield Waterfall()
            yield SpanDetail()

    def on_mount(self) -> None:
        """Ask for it."""
        super().on_mount()
        self.query_one(Waterfall).focus()
        self._load()
        self._reload_timer = self.set_interval(RELOAD_SECONDS, self._load)

    def on_resize(self, event: events.Resize) -> None:
        """The panel has its place where there is room."""
        wide, both, panel = (
            event.size.width >= WIDE_WIDTH,
            self.query_one("#both"),
            self.query_one(SpanDetail),
        )
        both.set_class(wide, "-beside")
        panel.set_class(wide, "-beside")
        both.set_class(not wide and event.size.height < LOW_HEIGHT, "-low")
        both.set_class(not wide and event.size.height >= TALL_HEIGHT, "-tall")
        self.call_after_refresh(self._draw_head)

    @work(exclusive=True)
    async def _load(self) -> None:
        """Read the trace; again while more of it may come."""
        if not self.is_current and self._trace:
            return
        found = await self.session.call(lambda client: client.trace(self._trace_id))
        if found is None:
            self._stop_reloading()
            if self._trace is None:
                self.query_one("#head", Static).update(
                    paint(
                        f" no trace {self._trace_id}: it is not kept any more, or was never sampled",
                        "partial",
                    )
                )
            return
        if self.session.now() - (found.start + found.duration / 1000) > SETTLE_SECONDS:
            self._stop_reloading()
        if self._trace is None or found.spans != self._trace.spans:
            self._show(found)

    def _stop_reloading(self) -> None:
        if self._reload_timer:
            self._reload_timer.stop()

    def _show(self, trace: Trace) -> None:
        self._trace = trace
        self._spans = {span.id: span for span in trace.tree}
        self.query_one(Waterfall).set_rows(waterfall.build_rows(trace.model_dump()))
        self._draw_head()
        self.refresh_bindings()

    def _draw_head(self) -> None:
        trace = self._trace
        if trace is None:
            return
        fall = self.query_one(Waterfall)
        width = self.size.width
        legend = [
            Content.styled(f"■ {format.sanitize(each.service)}", fall.colour(each.service))
            for each in trace.services
        ]
        lines = [trace_summary(trace, width)]
        if not self.query_one("#both").has_class("-low"):
            lines.append(fit_legend(legend, width))
        self.query_one("#head", Static).update(Content("\n").join(lines))
        self.query_one("#axis", Static).update(time_axis(trace.duration, *fall.columns()))

    @on(Waterfall.RowHighlighted)
    def _moved(self, message: Waterfall.Moved) -> None:
        message.stop()
        if self._cursor_timer:
            self._cursor_timer.stop()
        self._cursor_timer = self.set_timer(CURSOR_DELAY, self._show_step)

    def _show_step(self) -> None:
        row = self.query_one(Waterfall).selected
        self.query_one(SpanDetail).show(row, self._spans.get(row.id) if row else None)

    # --- ways on ---------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Jaeger only where its address is known."""
        if action == "open" and not self.session.jaeger:
            return False
        return super().check_action(action, parameters)

    def back_one_step(self) -> bool:
        """Esc: from the panel to the waterfall."""
        panel = self.query_one(SpanDetail)
        if panel.has_focus:
            self.query_one("#both").remove_class("-panel")
            self.query_one(Waterfall).focus()
            return True
        return False

    def action_panel(self) -> None:
        """Enter: the keys scroll the panel."""
        self.query_one("#both").add_class("-panel")
        self.query_one(SpanDetail).focus()

    def action_service(self) -> None:
        """The service of the step under the cursor."""
        row = self.query_one(Waterfall).selected
        if row:
            self.session.go(navigation.ServiceLocation(row.service))

    def action_copy(self) -> None:
        """The whole id to the clipboard, by the terminal (OSC 52)."""
        if self._trace:
            self.app.copy_to_clipboard(self._trace.id)
            self.notify(f"copied {self._trace.id}", markup=False)

    def action_open(self) -> None:
        """The trace in Jaeger, in a browser of this host; the address is told too."""
        if self._trace:
            address = jaeger_url(self.session.jaeger, self._trace.id)
            self.app.open_url(address)
            self.notify(address, title="opened in a browser, if there is one here", markup=False)

    @work(exclusive=True, group="why")
    async def action_why(self) -> None:
        """What explains the failure: policies, and who changed them."""
        row, trace = self.query_one(Waterfall).selected, self._trace
        if row is None or trace is None:
            return
        place = await self.app.push_screen_wait(WhyDialog(trace, self._spans[row.id]))
        if place:
            self.session.go(place)


def jaeger_url(base: str, id: str) -> str:
    """The address of a trace in Jaeger's own pages."""
    return f"{base.rstrip('/')}/trace/{id}"


def trace_summary(trace: Trace, width: int) -> Content:
    """What the trace was, in one line; what does not fit is left out."""
    failed = paint(f"✖ {trace.errors} failed", "bad") if trace.errors else paint("● none failed", "good")
    lost = paint(f"{trace.dropped} more did not fit", "partial") if trace.dropped else Content("")
    spans = f"{trace.spans} span{'' if trace.spans == 1 else 's'}"
    what = format.sanitize(trace.request or trace.operation)
    parts = [
        Content(f"{format.format_number(trace.duration)} ms"), failed, paint(format.format_time(trace.start), "dim"),
        paint(spans, "dim"), lost, paint(trace.id, "dim"),
    ]  # fmt: skip
    parts = [part for part in parts if part.cell_length]
    room = width - 2
    while len(parts) > 2 and sum(part.cell_length + 3 for part in parts) + min(24, cell_len(what)) > room:
        parts.pop()
    rest = sum(part.cell_length + 3 for part in parts)
    first = paint(format.truncate(what, max(8, room - rest)), "strong")
    return Content(" ") + Content("   ").join([first, *parts])


def fit_legend(parts: Sequence[Content], width: int) -> Content:
    """As many parts as fit in a line; how many do not is said."""
    shown, used = [], 1
    for at, part in enumerate(parts):
        more = paint(f"+{len(parts) - at} more", "dim")
        last = at == len(parts) - 1
        if used + part.cell_length + (0 if last else 2 + more.cell_length) > width - 1:
            shown.append(more)
            break
        shown.append(part)
        used += part.cell_length + 2
    return Content(" ") + Content("  ").join(shown)


def time_axis(duration: float, label: int, bar: int) -> Content:
    """The scale of the bars: begin, end, and between them as many ticks as have room."""
    ticks = next((n for n in (4, 2, 1) if bar >= n * 12), 1)
    line = ""
    for n in range(ticks):
        text = "0" if n == 0 else format.format_number(duration * n / ticks)
        start = bar * n // ticks
        line = line.ljust(start) + ("├" if n == 0 else "┼") + text
    line = line.ljust(bar)[:bar]
    end = f"{format.format_number(duration)} ms"
    return paint(" " * label + line[: max(0, bar)] + format.pad(end, 9, right=True), "dim")
