"""Events: what happened, the newest first, as it happens; narrowed down by kind, subject and words."""

from __future__ import annotations

from typing import ClassVar, get_args

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Static

from meshwright.control_plane.api.models.events import Event, EventKind
from meshwright.tui import format
from meshwright.tui.features.events import table as table_module
from meshwright.tui.navigation import (
    EventsLocation,
    Location,
    PolicyLocation,
    ProxyLocation,
    RevisionLocation,
    ServiceLocation,
)
from meshwright.tui.screen import LOADING, MeshScreen
from meshwright.tui.theme import paint
from meshwright.tui.widgets.table import Table

EVENT_LIMIT = 1000
"""Events that are kept: the newest."""

KINDS: tuple[str, ...] = ("", *get_args(EventKind))
LEVELS: tuple[str, ...] = ("info", "warning", "error")
EMPTY = "nothing has happened yet: apply a policy, and it stands here"
NO_MATCH = "no event is like that: Esc shows all"


class EventsScreen(MeshScreen):
    """Listens from when it is first shown, also while another screen is on top."""

    SEARCH_HINT: ClassVar[str] = "part of a name or of what happened"
    HELP: ClassVar[str] = (
        "What happened: who changed policies, what Envoys refused, breakers, instances, certificates. New "
        "ones come by themselves; what came while the control plane was away is fetched. f goes through the "
        "kinds, w through how bad it must be, Enter opens what it is about."
    )
    DEFAULT_CSS = """
    EventsScreen #filter { height: 1; padding: 0 1; }
    EventsScreen #whole { height: auto; max-height: 5; padding: 0 1; background: $panel; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f", "kind(1)", "kind"),
        Binding("F", "kind(-1)", "kind back", show=False),
        Binding("w", "level", "severity"),
        Binding("space", "hold", "hold"),
    ]

    def __init__(self, location: Location) -> None:
        super().__init__(location)
        self._events: list[Event] = []
        self._kind = location.kind if isinstance(location, EventsLocation) else ""
        self._subject = location.subject if isinstance(location, EventsLocation) else ""
        self._level = 0
        self._query = ""
        self._paused = False

    def compose_body(self) -> ComposeResult:
        """What is shown of them, they, and the one under the cursor whole."""
        yield Static(id="filter")
        yield Table(table_module.EVENT_COLUMNS, empty=LOADING)
        yield Static(id="whole", markup=False)

    def on_mount(self) -> None:
        """Begin to listen."""
        self.listen()

    @work(exclusive=True)
    async def listen(self) -> None:
        """The newest events, and then every one as it comes, for ever."""
        async for event in self.session.poller.events(EVENT_LIMIT):
            if isinstance(event, Event):
                self._events.insert(0, event)
                del self._events[EVENT_LIMIT:]
            else:
                self._events = list(event)
            if not self._paused:
                self._draw()

    def _draw(self) -> None:
        if not self.is_mounted:
            return
        found = [each for each in self._events if self._matches(each)]
        table = self.query_one(Table)
        at_top = table.cursor == 0
        table.empty = NO_MATCH if self._events else EMPTY
        table.set_rows([table_module.event_row(each) for each in found])
        if at_top:
            table.action_end(0)
        self.query_one("#filter", Static).update(self._filter_summary(len(found)))
        self._draw_detail(table.selected_key)

    def _matches(self, event: Event) -> bool:
        return (
            self._kind in ("", event.kind)
            and (not self._subject or table_module.is_about(event, self._subject))
            and LEVELS.index(event.severity) >= self._level
            and table_module.contains_text(event, self._query)
        )

    def _filter_summary(self, count: int) -> Content:
        parts = [paint(f"{count} of {len(self._events)} events", "dim")]
        if self._subject:
            parts.append(paint(f"of {self._subject}", "accent"))
        if self._kind:
            parts.append(paint(f"kind {self._kind}", "accent"))
        if self._level:
            parts.append(paint(f"{LEVELS[self._level]} or worse", "accent"))
        parts.append(paint("held: space goes on", "partial") if self._paused else paint("live", "dim"))
        return Content("  ").join(parts)

    def _draw_detail(self, key: str) -> None:
        event = next((each for each in self._events if each.id == key), None)
        author = f", by {event.author}" if event and event.author else ""
        said = format.sanitize(f"{event.subject}: {event.message}{author}") if event else ""
        self.query_one("#whole", Static).update(said)

    def on_table_row_highlighted(self, message: Table.Moved) -> None:
        """The whole text of the event under the cursor."""
        self._draw_detail(message.key)

    def on_table_row_selected(self, message: Table.Chosen) -> None:
        """Enter: what it is about."""
        event = next((each for each in self._events if each.id == message.key), None)
        place = self._location_of(event) if event else None
        if place:
            self.session.go(place)
        else:
            self.notify("it is about nothing that has a screen", timeout=3)

    def _location_of(self, event: Event) -> Location | None:
        """The place of an event's subject."""
        if event.kind == "revision" and event.revision:
            return RevisionLocation(event.revision)
        status = self.mesh_state.status
        kind, _, name = event.subject.partition("/")
        if name and status and any((p.kind, p.name) == (kind, name) for p in status.policies):
            return PolicyLocation(kind, name)
        if status and any(proxy.name == event.subject for proxy in status.proxies):
            return ProxyLocation(event.subject)
        parts = event.subject.replace("→", " ").split()
        known = {node.name for node in self.mesh_state.topology.nodes} if self.mesh_state.topology else set()
        return next((ServiceLocation(part) for part in reversed(parts) if part in known), None)

    def apply_search(self, text: str) -> None:
        """Only events that hold the text."""
        self._query = text.strip()
        self._draw()

    def back_one_step(self) -> bool:
        """Esc: all of them again."""
        narrowed = bool(self._kind or self._level) and not isinstance(self.location, EventsLocation)
        if narrowed:
            self._kind, self._level = "", 0
            self._draw()
        return narrowed

    def action_kind(self, step: int) -> None:
        """Only the next kind."""
        self._kind = KINDS[(KINDS.index(self._kind) + step) % len(KINDS)]
        self._draw()

    def action_level(self) -> None:
        """Only what is at least so bad."""
        self._level = (self._level + 1) % len(LEVELS)
        self._draw()

    def action_hold(self) -> None:
        """Stand still, or go on."""
        self._paused = not self._paused
        self._draw()
