"""One trace: its waterfall, the details of the selected span, and links to its service and policies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len
from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Static

from meshwright.control_plane.api import signs, waterfall
from meshwright.control_plane.api.models.traces import Span, Trace
from meshwright.tui import keys, navigation
from meshwright.tui.features.traces.span_detail import SpanDetail
from meshwright.tui.features.traces.waterfall import Waterfall
from meshwright.tui.features.traces.why_dialog import why_trace
from meshwright.tui.format import format_milliseconds, format_number, format_time, pad, sanitize, truncate
from meshwright.tui.keys import bind
from meshwright.tui.screen import LOADING, MeshScreen
from meshwright.tui.theme import paint

WIDE_WIDTH = 132
"""Columns from which the span details are beside the waterfall instead of below it."""

LOW_HEIGHT, TALL_HEIGHT = 18, 36
"""Rows below which only the waterfall is shown, and from which the details get more rows."""

CURSOR_DELAY = 0.04
"""Seconds the cursor must rest before the details follow, so that a held key scrolls smoothly."""

SETTLE_SECONDS = 12.0
"""Seconds after the end of a trace during which more of its spans may arrive."""

RELOAD_SECONDS = 2.0
"""Seconds between two requests for a trace that may still get spans."""


class TraceDetailScreen(MeshScreen):
    """A waterfall. The trace ID may be a prefix."""

    HELP = (
        "A trace as a waterfall: one row per span, reported by a service (app) or its Envoy (proxy). Bars "
        "show start and end of the span. The spans of one visit to a service collapse into one row."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        bind(keys.SERVICE, "service"),
        bind(keys.WHY, "why"),
        bind(keys.COPY, "copy"),
        bind(keys.JAEGER, "open"),
        bind(keys.OPEN, "panel"),
    ]
    DEFAULT_CSS = """
    TraceDetailScreen #head { height: auto; max-height: 3; width: 1fr; }
    TraceDetailScreen #axis { height: 1; width: 1fr; text-wrap: nowrap; }
    TraceDetailScreen #both { height: 1fr; layout: vertical; }
    TraceDetailScreen #both.-beside { layout: horizontal; }
    TraceDetailScreen Waterfall { height: 1fr; width: 1fr; }
    TraceDetailScreen SpanDetail { height: 9; width: 1fr; }
    TraceDetailScreen #both.-low SpanDetail { display: none; }
    TraceDetailScreen #both.-low.-panel Waterfall { display: none; }
    TraceDetailScreen #both.-low.-panel SpanDetail { display: block; height: 1fr; }
    TraceDetailScreen #both.-tall SpanDetail { height: 14; }
    TraceDetailScreen #both.-beside SpanDetail { height: 1fr; width: 32%; min-width: 44; }
    """

    def __init__(self, location: navigation.TraceLocation) -> None:
        super().__init__(location)
        self._trace_id = location.id
        self._trace: Trace | None = None
        self._spans: dict[str, Span] = {}
        self._reload_timer: Timer | None = None
        self._cursor_timer: Timer | None = None

    def compose_body(self) -> ComposeResult:
        """Summary, time axis, waterfall and span details."""
        yield Static(paint(f" {LOADING}", "dim"), id="head")
        yield Static(id="axis")
        with Container(id="both"):
            yield Waterfall()
            yield SpanDetail()

    def on_mount(self) -> None:
        """Fetch the trace."""
        super().on_mount()
        self.query_one(Waterfall).focus()
        self._load()
        self._reload_timer = self.set_interval(RELOAD_SECONDS, self._load)

    def on_resize(self, event: events.Resize) -> None:
        """Place the span details according to the size."""
        wide = event.size.width >= WIDE_WIDTH
        both, panel = self.query_one("#both"), self.query_one(SpanDetail)
        both.set_class(wide, "-beside")
        panel.set_class(wide, "-beside")
        both.set_class(not wide and event.size.height < LOW_HEIGHT, "-low")
        both.set_class(not wide and event.size.height >= TALL_HEIGHT, "-tall")
        self.call_after_refresh(self._draw_head)

    @work(exclusive=True)
    async def _load(self) -> None:
        """Fetch the trace; repeatedly while it may still get spans."""
        if not self.is_current and self._trace:
            return
        trace = await self.session.call(lambda client: client.trace(self._trace_id))
        if trace is None:
            self._stop_reloading()
            if self._trace is None:
                text = f" no trace {self._trace_id}: it is no longer stored, or was not sampled"
                self.query_one("#head", Static).update(paint(text, "partial"))
            return
        if self.session.now() - (trace.start + trace.duration / 1000) > SETTLE_SECONDS:
            self._stop_reloading()
        if self._trace is None or trace.spans != self._trace.spans:
            self._show(trace)

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
        chart = self.query_one(Waterfall)
        width = self.size.width
        legend = [
            Content.styled(f"■ {sanitize(count.service)}", chart.colour(count.service))
            for count in trace.services
        ]
        lines = [trace_summary(trace, width)]
        if not self.query_one("#both").has_class("-low"):
            lines.append(fit_legend(legend, width))
        self.query_one("#head", Static).update(Content("\n").join(lines))
        self.query_one("#axis", Static).update(time_axis(trace.duration, *chart.columns()))

    @on(Waterfall.RowHighlighted)
    def _row_highlighted(self, message: Waterfall.RowHighlighted) -> None:
        message.stop()
        if self._cursor_timer:
            self._cursor_timer.stop()
        self._cursor_timer = self.set_timer(CURSOR_DELAY, self._show_span)

    def _show_span(self) -> None:
        row = self.query_one(Waterfall).selected
        self.query_one(SpanDetail).show(row, self._spans.get(row.id) if row else None)

    # --- actions ---------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer Jaeger only if its URL is known."""
        if action == "open" and not self.session.jaeger:
            return False
        return super().check_action(action, parameters)

    def back_one_step(self) -> bool:
        """From the span details to the waterfall."""
        panel = self.query_one(SpanDetail)
        if panel.has_focus:
            self.query_one("#both").remove_class("-panel")
            self.query_one(Waterfall).focus()
            return True
        return False

    def action_panel(self) -> None:
        """Enter: focus the span details."""
        self.query_one("#both").add_class("-panel")
        self.query_one(SpanDetail).focus()

    def action_service(self) -> None:
        """The service of the selected span."""
        row = self.query_one(Waterfall).selected
        if row:
            self.session.go(navigation.ServiceLocation(row.service))

    def action_copy(self) -> None:
        """Copy the full trace ID to the clipboard, through the terminal (OSC 52)."""
        if self._trace:
            self.app.copy_to_clipboard(self._trace.id)
            self.notify(f"copied {self._trace.id}", markup=False)

    def action_open(self) -> None:
        """Open the trace in Jaeger in a browser on this host, and show its URL."""
        if self._trace:
            url = jaeger_url(self.session.jaeger, self._trace.id)
            self.app.open_url(url)
            self.notify(url, title="opened in the browser of this host", markup=False)

    @work(exclusive=True, group="why")
    async def action_why(self) -> None:
        """Explain the failure: the responsible policies, and who changed them."""
        row, trace = self.query_one(Waterfall).selected, self._trace
        if row is None or trace is None:
            return
        location = await self.app.push_screen_wait(why_trace(trace, self._spans[row.id]))
        if location:
            self.session.go(location)


