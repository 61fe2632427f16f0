"""The events tab: events of the mesh as they occur, newest first, filtered by kind, severity and text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, get_args

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.widgets import Static

from meshwright.control_plane.api.models.events import Event, EventKind
from meshwright.tui import keys
from meshwright.tui.dialogs.choose_one import ChooseOne
from meshwright.tui.features.events.table import (
    EVENT_COLUMNS,
    EVENT_ORDERS,
    SEVERITIES,
    event_row,
    is_about,
    matches_search,
    subjects,
)
from meshwright.tui.format import format_time, sanitize
from meshwright.tui.keys import bind
from meshwright.tui.mesh_state import DashboardState
from meshwright.tui.navigation import (
    EventsLocation,
    Location,
    PolicyLocation,
    ProxyLocation,
    RevisionLocation,
    ServiceLocation,
)
from meshwright.tui.screen import LOADING
from meshwright.tui.search import SearchQuery, parse_search
from meshwright.tui.sortable_screen import SortableScreen
from meshwright.tui.theme import paint
from meshwright.tui.widgets.table import Table

EVENT_LIMIT = 1000
"""Events that are kept, newest first."""

KINDS: tuple[str, ...] = get_args(EventKind)
EMPTY = "no events yet: apply a policy and it appears here"
NO_MATCH = "no event matches: Esc shows all"


class EventsScreen(SortableScreen[Event]):
    """The list. From its first display it receives events, also while another screen is current."""

    COLUMNS = EVENT_COLUMNS
    SORT_ORDERS = EVENT_ORDERS
    HAS_PAST: ClassVar[bool] = True
    SEARCH_HINT: ClassVar[str] = "a name, a message"
    HELP: ClassVar[str] = (
        "Policy changes, rejections by Envoy, circuit breakers, instances, certificates, as they occur. "
        "Events missed during an outage are fetched afterwards. f chooses a kind or a minimum severity, "
        "Enter opens the object of an event."
    )
    DEFAULT_CSS = """
    EventsScreen #filter { height: 1; padding: 0 1; }
    EventsScreen #detail { height: auto; max-height: 5; padding: 0 1; background: $panel; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        bind(keys.FILTER, "filter"),
        bind(keys.PAUSE, "pause"),
    ]

    def __init__(self, location: Location) -> None:
        super().__init__(location)
        self._events: list[Event] = []
        self._kind = location.kind if isinstance(location, EventsLocation) else ""
        self._subject = location.subject if isinstance(location, EventsLocation) else ""
        self._min_severity = 0
        self._query = SearchQuery()
        self._paused = False
        self._moment = 0.0

    def compose_body(self) -> ComposeResult:
        """The filter, the list, and the selected event in full."""
        yield Static(id="filter")
        yield Table(EVENT_COLUMNS, empty=LOADING)
        yield Static(id="detail", markup=False)

    def on_mount(self) -> None:
        """Start to receive events."""
        self.listen()

    @work(exclusive=True)
    async def listen(self) -> None:
        """Receive the newest events, then each new one, until the screen is closed."""
        async for received in self.session.poller.events(EVENT_LIMIT):
            if isinstance(received, Event):
                self._events.insert(0, received)
                del self._events[EVENT_LIMIT:]
            else:
                self._events = list(received)
            if not self._paused:
                self.draw_list()

    def draw_list(self) -> None:
        """Show the events that match; at its top the list follows the newest."""
        if not self.is_mounted:
            return
        matching = [event for event in self._shown_events if self._matches(event)]
        table = self.query_one(Table)
        follows = self.is_initial_order and table.cursor == 0
        table.empty = NO_MATCH if self._shown_events else EMPTY
        table.set_rows(map(event_row, self.in_order(matching)), sort_mark=self.sort_mark)
        if follows:
            table.action_end(0)
        self.query_one("#filter", Static).update(self._filter_summary(len(matching)))
        self._draw_detail(table.selected_key)

    @property
    def _shown_events(self) -> Sequence[Event]:
        """What has been received, or the events until the moment that was chosen."""
        past = self.mesh_state.past
        return past.events if past else self._events

    def refresh_data(self, state: DashboardState) -> None:
        """Show the events of another moment; those that occur are drawn as they arrive."""
        moment = state.past.moment.time if state.past else 0.0
        if moment != self._moment:
            self._moment = moment
            self.draw_list()

    def _matches(self, event: Event) -> bool:
        return (
            self._kind in ("", event.kind)
            and (not self._subject or is_about(event, self._subject))
            and SEVERITIES.index(event.severity) >= self._min_severity
            and matches_search(event, self._query, self.labels_of(*subjects(event)))
        )

    def _filter_summary(self, count: int) -> Content:
        parts = [paint(f"{count} of {len(self._shown_events)} events", "dim")]
        if self._subject:
            parts.append(paint(f"of {self._subject}", "accent"))
        if self._kind:
            parts.append(paint(f"kind {self._kind}", "accent"))
        if self._min_severity:
            parts.append(paint(f"{SEVERITIES[self._min_severity]} or worse", "accent"))
        if self._moment:
            parts.append(paint(f"the last until {format_time(self._moment)}", "partial"))
        else:
            paused = paint("paused: space resumes", "partial")
            parts.append(paused if self._paused else paint("live", "dim"))
        return Content("  ").join(parts)

    def _event(self, key: str) -> Event | None:
        return next((event for event in self._shown_events if event.id == key), None)

    def _draw_detail(self, key: str) -> None:
        event = self._event(key)
        author = f", by {event.author}" if event and event.author else ""
        text = sanitize(f"{event.subject}: {event.message}{author}") if event else ""
        self.query_one("#detail", Static).update(text)

    def on_table_row_highlighted(self, message: Table.RowHighlighted) -> None:
        """Show the selected event in full."""
        self._draw_detail(message.key)

    def on_table_row_selected(self, message: Table.RowSelected) -> None:
        """Enter: open the object of the event."""
        event = self._event(message.key)
        location = self._location_of(event) if event else None
        if location:
            self.session.go(location)
        else:
            self.notify("no screen shows the object of this event", timeout=3)

    def _location_of(self, event: Event) -> Location | None:
        """The location of an event's subject."""
        if event.kind == "revision" and event.revision:
            return RevisionLocation(event.revision)
        status, topology = self.mesh_state.status, self.mesh_state.topology
        kind, _, name = event.subject.partition("/")
        if name and status and any((p.kind, p.name) == (kind, name) for p in status.policies):
            return PolicyLocation(kind, name)
        if status and any(proxy.name == event.subject for proxy in status.proxies):
            return ProxyLocation(event.subject)
        parts = event.subject.replace("→", " ").split()
        services = {node.name for node in topology.nodes} if topology else set()
        return next((ServiceLocation(part) for part in reversed(parts) if part in services), None)

    def apply_search(self, text: str) -> None:
        """Show only events that contain the text."""
        self._query = parse_search(text)
        self.draw_list()

    def back_one_step(self) -> bool:
        """Remove the filters set by keys."""
        filtered = bool(self._kind or self._min_severity) and not isinstance(self.location, EventsLocation)
        if filtered:
            self._kind, self._min_severity = "", 0
            self.draw_list()
        return filtered

    @work(exclusive=True, group="choose")
    async def action_filter(self) -> None:
        """Choose a minimum severity, or a kind."""
        severities = [f"{severity} or worse" for severity in SEVERITIES[1:]]
        choices = ["of every kind and severity", *severities, *(f"of kind {kind}" for kind in KINDS)]
        chosen = await self.app.push_screen_wait(ChooseOne("show events", choices))
        if chosen is None:
            return
        if chosen == 0:
            self._kind, self._min_severity = "", 0
        elif chosen < len(SEVERITIES):
            self._min_severity = chosen
        else:
            self._kind = KINDS[chosen - len(SEVERITIES)]
        self.draw_list()

    def action_pause(self) -> None:
        """Pause or resume updates."""
        self._paused = not self._paused
        self.draw_list()
