"""Events: what happened, the newest first, as it happens; narrowed down by kind, subject and words."""

from __future__ import annotations

from typing import ClassVar, get_args

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Static

from control_plane.api.happened import Event, Kind
from tui import happenings, words
from tui.places import Happenings, Place, Policy, Proxy, Revision, Service
from tui.screens.base import LOADING, MeshScreen
from tui.theme import paint
from tui.widgets.table import Table

KEPT = 1000
"""Events that are kept: the newest."""

KINDS: tuple[str, ...] = ("", *get_args(Kind))
LEVELS: tuple[str, ...] = ("info", "warning", "error")
EMPTY = "nothing has happened yet: apply a policy, and it stands here"
NOT_FOUND = "no event is like that: Esc shows all"


class EventsScreen(MeshScreen):
    """Listens from when it is first shown, also while another screen is on top."""

    SEARCH: ClassVar[str] = "part of a name or of what happened"
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

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._events: list[Event] = []
        self._kind = place.kind if isinstance(place, Happenings) else ""
        self._subject = place.subject if isinstance(place, Happenings) else ""
        self._level = 0
        self._wanted = ""
        self._held = False

    def body(self) -> ComposeResult:
        """What is shown of them, they, and the one under the cursor whole."""
        yield Static(id="filter")
        yield Table(happenings.COLUMNS, empty=LOADING)
        yield Static(id="whole", markup=False)

    def on_mount(self) -> None:
        """Begin to listen."""
        self.listen()

    @work(exclusive=True)
    async def listen(self) -> None:
        """The newest events, and then every one as it comes, for ever."""
        async for event in self.dash.source.happenings(KEPT):
            if isinstance(event, Event):
                self._events.insert(0, event)
                del self._events[KEPT:]
            else:
                self._events = list(event)
            if not self._held:
                self._draw()

    def _draw(self) -> None:
        if not self.is_mounted:
            return
        found = [each for each in self._events if self._fits(each)]
        table = self.query_one(Table)
        at_top = table.cursor == 0
        table.empty = NOT_FOUND if self._events else EMPTY
        table.show([happenings.row(each) for each in found])
        if at_top:
            table.action_end(0)
        self.query_one("#filter", Static).update(self._said(len(found)))
        self._tell(table.chosen)

    def _fits(self, event: Event) -> bool:
        return (
            self._kind in ("", event.kind)
            and (not self._subject or happenings.concerns(event, self._subject))
            and LEVELS.index(event.severity) >= self._level
            and happenings.holds(event, self._wanted)
        )

    def _said(self, count: int) -> Content:
        parts = [paint(f"{count} of {len(self._events)} events", "dim")]
        if self._subject:
            parts.append(paint(f"of {self._subject}", "accent"))
        if self._kind:
            parts.append(paint(f"kind {self._kind}", "accent"))
        if self._level:
            parts.append(paint(f"{LEVELS[self._level]} or worse", "accent"))
        parts.append(paint("held: space goes on", "partial") if self._held else paint("live", "dim"))
        return Content("  ").join(parts)

    def _tell(self, key: str) -> None:
        event = next((each for each in self._events if each.id == key), None)
        author = f", by {event.author}" if event and event.author else ""
        said = words.clean(f"{event.subject}: {event.message}{author}") if event else ""
        self.query_one("#whole", Static).update(said)

    def on_table_moved(self, message: Table.Moved) -> None:
        """The whole text of the event under the cursor."""
        self._tell(message.key)

    def on_table_chosen(self, message: Table.Chosen) -> None:
        """Enter: what it is about."""
        event = next((each for each in self._events if each.id == message.key), None)
        place = self._about(event) if event else None
        if place:
            self.dash.go(place)
        else:
            self.notify("it is about nothing that has a screen", timeout=3)

    def _about(self, event: Event) -> Place | None:
        """The place of an event's subject."""
        if event.kind == "revision" and event.revision:
            return Revision(event.revision)
        status = self.picture.status
        kind, _, name = event.subject.partition("/")
        if name and status and any((p.kind, p.name) == (kind, name) for p in status.policies):
            return Policy(kind, name)
        if status and any(proxy.name == event.subject for proxy in status.proxies):
            return Proxy(event.subject)
        parts = event.subject.replace("→", " ").split()
        known = {node.name for node in self.picture.topology.nodes} if self.picture.topology else set()
        return next((Service(part) for part in reversed(parts) if part in known), None)

    def find(self, text: str) -> None:
        """Only events that hold the text."""
        self._wanted = text.strip()
        self._draw()

    def undo(self) -> bool:
        """Esc: all of them again."""
        narrowed = bool(self._kind or self._level) and not isinstance(self.place, Happenings)
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
        self._held = not self._held
        self._draw()