def jaeger_url(base: str, id: str) -> str:
    """The URL of a trace in the Jaeger UI."""
    return f"{base.rstrip('/')}/trace/{id}"


def trace_summary(trace: Trace, width: int) -> Content:
    """The trace in one line; what does not fit is omitted, the ID first."""
    failed = (
        paint(f"{signs.BAD} {trace.errors} failed", "bad")
        if trace.errors
        else paint(f"{signs.GOOD} none failed", "good")
    )
    dropped = paint(f"{trace.dropped} dropped", "partial") if trace.dropped else Content("")
    spans = f"{trace.spans} span{'' if trace.spans == 1 else 's'}"
    request = sanitize(trace.request or trace.operation)
    parts = [
        Content(format_milliseconds(trace.duration)), failed, paint(format_time(trace.start), "dim"),
        paint(spans, "dim"), dropped, paint(trace.id, "dim"),
    ]  # fmt: skip
    parts = [part for part in parts if part.cell_length]
    room = width - 2
    while len(parts) > 2 and sum(part.cell_length + 3 for part in parts) + min(24, cell_len(request)) > room:
        parts.pop()
    rest = sum(part.cell_length + 3 for part in parts)
    first = paint(truncate(request, max(8, room - rest)), "strong")
    return Content(" ") + Content("   ").join([first, *parts])


def fit_legend(parts: Sequence[Content], width: int) -> Content:
    """As many parts as fit on one line, then the number of the others."""
    shown, used = [], 1
    for index, part in enumerate(parts):
        more = paint(f"+{len(parts) - index} more", "dim")
        last = index == len(parts) - 1
        if used + part.cell_length + (0 if last else 2 + more.cell_length) > width - 1:
            shown.append(more)
            break
        shown.append(part)
        used += part.cell_length + 2
    return Content(" ") + Content("  ").join(shown)


def time_axis(duration: float, label: int, bar: int) -> Content:
    """The scale above the bars: start, end, and as many ticks between them as fit."""
    ticks = next((n for n in (4, 2, 1) if bar >= n * 12), 1)
    line = ""
    unit = 1.0 if duration < 999.5 else 1000.0  # as of the end of the scale
    for n in range(ticks):
        text = "0" if n == 0 else format_number(duration / unit * n / ticks)
        start = bar * n // ticks
        line = line.ljust(start) + ("├" if n == 0 else "┼") + text
    line = line.ljust(bar)[:bar]
    end = format_milliseconds(duration)
    return paint(" " * label + line[: max(0, bar)] + pad(end, 9, right=True), "dim")
