"""Traces of the mesh: found by service, operation, duration and failure, newest first, as they come in."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Static

from control_plane.api.traced import TraceSummary
from control_plane.errors import MeshError
from tui import places, trace_search, words
from tui.picture import Picture
from tui.screens.base import MeshScreen
from tui.sheets.choose import Choose
from tui.theme import paint
from tui.trace_search import Wanted
from tui.widgets.finder import Finder
from tui.widgets.table import Table

EVERY = 2.0
"""Seconds between two looks for new traces."""

LISTED, SEARCHED = 100, 500
"""Traces that are asked for, and how many where a text is to be found in them."""

NONE_YET = "no traces yet: try `mesh demo --traffic 20`; how many are kept is Telemetry's sampling (1 %)"
NONE_SUCH = "no trace that is kept is like that: x clears the search"


class TracesScreen(MeshScreen):
    """The list; Enter opens a waterfall."""

    SEARCH = "orders  >250ms  errors  op=GET /api  or any words"
    HELP = (
        "Requests as they went through the mesh, newest first. The search takes the name of a service, "
        ">250ms, errors, op=NAME of a step, and words of the line. New ones come in by themselves."
    )
    NEEDS = frozenset({"services"})
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

    def __init__(self, place: places.Place) -> None:
        super().__init__(place)
        given = place if isinstance(place, places.Traces) else places.Traces()
        self._keyed = Wanted(service=given.service, errors=given.errors)
        self._text = ""
        self._found: tuple[TraceSummary, ...] | None = None
        self._held = False
        self._fault = ""

    def body(self) -> ComposeResult:
        """What is looked for, and what was found."""
        yield Static(id="wanted")
        yield Table(trace_search.COLUMNS, empty="looking")

    def on_mount(self) -> None:
        """Look, and look again."""
        super().on_mount()
        self.query_one(Table).focus()
        self.set_interval(EVERY, self._again)
        self._load()

    def show_picture(self, picture: Picture) -> None:  # noqa: ARG002  the list is asked for here
        """Names of services may be known now that were words before."""
        self._say()

    @property
    def wanted(self) -> Wanted:
        """By keys and by text together."""
        known = {node.name for node in self.picture.topology.nodes} if self.picture.topology else set()
        known |= {share.service for one in self._found or () for share in one.services}
        return trace_search.parse(self._text, known, self._keyed)

    def find(self, text: str) -> None:
        """The search line is another."""
        self._text = text
        self._load()

    def _again(self) -> None:
        if self.is_current and not self._held and not self.picture.away:
            self._load()

    @work(exclusive=True)
    async def _load(self) -> None:
        """Ask for what is wanted; a search that the API refuses is told in its words."""
        wanted = self.wanted
        try:
            found = await self.dash.source.ask(
                lambda client: client.traces(
                    service=wanted.service,
                    operation=wanted.operation,
                    min_duration=wanted.min_duration,
                    errors=wanted.errors,
                    limit=SEARCHED if wanted.texts else LISTED,
                )
            )
        except MeshError as error:
            self._fault = words.clean(str(error))
        else:
            self._fault = ""
            self._found = tuple(trace_search.holding(found, wanted.texts))
        self._draw()

    def _draw(self) -> None:
        if not self.is_mounted:
            return
        table = self.query_one(Table)
        if self._found is not None:
            table.empty = NONE_YET if self.wanted == trace_search.NOTHING else NONE_SUCH
            table.show(trace_search.row(one) for one in self._found)
        self._say()

    def _say(self) -> None:
        count = len(self._found or ())
        most = SEARCHED if self.wanted.texts else LISTED
        number = f"the newest {count}" if count == most else f"{count}"
        held = "   ‖ held: space goes on" if self._held else ""
        line = paint(words.fit(f" traces {self.wanted.said()}: {number}{held}", self.size.width), "dim")
        if self._fault:
            line = paint(words.fit(f" ✖ {self._fault}", self.size.width), "bad")
        self.query_one("#wanted", Static).update(line)

    @on(Table.Chosen)
    def _open(self, message: Table.Chosen) -> None:
        message.stop()
        self.dash.go(places.Trace(message.key))

    # --- keys ------------------------------------------------------------------------------------

    def _key(self, wanted: Wanted) -> None:
        self._keyed = wanted
        self._say()
        self._load()

    def action_errors(self) -> None:
        """Only failed ones, or all."""
        self._key(replace(self._keyed, errors=not self._keyed.errors))

    def action_longer(self) -> None:
        """The next least duration."""
        self._key(replace(self._keyed, min_duration=trace_search.longer(self._keyed.min_duration)))

    def action_hold(self) -> None:
        """Let no new ones in, or let them in again."""
        self._held = not self._held
        self._say()
        self._again()

    def action_clear(self) -> None:
        """Look for everything."""
        self.query_one(Finder).close()
        self._text = ""
        self._key(trace_search.NOTHING)

    @work(exclusive=True, group="choose")
    async def action_service(self) -> None:
        """Of one service only."""
        nodes = self.picture.topology.nodes if self.picture.topology else ()
        names = sorted(
            {node.name for node in nodes} | {s.service for one in self._found or () for s in one.services}
        )
        chosen = await self.app.push_screen_wait(Choose("traces of", ["all services", *names]))
        if chosen is not None:
            self._key(replace(self._keyed, service=names[chosen - 1] if chosen else ""))
