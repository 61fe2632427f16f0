"""The traces tab: traces by service, operation, duration and failure, newest first, updated live."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import Static

from meshwright.control_plane.api import signs
from meshwright.control_plane.api.models.traces import TraceSummary
from meshwright.control_plane.errors import MeshError
from meshwright.tui import keys, navigation
from meshwright.tui.dialogs.choose_one import ChooseOne
from meshwright.tui.features.traces import query
from meshwright.tui.features.traces.query import TraceFilter
from meshwright.tui.format import sanitize, truncate
from meshwright.tui.keys import bind
from meshwright.tui.mesh_state import DashboardState
from meshwright.tui.screen import LOADING
from meshwright.tui.sortable_screen import SortableScreen
from meshwright.tui.theme import paint
from meshwright.tui.widgets.table import Table

RELOAD_SECONDS = 2.0
"""Seconds between two requests for traces."""

LIST_LIMIT, SEARCH_LIMIT = 100, 500
"""Traces that are fetched, and how many if the filter has texts."""

NONE_YET = "no traces yet: try `mesh demo --traffic 5`; Telemetry's `sampling` (1 %) says how many are stored"
NO_MATCH = "no stored trace matches: Esc clears the filter"


class TracesScreen(SortableScreen[TraceSummary]):
    """The list; Enter opens the waterfall of a trace."""

    COLUMNS = query.COLUMNS
    SORT_ORDERS = query.ORDERS
    SEARCH_HINT = "orders >250ms errors op=GET"
    HELP = (
        "Requests through the mesh, newest first, updated live. The search accepts the name of a service, "
        ">250ms, errors, op=NAME for the operation of a span, and words of the row."
    )
    STATE_FIELDS = frozenset({"services"})
    BINDINGS: ClassVar[list[BindingType]] = [
        bind(keys.FAILED, "errors"),
        bind(keys.FILTER, "filter"),
        bind(keys.PAUSE, "pause"),
    ]
    DEFAULT_CSS = """
    TracesScreen #filter { height: 1; width: 1fr; text-wrap: nowrap; }
    """

    def __init__(self, location: navigation.Location) -> None:
        super().__init__(location)
        initial = location if isinstance(location, navigation.TracesLocation) else navigation.TracesLocation()
        self._initial_filter = TraceFilter(service=initial.service, errors=initial.errors)
        self._key_filter = self._initial_filter
        self._text = ""
        self._traces: tuple[TraceSummary, ...] | None = None
        self._paused = False
        self._error = ""

    def compose_body(self) -> ComposeResult:
        """The filter and the list."""
        yield Static(id="filter")
        yield Table(query.COLUMNS, empty=LOADING)

    def on_mount(self) -> None:
        """Fetch the list, repeatedly."""
        super().on_mount()
        self.query_one(Table).focus()
        self.set_interval(RELOAD_SECONDS, self._reload)
        self._load()

    def refresh_data(self, state: DashboardState) -> None:  # noqa: ARG002  traces are not part of the state
        """Redraw the filter: a word of the search may now be the name of a service."""
        self._draw_summary()

    @property
    def trace_filter(self) -> TraceFilter:
        """The filter set by keys and by the search line."""
        return query.parse_query(self._text, self._service_names(), self._key_filter)

    def _service_names(self) -> set[str]:
        nodes = self.mesh_state.topology.nodes if self.mesh_state.topology else ()
        seen = {count.service for trace in self._traces or () for count in trace.services}
        return seen | {node.name for node in nodes}

    def apply_search(self, text: str) -> None:
        """Fetch the traces that match the new search line."""
        self._text = text
        self._load()

    def _reload(self) -> None:
        if self.is_current and not self._paused and not self.mesh_state.outage:
            self._load()

    @work(exclusive=True)
    async def _load(self) -> None:
        """Fetch the list. If the API rejects the filter, its message is shown in place of the summary."""
        query_filter = self.trace_filter
        try:
            traces = await self.session.poller.call(
                lambda client: client.traces(
                    service=query_filter.service,
                    operation=query_filter.operation,
                    min_duration=query_filter.min_duration,
                    errors=query_filter.errors,
                    limit=SEARCH_LIMIT if query_filter.texts else LIST_LIMIT,
                )
            )
        except MeshError as error:
            self._error = sanitize(str(error))
        else:
            self._error = ""
            self._traces = tuple(query.matching_traces(traces, query_filter.texts, self.labels_of))
        self.draw_list()

    def draw_list(self) -> None:
        """Show the traces that were fetched last."""
        if not self.is_mounted:
            return
        table = self.query_one(Table)
        if self._traces is not None:
            table.empty = NONE_YET if self.trace_filter == query.NO_FILTER else NO_MATCH
            table.set_rows(map(query.trace_row, self.in_order(self._traces)), sort_mark=self.sort_mark)
        self._draw_summary()

    def _draw_summary(self) -> None:
        count = len(self._traces or ())
        limit = SEARCH_LIMIT if self.trace_filter.texts else LIST_LIMIT
        number = f"the newest {count}" if count == limit else f"{count}"
        paused = "   ║ paused: space resumes" if self._paused else ""
        text = f" traces {self.trace_filter.summary()}: {number}{paused}"
        line = paint(truncate(text, self.size.width), "dim")
        if self._error:
            line = paint(truncate(f" {signs.BAD} {self._error}", self.size.width), "bad")
        self.query_one("#filter", Static).update(line)

    @on(Table.RowSelected)
    def _row_selected(self, message: Table.RowSelected) -> None:
        message.stop()
        self.session.go(navigation.TraceLocation(message.key))

    # --- keys ------------------------------------------------------------------------------------

    def _set_key_filter(self, trace_filter: TraceFilter) -> None:
        self._key_filter = trace_filter
        self._draw_summary()
        self._load()

    def action_errors(self) -> None:
        """Toggle between failed and all traces."""
        self._set_key_filter(replace(self._key_filter, errors=not self._key_filter.errors))

    def back_one_step(self) -> bool:
        """Remove what keys filter by."""
        filtered = self._key_filter != self._initial_filter
        if filtered:
            self._set_key_filter(self._initial_filter)
        return filtered

    def action_pause(self) -> None:
        """Pause or resume updates."""
        self._paused = not self._paused
        self._draw_summary()
        self._reload()

    @work(exclusive=True, group="choose")
    async def action_filter(self) -> None:
        """Choose a minimum duration, or the service whose traces are listed."""
        choices = query.filter_choices(self._key_filter, sorted(self._service_names()))
        chosen = await self.app.push_screen_wait(ChooseOne("show traces", [text for text, _ in choices]))
        if chosen is not None:
            self._set_key_filter(choices[chosen][1])
