"""Traces of the mesh: found by service, operation, duration and failure, newest first, as they come in."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Static

from meshwright.control_plane.api.models.traces import TraceSummary
from meshwright.control_plane.errors import MeshError
from meshwright.tui import format, navigation
from meshwright.tui.dialogs.choose_one import ChooseOne
from meshwright.tui.features.traces import query
from meshwright.tui.features.traces.query import TraceFilter
from meshwright.tui.mesh_state import DashboardState
from meshwright.tui.screen import MeshScreen
from meshwright.tui.theme import paint
from meshwright.tui.widgets.search_bar import SearchBar
from meshwright.tui.widgets.table import Table

RELOAD_SECONDS = 2.0
"""Seconds between two looks for new traces."""

LIST_LIMIT, SEARCH_LIMIT = 100, 500
"""Traces that are asked for, and how many where a text is to be found in them."""

NONE_YET = "no traces yet: try `mesh demo --traffic 20`; how many are kept is Telemetry's sampling (1 %)"
NO_MATCH = "no trace that is kept is like that: x clears the search"


class TracesScreen(MeshScreen):
    """The list; Enter opens a waterfall."""

    SEARCH_HINT = "orders  >250ms  errors  op=GET /api  or any words"
    HELP = (
        "Requests as they went through the mesh, newest first. The search takes the name of a service, "
        ">250ms, errors, op=NAME of a step, and words of the line. New ones come in by themselves."
    )
    STATE_FIELDS = frozenset({"services"})
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("e", "errors", "failed only"),
        Binding("d", "longer", "slower than"),
        Binding("s", "service", "service"),
        Binding("space", "hold", "hold"),
        Binding("x", "clear", "clear"),
    ]
    DEFAULT_CSS = """
    TracesScreen #wanted { height: 1; width: 1fr; text-wrap: nowrap; }
    """

    def __init__(self, location: navigation.Location) -> None:
        super().__init__(location)
        given = location if isinstance(location, navigation.TracesLocation) else navigation.TracesLocation()
        self._key_filter = TraceFilter(service=given.service, errors=given.errors)
        self._text = ""
        self._traces: tuple[TraceSummary, ...] | None = None
        self._paused = False
        self._error = ""

    def compose_body(self) -> ComposeResult:
        """What is looked for, and what was found."""
        yield Static(id="wanted")
        yield Table(query.COLUMNS, empty="looking")

    def on_mount(self) -> None:
        """Look, and look again."""
        super().on_mount()
        self.query_one(Table).focus()
        self.set_interval(RELOAD_SECONDS, self._reload)
        self._load()

    def refresh_data(self, picture: DashboardState) -> None:  # noqa: ARG002  the list is asked for here
        """Names of services may be known now that were words before."""
        self._draw_summary()

    @property
    def trace_filter(self) -> TraceFilter:
        """By keys and by text together."""
        known = {node.name for node in self.mesh_state.topology.nodes} if self.mesh_state.topology else set()
        known |= {share.service for one in self._traces or () for share in one.services}
        return query.parse_query(self._text, known, self._key_filter)

    def apply_search(self, text: str) -> None:
        """The search line is another."""
        self._text = text
        self._load()

    def _reload(self) -> None:
        if self.is_current and not self._paused and not self.mesh_state.outage:
            self._load()

    @work(exclusive=True)
    async def _load(self) -> None:
        """Ask for what is wanted; a search that the API refuses is told in its words."""
        wanted = self.trace_filter
        try:
            found = await self.session.poller.call(
                lambda client: client.traces(
                    service=wanted.service,
                    operation=wanted.operation,
                    min_duration=wanted.min_duration,
                    errors=wanted.errors,
                    limit=SEARCH_LIMIT if wanted.texts else LIST_LIMIT,
                )
            )
        except MeshError as error:
            self._error = format.sanitize(str(error))
        else:
            self._error = ""
            self._traces = tuple(query.matching_traces(found, wanted.texts))
        self._draw()

    def _draw(self) -> None:
        if not self.is_mounted:
            return
        table = self.query_one(Table)
        if self._traces is not None:
            table.empty = NONE_YET if self.trace_filter == query.NO_FILTER else NO_MATCH
            table.set_rows(query.trace_row(one) for one in self._traces)
        self._draw_summary()

    def _draw_summary(self) -> None:
        count = len(self._traces or ())
        most = SEARCH_LIMIT if self.trace_filter.texts else LIST_LIMIT
        number = f"the newest {count}" if count == most else f"{count}"
        held = "   ‖ held: space goes on" if self._held else ""
        line = paint(
            format.truncate(f" traces {self.trace_filter.summary()}: {number}{held}", self.size.width), "dim"
        )
        if self._error:
            line = paint(format.truncate(f" ✖ {self._error}", self.size.width), "bad")
        self.query_one("#wanted", Static).update(line)

    @on(Table.RowSelected)
    def _open(self, message: Table.Chosen) -> None:
        message.stop()
        self.session.go(navigation.TraceLocation(message.key))

    # --- keys ------------------------------------------------------------------------------------

    def _set_key_filter(self, wanted: TraceFilter) -> None:
        self._key_filter = wanted
        self._draw_summary()
        self._load()

    def action_errors(self) -> None:
        """Only failed ones, or all."""
        self._set_key_filter(replace(self._key_filter, errors=not self._key_filter.errors))

    def action_longer(self) -> None:
        """The next least duration."""
        self._set_key_filter(
            replace(self._key_filter, min_duration=query.next_duration(self._key_filter.min_duration))
        )

    def action_hold(self) -> None:
        """Let no new ones in, or let them in again."""
        self._paused = not self._paused
        self._draw_summary()
        self._reload()

    def action_clear(self) -> None:
        """Look for everything."""
        self.query_one(SearchBar).close()
        self._text = ""
        self._set_key_filter(query.NO_FILTER)

    @work(exclusive=True, group="choose")
    async def action_service(self) -> None:
        """Of one service only."""
        nodes = self.mesh_state.topology.nodes if self.mesh_state.topology else ()
        names = sorted(
            {node.name for node in nodes} | {s.service for one in self._traces or () for s in one.services}
        )
        chosen = await self.app.push_screen_wait(ChooseOne("traces of", ["all services", *names]))
        if chosen is not None:
            self._set_key_filter(replace(self._key_filter, service=names[chosen - 1] if chosen else ""))
